"""Pictures in rows of parquet files: only the pages of their column that hold the rows."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile
from typing import Any

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import RangedFile, as_file

from ..shards.footer import LARGEST_FOOTER, footer_of, parsed
from .compact import read_struct
from .location import Location, Taken, taken
from .pages import Chunk, Page, PagesAsFile, ReadAhead, read_each, with_header

__all__ = ["Group", "ParquetRows"]

_BUFFER = 4 << 20  # bytes of a column that are read ahead
_STEP = 4096  # what passing over a row counts, beside its bytes
_MOST_PASSED = 16 << 30  # bytes of values that are passed over on the way to a group's pictures


@dataclass(frozen=True)
class Group:
    """A row group's rows, from `first` of the file on, and where the column that is wanted lies."""

    number: int
    first: int
    chunk: Chunk

    @property
    def end(self) -> int:
        """The first row behind it."""
        return self.first + self.chunk.rows


class ParquetRows:
    """A parquet file opened for the values of some rows. Raises FetchError where it is none."""

    def __init__(self, file: RangedFile) -> None:
        self.file = file
        try:
            self._footer = footer_of(as_file(file), file.name)
            self.metadata = parsed(self._footer)
        except FetchError:
            raise
        except Exception as error:  # parsers of hostile bytes raise anything
            raise _unreadable(file, str(error)[:200] or type(error).__name__) from None

    def values(self, column: str, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
        """The values of a column (`jpg`, `image.bytes`) in rows, which are in ascending order.

        Why there is none is said of a row that the file lacks, and of one whose value has more than `most`
        bytes. Raises FetchError.
        """
        groups = self.groups_of(column, wanted)
        found = (_Column(self, group, column).values(here, most) for group, here in groups)
        return taken(wanted, chain.from_iterable(found))

    def amounts(self, column: str, wanted: Sequence[Location]) -> list[int]:
        """Of each row group with rows that are wanted the bytes at most that hold them. Raises FetchError."""
        try:
            return [group.chunk.amount(self.file, rows) for group, rows in self.groups_of(column, wanted)]
        except FetchError:
            raise
        except Exception:  # of hostile bytes any; it is said when the rows are read
            return []

    def groups_of(self, column: str, wanted: Sequence[Location]) -> Iterator[tuple[Group, list[int]]]:
        """The row groups with rows that are wanted, and those rows' numbers within each."""
        rows = [each.row or 0 for each in wanted]
        place, first, at = self._place_of(column), 0, 0
        for number in range(self.metadata.num_row_groups if rows else 0):
            group = self.metadata.row_group(number)
            end = first + max(0, group.num_rows)
            if here := [row - first for row in takewhile(lambda row: row < end, rows[at:])]:  # noqa: B023
                yield Group(number, first, self._chunk(number, place, group)), here
                at += len(here)
            first = end

    def _place_of(self, column: str) -> int:
        """The place of a column among those of a row group. Raises LookupError."""
        schema = self.metadata.schema
        for place in range(len(schema)):
            if schema.column(place).path == column and schema.column(place).max_repetition_level == 0:
                return place
        raise LookupError(f"the file has no column {column} now")

    def _chunk(self, number: int, place: int, group: Any) -> Chunk:
        column = group.column(place)
        places = (column.dictionary_page_offset or 0, column.data_page_offset)
        begin = min(each for each in places if each > 0)
        index = self._indexes[number, place] if column.has_offset_index else None
        return Chunk(begin, begin + max(0, column.total_compressed_size), group.num_rows, index)

    @cached_property
    def _indexes(self) -> dict[tuple[int, int], tuple[int, int]]:
        """By row group and column where in the file an index of the pages lies; of parquet's FileMetaData."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            for number, group in enumerate(read_struct(self._footer)[0][4]):
                for place, column in enumerate(group[1]):
                    if 4 in column and 0 < column[5] <= LARGEST_FOOTER:
                        found[number, place] = (column[4], column[4] + column[5])
        return found


class _Column:
    """A column of a row group, of which the pages that are wanted are read."""

    def __init__(self, table: ParquetRows, group: Group, column: str) -> None:
        import pyarrow.parquet as pq

        self._file, self._chunk = table.file, group.chunk
        self._source, self._shown = ReadAhead(table.file), PagesAsFile(table.file, group.chunk)
        opened = pq.ParquetFile(self._shown, metadata=table.metadata, buffer_size=_BUFFER, pre_buffer=False)
        self._batches = opened.iter_batches(1, row_groups=[group.number], columns=[column], use_threads=False)
        self._dictionary: tuple[Page, ReadAhead] | None = None
        self._put = self._read = self._passed = (
            0  # rows of pages that were put on, rows that were read, bytes
        )
        self._batch: Any = None

    def values(self, rows: Sequence[int], most: int) -> Iterator[bytes | ImageError]:
        """The values in rows, one at a time: one may be large, and repeated in few bytes."""
        at = 0
        for page in self._pages(rows):
            first = self._put - page.first  # of the row group among the rows that are put on
            here = list(takewhile(lambda row: row < page.first + page.rows, rows[at:]))  # noqa: B023
            if here:
                self._put_on(page)
            for row in here:
                yield self._value(first + row, most)
            at += len(here)
            if at == len(rows):
                return
        raise LookupError("the row group has fewer rows than it says")

    def _pages(self, rows: Sequence[int]) -> Iterator[Page]:
        """The pages up to the last that is wanted, the headers of those that are looked at."""
        indexed = self._chunk.indexed(self._file)
        if indexed is None:
            for page in self._chunk.walked(self._source):
                if page.is_dictionary:
                    self._dictionary = page, self._source.fork()
                yield page
            return
        if indexed[0].begin > self._chunk.begin:
            self._dictionary = Page(self._chunk.begin, indexed[0].begin, 0, 0), ReadAhead(self._file)
        wanted = [page for page in indexed if page.holds(rows)]
        starts = read_each(self._file, ((each.begin, min(each.end, each.begin + _BUFFER)) for each in wanted))
        for page, start in zip(wanted, starts, strict=True):
            self._source = ReadAhead(self._file).holding(page.begin, start)
            yield with_header(self._source, page)

    def _put_on(self, page: Page) -> None:
        if page.uses_dictionary and self._dictionary is not None:
            page_of_it, source = self._dictionary
            self._shown.put(with_header(source, page_of_it), source)
            self._dictionary = None
        self._shown.put(page, self._source)
        self._put += page.rows

    def _value(self, row: int, most: int) -> bytes | ImageError:
        """The value of a row, counted among those that are put on."""
        while self._read <= row:
            self._batch = next(self._batches)
            self._read += 1
            self._passed += _STEP + self._batch.nbytes
            if self._passed > _MOST_PASSED + self._chunk.end - self._chunk.begin:
                raise ValueError("the file repeats a picture for ever")
        values = self._batch.column(0)
        value = (values.field(0) if values.type.num_fields else values)[0]
        if not value.is_valid:
            return ImageError("empty", "the row has no bytes")
        buffer = value.as_buffer()
        if buffer.size > most:
            return ImageError("too_large", f"{buffer.size} bytes are more than {most}")
        return bytes(buffer)


def _unreadable(file: RangedFile, why: str) -> FetchError:
    return FetchError("unreadable", f"{file.name} is not a parquet file that can be read: {why}")
