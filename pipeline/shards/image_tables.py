"""Parquet and Arrow files with the images inside, as Hugging Face and img2dataset make them: row by row."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from visunex.images.errors import ImageError
from visunex.images.formats import SUFFIXES

from ..errors import parquet_errors
from .arrow_batches import ARROW_MAGIC, arrow_batches, arrow_reader, begins_as_arrow, field_of, is_arrow
from .footer import opened_parquet
from .members import path_under, require_room
from .sidecar import Row, row_batches

__all__ = [
    "columns_with_images",
    "image_columns",
    "image_in_row",
    "image_rows",
    "is_image_column_name",
    "without_bytes",
]

_NAMES = SUFFIXES | {"image", "img", "picture", "bytes", "image_bytes", "image_data"}
_NUMBER = re.compile(r"[_-]?\d+$")
_BYTES = ".bytes"
_AT_ONCE = 1  # images that are read together: one value may be large, and repeated in few bytes
_SKIPPED = 512  # rows that are rather read than jumped over
_BUFFER = 2**20  # bytes of a column that are read ahead


def image_columns(path: Path) -> list[str]:
    """The columns that hold images' files: `jpg`, or `image.bytes` of Hugging Face; none of another file."""
    try:
        with path.open("rb") as file:
            return columns_with_images(file)
    except parquet_errors():
        return []


def columns_with_images(file: Any) -> list[str]:
    """The same of an opened table. Raises what pyarrow raises."""
    start = file.read(ARROW_MAGIC)
    file.seek(0)
    schema = arrow_reader(file).schema if begins_as_arrow(start) else opened_parquet(file).schema_arrow
    return [inner for each in schema if (inner := _bytes_of(each)) is not None]


def _bytes_of(column: Any) -> str | None:
    """Of a column that holds images, where in it their bytes are; else None."""
    import pyarrow as pa

    if _is_binary(column.type) and is_image_column_name(column.name):
        return str(column.name)
    if pa.types.is_struct(column.type) and (at := column.type.get_field_index("bytes")) >= 0:
        by_path = pa.types.is_null(column.type.field(at).type) and column.type.get_field_index("path") >= 0
        return f"{column.name}{_BYTES}" if by_path or _is_binary(column.type.field(at).type) else None
    return None


def is_image_column_name(name: str) -> bool:
    """Whether a binary column of this name holds images: `jpg`, or `jpg_0` beside `jpg_1`."""
    return _NUMBER.sub("", name.lower()) in _NAMES


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def image_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Of each row its key, else its number, and what is said of its image. Raises what pyarrow raises."""
    number = 0
    for batch in row_batches(path):
        for key, row in batch:
            yield key if key is not None else f"{number:09d}", row
            number += 1


def image_in_row(path: Path, column: str, row: int) -> bytes:
    """The bytes in a row; where it has none, of the file that its `path` names under the table's folder.

    Raises ImageError. Rows that are asked for in their order are read once.
    """
    try:
        return _value_in(path, column, row)
    except ImageError as error:
        if error.kind != "empty" or not column.endswith(_BYTES):
            raise
    try:
        name = _value_in(path, f"{column.removesuffix(_BYTES)}.path", row).decode("utf-8", errors="replace")
    except ImageError:
        raise ImageError("empty", "the row has no bytes, and no path") from None
    return _file_under(path.parent, name)


def without_bytes(error: ImageError) -> ImageError:
    """Why there is no image in a row without bytes, the file that its path names being of no use."""
    return ImageError("empty", f"the row has no bytes, and {error}") if error.kind == "missing" else error


def _file_under(folder: Path, name: str) -> bytes:
    try:
        file = path_under(folder, name)
    except ImageError as error:
        raise without_bytes(error) from None
    try:
        require_room(file.stat().st_size)
        return file.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", error.strerror or str(error)) from None


def _value_in(path: Path, column: str, row: int) -> bytes:
    """The bytes in a row of a column. Raises ImageError."""
    try:
        return _reader(path, column).get(row)
    except ImageError:
        raise
    except Exception as error:  # parsers of hostile bytes raise anything
        _readers().pop(column, None)
        raise ImageError("unreadable", str(error)[:200] or type(error).__name__) from None


_here = threading.local()


def _reader(path: Path, column: str) -> "_Reader":
    state = path.stat()
    asked = (path, column, state.st_size, state.st_mtime_ns)
    readers = _readers()
    if column not in readers or readers[column].of != asked:
        for other in [own for own, reader in readers.items() if reader.of[0] != path]:
            del readers[other]
        readers[column] = _ArrowReader(asked) if is_arrow(path) else _Reader(asked)
    return readers[column]


def _readers() -> "dict[str, _Reader]":
    """The readers of this thread's file, by column."""
    if not hasattr(_here, "readers"):
        _here.readers = {}
    found: dict[str, _Reader] = _here.readers
    return found


class _Reader:
    """A file that is read from a row on, `_AT_ONCE` images at a time."""

    def __init__(self, of: tuple[Path, str, int, int]) -> None:
        self.of, self._column = of, of[1]
        self._file = self._opened(of[0])
        self._batches: Iterator[Any] = iter(())
        self._values, self._first, self._end = None, 0, 0

    def _opened(self, path: Path) -> Any:
        return opened_parquet(path, buffer_size=_BUFFER, pre_buffer=False)

    def get(self, row: int) -> bytes:
        if row < self._first or row >= self._end + _SKIPPED or self._values is None:
            self._go_to(row)
        while row >= self._end:
            self._next()
        value = self._values[row - self._first]  # type: ignore[index]
        if not value.is_valid:
            raise ImageError("empty", "the row has no bytes")
        require_room(value.as_buffer().size)
        return bytes(value.as_buffer())

    def _go_to(self, row: int) -> None:
        """Begin at the row group that has the row."""
        first, groups = 0, self._file.metadata.num_row_groups
        for group in range(groups):
            size = self._file.metadata.row_group(group).num_rows
            if row < first + size:
                wanted = list(range(group, groups))
                self._batches = self._file.iter_batches(_AT_ONCE, wanted, [self._column], use_threads=False)
                self._first = self._end = first
                return
            first += size
        raise ImageError("unreadable", "the file has fewer rows now")

    def _next(self) -> None:
        batch = next(self._batches)
        values = batch.column(0)
        self._values = values.field(0) if values.type.num_fields else values
        self._first, self._end = self._end, self._end + batch.num_rows


class _ArrowReader(_Reader):
    """The same of an Arrow file, mapped: of its batches only images that are asked for are read."""

    def _opened(self, path: Path) -> Any:
        import pyarrow as pa

        return pa.memory_map(str(path))

    def _go_to(self, row: int) -> None:
        """Begin at the first batch; those before the row's are passed over unread."""
        if row < self._first or self._values is None:
            self._file.seek(0)
            self._batches = arrow_batches(self._file)
            self._first = self._end = 0

    def _next(self) -> None:
        batch = next(self._batches)
        name, _, inner = self._column.rpartition(".")
        whole = self._column in batch.schema.names
        values = batch.column(self._column if whole else name)
        values.validate(full=True)  # offsets that nobody vouches for
        self._values = values if whole else field_of(values, inner)
        self._first, self._end = self._end, self._end + batch.num_rows
