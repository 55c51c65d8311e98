"""A file of any kind that metadata is published in -> parquet files, in bounded memory."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line
from visunex.base.files import atomic

from ...errors import SourceError
from .. import sac
from ..filetypes import Kind, kind_of
from . import arrow, csv, jsonl, sqlite

__all__ = ["convert_file", "convert_to", "parts_in", "write_tables"]

_READERS: Mapping[Kind, Callable[[Path], Iterator[pa.Table]]] = {
    "arrow": arrow.read,
    "csv": csv.read,
    "jsonl": jsonl.read,
    "parquet": arrow.read_parquet,
    "sqlite": sqlite.read,
    "tsv": csv.read_tsv,
}


def convert_file(path: Path, folder: Path) -> int:
    """Convert a file to parquet parts in `folder`; returns the number of rows. Raises SourceError."""
    kind = kind_of(path)
    if kind == "sqlite" and sac.is_sac(path):
        return sac.convert(path, folder / "00000.parquet").rows
    try:
        return write_tables(_READERS[kind](path), folder)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as {kind}: {first_line(error)}") from None


def convert_to(path: Path, target: Path) -> int:
    """Convert a file to one parquet file, whatever its blocks hold; returns the rows. Raises SourceError."""
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
