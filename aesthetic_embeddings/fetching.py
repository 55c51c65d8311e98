"""Small published files known by their SHA-256: brought once, from a mirror or their own address, and kept.

Embeddings, vectors and the weights of predictors are named so and never shipped.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from visunex.base.errors import VisunexError
from visunex.base.files import sha256_file, write_bytes
from visunex.base.folders import cache_folder

from .errors import EmbeddingError

__all__ = ["MIRROR_VARIABLE", "PinnedFile", "mirror_given", "mirrored"]

MIRROR_VARIABLE = "VISUNEX_MIRROR"
TOTAL_SECONDS = 60.0  # for one file
_MIRROR: ContextVar[str | None] = ContextVar("mirror", default=None)  # of the block at work


@dataclass(frozen=True)
class PinnedFile:
    """A published file of at most `most` bytes.

    `path` is its place in a mirror, FOLDER/FILE, and `kept` that in the cache; `name` is what a person calls
    it, and `size` says in words how large such files are.
    """

    name: str
    path: str
    kept: str
    url: str
    sha256: str
    most: int
    size: str

    def cached(self) -> Path | None:
        """The file in the cache when it is there and still what was published."""
        try:
            path = self._in_cache()
            return path if sha256_file(path) == self.sha256 else None
        except (OSError, VisunexError):  # no such file, or no place where it could be
            return None

    def in_mirror(self, mirror: str | None = None) -> Path | None:
        """The file in a mirror that is a folder on this machine; None without one."""
        place = mirror_given(mirror)
        if not place or _is_url(place):
            return None
        candidates = (Path(place) / self.path, Path(place) / self._file)
        return next((path for path in candidates if path.is_file()), None)

    def bring(self, mirror: str | None = None) -> Path:
        """The file in the cache: if it is not there, brought and checked.

        It comes from `mirror` (else `$VISUNEX_MIRROR`, else the publisher's address): a folder or a URL that
        holds `path`; a folder may also hold the file itself. Raises EmbeddingError.
        """
        if (cached := self.cached()) is not None:
            return cached
        data, source = self._brought(mirror_given(mirror))
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise EmbeddingError(
                f"{source} is not the published {self.name}: its SHA-256 is {digest[:12]}..., not "
                f"{self.sha256[:12]}...; nothing was kept, try another mirror"
            )
        target = self._in_cache()
        try:
            write_bytes(target, data)
        except OSError as error:
            raise EmbeddingError(
                f"{target} cannot be written: {error.strerror or error}; set XDG_CACHE_HOME"
            ) from None
        return target

    @property
    def _file(self) -> str:
        return self.path.rpartition("/")[2]

    def _in_cache(self) -> Path:
        kind, _, file = self.kept.partition("/")
        return cache_folder(kind) / file

    def _brought(self, mirror: str | None) -> tuple[bytes, str]:
        """The bytes, and the path or address that they came from."""
        if not mirror or _is_url(mirror):
            url = f"{mirror.rstrip('/')}/{self.path}" if mirror else self.url
            return self._fetched(url), url
        if "://" in mirror:
            raise EmbeddingError(
                f"{mirror} is no mirror: that is a folder of this machine or an http(s) address"
            )
        path = self.in_mirror(mirror)
        if path is None:
            raise EmbeddingError(f"the mirror {mirror} has no {self.path} and no {self._file}")
        try:
            with path.open("rb") as file:
                return file.read(self.most), str(path)
        except OSError as error:
            raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}") from None

    def _fetched(self, url: str) -> bytes:
        from visunex.net import FetchError, probe  # here, as few commands fetch

        advice = f"check the network, or name a mirror with --mirror or ${MIRROR_VARIABLE}"
        try:
            return probe.get_bytes(url, most=self.most, seconds=TOTAL_SECONDS)
        except FetchError as error:
            if error.kind == "too_large":
                message = f"{url} sends more than {self.most // 1024**2} MB; {self.size}"
            elif error.kind == "timeout":
                message = f"{url} took longer than {TOTAL_SECONDS:.0f} seconds; try again or another mirror"
            elif error.status is not None:
                message = f"{url} answers {error.message}; {advice}"
            else:
                message = f"{url} cannot be fetched: {error.message}; {advice}"
            raise EmbeddingError(message) from None


def mirror_given(mirror: str | None) -> str | None:
    """The mirror to use: the one given, else that of `mirrored`, else the environment's, else None."""
    return mirror or _MIRROR.get() or os.environ.get(MIRROR_VARIABLE) or None


@contextlib.contextmanager
def mirrored(place: str | None) -> Iterator[None]:
    """Bring what is published from `place` while the block runs, unless another mirror is named."""
    before = _MIRROR.set(place)
    try:
        yield
    finally:
        _MIRROR.reset(before)


def _is_url(place: str) -> bool:
    """Whether a mirror is an address rather than a folder."""
    return place.startswith(("http://", "https://"))
