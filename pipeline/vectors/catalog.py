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

from visunex.aesthetic_embeddings import EmbeddingError
from visunex.aesthetic_embeddings.fetching import PinnedFile
from visunex.base.errors import UsageError, first_line

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
    if entry is None and not name.endswith(".npy"):
        raise UsageError(f"there are no published vectors {name!r}: {', '.join(catalogue())}, or a .npy file")
    if entry is None and "://" in name:
        raise UsageError(
            f"{name} is an address: --vectors takes files of this machine, --precomputed folders there"
        )
    try:
        with (Path(name) if entry is None else _fetched(entry)).open("rb") as file:
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


def _fetched(entry: PublishedVectors) -> Path:
    place = f"{entry.name}.npy"
    file = PinnedFile(
        entry.name, place, f"vectors/{place}", entry.url, entry.sha256, LARGEST, "vectors are a few kB"
    )
    try:
        return file.bring()
    except EmbeddingError as error:
        raise EncodeError(str(error)) from None


def digest(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
