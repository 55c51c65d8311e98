"""`visunex-data score PICTURES`: pictures are encoded as `encode` does, by an encoder of the predictor's."""

import json
from pathlib import Path

import numpy as np
import odd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from visunex.demo.tiny import CLIP_FOLDER
from visunex.pipeline.cli import main
from visunex.pipeline.score import load, predictors
from visunex.pipeline.vectors.store import read_vectors

OWN = f"local-dir:{CLIP_FOLDER}"  # a folder of weights, as wide as the predictors' vectors, may hold any


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine pictures in a folder and one below it, and one that is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VISUNEX_MIRROR", str(reference))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    for row in range(9):
        image = odd.gradient().rotate(40 * row)
        (folder / ("sub" if row % 2 else ".") / f"{row}.png").write_bytes(odd.file(image, "PNG"))
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


def visunex_data(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def score(*arguments: object) -> Result:
    return visunex_data("score", *arguments, "--workers", 0, "--device", "cpu")


def test_pictures_score_as_their_vectors_do(tmp_path: Path) -> None:
    result = score("mine", "--model", OWN, "--with", "V2,V1", "--out", "a.parquet", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["pictures"]["images"] == 10
    assert report["pictures"]["failed"] == {"not_an_image": 1}
    assert report["vectors"] == report["pictures"]["encoded"] == 9
    assert not Path("runs").exists()
    kept = visunex_data("encode", "--images", "mine", "--run", "r", "--model", OWN, "--workers", 0)
    assert kept.exit_code == 0, kept.output
    units = np.concatenate(list(read_vectors(tmp_path / "r/vectors").units()))
    rows = pq.read_table("a.parquet")
    assert rows["key"].to_pylist() == sorted(rows["key"].to_pylist(), key=lambda key: ("/" in key, key))
    assert rows["image_path"].to_pylist() == [f"mine/{key}" for key in rows["key"].to_pylist()]
    for name in ("V1", "V2"):
        assert rows[name].to_pylist() == load(predictors()[name]).scores(units).tolist()
    again = visunex_data("score", "r", "--with", "V2", "--json")
    assert json.loads(again.stdout)["scores"]["V2"]["mean"] == report["scores"]["V2"]["mean"]


def test_a_person_is_told_what_could_not_be_encoded() -> None:
    shown = score("mine", "--model", OWN, "--show", 1).output
    assert "9 of 10 pictures encoded with local-dir:" in shown
    assert "not_an_image, such as mine/bad.jpg" in shown
    assert "/tmp" not in shown.replace(str(CLIP_FOLDER), "")
    one = score("mine/0.png", "--model", OWN).output
    assert "1 of 1 pictures encoded" in one
    assert score("mine/*.png", "--model", OWN).output.count("lowest") == 3


@pytest.mark.parametrize("model", ["visunex-tiny", "ViT-B-32", "ViT-H-14"])
def test_another_models_vectors_are_refused_before_anything_is_encoded(model: str) -> None:
    refused = score("mine", "--model", model)
    assert refused.exit_code == 1
    assert f"are of {model}" in refused.output
    assert "encode the pictures with --model ViT-L-14 --pretrained openai" in refused.output
    assert "encode:" not in refused.output


def test_what_cannot_be_meant_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"mine")
    for out, why in (("b.parquet", "--overwrite replaces it"), ("b.txt", "NAME.parquet; b.txt is none")):
        refused = score("mine", "--model", OWN, "--out", out)
        assert (refused.exit_code, why in refused.output, "encode:" in refused.output) == (2, True, False)
    idle = visunex_data("score", "fantasy", "--model", "ViT-B-32")
    assert (idle.exit_code, "--model is for pictures that are" in idle.output) == (2, True)
    gone = score("gone.jpg", "--model", OWN)
    assert (gone.exit_code, "no such file" in gone.output) == (1, True)
    (tmp_path / "empty").mkdir()
    none = score("empty", "--model", OWN)
    assert (none.exit_code, "no picture in empty could be encoded" in none.output) == (1, True)
    absent = score("mine", "--model", OWN, "--with", "sac", "--mirror", tmp_path)
    assert (absent.exit_code, "has no predictors/" in absent.output) == (1, True)
    assert "encode:" not in absent.output
