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
from .bounds import SCORE, ScoreBound
from .conditions import Condition
from .greedy import ROOM_FOR_ALL, Chosen, Greedy
from .query import Counts, Query
from .ranking import BY_SCORE, Ranking
from .strategies import Batch, Strategy, strategies_for
from .top_rows import Selection, selected_columns

__all__ = ["ScanResult", "hashes_of_passing", "scan"]

_KEY = "__key__"
_READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_DEEPER = 8  # times as many rows within the bound, where duplicates took the places of too many
_POOL = 2  # times as many rows to choose among as are wanted, where better ones may leave a row no room


@dataclass(frozen=True)
class ScanResult:
    """What became of the rows: `rows` = the sum of `dropped` + those `selected`, the best first.

    `copies` are the links of near copies that were left out, by the place of the row that they are copies of.
    """

    rows: int
    dropped: dict[str, int]
    passed: int
    selected: pl.DataFrame
    copies: Mapping[int, list[str]] = field(default_factory=dict)


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
    ranking: Ranking = BY_SCORE,
    greedy: Greedy = ROOM_FOR_ALL,
) -> ScanResult:
    """Select the best `count` rows among those that pass, no two of which share `unique_by`.

    Of these `greedy` leaves out more, and the next rows move up; the table is read again, deeper, where that
    leaves too few.

    Raises SourceError for a broken file, by name; UsageError for a `where` that fails on a value.
    """
    try:
        for strategy in strategies_for(conditions):
            query = _query(table, conditions, ranking)
            result = _scanned(query, strategy, count, unique_by, ranking.by, greedy)
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
    query: Query, strategy: Strategy, count: int, unique_by: str | None, by: str, greedy: Greedy
) -> ScanResult | None:
    """What a strategy selects; None when it did not look at every row exactly once."""
    pool = min(_POOL * count, query.total) if greedy else count
    most = 2 * pool
    while True:
        bound, selection = ScoreBound(most), Selection(pool, unique_by, by, wanted=count)
        counts = _fill(selection, strategy(query, bound), query.total)
        if counts.rows != query.total:
            return None
        if _is_complete(bound, selection):
            chosen = _chosen(selection, count, greedy)
            if chosen.rows.height == count or len(selection) < pool:
                return _result(counts, selection, chosen, count)
            pool *= _DEEPER
        most = max(most, pool) * _DEEPER


def _chosen(selection: Selection, count: int, greedy: Greedy) -> Chosen:
    rows = selection.rows()
    if rows is None:
        return Chosen(pl.DataFrame(), {})
    return greedy.choose(rows, count) if greedy else Chosen(rows, {})


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


def _result(counts: Counts, selection: Selection, chosen: Chosen, count: int) -> ScanResult:
    selected = chosen.rows
    passed = counts.rows - sum(counts.dropped.values())
    is_beginning = selected.height == count < selection.count  # of what there was to choose among
    last = selected.row(-1, named=True) if is_beginning else None
    left_out = {**selection.left_out(last), **chosen.dropped}
    beyond = passed - selected.height - sum(left_out.values())
    dropped = {**counts.dropped, **left_out, "beyond_reserve": beyond}
    return ScanResult(counts.rows, dropped, passed, selected, chosen.copies)


def _explained(table: Table, conditions: Sequence[Condition], error: BaseException) -> Exception:
    """What went wrong while reading: a broken file, or a `where` that fails on a value."""
    if broken := broken_file(table):
        return SourceError(broken)
    if any(condition.name == "where" for condition in conditions):
        return UsageError(f"--where fails on some row: {words_of(error)}")
    return SourceError(f"{table.source.name} cannot be read: {words_of(error)}")
