"""The messages of an Arrow file behind an address, so that only the record batches that are wanted are moved.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from visunex.net.range_file import RangedFile

from .pages import ReadAhead

__all__ = ["Batch", "batch_in", "messages_of", "schema_in"]

_FILE_FORM, _CONTINUES = b"ARROW1", b"\xff\xff\xff\xff"
_AHEAD = 4 * 1024  # bytes that are read with what a message says of itself
_LONGEST, _LARGEST = 64 << 20, 1 << 30  # bytes that a message says of itself, and of what it holds
_MOST, _MOST_BUFFERS = 1_000_000, 10_000  # messages, and buffers that are looked at in one
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3  # kinds of messages (Message.fbs)


@dataclass(frozen=True)
class Batch:
    """A record batch: its rows, from `first` of the file on, the message from `begin` to `end` in the file.

    `needs` are the messages that it cannot be read without: the schema, and dictionaries before it. `buffers`
    is where in the file its columns' buffers lie; none where they are packed.
    """

    begin: int
    end: int
    first: int
    rows: int
    needs: tuple[tuple[int, int], ...]
    buffers: tuple[tuple[int, int], ...]


def messages_of(file: RangedFile) -> Iterator[Batch]:
    """The record batches of an Arrow file, of which only what they say of themselves is read.

    They end where the file is broken. Raises FetchError; ValueError or struct.error where it is none.
    """
    source, at, first = ReadAhead(file), 0, 0
    needs: list[tuple[int, int]] = []
    if source.read(0, len(_FILE_FORM)) == _FILE_FORM:
        at = 8
    for _ in range(_MOST):
        start = source.read(at, at + 8, at + _AHEAD)
        size = struct.unpack("<i", start[4:])[0] if start[:4] == _CONTINUES else 0
        if size <= 0 or size > _LONGEST:
            return
        said = source.read(at + 8, at + 8 + size)
        kind, body, rows = _said(said)
        end = at + 8 + size + body
        if body < 0 or end > file.size:
            return
        if kind == _BATCH:
            yield Batch(at, end, first, rows, tuple(needs), _buffers(said, end - body, end))
            first += rows
        else:
            needs.append((at, end))
        at = end


def schema_in(file: RangedFile, batch: Batch) -> Any:
    """The columns of a record batch. Raises FetchError, and what pyarrow raises."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.BufferReader(file.read(*batch.needs[0])))


def batch_in(file: RangedFile, batch: Batch) -> Any:
    """A record batch, with nothing of it checked.

    Raises FetchError; ValueError where it is too large to be held in memory, and what pyarrow raises.
    """
    import pyarrow as pa

    size = sum(end - begin for begin, end in (*batch.needs, (batch.begin, batch.end)))
    if size > _LARGEST:
        raise ValueError(
            f"a record batch of {size >> 20} MB is more than is held in memory at once: "
            "write the file anew with smaller ones"
        )
    parts = [file.read(begin, end) for begin, end in (*batch.needs, (batch.begin, batch.end))]
    return next(iter(pa.ipc.open_stream(pa.BufferReader(b"".join(parts)))))


def _said(message: bytes) -> tuple[int, int, int]:
    """The kind of a message, how many bytes it holds, and how many rows, of a record batch."""
    root = struct.unpack_from("<I", message)[0]
    kind = _number(message, root, 1, "<B")
    header, body = _place(message, root, 2), _number(message, root, 3, "<q")
    if header is None:
        return kind, body, 0
    header += struct.unpack_from("<I", message, header)[0]
    rows = _number(message, header, 0, "<q") if kind == _BATCH else 0
    if rows < 0:
        raise ValueError("a record batch of fewer than no rows")
    return kind, body, rows


def _buffers(message: bytes, begin: int, end: int) -> tuple[tuple[int, int], ...]:
    """Where the buffers of a record batch lie, which holds bytes [begin, end) of the file."""
    root = struct.unpack_from("<I", message)[0]
    table = _place(message, root, 2) or 0
    table += struct.unpack_from("<I", message, table)[0]
    place = _place(message, table, 2)
    if place is None or _place(message, table, 3) is not None:  # packed: BodyCompression
        return ()
    place += struct.unpack_from("<I", message, place)[0]
    count = struct.unpack_from("<I", message, place)[0]
    listed = struct.unpack_from(f"<{2 * count}q", message, place + 4) if count <= _MOST_BUFFERS else ()
    found = tuple((begin + at, begin + at + size) for at, size in zip(listed[::2], listed[1::2], strict=True))
    return found if all(begin <= first <= last <= end for first, last in found) else ()


def _number(message: bytes, table: int, field: int, form: str) -> int:
    """A field of a table of FlatBuffers; 0 where it is left out."""
    place = _place(message, table, field)
    return 0 if place is None else int(struct.unpack_from(form, message, place)[0])


def _place(message: bytes, table: int, field: int) -> int | None:
    """Where a field of a table lies, by the table of its fields."""
    fields = table - struct.unpack_from("<i", message, table)[0]
    if fields < 0 or 4 + 2 * field >= struct.unpack_from("<H", message, fields)[0]:
        return None
    offset = struct.unpack_from("<H", message, fields + 4 + 2 * field)[0]
    return table + offset if offset else None
