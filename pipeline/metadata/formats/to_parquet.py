"""A file of any kind that metadata is published in -> parquet files, in bounded memory."""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line
from visunex.base.files import FULL, atomic
from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile

from ...errors import SourceError
from .. import sac
from ..filetypes import Kind, kind_of
from . import archive, arrow, csv, jsonl, sqlite
from .records import Blocks, Reading, Tally
from .typed import write_typed

__all__ = ["convert_archive", "convert_here", "parts_in", "write_tables"]


def _tar(path: Path, reading: Reading, tally: Tally) -> Blocks:
    with path.open("rb") as file:
        yield from archive.read_tar(file, reading.place(path), tally)


def _zip(path: Path, reading: Reading, tally: Tally) -> Blocks:
    return archive.read_zip(LocalFile(path), reading.place(path), tally)


def _folder(path: Path, _: Reading, tally: Tally) -> Blocks:
    return archive.read_folder(path, tally)


_RECORDS: Mapping[Kind, Callable[[Path, Reading, Tally], Blocks]] = {
    "csv": csv.read,
    "folder": _folder,
    "jsonl": jsonl.read,
    "sqlite": sqlite.read,
    "tar": _tar,
    "tsv": csv.read_tsv,
    "txt": csv.read_links,
    "zip": _zip,
}
_TABLES: Mapping[Kind, Callable[[Path, Reading, Tally], Iterator[pa.Table]]] = {
    "arrow": arrow.read,
    "parquet": arrow.read_parquet,
}
_TYPED = frozenset({"folder", "jsonl", "sqlite", "tar", "zip"})
# What the libraries behind the readers raise on damaged files, each found by feeding it some.
_FAULTS = (
    FetchError,
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    sqlite3.Error,
    OSError,
    EOFError,
    zlib.error,
    UnicodeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    NotImplementedError,
)


def convert_here(path: Path, folder: Path, reading: Reading) -> Tally:
    """Convert a file to parquet parts in `folder`, in this process; what became of its rows.

    Raises SourceError, naming the file.
    """
    kind = kind_of(path)
    tally = Tally()
    try:
        _convert(path, kind, folder, reading, tally)
        tally.require_most()
    except SourceError as error:
        said = str(error)
        raise SourceError(said if str(path) in said else f"{path}: {said}") from None
    except _FAULTS as error:
        raise _named(f"{path} cannot be read as {kind}", error, folder) from None
    return tally


def convert_archive(blocks: Blocks, folder: Path, reading: Reading, tally: Tally) -> Tally:
    """Write the rows of an archive that lies elsewhere to a part in `folder`. Raises SourceError."""
    try:
        write_typed(blocks, folder, reading, tally, typed=True)
    except SourceError as error:
        raise SourceError(f"{reading.address}: {error}") from None
    except _FAULTS as error:
        raise _named(f"{reading.address} cannot be read", error, folder) from None
    return tally


def _named(what: str, error: BaseException, folder: Path) -> SourceError:
    """What went wrong, be it with the file or with the disk that it is converted to."""
    if isinstance(error, OSError) and error.errno in FULL:
        return SourceError(
            f"{folder} has no room for what is converted ({error.strerror}); make room, run it again"
        )
    return SourceError(f"{what}: {first_line(error)}")


def _convert(path: Path, kind: Kind, folder: Path, reading: Reading, tally: Tally) -> None:
    if kind == "sqlite" and sac.is_sac(path):
        found = sac.convert(path, folder / "00000.parquet")
        tally.read = found.rows
        tally.dropped.update({"double_id": found.double} if found.double else {})
    elif kind in _RECORDS:
        blocks = _RECORDS[kind](path, reading, tally)
        write_typed(blocks, folder, reading, tally, typed=kind in _TYPED)
    else:
        write_tables(_TABLES[kind](path, reading, tally), folder)


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
