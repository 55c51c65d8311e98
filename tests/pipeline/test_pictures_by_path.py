"""Metadata that names pictures by paths: files beside it, members of zips, and folders without metadata."""

import csv
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import pictures, rows
from standin import Page, serving
from standin_hub import COMMIT, publish

from visunex.pipeline.cli import main
from visunex.pipeline.rundir import RunDir

FOUND = picture_sets.records(9)
ZIPPED = "images/part-{part_id:06}.zip#member={image_name}"


def done(name: str, *arguments: str, run: Path) -> str:
    result = CliRunner().invoke(main, [name, *arguments, "--run", str(run)])
    assert result.exit_code == 0, result.output
    return result.output


def downloaded(run: Path, source: Path | str, *options: str) -> set[bytes]:
    """The files of the flowers."""
    done("filter", str(source), *options, "--keywords", "flower", run=run)
    done("download", "--processes", "1", run=run)
    files = pictures(RunDir(run))
    return {files[row["key"]] for row in rows(RunDir(run)) if row["chosen"]}


def outcomes(run: Path) -> dict[str, int]:
    """How many pictures failed for what reason."""
    found: dict[str, int] = json.loads((run / "report.json").read_text())["download"]["classes"]
    return {reason: count for reason, count in found.items() if reason != "chosen"}


def put(folder: Path) -> Path:
    """The pictures, as files in a folder."""
    folder.mkdir(parents=True)
    for number, each in enumerate(FOUND):
        (folder / f"{number}.jpg").write_bytes(each["picture"])
    return folder


