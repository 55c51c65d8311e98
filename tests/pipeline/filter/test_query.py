"""Each condition is asked of the rows that passed those before it, and what it drops is counted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filtering import rows

from visunex.pipeline.filter.bounds import SCORE, ScoreBound
from visunex.pipeline.filter.conditions import Condition
from visunex.pipeline.filter.query import CountingPredicate, Counts, Query, passing
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.pipeline.metadata.table import open_table
from visunex.recipes import Columns

WIDE = Condition("min_width", pl.col("WIDTH").ge(500))
ROSE = Condition("keywords", pl.col("TEXT").str.contains("rose"))


@pytest.fixture
def metadata(tmp_path: Path) -> pl.DataFrame:
    table = rows("rose", "oak", "a rose", None, "rose", WIDTH=[900, 900, 100, None, 700])
    table.write_parquet(tmp_path / "m.parquet")
    return table


def query(folder: Path, *conditions: Condition, **changes: Any) -> Query:
    table = open_table(resolve_source(str(folder / "m.parquet")), Columns())
    score = pl.col("AESTHETIC_SCORE").cast(pl.Float64).alias(SCORE)
    settings: dict[str, Any] = {"total": 5, "score": score, "columns": [pl.col("URL")], **changes}
    return Query(table, conditions=conditions, **settings)


def as_struct(metadata: pl.DataFrame, names: list[str]) -> pl.Series:
    return metadata.select(pl.struct(names)).to_series()


def test_a_row_is_charged_to_the_first_condition_that_it_fails(metadata: pl.DataFrame) -> None:
    numbered = metadata.with_row_index("__at__")
    kept, dropped = passing(numbered, [WIDE, ROSE], [["TEXT"], []])
    assert dropped == {"min_width": 2, "keywords": 1}
    assert (kept.columns, kept["__at__"].to_list()) == (["__at__"], [0, 4])


def test_only_columns_that_are_still_needed_are_kept(metadata: pl.DataFrame, tmp_path: Path) -> None:
    asked = query(tmp_path, WIDE, ROSE)
    assert asked.needed() == ["AESTHETIC_SCORE", "TEXT", "WIDTH"]
    assert asked.needed(after=1) == ["AESTHETIC_SCORE", "TEXT"]
    assert asked.needed(after=2) == ["AESTHETIC_SCORE"]
    assert query(tmp_path, score=None).needed() == []


def test_the_predicate_answers_for_each_row_and_counts(metadata: pl.DataFrame, tmp_path: Path) -> None:
    asked = query(tmp_path, WIDE, ROSE)
    predicate = CountingPredicate(asked, ScoreBound(10))
    batch = as_struct(metadata, asked.needed())
    assert predicate.counts() == Counts(0, {"min_width": 0, "keywords": 0})
    assert predicate(batch).to_list() == [True, False, False, False, True]
    assert predicate(batch.head(2)).to_list() == [True, False]
    assert predicate.counts() == Counts(7, {"min_width": 2, "keywords": 2})


def test_rows_below_the_bound_are_kept_back_and_not_counted_as_dropped(
    metadata: pl.DataFrame, tmp_path: Path
) -> None:
    asked = query(tmp_path, ROSE)
    predicate = CountingPredicate(asked, ScoreBound(1))
    assert predicate(as_struct(metadata, asked.needed())).to_list() == [True, False, False, False, False]
    assert predicate.counts() == Counts(5, {"keywords": 2})


def test_an_empty_batch_and_no_conditions_do_no_harm(metadata: pl.DataFrame, tmp_path: Path) -> None:
    asked = query(tmp_path, score=None)
    predicate = CountingPredicate(asked, ScoreBound(1))
    batch = as_struct(metadata, ["URL"])
    assert predicate(batch.head(0)).to_list() == []
    assert predicate(batch).to_list() == [True] * 5
    assert predicate.counts() == Counts(5, {})
