"""Files with pictures inside, opened for reading in parts: on this machine or behind an address."""

import contextlib
import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, cast

from visunex.net.client import ClientSettings
from visunex.net.hub import hub_folder
from visunex.net.range_file import LocalFile, RangedFile, RemoteFile, Web
from visunex.net.stream import ForwardReader, opened_stream

from .bucket import BucketFile

__all__ = ["is_remote", "opened_file", "read_through", "remote_file", "streamed"]

_BUCKETS = "s3://"
_KEEP = 512 * 1024  # bytes that are gone back over at most: what may lie between two tars in a file


def is_remote(address: str) -> bool:
    """Whether what a file's address names lies on another machine."""
    return "://" in address


def opened_file(address: str) -> RangedFile:
    """The file at a path, or an https://, s3:// or hf://datasets/OWNER/NAME@REVISION/PATH address.

    Nothing of it is read yet. Raises FetchError for an address that means nothing.
    """
    if address.startswith(_BUCKETS):
        return BucketFile(address)
    return remote_file(address) if is_remote(address) else LocalFile(Path(address))


def remote_file(address: str) -> RemoteFile:
    """The file at an https:// or hf:// address; a token for the Hub goes along with each request to it.

    Raises FetchError.
    """
    if address.startswith("hf://"):
        folder = hub_folder(address)
        return RemoteFile(folder.url, _web(tuple(folder.headers.items()), folder.refused))
    return RemoteFile(address, _web((), None))


def read_through(file: RangedFile) -> IO[bytes]:
    """A file that is read once from front to back, and gone on with where a connection breaks."""
    pieces, rest = file.pieces(0, file.size), b""

    def some(size: int) -> bytes:
        nonlocal rest
        rest = rest or next(pieces, b"")
        data, rest = rest[:size], rest[size:]
        return data

    return cast("IO[bytes]", ForwardReader(some, _KEEP))


def streamed(address: str) -> AbstractContextManager[IO[bytes]]:
    """The file at an address from front to back, gzip unpacked, whether or not it can be read in parts.

    Raises FetchError.
    """
    if address.startswith(_BUCKETS):
        return contextlib.nullcontext(read_through(BucketFile(address)))
    if address.startswith("hf://"):
        folder = hub_folder(address)
        return opened_stream(folder.url, ClientSettings(), folder.headers)
    return opened_stream(address, ClientSettings())


@functools.lru_cache(8)
def _web(headers: tuple[tuple[str, str], ...], refused: str | None) -> Web:
    return Web(dict(headers), refused)
