"""What the readers of text share: a file's lines, unpacked and decoded, in bounded memory."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from visunex.base.errors import first_line

from ...errors import SourceError
from ..filetypes import GZIP, ZSTD

__all__ = ["LONGEST_LINE", "line_blocks", "lines_of", "text_blocks", "unpacked"]

LONGEST_LINE = 32 << 20  # characters
_BLOCK = 8 << 20  # characters of lines that are read together
_LEAST, _RATIO = 1 << 30, 200  # a file may become so large unpacked, or so many times as large as it is
_LOOK = 1 << 16  # bytes of the start, which say how the text is written
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked on the way when it is gzip or zstd. Raises SourceError for a damaged one."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start.startswith(GZIP):
                with gzip.GzipFile(fileobj=file) as stream:
                    yield cast("IO[bytes]", stream)
            elif start.startswith(ZSTD):
                with pa.input_stream(file, compression="zstd") as stream:
                    yield io.BufferedReader(_Raw(stream))
            else:
                yield file
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {first_line(error)}; it is damaged or cut short") from None


class _Raw(io.RawIOBase):
    """pyarrow's streams as Python's io takes them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file of text, as `line_blocks` gives them."""
    return chain.from_iterable(line_blocks(path))


def line_blocks(path: Path) -> Iterator[list[str]]:
    """The lines of a file of text, many at a time, without what ends them.

    Lines end at line feeds, or at carriage returns where there are no line feeds. Raises SourceError as
    `text_blocks` does, and for a line longer than LONGEST_LINE.
    """
    rest = end = ""
    for end, data in _blocks(path, _BLOCK):
        *lines, rest = (rest + data).split(end)
        if len(rest) >= LONGEST_LINE or any(len(line) >= LONGEST_LINE for line in lines[:1]):
            raise SourceError(f"{path} has a line of more than {LONGEST_LINE >> 20} MiB: is it metadata?")
        if lines:
            yield _stripped(lines)
    if rest:
        yield _stripped([rest])


def text_blocks(path: Path, size: int = _BLOCK) -> Iterator[str]:
    """The characters of a file of text, so many at a time.

    The text is UTF-8, or UTF-16 where its start says so; bytes that are no text become U+FFFD. Raises
    SourceError: it is damaged, no text, or unpacks to far more than its size explains.
    """
    return (data for _, data in _blocks(path, size))


def _blocks(path: Path, size: int) -> Iterator[tuple[str, str]]:
    """What ends the lines of a file, and so many characters of it."""
    with unpacked(path) as file:
        look = file.read(_LOOK)
    _require_text(look, path)
    utf16 = look.startswith(_UTF16)
    line_end = "\n" if b"\n" in look or b"\r" not in look else "\r"
    room = max(_LEAST, _RATIO * path.stat().st_size)
    with unpacked(path) as file:
        text = io.TextIOWrapper(
            file, encoding="utf-16" if utf16 else "utf-8-sig", errors="replace", newline=line_end
        )
        try:
            while data := text.read(size):
                room -= len(data)
                if room < 0:
                    raise SourceError(f"{path} unpacks to far more than its size explains")
                yield line_end, data
        finally:
            text.detach()  # else it closes what is not its own


def _stripped(lines: list[str]) -> list[str]:
    """The lines without further characters that end lines."""
    return [line.rstrip("\r\n") if line and line[-1] in "\r\n" else line for line in lines]


def _require_text(look: bytes, path: Path) -> None:
    if not look.startswith(_UTF16) and look.count(0) * 100 > len(look):
        raise SourceError(f"{path} is not text: it has zero bytes")
