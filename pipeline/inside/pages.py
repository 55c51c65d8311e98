"""The pages of a parquet file's column, in which its values lie: those that are wanted, read one by one.

Where the file has an index of them it says where they lie; else each page's header says where the next one
begins. pyarrow, which unpacks and decodes them, reads whole columns of row groups only (26, polars 2.1 too):
it is given a file in which the column consists of the pages that are wanted.
"""

import contextlib
import io
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from visunex.net.range_file import LocalFile, RangedFile
from visunex.net.stream import Positioned

from .compact import read_struct

__all__ = ["Chunk", "Page", "PagesAsFile", "ReadAhead", "read_each", "with_header"]

LARGEST_PAGE = 1 << 30  # bytes, packed and unpacked together, as both are held in memory
_HEADER, _LONG_HEADER = 4096, 1 << 20  # bytes; a long one has the page's least and largest value in it
_AHEAD = 1 << 20  # bytes that are read with a header: most often the page
_KEPT = 8 << 20
AT_A_TIME, _HELD = 16, 64 << 20  # pieces of a file behind an address that are waited for, and their bytes
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # kinds of pages
_BY_DICTIONARY = (2, 8)  # encodings


@dataclass(frozen=True)
class Page:
    """Some rows of a column, from `first` of its row group on; they lie from `begin` to `end` in the file."""

    begin: int
    end: int
    first: int
    rows: int
    is_dictionary: bool = False
    uses_dictionary: bool = False

    def holds(self, rows: Sequence[int]) -> bool:
        """Whether some of the rows, in ascending order, are of this page."""
        return bisect_left(rows, self.first) < bisect_left(rows, self.first + self.rows)


@dataclass(frozen=True)
class Chunk:
    """A column of a row group: `rows` values from `begin` to `end` in the file.

    `index` is the place of an index of its pages, where there is one.
    """

    begin: int
    end: int
    rows: int
    index: tuple[int, int] | None = None

    def indexed(self, file: RangedFile) -> list[Page] | None:
        """Its pages as the index tells them; None where there is none that makes sense. Raises FetchError."""
        if self.index is None:
            return None
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            places = read_struct(file.read(*self.index))[0][1]
            firsts = [*(each[3] for each in places), self.rows]
            pages = [
                Page(each[1], each[1] + each[2], firsts[number], firsts[number + 1] - firsts[number])
                for number, each in enumerate(places)
            ]
            if self._are_sane(pages):
                return pages
        return None

    def amount(self, file: RangedFile, rows: Sequence[int]) -> int:
        """How many bytes at most hold some of its rows, in ascending order. Raises FetchError."""
        pages = self.indexed(file)
        if pages is None:
            return self.end - self.begin
        held = sum(page.end - page.begin for page in pages if page.holds(rows))
        return pages[0].begin - self.begin + held

    def _are_sane(self, pages: list[Page]) -> bool:
        ends = [self.begin, *(each.end for each in pages)]
        return (
            bool(pages)
            and pages[0].first == 0
            and all(before <= each.begin <= each.end for before, each in zip(ends, pages, strict=False))
            and pages[-1].end <= self.end
            and all(each.rows > 0 for each in pages)
        )

    def walked(self, source: "ReadAhead") -> Iterator[Page]:
        """Its pages as their headers tell them, the dictionary (of no rows) among them. Raises FetchError,
        ValueError and IndexError."""
        at, first = self.begin, 0
        while first < self.rows and at < self.end:
            page = with_header(source, Page(at, self.end, first, 0))
            yield page
            at, first = page.end, first + page.rows


