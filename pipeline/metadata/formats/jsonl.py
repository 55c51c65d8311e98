"""JSON lines, packed or not, as tables: whole lines of a block at a time, in bounded memory."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from ...errors import SourceError
from .text import BLOCK, LONGEST_LINE, unpacked

__all__ = ["read"]


def read(path: Path) -> Iterator[pa.Table]:
    """The rows of a file with one object a line, block by block, without columns inside columns.

    A line longer than LONGEST_LINE is a SourceError, however long the file is.
    """
    with unpacked(path) as file:
        for number, block in enumerate(_blocks(file, path)):
            if block.strip():
                yield _objects(block, path, number)


def _blocks(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Blocks of whole lines."""
    rest = bytearray()
    while data := file.read(BLOCK):
        end = data.rfind(b"\n") + 1
        if not end:
            rest += data
            if len(rest) > LONGEST_LINE:
                raise SourceError(f"{path} has a line of more than {LONGEST_LINE >> 20} MB: not JSON lines")
            continue
        yield bytes(rest) + data[:end]
        rest = bytearray(data[end:])
    if rest.strip():
        yield bytes(rest)


def _objects(block: bytes, path: Path, number: int) -> pa.Table:
    import pyarrow.json as lines

    first = block.lstrip()[:1]
    if first and first != b"{":
        raise SourceError(f"{path} is not JSON lines: a line does not begin with an object (block {number})")
    options = lines.ReadOptions(block_size=max(len(block), 1))
    return _flat(lines.read_json(io.BytesIO(block), options))


def _flat(table: pa.Table) -> pa.Table:
    """Without columns inside columns; those of objects that were empty everywhere, say."""
    keep = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    return table.select(keep)
