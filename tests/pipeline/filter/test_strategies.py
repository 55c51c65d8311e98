"""Each strategy gives the same rows and the same counts, and has looked at every row exactly once."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from filtering import rows

from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter import scan as scanning
from visunex.pipeline.filter.bounds import SCORE, ScoreBound
from visunex.pipeline.filter.conditions import Condition
from visunex.pipeline.filter.query import Counts, Query
from visunex.pipeline.filter.strategies import Batch, Strategy, counted, fallback, pushdown, strategies_for
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.pipeline.metadata.table import Table, open_table
from visunex.recipes import Columns

ROSE = Condition("keywords", pl.col("TEXT").str.contains("rose"))
WIDE = Condition("min_width", pl.col("WIDTH").ge(500))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """3000 rows in six groups, of which every third has a rose."""
    captions = [["rose", "oak", None][n % 3] for n in range(3_000)]
    rows(*captions, WIDTH=[900, 100] * 1_500).write_parquet(tmp_path / "m.parquet", row_group_size=500)
    return open_table(resolve_source(str(tmp_path / "m.parquet")), Columns())


def query(table: Table, *conditions: Condition) -> Query:
    score = pl.col("AESTHETIC_SCORE").cast(pl.Float64).alias(SCORE)
    columns = [pl.col("URL").alias("url"), pl.col("AESTHETIC_SCORE").alias("score")]
    return Query(table, 3_000, conditions, score, columns)


def read(strategy: Strategy, asked: Query, most: int = 10_000) -> tuple[list[str], Counts]:
    batches = list(strategy(asked, ScoreBound(most)))
    assert batches[-1].rows is None
    assert all(batch.rows is not None for batch in batches[:-1])
    assert [batch.counts.rows for batch in batches] == sorted(batch.counts.rows for batch in batches)
    found = pl.concat([batch.rows for batch in batches if batch.rows is not None])
    assert found.columns == ["url", "score"]
    return sorted(found["url"]), batches[-1].counts


@pytest.mark.parametrize("strategy", [pushdown, counted, fallback])
def test_one_condition(strategy: Strategy, table: Table) -> None:
    urls, counts = read(strategy, query(table, ROSE))
    assert urls == [f"https://example.org/{n:05d}.jpg" for n in range(0, 3_000, 3)]
    assert counts == Counts(3_000, {"keywords": 2_000})


@pytest.mark.parametrize("strategy", [counted, fallback])
@pytest.mark.parametrize("conditions", [[WIDE, ROSE], []])
def test_several_conditions_or_none(
    strategy: Strategy, conditions: Sequence[Condition], table: Table
) -> None:
    urls, counts = read(strategy, query(table, *conditions))
    assert len(urls) == (500 if conditions else 3_000)
    assert counts == Counts(3_000, {"min_width": 1_500, "keywords": 1_000} if conditions else {})


@pytest.mark.parametrize("strategy", [pushdown, counted, fallback])
def test_the_bound_keeps_rows_back_and_leaves_the_counts_alone(strategy: Strategy, table: Table) -> None:
    urls, counts = read(strategy, query(table, ROSE), most=5)
    assert {f"https://example.org/{n:05d}.jpg" for n in range(0, 15, 3)} <= set(urls)
    assert len(urls) < 1_000
    assert counts == Counts(3_000, {"keywords": 2_000})


def test_the_fastest_that_can_comes_first() -> None:
    assert strategies_for([ROSE]) == (pushdown, counted, fallback)
    assert strategies_for([ROSE, WIDE]) == strategies_for([]) == (counted, fallback)


def test_a_strategy_that_did_not_see_every_row_once_is_followed_by_the_next(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def off_by_one(asked: Query, _: ScoreBound) -> list[Batch]:
        tried.append(asked)
        return [Batch(None, Counts(asked.total + (1 if len(tried) == 1 else -1), {"keywords": 0}))]

    monkeypatch.setattr(scanning, "strategies_for", lambda _: (off_by_one, off_by_one, fallback))
    result = scanning.scan(table, [ROSE], 10, "url")
    assert len(tried) == 2
    assert (result.rows, result.passed, result.selected.height) == (3_000, 1_000, 10)
    monkeypatch.setattr(scanning, "strategies_for", lambda _: (off_by_one,))
    with pytest.raises(SourceError, match="changed while it was read"):
        scanning.scan(table, [ROSE], 10, "url")
