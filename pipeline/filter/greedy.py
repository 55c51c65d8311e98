"""The best rows of which no more than so many share a value, and none is a near copy of a better one.

Greedy in rank order: a row counts unless the rows before it leave it no room. That depends on better rows
alone, so the choice among the best n rows of a table is the beginning of the choice among all of them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import SourceError
from ..metadata.columns import Roles, Schema
from ..vectors.near_copies import KEPT, near_copies

__all__ = ["ROOM_FOR_ALL", "Chosen", "Copies", "Greedy", "Limit", "limits"]

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)"


@dataclass(frozen=True)
class Limit:
    """No more than `most` rows of one value of `values`, as text; rows without a value are not limited."""

    name: str
    values: pl.Expr
    most: int


@dataclass(frozen=True)
class Copies:
    """A cosine of `threshold` makes rows copies; `units` gives the vectors of rows, float32 [n, D]."""

    threshold: float
    units: Callable[[pl.DataFrame], NDArray[np.float32]]


@dataclass(frozen=True)
class Chosen:
    """The rows that count; how many were left out, by reason; and the copies of each row that has some.

    `copies` are of places in `rows` the links of those that are copies of it, best first.
    """

    rows: pl.DataFrame
    dropped: dict[str, int]
    copies: dict[int, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Greedy:
    """What leaves no room for a row: better rows of the same value, or a better one that looks the same."""

    limits: Sequence[Limit] = ()
    copies: Copies | None = None

    def __bool__(self) -> bool:
        return bool(self.limits) or self.copies is not None

    def choose(self, ranked: pl.DataFrame, count: int) -> Chosen:
        """The first `count` of ranked rows that are left room."""
        room = _Room(self.limits, ranked)
        if self.copies is None:
            kept = [place for place in range(ranked.height) if room.admits(place, count)]
            return Chosen(ranked[kept], room.dropped)
        fate = near_copies(
            self.copies.units(ranked), self.copies.threshold, count, lambda place: room.admits(place, count)
        )
        kept = np.flatnonzero(fate == KEPT).tolist()
        number = {place: at for at, place in enumerate(kept)}
        copies: dict[int, list[str]] = {}
        for place in np.flatnonzero(fate >= 0).tolist():
            copies.setdefault(number[int(fate[place])], []).append(ranked["url"][place])
        dropped = {**room.dropped, "near_copies": sum(map(len, copies.values()))}
        return Chosen(ranked[kept], dropped, copies)


ROOM_FOR_ALL = Greedy()


class _Room:
    """How many rows of each value are taken so far."""

    def __init__(self, limits: Sequence[Limit], ranked: pl.DataFrame) -> None:
        self._limits = [(each.name, each.most, _values(each, ranked), Counter[str]()) for each in limits]
        self.dropped = {f"max_per_{each.name}": 0 for each in limits}
        self._taken = 0

    def admits(self, place: int, count: int) -> bool:
        """Whether there is room for the row at a place; if so it is taken."""
        if self._taken >= count:
            return False
        for name, most, values, taken in self._limits:
            if (value := values[place]) is not None and taken[value] >= most:
                self.dropped[f"max_per_{name}"] += 1
                return False
        for _, _, values, taken in self._limits:
            if (value := values[place]) is not None:
                taken[value] += 1
        self._taken += 1
        return True


def _values(limit: Limit, ranked: pl.DataFrame) -> list[str | None]:
    values: list[str | None] = ranked.select(limit.values.cast(pl.String)).to_series().to_list()
    return values


def limits(wanted: Mapping[str, int], names: Mapping[str, str], roles: Roles, schema: Schema) -> list[Limit]:
    """The limits of a recipe, over the columns of the selection; `names` are what it calls the source's own.

    A column is called as the source calls it, or by its role (`license`, `caption`); `host` is that of the
    link where no column is called so. Raises SourceError for one that is not there or holds no single values.
    """
    return [Limit(name, _column(name, names, roles, schema), most) for name, most in wanted.items()]


def _column(name: str, names: Mapping[str, str], roles: Roles, schema: Schema) -> pl.Expr:
    own = name if name in names else {str(role): column for role, column in roles.items()}.get(name)
    if own is None and name == "host":
        return pl.col("url").str.extract(_HOST, 1).str.to_lowercase()
    if own is None:
        there = ", ".join(("host", *(each for each in names if not schema[each].is_nested())))
        raise SourceError(f"--max-per {name}: there is no such column; there are {there}")
    if schema[own].is_nested():
        raise SourceError(f"--max-per {name}: its values are lists or tables, not single ones")
    return pl.col(names[own])
