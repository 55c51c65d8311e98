"""The files of published vectors, wherever they lie: clip-retrieval's layout, opened and checked.

`img_emb/img_emb_N.npy` stand beside `metadata/metadata_N.parquet`, in a folder, behind an address or on the
Hub. The files are somebody else's: whatever they hold, an error names the one that is at fault.
"""

import ast
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line
from visunex.net.hub import hub_folder
from visunex.net.range_file import LocalFile, RangedFile, RemoteFile, Web, as_file

from ..errors import EncodeError, fetch_errors_as
from .store import provenance_in

__all__ = [
    "Header",
    "PublishedFolder",
    "PublishedPart",
    "header",
    "named",
    "open_folder",
    "opened",
    "provenance_of",
]

_MOST_PARTS = 100_000
_NAMES = (
    "{name}_{number}.{suffix}",
    *(f"{{name}}_{{number:0{width}d}}.{{suffix}}" for width in (2, 3, 4, 5)),
)
_FLOATS = ("<f2", "<f4", "<f8")
_WIDEST = 1 << 16  # dimensions


@dataclass(frozen=True)
class PublishedPart:
    """One pair of files."""

    vectors: RangedFile
    metadata: RangedFile


@dataclass(frozen=True)
class PublishedFolder:
    """A folder of vectors, wherever it lies."""

    place: str
    parts: tuple[PublishedPart, ...]


@fetch_errors_as(EncodeError)
def open_folder(place: str) -> PublishedFolder:
    """The parts of a folder, an http(s):// address or hf://datasets/OWNER/NAME/PATH.

    Raises EncodeError, also for an hf:// address that is none.
    """
    if place.startswith("hf://"):
        hub = hub_folder(place)
        parts = tuple(_remote_parts(hub.url, Web(hub.headers, hub.refused)))
    elif place.startswith(("http://", "https://")):
        parts = tuple(_remote_parts(place.rstrip("/"), Web({})))
    else:
        parts = tuple(_local_parts(Path(place)))
    if not parts:
        raise EncodeError(
            f"{place} holds no img_emb/img_emb_N.npy with metadata/metadata_N.parquet, as clip-retrieval "
            "lays them out"
        )
    return PublishedFolder(place, parts)


def _local_parts(folder: Path) -> Iterator[PublishedPart]:
    vectors, tables = _numbered(folder / "img_emb", "npy"), _numbered(folder / "metadata", "parquet")
    for number in sorted(vectors.keys() & tables.keys()):
        yield PublishedPart(LocalFile(vectors[number]), LocalFile(tables[number]))


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    pattern = re.compile(rf"{folder.name}_(\d+)\.{suffix}")
    found = {path: pattern.fullmatch(path.name) for path in folder.glob(f"*.{suffix}")}
    return {int(match[1]): path for path, match in found.items() if match}


def _remote_parts(address: str, web: Web) -> Iterator[PublishedPart]:
    """Parts 0, 1, 2, ... until the server has no more: a web server lists nothing."""
    pattern = next((each for each in _NAMES if _remote(address, "metadata", each, 0, web).exists()), None)
    for number in range(_MOST_PARTS if pattern else 0):
        metadata = _remote(address, "metadata", pattern or "", number, web)
        if number and not metadata.exists():
            return
        yield PublishedPart(_remote(address, "img_emb", pattern or "", number, web), metadata)


def _remote(address: str, kind: str, pattern: str, number: int, web: Web) -> RemoteFile:
    suffix = "npy" if kind == "img_emb" else "parquet"
    return RemoteFile(f"{address}/{kind}/{pattern.format(name=kind, number=number, suffix=suffix)}", web)


@fetch_errors_as(EncodeError)
def opened(part: PublishedPart) -> pq.ParquetFile:
    """A part's metadata, nothing of it read yet but the footer. Raises EncodeError."""
    try:
        return pq.ParquetFile(as_file(part.metadata), pre_buffer=False, buffer_size=part.metadata.buffer)
    except (pa.ArrowException, OSError) as error:
        raise EncodeError(
            f"{part.metadata.name} is no parquet file that can be read: {first_line(error)}"
        ) from None


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

    @property
    def width(self) -> int:
        """Bytes of one vector."""
        return self.dimension * self.kind.itemsize


@fetch_errors_as(EncodeError)
def header(file: RangedFile) -> Header:
    """What an .npy file of vectors says of itself (numpy.lib.format, versions 1 to 3). Raises EncodeError."""
    start = file.read(0, 4096)
    try:
        if start[:6] != b"\x93NUMPY":
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
        if text["fortran_order"] or text["descr"] not in _FLOATS:
            raise ValueError
        found = Header(at + size, count, dimension, np.dtype(text["descr"]))
    except (ValueError, KeyError, TypeError, SyntaxError, struct.error, MemoryError, RecursionError):
        raise EncodeError(
            f"{file.name} holds no vectors [n, D] of floats as numpy.save writes them"
        ) from None
    if found.start + found.count * found.width > file.size:
        raise EncodeError(f"{file.name} is cut off: it should hold {found.count} vectors")
    return found
