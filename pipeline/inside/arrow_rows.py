"""Pictures in rows of Arrow files, in the file form and in the stream form, one record batch at a time."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile, RangedFile

from ..shards.arrow_batches import arrow_batches, begins_as_arrow, field_of
from .arrow_messages import Batch, batch_in, messages_of, schema_in
from .arrow_values import Buffers, Span, buffers_of, spans_of
from .location import Location, Taken, taken
from .pages import read_each

__all__ = ["ArrowRows", "is_arrow"]

_MOSTLY = 0.7  # of a batch that is rather read whole


def is_arrow(file: RangedFile) -> bool:
    """Whether a file begins as Arrow files do. Raises FetchError."""
    return begins_as_arrow(file.read(0, 8))


class ArrowRows:
    """An Arrow file opened for the values of some rows.

    A file on this machine is mapped, so that of its batches only the pictures that are wanted are read; of
    one behind an address their bytes are moved, or the batches that hold them where these are packed.
    """

    def __init__(self, file: RangedFile) -> None:
        self.file = file
        self._found: dict[tuple[str, int], tuple[Sequence[int], list[Span | None] | None]] = {}

    def values(self, column: str, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
        """The values of a column (`jpg`, `image.bytes`) in rows, which are in ascending order."""
        read = self._values_here if isinstance(self.file, LocalFile) else self._values_far
        return taken(wanted, read(column, [each.row or 0 for each in wanted], most))

    def amounts(self, column: str, wanted: Sequence[Location]) -> list[int]:
        """Of each record batch with rows that are wanted the bytes that hold them. Raises FetchError."""
        try:
            return [
                batch.end - batch.begin if spans is None else sum(_length(each) for each in spans)
                for batch, _, spans in self._spans(column, [each.row or 0 for each in wanted])
            ]
        except FetchError:
            raise
        except Exception:  # of hostile bytes any; it is said when the rows are read
            return []

    def _values_here(self, column: str, rows: Sequence[int], most: int) -> Iterator[bytes | ImageError]:
        import pyarrow as pa

        first, at = 0, 0
        for batch in arrow_batches(pa.memory_map(self.file.name)):
            here = list(takewhile(lambda row: row < first + batch.num_rows, rows[at:]))  # noqa: B023
            if here:
                values = _values(batch, column)
                yield from (_value(values, row - first, most) for row in here)
            at, first = at + len(here), first + batch.num_rows
            if at == len(rows):
                return

    def _values_far(self, column: str, rows: Sequence[int], most: int) -> Iterator[bytes | ImageError]:
        for batch, here, spans in self._spans(column, rows):
            if spans is None:
                values = _values(batch_in(self.file, batch), column)
                yield from (_value(values, row - batch.first, most) for row in here)
            else:
                fitting = [each if each and _length(each) <= most else (0, 0) for each in spans]
                for span, data in zip(spans, read_each(self.file, fitting), strict=True):
                    yield _whole(span, data, most)

    def _spans(
        self, column: str, rows: Sequence[int]
    ) -> Iterator[tuple[Batch, Sequence[int], list[Span | None] | None]]:
        """The batches that hold rows, those rows, and where each value lies; None where all is to be read."""
        buffers: Buffers | None = None
        for number, batch in enumerate(self._messages):
            if number == 0:
                buffers = buffers_of(schema_in(self.file, batch), column)
            here = rows[bisect_left(rows, batch.first) : bisect_left(rows, batch.first + batch.rows)]
            if not here:
                continue
            found = self._found.pop((column, batch.begin), None)
            if found is None or found[0] != here:
                found = here, self._spans_in(batch, buffers, [row - batch.first for row in here])
                self._found[column, batch.begin] = found
            yield batch, *found

    def _spans_in(
        self, batch: Batch, buffers: Buffers | None, rows: Sequence[int]
    ) -> list[Span | None] | None:
        if buffers is None or buffers.values >= len(batch.buffers):
            return None
        spans = spans_of(self.file, batch, buffers, rows)
        mostly = sum(map(_length, spans)) > (batch.end - batch.begin) * _MOSTLY
        return None if mostly else spans  # one question for all

    @cached_property
    def _messages(self) -> list[Batch]:
        return list(messages_of(self.file))


def _length(span: Span | None) -> int:
    return 0 if span is None else span[1] - span[0]


def _whole(span: Span | None, data: bytes, most: int) -> bytes | ImageError:
    """What was read of a value, or why it was not."""
    if span is None:
        return ImageError("empty", "the row has no bytes")
    if _length(span) > most:
        return ImageError("too_large", f"{_length(span)} bytes are more than {most}")
    return data if len(data) == _length(span) else ImageError("truncated", "the file ends before the picture")


def _values(batch: Any, column: str) -> Any:
    """The column of a batch, its offsets checked. Raises LookupError, ArrowException."""
    name, _, inner = column.rpartition(".")
    whole = column in batch.schema.names
    values = batch.column(column) if whole else batch.column(name)
    values.validate(full=True)
    return values if whole else field_of(values, inner)


def _value(values: Any, row: int, most: int) -> bytes | ImageError:
    buffer = values[row].as_buffer()
    if buffer is None:
        return ImageError("empty", "the row has no bytes")
    if buffer.size > most:
        return ImageError("too_large", f"{buffer.size} bytes are more than {most}")
    return bytes(buffer)
