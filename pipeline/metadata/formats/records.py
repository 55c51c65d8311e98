"""What readers of text and of SQLite give: blocks of columns, how they were read, and what was left out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from visunex.recipes import Columns

from ...errors import SourceError
from ..columns import NAMES, NUMBERS, TEXTS, Role

__all__ = ["AS_USUAL", "Block", "Blocks", "Reading", "Tally", "Texts", "require_columns"]

MOST_COLUMNS = 2000
BLOCK_VALUES = 4 << 20  # of a block
_EARLY = 1000  # rows after which a file that is mostly unreadable is given up


@dataclass(frozen=True)
class Texts:
    """A column's values as Python writes them, and the types that they were of."""

    values: pl.Series
    kinds: frozenset[type] = frozenset({str})


Block: TypeAlias = Mapping[str, Texts | list[Any]]
Blocks: TypeAlias = Iterator[Block]


@dataclass(frozen=True)
class Reading:
    """How files are read: the roles that the user named columns for, and names for files without a header.

    `address` is where a file lies that was copied here to be read.
    """

    columns: Columns = field(default_factory=Columns)
    names: tuple[str, ...] = ()
    address: str | None = None

    def place(self, path: Path) -> str:
        """Where a file lies, for whoever reads it later."""
        return self.address or str(path.absolute())

    def is_text(self, column: str) -> bool:
        """Whether a column is a link or a caption: text, whatever it looks like."""
        return self._is_one_of(column, TEXTS)

    def is_number(self, column: str) -> bool:
        """Whether a column is a score, a size or the like: what is no number there is none."""
        return not self.is_text(column) and self._is_one_of(column, NUMBERS)

    def _is_one_of(self, column: str, roles: frozenset[Role]) -> bool:
        lower = column.lower()
        names = {role: str(name).lower() for role in NAMES if (name := getattr(self.columns, role))}
        named: dict[str, Role] = {name: role for role, name in names.items()}
        named |= dict.fromkeys(map(str.strip, names.get("caption", "").split(",")), "caption")
        return named[lower] in roles if lower in named else any(lower in NAMES[role] for role in roles)

    def links(self) -> tuple[str, ...]:
        """The names, in lower case, that a column of links may have."""
        return (self.columns.url.lower(),) if self.columns.url else NAMES["url"]


AS_USUAL = Reading()


@dataclass
class Tally:
    """What became of a file's rows: those `read`, those left out by reason, and remarks for a person.

    Where they are `located`, it is us who say where their pictures lie, not the file.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    located: bool = False

    def drop(self, what: str) -> None:
        """Leave out a row that cannot be read; `what` says which it is, and why."""
        if not self.dropped["unreadable"]:
            self.remarks.append(f"rows that cannot be read are left out, the first: {what}")
        self.dropped["unreadable"] += 1
        if self.dropped["unreadable"] > max(_EARLY, self.read):
            self.require_most()

    def require_most(self) -> None:
        """Raise SourceError when most of the rows could not be read."""
        if self.dropped["unreadable"] and self.dropped["unreadable"] >= self.read:
            first = self.remarks[0].partition("the first: ")[2] or self.remarks[0]
            raise SourceError(
                f"{self.dropped['unreadable']:,} rows cannot be read, {self.read:,} can; the first: {first}"
            )


def require_columns(count: int) -> None:
    """Raise SourceError for more columns than metadata has."""
    if count > MOST_COLUMNS:
        raise SourceError(f"more than {MOST_COLUMNS:,} columns: is it metadata?")
