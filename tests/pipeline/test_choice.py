"""Without published vectors images are chosen by their own, after encode: by score, safety, near copies."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from visunex.aesthetic_embeddings import load, reduce
from visunex.demo.server import serve
from visunex.demo.world import World, metadata_bytes
from visunex.pipeline.cli import main
from visunex.pipeline.score import catalog, choice
from visunex.pipeline.score.head import Head, Layer
from visunex.pipeline.vectors.store import read_vectors

WORLD = World(rows=160)
TOP, CANDIDATES = 12, 60
KERNELS = {
    name: np.random.default_rng(seed).standard_normal((768, 1))
    for seed, name in enumerate(("V2", "sac", "nsfw"))
}


def of_the_tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have predictors of the tiny encoder's vectors: one linear map each."""
    entries = {name: replace(each, model=("visunex-tiny", "")) for name, each in catalog.predictors().items()}
    monkeypatch.setattr(choice, "predictors", lambda: entries)
    heads = {name: Head((Layer(kernel, np.zeros(1)),)) for name, kernel in KERNELS.items()}
    monkeypatch.setattr("visunex.pipeline.score.folder.load", lambda predictor, _=None: heads[predictor.name])


@pytest.fixture(autouse=True)
def predictors(monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_tiny_model(monkeypatch)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("world") / "m.parquet"
    with serve(0, WORLD) as address:
        path.write_bytes(metadata_bytes(address, WORLD))
        yield path


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def run(metadata: Path, folder: Path, *settings: str, fails: bool = False) -> Result:
    recipe = folder.parent / "taste.toml"
    recipe.write_text(
        f'name = "taste"\n[source]\ndata = "{metadata}"\n[filter]\ntop = {TOP}\nreserve = {CANDIDATES}\n'
        "[download]\nallow_private = true\nmin_images = 1\nshard_size = 10\ndeadline = 0.7\nretries = 1\n"
        'processes = 1\n[encode]\nmodel = "visunex-tiny"\nworkers = 0\n'
    )
    given = [part for each in settings for part in ("--set", each)]
    done = command("run", recipe, "--run", folder, *given)
    assert (done.exit_code == 0) != fails, done.output
    return done


@pytest.fixture(scope="module")
def by_score(metadata: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run by a predictor's scores, and what it said; those who change it take a copy."""
    folder = tmp_path_factory.mktemp("by_score") / "run"
    with pytest.MonkeyPatch.context() as patch:
        of_the_tiny_model(patch)
        return folder, run(metadata, folder, "filter.score_with=V2").output


@pytest.fixture
def copied(by_score: tuple[Path, str], tmp_path: Path) -> Path:
    return shutil.copytree(by_score[0], tmp_path / "run")


def encoded(folder: Path) -> tuple[list[str], np.ndarray]:
    """The keys and unit vectors of all that was encoded, by rank."""
    vectors = read_vectors(folder / "vectors")
    keys = [key for part in vectors.parts for key in pl.read_parquet(part.metadata)["key"]]
    return keys, np.concatenate(list(vectors.units()))


def table(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "choice.parquet")


def chosen(folder: Path) -> set[str]:
    return set(table(folder).filter(pl.col("status") == "chosen")["key"])


def test_more_are_fetched_than_wanted_and_the_best_by_the_predictor_count(
    by_score: tuple[Path, str],
) -> None:
    folder, said = by_score
    keys, units = encoded(folder)
    assert len(keys) > 2 * TOP
    scores = (units @ KERNELS["V2"].astype(np.float32))[:, 0]
    best = np.sort(np.argsort(-scores, kind="stable")[:TOP])
    assert chosen(folder) == {keys[at] for at in best}
    plain = reduce([units[best]], "unit-mean")
    np.testing.assert_array_equal(load(folder / "embedding.pt").vector, plain)
    assert f"chosen {TOP}, spare {len(keys) - TOP}" in said
    made = json.loads((folder / "embedding.json").read_text())
    assert (made["choice"]["chosen"], made["images"]["used"]) == (TOP, TOP)
    np.testing.assert_allclose(table(folder)["V2"].to_numpy(), scores, atol=1e-4)
    page = (folder / "report.html").read_text()
    assert f"All {TOP} pictures" in page


def test_another_predictor_or_bound_takes_what_is_there(metadata: Path, copied: Path) -> None:
    folder = copied
    first, before = chosen(folder), len(encoded(folder)[0])
    run(metadata, folder, "filter.score_with=sac", "filter.max_unsafe=0.0")
    keys, units = encoded(folder)
    now = json.loads((folder / "report.json").read_text())["encode"]["encoded_now"]
    assert now == 0 or len(keys) > before  # a link that a busy machine timed out may answer now
    scores, unsafe = ((units @ KERNELS[name].astype(np.float32))[:, 0] for name in ("sac", "nsfw"))
    allowed = np.flatnonzero(unsafe.round(5) <= 0)
    best = allowed[np.argsort(-scores[allowed], kind="stable")[:TOP]]
    assert chosen(folder) == {keys[at] for at in best} != first
    assert table(folder)["status"].value_counts().filter(pl.col("status") == "max_unsafe")["count"].item() > 0
    bound = float(np.sort(scores)[-5])
    run(metadata, folder, "filter.score_with=sac", f"filter.min_score={bound:.5f}")
    found = table(folder).filter(pl.col("status") == "chosen")["sac"]
    assert len(found) >= 4
    assert found.min() >= bound - 1e-4
    failed = run(metadata, folder, "filter.score_with=sac", "filter.min_score=1000", fails=True)
    assert "no picture is left by what its vector tells: chosen 0, not min_score" in failed.output


def test_near_copies_make_room_for_the_next(metadata: Path, copied: Path) -> None:
    folder, threshold = copied, 0.9
    run(metadata, folder, f"filter.dedupe_vectors={threshold}")
    keys, units = encoded(folder)
    wide, kept = units.astype(np.float64), list[int]()
    for place in range(len(keys)):
        if len(kept) < TOP and all(wide[each] @ wide[place] < threshold for each in kept):
            kept.append(place)
    assert chosen(folder) == {keys[at] for at in kept}
    copies = table(folder).filter(pl.col("status") == "near_copy")
    assert copies.height > 0
    assert set(copies["copy_of"]) <= set(table(folder).filter(pl.col("status") == "chosen")["image_path"])


def test_named_pictures_that_are_near_copies_count_once(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(0, 255, (4, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        for copy in range(1 + 3 * (number == 0)):
            noise = random.integers(-3, 4, pixels.shape)
            Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(
                pictures / f"{number}{copy}.png"
            )
    given = ("encode", "--images", pictures, "--model", "visunex-tiny", "--out")
    for option, out in (((), "all.pt"), (("--dedupe-vectors", 0.98), "once.pt")):
        done = command(*given, tmp_path / out, *option)
        assert done.exit_code == 0, done.output
    assert "chosen by their vectors: chosen 4, near copies 3" in done.output
    for name in ("01", "02", "03"):
        (pictures / f"{name}.png").unlink()
    assert command(*given, tmp_path / "four.pt").exit_code == 0
    np.testing.assert_array_equal(load(tmp_path / "once.pt").vector, load(tmp_path / "four.pt").vector)
    assert not np.array_equal(load(tmp_path / "all.pt").vector, load(tmp_path / "four.pt").vector)


def test_stage_by_stage_and_a_predictor_of_another_model(
    metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    asked = ("--score-with", "V2", "--top", TOP, "--reserve", 30, "--model", "visunex-tiny")
    done = command("filter", metadata, "--run", folder, *asked)
    assert "chosen by their own vectors after encode" in done.output
    fetch: tuple[Any, ...] = ("--allow-private", "--deadline", 0.7, "--retries", 1, "--min-images", 1)
    fetch = (*fetch, "--processes", 1)
    assert command("download", "--run", folder, *fetch).exit_code == 0
    assert command("encode", "--run", folder).exit_code == 0
    assert len(chosen(folder)) == TOP
    monkeypatch.undo()
    other = command("encode", "--run", folder)
    assert other.exit_code == 1
    assert "the predictor V2 scores vectors of ViT-L-14 openai, not of visunex-tiny" in other.output
