"""A file of any size from a path or an address, read once from front to back."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

from visunex.base.proxies import without_userinfo

from .budget import Budget
from .client import CHUNK, Client, ClientSettings, Response
from .errors import FetchError

__all__ = ["ForwardReader", "Positioned", "is_address", "opened_stream"]

PATIENCE = 60.0  # seconds for the beginning of an answer, and for each piece of a body
_KEPT = 1 << 16  # bytes behind the position that can be gone back to


def is_address(place: str) -> bool:
    """Whether a place is a web address rather than a path."""
    return place.startswith(("http://", "https://"))


@contextmanager
def opened_stream(
    place: str, settings: ClientSettings, headers: Mapping[str, str] | None = None
) -> Iterator[IO[bytes]]:
    """The bytes of a path or address, gzip unpacked on the way; may be sought forwards, and a little back.

    `settings` say which addresses are permitted, `headers` (a token) go to the address' host alone. Raises
    FetchError, naming the place, when it cannot be opened or (from a read) ends before it should.
    """
    with ExitStack() as stack:
        plain = stack.enter_context(_opened(place, settings, headers))
        start = plain.read(2)
        plain.seek(0)
        if start == b"\x1f\x8b":
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=plain))
            yield cast("IO[bytes]", ForwardReader(_Unpacked(place, unpacked).read))
        else:
            yield plain


def _opened(
    place: str, settings: ClientSettings, headers: Mapping[str, str] | None
) -> AbstractContextManager[IO[bytes]]:
    if is_address(place):
        return _opened_address(place, settings, headers)
    try:
        return Path(place).open("rb")
    except OSError as error:
        raise FetchError("unreadable", f"{place} cannot be read: {error.strerror or error}") from None


@contextmanager
def _opened_address(
    url: str, settings: ClientSettings, headers: Mapping[str, str] | None
) -> Iterator[IO[bytes]]:
    client = Client(settings)
    try:
        with _answer(client, url, headers) as response:
            yield cast("IO[bytes]", ForwardReader(_Body(url, response).read))
    finally:
        client.close()


def _answer(client: Client, url: str, headers: Mapping[str, str] | None) -> Response:
    try:
        response = client.open(url, Budget.of(PATIENCE), headers)
        if not response.whole:
            response.close()
            raise response.failure()
    except FetchError as error:
        raise error.about(without_userinfo(url)) from None
    return response


class _Unpacked:
    """What is packed in a file; raises FetchError where that is damaged."""

    def __init__(self, place: str, file: gzip.GzipFile) -> None:
        self._place, self._file = place, file

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FetchError(
                "damaged", f"{without_userinfo(self._place)} is a damaged gzip file ({error}); fetch it again"
            ) from None


class _Body:
    """A response's bytes; each read has PATIENCE seconds of its own, however long the whole takes."""

    def __init__(self, url: str, response: Response) -> None:
        self._url, self._response = url, response

    def read(self, size: int) -> bytes:
        self._response.budget.renew(PATIENCE)
        try:
            return self._response.read(size)
        except FetchError as error:
            raise FetchError(
                error.kind,
                f"{without_userinfo(self._url)} broke off ({error.kind}); what is done is kept, try again",
            ) from None


class Positioned(io.RawIOBase):
    """A file that is read and sought, with a position that reading moves; subclasses say how."""

    def __init__(self) -> None:
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, as far as the subclass can."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position


class ForwardReader(Positioned):
    """What `source` gives as a file that can be sought forwards, and back by up to `keep` bytes."""

    def __init__(self, source: Callable[[int], bytes], keep: int = _KEPT) -> None:
        super().__init__()
        self._source, self._keep = source, keep
        self._end = 0
        self._kept = b""  # the last bytes before `_end`

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position: what lies between is read. Raises OSError for one that is long past."""
        target = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target < self._end - len(self._kept):
            raise OSError("a stream cannot go back")
        self._position = min(target, self._end)
        while self._position < target and self.read(min(target - self._position, CHUNK)):
            pass
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        wanted = size if size >= 0 else 1 << 62
        behind = self._end - self._position  # bytes that were gone back over
        parts = [self._kept[len(self._kept) - behind :][:wanted]]
        missing = wanted - len(parts[0])
        while missing > 0 and (data := self._source(min(missing, CHUNK))):
            parts.append(data)
            missing -= len(data)
            self._end += len(data)
            self._kept = (self._kept + data)[-self._keep :]
        found = b"".join(parts)
        self._position += len(found)
        return found
