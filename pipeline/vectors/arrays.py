"""Arrays of vectors in other files, read as .npy files are: a member of an .npz, a column of parquet."""

import io
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visunex.base.errors import first_line
from visunex.net.range_file import LocalFile, RangedFile, RemoteFile, as_file

from ..errors import EncodeError, parquet_errors
from ..shards.footer import opened_parquet

__all__ = ["ColumnArray", "array_in_zip", "is_far", "vector_columns"]

_LOCAL_HEADER = 30  # bytes of a zip's member before its name (APPNOTE 4.3.7)
_MOST_INFLATED = 16 << 30  # bytes of a packed array, which is unpacked to the disk
_PIECE = 16 << 20
_DTYPES = {pa.float16(): "<f2", pa.float32(): "<f4", pa.float64(): "<f8"}
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, ValueError, EOFError,
    OSError, LookupError, MemoryError, OverflowError, struct.error,
)  # fmt: skip


class _View:
    """The bytes [begin, end) of another file, as a file."""

    def __init__(self, file: RangedFile, begin: int, end: int, name: str) -> None:
        self._file, self._begin, self.size = file, begin, end - begin
        self.name, self.buffer = name, file.buffer

    @property
    def version(self) -> str | None:
        """What changes with the contents, where that is said."""
        return getattr(self._file, "version", None)

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end."""
        return self.read_many([(begin, end)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range."""
        own = [(self._begin + min(a, self.size), self._begin + min(b, self.size)) for a, b in ranges]
        return self._file.read_many(own)

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end), some at a time."""
        yield from self._file.pieces(self._begin + begin, self._begin + min(end, self.size))


def is_far(file: RangedFile) -> bool:
    """Whether the bytes that are asked for are fetched from an address; of columns it is row groups."""
    own = file._file if isinstance(file, _View) else file
    return isinstance(own, RemoteFile)


class _Inflated(LocalFile):
    """An array that was packed, unpacked to the disk for as long as it is used."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        self._kept = tempfile.NamedTemporaryFile(prefix="visunex-", suffix=".npy")  # noqa: SIM115 - kept
        with archive.open(member) as packed:
            while data := packed.read(_PIECE):
                self._kept.write(data)
        self._kept.flush()
        super().__init__(Path(self._kept.name))


def array_in_zip(file: RangedFile, key: str | None) -> RangedFile:
    """The array called `key` of an .npz, as an .npy file; None: the one that holds vectors.

    What was stored as it is (`numpy.savez`) is read by range; what was packed is unpacked to the disk first.
    Raises EncodeError: no zip, no such array, several to choose from.
    """
    try:
        with zipfile.ZipFile(as_file(file)) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            return _member(file, archive, _chosen(file, archive, members, key))
    except _ZIP_ERRORS as error:
        raise EncodeError(f"{file.name} is no .npz that can be read: {first_line(error)}") from None


def _chosen(
    file: RangedFile, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], key: str | None
) -> zipfile.ZipInfo:
    if key is not None:
        if key in members:
            return members[key]
        raise EncodeError(f"{file.name} has no array {key!r}; it has {', '.join(sorted(members)[:20])}")
    fitting = [name for name, member in members.items() if _holds_vectors(archive, member)]
    if len(fitting) != 1:
        what = (
            f"several arrays of vectors ({', '.join(sorted(fitting)[:20])})"
            if fitting
            else "no array of vectors"
        )
        raise EncodeError(f"{file.name} has {what}; name one with --vector-key")
    return members[fitting[0]]


