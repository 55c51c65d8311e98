"""The files of published vectors, wherever they lie: in pairs, opened and checked.

`img_emb/img_emb_N.npy` stand beside `metadata/metadata_N.parquet` (or other pairs, see `pairs`), or vectors
are a column of the metadata itself, in a folder, behind an address or on the Hub. The files are somebody
else's: whatever they hold, an error names the one that is at fault.
"""

import ast
import functools
import struct
import urllib.parse
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line
from visunex.net.errors import FetchError
from visunex.net.hub import hub_folder, listed_folder
from visunex.net.range_file import LocalFile, RangedFile, RemoteFile, Web, as_file

from ..errors import EncodeError, fetch_errors_as, parquet_errors
from ..inside.bucket import BucketFile, listed_bucket
from ..metadata.catalog.entries import data_set, vectors_of_named
from ..shards.footer import opened_parquet
from .arrays import ColumnArray, array_in_zip, vector_columns
from .npy import NPY_ERRORS
from .pairs import pairs, without_partner
from .store import provenance_in

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "INSIDE",
    "Header",
    "PublishedFolder",
    "PublishedPart",
    "address_of",
    "as_plain_text",
    "as_texts",
    "header",
    "named",
    "open_folder",
    "opened",
    "provenance_of",
    "require_same_count",
    "split_place",
]

_LISTED = ("hf://", "s3://")  # where a folder says what is in it
INSIDE = "#vector-"  # before what a place of vectors says of where they lie in its files
_MOST_PARTS = 100_000
_LOOKAHEAD = 16  # numbers tried behind one that a server does not have, before that is taken for the end
_NAMES = (
    "{name}_{number}.{suffix}",
    *(f"{{name}}_{{number:0{width}d}}.{{suffix}}" for width in (2, 3, 4, 5)),
)
_FLOATS = ("<f2", "<f4", "<f8")
_WIDEST = 1 << 16  # dimensions


@dataclass(frozen=True)
class PublishedPart:
    """One pair of files, the number in their names, and what to do where they do not belong together.

    `by_layout`: how they lie says that they do, row for row.
    """

    vectors: RangedFile
    metadata: RangedFile
    number: int = 0
    advice: str = "fetch both again"
    by_layout: bool = True


@dataclass(frozen=True)
class PublishedFolder:
    """A folder of vectors, wherever it lies."""

    place: str
    parts: tuple[PublishedPart, ...]

    @property
    def by_layout(self) -> bool:
        """Whether the layout says that the rows of all parts belong to their vectors."""
        return all(part.by_layout for part in self.parts)

    @property
    def missing(self) -> list[int]:
        """The numbers between the first part and the last that no part has."""
        numbers = {part.number for part in self.parts}
        return sorted(set(range(min(numbers), max(numbers))) - numbers)


def address_of(place: str) -> str:
    """Where vectors lie: of a data set known by name that has some, their address; else the place itself."""
    own, mark, inside = place.partition(INSIDE)
    found = data_set(own)
    return f"{found.vectors_at}{mark}{inside}" if found is not None and found.vectors_at else place


def split_place(place: str) -> tuple[str, str | None, str | None]:
    """A place of vectors, the key of the array in its .npz files, and the column of its parquet files."""
    own, _, inside = place.partition(INSIDE)
    kind, _, name = inside.partition("=")
    return own, name if kind == "key" else None, name if kind == "column" else None


@fetch_errors_as(EncodeError)
def open_folder(place: str) -> PublishedFolder:
    """The parts of a folder, an http(s):// address, hf://datasets/OWNER/NAME/PATH or a data set by name.

    Raises EncodeError, also for an hf:// address that is none.
    """
    address, key, column = split_place(address_of(place))
    if column is not None:
        parts = tuple(_column_parts(address, column))
    elif address.startswith(_LISTED):
        parts = tuple(_listed_parts(address, key))
    elif address.startswith(("http://", "https://")):
        parts = tuple(_remote_parts(address.rstrip("/"), Web({})))
    else:
        parts = tuple(_local_parts(Path(address), key)) or tuple(_column_parts(address, None))
    if not parts:
        raise EncodeError(
            f"{place} holds no img_emb/img_emb_N.npy with metadata/metadata_N.parquet, as clip-retrieval "
            "lays them out, nor arrays (.npy, .npz) beside parquet files of the same name or number, nor "
            "parquet files with a column of vectors"
        )
    return PublishedFolder(place, parts)