def imagefolder(place: Path, more: tuple[str, ...] = ()) -> tuple[Path, list[str]]:
    """Hugging Face's, a `metadata.csv` for each split."""
    put(place / "train")
    with (place / "train" / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file_name", "text"))
        table.writerows((f"{number}.jpg", each["caption"]) for number, each in enumerate(FOUND))
        table.writerows((name, "a flower") for name in more)
    return place, []


def lines(place: Path) -> tuple[Path, list[str]]:
    """A `metadata.jsonl` beside the folder of pictures."""
    put(place / "images")
    said = [{"file_name": f"images/{n}.jpg", "text": each["caption"]} for n, each in enumerate(FOUND)]
    (place / "metadata.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in said))
    return place, []


def paths(place: Path) -> tuple[Path, list[str]]:
    """Parquet with a column of paths beside one of links."""
    put(place / "images")
    table = {
        "path": [f"images/{number}.jpg" for number in range(len(FOUND))],
        "url": [f"https://example.org/{number}" for number in range(len(FOUND))],
        "text": [each["caption"] for each in FOUND],
    }
    pq.write_table(pa.table(table), place / "a.parquet")
    return place / "a.parquet", ["--image-column", "path"]


def _structs(place: Path) -> pa.Table:
    """Hugging Face's images, every second one not embedded."""
    put(place / "images")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [
        {"bytes": None if number % 2 else each["picture"], "path": f"images/{number}.jpg"}
        for number, each in enumerate(FOUND)
    ]
    return pa.table({"image": pa.array(images, kind), "text": [each["caption"] for each in FOUND]})


def parquet(place: Path) -> tuple[Path, list[str]]:
    pq.write_table(_structs(place), place / "a.parquet", row_group_size=4)
    return place / "a.parquet", []


def arrow(place: Path) -> tuple[Path, list[str]]:
    table = _structs(place)
    with pa.ipc.new_stream(str(place / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    return place / "a.arrow", []


def without_bytes(place: Path) -> tuple[Path, list[str]]:
    """No picture is embedded, and the type of their bytes says nothing."""
    put(place / "images")
    images = [{"bytes": None, "path": f"images/{number}.jpg"} for number in range(len(FOUND))]
    texts = [each["caption"] for each in FOUND]
    pq.write_table(pa.table({"image": images, "text": texts}), place / "a.parquet")
    return place / "a.parquet", []


def zips(place: Path) -> tuple[Path, list[str]]:
    """DiffusionDB's: prompts, and two zips."""
    (place / "images").mkdir(parents=True)
    for part in (1, 2):
        with zipfile.ZipFile(place / "images" / f"part-{part:06}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(part - 1, len(FOUND), 2):
                file.writestr(f"{number}.png", FOUND[number]["picture"])
    table = {
        "image_name": [f"{number}.png" for number in range(len(FOUND))] + ["77.png", "1.png"],
        "prompt": [each["caption"] for each in FOUND] + ["a flower"] * 2,
        "part_id": pa.array([*(number % 2 + 1 for number in range(len(FOUND))), 1, 7], pa.uint16()),
    }
    pq.write_table(pa.table(table), place / "metadata.parquet")
    return place / "metadata.parquet", ["--made-image", ZIPPED]


def pictures_alone(place: Path) -> tuple[Path, list[str]]:
    """No metadata but what stands beside each picture, in folders."""
    put(place / "some")
    for number, each in enumerate(FOUND):
        (place / "some" / f"{number}.txt").write_text(each["caption"])
        (place / "some" / f"{number}.json").write_text(json.dumps({"aesthetic_score": 5.5}))
    return place, ["--min-score", "5"]


@pytest.mark.parametrize(
    "form", [imagefolder, lines, paths, parquet, arrow, without_bytes, zips, pictures_alone]
)
def test_pictures_that_are_named(form: Callable[[Path], tuple[Path, list[str]]], tmp_path: Path) -> None:
    source, options = form(tmp_path / "set")
    flowers = {each["picture"] for each in FOUND if "flower" in each["caption"]}
    assert downloaded(tmp_path / "run", source, *options) == flowers
    assert outcomes(tmp_path / "run") == ({"missing": 2} if form is zips else {})
    if form in (parquet, arrow, without_bytes):
        both = [encoded(tmp_path / f"{place.name}.pt", place) for place in (source, put(tmp_path / "alone"))]
        assert both[0] == both[1]


def encoded(out: Path, images: Path) -> bytes:
    asked = [
        "encode",
        "--images",
        str(images),
        "--out",
        str(out),
        "--model",
        "visunex-tiny",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert f"{len(FOUND)} of {len(FOUND)}" in result.output
    return out.read_bytes()


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Whatever metadata says, and wherever links lead: what is refused is counted."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(FOUND[0]["picture"] + b"secret")
    named = (
        str(secret),
        f"file://{secret}",
        "../../secret.jpg",
        "a/../../../secret.jpg",
        "https://a.invalid/1",
    )
    linked = ("link.jpg", "up/secret.jpg", "self", "in.jpg", "zip.zip#member=a")
    place = imagefolder(tmp_path / "set", (*named, *linked, ""))[0] / "train"
    (place / "link.jpg").symlink_to(secret)
    (place / "in.jpg").symlink_to("1.jpg")
    (place / "up").symlink_to(tmp_path)
    (place / "self").symlink_to(".")
    (place / "zip.zip").write_bytes(b"PK\3\4 no zip")
    assert len(downloaded(tmp_path / "run", place / "metadata.csv")) == 4
    refused = {"absolute_name": 1, "address": 2, "name_with_dots": 2, "link": 2}
    assert outcomes(tmp_path / "run") == {**refused, "device": 1, "unreadable": 1}


def test_a_folder_of_pictures_counts_what_it_leaves_out(tmp_path: Path) -> None:
    place, options = pictures_alone(tmp_path / "set")
    (tmp_path / "caption").write_text("a flower of another's")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jpg").write_bytes(FOUND[0]["picture"] + b"other")
    (place / "link.jpg").symlink_to(tmp_path / "other" / "a.jpg")
    (place / "up").symlink_to(tmp_path / "other")
    (place / "some" / "1.txt").unlink()
    (place / "some" / "1.txt").symlink_to(tmp_path / "caption")
    (place / ".hidden").mkdir()
    os.mkfifo(place / "fifo.jpg")
    Path(os.fsdecode(os.fsencode(place) + b"/\xff.jpg")).write_bytes(FOUND[0]["picture"])
    said = done("filter", str(place), *options, run=tmp_path / "run")
    assert "members left out: 1 hidden, 3 link, 1 device, 1 name not utf8" in said
    selected = pq.read_table(RunDir(tmp_path / "run").selected).to_pylist()
    assert [each["caption"] for each in selected if each["location"].endswith("/1.jpg")] == [None]
    assert len(selected) == len(FOUND)
    (place / "some" / "9.jpg").write_bytes(FOUND[0]["picture"] + b"new")
    changed = CliRunner().invoke(main, ["filter", str(place), *options, "--run", str(tmp_path / "run")])
    assert "--overwrite" in changed.output


def test_a_zip_of_pictures_counts_what_leads_out_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "../../secret.jpg")
        for name in ("../up.jpg", "/etc/absolute.jpg", "a/../../b.jpg", "in/a.jpg"):
            file.writestr(name, FOUND[0]["picture"])
        file.writestr("in/a.txt", "a flower")
    assert downloaded(tmp_path / "run", tmp_path / "a.zip") == {FOUND[0]["picture"]}
    asked = ["sources", "convert", str(tmp_path / "a.zip"), str(tmp_path / "a.parquet")]
    assert "`visunex-data filter` takes it as it is" in CliRunner().invoke(main, asked).output
    (remark,) = json.loads((tmp_path / "run" / "report.json").read_text())["filter"]["remarks"]
    assert remark == "a.zip: members left out: 2 name with dots, 1 absolute name, 1 link"


def test_a_column_that_is_called_location_is_no_place(tmp_path: Path) -> None:
    """Of a stranger's table; where pictures lie is said by us alone."""
    (tmp_path / "secret.jpg").write_bytes(FOUND[0]["picture"])
    said = {"url": ["https://a.invalid/1.jpg"], "location": [str(tmp_path / "secret.jpg")]}
    pq.write_table(pa.table(said), tmp_path / "a.parquet")
    pq.write_table(pa.table({"url": said["url"], "Location": said["location"]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text(f"url,location\n{said['url'][0]},{said['location'][0]}\n")
    (tmp_path / "d.jsonl").write_text(json.dumps({name: values[0] for name, values in said.items()}))
    with pa.ipc.new_stream(str(tmp_path / "e.arrow"), pa.table(said).schema) as writer:
        writer.write_table(pa.table(said))
    for name in ("a.parquet", "b.parquet", "c.csv", "d.jsonl", "e.arrow"):
        done("filter", str(tmp_path / name), run=tmp_path / f"run-{name}")
        (row,) = pq.read_table(RunDir(tmp_path / f"run-{name}").selected).to_pylist()
        assert "location" not in {each.lower() for each in row}
        assert said["location"][0] in row.values()


def test_behind_an_address(tmp_path: Path) -> None:
    place, _ = lines(tmp_path / "set")
    (place / "images" / "0.jpg").unlink()
    files = [each for each in place.rglob("*") if each.is_file()]
    pages = {f"/set/{file.relative_to(place)}": Page(file.read_bytes()) for file in files}
    with serving(pages) as web:
        flowers = {each["picture"] for each in FOUND[1:] if "flower" in each["caption"]}
        source = f"{web.address}/set/metadata.jsonl?version=1/2"
        assert downloaded(tmp_path / "run", source) == flowers
    assert outcomes(tmp_path / "run") == {"missing": 1}


@pytest.mark.parametrize("form", [imagefolder, zips])
def test_on_the_hub(
    form: Callable[[Path], tuple[Path, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names the pictures lies beside them there; DiffusionDB's zips are known by the catalogue."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    form(tmp_path / "set")
    files: dict[str, Any] = {
        str(each.relative_to(tmp_path / "set")): each.read_bytes()
        for each in (tmp_path / "set").rglob("*")
        if each.is_file()
    }
    with serving({}) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        publish(web, "poloclub/diffusiondb", files)
        source = "diffusiondb" if form is zips else "poloclub/diffusiondb"
        flowers = {each["picture"] for each in FOUND if "flower" in each["caption"]}
        assert downloaded(tmp_path / "run", source) == flowers
    place = pq.read_table(RunDir(tmp_path / "run").selected)["location"].to_pylist()[0]
    assert place.startswith(f"hf://datasets/poloclub/diffusiondb@{COMMIT}")
    assert outcomes(tmp_path / "run") == ({"missing": 2} if form is zips else {})