class ReadAhead:
    """A file read onward, with what was read beyond what was asked for."""

    def __init__(self, file: RangedFile) -> None:
        self._file, self._begin, self._data = file, 0, b""

    def holding(self, begin: int, data: bytes) -> "ReadAhead":
        """The same, with bytes that were read."""
        self._begin, self._data = begin, data
        return self

    def fork(self) -> "ReadAhead":
        """Another reader, which has the same bytes."""
        return ReadAhead(self._file).holding(self._begin, self._data)

    def read(self, begin: int, end: int, ahead: int = 0) -> bytes:
        """The bytes [begin, end), and as far as `ahead` for the next time. Raises FetchError."""
        at = begin - self._begin
        there = self._data[at : at + end - begin] if 0 <= at <= len(self._data) else b""
        if len(there) >= end - begin:
            return there
        data = self._file.read(begin + len(there), max(end, ahead))
        if there:
            data = there + data
        self._begin, self._data = begin, data if len(data) <= _KEPT else b""
        return data[: end - begin] if len(data) > end - begin else data


def read_each(file: RangedFile, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes [begin, end) of each span, in order; of a file behind an address several at the same time.

    Raises FetchError.
    """
    if isinstance(file, LocalFile):
        yield from (file.read(*span) for span in spans)
        return
    waiting: deque[tuple[Future[bytes], int]] = deque()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            for begin, end in spans:
                held = sum(size for _, size in waiting)
                while waiting and (len(waiting) >= AT_A_TIME or held + end - begin > _HELD):
                    data, size = waiting.popleft()
                    held -= size
                    yield data.result()
                waiting.append((pool.submit(file.read, begin, end), end - begin))
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for data, _ in waiting:
                data.cancel()


def with_header(source: ReadAhead, page: Page) -> Page:
    """A page that lies between `begin` and `end` at most, as its header has it.

    Raises ValueError or IndexError where there is none, or it is too large to be held in memory.
    """
    header, size = _header(source, page)
    packed, unpacked = header[3], header[2]
    end = page.begin + size + packed
    if packed < 0 or end > page.end:
        raise ValueError("a page's header does not fit its column")
    if not 0 <= packed + unpacked <= LARGEST_PAGE:
        raise ValueError(
            f"a page of {unpacked >> 20} MB is more than is held in memory at once: "
            "write the file anew with smaller row groups"
        )
    data: Mapping[int, Any] = header.get(5) or header.get(8) or {}
    rows = data.get(1, 0) if header[1] in (_DATA, _DATA_V2) else 0
    if rows < 0 or (page.rows and rows != page.rows):
        raise ValueError("a page holds other rows than the index says")
    encoding = data.get(2 if header[1] == _DATA else 4)
    is_dictionary = header[1] == _DICTIONARY
    return Page(page.begin, end, page.first, rows, is_dictionary, encoding in _BY_DICTIONARY)


def _header(source: ReadAhead, page: Page) -> tuple[Mapping[int, Any], int]:
    try:
        ahead = min(page.end, page.begin + _AHEAD)
        return read_struct(source.read(page.begin, min(page.end, page.begin + _HEADER), ahead))
    except IndexError:
        return read_struct(source.read(page.begin, min(page.end, page.begin + _LONG_HEADER)))


class PagesAsFile(Positioned):
    """A file as pyarrow reads it, in which a column begins with some pages; more are put on as it is read.

    What was read once is not read again.
    """

    def __init__(self, file: RangedFile, chunk: Chunk) -> None:
        super().__init__()
        self._size, self._at = file.size, chunk.begin  # where the first part that is not yet read through is
        self._parts: deque[tuple[int, int, ReadAhead]] = deque()

    def put(self, page: Page, source: ReadAhead) -> None:
        """Let the column go on with a page."""
        self._parts.append((page.begin, page.end, source))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of the pages that were put on. Raises FetchError."""
        pieces = []
        while self._parts and size != 0:
            begin, end, source = self._parts[0]
            begin += self._position - self._at
            piece = source.read(begin, end if size < 0 else min(end, begin + size))
            if not piece and begin < end:
                break  # the file ends before the page does
            pieces.append(piece)
            self._position += len(piece)
            size -= len(piece) if size > 0 else 0
            if begin + len(piece) >= end:
                self._at += end - self._parts.popleft()[0]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
