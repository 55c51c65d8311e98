"""What functions give for millions of published vectors, in bounded memory: a cosine with one, a score.

A row and its vector meet by a 64-bit hash of the link (or of the metadata's own hash), so of ten million rows
only hashes and values are held: 8 bytes a row and 8 for each function. (That any two of so many links share
one is as likely as 3 in a million.) Vectors are read part by part in blocks, of each part only the rows that
are wanted, and once for all functions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from visunex.base.errors import first_line
from visunex.base.progress import Progress
from visunex.net.range_file import RangedFile

from ..errors import EncodeError, fetch_errors_as, parquet_errors
from ..inside.amount import MOST_MOVED, Allowance, Amount
from ..metadata.columns import Role
from .arrays import is_far
from .npy import as_float32
from .remote_store import (
    Header,
    PublishedFolder,
    PublishedPart,
    as_texts,
    header,
    named,
    opened,
    require_same_count,
)
from .threads import in_threads

__all__ = ["Function", "Measured", "cosine_with", "measure"]

BLOCK = 4096  # vectors read at once
_FAR_BLOCK = 1024  # of a file behind an address, where what lies between may come along
_FAR_GAP = 64 << 10  # bytes between two vectors there that cost less than another request
_FEW = 64  # vectors that are asked for one by one there
_FAR_PIECE = 8 << 20  # bytes asked for in one request
_IN_CACHE = 512  # of these in float32
_ROWS = 1 << 17  # of metadata held at once
_DIGITS = 6  # of a cosine: float32 sums differ in the seventh by the order they are added in

Hashes: TypeAlias = NDArray[np.uint64]
Values: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]
Function: TypeAlias = Callable[[NDArray[np.float32]], Values]  # of unit vectors [n, D], for each a number


def cosine_with(vector: NDArray[np.float32]) -> Function:
    """The cosines of unit vectors with a unit `vector` [D]."""
    return lambda units: (units @ vector).astype(np.float64).round(_DIGITS)


class Measured:
    """What a function gives for each row that has a vector, looked up by the row's key."""

    def __init__(self, hashes: Hashes, values: Values) -> None:
        """`hashes` ascending; NaN where a row has no vector."""
        self._hashes, self._values = hashes, values

    def of(self, keys: pl.Expr) -> pl.Expr:
        """The value of rows by their keys, as text, Float64, null where there is none."""
        return keys.map_batches(self._look_up, return_dtype=pl.Float64, is_elementwise=True)

    def _look_up(self, keys: pl.Series) -> pl.Series:
        places, present = _found(keys, self._hashes)
        values = np.full(len(keys), np.nan)
        values[present] = self._values[places[present]]
        return pl.Series(keys.name, values, nan_to_null=True)


