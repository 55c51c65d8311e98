"""A file of any size from a path or an address, read once from front to back under the fetch's rules."""

import gzip
import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urljoin

from visunex.pipeline.errors import DownloadError

from .errors import FetchError
from .fetcher import MOST_REDIRECTS, REDIRECTS, Fetcher, FetchSettings, checked_url
from .guard import Budget, spending
from .seeking import Positioned

if TYPE_CHECKING:
    import urllib3

__all__ = ["is_address", "opened_stream"]

PATIENCE = 60.0  # seconds that a server may be silent
_KEPT = 1 << 16  # bytes behind the position that can be gone back to
_CHUNK = 1 << 18


def is_address(place: str) -> bool:
    """Whether a place is a web address rather than a path."""
    return place.startswith(("http://", "https://"))


@contextmanager
def opened_stream(place: str, settings: FetchSettings) -> Iterator[IO[bytes]]:
    """The bytes of a path or address, gzip unpacked on the way; may be sought forwards, and a little back.

    An address must be public (`settings.allow_private` permits an intranet's), at every redirect. Raises
    DownloadError, naming the place, when it cannot be opened or ends before it should.
    """
    with ExitStack() as stack:
        try:
            plain = stack.enter_context(_opened(place, settings))
        except OSError as error:
            raise DownloadError(f"{place} cannot be read: {error.strerror or error}") from None
        start = plain.read(2)
        plain.seek(0)
        if start == b"\x1f\x8b":
            unpacked = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=plain)))
            yield cast("IO[bytes]", ForwardReader(unpacked.read))
        else:
            yield plain


def _opened(place: str, settings: FetchSettings) -> AbstractContextManager[IO[bytes]]:
    return _opened_address(place, settings) if is_address(place) else Path(place).open("rb")


@contextmanager
def _opened_address(url: str, settings: FetchSettings) -> Iterator[IO[bytes]]:
    fetcher = Fetcher(settings)
    budget = Budget(time.monotonic() + PATIENCE, 1 << 62)
    try:
        with spending(budget):
            response = _answer(fetcher, url, budget)
            yield cast("IO[bytes]", ForwardReader(_Body(url, response, budget).read))
    except FetchError as error:
        raise DownloadError(f"{url}: {error.message}") from None
    finally:
        fetcher.close()


def _answer(fetcher: Fetcher, url: str, budget: Budget) -> "urllib3.BaseHTTPResponse":
    for _ in range(MOST_REDIRECTS + 1):
        target = checked_url(url)
        try:
            response = fetcher.pool(target).urlopen(
                "GET",
                target.request_uri,
                headers={"User-Agent": fetcher.settings.user_agent, "Accept-Encoding": "identity"},
                redirect=False,
                retries=False,
                timeout=budget.seconds_left(),
                preload_content=False,
            )
        except FetchError:
            raise
        except Exception as error:  # urllib3 wraps what went wrong in many layers
            raise FetchError(*_cause(error)) from None
        location = response.headers.get("Location") if response.status in REDIRECTS else None
        if location is None:
            if response.status != 200:
                raise FetchError("http", f"the server answers with status {response.status}")
            return response
        response.close()
        url = urljoin(target.url, location)
    raise FetchError("too_many_redirects", f"more than {MOST_REDIRECTS} redirects")


def _cause(error: BaseException) -> tuple[str, str]:
    """The fetch's own reason within what urllib3 raised, else what that says."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, FetchError):
            return seen.kind, seen.message
        inner = getattr(seen, "reason", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return "unreachable", f"it cannot be reached ({type(error).__name__})"


class _Body:
    """A response's bytes; each read has PATIENCE seconds of its own, however long the whole takes."""

    def __init__(self, url: str, response: "urllib3.BaseHTTPResponse", budget: Budget) -> None:
        self._url, self._response, self._budget = url, response, budget

    def read(self, size: int) -> bytes:
        self._budget.ends = time.monotonic() + PATIENCE
        try:
            return self._response.read(size, decode_content=False)
        except Exception as error:
            raise DownloadError(
                f"{self._url} broke off ({type(error).__name__}); what is done is kept, try again"
            ) from None


class ForwardReader(Positioned):
    """What `read` gives as a file that can be sought forwards, and back by up to 64 KiB."""

    def __init__(self, read: Any) -> None:
        super().__init__()
        self._source = read
        self._end = 0
        self._kept = b""  # the last bytes before `_end`

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position: what lies between is read. Raises OSError for one that is long past."""
        target = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target < self._end - len(self._kept):
            raise OSError("a stream cannot go back")
        self._position = min(target, self._end)
        while self._position < target and self.read(min(target - self._position, _CHUNK)):
            pass
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        wanted = size if size >= 0 else 1 << 62
        behind = self._end - self._position  # bytes that were gone back over
        parts = [self._kept[len(self._kept) - behind :][:wanted]]
        missing = wanted - len(parts[0])
        while missing > 0 and (data := self._source(min(missing, _CHUNK))):
            parts.append(data)
            missing -= len(data)
            self._end += len(data)
            self._kept = (self._kept + data)[-_KEPT:]
        found = b"".join(parts)
        self._position += len(found)
        return found
