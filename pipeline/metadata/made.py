"""Columns put together from others, as `https://host/{id}/full.jpg`: declared, with no code for each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ..errors import SourceError
from .columns import Schema, listed

__all__ = ["MadeColumns", "made_columns"]

_PART = re.compile(r"\{([^{}:]*)(?::0(\d{1,2}))?\}")


@dataclass(frozen=True)
class MadeColumns:
    """The columns to make, by name, and what columns that have such a name already are called instead."""

    columns: Mapping[str, pl.Expr]
    moved: Mapping[str, str]

    def schema(self, found: Schema) -> Schema:
        """The columns with those made."""
        kept = {self.moved.get(name, name): kind for name, kind in found.items()}
        return {**kept, **dict.fromkeys(self.columns, pl.String())}

    def rows(self, part: pl.LazyFrame) -> pl.LazyFrame:
        """The rows with the columns made."""
        moved = [pl.col(name).alias(other) for name, other in self.moved.items()]
        made = part.with_columns(*moved, *(each.alias(name) for name, each in self.columns.items()))
        return made.drop(*(name for name in self.moved if name not in self.columns))


def made_columns(
    schema: Schema, templates: Mapping[str, str], where: str, reserved: str | None = None
) -> MadeColumns | None:
    """The columns that `templates` (role -> text with columns in braces) make of a file's; None: none.

    `{part:06}` fills a number up with zeros. A column of the name `reserved` is called something else. A row
    in which a part is null or empty has none. Raises SourceError for a part that is no column.
    """
    foreign = [name for name in schema if name.lower() == reserved]
    if not templates and not foreign:
        return None
    columns = {role: _filled(template, schema, role, where) for role, template in templates.items()}
    taken = {name: f"source_{name}" for name in schema if name.lower() in columns or name in foreign}
    return MadeColumns(columns, taken)


def _filled(template: str, schema: Schema, role: str, where: str) -> pl.Expr:
    pieces = _PART.split(template)  # text, name, digits, text, name, digits, ..., text
    if len(pieces) == 1:
        raise SourceError(
            f"--made-{role} {template!r} names no column in braces, as 'https://host/{{id}}.jpg'"
        )
    own = {name.lower(): name for name in reversed(list(schema))}
    parts = [pl.lit(pieces[0])]
    for name, digits, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        if name.lower() not in own:
            raise SourceError(
                f"--made-{role} needs a column {name!r}, and {where} has none: there are {listed(schema)}"
            )
        column = own[name.lower()] if name not in schema else name
        value = _as_text(column, schema[column], where)
        parts += [value if digits is None else value.str.zfill(int(digits)), pl.lit(text)]
    return pl.concat_str(parts)


def _as_text(name: str, kind: pl.DataType, where: str) -> pl.Expr:
    """A column's values as text; whole numbers that were read with a fraction without it, empty ones null."""
    values = pl.col(name)
    if kind.is_nested() or kind == pl.Binary:
        raise SourceError(f"column {name!r} of {where} holds {kind}, which no address can be made of")
    if kind.is_float():
        whole = values.cast(pl.Int64, strict=False)
        return pl.when(values == whole).then(whole.cast(pl.String)).otherwise(values.cast(pl.String))
    text = values.cast(pl.String)
    return pl.when(text.str.strip_chars() != "").then(text)
