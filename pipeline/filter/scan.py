"""A source's rows in one pass through the conditions, into a selection.

The conditions go to the scan as its predicate, so that the other columns are decoded only for rows that pass.
One condition goes as it is, and what it drops is the rest; several go as a predicate that counts what each
drops. Rows that score too low to be among the best are kept back early. So the data are read once, and memory
does not grow with them.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from visunex.base.progress import Progress

from ..errors import SourceError, UsageError
from ..metadata.columns import Role, column
from ..metadata.table import INDEX, Table, broken_file
from .conditions import Condition
from .top_rows import CANONICAL, Selection, own_text

__all__ = ["Ranking", "Reading", "read", "selected_names", "survivors"]

_AT, _SCORE = "__at__", "__score__"
_KINDS: dict[Role, pl.DataType] = {
    "url": pl.String(),
    "caption": pl.String(),
    "score": pl.Float64(),
    "width": pl.Int64(),
    "height": pl.Int64(),
}
_ROW = "__row__"
_Way = Callable[[Table, "Sieve", Sequence[pl.Expr]], Iterator[pl.DataFrame]]
_READING = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class Ranking:
    """The column of the selection that the best rows are highest in; rows' likeness, where it is known."""

    by: str = "score"
    likeness: pl.Expr | None = None


@dataclass(frozen=True)
class Reading:
    """What became of the rows: `rows` = the sum of `dropped` + those `selected`, the best first."""

    rows: int
    dropped: dict[str, int]
    passed: int
    selected: pl.DataFrame


