"""Metadata as its owners publish it, other than parquet: converted in bounded memory.

CSV, JSON lines (both also gzip and zstd), Arrow and SQLite become parquet files whose rows the filter then
reads like any others.
"""

import contextlib
import gzip
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.files import atomic

from ..errors import SourceError
from . import sac

__all__ = ["convert_file", "convert_to", "flat", "kind_of", "parts_in", "write_tables"]

BLOCK = 16 << 20  # bytes of text looked at together
LONGEST_LINE = 64 << 20
_PACKED = (".gz", ".zst")
_KINDS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_DATABASES = (".sqlite", ".sqlite3", ".db")


def kind_of(path: Path) -> str:
    """What a file is, by its first bytes where these say it, else by its name: parquet, sqlite, csv, ..."""
    try:
        with path.open("rb") as file:
            start = file.read(len(sac.MAGIC))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(b"PAR1"):
        return "parquet"
    if start == sac.MAGIC:
        return "sqlite"
    if start.startswith(b"ARROW1"):
        return "arrow"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    if suffixes and suffixes[-1] in _DATABASES:
        return "sqlite"  # a broken one, which sqlite3 says best
    return _KINDS.get(suffixes[-1] if suffixes else "", "parquet")


def convert_file(path: Path, folder: Path) -> int:
    """Convert a file to parquet parts in `folder`; returns the number of rows. Raises SourceError."""
    kind = kind_of(path)
    if kind == "sqlite":
        return _convert_sqlite(path, folder)
    reader = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "arrow": _arrow}.get(kind, _parquet)
    try:
        return write_tables(reader(path), folder)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        said = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise SourceError(f"{path} cannot be read as {kind}: {said}") from None


def convert_to(path: Path, target: Path) -> int:
    """Convert a file to one parquet file, whatever its blocks hold; returns the rows. Raises SourceError."""
    import polars as pl

    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".visunex-") as name:
        rows = convert_file(path, Path(name))
        parts = [pl.scan_parquet(part) for part in parts_in(Path(name))]
        if not parts:
            raise SourceError(f"{path} has no rows")
        with atomic(target) as temporary:
            pl.concat(parts, how="diagonal_relaxed").sink_parquet(temporary)
    return rows


def parts_in(folder: Path) -> list[str]:
    """The parquet files that a conversion made."""
    return sorted(map(str, folder.glob("*.parquet")))


