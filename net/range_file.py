"""Parts of files, on this machine or behind an address: only the bytes that are asked for are read."""

import io
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import urllib3

from visunex.pipeline.errors import EncodeError

from .seeking import Positioned

__all__ = ["LocalFile", "RangedFile", "RemoteFile", "Web", "as_file", "coalesced"]

CONNECTIONS = 16
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_RETRIES = urllib3.Retry(
    3, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
)


class RangedFile(Protocol):
    """A file that is read in parts."""

    name: str
    buffer: int  # bytes of a column that are worth reading at once; 0: all

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end). Raises EncodeError."""

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range [begin, end), in ascending order. Raises EncodeError."""


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
            raise EncodeError(f"{self.name} cannot be read: {error.strerror}") from None

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end of the file."""
        return self.read_many([(begin, end)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range."""
        try:
            with Path(self.name).open("rb", buffering=0) as file:
                return [os.pread(file.fileno(), end - begin, begin) for begin, end in ranges]
        except OSError as error:
            raise EncodeError(f"{self.name} cannot be read: {error.strerror}") from None


class Web:
    """Connections that are kept, and the headers (a token) that go with each request to the host meant.

    `refused` is what to say where a server refuses a file rather than say whether it is there.
    """

    def __init__(self, headers: Mapping[str, str], refused: str | None = None) -> None:
        self.refused = refused
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=_TIMEOUT, retries=_RETRIES)
        self._headers = dict(headers)

    def get(self, url: str, begin: int, end: int) -> urllib3.BaseHTTPResponse:
        """The answer to a request for the bytes [begin, end). Raises EncodeError when there is none."""
        try:
            return self._pool.request(
                "GET",
                url,
                headers={**self._headers, "Range": f"bytes={begin}-{end - 1}"},
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            host = urllib.parse.urlsplit(url).netloc
            raise EncodeError(f"{host} cannot be reached ({type(error).__name__}); try again") from None


class RemoteFile:
    """A file behind an address whose server answers range requests."""

    buffer = 0  # each further request costs more than the memory

    def __init__(self, url: str, web: Web) -> None:
        self.name, self._web = url, web

    @cached_property
    def size(self) -> int:
        """Its length in bytes, from the answer to a request for the first."""
        return _total(self._web.get(self.name, 0, 1), self.name)

    def exists(self) -> bool:
        """Whether the server has it. Raises EncodeError when it refuses, or sends files only whole."""
        answer = self._web.get(self.name, 0, 1)
        if answer.status in (401, 403) and self._web.refused:
            answer.close()
            raise EncodeError(f"{self.name}: {self._web.refused}")
        if answer.status in (404, 403, 410):
            answer.close()
            return False
        self.__dict__["size"] = _total(answer, self.name)
        return True

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end of the file."""
        if begin >= end:
            return b""
        answer = self._web.get(self.name, begin, end)
        _total(answer, self.name, close=False)
        try:
            return answer.read(end - begin)
        except urllib3.exceptions.HTTPError as error:
            raise EncodeError(f"{self.name} broke off ({type(error).__name__}); try again") from None
        finally:
            answer.release_conn()

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, several at the same time."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda each: self.read(*each), ranges))


def _total(answer: urllib3.BaseHTTPResponse, url: str, *, close: bool = True) -> int:
    """The length of the file that a range is of."""
    if answer.status != 206:
        answer.close()
        if answer.status == 200:
            raise EncodeError(
                f"{url}: the server sends files only whole (no range requests); fetch them yourself"
            )
        raise EncodeError(f"{url}: the server answers with status {answer.status}")
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if close:
        answer.drain_conn()
        answer.release_conn()
    if not total.isdecimal():
        raise EncodeError(f"{url}: the server does not say how long the file is")
    return int(total)


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
