"""The best rows of a stream that may be far larger than memory, each repeated row once.

Rows are ranked by score (the highest first; none comes last), then by URL, caption and the other columns, so
that neither the order in which they arrive nor how they are cut into batches makes a difference.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

# The columns every batch has, in this order; others may follow.
CANONICAL = ("url", "caption", "score", "width", "height")
RANK = ("score", "url", "caption")
_COPIES = "__copies__"
SETTLE_AT = 1 << 16


class Selection:
    """Takes batches with `add`; `rows()` then are the best `count`, of which no two share `unique_by`.

    A row counts as a duplicate when it shares `unique_by` with a kept row and ranks no lower than the last
    kept one; every row that ranks below is `beyond`. So kept + duplicates + beyond is the number added.
    Rows whose `unique_by` is null are no duplicates of each other.
    """

    def __init__(self, count: int, unique_by: str | None) -> None:
        self.count, self.unique_by = count, unique_by
        self.added = 0
        self._kept: pl.DataFrame | None = None
        self._waiting: list[pl.DataFrame] = []
        self._duplicates: list[pl.DataFrame] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take a batch of candidates: the columns of CANONICAL (scores finite or null), and others."""
        self.added += batch.height
        self._waiting.append(self._above_threshold(batch))
        if sum(frame.height for frame in self._waiting) > max(SETTLE_AT, 4 * self.count):
            self._settle()

    def rows(self) -> pl.DataFrame | None:
        """The best rows, the best first; None when there was not even an empty batch."""
        if self._waiting:
            self._settle()
        return self._kept

    @property
    def duplicates(self) -> int:
        """How many rows repeat a kept one, among those that rank no lower than the last kept."""
        self.rows()
        return int(sum(frame[_COPIES].sum() for frame in self._duplicates))

    @property
    def beyond(self) -> int:
        """How many rows rank below the last kept one."""
        kept = self.rows()
        return self.added - self.duplicates - (0 if kept is None else kept.height)

    def _full(self) -> bool:
        return self._kept is not None and self._kept.height == self.count

    def _above_threshold(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The rows that may still be kept or be duplicates: no lower in rank than the last of a full set."""
        if self._kept is None or not self._full():
            return batch
        last = self._kept.row(-1, named=True)
        if last["score"] is not None:  # scores alone leave few rows, for which comparing texts is cheap
            batch = batch.filter(pl.col("score") >= last["score"])
        return batch.filter(_no_lower_than(last))

    def _settle(self) -> None:
        """Rank what has arrived together with what was kept, and keep the best of both."""
        rows = pl.concat([*([] if self._kept is None else [self._kept]), *self._waiting])
        self._waiting = []
        for part in (_best_scores(rows, 2 * self.count), rows):  # the short way is long enough, nearly always
            ranked = rank(part)
            first = self._first_of_its_kind(ranked)
            kept = ranked.filter(first).head(self.count)
            if kept.height == self.count or part.height == rows.height:
                break
        self._kept = kept
        self._duplicates.append(ranked.filter(~first).select(RANK).with_columns(pl.lit(1).alias(_COPIES)))
        self._prune_duplicates()

    def _first_of_its_kind(self, ranked: pl.DataFrame) -> pl.Series:
        if self.unique_by is None:
            return pl.repeat(True, ranked.height, eager=True)
        values = ranked[self.unique_by]
        return values.is_first_distinct() | values.is_null()

    def _prune_duplicates(self) -> None:
        """Forget duplicates that have fallen below the last kept row, and count equal ones in one line."""
        known = pl.concat(self._duplicates)
        if self._kept is not None and self._full():
            known = known.filter(_no_lower_than(self._kept.row(-1, named=True)))
        self._duplicates = [known.group_by(RANK).agg(pl.col(_COPIES).sum())]


def rank(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, best first."""
    order = [
        *RANK,
        *(name for name in rows.columns if name not in RANK and not rows.schema[name].is_nested()),
    ]
    keys = rows.select(RANK)
    ties = keys.is_duplicated().any()
    return _sorted(rows, order) if ties else rows[_sorted(keys.with_row_index("at"), RANK)["at"]]


def _sorted(rows: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    return rows.sort(order, descending=[name == "score" for name in order], nulls_last=True)


def _best_scores(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """At least the `count` best-scored rows, with all that tie with the last of them."""
    if rows.height <= count or rows.height - rows["score"].null_count() < count:
        return rows
    return rows.filter(pl.col("score") >= rows["score"].top_k(count).min())


def _no_lower_than(last: dict[str, Any]) -> pl.Expr:
    """Whether a row ranks no lower than `last` by score, URL and caption."""
    score, url, caption = (last[name] for name in RANK)
    as_good = pl.col("score").is_null() if score is None else pl.col("score") == score
    better = pl.col("score").is_not_null() if score is None else pl.col("score") > score
    before = pl.lit(True) if caption is None else pl.col("caption") <= caption
    tie = (pl.col("url") < url) | ((pl.col("url") == url) & before)
    return (better | (as_good & tie)).fill_null(False)
