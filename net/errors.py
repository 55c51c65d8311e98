"""Why a URL gives no picture: errors with a class to count."""

import ssl
from collections.abc import Iterable
from http.client import HTTPException

from urllib3.exceptions import HTTPError, ReadTimeoutError

__all__ = ["FetchError", "classed", "is_retryable"]

_RETRYABLE = frozenset({"timeout", "reset", "unreachable", "http_408", "http_425", "http_429", "stalled"})


class FetchError(Exception):
    """Why a URL gives no picture: a class to count (`kind`), a sentence, and whether to try again."""

    def __init__(
        self, kind: str, message: str, *, transient: bool = False, wait: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.transient, self.wait = kind, message, transient, wait


def is_retryable(kind: str) -> bool:
    """Whether a class of failure is one of the moment, so that a later run may find the picture."""
    return kind in _RETRYABLE or kind.startswith("http_5")


def classed(error: Exception) -> FetchError:
    """Any error as one with a class. What urllib3 wraps is judged by its innermost cause."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, FetchError):
            return cause
    for cause in chain:
        if isinstance(cause, (TimeoutError, ReadTimeoutError)):
            return FetchError("timeout", "no whole answer before the deadline (--deadline)")
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return _tls_error(cause)
    for cause in chain:
        found = _CLASSES.get(type(cause).__name__)
        if found is not None:
            return FetchError(*found, transient=found[0] in _TRANSIENT)
    if any(isinstance(cause, (HTTPError, HTTPException, OSError)) for cause in chain):
        return FetchError("bad_response", f"the server's answer makes no sense ({type(chain[-1]).__name__})")
    return FetchError("bad_url" if isinstance(error, ValueError) else "internal", type(chain[-1]).__name__)


_TRANSIENT = frozenset({"reset", "truncated"})
_CLASSES = {
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
            "tls_certificate", f"its certificate is not trusted: {error.verify_message} (--insecure)"
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return FetchError("reset", "the server hung up", transient=True)
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
