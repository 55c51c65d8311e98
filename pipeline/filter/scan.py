"""The best rows of a table that pass the conditions, selected while the table is read once.

The invariant: every row is looked at exactly once. So the rows that a strategy counted must be as many as the
table has; else what it gave is thrown away, and the next strategy reads the table again. Memory does not grow
with the table: rows that score too low to be among the best are dropped early.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from visunex.base.progress import Progress

from ..errors import SourceError, UsageError
from ..metadata.columns import column
from ..metadata.table import Table, broken_file, words_of
from .bound import SCORE, ScoreBound
from .columns import selected_columns
from .conditions import Condition
from .query import Counts, Query
from .strategies import Batch, Strategy, strategies_for
from .top_rows import Selection

__all__ = ["Ranking", "ScanResult", "hashes_of_passing", "scan"]

_KEY = "__key__"
_READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_DEEPER = 8  # times as many rows within the bound, where duplicates took the places of too many


@dataclass(frozen=True)
class Ranking:
    """The column of the selection that the best rows are highest in; and columns that are not the table's."""

    by: str = "score"
    measured: Mapping[str, pl.Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanResult:
    """What became of the rows: `rows` = the sum of `dropped` + those `selected`, the best first."""

    rows: int
    dropped: dict[str, int]
    passed: int
    selected: pl.DataFrame


def hashes_of_passing(table: Table, conditions: Sequence[Condition], key: pl.Expr) -> NDArray[np.uint64]:
    """The hashes of the keys, not null, of the rows that pass; raises as `scan` does."""
    passing = table.rows.filter(each.passes for each in conditions) if conditions else table.rows
    try:
        found = passing.select(key.alias(_KEY)).drop_nulls().select(pl.col(_KEY).hash())
        return found.collect(engine="streaming").to_series().to_numpy()
    except _READ_ERRORS as error:
        raise _explained(table, conditions, error) from None


def scan(
    table: Table,
    conditions: Sequence[Condition],
    count: int,
    unique_by: str | None,
    ranking: Ranking = Ranking(),
) -> ScanResult:
    """Select the best `count` rows among those that pass, no two of which share `unique_by`.

    Raises SourceError for a broken file, by name; UsageError for a `where` that fails on a value.
    """
    try:
        for strategy in strategies_for(conditions):
            query = _query(table, conditions, ranking)
            result = _scanned(query, strategy, count, unique_by, ranking.by)
            if result is not None:
                return result
    except _READ_ERRORS as error:
        raise _explained(table, conditions, error) from None
    raise SourceError(f"{table.source.name} changed while it was read; run the command again")


def _query(table: Table, conditions: Sequence[Condition], ranking: Ranking) -> Query:
    columns = selected_columns(table, ranking.measured)
    total = table.rows.select(pl.len()).collect(engine="streaming").item()
    return Query(table, total, conditions, _score(table, ranking), columns)


def _score(table: Table, ranking: Ranking) -> pl.Expr | None:
    """What rows are ranked by, as the column SCORE."""
    score = ranking.measured.get(ranking.by)
    if score is None and "score" in table.roles:
        score = column(table.roles, table.schema, "score", "ranking")
    return None if score is None else score.cast(pl.Float64).alias(SCORE)


def _scanned(
    query: Query, strategy: Strategy, count: int, unique_by: str | None, by: str
) -> ScanResult | None:
    """What a strategy selects; None when it did not look at every row exactly once."""
    most = 2 * count
    while True:
        bound, selection = ScoreBound(most), Selection(count, unique_by, by)
        counts = _fill(selection, strategy(query, bound), query.total)
        if counts.rows != query.total:
            return None
        if _is_complete(bound, selection):
            return _result(counts, selection)
        most *= _DEEPER


def _fill(selection: Selection, batches: Iterable[Batch], total: int) -> Counts:
    """Put all batches into the selection; the final counts."""
    counts = Counts(0, {})
    with Progress("filter", total, unit="rows") as progress:
        for batch in batches:
            if batch.rows is not None:
                selection.add(batch.rows)
            counts = batch.counts
            progress.update(counts.rows)
    return counts


def _is_complete(bound: ScoreBound, selection: Selection) -> bool:
    """Whether no row that the bound kept back could have been selected."""
    kept = selection.rows()
    if bound.least is None or kept is None:
        return True
    if kept.height < selection.count:
        return False
    last = kept[selection.by][-1]
    return last is not None and last >= bound.least


def _result(counts: Counts, selection: Selection) -> ScanResult:
    kept = selection.rows()
    selected = pl.DataFrame() if kept is None else kept
    passed = counts.rows - sum(counts.dropped.values())
    left_out = selection.left_out()
    beyond = passed - selected.height - sum(left_out.values())
    return ScanResult(counts.rows, {**counts.dropped, **left_out, "beyond_reserve": beyond}, passed, selected)


def _explained(table: Table, conditions: Sequence[Condition], error: BaseException) -> Exception:
    """What went wrong while reading: a broken file, or a `where` that fails on a value."""
    if broken := broken_file(table):
        return SourceError(broken)
    if any(condition.name == "where" for condition in conditions):
        return UsageError(f"--where fails on some row: {words_of(error)}")
    return SourceError(f"{table.source.name} cannot be read: {words_of(error)}")
