"""Three ways to read a table once and give the rows that pass, in batches, with counts of what was dropped.

Each is faster than the next. Whether one looked at every row exactly once, its caller checks by the counts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from .bounds import ScoreBound
from .conditions import Condition
from .query import CountingPredicate, Counts, Query, root_names

__all__ = ["Batch", "Strategy", "counted", "fallback", "pushdown", "strategies_for"]

_ROW = "__row__"


@dataclass(frozen=True)
class Batch:
    """Some of the rows that pass and are within the bound, with the query's columns; and the counts so far.

    The last batch of a strategy has no rows (None), and counts that are final.
    """

    rows: pl.DataFrame | None
    counts: Counts


Strategy = Callable[[Query, ScoreBound], Iterator[Batch]]


def strategies_for(conditions: Sequence[Condition]) -> tuple[Strategy, ...]:
    """The strategies that can look for rows that pass the conditions, the fastest first."""
    if len(conditions) == 1 and conditions[0].name != "where":  # that may copy texts: in pieces, then
        return (pushdown, counted, fallback)
    return (counted, fallback)


def pushdown(query: Query, bound: ScoreBound) -> Iterator[Batch]:
    """The one condition as the scan's own predicate; what does not come back, it dropped.

    polars asks it page by page, so that no column that it looks at is ever whole in memory.
    """
    (condition,) = query.conditions
    score = [] if query.score is None else [query.score]
    matches = query.table.numbered(_ROW).filter(condition.passes)
    rows = passed = 0
    for batch in _batches(matches.select(_ROW, *score, *root_names(query.columns))):
        passed += batch.height
        rows = max([rows, *(batch[_ROW].tail(1) + 1)])  # all those before it were looked at, too
        kept = bound.keep(batch) if score else batch
        yield Batch(kept.select(query.columns), Counts(rows, {}))
    yield Batch(None, Counts(query.total, {condition.name: query.total - passed}))


def counted(query: Query, bound: ScoreBound) -> Iterator[Batch]:
    """A predicate that counts, as the scan's: other columns are decoded only for rows that pass."""
    predicate = CountingPredicate(query, bound)
    asked = _asked_columns(query)
    rows = query.table.numbered(_ROW) if _ROW in asked else query.table.rows
    passes = pl.struct(asked).map_batches(predicate, return_dtype=pl.Boolean, is_elementwise=True)
    for batch in _batches(rows.filter(passes).select(query.columns)):
        yield Batch(batch, predicate.counts())
    yield Batch(None, predicate.counts())


def fallback(query: Query, bound: ScoreBound) -> Iterator[Batch]:
    """The same predicate after reading: right however polars asks predicates; every column is read whole."""
    predicate = CountingPredicate(query, bound)
    asked = pl.struct(query.needed() or [query.table.roles["url"]]).alias(_ROW)
    for batch in _batches(query.table.rows.select(asked, *query.columns)):
        yield Batch(batch.filter(predicate(batch[_ROW])).drop(_ROW), predicate.counts())
    yield Batch(None, predicate.counts())


def _asked_columns(query: Query) -> list[str]:
    """The columns that a counting predicate is asked with: at least two, the second a number or the row's.

    A predicate on one column alone polars asks about the values of the column's dictionary, not about rows.
    """
    needed = query.needed() or [query.table.roles["url"]]
    if len(needed) > 1:
        return needed
    numbers = (name for name, kind in query.table.schema.items() if name not in needed and kind.is_numeric())
    return [*needed, next(numbers, _ROW)]


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in batches, in any order."""
    yield from rows.collect_batches(maintain_order=False, engine="streaming")
