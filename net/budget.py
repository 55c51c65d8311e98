"""What one fetch may cost in time and bytes, whatever the server does.

The budget belongs to what the current thread fetches. Guarded sockets ask it before every read, so neither a
server that sends one byte a second, in its headers, its body or its TLS handshake, nor one that never stops
sending can hold a thread for longer or take more memory than allowed.
"""

import math
import threading
import time
from dataclasses import dataclass

from .errors import FetchError

__all__ = ["ANY_SIZE", "Budget", "current_budget", "spending"]

ANY_SIZE = 1 << 62  # bytes: as many as come


@dataclass
class Budget:
    """What is left for one URL: until `ends` (of `time.monotonic()`), and bytes yet to receive.

    `connected` notes whether a new connection was made since it was last set to False, `refused` when a
    server last answered 429 or 503, and `asked_to_wait` whether that meant fewer requests to it.
    """

    ends: float
    bytes_left: int = ANY_SIZE
    connected: bool = False
    refused: float = math.inf
    asked_to_wait: bool = False

    @classmethod
    def of(cls, seconds: float, size: int = ANY_SIZE) -> "Budget":
        """So many seconds from now, and so many bytes."""
        return cls(time.monotonic() + seconds, size)

    def renew(self, seconds: float) -> None:
        """Allow `seconds` from now."""
        self.ends = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def spend(self, count: int) -> None:
        """Take `count` received bytes from the budget. Raises FetchError when it is used up."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise FetchError("too_large", "the server sends more bytes than are allowed")


class _Current(threading.local):
    budget: Budget | None = None


_current = _Current()


def current_budget() -> Budget | None:
    """The budget that this thread spends now, if any."""
    return _current.budget


class spending:  # noqa: N801 - a context manager of two lines, made for every read
    """A block of the current thread whose guarded sockets spend `budget`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._outer: Budget | None = None

    def __enter__(self) -> Budget:
        self._outer, _current.budget = _current.budget, self._budget
        return self._budget

    def __exit__(self, *_: object) -> None:
        _current.budget = self._outer
