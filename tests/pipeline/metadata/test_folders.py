"""What is metadata in a folder: hidden names, folders that are columns, links, files that only stand in."""

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
