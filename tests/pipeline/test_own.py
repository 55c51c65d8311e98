"""Likeness over one's own pictures: a folder without links, a run; told by their own vectors."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from visunex.aesthetic_embeddings import load, reduce
from visunex.demo.scenes import PALETTES, SUBJECTS, Scene, render
from visunex.pipeline.cli import main
from visunex.pipeline.vectors.store import read_vectors

CASTLES, OTHERS = 55, 185


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes in files that are called by what they show: 55 castles among 240."""
    folder = tmp_path_factory.mktemp("pictures")
    subjects = ["castle"] * CASTLES + [each for each in SUBJECTS if each != "castle"] * OTHERS
    for number, subject in enumerate(subjects[: CASTLES + OTHERS]):
        scene = Scene(subject, [*PALETTES][number % len(PALETTES)], number % 3 == 0, number)
        under = folder / str(number % 2)
        under.mkdir(exist_ok=True)
        render(scene, 64).save(under / f"{number * 7919 % 1000:03d}-{scene.subject}-{scene.palette}.png")
    return folder


@pytest.fixture(scope="module")
def encoded(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of these pictures."""
    run = tmp_path_factory.mktemp("runs") / "encoded"
    done(command("encode", "--images", pictures, "--run", run, "--model", "visunex-tiny"))
    return run


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def shown(run: Path) -> list[str]:
    """What the selected pictures show, the best first."""
    places = pl.read_parquet(run / "selected.parquet")["location"]
    return [Path(each).stem.partition("-")[2] for each in places]


def test_a_folder_without_links_is_ranked_by_what_is_seen(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ("--like", "a castle", "--top", 50, "--reserve", 50, "--model", "visunex-tiny", "--run", run)
    said = done(command("filter", pictures, *asked)).output
    assert f"encode: {CASTLES + OTHERS} images" in said
    assert sum(each.startswith("castle") for each in shown(run)) >= 45
    again = done(command("filter", pictures, *asked, "--json"))
    assert json.loads(again.stdout)["reused"]
    copied = done(command("download", "--run", run, "--processes", 1, "--json"))
    assert json.loads(copied.stdout)["chosen"] == 50, "pictures are taken from where they lie"
    said = done(command("encode", "--run", run)).output
    assert "50 vectors taken from" in said, "and not encoded again"
    keys = pl.read_parquet(run / "selected.parquet")["url"].to_list()
    own = run / ".visunex" / "own"
    rows = pl.read_parquet(own / "metadata" / "metadata_0000.parquet")["url"].to_list()
    units = np.concatenate(list(read_vectors(own).units()))
    plain = reduce([units[[rows.index(key) for key in keys]]], "unit-mean")
    np.testing.assert_allclose(load(run / "embedding.pt").vector, plain, atol=1e-6)


def test_of_a_run_the_vectors_are_taken_and_its_model(encoded: Path, tmp_path: Path) -> None:
    """Night scenes fall where they are not liked."""
    nights = []
    for number, more in enumerate(((), ("--unlike", "night", "--unlike-weight", 1))):
        run = tmp_path / str(number)
        said = done(
            command(
                "filter", encoded, "--like", "a castle", *more, "--top", 40, "--reserve", 40, "--run", run
            )
        )
        assert "images" not in said.output, "nothing is encoded"
        nights.append(sum("night" in each for each in shown(run)))
        assert sum(each.startswith("castle") for each in shown(run)) >= 32
    assert nights[1] < nights[0] / 2
    done(command("run", "--run", tmp_path / "1"))
    made = json.loads((tmp_path / "1" / "embedding.json").read_text())
    assert made["model"]["name"] == "visunex-tiny"


def test_a_run_is_not_chosen_from_into_itself(encoded: Path) -> None:
    refused = command("filter", encoded, "--like", "a castle", "--run", encoded)
    assert (refused.exit_code, "name it with --run DIR" in " ".join(refused.output.split())) == (2, True)
    assert (encoded / "embedding.pt").exists()


def test_a_run_is_filtered_by_what_is_said_of_its_pictures(encoded: Path, tmp_path: Path) -> None:
    said = done(
        command("filter", encoded, "--top", 5, "--dedupe-vectors", 0.999, "--run", tmp_path / "run")
    ).output
    assert "5 drawn at random" in said
    places = pl.read_parquet(tmp_path / "run" / "selected.parquet")["location"]
    assert all(Path(place).exists() for place in places)


def test_pictures_that_change_are_noticed(pictures: Path, tmp_path: Path) -> None:
    folder, run = tmp_path / "mine", tmp_path / "run"
    folder.mkdir()
    files = sorted(pictures.rglob("*-castle-*.png"))[:6]
    for file in files[:5]:
        (folder / file.name).write_bytes(file.read_bytes())
    asked = ("filter", folder, "--like", "a castle", "--model", "visunex-tiny", "--run", run)
    done(command(*asked))
    (folder / files[5].name).write_bytes(files[5].read_bytes())
    stale = command(*asked)
    assert stale.exit_code == 1
    assert "was made from something else" in stale.output
    assert "encode: 6 images" in done(command(*asked, "--overwrite")).output or len(shown(run)) == 6
    assert len(shown(run)) == 6