def write_tables(tables: Iterator[pa.Table], folder: Path) -> int:
    """Write tables to parquet files, a new one wherever the types change; returns the number of rows."""
    rows, number = 0, 0
    waiting = next(tables, None)
    while waiting is not None:
        schema = waiting.schema
        path = folder / f"{number:05d}.parquet"
        with atomic(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            while waiting is not None and waiting.schema.equals(schema):
                writer.write_table(waiting)
                rows += waiting.num_rows
                waiting = next(tables, None)
        number += 1
    return rows


def _parquet(path: Path) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(path).iter_batches():
        yield pa.Table.from_batches([batch])


def _arrow(path: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:  # the stream form, as Hugging Face `datasets` keeps its files
            batches = iter(pa.ipc.open_stream(file))
        for batch in batches:
            yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked on the way when it is gzip or zstd."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif start == b"\x28\xb5\x2f\xfd":
            with pa.input_stream(file, compression="zstd") as stream:
                yield stream
        else:
            yield file


def _csv(path: Path, separator: str = ",") -> Iterator[pa.Table]:
    """Text columns alone; those that hold only numbers become such block by block.

    A quote that is never closed makes a row that does not end: an error, not memory without bound.
    """
    with _unpacked(path) as file:
        names = _header(file, path, separator)
    with _unpacked(path) as file:
        for number, block in enumerate(_records(file, path)):
            if block.strip():
                yield _with_numbers(_rows(block, names, separator, skip=1 if number == 0 else 0))


def _rows(block: bytes, names: list[str], separator: str, skip: int) -> pa.Table:
    """The records of one block, which lies in memory: pyarrow's threads must not read a Python file."""
    import pyarrow.csv as csv

    return csv.read_csv(
        pa.BufferReader(block),
        csv.ReadOptions(column_names=names, skip_rows=skip, block_size=len(block) + 1),
        csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _records(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Blocks of whole records: each ends at a line end outside quotes."""
    rest, inside = b"", 0  # whether what is left over ends inside quotes
    while block := file.read(BLOCK):
        end = _last_record_end(block, inside)
        if end:
            yield rest + block[:end]
            rest, inside = block[end:], 0
        else:
            rest += block
        inside ^= block.count(b'"', end) & 1
        if len(rest) > LONGEST_LINE:
            raise SourceError(
                f"{path} has a row of more than {LONGEST_LINE >> 20} MiB; perhaps a quote is never closed"
            )
    if inside:
        raise SourceError(f"{path} cannot be read as csv: a quote is never closed")
    if rest:
        yield rest


def _last_record_end(block: bytes, inside: int) -> int:
    """The end of the last line outside quotes, where the block begins `inside` them; 0 for none."""
    data = np.frombuffer(block, np.uint8)
    quotes = np.cumsum(data == ord('"'), dtype=np.uint8)  # wraps around, which keeps what is odd odd
    ends = np.flatnonzero((data == ord("\n")) & (quotes & 1 == inside))
    return int(ends[-1]) + 1 if len(ends) else 0


def _tsv(path: Path) -> Iterator[pa.Table]:
    return _csv(path, "\t")


def _header(file: IO[bytes], path: Path, separator: str) -> list[str]:
    import csv

    line = file.read(1 << 20).partition(b"\n")[0]
    if not line.strip():
        raise SourceError(f"{path} is empty: its first line should name the columns")
    names = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator))
    if len(set(names)) < len(names):
        raise SourceError(f"{path} names a column twice in its first line")
    return names


def _with_numbers(table: pa.Table) -> pa.Table:
    """Columns of texts that are all whole numbers, or all numbers, as such."""
    for index, name in enumerate(table.column_names):
        for kind in (pa.int64(), pa.float64()):
            with contextlib.suppress(pa.ArrowInvalid):
                table = table.set_column(index, name, table[name].cast(kind))
                break
    return table


def _jsonl(path: Path) -> Iterator[pa.Table]:
    """One object a line. A line longer than LONGEST_LINE is an error, however long the file is."""
    with _unpacked(path) as file:
        for number, block in enumerate(_blocks(file, path)):
            if block.strip():
                yield _objects(block, path, number)


def _blocks(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Blocks of whole lines."""
    rest = bytearray()
    while data := file.read(BLOCK):
        end = data.rfind(b"\n") + 1
        if not end:
            rest += data
            if len(rest) > LONGEST_LINE:
                raise SourceError(f"{path} has a line of more than {LONGEST_LINE >> 20} MB: not JSON lines")
            continue
        yield bytes(rest) + data[:end]
        rest = bytearray(data[end:])
    if rest.strip():
        yield bytes(rest)


def _objects(block: bytes, path: Path, number: int) -> pa.Table:
    import pyarrow.json as lines

    first = block.lstrip()[:1]
    if first and first != b"{":
        raise SourceError(f"{path} is not JSON lines: a line does not begin with an object (block {number})")
    options = lines.ReadOptions(block_size=max(len(block), 1))
    return flat(lines.read_json(io.BytesIO(block), options))


def flat(table: pa.Table) -> pa.Table:
    """Without columns inside columns; those of objects that were empty everywhere, say."""
    keep = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    return table.select(keep)


def _convert_sqlite(path: Path, folder: Path) -> int:
    if sac.is_sac(path):
        return sac.convert(path, folder / "00000.parquet").rows
    with sac.opened(path) as database:
        names = {table: columns for table, columns in sac.table_columns(database).items() if columns}
        wanted = [table for table, columns in names.items() if columns & {"url", "image_url"}]
        if len(wanted) != 1:
            listed = ", ".join(sorted(names)) or "none"
            raise SourceError(
                f"{path} has not one table with a column url (its tables: {listed}); "
                f"write what you want to CSV: sqlite3 -csv -header {path.name} 'SELECT ...'"
            )
        return write_tables(_table_rows(database, wanted[0]), folder)


def _table_rows(database: Any, table: str) -> Iterator[pa.Table]:
    quoted = '"' + table.replace('"', '""') + '"'
    cursor = database.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - quoted as SQLite wants it
    names = [column[0] for column in cursor.description]
    while batch := cursor.fetchmany(50_000):
        columns = zip(*batch, strict=True)
        yield pa.table({name: _values(values) for name, values in zip(names, columns, strict=True)})


def _values(values: tuple[Any, ...]) -> pa.Array:
    """A column of SQLite, which may hold anything in any row."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
