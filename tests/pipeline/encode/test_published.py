"""Published statistics: laion_7plus without a picture; what the reference of a recipe says after a run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from visunex.aesthetic_embeddings import EmbeddingError, load, save
from visunex.pipeline.api import encode_in
from visunex.pipeline.cli import main
from visunex.pipeline.encode.published import reduce_published
from visunex.pipeline.errors import EncodeError, UsageError
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.vectors.catalog import catalogue, read_published
from visunex.recipes import Recipe

NAMES = sorted(catalogue())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)


def test_laion_7plus_is_reproduced_from_a_mirror_without_a_picture(reference: Path) -> None:
    done = CliRunner().invoke(main, ["run", "laion_7plus", "--mirror", str(reference), "--json"])
    assert done.exit_code == 0, done.output
    check = json.loads(done.stdout)["encode"]["checks"]["reference"]
    assert check["largest_difference"] <= check["tolerance"] == 2e-8
    assert check["cosine"] == pytest.approx(1, abs=1e-12)
    ours, published = (
        load("runs/laion_7plus/embedding.pt"),
        load(reference / "aesthetic_embeddings/laion_7plus.pt"),
    )
    assert np.abs(ours.vector - published.vector).max() <= 2e-8
    assert (ours.provenance or {})["vectors"][0][0] == "laion_ratings_vit_l_14/rating7"
    again = CliRunner().invoke(main, ["run", "laion_7plus"], env={"VISUNEX_MIRROR": None})
    assert again.exit_code == 0, "the second run has it all in its cache"
    assert "reproduced" in again.output
    shutil.rmtree("cache")
    mirrored = CliRunner().invoke(main, ["run", "--run", "runs/laion_7plus"], env={"VISUNEX_MIRROR": None})
    assert mirrored.exit_code == 0, "a run goes on by its folder alone"


def test_float32_arithmetic_gives_the_published_bytes(reference: Path) -> None:
    ratings = [np.load(reference / f"laion_ratings_vit_l_14/rating{n}.npy")[0] for n in range(10)]
    import torch

    stacked = torch.from_numpy(np.stack(ratings))
    difference = stacked[7:10].mean(0) - stacked[1:4].mean(0)
    assert (difference.numpy() == load(reference / "aesthetic_embeddings/laion_7plus.pt").vector[0]).all()


def vectors(name: str, rows: np.ndarray) -> str:
    np.save(name, rows)
    return f"{name}.npy"


def recipe(**encode: object) -> Recipe:
    return Recipe.model_validate({"name": "mine", "encode": encode})


def test_vectors_of_ones_own_are_reduced_and_a_run_refuses_to_mix(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(5, 16)).astype(np.float16), rng.normal(size=16)
    names = [vectors("first", first), vectors("second", second)]
    report = reduce_published(None, recipe(vectors=names, reduce="mean"), out=tmp_path / "x.pt")
    expected = np.concatenate([first.astype(np.float32), second[None].astype(np.float32)]).mean(0)
    np.testing.assert_allclose(load("x.pt").vector[0], expected, atol=1e-6)
    assert report.dimension == 16
    done = CliRunner().invoke(main, ["encode", "--vectors", names[0], "--out", "y.pt"])
    assert (done.exit_code, load("y.pt").dimension) == (0, 16)
    names.append(vectors("third", np.array([np.zeros(16), np.full(16, np.nan), second])))
    report = reduce_published(None, recipe(vectors=names), out=tmp_path / "x.pt")
    assert report.dropped == ["third.npy row 0", "third.npy row 1"]
    assert "2  vectors left out, zero or not finite: third.npy row 0" in report.as_text()
    run = RunDir(tmp_path / "run")
    reduce_published(run, recipe(vectors=names))
    with pytest.raises(UsageError, match="nowhere to put"):
        reduce_published(None, recipe(vectors=names))


def test_unknown_names_and_towers_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="rating0"):
        read_published("ratings")
    with pytest.raises(EncodeError, match="different towers"):
        names = [vectors("a", np.ones((1, 8))), vectors("b", np.ones((1, 9)))]
        reduce_published(None, recipe(vectors=names), out=Path("x.pt"))


def test_a_result_outside_the_tolerance_is_an_error_that_keeps_it(reference: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    shutil.copy(reference / "aesthetic_embeddings/laion_7plus.pt", mirror)
    for name in NAMES:
        shutil.copy(reference / f"{name}.npy", mirror)
    arguments = ["run", "laion_7plus", "--mirror", str(mirror)]
    wrong = 'encode.baseline_vectors=["laion_ratings_vit_l_14/rating0"]'
    done = CliRunner().invoke(main, [*arguments, "--set", wrong])
    assert done.exit_code == 1
    assert "more than the recipe's tolerance of 2e-08; everything is kept" in done.output
    assert load("runs/laion_7plus/embedding.pt").dimension == 768


def test_a_run_of_the_same_name_is_not_taken_for_the_published_one(reference: Path, tmp_path: Path) -> None:
    save(tmp_path / "runs/laion_7plus/embedding.pt", np.ones(768), {})
    done = CliRunner().invoke(
        main, ["run", "laion_7plus", "--mirror", str(reference), "--json", "--overwrite"]
    )
    assert json.loads(done.stdout)["encode"]["checks"]["reference"]["cosine"] == pytest.approx(1)


def test_a_file_of_somebody_elses_is_kept_where_the_embedding_should_go(tmp_path: Path) -> None:
    made = recipe(vectors=[vectors("rows", np.eye(4, 8, dtype=np.float32))])
    (tmp_path / "mine.json").write_text('{"my": "settings"}')
    with pytest.raises(EmbeddingError, match=r"mine.json is there already .*--overwrite"):
        encode_in(None, made, out=Path("mine.pt"))
    assert (tmp_path / "mine.json").read_text() == '{"my": "settings"}'
    assert not Path("mine.pt").exists()
    encode_in(None, made, out=Path("mine.pt"), overwrite=True)
    encode_in(None, made, out=Path("mine.pt"))
