"""Rows of parquet files however they were written: the right values, and few bytes beside them."""

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from standin import Page, serving

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile, RangedFile
from visunex.pipeline.inside.location import Location
from visunex.pipeline.inside.opened import opened_file
from visunex.pipeline.inside.reading import images_at

MOST = 1 << 20


class Counted(LocalFile):
    """A file that counts the bytes that are read of it."""

    moved = 0

    def read_many(self, ranges: Any) -> list[bytes]:
        found = super().read_many(ranges)
        self.moved += sum(map(len, found))
        return found


def values(count: int, size: int = 300, seed: int = 0) -> list[bytes | None]:
    """Values of about a size, each another, some null and some empty."""
    chance = random.Random(seed)
    found: list[bytes | None] = [
        chance.randbytes(chance.randrange(size // 2, size * 2)) for _ in range(count)
    ]
    for place in range(7, count, 31):
        found[place] = None if place % 2 else b""
    return found


def read(file: RangedFile, rows: list[int], column: str = "image.bytes") -> list[bytes | str | None]:
    """The values of rows, in the order of the file; why there is none, where there is none."""
    wanted = [Location(file.name, row, column) for row in rows]
    found = {location.row: data for location, data in images_at(file, wanted, MOST)}
    assert sorted(found) == sorted(rows)
    return [_plain(found[row]) for row in rows]


def _plain(found: bytes | ImageError) -> bytes | str | None:
    if isinstance(found, bytes):
        return found
    return None if found.kind == "empty" else found.described


def struct(found: list[bytes | None], **more: Any) -> pa.Table:
    rows = [None if data is None else {"bytes": data, "path": str(row)} for row, data in enumerate(found)]
    return pa.table({"number": range(len(found)), "image": rows, **more})


WRITERS: dict[str, dict[str, Any]] = {
    "usual": {},
    "plain": {"use_dictionary": False, "compression": "none"},
    "second form of pages": {"data_page_version": "2.0", "compression": "zstd", "use_dictionary": False},
    "index": {"write_page_index": True, "use_dictionary": False},
    "index and dictionary": {"write_page_index": True, "compression": "gzip", "data_page_version": "2.0",
                             "dictionary_pagesize_limit": 20_000},
    "lengths first": {"use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_rows_however_they_were_written(writer: str, tmp_path: Path) -> None:
    found = values(700)
    path = tmp_path / "a.parquet"
    pq.write_table(
        struct(found), path, row_group_size=300, data_page_size=8192, write_batch_size=10, **WRITERS[writer]
    )
    for rows in ([*range(700)], [0], [299, 300], [7, 38, 69], [5, 250, 251, 252, 640, 699]):
        assert read(LocalFile(path), rows) == [found[row] for row in rows]
    assert read(LocalFile(path), [3, 700, 10**15])[1:] == ["unreadable: the file has fewer rows now"] * 2


@pytest.mark.parametrize("column", ["jpg", "image.bytes"])
def test_rows_of_a_file_of_polars(column: str, tmp_path: Path) -> None:
    found = values(400)
    images = {"jpg": found} if column == "jpg" else {"image": [{"bytes": each} for each in found]}
    frame = pl.DataFrame(
        {"caption": ["a"] * 400, **images}, schema_overrides={"jpg": pl.Binary} if column == "jpg" else None
    )
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=150, data_page_size=4096)
    rows = [1, 7, 149, 150, 399]
    assert read(LocalFile(tmp_path / "a.parquet"), rows, column) == [found[row] for row in rows]


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("index", [False, True])
def test_only_the_pages_that_hold_the_rows_are_moved(index: bool, remote: bool, tmp_path: Path) -> None:
    """Two pages of ten in a row group; without an index the pages' headers lead to them."""
    found = values(2000, 2000, seed=1)
    path = tmp_path / "a.parquet"
    pq.write_table(struct(found), path, row_group_size=2000, data_page_size=1, write_batch_size=200,
                   use_dictionary=False, write_page_index=index)  # fmt: skip
    rows, page = [410, 599, 1000], 200 * 2500
    if remote:
        with serving({"/a.parquet": Page(path.read_bytes())}) as web:
            assert read(opened_file(f"{web.address}/a.parquet"), rows) == [found[row] for row in rows]
            moved = web.sent
    else:
        file = Counted(path)
        assert read(file, rows) == [found[row] for row in rows]
        moved = file.moved
    assert moved < (2 * page * 1.3 if index else path.stat().st_size * 0.8)


def test_a_row_group_is_not_held_in_memory(tmp_path: Path) -> None:
    """64 MB in pages of 1 MB, with the memory of the process that reads it."""
    data = random.Random(0).randbytes(1 << 20)
    images = [{"bytes": bytes([row]) + data} for row in range(64)]
    pq.write_table(
        pa.table({"image": images}), tmp_path / "a.parquet", use_dictionary=False, write_batch_size=1
    )
    script = f"""
import resource
from visunex.pipeline.inside.location import Location
from visunex.pipeline.inside.opened import opened_file
from visunex.pipeline.inside.reading import images_at
def read(rows):
    wanted = [Location({str(tmp_path / "a.parquet")!r}, row, "image.bytes") for row in rows]
    return sum(len(data) for _, data in images_at(opened_file(wanted[0].file), wanted, 1 << 25))
read([0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read(range(64)) == 64 * ((1 << 20) + 1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 24 * 1024


def test_one_picture_repeated_for_ever_fills_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of a megabyte in each of 100,000 rows: 100 GB in a megabyte."""
    monkeypatch.setattr("visunex.pipeline.inside.parquet_rows._MOST_PASSED", 1 << 30)
    path = tmp_path / "a.parquet"
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array([b"x" * (1 << 20)]))
    pq.write_table(
        pa.table({"jpg": same}), path, row_group_size=100_000, compression="zstd", store_schema=False
    )
    assert path.stat().st_size < MOST
    assert read(LocalFile(path), [0, 3], "jpg") == [b"x" * MOST] * 2
    assert read(LocalFile(path), [0, 99_999], "jpg")[1] == "unreadable: the file repeats a picture for ever"


def test_files_that_are_broken_give_pictures_or_reasons(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.parquet", random.Random(5)
    pq.write_table(struct(values(60)), path, row_group_size=25, data_page_size=2048, write_batch_size=5,
                   write_page_index=True, dictionary_pagesize_limit=4000)  # fmt: skip
    whole = path.read_bytes()
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(chance.choice([1, 20])):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken[: chance.choice([len(broken), chance.randrange(len(broken))])])
        with contextlib.suppress(FetchError):
            read(LocalFile(path), [0, 24, 40, 59])


def test_a_page_that_memory_cannot_hold_costs_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visunex.pipeline.inside.pages.LARGEST_PAGE", 5000)
    path = tmp_path / "a.parquet"
    pq.write_table(struct([b"x" * 100_000, b"y"]), path, compression="zstd")
    assert path.stat().st_size < 5000
    said = "is more than is held in memory at once: write the file anew with smaller row groups"
    assert all(said in str(each) for each in read(LocalFile(path), [0, 1]))
