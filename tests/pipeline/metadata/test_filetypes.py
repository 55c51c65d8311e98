"""The kind of a file, by what it begins with or what it is called."""

import gzip
from pathlib import Path

import pytest

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.filetypes import is_parquet, kind_behind, kind_by_name, kind_of, no_parquet

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


def test_text_that_begins_as_other_kinds_do_is_text(tmp_path: Path) -> None:
    for number, start in enumerate((b"ORCID,url\n", b"PARENT,url\n", b"BZh9,url\n", b"RIFFabcdWEBP,url\n")):
        (tmp_path / f"{number}.csv").write_bytes(start)
        assert kind_of(tmp_path / f"{number}.csv") == "csv"
    first = b"ORC_1.jpg".ljust(257, b"\0") + b"ustar"
    (tmp_path / "a.tar").write_bytes(first.ljust(512, b"\0"))
    assert kind_of(tmp_path / "a.tar") == "tar"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            "packed by gzip, and by its name no text: unpack it",
        ),
        ("a.db.zst", b"\x28\xb5\x2f\xfd", "packed by zstd"),
    ],
)
def test_what_is_packed_and_no_text_is_to_be_unpacked(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said):
        kind_of(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"url,caption\n\xc3\xa9", "is text, and its name does not say of which form"),
        (b"PAR1 and no more", "is parquet that was cut short"),
        (b"PAR1 and PAR1", None),
        (b"\1\2\3\4", "is of no kind that is read; what is read: parquet"),
    ],
)
def test_what_is_taken_for_parquet_and_is_none(content: bytes, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    found = no_parquet(str(tmp_path / "a"))
    assert found == said or found.startswith(said)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv cannot be read: No such file"):
        kind_of(tmp_path / "gone.csv")
