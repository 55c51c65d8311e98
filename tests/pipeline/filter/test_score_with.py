"""Rows scored and judged by their published vectors: `--score-with`, `--max-unsafe`."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from predictor_files import plainly, saved_model

from visunex.pipeline.cli import main
from visunex.pipeline.score import load, predictors

ROWS = 300


@pytest.fixture
def rows(tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """Metadata with a score of its own, `m.parquet`, and in `v` the vectors of all rows but the last ten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VISUNEX_MIRROR", str(reference))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    rated = [np.load(reference / f"laion_ratings_vit_l_14/rating{each}.npy").ravel() for each in range(10)]
    raw = np.stack(rated)[random.integers(0, 10, ROWS)] + random.standard_normal((ROWS, 768)) * 0.02
    vectors = raw.astype(np.float16)
    units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scores = load(predictors()["V2"]).scores(units.astype(np.float32))
    table = pl.DataFrame({
        "URL": [f"http://a.invalid/{row}.jpg" for row in range(ROWS)],
        "TEXT": ["a flower" if row % 3 else "a stone" for row in range(ROWS)],
        "AESTHETIC_SCORE": -scores,
    })  # fmt: skip
    table.write_parquet("m.parquet")
    for name in ("img_emb", "metadata"):
        (tmp_path / "v" / name).mkdir(parents=True)
    for part, has in enumerate((slice(0, 100), slice(100, ROWS - 10))):
        np.save(f"v/img_emb/img_emb_{part}.npy", vectors[has])
        table[has].select(url="URL").write_parquet(f"v/metadata/metadata_{part}.parquet")
    return table.with_columns(expected=scores, units=units.astype(np.float32))


def filtered(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["filter", "m.parquet", "--precomputed", "v", *map(str, arguments)])


def chosen(run: str, *arguments: object) -> tuple[dict[str, Any], pl.DataFrame]:
    done = filtered("--run", run, *arguments, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["rows"] == sum(report["dropped"].values()) + report["selected"] == ROWS
    return report, pl.read_parquet(f"{run}/selected.parquet")


def test_rows_are_ranked_by_the_predictor_whatever_the_source_says(rows: pl.DataFrame) -> None:
    report, found = chosen("a", "--score-with", "V2", "--keywords", "flower", "--top", 20, "--reserve", 30)
    flowers = rows.head(ROWS - 10).filter(pl.col("TEXT") == "a flower").sort("expected", descending=True)
    assert found["url"].to_list() == flowers["URL"].head(30).to_list()
    assert np.abs(found["score"].to_numpy() - flowers["expected"].head(30).to_numpy()).max() < 2e-5
    assert found["AESTHETIC_SCORE"].to_list() == flowers["AESTHETIC_SCORE"].head(30).to_list()
    assert report["dropped"]["keywords"] == 100
    assert report["dropped"]["no_vector"] == 7
    assert (report["scored_with"], report["best_score"]) == ("V2", found["score"][0])


def test_thresholds_are_on_its_scale(rows: pl.DataFrame) -> None:
    report, found = chosen("a", "--score-with", "V1", "--min-score", 5, "--max-score", 9, "--top", 300)
    scores = load(predictors()["V1"]).scores(np.stack(rows["units"].to_numpy()))[: ROWS - 10]
    assert found.height == ((scores >= 5) & (scores <= 9)).sum()
    assert report["dropped"]["min_score"] == (scores < 5).sum()
    mixed = filtered("--score-with", "V2", "--predictor", "V1")
    assert (mixed.exit_code, "another scale" in mixed.output) == (2, True)
    stale = filtered("--run", "a", "--score-with", "V2")
    assert stale.exit_code == 1
    assert "--overwrite" in stale.output


def test_unsafe_pictures_are_left_out_by_their_vectors(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nsfw = predictors()["nsfw"]
    refused = filtered("--max-unsafe", 0.4)
    assert refused.exit_code == 1
    assert "clip_autokeras_binary_nsfw.zip" in refused.output
    data, plain = saved_model(nsfw.layout, np.random.default_rng(4))
    monkeypatch.setitem(predictors(), "nsfw", replace(nsfw, sha256=hashlib.sha256(data).hexdigest()))  # type: ignore[arg-type]
    monkeypatch.setenv("VISUNEX_MIRROR", str(tmp_path))
    (tmp_path / "clip_autokeras_binary_nsfw.zip").write_bytes(data)
    unsafe = plainly(plain, np.stack(rows["units"].to_numpy()))[: ROWS - 10]
    bound = float(np.median(unsafe))
    report, found = chosen("a", "--max-unsafe", bound, "--top", 300)
    assert report["dropped"]["max_unsafe"] == pytest.approx((unsafe > bound).sum(), abs=2)
    assert report["dropped"]["no_vector"] == 10
    assert found["unsafe"].max() <= bound
    assert found["score"].is_sorted(descending=True)


def test_what_is_missing_is_named(rows: pl.DataFrame) -> None:
    alone = CliRunner().invoke(main, ["filter", "m.parquet", "--score-with", "V2"])
    assert alone.exit_code == 0
    assert "all candidates are fetched, and chosen by their own vectors after encode" in alone.output
    liked = CliRunner().invoke(main, ["filter", "m.parquet", "--like", "a flower"])
    assert liked.exit_code == 2
    assert "--like looks at published vectors of the rows: say where" in liked.output
    other = filtered("--score-with", "V2", "--model", "ViT-B-32")
    assert other.exit_code == 1
    assert "scores vectors of ViT-L-14 openai, not of ViT-B-32" in other.output


def test_a_published_link_that_is_not_utf8_costs_no_other_row(rows: pl.DataFrame) -> None:
    links = [row.encode() for row in rows["URL"].head(100)]
    binary = pl.DataFrame({"url": [b"\xff", *links[1:]]})
    binary.write_parquet("v/metadata/metadata_0.parquet")
    report, found = chosen("a", "--score-with", "V2", "--top", 300)
    assert report["dropped"]["no_vector"] == 11
    assert found.height == ROWS - 11
