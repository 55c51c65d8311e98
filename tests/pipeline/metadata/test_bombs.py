"""Small files that hold endlessly much: each is refused by name or read in bounded memory, and counted."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filtering import recipe, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata import footers
from visunex.pipeline.metadata.formats import reader_process
from visunex.pipeline.rundir import RunDir

MOST = 2 << 20  # kB resident, all in all
LONG = "x" * (10 << 20)
# A process counts what it was forked from as its own: so the command is started by a small one.
MEASURED = """
import pathlib, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(peak), encoding="utf-8")
sys.exit(code)
"""
ROWS = 100_000


def usual(count: int) -> dict[str, Any]:
    return {
        "url": [f"http://example.org/{n}.jpg" for n in range(count)],
        "caption": ["a flower"] * count,
        "score": [6.0 + n % 10 / 10 for n in range(count)],
    }


def repeated(path: Path, column: str, *, category: bool = False) -> None:
    """One long text, which a dictionary gives to each of very many rows."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array([LONG]))
    table = pa.table({**usual(ROWS), column: values})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=category)


def lists(path: Path) -> None:
    """Rows that each have a list of a million nothings."""
    offsets, count = pa.array([0, 1_000_000], pa.int32()), 1_000_000
    table = pa.table({**usual(1), "nulls": pa.ListArray.from_arrays(offsets, pa.nulls(count, pa.string()))})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(300):
            writer.write_table(table)


def limited() -> None:
    """A fault here shall end the process, not the machine that tests it."""
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))


@pytest.mark.parametrize(
    ("make", "asked", "said"),
    [
        (lambda path: repeated(path, "caption"), ("--keywords", "flower"), "none of the 100,000 rows passes"),
        (
            lambda path: repeated(path, "caption", category=True),
            ("--keywords", "flower"),
            "none of the 100,000 rows passes",
        ),
        (lambda path: repeated(path, "caption"), ("--where", "upper(caption) = 'A'"), "none of the 100,000"),
        (lambda path: repeated(path, "other"), (), "the column 'other' has 10,485,760 bytes in each"),
        (lists, (), "holds far more than its size explains"),
    ],
    ids=["caption", "category", "where", "unused", "lists"],
)
def test_parquet_that_holds_ten_gigabytes_and_more(
    make: Callable[[Path], None], asked: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    make(path := tmp_path / "bomb.parquet")
    assert path.stat().st_size < 2 << 20
    program = "import sys; from visunex.pipeline.cli import main; sys.argv[0] = 'visunex-data'; main()"
    command = [sys.executable, "-c", program, "filter", str(path), *asked, "--run", str(tmp_path / "run")]
    measured = [sys.executable, "-c", MEASURED, str(tmp_path / "peak"), *command]
    with (tmp_path / "said").open("wb") as file:
        code = subprocess.run(measured, stdout=file, stderr=file, preexec_fn=limited).returncode
    assert said in (tmp_path / "said").read_text(encoding="utf-8")
    assert code == 1
    assert int((tmp_path / "peak").read_text(encoding="utf-8")) < MOST


def large_page(path: Path, rows: int = 40) -> None:
    """Row groups that are large only where they are unpacked: read by the process that is watched."""
    table = pa.table({**usual(rows), "other": [LONG] * rows})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)


def test_a_row_group_that_swells_is_read_in_parts_without_what_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footers, "_GROUP", 100 << 20)
    large_page(tmp_path / "a.parquet", 15)
    report, rows = select(tmp_path / "run", tmp_path / "a.parquet")
    assert (report.rows, rows.height, rows["other"].null_count()) == (15, 15, 15)
    assert report.remarks == ["a.parquet: 15 values of other are longer than 1 MiB, read as empty"]


def packed_arrow(path: Path) -> None:
    table = pa.table({**usual(40), "other": pa.array([LONG] * 40, pa.large_string())})
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(("make", "name"), [(large_page, "a.parquet"), (packed_arrow, "a.arrow")])
def test_what_takes_too_much_memory_is_ended(
    make: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / name)
    monkeypatch.setattr(reader_process, "MOST_MEMORY", 200 << 20)
    monkeypatch.setattr(reader_process, "_LOOK", 0.005)
    with pytest.raises(SourceError, match=f"{name} takes more than 0.2 GiB of memory"):
        reader_process.convert_file(tmp_path / name, tmp_path / "out")


def wide(kind: str) -> Iterator[str]:
    names = [f"c{number}" for number in range(100_000)]
    if kind == "csv":
        yield f"url,{','.join(names)}\n"
    elif kind == "jsonl":
        yield "{" + ", ".join(f'"{name}": 1' for name in names) + "}"
    else:  # a new key in each object
        yield from (f'{{"url": "http://example.org/{name}", "{name}": 1}}\n' for name in names)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "keys.jsonl"])
def test_more_columns_than_metadata_has(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"wide.{kind}"
    path.write_text("".join(wide(kind)), encoding="utf-8")
    with pytest.raises(SourceError, match="more than 2,000 columns"):
        filter_rows(RunDir(tmp_path / "run"), recipe(path))


def test_a_message_names_no_more_columns_than_a_person_reads(tmp_path: Path) -> None:
    pl.DataFrame({"url": ["http://example.org"], **{f"c{n}": [1] for n in range(3000)}}).write_parquet(
        tmp_path / "a.parquet"
    )
    with pytest.raises(SourceError, match="c48, and 2,951 more"):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / "a.parquet", keywords=["flower"]))
