"""Why something cannot be fetched: one error, with a kind to count and a sentence; and when to ask again."""

import errno
import random
import socket
import ssl
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from visunex.base.errors import VisunexError

__all__ = [
    "FetchError",
    "classed",
    "described",
    "is_retryable",
    "is_temporary",
    "machine_error",
    "pause_before",
    "retry_after",
    "was_spoilt",
]

_RETRYABLE = frozenset({"timeout", "reset", "unreachable", "http_408", "http_425", "http_429", "stalled"})
LONGEST_RETRY_AFTER = 10.0  # seconds; a server that asks for more patience is not asked again
FIRST_PAUSE = 0.2  # seconds before the first retry; doubled before each further one


class FetchError(VisunexError):
    """What was asked for is not to be had: a `kind` to count and a sentence.

    `retryable`: asking again soon may help, after `wait` seconds where the server says so. `status` is the
    server's, where it gave one; `option` what the download's user can say to have it nevertheless.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool = False,
        wait: float | None = None,
        status: int | None = None,
        option: str = "",
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.option = kind, message, option
        self.retryable, self.wait, self.status = retryable, wait, status

    @property
    def advice(self) -> str:
        """The sentence with the option of the download behind it."""
        return f"{self.message} ({self.option})" if self.option else self.message

    def about(self, place: str) -> "FetchError":
        """The same error, its sentence beginning with the place it is about."""
        return FetchError(
            self.kind,
            f"{place}: {self.message}",
            retryable=self.retryable,
            wait=self.wait,
            status=self.status,
            option=self.option,
        )


_OF_THE_PLACE = frozenset({"outage", "dns_temporary", "tls_certificate"})
MACHINE = "machine_"  # what the kinds of this machine's own failures begin with
_MACHINE = {
    errno.EMFILE: ("open_files", "this machine has too many files open (ulimit -n)"),
    errno.ENFILE: ("open_files", "this machine has too many files open"),
    errno.ENOMEM: ("memory", "this machine has no memory left"),
    errno.ENOBUFS: ("memory", "this machine has no memory for sockets left"),
    errno.ENOSPC: ("disk", "this machine has no space left"),
    errno.EDQUOT: ("disk", "the quota of this machine's disk is used up"),
    errno.EROFS: ("disk", "this machine's disk can only be read"),
    errno.EADDRNOTAVAIL: ("ports", "this machine has no port left to connect from"),
}


def is_retryable(kind: str) -> bool:
    """Whether a kind of failure is one of the moment, so that a later run may find what this one did not.

    What this machine or its network did is: it says nothing about the link.
    """
    return kind in _RETRYABLE or kind.startswith("http_5") or was_spoilt(kind)


def was_spoilt(kind: str) -> bool:
    """Whether this machine or its network is to blame for a kind of failure, and not the link."""
    return kind in _OF_THE_PLACE or kind.startswith(MACHINE)


def is_temporary(error: BaseException | None) -> bool:
    """Whether it is the name service that fails, which says nothing about the name."""
    return isinstance(error, socket.gaierror) and error.errno in (socket.EAI_AGAIN, socket.EAI_SYSTEM)


def machine_error(error: BaseException) -> FetchError | None:
    """The error that says what this machine lacks; None where something else is at fault."""
    if isinstance(error, MemoryError):
        found = _MACHINE[errno.ENOMEM]
    elif isinstance(error, RuntimeError) and "new thread" in str(error):
        found = ("threads", "this machine starts no further thread")
    elif isinstance(error, socket.gaierror) and error.errno == socket.EAI_MEMORY:
        found = _MACHINE[errno.ENOMEM]
    elif isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno in _MACHINE:
        found = _MACHINE[error.errno]
    else:
        return None
    return FetchError(MACHINE + found[0], found[1], retryable=True)


def classed(error: Exception) -> FetchError:
    """Any error as one with a kind. What urllib3 wraps is judged by its innermost cause."""
    from http.client import HTTPException  # those who only catch the error do not wait for these

    from urllib3.exceptions import HTTPError, ReadTimeoutError

    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, FetchError):
            return cause
        if (lacking := machine_error(cause)) is not None:
            return lacking
    for cause in chain:
        if isinstance(cause, (TimeoutError, ReadTimeoutError)):
            return FetchError("timeout", "no whole answer before the deadline", option="--deadline")
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return _tls_error(cause)
    for cause in chain:
        found = _KINDS.get(type(cause).__name__)
        if found is not None:
            return FetchError(*found, retryable=found[0] in _PASSING)
    if any(isinstance(cause, (HTTPError, HTTPException, OSError)) for cause in chain):
        return FetchError("bad_response", f"the server's answer makes no sense ({type(chain[-1]).__name__})")
    return FetchError("bad_url" if isinstance(error, ValueError) else "internal", type(chain[-1]).__name__)


def described(error: Exception) -> str:
    """Any error in one line that begins with its kind."""
    failure = classed(error)
    return f"{failure.kind}: {failure.message}"


_PASSING = frozenset({"reset", "truncated"})
_KINDS = {
    "ConnectionResetError": ("reset", "the server hung up"),
    "BrokenPipeError": ("reset", "the server hung up"),
    "ConnectionAbortedError": ("reset", "the server hung up"),
    "RemoteDisconnected": ("reset", "the server hung up without an answer"),
    "IncompleteRead": ("truncated", "the server sends fewer bytes than it announced"),
    "InvalidChunkLength": ("bad_response", "the chunks of the answer make no sense"),
    "DecodeError": ("bad_encoding", "the body is not in the encoding that its header names"),
    "LocationParseError": ("bad_url", "this is no URL"),
    "InvalidURL": ("bad_url", "this is no URL"),
    "UnicodeError": ("bad_url", "the host's name cannot be written"),
}


def _tls_error(error: ssl.SSLError) -> FetchError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return FetchError(
            "tls_certificate", f"its certificate is not trusted: {error.verify_message}", option="--insecure"
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return FetchError("reset", "the server hung up", retryable=True)
    return FetchError("tls", f"TLS fails ({error.reason or type(error).__name__})")


def _causes(error: BaseException) -> Iterable[BaseException]:
    """An error and what caused it, outermost first: by `raise from`, by context and as urllib3's argument."""
    queue, seen = [error], set[int]()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        queue += [item for item in linked if isinstance(item, BaseException)]


def pause_before(tries: int, failure: FetchError) -> float | None:
    """Seconds between try number `tries`, which failed, and the next, growing and never quite the same.

    None when there should be no other.
    """
    if not failure.retryable:
        return None
    pause = FIRST_PAUSE * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    if failure.wait is None:
        return pause
    return max(pause, failure.wait) if failure.wait <= LONGEST_RETRY_AFTER else None


def retry_after(value: str | None) -> float | None:
    """Seconds to wait from a Retry-After header, in seconds or as a date; None when there is none to read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
