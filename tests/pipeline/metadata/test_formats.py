"""Metadata in other formats than parquet: the same selection, and files that are broken or far too large."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from laion import V2, recipe, table

from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata.formats.text import LONGEST_LINE
from visunex.pipeline.rundir import RunDir


def as_csv(rows: pa.Table) -> bytes:
    import io

    import pyarrow.csv as csv

    sink = io.BytesIO()
    csv.write_csv(rows, sink)
    return sink.getvalue()


def as_lines(rows: pa.Table) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows.to_pylist())


def as_arrow(rows: pa.Table, *, stream: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("name", [
    "x.csv", "x.csv.gz", "x.csv.zst", "x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.arrow",
    "stream.arrow", "x.parquet",
])  # fmt: skip
def test_every_format_gives_the_same_selection(tmp_path: Path, name: str) -> None:
    rows = table(V2).drop_columns(["__index_level_0__"])
    pq.write_table(rows, tmp_path / "plain.parquet")
    write = {"csv": as_csv, "jsonl": as_lines, "arrow": as_arrow}.get(name.split(".")[1])
    data = write(rows) if write else (tmp_path / "plain.parquet").read_bytes()
    if name.startswith("stream"):
        data = as_arrow(rows, stream=True)
    pack = {"gz": gzip.compress, "zst": zstd}.get(name.rpartition(".")[2], bytes)
    (tmp_path / name).write_bytes(pack(data))
    wanted = {"keywords": ("flower",), "min_score": 6.55}
    filter_rows(RunDir(tmp_path / "a"), recipe(tmp_path / "plain.parquet", **wanted))
    filter_rows(RunDir(tmp_path / "b"), recipe(tmp_path / name, **wanted))
    expected, found = (pq.read_table(tmp_path / run / "selected.parquet").to_pylist() for run in "ab")
    assert found == expected
    again = filter_rows(RunDir(tmp_path / "b"), recipe(tmp_path / name, **wanted))
    assert again.reused


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("twice.csv", b"url,url\nhttp://x/,http://y/\n"),
        ("ragged.csv", b"url,text\nhttp://x/1,a,b,c\n"),
        ("quoting.csv", b'url,text\nhttp://x/1,"never closed\nhttp://x/2,b\n' * 3),
        ("binary.csv", b"url,text\n\xff\xfe\x00,\x80\n"),
        ("array.json", b'[{"url": "http://x/"}'),
        ("broken.jsonl", b'{"url": "http://x/"}\n{"url": \n'),
        ("cut.csv.gz", gzip.compress(b"url,text\nhttp://x/1,a\n" * 1000, mtime=0)[:-20]),
        ("cut.csv.zst", pa.compress(b"url,text\nhttp://x/1,a\n" * 1000, codec="zstd", asbytes=True)[:-10]),
        ("cut.arrow", b"ARROW1\0\0rubbish"),
        ("cut.parquet", b"PAR1rubbishPAR1"),
        ("nothing.jsonl", b"\n\n"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=name.replace(".", r"\.")):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / name))
    assert {path.name for path in tmp_path.iterdir()} <= {name, "run"}


PROGRAM = """
import resource, sys
from pathlib import Path
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats.reader_process import convert_file
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    convert_file(path, path.parent / "out")
except SourceError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_ten_gigabytes_of_one_line_take_little_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"line.{suffix}"
    with path.open("wb") as file:
        file.write(b'{"url": "' if suffix == "jsonl" else b'url\n"')
        file.truncate(10 << 30)  # a hole: ten gigabytes of zeros, none of them on the disk
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    message, megabytes = done.stdout.strip().rsplit("\n", 1)
    assert path.name in message
    assert int(megabytes) < 4 * (LONGEST_LINE >> 20)
