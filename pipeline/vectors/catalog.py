"""Published vectors known by name, fetched once and checked by SHA-256; and those of a file of one's own.

The files that are known are in `catalog.toml`.
"""

import functools
import hashlib
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import EmbeddingError, get_bytes, is_url, mirror_given
from visunex.base.errors import UsageError, first_line
from visunex.base.files import write_bytes
from visunex.base.folders import cache_folder

from ..errors import EncodeError
from .npy import NPY_ERRORS, as_float32, have_direction

__all__ = ["PublishedVectors", "VectorFile", "catalogue", "digest", "read_published"]

LARGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class PublishedVectors:
    """A file of vectors known by name, `FOLDER/FILE` without its suffix."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, eq=False)
class VectorFile:
    """The `vectors` [n, D] of a file, and the names of its rows that are none: zero or not finite."""

    vectors: NDArray[np.float32]
    dropped: tuple[str, ...] = ()


@functools.cache
def catalogue() -> dict[str, PublishedVectors]:
    """The published vectors by name."""
    folders = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {
        f"{folder}/{file}": PublishedVectors(f"{folder}/{file}", f"{entry['base']}/{file}.npy", digest)
        for folder, entry in folders.items()
        for file, digest in entry["sha256"].items()
    }


def read_published(name: str) -> VectorFile:
    """The vectors of a published name or of a `.npy` file.

    A name is fetched once, from `$VISUNEX_MIRROR` (a folder or address that holds `NAME.npy`) or where it was
    published, and checked by its SHA-256. Raises EncodeError, UsageError.
    """
    entry = catalogue().get(name)
    if entry is not None:
        return _read(_fetched(entry), name)
    if not name.endswith(".npy"):
        raise UsageError(f"there are no published vectors {name!r}: {', '.join(catalogue())}, or a .npy file")
    try:
        with Path(name).open("rb") as file:
            return _read(file.read(LARGEST + 1), name)
    except OSError as error:
        raise EncodeError(f"{name} cannot be read: {error.strerror}") from None


def _read(data: bytes, name: str) -> VectorFile:
    if len(data) > LARGEST:
        raise EncodeError(f"{name} is larger than {LARGEST >> 20} MB; give its folder with --precomputed")
    try:
        vectors = np.load(io.BytesIO(data), allow_pickle=False)
    except NPY_ERRORS as error:
        raise EncodeError(f"{name} is no array of vectors: {first_line(error)}") from None
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim not in (1, 2):
        raise EncodeError(f"{name} is no array of vectors [n, D] of floats")
    rows = as_float32(np.atleast_2d(vectors))
    sound = have_direction(rows)
    if not sound.any():
        raise EncodeError(f"{name} holds no vectors, or none that is finite and not zero")
    return VectorFile(rows[sound], tuple(f"{name} row {row}" for row in np.flatnonzero(~sound)))


def _fetched(entry: PublishedVectors) -> bytes:
    cached = cache_folder("vectors") / f"{entry.name}.npy"
    if (data := _bytes(cached)) is not None and digest(data) == entry.sha256:
        return data
    data, place = _bring(entry)
    if digest(data) != entry.sha256:
        raise EncodeError(f"{place} is not the published {entry.name}: its SHA-256 is {digest(data)[:12]}...")
    write_bytes(cached, data)
    return data


def _bring(entry: PublishedVectors) -> tuple[bytes, str]:
    """The file, and the path or address it came from."""
    mirror = mirror_given(None)
    if not mirror or is_url(mirror):
        url = f"{mirror.rstrip('/')}/{entry.name}.npy" if mirror else entry.url
        try:
            return get_bytes(url), url
        except EmbeddingError as error:
            raise EncodeError(str(error)) from None
    paths = (Path(mirror) / f"{entry.name}.npy", Path(mirror) / f"{Path(entry.name).name}.npy")
    for path in paths:
        if (data := _bytes(path)) is not None:
            return data, str(path)
    raise EncodeError(f"the mirror {mirror} has no {entry.name}.npy and no {paths[1].name}")


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError:
        return None


def digest(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
