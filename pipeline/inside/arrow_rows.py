"""Pictures in rows of Arrow files, in the file form and in the stream form, one record batch at a time."""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile, RangedFile

from ..shards.arrow_batches import arrow_batches, begins_as_arrow, field_of
from .arrow_messages import Batch, batch_in, messages_of
from .location import Location

__all__ = ["ArrowRows", "is_arrow"]


def is_arrow(file: RangedFile) -> bool:
    """Whether a file begins as Arrow files do. Raises FetchError."""
    return begins_as_arrow(file.read(0, 8))


class ArrowRows:
    """An Arrow file opened for the values of some rows.

    A file on this machine is mapped, so that of its batches only the pictures that are wanted are read; of
    one behind an address the batches that hold them are moved.
    """

    def __init__(self, file: RangedFile) -> None:
        self.file = file

    def values(
        self, column: str, wanted: Sequence[Location], most: int
    ) -> Iterator[tuple[Location, bytes | ImageError]]:
        """The values of a column (`jpg`, `image.bytes`) in rows, which are in ascending order."""
        first, rest = 0, list(wanted)
        try:
            for rows, batch in self._batches():
                here = [each for each in rest if (each.row or 0) < first + rows]
                values = _values(batch(), column) if here else None
                for each in here:
                    yield each, _value(values, (each.row or 0) - first, most)
                    rest.pop(0)
                first += rows
                if not rest:
                    return
            fault = "the file has fewer rows now"
        except FetchError:
            raise
        except Exception as error:  # parsers of hostile bytes raise anything
            fault = str(error)[:200] or type(error).__name__
        for each in rest:
            yield each, ImageError("unreadable", fault)

    def amounts(self, wanted: Sequence[Location]) -> list[int]:
        """Of each record batch with rows that are wanted its bytes. Raises FetchError."""
        rows = [each.row or 0 for each in wanted]
        try:
            return [each.end - each.begin for each in self._messages if each.holds(rows)]
        except (ValueError, struct.error):  # it is said when the rows are read
            return []

    def _batches(self) -> Iterator[tuple[int, Callable[[], Any]]]:
        """Of each batch how many rows it has, and what reads it."""
        if isinstance(self.file, LocalFile):
            import pyarrow as pa

            for batch in arrow_batches(pa.memory_map(self.file.name)):
                yield batch.num_rows, partial(_itself, batch)
        else:
            for each in self._messages:
                yield each.rows, partial(batch_in, self.file, each)

    @cached_property
    def _messages(self) -> list[Batch]:
        return list(messages_of(self.file))


def _itself(batch: Any) -> Any:
    return batch


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
