"""Sets with the pictures inside: the same come of a table, a tar and a zip, here or behind an address."""

from pathlib import Path

import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import pictures, rows
from standin import Page, serving

from visunex.pipeline.cli import main
from visunex.pipeline.inside.spool import FileSpool
from visunex.pipeline.rundir import RunDir

TOP, FEW = 6, 13  # an uneven number of shards and batches


def done(name: str, *arguments: str, run: Path) -> str:
    result = CliRunner().invoke(main, [name, *arguments, "--run", str(run)])
    assert result.exit_code == 0, result.output
    return result.output


def expected() -> set[bytes]:
    flowers = [each for each in picture_sets.records() if "flower" in each["caption"]]
    best = sorted(flowers, key=lambda each: -each["aesthetic_score"])
    return {each["picture"] for each in best[:TOP]}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("sets"), picture_sets.records()
    return {
        "struct": picture_sets.table(folder / "struct.parquet", found),
        "binary": picture_sets.table(folder / "binary.parquet", found, struct=False),
        "stream": picture_sets.arrow(folder / "stream.arrow", found),
        "feather": picture_sets.arrow(folder / "file.feather", found, stream=False),
        "tar": picture_sets.webdataset(folder / "set.tar", found),
        "zip": picture_sets.zipped(folder / "set.zip", found),
    }


def chosen(run: RunDir) -> set[bytes]:
    """The files of the chosen pictures."""
    files = pictures(run)
    return {files[row["key"]] for row in rows(run) if row["chosen"]}


def downloaded(source: str, run: Path) -> RunDir:
    done("filter", source, "--keywords", "flower", "--top", str(TOP), run=run)
    done("download", "--processes", "1", run=run)
    return RunDir(run)


@pytest.mark.parametrize("form", ["binary", "stream", "feather"])
def test_pictures_of_a_table_here(form: str, sets: dict[str, Path], tmp_path: Path) -> None:
    run = downloaded(str(sets[form]), tmp_path / "run")
    assert chosen(run) == expected()
    location = pq.read_table(run.selected)["location"].to_pylist()[0]
    assert location.startswith(f"{sets[form]}#row=")


@pytest.mark.parametrize("form", ["struct", "stream", "tar", "zip"])
def test_pictures_behind_an_address(form: str, sets: dict[str, Path], tmp_path: Path) -> None:
    file = sets[form]
    with serving({f"/{file.name}": Page(file.read_bytes())}) as web:
        run = downloaded(f"{web.address}/{file.name}", tmp_path / "run")
    assert chosen(run) == expected()


def test_several_pictures_in_a_row_want_a_name(tmp_path: Path) -> None:
    table = pq.read_table(picture_sets.table(tmp_path / "a.parquet", picture_sets.records()))
    pq.write_table(table.append_column("thumb", table["image"]), tmp_path / "two.parquet")
    asked = ["filter", str(tmp_path / "two.parquet"), "--run", str(tmp_path / "run"), "--top", "3"]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 1
    assert "image, thumb" in refused.output
    assert "--image-column" in refused.output
    done(*asked[:2], "--top", "3", "--image-column", "thumb", run=tmp_path / "run")
    assert "thumb.bytes" in pq.read_table(RunDir(tmp_path / "run").selected)["location"].to_pylist()[0]
    encoded = ["encode", "--images", str(tmp_path / "two.parquet"), "--model", "visunex-tiny"]
    unnamed = CliRunner().invoke(main, [*encoded, "--out", str(tmp_path / "a.pt")])
    assert unnamed.exit_code == 1
    assert "image.bytes, thumb.bytes; name one with --image-column" in unnamed.output