def _local_parts(folder: Path, key: str | None) -> Iterator[PublishedPart]:
    files = [path for pattern in ("*.*", "*/*.*") for path in folder.glob(pattern) if path.is_file()]
    paths = [path.relative_to(folder).as_posix() for path in files]
    for pair in pairs(paths, lambda name: str(folder / name)):
        vectors = _array(LocalFile(folder / pair.vectors), key)
        yield PublishedPart(vectors, LocalFile(folder / pair.metadata), pair.number, by_layout=pair.by_layout)


def _array(file: RangedFile, key: str | None) -> RangedFile:
    """A file's array of vectors, as an .npy file."""
    if file.name.lower().endswith(".npz"):
        return array_in_zip(file, key)
    if key is not None:
        raise EncodeError(f"{file.name} is no .npz, which --vector-key {key} is for")
    return file


def _column_parts(address: str, column: str | None) -> Iterator[PublishedPart]:
    """The parquet files of a place, each with the vectors in a column of its own."""
    for number, file in enumerate(_parquet_files(address)):
        part = PublishedPart(file, file, number)
        names = vector_columns(opened(part).schema_arrow)
        own = column or (names[0] if len(names) == 1 else None)
        if own is None and not names:
            return
        if own not in names:
            what = f"no column {column!r} of vectors" if column else "several columns of vectors"
            raise EncodeError(
                f"{file.name} has {what}; there are {', '.join(names)}: --vector-column names one"
            )
        yield PublishedPart(ColumnArray(file, own), file, number)


def _parquet_files(address: str) -> list[RangedFile]:
    if address.startswith(_LISTED):
        paths, at = _listed(address)
        return [at(path) for path in sorted(paths) if path.endswith(".parquet")]
    if address.startswith(("http://", "https://")):
        return [RemoteFile(address, Web({}))] if address.partition("?")[0].endswith(".parquet") else []
    place = Path(address)
    found = sorted(place.glob("*.parquet")) or sorted(place.glob("*/*.parquet"))
    return [LocalFile(path) for path in ([place] if place.is_file() else found)]


def _listed(address: str) -> tuple[list[str], Callable[[str], RangedFile]]:
    """The paths of the files in a folder on the Hub or in a bucket, and what gives the file of each."""
    if address.startswith("s3://"):
        return listed_bucket(address), lambda path: BucketFile(f"{address.rstrip('/')}/{path}")
    folder, paths = listed_folder(address)
    web = Web(folder.headers, folder.refused)
    return paths, lambda path: RemoteFile(f"{folder.url}/{urllib.parse.quote(path)}", web)


def _listed_parts(address: str, key: str | None) -> Iterator[PublishedPart]:
    try:
        paths, at = _listed(address)
    except FetchError as error:
        if error.kind != "no_listing":
            raise
        folder = hub_folder(address)
        yield from _remote_parts(folder.url, Web(folder.headers, folder.refused))
        return
    fitting = vectors_of_named(address)
    advice = f"the set's files fit at {fitting}" if fitting else "at another revision they may fit"
    paired = list(pairs(paths, lambda path: at(path).name, advice))
    for pair in paired:
        own = _array(at(pair.vectors), key), at(pair.metadata)
        yield PublishedPart(*own, pair.number, advice, pair.by_layout)
    if not paired:
        yield from _column_parts(address, None)


def _remote_parts(address: str, web: Web) -> Iterator[PublishedPart]:
    """Parts 0, 1, 2, ... until the server has no more for some numbers: a web server lists nothing."""
    pattern = _pattern(address, web)
    if pattern is None:
        return
    last = -1
    for number in range(_MOST_PARTS):
        if number - last > _LOOKAHEAD:
            return
        metadata = _remote(address, "metadata", pattern, number, web)
        vectors = _remote(address, "img_emb", pattern, number, web)
        there = metadata.exists(), vectors.exists()
        if any(there) and not all(there):
            found, missing = (metadata, "img_emb") if there[0] else (vectors, "metadata")
            raise without_partner(found.name, f"{missing}/{missing}_{number}")
        if all(there):
            last = number
            yield PublishedPart(vectors, metadata, number)


def _pattern(address: str, web: Web) -> str | None:
    """How the files are numbered, by the first that is there; the first number need not be 0."""
    tried = ((number, each) for number in range(_LOOKAHEAD) for each in _NAMES)
    return next(
        (each for number, each in tried if _remote(address, "metadata", each, number, web).exists()), None
    )


