"""`visunex-data rank`: pictures in the order of their cosines to an embedding, and what is made of them."""

import csv
import json
from pathlib import Path

import numpy as np
import odd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from shard_files import run_folder, tar

from visunex.aesthetic_embeddings import load, save
from visunex.pipeline.cli import main
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Encode, Recipe
from visunex.recipes.encoders import parse_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [odd.small_model(folder / "one"), odd.small_model(folder / "two", seed=1, dimension=40)]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine pictures, one that is none, and a taste of three of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("drawn/sub").mkdir(parents=True)
    for row in range(9):
        image = odd.photograph((40, 32), seed=row % 3).rotate(40 * row)
        Path("drawn", "sub" if row % 2 else ".", f"p {row}.png").write_bytes(odd.file(image, "PNG"))
    Path("drawn/bad.jpg").write_bytes(b"no picture")
    made = Recipe(name="x", encode=Encode(model=models[0], workers=0))
    encode(None, made, images=["drawn/p 4.png", "drawn/p 6.png", "drawn/p 8.png"], out=Path("taste.pt"))


def rank(*arguments: object) -> Result:
    given = ["rank", *map(str, arguments), "--by", "taste.pt"]
    return CliRunner().invoke(main, given, prog_name="visunex-data")


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)["rows"]
    return found


def test_pictures_come_in_the_order_of_their_cosines(tmp_path: Path, models: list[str]) -> None:
    with RunDir(tmp_path / "run").locked():
        made = Recipe(name="x", encode=Encode(model=models[0], workers=0))
        encode(RunDir(tmp_path / "run"), made, images=["drawn"])
    folder = read_vectors(tmp_path / "run" / "vectors")
    units = np.concatenate(list(folder.units())).astype(np.float64)
    cosines = units @ load("taste.pt").unit.reshape(-1)
    names = pq.read_table(folder.parts[0].metadata)["image_path"].to_pylist()
    expected = [names[at] for at in np.argsort(-cosines, kind="stable")]
    for what in ("drawn", "run", "run/vectors"):
        found = rows(rank(what, "--json"))
        assert [each["image_path"] for each in found] == expected
        assert [each["cosine"] for each in found] == pytest.approx(sorted(cosines, reverse=True), abs=1e-6)
    report = json.loads(rank("drawn", "--json", "--top", 2).stdout)
    assert [each["image_path"] for each in report["rows"]] == expected[:2]
    assert (report["vectors"], report["pictures"]["failed"]) == (9, {"not_an_image": 1})
    assert not Path("runs").exists()


@pytest.mark.parametrize("how", ["copy", "link", "move"])
def test_the_best_are_put_into_a_folder_in_their_order(how: str) -> None:
    before = {path.name: path.read_bytes() for path in Path("drawn").rglob("*.png")}
    result = rank("drawn", "--top", 4, f"--{how}", "best", "--json")
    found, files = rows(result), sorted(Path("best").iterdir())
    assert [path.name[:5] for path in files] == ["0001-", "0002-", "0003-", "0004-"]
    assert [each["file"] for each in found] == list(map(str, files))
    for each, path in zip(found, files, strict=True):
        own = Path(str(each["image_path"]))
        assert path.read_bytes() == before[own.name]
        assert own.exists() == (how != "move")
        assert path.is_symlink() == (how == "link")
    again = rank("drawn", f"--{how}", "best")
    assert again.exit_code == 2
    assert "is there and not empty: name a new folder" in again.stderr
    assert sorted(Path("best").iterdir()) == files


def test_pictures_inside_a_tar_are_copied_and_nothing_else() -> None:
    tar(
        Path("t.tar"),
        {"sub/a b.png": Path("drawn/p 4.png").read_bytes(), "b.png": Path("drawn/p 0.png").read_bytes()},
    )
    refused = rank("t.tar", "--move", "best")
    assert refused.exit_code == 2
    assert "lies inside t.tar, so it cannot be moved; --copy best takes it out" in refused.stderr
    assert not Path("best").exists()
    assert len(rows(rank("t.tar", "--copy", "best", "--json"))) == 2
    assert all(path.parent == Path("best") for path in Path("best").iterdir())
    assert sorted(path.name[5:] for path in Path("best").iterdir()) == ["a_b.png", "b.png"]


