"""Arrow files (the stream form of Hugging Face `datasets`, and the file form) as record batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "ARROW_MAGIC",
    "arrow_batches",
    "arrow_reader",
    "arrow_schema",
    "begins_as_arrow",
    "field_of",
    "is_arrow",
]

_FILE_FORM, _STREAM_FORM = b"ARROW1", b"\xff\xff\xff\xff"
ARROW_MAGIC = len(_FILE_FORM)  # bytes of a file's start that say so


def is_arrow(path: Path) -> bool:
    """Whether a file begins as Arrow files do. Raises OSError."""
    with path.open("rb") as file:
        return begins_as_arrow(file.read(ARROW_MAGIC))


def begins_as_arrow(start: bytes) -> bool:
    """Whether a file that begins so is an Arrow file."""
    return start.startswith((_FILE_FORM, _STREAM_FORM))


def arrow_schema(path: Path) -> Any:
    """The columns of an Arrow file. Raises what pyarrow raises."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return arrow_reader(file).schema


def arrow_batches(file: Any) -> Iterator[Any]:
    """The record batches of an opened Arrow file, nothing of which is checked. Raises what pyarrow raises.

    Of a file that is mapped, only what is looked at is read.
    """
    reader = arrow_reader(file)
    if not hasattr(reader, "num_record_batches"):
        return iter(reader)
    return (reader.get_batch(index) for index in range(reader.num_record_batches))


def field_of(values: Any, name: str) -> Any:
    """A field of an array of structs, null where the struct is."""
    return values.flatten()[values.type.get_field_index(name)]


def arrow_reader(file: Any) -> Any:
    """What reads an opened Arrow file, of either form. Raises what pyarrow raises."""
    import pyarrow as pa

    start = file.read(ARROW_MAGIC)
    file.seek(0)
    return pa.ipc.open_file(file) if start == _FILE_FORM else pa.ipc.open_stream(file)
