"""What parquet files say of themselves: judged in one way wherever they lie, before memory is taken by it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filtering import recipe
from standin import Page, serving

from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.inside import opened
from visunex.pipeline.inside.parquet_rows import ParquetRows
from visunex.pipeline.metadata.footers import swollen
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards import footer
from visunex.pipeline.shards.image_tables import image_columns


def number(value: int) -> bytes:
    """A number as thrift's compact protocol has it."""
    return bytes([value & 127 | 128]) + number(value >> 7) if value > 127 else bytes([value])


def structs(items: bytes, count: int) -> bytes:
    return b"\x19\xfc" + number(count) + items


def whole(data: bytes) -> bytes:
    return b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1"


def of_columns(count: int) -> bytes:
    """A file of so many columns, by what it says."""
    columns = b"".join(b"\x15\x0c\x25\x00\x18\x04" + b"%04x" % each + b"\x00" for each in range(count))
    root = b"\x48\x06schema\x15" + number(2 * count) + b"\x00"
    return whole(b"\x15\x02" + structs(root + columns, count + 1) + b"\x16\x00\x19\x0c\x00")


def of_chunks(count: int) -> bytes:
    """A row group of so many columns of which nothing is said: three bytes become some hundred."""
    schema = structs(b"\x48\x06schema\x15\x02\x00" + b"\x15\x0c\x25\x00\x18\x03url\x00", 2)
    group = structs(b"\x26\x00\x00" * count, count) + b"\x16\x00\x16\x00\x00"
    return whole(b"\x15\x02" + schema + b"\x16\x00" + b"\x19\x1c" + group + b"\x00")


def padded(_: int) -> bytes:
    """A file that says nothing at length."""
    return whole(bytes(footer.LARGEST_FOOTER + 1))


BOMBS = [
    (of_columns, 30_000, "far more columns"),
    (of_chunks, 500_000, None),
    (padded, 0, "16 MiB, more than"),
]


@pytest.mark.parametrize("way", ["here", "http", "s3"])
@pytest.mark.parametrize(("make", "count", "said"), BOMBS)
def test_one_judgement_wherever_a_file_lies(
    make: Any, count: int, said: str | None, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(make(count))
    monkeypatch.setattr(pq, "read_metadata", lambda _: pytest.fail("pyarrow was asked"))
    with serving({"/a.parquet": Page(path.read_bytes())}) as web:
        place = {"here": str(path), "http": f"{web.address}/a.parquet", "s3": "s3://bucket/a.parquet"}[way]
        monkeypatch.setattr(opened, "BucketFile", lambda _: LocalFile(path))
        if said:
            with pytest.raises(SourceError, match=said):
                swollen([place])
        else:
            assert swollen([place]) == []  # polars says what is wrong with it
        with pytest.raises(FetchError, match=said):
            ParquetRows(opened.opened_file(place))
        assert image_columns(path) == []


def test_a_file_that_says_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(of_columns(30_000))
    with pytest.raises(SourceError, match=r"a\.parquet has far more columns than metadata has"):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / "a.parquet"))


def test_large_footers_of_real_files_are_read(tmp_path: Path) -> None:
    table = pa.table({f"column {each}": ["x"] for each in range(800)})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for _ in range(20):
            writer.write_table(table)
    assert pq.read_metadata(tmp_path / "a.parquet").serialized_size > footer._SMALL
    assert footer.opened_parquet(tmp_path / "a.parquet").metadata.num_rows == 20
    assert swollen([str(tmp_path / "a.parquet")]) == []