def test_the_table_and_the_sheet_hold_the_best(tmp_path: Path) -> None:
    result = rank("drawn", "--top", 3, "--out", "o.csv", "--sheet", "s.png", "--columns", 3)
    assert result.exit_code == 0, result.output
    with Path("o.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [each["rank"] for each in table] == ["1", "2", "3"]
    assert f"     1  {float(table[0]['cosine']):7.4f}  {table[0]['image_path']}" in result.stdout
    assert "9 of 10 pictures encoded with" in result.stdout
    with Image.open("s.png") as sheet:
        assert sheet.size == (3 * 166 + 6, 172)
    assert rank("drawn", "--top", 3, "--out", "o.parquet").exit_code == 0
    parquet = pq.read_table("o.parquet").to_pylist()
    assert [each["image_path"] for each in parquet] == [each["image_path"] for each in table]
    assert "is there already; --overwrite" in rank("drawn", "--out", "o.csv").stderr
    assert "name a .csv or .parquet" in rank("drawn", "--out", "o.txt").stderr
    assert "name a .png, .webp or .jpg" in rank("drawn", "--sheet", "o.gif").stderr


def test_another_space_is_refused_by_name(tmp_path: Path, models: list[str]) -> None:
    refused = rank("drawn", "--model", models[1])
    assert refused.exit_code == 2
    assert f"taste is of {models[0]}, which vectors of {models[1]} cannot" in refused.stderr
    assert "encode:" not in refused.stderr
    with RunDir(tmp_path / "run").locked():
        made = Recipe(name="x", encode=Encode(model=models[1], workers=0))
        encode(RunDir(tmp_path / "run"), made, images=["drawn"])
    refused = rank("run")
    assert refused.exit_code == 2
    assert f"run holds vectors of {models[1]}" in refused.stderr
    assert f"encode --run run --also {models[0]}" in refused.stderr
    save("other.pt", load("taste.pt").vector, {})
    unknown = CliRunner().invoke(main, ["rank", "drawn", "--by", "other.pt"])
    assert "nothing says which CLIP" in unknown.stderr
    assert "name it with --model" in unknown.stderr
    named = CliRunner().invoke(main, ["rank", "drawn", "--by", "other.pt", "--model", models[0], "--json"])
    assert rows(named) == rows(rank("drawn", "--json"))
    assert "names none" in rank("run", "--model", models[0]).stderr


def test_a_run_with_several_encoders_is_compared_by_the_one_that_fits(
    tmp_path: Path, models: list[str]
) -> None:
    with RunDir(tmp_path / "run").locked():
        made = Recipe(name="x", encode=Encode(model=models[1], also=(models[0],), workers=0))
        encode(RunDir(tmp_path / "run"), made, images=["drawn"])
    assert rows(rank("run", "--json")) == rows(rank("drawn", "--json"))
    other = RunDir(tmp_path / "run", parse_encoder(models[0]).space).vectors
    assert rows(rank(other, "--json")) == rows(rank("run", "--json"))
    assert "holds vectors and no pictures" in rank(other, "--sheet", "s.png").stderr


def test_of_a_run_the_chosen_pictures_are_taken(tmp_path: Path, models: list[str]) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000010001"]))
    with run.locked():
        encode(run, Recipe(name="x", encode=Encode(model=models[0], workers=0)))
    found = rows(rank("run", "--copy", "best", "--json"))
    assert sorted(str(each["key"]) for each in found) == ["000000000", "000010001"]
    assert [each["file"] for each in found] == sorted(map(str, Path("best").iterdir()))
