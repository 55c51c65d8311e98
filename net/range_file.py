"""Parts of files, on this machine or behind an address: only the bytes that are asked for are read."""

import io
import os
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from visunex.base.proxies import without_userinfo

from .budget import Budget
from .client import CHUNK, Client, ClientSettings, Response
from .errors import FetchError, pause_before
from .stream import Positioned

__all__ = ["LocalFile", "RangedFile", "RemoteFile", "Web", "as_file", "coalesced"]

CONNECTIONS = 16
PATIENCE = 30.0  # seconds for the beginning of an answer, and for each piece of a body
_RETRIES = 3
_BEYOND = 416  # the status where a file ends before the range begins
_WHOLE = "fetch them yourself"
_MOST_DIGITS = 20  # of a length in bytes: Python reads no number of thousands


class RangedFile(Protocol):
    """A file that is read in parts."""

    name: str
    buffer: int  # bytes of a column that are worth reading at once; 0: all

    @property
    def size(self) -> int:
        """Its length in bytes. Raises FetchError."""

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end). Raises FetchError."""

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range [begin, end), in ascending order. Raises FetchError."""

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end) as they come, at most CHUNK at a time. Raises FetchError."""


class LocalFile:
    """A file on this machine, read at positions: neither it nor a page of it is kept."""

    buffer = 1 << 20

    def __init__(self, path: Path) -> None:
        self.name = str(path)

    @cached_property
    def size(self) -> int:
        """Its length in bytes."""
        try:
            return Path(self.name).stat().st_size
        except OSError as error:
            raise self._unreadable(error) from None

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end of the file."""
        return self.read_many([(begin, end)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range."""
        try:
            with Path(self.name).open("rb", buffering=0) as file:
                return [os.pread(file.fileno(), end - begin, begin) for begin, end in ranges]
        except OSError as error:
            raise self._unreadable(error) from None

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end), some at a time."""
        while begin < end and (data := self.read(begin, min(begin + CHUNK, end))):
            yield data
            begin += len(data)

    def _unreadable(self, error: OSError) -> FetchError:
        return FetchError("unreadable", f"{self.name} cannot be read: {error.strerror}")


@dataclass(frozen=True)
class _Range:
    """A server's answer for some bytes of a file: the bytes, and of the whole its length and `version`.

    The version is what the server says changes with the contents: ETag, else Last-Modified.
    """

    status: int
    data: bytes = b""
    total: int | None = None
    version: str | None = None

    def length(self, url: str, refused: str | None = None) -> int:
        """The length of the file. Raises FetchError where there is no range, `refused` being why."""
        if self.status == 200:
            raise FetchError(
                "no_ranges", f"{url}: the server sends files only whole (no range requests); {_WHOLE}"
            )
        if self.status in (401, 403) and refused:
            raise FetchError(f"http_{self.status}", f"{url}: {refused}", status=self.status)
        if self.status != 206:
            message = f"{url}: the server answers with status {self.status}"
            raise FetchError(f"http_{self.status}", message, status=self.status)
        if self.total is None:
            raise FetchError("bad_response", f"{url}: the server does not say how long the file is")
        return self.total


class Web:
    """Connections that are kept, and the headers (a token) that go with each request to the host meant.

    `refused` is what to say where a server refuses a file rather than say whether it is there.
    """

    def __init__(self, headers: Mapping[str, str], refused: str | None = None) -> None:
        self.refused = refused
        self._client = Client(ClientSettings(connections=CONNECTIONS))
        self._headers = dict(headers)

    def get(self, url: str, begin: int, end: int) -> _Range:
        """The bytes [begin, end), asked for again where that may help. Raises FetchError, naming the URL."""
        for tries in range(1, _RETRIES + 2):
            try:
                return self._ask(url, begin, end)
            except FetchError as error:
                _pause(tries, error)
        raise AssertionError("the last try returns or raises")

    def pieces(self, url: str, begin: int, end: int, total: int) -> Iterator[bytes]:
        """The same in pieces, gone on with where a connection breaks, of a file of `total` bytes."""
        tries = 0
        while begin < end:
            try:
                with self._opened(url, begin, end) as response:
                    _require_part(response, (begin, end), total, url, self.refused)
                    for piece in _pieces(response, end - begin, url):
                        yield piece
                        begin, tries = begin + len(piece), 0
                if begin < end:
                    raise FetchError("truncated", f"{url} ends before it should", retryable=True)
            except FetchError as error:
                _pause(tries := tries + 1, error)

    def _ask(self, url: str, begin: int, end: int) -> _Range:
        with self._opened(url, begin, end) as response:
            if (failure := response.failure()).retryable:
                raise failure.about(url)
            if response.status != 206:
                return _Range(response.status)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            return _Range(206, b"".join(_pieces(response, end - begin, url)), _length(response), version)

    def _opened(self, url: str, begin: int, end: int) -> Response:
        headers = {**self._headers, "Range": f"bytes={begin}-{end - 1}"}
        try:
            return self._client.open(url, Budget.of(PATIENCE), headers)
        except FetchError as error:
            host = urllib.parse.urlsplit(without_userinfo(url)).netloc
            again = error.retryable or error.kind in ("refused", "unreachable")
            message = f"{host} cannot be reached ({error.message}); try again"
            raise FetchError(error.kind, message, retryable=again) from None


def _pause(tries: int, failure: FetchError) -> None:
    """Wait before another try. Raises the failure of the last, and one that another try does not help."""
    pause = pause_before(tries, failure)
    if tries > _RETRIES or pause is None:
        raise failure
    time.sleep(pause)


def _length(response: Response) -> int | None:
    """The length of the file that a part is of, where the server says it."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() and len(total) < _MOST_DIGITS else None


def _require_part(
    response: Response, wanted: tuple[int, int], total: int, url: str, refused: str | None
) -> None:
    """Raise FetchError where an answer is not the part that was asked for; some send all of it as such."""
    if (failure := response.failure()).retryable:
        raise failure.about(url)
    is_all = response.status == 200 and wanted == (0, total)
    answer = _Range(response.status, b"", _length(response))
    if not is_all and answer.length(url, refused) != total:
        raise FetchError("changed", f"{url} changed while it was read; run the command again")


def _pieces(response: Response, size: int, url: str) -> Iterator[bytes]:
    """The next `size` bytes, with patience for each piece of them."""
    try:
        while size > 0:
            response.budget.renew(PATIENCE)
            piece = response.read(min(size, CHUNK))
            if not piece:
                return
            yield piece
            size -= len(piece)
    except FetchError as error:
        message = f"{url} broke off ({error.kind}); try again"
        raise FetchError(error.kind, message, retryable=error.retryable) from None


class RemoteFile:
    """A file behind an address whose server answers range requests."""

    buffer = 0  # each further request costs more than the memory

    def __init__(self, url: str, web: Web) -> None:
        self.name, self.web = url, web
        self._size: int | None = None
        self.version: str | None = None  # what changes with its contents, once its size was asked for

    @property
    def size(self) -> int:
        """Its length in bytes, from the answer to a request for the first."""
        if self._size is None:
            answer = self.web.get(self.name, 0, 1)
            self._size, self.version = answer.length(self.name, self.web.refused), answer.version
        return self._size

    def exists(self) -> bool:
        """Whether the server has it. Raises FetchError when it refuses, or sends files only whole."""
        answer = self.web.get(self.name, 0, 1)
        if answer.status in (404, 410) or (answer.status == 403 and not self.web.refused):
            return False
        self._size, self.version = answer.length(self.name, self.web.refused), answer.version
        return True

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end of the file."""
        if begin >= end:
            return b""
        answer = self.web.get(self.name, begin, end)
        if answer.status == _BEYOND:
            return b""
        answer.length(self.name, self.web.refused)
        return answer.data

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end) as they come, at most CHUNK at a time. Raises FetchError."""
        return self.web.pieces(self.name, begin, end, self.size)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, several at the same time."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda each: self.read(*each), ranges))


class _Seekable(Positioned):
    """A ranged file as the file that pyarrow reads."""

    def __init__(self, file: RangedFile) -> None:
        super().__init__()
        self._file = file

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._file.size if size < 0 else min(self._position + size, self._file.size)
        data = self._file.read(self._position, end)
        self._position += len(data)
        return data


def as_file(file: RangedFile) -> Any:
    """A ranged file as a seekable one."""
    return _Seekable(file)


def coalesced(ranges: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Ascending ranges put together where at most `gap` bytes lie between."""
    merged: list[tuple[int, int]] = []
    for begin, end in ranges:
        if merged and begin - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
