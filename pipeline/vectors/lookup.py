"""Vectors that somebody else has computed: the rows wanted out of millions, found by link or hash.

The layout is clip-retrieval's (`img_emb/img_emb_N.npy` beside `metadata/metadata_N.parquet`), in a folder,
behind an address or on the Hub. Of the metadata the one column is read that rows are found by, of the vectors
only the rows wanted.
"""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visunex.base.errors import first_line
from visunex.base.progress import Progress
from visunex.net.range_file import RangedFile, coalesced

from ..errors import EncodeError, fetch_errors_as, parquet_errors
from .npy import as_float32, have_direction
from .remote_store import (
    Header,
    PublishedFolder,
    as_plain_text,
    header,
    named,
    open_folder,
    opened,
    provenance_of,
    require_same_count,
)
from .store import part_numbers, part_paths

__all__ = ["Found", "Hit", "Wanted", "find", "links_in", "look_up", "read_rows"]

_BATCH = 1 << 15
_BLOCK = 64 << 20  # bytes of columns that are in memory at a time


@dataclass(frozen=True)
class Wanted:
    """The rows looked for, by rank: their URLs, and where the data set has them, hashes (null: none)."""

    urls: Sequence[str | None]
    hashes: Sequence[int | str | None] | None = None


@dataclass(frozen=True)
class Hit:
    """Where a row's vector lies, and its raw norm where the folder says so."""

    part: int
    row: int
    norm: float | None


@dataclass(frozen=True)
class Found:
    """Where the rows that were found lie, by rank; `by` is the column, `rows` how many were looked at.

    `provenance` is what a folder of ours says of how it was made; nothing where it is a peer's.
    """

    hits: Mapping[int, Hit]
    by: str
    rows: int
    provenance: Mapping[str, Any] = field(default_factory=dict)


def links_in(folder: Path) -> set[str]:
    """The links of all rows that a folder of ours has a vector of."""
    found: set[str] = set()
    for part in (part_paths(folder, number) for number in part_numbers(folder)):
        with contextlib.suppress(*parquet_errors()):  # such a part is named when it is read
            rows = pq.ParquetFile(part.metadata).read(["url"])
            found.update(filter(None, rows["url"].to_pylist()))
    return found


def look_up(place: str | PublishedFolder, rows: pa.Table) -> Found:
    """Where the vectors of a selection's rows lie; ranks are places in the table. Raises EncodeError."""
    hashes = rows["hash"].to_pylist() if "hash" in rows.column_names else None
    folder = open_folder(place) if isinstance(place, str) else place
    return find(folder, Wanted(rows["url"].to_pylist(), hashes))


@fetch_errors_as(EncodeError)
def find(folder: PublishedFolder, wanted: Wanted) -> Found:
    """Where the wanted rows lie: by `url`, else by `hash`. The first of several counts.

    Raises EncodeError for metadata that cannot be read or has neither column.
    """
    by, values = _key(folder, wanted)
    where: dict[Any, list[int]] = {}
    for rank, value in enumerate(values):
        if value is not None:
            where.setdefault(value, []).append(rank)
    hits: dict[int, Hit] = {}
    provenance: dict[str, Any] = {}
    rows = 0
    with Progress("look up vectors", None, unit="rows") as shown, ThreadPoolExecutor(2) as pool:
        looked = pool.map(lambda number: _look_up(folder, number, by, list(where)), range(len(folder.parts)))
        for own, count, part_provenance in looked:
            rows += count
            provenance = provenance or part_provenance
            shown.advance(count)
            for value, hit in own:
                for rank in where[value]:
                    hits.setdefault(rank, hit)
    return Found(hits, by, rows, provenance)


def _key(folder: PublishedFolder, wanted: Wanted) -> tuple[str, Sequence[Any]]:
    """The metadata's column that rows are found by, and the wanted values of it."""
    names = opened(folder.parts[0]).schema_arrow.names
    if (url := named(names, "url")) is not None:
        return url, wanted.urls
    if (hash_ := named(names, "hash")) is not None and wanted.hashes is not None:
        return hash_, wanted.hashes
    raise EncodeError(
        f"{folder.place}: its metadata has no column url, nor a hash that the selection has too; it has "
        f"{', '.join(names)}"
    )