def _found(keys: pl.Series, among: Hashes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each key's hash is among ascending hashes, and whether it is there; null is nowhere."""
    hashes = keys.hash().to_numpy()
    if not len(among):
        return np.zeros(len(keys), np.intp), np.zeros(len(keys), np.bool_)
    order = np.argsort(hashes)  # in order they are found many times faster
    places = np.empty(len(keys), np.intp)
    places[order] = np.searchsorted(among, hashes[order])
    places[places == len(among)] = 0
    return places, (among[places] == hashes) & keys.is_not_null().to_numpy()


@fetch_errors_as(EncodeError)
def measure(
    folder: PublishedFolder,
    by: Role,
    wanted: Hashes,
    functions: Mapping[str, Function],
    most_moved: str = MOST_MOVED,
) -> dict[str, Measured]:
    """What functions give for the vectors of those rows whose keys' hashes are among the `wanted`.

    A row that is no vector (zero or not finite) has no values. How many bytes are to be read of files behind
    addresses is said before. Raises EncodeError for a part that cannot be read, and for more bytes than
    `most_moved` (10GB).
    """
    wanted = _distinct(wanted)
    values = {name: np.full(len(wanted), np.nan) for name in functions}
    dimension = header(folder.parts[0].vectors).dimension
    with Progress("compare", None, unit="vectors") as progress:
        for part, head, places, rows in _parts(folder, by, wanted, dimension, most_moved):
            begin = 0
            for found in in_threads(partial(_worked, functions), _blocks(part.vectors, head, rows)):
                end = begin + len(next(iter(found.values())))
                for name, measured in found.items():
                    _fill(values[name], places[begin:end], measured)
                progress.advance(end - begin)
                begin = end
    return {name: Measured(wanted, each) for name, each in values.items()}


_PartRows: TypeAlias = tuple[PublishedPart, Header, Rows, Rows]


def _parts(
    folder: PublishedFolder, by: Role, wanted: Hashes, dimension: int, most_moved: str
) -> Iterable[_PartRows]:
    """Each part with its wanted rows; of far ones it is said how much is to be read, before any of it is."""

    def found() -> Iterator[_PartRows]:
        for part in folder.parts:
            head = _judged(part.vectors, dimension)
            yield part, head, *_wanted_rows(part, by, wanted)

    if not any(map(is_far, (part.vectors for part in folder.parts))):
        return found()
    parts = list(found())
    amount = sum((_amount(part.vectors, head, rows) for part, head, _, rows in parts), Amount())
    if amount.bytes:
        Allowance(most_moved, EncodeError).take(amount, f"{folder.place}: vectors to be read")
    return parts


def _amount(file: RangedFile, head: Header, rows: Rows) -> Amount:
    """What is read of a file for some rows."""
    if not len(rows) or not is_far(file):
        return Amount()
    ranges = [each for some in _blocks_of(file, rows) for each in _ranges(head, *_spans(file, head, some))]
    return Amount(sum(end - begin for begin, end in ranges), files=1, pieces=len(ranges))


def _blocks_of(file: RangedFile, rows: Rows) -> Iterator[Rows]:
    """The rows that are read at once."""
    size = _FAR_BLOCK if is_far(file) else BLOCK
    return (rows[begin : begin + size] for begin in range(0, len(rows), size))


def _spans(file: RangedFile, head: Header, rows: Rows) -> tuple[Rows, Rows]:
    """Where ascending rows begin and end that are read together, with the few that lie between."""
    apart = max(2, _FAR_GAP // head.width) if is_far(file) and len(rows) > _FEW else 2
    firsts = np.flatnonzero(np.diff(rows, prepend=rows[0] - apart - 1) > apart)
    return rows[firsts], rows[np.append(firsts[1:], len(rows)) - 1] + 1


def _ranges(head: Header, begins: Rows, ends: Rows) -> list[tuple[int, int]]:
    """The bytes of spans of rows, in pieces that are asked for one by one."""
    spans = zip(
        (head.start + begins * head.width).tolist(), (head.start + ends * head.width).tolist(), strict=True
    )
    return [(at, min(at + _FAR_PIECE, end)) for begin, end in spans for at in range(begin, end, _FAR_PIECE)]


def _distinct(hashes: Hashes) -> Hashes:
    """Hashes ascending, each once; numpy's own `unique` takes five times as long."""
    ordered = np.sort(hashes)
    return ordered[np.diff(ordered, prepend=~ordered[:1]) != 0]


def _judged(file: RangedFile, dimension: int) -> Header:
    head = header(file)
    if head.by_column:
        raise EncodeError(
            f"{file.name} is in Fortran order, whose rows cannot be compared one by one; "
            "save it again with numpy.ascontiguousarray"
        )
    if head.dimension != dimension:
        raise EncodeError(
            f"{file.name} has vectors of {head.dimension} dimensions, the first part of {dimension}"
        )
    return head


def _fill(values: Values, places: Rows, measured: Values) -> None:
    """Put what was measured into its places; of several vectors for one, the first that is sound counts."""
    new = np.isfinite(measured) & np.isnan(values[places])
    values[places[new][::-1]] = measured[new][::-1]  # numpy lets the last of several win


def _wanted_rows(part: PublishedPart, by: Role, wanted: Hashes) -> tuple[Rows, Rows]:
    """Where the keys of those rows of a part that are wanted are among these; and the rows, ascending."""
    among, rows, begin = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for keys in _keys(part, by):
        places, present = _found(keys, wanted)
        among.append(places[present])
        rows.append(begin + np.flatnonzero(present))
        begin += len(keys)
    return np.concatenate(among), np.concatenate(rows)


def _keys(part: PublishedPart, by: str) -> Iterator[pl.Series]:
    file = opened(part)
    require_same_count(part, file)
    name = named(file.schema_arrow.names, by)
    if name is None:
        raise EncodeError(f"{part.metadata.name} has no column {by!r} as the first part has")
    try:
        for batch in file.iter_batches(_ROWS, columns=[name], use_threads=False):
            yield as_texts(batch.column(0))  # null, and so nowhere, where it is not UTF-8
    except parquet_errors(pl.exceptions.PolarsError) as error:
        raise EncodeError(f"{part.metadata.name} cannot be read: {first_line(error)}") from None


def _blocks(file: RangedFile, head: Header, rows: Rows) -> Iterator[NDArray[Any]]:
    """The vectors of ascending rows, as they are in the file."""
    for some in _blocks_of(file, rows):
        read = _read(file, head, some)
        yield from (read[at : at + _IN_CACHE] for at in range(0, len(read), _IN_CACHE))


def _worked(functions: Mapping[str, Function], rows: NDArray[Any]) -> dict[str, Values]:
    """What the functions give for some rows."""
    units = _units(rows)
    return {name: function(units) for name, function in functions.items()}


def _units(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows normalised, float32 [n, D]; not finite where a row is no vector."""
    wide = as_float32(rows)
    with np.errstate(all="ignore"):
        wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return wide


def _read(file: RangedFile, head: Header, rows: Rows) -> NDArray[Any]:
    """The vectors [n, D] of ascending rows."""
    begins, ends = _spans(file, head, rows)
    data = b"".join(file.read_many(_ranges(head, begins, ends)))
    if len(data) != int((ends - begins).sum()) * head.width:
        raise EncodeError(f"{file.name} is cut off")
    read = np.frombuffer(data, head.kind).reshape(-1, head.dimension)
    if len(read) == len(rows):
        return read
    before = np.cumsum(ends - begins) - (ends - begins)  # vectors read before each span
    within = np.searchsorted(begins, rows, side="right") - 1
    return read[rows - begins[within] + before[within]]
