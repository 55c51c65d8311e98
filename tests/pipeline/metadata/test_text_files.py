"""Files of text as people have them: nothing is guessed, and every row is used or counted."""

import gzip
import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from filtering import rows, select

from visunex.pipeline.cli import main
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats import convert_file
from visunex.pipeline.metadata.formats.records import AS_USUAL, Reading
from visunex.recipes import Columns


def read(path: Path, content: bytes, reading: Reading = AS_USUAL) -> tuple[pl.DataFrame, dict[str, int]]:
    path.write_bytes(content)
    tally = convert_file(path, path.parent / "out", reading)
    found = pl.read_parquet(path.parent / "out" / "*.parquet")
    assert found.height == tally.read
    return found, dict(tally.dropped)


def test_in_tsv_a_quote_is_a_letter(tmp_path: Path) -> None:
    lines = [f"{chr(34) if n % 10 == 0 else ''}flower {n}\thttp://h/{n}.jpg" for n in range(100)]
    found, dropped = read(tmp_path / "a.tsv", "\n".join(["caption\turl", *lines]).encode())
    assert found["caption"].to_list() == [line.split("\t")[0] for line in lines]
    assert not dropped


def test_quotes_in_csv(tmp_path: Path) -> None:
    content = b'url,caption\nh/1,5" pot\nh/2,"two\nlines, ""quoted"""\nh/3,a "b" c\n'
    found, _ = read(tmp_path / "a.csv", content)
    assert found["caption"].to_list() == ['5" pot', 'two\nlines, "quoted"', 'a "b" c']


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_marks(tmp_path: Path, end: str, encoding: str) -> None:
    text = end.join(["URL,TEXT,AESTHETIC_SCORE", "h/1,é,6.5", "", "h/2,b,6"]) + end
    found, dropped = read(tmp_path / "a.csv", text.encode(encoding))
    assert found.rows() == [("h/1", "é", 6.5), ("h/2", "b", 6.0)]
    assert not dropped


@pytest.mark.parametrize("captions", [["007", "1984"], ["1.50", "2"], ["", ""], ["true", "null"]])
def test_captions_are_text_whatever_they_look_like(tmp_path: Path, captions: list[str]) -> None:
    content = "url,caption,note\n" + "".join(f"h/{n},{text},{n}\n" for n, text in enumerate(captions))
    found, _ = read(tmp_path / "a.csv", content.encode())
    assert found.schema["caption"] == pl.String
    assert found["caption"].to_list() == [text or None for text in captions]
    assert found.schema["note"] == pl.Int64
    named, _ = read(
        tmp_path / "b.csv", content.replace("caption", "words").encode(), Reading(Columns(caption="words"))
    )
    assert named["words"].to_list() == found["caption"].to_list()


def test_codes_stay_text_and_large_numbers_whole(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path / "a.csv", b"url,code,hash\nh/1,007,9007199254740993\nh/2,12,-9007199254740995\n"
    )
    assert found["code"].to_list() == ["007", "12"]
    assert found["hash"].to_list() == [9007199254740993, -9007199254740995]


def test_scores_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"URL,TEXT,AESTHETIC_SCORE\nh/1,a,6.5\nh/2,b,N/A\nh/3,c,nan\nh/4,d,\n")
    report, selected = select(tmp_path / "run", tmp_path / "a.csv")
    assert selected["score"].to_list() == [6.5, None, None, None]
    assert report.remarks == ["a.csv: 2 values of AESTHETIC_SCORE are no numbers (N/A, nan), read as empty"]
    assert "2 values of AESTHETIC_SCORE" in report.as_text()


def test_rows_that_cannot_be_read_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    lines = [f"h/{n},flower" for n in range(8)]
    lines[3] += ",one,more"
    lines[5] = "h/5"
    (tmp_path / "a.csv").write_text("\n".join(["url,caption", *lines]))
    report, _ = select(tmp_path / "run", tmp_path / "a.csv", keywords=["flower"])
    assert (report.rows, report.dropped["unreadable"], report.selected) == (len(lines), 2, 6)
    assert "line 5 has 4 fields, not 2" in report.remarks[0]
    assert select(tmp_path / "run", tmp_path / "a.csv", keywords=["flower"])[0].dropped["unreadable"] == 2


def test_json_lines_of_mixed_types(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"URL": "h/1", "TEXT": "a", "WIDTH": 512, "x": 1}\n\n'
        b'{"URL": "h/2", "TEXT": "\\ud800b", "WIDTH": "512", "x": {"y": 2}}\n'
        b'{"URL": "h/3", "TEXT": 7, "x": "z"}\n{"URL": \n[1]\n' + b'{"x": ' * 50_000 + b"\n"
        b'{"URL": "h/4", "TEXT": "c\xff"}\n'
    )
    found, dropped = read(tmp_path / "a.jsonl", content)
    assert dropped == {"unreadable": 3}
    assert found["WIDTH"].to_list() == [512, 512, None, None]
    assert found["TEXT"].to_list() == ["a", "\ufffdb", "7", "c\ufffd"]


