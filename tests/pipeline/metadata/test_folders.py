"""What is metadata in a folder: hidden names, folders that are columns, links, files that only stand in."""

import bz2
import lzma
import pickle
from pathlib import Path

import pytest
from filtering import rows, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.folders import hive_keys, is_hidden
from visunex.pipeline.metadata.resolve import resolve_source

HIDDEN = [
    "._a.parquet",
    ".ipynb_checkpoints/a-checkpoint.parquet",
    "__MACOSX/._a.parquet",
    "_temporary/0/task_1/part-00000.parquet",
    "below/_spark_metadata/a.parquet",
    "_SUCCESS",
]


def put(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows("rose", URL=[url]).write_parquet(path)


def named(run: Path, data: Path | str) -> list[str]:
    """The links that are selected of a source."""
    return sorted(select(run, str(data))[1]["url"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    put(folder / "a.parquet", "a")
    put(folder / "below" / "b.parquet", "b")
    for name in HIDDEN:
        put(folder / name, name)
    return folder


@pytest.mark.parametrize("pattern", ["", "**/*.parquet", "**", "*/../**/*.parquet"])
def test_what_is_hidden_is_no_metadata(pattern: str, data: Path, tmp_path: Path) -> None:
    assert named(tmp_path / "run", data / pattern) == ["a", "b"]


@pytest.mark.parametrize("place", ["_temporary", "_temporary/0/*/*.parquet", "_temp*/**/*.parquet"])
def test_what_is_named_is_not_hidden(place: str, data: Path, tmp_path: Path) -> None:
    assert named(tmp_path / "run", data / place) == [HIDDEN[3]]


def test_a_hidden_folder_above_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / "_data" / "a.parquet", "a")
    assert named(tmp_path / "run", tmp_path / ".cache" / "_data") == ["a"]
    assert named(tmp_path / "run2", tmp_path / ".cache" / "_data" / "*") == ["a"]


def test_only_hidden_files_are_none(tmp_path: Path) -> None:
    put(tmp_path / "data" / "_old.parquet", "a")
    with pytest.raises(SourceError, match=r"is a folder without \.parquet"):
        resolve_source(str(tmp_path / "data"))
    with pytest.raises(SourceError, match=r"no file matches .* begin with _ or \. are hidden"):
        resolve_source(str(tmp_path / "data" / "*"))


def test_extensions_in_capitals_and_other_kinds(tmp_path: Path) -> None:
    put(tmp_path / "data" / "A.PARQUET", "a")
    put(tmp_path / "data" / "b.Parquet", "b")
    assert named(tmp_path / "run", tmp_path / "data") == ["a", "b"]
    (tmp_path / "texts").mkdir()
    rows("rose", URL=["c"]).write_csv(tmp_path / "texts" / "C.TSV", separator="\t")
    assert named(tmp_path / "run2", tmp_path / "texts") == ["c"]


def test_data_of_another_kind_than_is_read_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("b.parquet", "00000.parquet"):
        put(data / name, name)
    rows("rose", URL=["a"]).write_csv(data / "a.csv")
    for name in ("00000.tar", "00001.tar", "c.orc", "README.md", "00000_stats.json", "_old.csv"):
        (data / name).write_bytes(b"x")
    report, selected = select(tmp_path / "run", data)
    assert sorted(selected["url"]) == ["00000.parquet", "b.parquet"]
    assert "not read: 1 .csv, 1 .orc, 1 .tar (" in " ".join(report.remarks)
    for place in ("00000.parquet", "b.parquet", "a.csv"):
        (data / place).unlink()
    (data / "00001.tar").unlink()
    (data / "00000.tar").unlink()
    with pytest.raises(SourceError, match=r"it has 1 \.orc, which are not read: what is read: parquet"):
        resolve_source(str(data))


def test_linked_folders_are_followed_once(data: Path, tmp_path: Path) -> None:
    put(tmp_path / "far" / "c.parquet", "c")
    (data / "linked").symlink_to(tmp_path / "far")
    (data / "round").symlink_to(data)
    assert named(tmp_path / "run", data) == ["a", "b", "c"]
    (tmp_path / "to").symlink_to(data)
    assert named(tmp_path / "run2", tmp_path / "to") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6652\nsize 1469\n", "git lfs pull"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>not found", "is a web page"),
        (b"<html><body>", "is a web page"),
        (b"ORC\x08\x03", r"is an Apache ORC file: .*what is read: parquet, Arrow"),
        (b"Obj\x01\x04\x14avro.codec", "is an Apache Avro file"),
        (bz2.compress(b"url\tcaption\n"), "is packed by bzip2: unpack it first"),
        (lzma.compress(b"url\tcaption\n"), "is packed by xz"),
        (b"PK\3\4" + bytes(26) + b"xl/workbook.xml<workbook/>", r"is an Excel workbook \(.xlsx\): save its"),
        (pickle.dumps(["http://e.org"]), "is a Python pickle"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a picture"),
    ],
)
@pytest.mark.parametrize("name", ["b.parquet", "b.csv"])
def test_what_only_stands_in_for_a_file_is_said(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    put(tmp_path / "data" / "a.parquet", "a")
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(SourceError, match=said) as caught:
        select(tmp_path / "run", tmp_path / "data" / "*")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("path", "hidden"),
    [("a.parquet", False), ("x=1/a.parquet", False), ("_x=1/a", False), ("_x/a", True), (".x=1/a", True)],
)
def test_hidden_names(path: str, hidden: bool) -> None:
    assert is_hidden(path) == hidden


def test_keys_of_folders() -> None:
    assert hive_keys("lang=en/score=7.5/c=a%20b%3D/d=__HIVE_DEFAULT_PARTITION__/x=1.parquet") == {
        "lang": "en",
        "score": "7.5",
        "c": "a b=",
        "d": None,
    }
