"""Values of a column of a record batch behind an address: only the bytes of those that are wanted.

In Arrow a value lies between two offsets, so it can be asked for by itself, unless the batch is packed.
https://arrow.apache.org/docs/format/Columnar.html#buffer-listing-for-each-layout
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from visunex.net.range_file import RangedFile

from .arrow_messages import Batch
from .pages import ReadAhead

__all__ = ["Buffers", "Span", "buffers_of", "spans_of"]

_AHEAD = 4 * 1024  # bytes that are read with a bit or an offset: most often those of the other rows

Span = tuple[int, int]


@dataclass(frozen=True)
class Buffers:
    """Which of a batch's buffers say of a column whether it has values, where they begin, and hold them."""

    present: tuple[int, ...]
    offsets: int
    values: int
    wide: bool


def buffers_of(schema: Any, column: str) -> Buffers | None:
    """The buffers of a column (`jpg`, `image.bytes`); None where it cannot be said. Raises LookupError."""
    name, _, inner = (column, "", "") if column in schema.names else column.rpartition(".")
    at, kind = _counted(schema, schema.get_field_index(name)), schema.field(name).type
    present: tuple[int, ...] = ()
    if inner and at is not None:
        place = kind.get_field_index(inner)
        before = _counted(kind, place)
        present, kind = (at,), kind.field(place).type
        at = None if before is None else at + 1 + before
    wide = _is_wide(kind)
    if at is None or wide is None:
        return None
    return Buffers((*present, at), at + 1, at + 2, wide)


def spans_of(file: RangedFile, batch: Batch, buffers: Buffers, rows: Sequence[int]) -> list[Span | None]:
    """Where in the file the values of some rows of a batch lie, in ascending order; None of an empty one.

    Raises FetchError; ValueError, IndexError or struct.error where the batch is broken.
    """
    source, found = ReadAhead(file), list[Span | None]()
    begin, end = batch.buffers[buffers.values]
    size, form = (8, "<2q") if buffers.wide else (4, "<2i")
    for row in rows:
        if not all(_is_set(source, batch.buffers[each], row) for each in buffers.present):
            found.append(None)
            continue
        first, last = batch.buffers[buffers.offsets]
        at = first + row * size
        low, high = struct.unpack(form, source.read(at, at + 2 * size, min(last, at + _AHEAD)))
        if at + 2 * size > last or not 0 <= low <= high <= end - begin:
            raise ValueError("an offset leads out of the record batch")
        found.append((begin + low, begin + high))
    return found


def _is_set(source: ReadAhead, bits: Span, row: int) -> bool:
    """Whether a row is there, by a bitmap that is left out where all are."""
    begin, end = bits
    at = begin + row // 8
    if begin == end:
        return True
    if at >= end:
        raise ValueError("a bitmap ends before its rows do")
    return bool(source.read(at, at + 1, min(end, at + _AHEAD))[0] >> (row % 8) & 1)


def _is_wide(kind: Any) -> bool | None:
    """Whether offsets of a binary type take 8 bytes; None for any other type."""
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        return False
    return True if pa.types.is_large_binary(kind) or pa.types.is_large_string(kind) else None


def _counted(fields: Any, end: int) -> int | None:
    """How many buffers the fields before one take; None where one of them is of a type that is not known."""
    total = 0
    for place in range(end):
        count = _count(fields.field(place).type)
        if count is None:
            return None
        total += count
    return total


def _count(kind: Any) -> int | None:
    """How many buffers a column of a type takes."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return 0
    if _is_wide(kind) is not None:
        return 3
    flat = (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_fixed_size_binary, pa.types.is_dictionary)
    if any(test(kind) for test in flat):
        return 2
    if pa.types.is_struct(kind):
        inner = _counted(kind, kind.num_fields)
        return None if inner is None else 1 + inner
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _count(kind.value_type)
        return None if inner is None else 2 + inner
    return None  # of others the whole batch is read
