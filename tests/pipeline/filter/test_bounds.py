"""The bound on the score keeps a superset of the best rows, whatever the order, however many the threads."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.filter.bounds import SCORE, ScoreBound


def scores(*values: float | None) -> pl.DataFrame:
    return pl.DataFrame({SCORE: values}, schema={SCORE: pl.Float64})


def test_until_there_are_enough_every_row_is_kept() -> None:
    bound = ScoreBound(3)
    assert bound.keep(scores(1.0, None))[SCORE].to_list() == [1.0, None]
    assert bound.least is None
    assert bound.keep(scores(5.0, 2.0))[SCORE].to_list() == [5.0, 2.0]
    assert bound.least == 1.0


def test_then_lower_scores_and_none_are_dropped_and_equal_ones_kept() -> None:
    bound = ScoreBound(2)
    bound.keep(scores(1.0, 3.0))
    assert bound.keep(scores(0.5, 1.0, None, math.nan, 2.0))[SCORE].to_list() == [2.0]
    assert bound.least == 2.0
    assert bound.keep(scores(2.0))[SCORE].to_list() == [2.0]


@settings(max_examples=100, deadline=None)
@given(
    batches=st.lists(st.lists(st.none() | st.floats(0, 4, width=16), max_size=8), max_size=8),
    most=st.integers(1, 5),
)
def test_the_best_are_always_kept(batches: list[list[float | None]], most: int) -> None:
    bound = ScoreBound(most)
    kept = [value for batch in batches for value in bound.keep(scores(*batch))[SCORE] if value is not None]
    every = [value for batch in batches for value in batch if value is not None]
    assert sorted(kept)[-most:] == sorted(every)[-most:]
    assert bound.least == (sorted(every)[-most] if len(every) >= most else None)


def test_threads_share_one_bound() -> None:
    bound = ScoreBound(10)
    batches: list[Any] = [scores(*(float(n + 100 * m) for n in range(100))) for m in range(50)]
    with ThreadPoolExecutor(4) as pool:
        kept = pl.concat(pool.map(bound.keep, batches))
    assert sorted(kept[SCORE])[-10:] == [float(n) for n in range(4990, 5000)]
    assert bound.least == 4990.0
