"""Names looked up under a deadline: the library's own call knows none. Answers are kept for minutes."""

import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from .budget import Budget
from .errors import FetchError, is_temporary, machine_error

__all__ = ["Address", "resolve"]

_KEPT_SECONDS = 300.0  # that an answer of the name service is used for
_MOST_KEPT = 50_000


@dataclass(frozen=True)
class Address:
    """One place to connect to."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    @property
    def ip(self) -> str:
        """The IP address in digits, without an interface name."""
        return str(self.sockaddr[0]).partition("%")[0]


class _Lookup:
    """One question to the name service, in a thread of its own: the library call knows no timeout."""

    def __init__(self, host: str) -> None:
        self.asked = time.monotonic()
        self.addresses: list[tuple[socket.AddressFamily, tuple[Any, ...]]] = []
        self.error: OSError | UnicodeError | RuntimeError | None = None
        self.done = threading.Event()
        try:
            threading.Thread(target=self._ask, args=(host,), daemon=True, name="visunex-dns").start()
        except RuntimeError as error:
            self.error = error
            self.done.set()

    def _ask(self, host: str) -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            self.addresses = [(family, sockaddr) for family, _, _, _, sockaddr in answers]
        except (OSError, UnicodeError) as error:
            self.error = error
        self.done.set()

    @property
    def stale(self) -> bool:
        """Whether it is to be asked anew."""
        return time.monotonic() - self.asked > _KEPT_SECONDS or self.is_of_the_moment

    @property
    def is_of_the_moment(self) -> bool:
        """Whether the failure says nothing about the name."""
        return self.error is not None and (is_temporary(self.error) or machine_error(self.error) is not None)


_lookups: dict[str, _Lookup] = {}
_lookups_lock = threading.Lock()


def resolve(host: str, port: int, budget: Budget) -> list[Address]:
    """The addresses of a name. Raises FetchError `dns`, or TimeoutError at the deadline."""
    with _lookups_lock:
        lookup = _lookups.get(host)
        if lookup is None or (lookup.done.is_set() and lookup.stale):
            if len(_lookups) >= _MOST_KEPT:
                _lookups.clear()
            lookup = _lookups[host] = _Lookup(host)
    if not lookup.done.wait(budget.seconds_left()):
        raise TimeoutError("the name service did not answer")
    if lookup.error is not None or not lookup.addresses:
        raise _failure(lookup.error)
    return [Address(family, (sockaddr[0], port, *sockaddr[2:])) for family, sockaddr in lookup.addresses]


def _failure(error: Exception | None) -> FetchError:
    lacking = None if error is None else machine_error(error)
    if lacking is not None:
        return lacking
    if is_temporary(error):
        return FetchError("dns_temporary", f"the name service fails ({_reason(error)})", retryable=True)
    return FetchError("dns", f"the host's name does not resolve ({_reason(error)})")


def _reason(error: Exception | None) -> str:
    return getattr(error, "strerror", None) or "no address"
