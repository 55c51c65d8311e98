"""What a parquet file says at its end of what is where in it, judged before a library takes memory by it.

A few bytes of it become hundreds in memory: so its length is bounded, and the number of columns. Of a large
one polars has to make sense first, which takes little by what makes none.
"""

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from visunex.base.errors import first_line

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["LARGEST_FOOTER", "FooterError", "LargeFooterError", "footer_of", "opened_parquet", "parsed"]

LARGEST_FOOTER = 16 << 20
_SMALL = 1 << 20  # bytes, of which little can come
_TAIL = 32 * 1024  # bytes at the end of a file, most often all of it
_MAGIC = b"PAR1"
_MOST_ELEMENTS = 20_000  # of a schema: columns, and what they are made of
# How all writers begin: a version (field 1, i32) of one byte, and a list (field 2) of structs (thrift's 12).
_BEGINNING, _STRUCTS = (0x15, 0x19), 12


class FooterError(ValueError):
    """A file does not end as parquet does."""


class LargeFooterError(FooterError):
    """A file says more of itself than any file needs."""


def footer_of(file: IO[bytes], name: str) -> bytes:
    """The footer of a parquet file. Raises FooterError where it has none, or too large a one."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - _TAIL))
    tail = file.read(_TAIL)
    size = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != _MAGIC or not 0 < size <= end - 12:
        raise FooterError(f"{name}: its end says nothing of what is in it")
    if size > LARGEST_FOOTER:
        said = f"what it says of its contents takes {size >> 20} MiB, more than metadata needs"
        raise LargeFooterError(f"{name}: {said}")
    footer = tail[-8 - size : -8]
    if len(footer) < size:
        file.seek(end - 8 - size)
        footer = file.read(size)
    if _elements(footer) > _MOST_ELEMENTS:
        raise LargeFooterError(f"{name} has far more columns than metadata has")
    return footer


def parsed(footer: bytes) -> "pq.FileMetaData":
    """A footer as pyarrow reads it. Raises what that raises."""
    import pyarrow.parquet as pq

    whole = b"".join((_MAGIC, footer, len(footer).to_bytes(4, "little"), _MAGIC))
    if len(footer) > _SMALL:
        _require_sense(whole)
    return pq.read_metadata(io.BytesIO(whole))


def _require_sense(whole: bytes) -> None:
    """Raise ArrowInvalid where polars can make nothing of a footer."""
    import polars as pl
    import pyarrow as pa

    try:
        pl.read_parquet_schema(io.BytesIO(whole))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise pa.ArrowInvalid(first_line(error)) from None


def opened_parquet(file: Path | IO[bytes], **options: Any) -> "pq.ParquetFile":
    """A parquet file whose footer was judged, opened by pyarrow. Raises what that raises, and FooterError."""
    import pyarrow.parquet as pq

    if isinstance(file, Path):
        with file.open("rb") as stream:
            footer = footer_of(stream, str(file))
    else:
        footer = footer_of(file, "the file")
        file.seek(0)
    return pq.ParquetFile(file, metadata=parsed(footer), **options)


def _elements(footer: bytes) -> int:
    """How many elements a footer says that its schema has; 0 where it begins as no writer has it begin."""
    if len(footer) < 4 or (footer[0], footer[2]) != _BEGINNING or footer[3] & 0xF != _STRUCTS:
        return 0
    if (count := footer[3] >> 4) < 15:
        return count
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(_varint(footer[4:14])))


def _varint(data: bytes) -> bytes:
    end = next((place for place, byte in enumerate(data) if byte < 0x80), len(data) - 1)
    return data[: end + 1]
