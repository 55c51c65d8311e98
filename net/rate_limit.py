"""Politeness: how many connections a host gets at a time, and how often it is asked."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["HostLimits"]


@dataclass
class _Host:
    free: threading.Semaphore
    users: int = 0
    next_turn: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class HostLimits:
    """At most `connections` to one host at a time, and `rate` requests to it in a second (None: any)."""

    def __init__(self, connections: int, rate: float | None) -> None:
        self._connections, self._pause = connections, 1 / rate if rate else 0.0
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[float]:
        """Wait for a turn at host `name` and hold it for the block; yields the seconds waited."""
        began = time.monotonic()
        host = self._enter(name)
        try:
            with host.free:
                if self._pause:
                    time.sleep(self._until_turn(host))
                yield time.monotonic() - began
        finally:
            self._leave(name, host)

    def _enter(self, name: str) -> _Host:
        with self._lock:
            host = self._hosts.setdefault(name, _Host(threading.Semaphore(self._connections)))
            host.users += 1
            return host

    def _leave(self, name: str, host: _Host) -> None:
        """Forget a host that nobody uses, as lists of links name hosts by the hundred thousand."""
        with self._lock:
            host.users -= 1
            if host.users == 0 and host.next_turn <= time.monotonic():
                self._hosts.pop(name, None)

    def _until_turn(self, host: _Host) -> float:
        with host.lock:
            now = time.monotonic()
            turn = max(now, host.next_turn)
            host.next_turn = turn + self._pause
            return turn - now