class Sieve:
    """The conditions, what they dropped of the `rows` looked at out of `total`, and a bound on the score.

    Of rows that pass it lets through those among the `most` best in `score` so far: a superset, in whatever
    order they come, of the `most` best. It may be asked from several threads.
    """

    def __init__(self, wanted: Sequence[Condition], score: pl.Expr | None, most: int, total: int) -> None:
        self.wanted, self.most, self.total = wanted, most, total
        self.score = None if score is None else score.cast(pl.Float64).alias(_SCORE)
        self.rows = 0
        self.dropped = dict.fromkeys((condition.name for condition in wanted), 0)
        self._best: NDArray[np.float64] = np.empty(0)  # once there are `most`, the lowest comes first
        self._lock = threading.Lock()

    @property
    def least(self) -> float | None:
        """The score of the last of the `most` best so far; None while there are fewer: all go through."""
        return float(self._best[0]) if len(self._best) == self.most else None

    def columns(self, after: int = 0) -> list[str]:
        """The columns that the score needs, and the conditions but for the first `after`."""
        expressions = [condition.passes for condition in self.wanted[after:]]
        expressions += [] if self.score is None else [self.score]
        return sorted({name for expression in expressions for name in expression.meta.root_names()})

    def __call__(self, batch: pl.Series) -> pl.Series:
        """Which rows of a batch (a struct of `columns()`) go through, as a predicate that counts."""
        rows = batch.struct.unnest().with_row_index(_AT)
        dropped = {}
        for after, condition in enumerate(self.wanted, start=1):
            passing = rows.select(condition.passes).to_series().arg_true()
            dropped[condition.name] = rows.height - len(passing)
            rows = rows.select(_AT, *self.columns(after))[passing]
        if self.score is not None:
            rows = self.best(rows.select(_AT, self.score))
        with self._lock:
            self.rows += len(batch)
            for name, count in dropped.items():
                self.dropped[name] += count
        through = np.zeros(len(batch), dtype=bool)
        through[rows[_AT].to_numpy()] = True
        return pl.Series(through)

    def best(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those rows, all of which passed, whose _SCORE is among the `most` best so far."""
        scores = rows[_SCORE].to_numpy()  # null becomes NaN, which is no higher than anything
        with self._lock:
            bound = -np.inf if self.least is None else self.least
            known = np.concatenate([self._best, scores[scores >= bound]])
            if (beyond := len(known) - self.most) >= 0:
                known = np.partition(known, beyond)[beyond:]
            self._best = known
            least = self.least
        return rows if least is None else rows[np.flatnonzero(scores >= least)]


def survivors(table: Table, wanted: Sequence[Condition], key: pl.Expr) -> NDArray[np.uint64]:
    """The hashes of the keys, not null, of the rows that pass; raises as `read` does."""
    passing = table.rows.filter(condition.passes for condition in wanted) if wanted else table.rows
    try:
        found = passing.select(key.alias(_ROW)).drop_nulls().select(pl.col(_ROW).hash())
        return found.collect(engine="streaming").to_series().to_numpy()
    except _READING as error:
        raise _explained(table, wanted, error) from None


def read(
    table: Table,
    wanted: Sequence[Condition],
    count: int,
    unique_by: str | None,
    ranking: Ranking = Ranking(),
) -> Reading:
    """Select the best `count` rows among those that pass, no two of which share `unique_by`.

    Raises SourceError for a broken file, by name; UsageError for a `where` that fails on a value.
    """
    ways = (_scanned, _sifted, _sifted_after) if len(wanted) == 1 else (_sifted, _sifted_after)
    try:
        for way in ways:
            reading = _read(table, wanted, count, unique_by, ranking, way)
            if reading is not None:
                return reading
    except _READING as error:
        raise _explained(table, wanted, error) from None
    raise SourceError(f"{table.source.name} changed while it was read; run the command again")


def _read(
    table: Table,
    wanted: Sequence[Condition],
    count: int,
    unique_by: str | None,
    ranking: Ranking,
    way: _Way,
) -> Reading | None:
    """As `read`; None when the sieve has not seen just the rows that there are."""
    most, columns = 2 * count, _selected_columns(table, ranking)
    total = table.rows.select(pl.len()).collect(engine="streaming").item()
    while True:
        sieve = Sieve(wanted, _rank(table, ranking), most, total)
        selection = Selection(count, unique_by, ranking.by)
        with Progress("filter", total, unit="rows") as progress:
            for batch in way(table, sieve, columns):
                selection.add(batch)
                progress.update(sieve.rows)
            progress.update(sieve.rows)
        if sieve.rows != total:
            return None
        if _is_complete(sieve, selection):
            return _reading(sieve, selection)
        most *= 8  # so many duplicates among the best: look deeper


def _rank(table: Table, ranking: Ranking) -> pl.Expr | None:
    if ranking.by == "likeness":
        return ranking.likeness
    return column(table.roles, table.schema, "score", "ranking") if "score" in table.roles else None


def _scanned(table: Table, sieve: Sieve, columns: Sequence[pl.Expr]) -> Iterator[pl.DataFrame]:
    """What the sieve lets through, in batches, with its one condition as the scan's predicate.

    polars asks it page by page, so that no column that it looks at is ever whole in memory.
    """
    (condition,) = sieve.wanted
    score = [] if sieve.score is None else [sieve.score]
    own = sorted({name for expression in columns for name in expression.meta.root_names()})
    passed = 0
    for batch in _batches(table.numbered(_ROW).filter(condition.passes).select(_ROW, *score, *own)):
        passed += batch.height
        sieve.rows = max([sieve.rows, *(batch[_ROW].tail(1) + 1)])
        yield (sieve.best(batch) if score else batch).select(columns)
    sieve.rows, sieve.dropped[condition.name] = sieve.total, sieve.total - passed


def _sifted(table: Table, sieve: Sieve, columns: Sequence[pl.Expr]) -> Iterator[pl.DataFrame]:
    """The same with the sieve itself as the scan's predicate."""
    seen = _seen(sieve, table)
    predicate = pl.struct(seen).map_batches(sieve, return_dtype=pl.Boolean, is_elementwise=True)
    rows = table.numbered(_ROW) if _ROW in seen else table.rows
    yield from _batches(rows.filter(predicate).select(columns))


def _sifted_after(table: Table, sieve: Sieve, columns: Sequence[pl.Expr]) -> Iterator[pl.DataFrame]:
    """The same without trust in how often polars asks a predicate: slower, as every column is read whole."""
    seen = pl.struct(sieve.columns() or [table.roles["url"]]).alias(_ROW)
    for batch in _batches(table.rows.select(seen, *columns)):
        yield batch.filter(sieve(batch[_ROW])).drop(_ROW)


def _seen(sieve: Sieve, table: Table) -> list[str]:
    """The columns that the sieve looks at: at least two, the second a number or the row's.

    A predicate on one column alone polars asks about the values of the column's dictionary, not about rows.
    """
    own = sieve.columns() or [table.roles["url"]]
    if len(own) > 1:
        return own
    numbers = (name for name, kind in table.schema.items() if name not in own and kind.is_numeric())
    return [*own, next(numbers, _ROW)]


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in batches, in any order."""
    yield from rows.collect_batches(maintain_order=False, engine="streaming")


def _is_complete(sieve: Sieve, selection: Selection) -> bool:
    """Whether no row that the sieve kept back could have been selected."""
    kept = selection.rows()
    if sieve.least is None or kept is None:
        return True
    if kept.height < selection.count:
        return False
    last = kept[selection.by][-1]
    return last is not None and last >= sieve.least


def _reading(sieve: Sieve, selection: Selection) -> Reading:
    kept = selection.rows()
    selected = pl.DataFrame() if kept is None else kept
    passed = sieve.rows - sum(sieve.dropped.values())
    left_out = selection.left_out()
    beyond = passed - selected.height - sum(left_out.values())
    return Reading(sieve.rows, {**sieve.dropped, **left_out, "beyond_reserve": beyond}, passed, selected)


def _selected_columns(table: Table, ranking: Ranking) -> list[pl.Expr]:
    """The columns of the selection: the canonical ones, the likeness, then the source's own."""
    canonical = [_canonical(table, role, kind).alias(role) for role, kind in _KINDS.items()]
    canonical += [] if ranking.likeness is None else [ranking.likeness.alias("likeness")]
    own = selected_names(table).items()
    return canonical + [_own(table, name).alias(alias) for name, alias in own if alias not in _KINDS]


def _canonical(table: Table, role: Role, kind: pl.DataType) -> pl.Expr:
    if role != "url" and role not in table.roles:
        return pl.lit(None, kind)
    values = column(table.roles, table.schema, role, "the selection").cast(kind, strict=False)
    return own_text(values) if kind == pl.String else values


def _own(table: Table, name: str) -> pl.Expr:
    return own_text(pl.col(name)) if table.schema[name] == pl.String else pl.col(name)


def selected_names(table: Table) -> dict[str, str]:
    """What each of the source's columns is called in the selection; pandas' row labels are left out.

    The columns of CANONICAL get their role's name; another column of such a name, or of one that the
    selection has besides, becomes `source_...`.
    """
    names: dict[str, str] = {table.roles[role]: role for role in _KINDS if role in table.roles}
    ours = {"key", "likeness", *CANONICAL}
    for own in table.schema:
        if own not in names and (own != INDEX or own in table.roles.values()):
            alias = own
            while alias in ours or (alias != own and alias in table.schema):
                alias = f"source_{alias}"
            names[own] = alias
    return names


def _explained(table: Table, wanted: Sequence[Condition], error: BaseException) -> Exception:
    """What went wrong while reading: a broken file, or a `where` that fails on a value."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if broken := broken_file(table):
        return SourceError(broken)
    if any(condition.name == "where" for condition in wanted):
        return UsageError(f"--where fails on some row: {said}")
    return SourceError(f"{table.source.name} cannot be read: {said}")
