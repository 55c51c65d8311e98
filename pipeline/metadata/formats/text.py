"""What the readers of text share: a file's bytes unpacked, and how much of them is held at once."""

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from ..filetypes import GZIP, ZSTD

__all__ = ["BLOCK", "LONGEST_LINE", "unpacked"]

BLOCK = 16 << 20  # bytes of text looked at together
LONGEST_LINE = 64 << 20


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked on the way when it is gzip or zstd."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(GZIP):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif start.startswith(ZSTD):
            with pa.input_stream(file, compression="zstd") as stream:
                yield stream
        else:
            yield file
