"""Pictures in rows of Arrow files, in the file form and in the stream form, one record batch at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import LocalFile, RangedFile, as_file

from ..shards.arrow_batches import arrow_batches, begins_as_arrow, field_of
from .location import Location

__all__ = ["is_arrow", "values_in"]


def is_arrow(file: RangedFile) -> bool:
    """Whether a file begins as Arrow files do. Raises FetchError."""
    return begins_as_arrow(file.read(0, 8))


def values_in(
    file: RangedFile, column: str, wanted: Sequence[Location], most: int
) -> Iterator[tuple[Location, bytes | ImageError]]:
    """The values of a column (`jpg`, `image.bytes`) in rows, which are in ascending order.

    A file on this machine is mapped, so that of its batches only the pictures that are wanted are read.
    """
    first, rest = 0, list(wanted)
    try:
        for batch in _batches(file):
            here = [each for each in rest if (each.row or 0) < first + batch.num_rows]
            values = _values(batch, column) if here else None
            for each in here:
                yield each, _value(values, (each.row or 0) - first, most)
                rest.pop(0)
            first += batch.num_rows
            if not rest:
                return
        fault = "the file has fewer rows now"
    except FetchError:
        raise
    except Exception as error:  # parsers of hostile bytes raise anything
        fault = str(error)[:200] or type(error).__name__
    for each in rest:
        yield each, ImageError("unreadable", fault)


def _batches(file: RangedFile) -> Iterator[Any]:
    import pyarrow as pa

    return arrow_batches(pa.memory_map(file.name) if isinstance(file, LocalFile) else as_file(file))


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
