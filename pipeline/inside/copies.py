"""Files behind addresses, copied to this machine one after another: each is gone before the next comes."""

import contextlib
import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from visunex.base.progress import Progress
from visunex.net.errors import FetchError

from ..errors import EncodeError, fetch_errors_as
from .opened import opened_file, streamed

__all__ = ["SPARE", "FarFile", "copied", "far_files", "size_of"]

SPARE = 1 << 30  # bytes that stay free on the disk
_AT_ONCE = 8  # files that are asked for their length at the same time
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FarFile:
    """A file behind an address: what its copy is `called`, and its length where the server says it."""

    address: str
    called: str
    size: int | None


def far_files(named: Sequence[tuple[str, str]]) -> list[FarFile]:
    """The files at addresses, and what their copies are to be called. Raises EncodeError."""
    with ThreadPoolExecutor(_AT_ONCE) as pool, fetch_errors_as(EncodeError):
        sizes = list(pool.map(lambda each: size_of(each[0]), named))
    return [FarFile(*each, size) for each, size in zip(named, sizes, strict=True)]


def size_of(address: str) -> int | None:
    """The length of a file behind an address, where its server says it. Raises FetchError."""
    try:
        return opened_file(address).size
    except FetchError as error:
        if error.kind == "no_ranges":  # it is sent whole, which is what is wanted
            return None
        raise


@contextlib.contextmanager
def copied(file: FarFile, folder: Path, most: int) -> Iterator[Path]:
    """The copy of a file, in `folder` for the length of the block.

    Raises EncodeError: it cannot be copied, would fill the disk, or turns out to have more than `most` bytes.
    """
    target = folder / file.called
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy, Progress("copy", None, unit="MB") as shown:
            for size in _written(file, copy):
                shown.update(size >> 20)
                if size > most:
                    raise EncodeError(f"{file.address} has more than {most} bytes (--max-remote-bytes)")
                _require_room(file, target)
        yield target
    finally:
        target.unlink(missing_ok=True)


def _written(file: FarFile, copy: IO[bytes]) -> Iterator[int]:
    """Copy a file piece by piece; after each how many bytes there are."""
    size = 0
    try:
        for piece in _pieces(file):
            copy.write(piece)
            size += len(piece)
            yield size
    except FetchError as error:
        raise EncodeError(f"{error.advice}; what is encoded is kept with --run") from None
    except (OSError, EOFError, zlib.error) as error:
        raise EncodeError(f"{file.address} cannot be copied: {error}") from None


def _pieces(file: FarFile) -> Iterator[bytes]:
    if file.size is not None:
        yield from opened_file(file.address).pieces(0, file.size)
        return
    with streamed(file.address) as stream:
        yield from iter(lambda: stream.read(_CHUNK), b"")


def _require_room(file: FarFile, target: Path) -> None:
    """Raise EncodeError before a copy fills the disk."""
    left = 0 if file.size is None else file.size - target.stat().st_size
    if shutil.disk_usage(target.parent).free < SPARE + left:
        raise EncodeError(
            f"{file.address} would fill the disk of {target.parent}, of which {SPARE >> 30} GiB stay free"
        )
