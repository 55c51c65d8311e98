"""The kind of a file, by what it begins with or what it is called."""

from pathlib import Path

import pytest

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.filetypes import is_parquet, kind_behind, kind_by_name, kind_of

SQLITE = b"SQLite format 3\0"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.tsv.zst", "tsv"),
        ("a.json", "jsonl"),
        ("x/a.ndjson.gz", "jsonl"),
        ("a.feather", "arrow"),
        ("a.sqlite3", "sqlite"),
        ("a.db", "sqlite"),
        ("a.parquet", None),
        ("links.txt.gz", "txt"),
        ("a.csv.rst", None),
        ("csv", None),
    ],
)
def test_a_name_says_the_kind(name: str, kind: str | None) -> None:
    assert kind_by_name(name) == kind


@pytest.mark.parametrize(
    ("path", "start", "kind"),
    [
        ("a.csv", b"PAR1....", "parquet"),
        ("a", SQLITE, "sqlite"),
        ("a.csv", b"ARROW1\0\0", "arrow"),
        ("a.csv", b"URL,TEXT", "csv"),
        ("a.csv", b"", None),
        ("a.csv", b" <html>", None),
        ("a", b"URL,TEXT", None),
        ("a.parquet", b"URL,TEXT", None),
    ],
)
def test_behind_an_address_the_first_bytes_win_and_a_web_page_is_none(
    path: str, start: bytes, kind: str | None
) -> None:
    assert kind_behind(path, start) == kind


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [("a.csv", b"PAR1", "parquet"), ("a", SQLITE, "sqlite"), ("a.tsv", b"<", "tsv"), ("a", b"?", "parquet")],
)
def test_a_local_file_is_parquet_unless_something_says_otherwise(
    name: str, start: bytes, kind: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(start)
    assert kind_of(tmp_path / name) == kind
    assert is_parquet(str(tmp_path / name)) == (start == b"PAR1")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv cannot be read: No such file"):
        kind_of(tmp_path / "gone.csv")
