"""A draw by lot is fair, the same whatever the order of files, and the default where there is no score."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from filtering import rows, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.ranking import drawn

HOSTS = 4
LINKS = pl.Series("url", [f"https://host{n % HOSTS}.org/{n // HOSTS}.jpg" for n in range(20_000)])


PINNED = [0.179872290109, None, 0.47140850989, 0.827166668202]


def numbers(seed: int, links: pl.Series = LINKS) -> pl.Series:
    return pl.DataFrame({"url": links}).select(drawn(pl.col("url"), seed)).to_series()


def test_every_host_has_its_share_and_no_more_luck_than_a_fair_draw() -> None:
    """400 of 20,000 rows on four hosts, 200 times: 25 % each, spread as the hypergeometric law has it."""
    total, drawn_, seeds = len(LINKS), 400, 200
    counts = np.array(
        [
            np.bincount(np.argpartition(-numbers(seed).to_numpy(), drawn_)[:drawn_] % HOSTS, minlength=HOSTS)
            for seed in range(seeds)
        ]
    )
    share = 1 / HOSTS
    np.testing.assert_allclose(counts.mean(axis=0) / drawn_, share, atol=0.01)
    variance = drawn_ * share * (1 - share) * (total - drawn_) / (total - 1)
    assert 0.8 < counts.var(ddof=1) / variance < 1.25


def test_numbers_are_pinned() -> None:
    """A draw of today is that of next year: of BLAKE2b, not of a library's own hash."""
    links = pl.Series("url", ["https://a.org/1.jpg", None, "", "https://a.org/ü.jpg"])
    assert numbers(7, links).round(12).to_list() == PINNED
    assert numbers(-1, links).to_list() != numbers(0, links).to_list()
    assert numbers(0, links.head(0)).to_list() == []


def without_score(path: Path, order: list[int]) -> None:
    frame = rows(*"abcdefghij" * 30).drop("AESTHETIC_SCORE")
    frame[order].write_parquet(path)


def test_a_source_without_scores_is_drawn_at_random_and_says_so(tmp_path: Path) -> None:
    order = list(range(300))
    chosen = []
    for number in range(3):
        random.Random(number).shuffle(order)
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        without_score(folder / "a.parquet", order[: 100 * number])
        without_score(folder / "b.parquet", order[100 * number :])
        for top in (20, 40):
            report, selected = select(tmp_path / f"run{number}-{top}", folder, top=top, reserve=top)
            assert (report.ranked_by, report.seed) == ("random", 0)
            assert f"{top} drawn at random (seed 0)" in report.as_text()
            chosen.append(selected["url"].to_list())
    assert chosen[0] == chosen[2] == chosen[4] == chosen[1][:20], "of 40 the first 20, whatever the files"
    assert chosen[1] == chosen[3] == chosen[5]
    assert chosen[1] != sorted(chosen[1])
    _, other = select(tmp_path / "other", folder, top=20, reserve=20, seed=1)
    assert other["url"].to_list() != chosen[0]
    assert other["random"].is_sorted(descending=True)


def test_a_draw_may_be_asked_for_and_a_score_only_where_there_is_one(tmp_path: Path) -> None:
    rows(*"abcdefgh").write_parquet(tmp_path / "scored.parquet")
    report, selected = select(tmp_path / "run", tmp_path / "scored.parquet", top=4, rank="random", seed=3)
    assert (report.seed, selected["score"].is_sorted(descending=True)) == (3, False)
    report, _ = select(tmp_path / "run", tmp_path / "scored.parquet", top=4, rank="random", seed=3)
    assert report.reused
    without_score(tmp_path / "plain.parquet", list(range(9)))
    with pytest.raises(SourceError, match="--rank score needs a column for the score"):
        select(tmp_path / "plain", tmp_path / "plain.parquet", top=4, rank="score")


def test_a_selection_says_whose_its_scores_are_and_other_thresholds_are_refused(tmp_path: Path) -> None:
    rows(*"abcdefgh").write_parquet(tmp_path / "m.parquet")  # AESTHETIC_SCORE is what V2's sets say
    select(tmp_path / "run", tmp_path / "m.parquet", top=4)
    selected = tmp_path / "run" / "selected.parquet"
    assert pl.read_parquet_metadata(selected)["visunex.predictor"] == "V2"
    assert select(tmp_path / "again", selected, top=2, min_score=5, predictor="V2")[0].top == 2
    with pytest.raises(SourceError, match="has scores of V2, the recipe's thresholds mean those of V1"):
        select(tmp_path / "other", selected, top=2, min_score=5, predictor="V1")
    without_score(tmp_path / "plain.parquet", list(range(9)))
    select(tmp_path / "drawn", tmp_path / "plain.parquet", top=4)
    assert "visunex.predictor" not in pl.read_parquet_metadata(tmp_path / "drawn" / "selected.parquet")