def _remote(address: str, kind: str, pattern: str, number: int, web: Web) -> RemoteFile:
    suffix = "npy" if kind == "img_emb" else "parquet"
    return RemoteFile(f"{address}/{kind}/{pattern.format(name=kind, number=number, suffix=suffix)}", web)


@fetch_errors_as(EncodeError)
def opened(part: PublishedPart) -> pq.ParquetFile:
    """A part's metadata, nothing of it read yet but the footer. Raises EncodeError."""
    try:
        return opened_parquet(as_file(part.metadata), pre_buffer=False, buffer_size=part.metadata.buffer)
    except parquet_errors() as error:
        raise EncodeError(
            f"{part.metadata.name} is no parquet file that can be read: {first_line(error)}"
        ) from None


def require_same_count(part: PublishedPart, file: pq.ParquetFile) -> None:
    """Raise EncodeError where a part has not as many vectors as rows of metadata."""
    count, rows = header(part.vectors).count, file.metadata.num_rows
    if count != rows:
        raise EncodeError(
            f"{part.vectors.name} holds {count} vectors, {part.metadata.name} {rows} rows: "
            f"they do not belong together; {part.advice}"
        )


def as_plain_text(column: pa.Array) -> pa.Array:
    """A column in the one type for text that all of Arrow's are compared as; others as they are."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = (pa.string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
    # As bytes: a link that is not UTF-8 is found by none, and costs no other.
    text_like = column.type in (*text, pa.large_string()) or pa.types.is_fixed_size_binary(column.type)
    return column.cast(pa.large_binary()) if text_like else column


def as_texts(column: pa.Array) -> "pl.Series":
    """A column's values as texts; null where one is not UTF-8. Raises PolarsError: lists are no texts."""
    import polars as pl

    values = pl.Series(pl.from_arrow(as_plain_text(column)))
    try:
        return values.cast(pl.String, strict=False)
    except pl.exceptions.PolarsError:  # one value that is not UTF-8 fails all, strict or not
        if values.dtype != pl.Binary:
            raise
        return pl.Series(values.name, [_decoded(each) for each in values], pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def provenance_of(file: pq.ParquetFile) -> dict[str, Any]:
    """What a folder of ours says of how it was made; nothing where it is somebody else's."""
    return provenance_in(file.schema_arrow.metadata) or {}


def named(names: Iterable[str], wanted: str) -> str | None:
    """The column of that lower-case name, in whatever case."""
    return next((name for name in names if name.lower() == wanted), None)


@dataclass(frozen=True)
class Header:
    """Of an .npy file with vectors [count, dimension]: the byte where they start, and their type."""

    start: int
    count: int
    dimension: int
    kind: "np.dtype[Any]"
    by_column: bool = False  # Fortran order

    @property
    def width(self) -> int:
        """Bytes of one vector."""
        return self.dimension * self.kind.itemsize


def header(file: RangedFile) -> Header:
    """What an .npy file of vectors says of itself (numpy.lib.format, versions 1 to 3). Raises EncodeError."""
    return _header(cast("Hashable", file))


@functools.lru_cache(maxsize=1024)  # a file far away is asked once
@fetch_errors_as(EncodeError)
def _header(file: RangedFile) -> Header:
    start = file.read(0, 4096)
    try:
        if start[:6] != b"\x93NUMPY" or len(start) < 12:
            raise ValueError
        size, at = (
            (struct.unpack("<H", start[8:10])[0], 10)
            if start[6] == 1
            else (struct.unpack("<I", start[8:12])[0], 12)
        )
        text = ast.literal_eval(start[at : at + size].decode("latin1"))
        count, dimension = text["shape"]
        if type(count) is not int or type(dimension) is not int or count < 0 or not 0 < dimension <= _WIDEST:
            raise ValueError
        if text["descr"] not in _FLOATS:
            raise ValueError
        found = Header(at + size, count, dimension, np.dtype(text["descr"]), bool(text["fortran_order"]))
    except (struct.error, *NPY_ERRORS):
        raise EncodeError(
            f"{file.name} holds no vectors [n, D] of floats as numpy.save writes them"
        ) from None
    if found.start + found.count * found.width > file.size:
        raise EncodeError(f"{file.name} is cut off: it should hold {found.count} vectors")
    return found