def test_files_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "cc3m.tsv"
    path.write_bytes(b"a flower\thttp://h/1.jpg\nflowers\thttp://h/2.jpg\n")
    done = CliRunner().invoke(main, ["filter", str(path), "--run", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "--column-names caption,url" in done.output
    arguments = ["filter", str(path), "--column-names", "caption,url", "--keywords", "flowers"]
    done = CliRunner().invoke(main, [*arguments, "--run", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(tmp_path / "run" / "selected.parquet")["url"].to_list() == ["http://h/2.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            "sep=;\nurl;caption;score\nhttp://x/1;rose;7,5\n",
            "by semicolons, .* with commas, and points",
        ),
        (
            "a.csv",
            "url;caption;score\nhttp://x/1;rose, red;7,5\n",
            "by semicolons, those of a .csv file by commas",
        ),
        ("a.csv", "url|caption\nhttp://x/1|rose\n", "by bars"),
        ("a.csv", "url\tcaption\nhttp://x/1\trose\n", "by tabs, .*: call it .tsv"),
        ("a.tsv", "url,caption\nhttp://x/1,rose\n", "by commas, .*: call it .csv"),
        ("a.csv", "sep=,\nurl,caption\nhttp://x/1,rose\n", ""),
    ],
)
def test_what_fields_are_separated_by(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    if said:
        with pytest.raises(SourceError, match=f"{name}: its fields are separated {said}"):
            select(tmp_path / "run", tmp_path / name)
    else:
        assert select(tmp_path / "run", tmp_path / name)[0].rows == 1


def test_a_plain_list_of_links(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt.gz"
    path.write_bytes(gzip.compress(b"http://h/1.jpg?a,b\n\nhttp://h/2.jpg\n"))
    _, selected = select(tmp_path / "run", path)
    assert sorted(selected["url"]) == ["http://h/1.jpg?a,b", "http://h/2.jpg"]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string()])
@pytest.mark.parametrize("column", ["TEXT", "other"])
def test_one_byte_that_is_not_utf8_costs_its_own_caption(
    tmp_path: Path, kind: pa.DataType, column: str
) -> None:
    captions = [b"flower \xff", b"flower", None, b"tree"]
    made = rows("flower", "flower", "flower", "tree").to_arrow()
    broken = pa.array(captions, pa.large_binary() if kind == pa.large_string() else pa.binary()).view(kind)
    made = made.drop_columns(["TEXT"]) if column == "TEXT" else made
    pq.write_table(made.append_column(column, broken), tmp_path / "a.parquet")
    report, selected = select(tmp_path / "run", tmp_path / "a.parquet", keywords=["flower"])
    assert report.rows == 4
    assert report.selected == (2 if column == "TEXT" else 3)
    if column == "TEXT":
        assert selected["caption"].to_list() == ["flower \ufffd", "flower"]


def test_sqlite_with_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "live.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE t (url, score TEXT)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [(f"h/{n}", f"{n}.5") for n in range(6)])
    database.commit()
    (tmp_path / "copy").mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", tmp_path / "copy")
    database.close()
    copy = tmp_path / "copy" / path.name
    _, selected = select(tmp_path / "run", copy)
    assert sorted(selected["score"].to_list()) == [n + 0.5 for n in range(6)]
    assert {file.name for file in copy.parent.iterdir()} == {"live.sqlite", "live.sqlite-wal"}


@pytest.mark.parametrize("schema", [
    "CREATE TABLE t (link TEXT); INSERT INTO t VALUES ('h/1'); CREATE VIEW v AS SELECT link AS url FROM t",
    "CREATE TABLE t (url); INSERT INTO t VALUES ('h/1'); CREATE VIEW v AS SELECT url FROM t",
    "CREATE TABLE t (link, blob); INSERT INTO t VALUES ('h/1', zeroblob(5000000)); CREATE TABLE u (url, x)",
])  # fmt: skip
def test_sqlite_tables_views_and_named_columns(tmp_path: Path, schema: str) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.executescript(schema)
    database.close()
    named = {"columns": {"url": "link"}} if "blob" in schema else {}
    assert select(tmp_path / "run", tmp_path / "a.sqlite", **named)[1]["url"].to_list() == ["h/1"]


@pytest.mark.parametrize("schema", [
    "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS url FROM n "
    "WHERE i < 0",
    "CREATE TABLE t (url, big AS (printf('%900000d', 1))); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
    "i + 1 FROM n WHERE i < 3000) INSERT INTO t (url) SELECT i FROM n",
])  # fmt: skip
def test_sqlite_that_computes_without_end_is_refused(tmp_path: Path, schema: str) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.executescript(schema)
    database.close()
    with pytest.raises(SourceError, match=r"a\.sqlite.* (more|holds)"):
        select(tmp_path / "run", tmp_path / "a.sqlite")


def test_an_arrow_file_with_wrong_offsets_is_named(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    made = pa.table({"url": [f"h/{n}" for n in range(50)]})
    with pa.ipc.new_file(sink, made.schema) as writer:
        writer.write_table(made)
    data = sink.getvalue().to_pybytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 3, 6, 9))
    assert offsets in data
    wrong = offsets[:8] + (2_000_000_000).to_bytes(4, "little") + offsets[12:]
    (tmp_path / "a.arrow").write_bytes(data.replace(offsets, wrong))
    with pytest.raises(SourceError, match=r"a\.arrow"):
        select(tmp_path / "run", tmp_path / "a.arrow")