def test_pairs_of_pictures_as_columns_of_bytes(tmp_path: Path) -> None:
    """Pick-a-Pic's `jpg_0` and `jpg_1`; any other column of bytes by its name alone."""
    names = ("jpg_0", "jpg_1", "drawn")
    found = (pa.array([each["picture"]], pa.binary()) for each in picture_sets.records(3))
    columns = {**dict(zip(names, found, strict=True)), "label_0": [1.0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    asked = ["filter", str(tmp_path / "a.parquet"), "--where", "label_0 = 1", "--overwrite"]
    refused = CliRunner().invoke(main, [*asked, "--run", str(tmp_path / "run")])
    assert "several pictures in a row: jpg_0, jpg_1; name one" in refused.output
    for name in names:
        done(*asked, "--image-column", name, run=tmp_path / "run")
        assert f"column={name}" in pq.read_table(RunDir(tmp_path / "run").selected)["location"].to_pylist()[0]


def test_the_same_pictures_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    """By `encode --images` of each form, here and over HTTP, and by `filter`, `download` and `encode`."""
    found = picture_sets.records(FEW)
    folder, table = tmp_path / "folder", ["url,part"]
    folder.mkdir()
    for number, each in enumerate(found):
        (folder / f"{number:05d}.jpg").write_bytes(each["picture"])
        (folder / f"{number:05d}.txt").write_text(each["caption"])
        table.append(f"{{web}}/{number:05d}.jpg,{number}")
    forms = {
        "parquet": picture_sets.table(tmp_path / "a.parquet", found, group=3),
        "stream": picture_sets.arrow(tmp_path / "a.arrow", found),
        "feather": picture_sets.arrow(tmp_path / "a.feather", found, stream=False),
        "tar": picture_sets.webdataset(tmp_path / "a.tar", found),
        "zip": picture_sets.zipped(tmp_path / "a.zip", found),
    }
    made = {"folder": embedding(tmp_path / "folder.pt", "--images", str(folder))}
    with serving({f"/{file.name}": Page(file.read_bytes()) for file in forms.values()}) as web:
        web.pages.update({f"/{file.name}": Page(file.read_bytes()) for file in folder.glob("*.jpg")})
        (tmp_path / "table.csv").write_text("\n".join(table).format(web=web.address))
        for name, file in forms.items():
            for where, place in ((" here", str(file)), (" there", f"{web.address}/{file.name}")):
                out = tmp_path / f"{name}{where}.pt"
                made[name + where] = embedding(out, "--images", place, "--image-column", "image")
        web.pages["/a.tar"].ranges = False
        made["tar whole"] = embedding(tmp_path / "whole.pt", "--images", f"{web.address}/a.tar")
        web.pages["/a.tar"].ranges = True
        table_of_links = str(tmp_path / "table.csv")
        downloaded = {
            "parquet": [str(forms["parquet"])],
            "tar": [f"{web.address}/a.tar"],
            "folder": [str(folder)],
            "links": [table_of_links],
            "zip": [table_of_links, "--made-image", "a.zip#member={part:05}.jpg"],
        }
        for name, source in downloaded.items():
            run = tmp_path / "runs" / name
            done("filter", *source, "--top", str(FEW), "--set", "download.shard_size=10", run=run)
            done("download", "--processes", "1", "--allow-private", run=run)
            made[f"{name} downloaded"] = embedding(tmp_path / f"run-{name}.pt", "--run", str(run))
    assert {name for name, each in made.items() if each != made["folder"]} == set()


def embedding(out: Path, *arguments: str) -> bytes:
    asked = ["encode", *arguments, "--out", str(out), "--model", "visunex-tiny", "--workers", "0"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    return out.read_bytes()


@pytest.mark.parametrize("index", ['{"stamp": "x", "places": {}}', "[1]", '{"made_from": "", "held": [1]}'])
def test_a_spool_of_something_else_is_made_anew(index: str, tmp_path: Path) -> None:
    """A download of tars leaves its index at the same place; a selection of other contents its pictures."""
    file = tmp_path / "a.jpg"
    spool = FileSpool([str(file)], tmp_path / "spool", 100, "one")
    file.write_bytes(b"first")
    assert spool.take([0]) == {0: (0, 5)}
    assert FileSpool([str(file)], tmp_path / "spool", 100, "one").take([0]) == {0: (0, 5)}
    file.write_bytes(b"second")
    other = FileSpool([str(file)], tmp_path / "spool", 100, "two")
    assert other.take([0]) == {0: (0, 6)}
    assert other.path.read_bytes() == b"second"
    (tmp_path / "spool" / "index.json").write_text(index, encoding="utf-8")
    assert FileSpool([str(file)], tmp_path / "spool", 100, "two").take([0]) == {0: (0, 6)}