def _look_up(
    folder: PublishedFolder, number: int, by: str, values: Sequence[Any]
) -> tuple[list[tuple[Any, Hit]], int, dict[str, Any]]:
    """The wanted values in one part and where each lies, how many rows it has, how it was made."""
    part = folder.parts[number]
    file = opened(part)
    names = file.schema_arrow.names
    if by not in names:
        raise EncodeError(f"{part.metadata.name} has no column {by!r} as the first part has")
    require_same_count(part, file)
    found: list[tuple[Any, Hit]] = []
    begin = 0
    try:
        for group in range(file.num_row_groups):
            places = _places(file, group, by, values)
            norms = _norms(file, group) if places and "norm" in names else None
            for at, index in places:
                found.append((values[index], Hit(number, begin + at, None if norms is None else norms[at])))
            begin += file.metadata.row_group(group).num_rows
    except parquet_errors() as error:
        raise EncodeError(f"{part.metadata.name} cannot be read: {first_line(error)}") from None
    return found, begin, provenance_of(file)


def _places(file: pq.ParquetFile, group: int, by: str, values: Sequence[Any]) -> list[tuple[int, int]]:
    """(row of the group, index of the wanted value) for each row that has one."""
    lookup: pa.Array | None = None
    places, begin = [], 0
    for batch in file.iter_batches(_BATCH, [group], [by], use_threads=False):
        column = as_plain_text(batch.column(0))
        lookup = _lookup(column.type, values) if lookup is None else lookup
        indices = pc.index_in(column, value_set=lookup)
        rows = np.flatnonzero(indices.is_valid().to_numpy(zero_copy_only=False))
        places += [(begin + int(row), indices[int(row)].as_py()) for row in rows]
        begin += len(column)
    return places


def _lookup(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    try:
        if kind == pa.large_binary():
            values = [value if value is None else value.encode(errors="surrogatepass") for value in values]
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, OverflowError, AttributeError):
        raise EncodeError(
            f"rows cannot be found by a column of {kind}: the selection's values are of another kind"
        ) from None


def _norms(file: pq.ParquetFile, group: int) -> list[float | None]:
    values = file.read_row_group(group, columns=["norm"], use_threads=False).column(0).cast(pa.float64())
    return values.to_pylist()


@fetch_errors_as(EncodeError)
def read_rows(folder: PublishedFolder, hits: Sequence[Hit]) -> NDArray[np.float32]:
    """The vectors [n, D] of the hits, in their order; NaN where one is zero or not finite.

    Raises EncodeError for files that hold no such.
    """
    rows: list[NDArray[np.float32] | None] = [None] * len(hits)
    for number in sorted({hit.part for hit in hits}):
        own = sorted((hit.row, index) for index, hit in enumerate(hits) if hit.part == number)
        vectors = _read_part(folder.parts[number].vectors, [row for row, _ in own])
        for (_, index), vector in zip(own, vectors, strict=True):
            rows[index] = vector
    found = [row for row in rows if row is not None]
    if len({len(row) for row in found}) > 1:
        raise EncodeError(
            f"{folder.place} has parts of different dimensions: they come from different towers"
        )
    return np.stack(found) if found else np.zeros((0, 0), np.float32)


def _read_part(file: RangedFile, rows: Sequence[int]) -> list[NDArray[np.float32]]:
    head = header(file)
    if head.by_column:
        return _read_columns(file, head, rows)
    if rows[-1] >= head.count:
        raise EncodeError(
            f"{file.name} has {head.count} vectors, its metadata more rows: they do not belong together"
        )
    wanted = [(head.start + row * head.width, head.start + (row + 1) * head.width) for row in rows]
    blocks = coalesced(wanted, gap=head.width)  # a row between costs less than another request
    data = dict(zip(blocks, file.read_many(blocks), strict=True))
    vectors, block = [], iter(data.items())
    (begin, end), bytes_ = next(block)
    for first, last in wanted:
        while last > end:
            (begin, end), bytes_ = next(block)
        row = np.frombuffer(bytes_[first - begin : last - begin], dtype=head.kind)
        if len(row) < head.dimension:
            raise EncodeError(f"{file.name}: a vector in it is cut off")
        vectors.append(_usable(row))
    return vectors


def _usable(row: NDArray[Any]) -> NDArray[np.float32]:
    """The vector in float32; all NaN where it has no direction there."""
    vector = as_float32(row)
    return vector if have_direction(vector[None])[0] else np.full_like(vector, np.nan)


def _read_columns(file: RangedFile, head: Header, rows: Sequence[int]) -> list[NDArray[np.float32]]:
    """Rows of an array in Fortran order: its columns lie one behind the other, and all are read."""
    height = head.count * head.kind.itemsize
    step, pieces = max(1, _BLOCK // height), []
    for first in range(0, head.dimension, step):
        columns = min(step, head.dimension - first)
        begin = head.start + first * height
        data = file.read(begin, begin + columns * height)
        if len(data) < columns * height:
            raise EncodeError(f"{file.name} is cut off")
        pieces.append(np.frombuffer(data, head.kind).reshape(columns, head.count)[:, list(rows)].T)
    return [_usable(row) for row in np.concatenate(pieces, axis=1)]
