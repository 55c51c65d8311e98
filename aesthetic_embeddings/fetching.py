"""Published embeddings, brought once: from a mirror or their own address, checked against the catalogue."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from visunex.base.errors import VisunexError
from visunex.base.files import sha256_file, write_bytes
from visunex.base.folders import cache_folder

from .artefact import Embedding, load
from .catalogue import Published, published
from .errors import EmbeddingError

MIRROR_VARIABLE = "VISUNEX_MIRROR"
FOLDER = "aesthetic_embeddings"  # of the publisher's repository
MAX_BYTES = 1024**2  # published embeddings are a few kB
TOTAL_SECONDS = 60.0
_MIRROR: ContextVar[str | None] = ContextVar("mirror", default=None)  # of the block at work


def fetch(name: str, mirror: str | None = None) -> Embedding:
    """Bring a published embedding, unless it is cached, and check its SHA-256.

    `mirror` (else `$VISUNEX_MIRROR`, else the publisher's own address) is a folder or a URL that holds
    `aesthetic_embeddings/NAME.pt` or `NAME.pt`. Raises EmbeddingError when the name is unknown, the source
    does not answer or answers something else than what was published.
    """
    entry = published(name)
    cached = cached_file(entry)
    if cached is not None:
        return load(cached)
    data, source = _bring(entry, mirror_given(mirror))
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise EmbeddingError(
            f"{source} is not the published {name}: its SHA-256 is {digest[:12]}..., not "
            f"{entry.sha256[:12]}...; "
            "nothing was kept, try another mirror"
        )
    target = cache_folder("embeddings") / f"{name}.pt"
    try:
        write_bytes(target, data)
    except OSError as error:
        raise EmbeddingError(
            f"{target} cannot be written: {error.strerror or error}; set XDG_CACHE_HOME"
        ) from None
    return load(target)


def cached_file(entry: Published) -> Path | None:
    """The cached file of a published embedding when it is there and still what was published."""
    try:
        path = cache_folder("embeddings") / f"{entry.name}.pt"
        return path if sha256_file(path) == entry.sha256 else None
    except (OSError, VisunexError):  # no such file, or no place where it could be
        return None


def mirrored_file(entry: Published, mirror: str | None = None) -> Path | None:
    """The file of a published embedding in a mirror that is a folder on this machine; None without one."""
    place = mirror_given(mirror)
    if not place or is_url(place):
        return None
    candidates = (Path(place) / FOLDER / f"{entry.name}.pt", Path(place) / f"{entry.name}.pt")
    return next((path for path in candidates if path.is_file()), None)


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


def is_url(place: str) -> bool:
    """Whether a mirror is an address rather than a folder."""
    return place.startswith(("http://", "https://"))


def _bring(entry: Published, mirror: str | None) -> tuple[bytes, str]:
    if not mirror:
        return get_bytes(entry.url), entry.url
    if is_url(mirror):
        url = f"{mirror.rstrip('/')}/{FOLDER}/{entry.name}.pt"
        return get_bytes(url), url
    path = mirrored_file(entry, mirror)
    if path is None:
        raise EmbeddingError(f"the mirror {mirror} has no {FOLDER}/{entry.name}.pt and no {entry.name}.pt")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES), str(path)
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}") from None


def get_bytes(url: str) -> bytes:
    """The body at `url`, within bounds of time and size. Raises EmbeddingError, with advice."""
    from visunex.net import FetchError, probe  # here, as few commands fetch

    advice = f"check the network, or name a mirror with --mirror or ${MIRROR_VARIABLE}"
    try:
        return probe.get_bytes(url, most=MAX_BYTES, seconds=TOTAL_SECONDS)
    except FetchError as error:
        if error.kind == "too_large":
            message = f"{url} sends more than {MAX_BYTES // 1024**2} MB; an embedding is a few kB"
        elif error.kind == "timeout":
            message = f"{url} took longer than {TOTAL_SECONDS:.0f} seconds; try again or another mirror"
        elif error.status is not None:
            message = f"{url} answers {error.message}; {advice}"
        else:
            message = f"{url} cannot be fetched: {error.message}; {advice}"
        raise EmbeddingError(message) from None