def _holds_vectors(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a member begins as an .npy file of two dimensions and floats; only its header is unpacked."""
    try:
        with archive.open(member) as file:
            start = io.BytesIO(file.read(4096))
        version = np.lib.format.read_magic(start)
        shape, _, dtype = getattr(np.lib.format, f"read_array_header_{version[0]}_0")(
            start, max_header_size=4096
        )
        return len(shape) == 2 and dtype.kind == "f"
    except (*_ZIP_ERRORS, AttributeError, TypeError, SyntaxError, MemoryError, ArithmeticError):
        return False


def _member(file: RangedFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> RangedFile:
    name = f"{file.name}[{member.filename.removesuffix('.npy')}]"
    if member.flag_bits & 1:
        raise EncodeError(f"{name} is encrypted")
    if member.compress_type == zipfile.ZIP_STORED:
        header = file.read(member.header_offset, member.header_offset + _LOCAL_HEADER)
        begin = member.header_offset + _LOCAL_HEADER + sum(np.frombuffer(header[26:30], "<u2").tolist())
        return _View(file, begin, begin + member.file_size, name)
    if member.file_size > _MOST_INFLATED:
        raise EncodeError(
            f"{name} would take {member.file_size >> 30} GiB unpacked; save it with numpy.savez, unpacked"
        )
    return _View(_Inflated(archive, member), 0, member.file_size, name)


def vector_columns(schema: pa.Schema) -> list[str]:
    """The columns of a table that hold lists of floats."""
    return [field.name for field in schema if _values_of(field.type) in _DTYPES]


def _values_of(kind: pa.DataType) -> pa.DataType | None:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else None


class ColumnArray:
    """A column of lists of a parquet file, as an .npy file: row groups are read as their rows are asked for.

    A row that is null, or of another length than most, is of NaN: no vector.
    """

    buffer = 0

    def __init__(self, file: RangedFile, column: str) -> None:
        self.name = f"{file.name}[{column}]"
        self._file, self._column = file, column
        self._group: tuple[int, NDArray[Any]] | None = None  # the one that was read last

    @property
    def version(self) -> str | None:
        """What changes with the contents, where that is said."""
        return getattr(self._file, "version", None)

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return opened_parquet(as_file(self._file), pre_buffer=False, buffer_size=self._file.buffer)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The number of rows up to the end of each row group."""
        meta = self._parquet.metadata
        return np.cumsum(
            [meta.row_group(group).num_rows for group in range(meta.num_row_groups)], dtype=np.int64
        )

    @cached_property
    def _kind(self) -> tuple[np.dtype[Any], int]:
        """The type of the numbers, and how many a vector has: as the first that is there."""
        try:
            kind = self._parquet.schema_arrow.field(self._column).type
            dtype = np.dtype(_DTYPES[_values_of(kind)])
            if pa.types.is_fixed_size_list(kind):
                return dtype, kind.list_size
            for batch in self._parquet.iter_batches(256, columns=[self._column], use_threads=False):
                lengths = batch.column(0).value_lengths().drop_null()
                if len(lengths):
                    return dtype, int(np.bincount(lengths.to_numpy(zero_copy_only=False)).argmax())
        except parquet_errors() as error:
            raise self._unreadable(error) from None
        raise EncodeError(f"{self.name} holds no vector")

    @cached_property
    def _head(self) -> bytes:
        dtype, dimension = self._kind
        buffer = io.BytesIO()
        shape = (int(self._ends[-1]) if len(self._ends) else 0, dimension)
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": dtype.str, "fortran_order": False, "shape": shape}
        )
        return buffer.getvalue()

    @property
    def _width(self) -> int:
        dtype, dimension = self._kind
        return dtype.itemsize * dimension

    @property
    def size(self) -> int:
        """How long the .npy file would be."""
        return len(self._head) + (int(self._ends[-1]) if len(self._ends) else 0) * self._width

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end) of it, fewer at the end."""
        end, head = min(end, self.size), self._head
        if begin >= end:
            return b""
        data = head[begin:end]
        begin, end = max(begin, len(head)) - len(head), end - len(head)
        if begin >= end:
            return data
        first, last = begin // self._width, -(-end // self._width)
        rows = b"".join(self._rows(first, last))
        return data + rows[begin - first * self._width : end - first * self._width]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, in ascending order."""
        return [self.read(*each) for each in ranges]

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end), some at a time."""
        for at in range(begin, min(end, self.size), _PIECE):
            yield self.read(at, min(at + _PIECE, end))

    def _rows(self, first: int, last: int) -> Iterator[bytes]:
        """The vectors of rows [first, last), a row group at a time."""
        while first < last:
            group = int(np.searchsorted(self._ends, first, side="right"))
            start = int(self._ends[group - 1]) if group else 0
            end = min(last, int(self._ends[group]))
            yield self._of_group(group)[first - start : end - start].tobytes()
            first = end

    def _of_group(self, group: int) -> NDArray[Any]:
        if self._group is None or self._group[0] != group:
            try:
                column = self._parquet.read_row_group(
                    group, columns=[self._column], use_threads=False
                ).column(0)
                self._group = group, np.concatenate([self._as_array(chunk) for chunk in column.chunks])
            except parquet_errors() as error:
                raise self._unreadable(error) from None
        return self._group[1]

    def _as_array(self, column: pa.Array) -> NDArray[Any]:
        """Lists as rows [n, D]; NaN where one is null or of another length."""
        dtype, dimension = self._kind
        found = np.full((len(column), dimension), np.nan, dtype)
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        sound = column.is_valid().to_numpy(zero_copy_only=False)
        sound &= column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False) == dimension
        values = column.filter(pa.array(sound)).flatten().to_numpy(zero_copy_only=False)
        found[sound] = values.astype(dtype).reshape(-1, dimension)
        return found

    def _unreadable(self, error: Exception) -> EncodeError:
        return EncodeError(f"{self.name} cannot be read: {first_line(error)}")
