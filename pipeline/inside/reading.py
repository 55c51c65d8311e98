"""Pictures out of the files in which they lie, here or behind an address: only the bytes that hold them.

Of a table the pages of each row group that hold rows which are wanted, once and in order; of tars and zips
the members. A file is read by positions, so nothing of it is ever run or unpacked to disk.
"""

import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

from visunex.images.errors import ImageError
from visunex.net.range_file import RangedFile

from ..shards.members import Member
from ..shards.zips import data_begin, member_range
from .amount import Amount
from .arrow_rows import ArrowRows, is_arrow
from .location import Location, Taken
from .pages import read_each
from .parquet_rows import ParquetRows

__all__ = ["ImageFile", "Taken", "images_at"]

_GAP = 64 * 1024  # bytes between two members that are rather read than asked around, unless they are
_WASTED = 1 / 20  # more than this part of the members' own
_AT_ONCE = 16 * 1024**2  # bytes of members that are asked for together


class ImageFile:
    """A file with pictures in it, opened; what it says of where they lie is read once."""

    def __init__(self, file: RangedFile) -> None:
        self.file = file

    def images(self, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
        """The picture at each location, or why there is none: larger than `most` bytes, say.

        Raises FetchError where the file cannot be read at all.
        """
        yield from _members(self.file, [each for each in wanted if each.row is None], most)
        for column, rows in _by_column(wanted):
            yield from self._table.values(column, rows, most)

    def amount(self, wanted: Sequence[Location], most: int) -> Amount:
        """How many bytes at most `images` moves, and in how many pieces of the file. Raises FetchError."""
        counted = Amount(files=1)
        members = [(*_range_of(self.file, each), each) for each in wanted if each.row is None]
        here = sorted(((begin, end, each) for begin, end, each in members if end - begin <= most), key=_span)
        for some in _together(here):
            counted += Amount(max(end for _, end, _ in some) - some[0][0], pieces=1)
        for column, rows in _by_column(wanted):
            sizes = self._table.amounts(column, rows)
            counted += Amount(sum(sizes), groups=len(sizes))
        return counted

    @cached_property
    def _table(self) -> ArrowRows | ParquetRows:
        return ArrowRows(self.file) if is_arrow(self.file) else ParquetRows(self.file)


def images_at(file: RangedFile, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
    """The picture at each location in one file; see `ImageFile`. Raises FetchError."""
    return ImageFile(file).images(wanted, most)


def _by_column(wanted: Sequence[Location]) -> Iterator[tuple[str, list[Location]]]:
    rows = sorted((each for each in wanted if each.row is not None), key=_column_and_row)
    for column, some in groupby(rows, key=lambda each: each.column or ""):
        yield column, list(some)


def _span(piece: tuple[int, int, Location]) -> tuple[int, int]:
    return piece[:2]


def _column_and_row(location: Location) -> tuple[str, int]:
    return location.column or "", location.row or 0


def _range_of(file: RangedFile, location: Location) -> tuple[int, int]:
    size = file.size if location.size is None else location.size
    if location.zipped:
        return member_range(Member(location.name, location.offset, size))
    return location.offset, location.offset + size


def _members(file: RangedFile, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
    """Members of a tar or zip, or the whole file: those that lie together are read together."""
    here = []
    for each in wanted:
        begin, end = _range_of(file, each)
        if end - begin > most:
            yield each, ImageError("too_large", f"{end - begin} bytes are more than {most}")
        else:
            here.append((begin, end, each))
    here.sort(key=_span)
    groups = list(_together(here))
    pieces = read_each(file, ((some[0][0], max(end for _, end, _ in some)) for some in groups))
    for together, data in zip(groups, pieces, strict=True):
        first = together[0][0]
        for begin, end, each in together:
            own = data[begin - first : end - first]
            if each.zipped:
                own = _without_header(file, each, own)
            yield each, _unpacked(each, own, each.size or end - begin, most)


def _together(here: Sequence[tuple[int, int, Location]]) -> Iterator[list[tuple[int, int, Location]]]:
    """Ranges, those together between which few bytes lie, up to `_AT_ONCE` bytes."""
    waiting: list[tuple[int, int, Location]] = []
    own = 0
    for each in here:
        own += each[1] - each[0]
        if waiting:
            gap, span = each[0] - waiting[-1][1], each[1] - waiting[0][0]
            if gap > _GAP or span > _AT_ONCE or span - own > own * _WASTED:
                yield waiting
                waiting, own = [], each[1] - each[0]
        waiting.append(each)
    if waiting:
        yield waiting


def _without_header(file: RangedFile, location: Location, data: bytes) -> bytes:
    """The bytes of a member of a zip behind its own header; none where that is not there."""
    begin, size = data_begin(data), location.size or 0
    if begin is None:
        return b""
    if len(data) < begin + size:
        return file.read(location.offset + begin, location.offset + begin + size)
    return data[begin : begin + size]


def _unpacked(location: Location, data: bytes, size: int, most: int) -> bytes | ImageError:
    if len(data) < size:
        return ImageError("truncated", "the file ends before the picture does")
    if not location.deflated:
        return data
    try:
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        found = unpacking.decompress(data, most)
    except zlib.error as error:
        return ImageError("unreadable", str(error))
    if unpacking.unconsumed_tail:
        return ImageError("too_large", f"unpacked it is more than {most} bytes")
    return found
