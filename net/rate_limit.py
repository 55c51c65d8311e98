"""Politeness: how many connections a host gets at a time, and how often it is asked.

A host that answers 429 or 503 asks to be asked less often. Its rate is then found as TCP finds a line's:
halved at such an answer, raised by a constant at every good one (additive increase, multiplicative decrease).
Whoever wants something of the host waits for its turn. Processes that share a host need not talk to each
other for that: each finds its share.
"""

import contextlib
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .errors import FetchError

__all__ = ["BUSY", "HostLimits", "HostOrder", "Turn"]

BUSY = frozenset({429, 503})  # statuses that may ask for fewer requests
_FIRST_PAUSE = 1.0  # seconds without a request after the first "slow down"; doubled while nothing else comes
_LONGEST_PAUSE = 30.0
_SLOWEST = 1 / 30  # requests a second
_RISE, _LEAST_RISE = 0.05, 0.5  # each second, of the rate at which it was slowed down, and requests a second
_STEADY = 3.0  # seconds without "slow down" after which the rate rises twice as fast, and so on
_RECENT, _MANY = 20, 4  # so many 503 of the last answers are a sign of the host, fewer are the links' own
_LOOK = 0.01  # seconds between two looks for a host that has a turn to give
_MOST_REMEMBERED = 10_000  # hosts that asked to slow down, of which nothing is wanted now


@dataclass
class _Host:
    """What is known of a host. `rate` is None until it asks to slow down."""

    connections: int
    free: threading.Semaphore
    patience: float  # seconds; a server that asks for more is not waited for
    users: int = 0
    next_turn: float = 0.0
    rate: float | None = None
    rise: float = 0.0
    slowed: float = -math.inf  # when it was slowed down last
    accepted: float = -math.inf  # when it gave a good answer last
    pauses: int = 0  # since the last good answer, and how many seconds they take
    paused: float = 0.0
    answers: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))  # whether good
    times: deque[float] = field(default_factory=lambda: deque(maxlen=1000))  # of good answers
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def is_given_up(self) -> bool:
        """Whether it has said nothing but "slow down" for long."""
        return self.paused > self.patience

    def accept(self, now: float) -> None:
        """A good answer: the rate rises."""
        self.pauses, self.paused, self.accepted = 0, 0.0, now
        self.answers.append(True)
        self.times.append(now)
        if self.rate is not None:
            self.rate += self.rise * (1 + (now - self.slowed) / _STEADY) / self.rate

    def slow_down(self, now: float, wait: float | None) -> None:
        """Half the rate, after a pause: the first time, the number of good answers in the last second.

        A host that is slow, not strict, has given few; it is not judged by less than its connections.
        """
        recently = sum(moment > now - 1.0 for moment in self.times)
        before = max(recently, self.connections) if self.rate is None else self.rate
        self.rate, self.rise = max(before / 2, _SLOWEST), max(before * _RISE, _LEAST_RISE)
        own = min(_FIRST_PAUSE * 2**self.pauses, _LONGEST_PAUSE) * random.uniform(1.0, 1.2)  # noqa: S311
        pause = own if wait is None or wait > self.patience else wait + random.uniform(0.0, 0.2)  # noqa: S311
        self.slowed, self.next_turn = now, max(self.next_turn, now + pause)
        self.pauses += 1
        self.paused += pause
        if self.is_given_up:
            self.changed.notify_all()


class Turn:
    """A request's turn at a host: `waited` seconds were spent on it."""

    def __init__(self, host: _Host, waited: float) -> None:
        self._host, self.waited, self._began = host, waited, time.monotonic()

    def answered(self, status: int, wait: float | None = None, since: float = math.inf) -> bool:
        """Learn from the answer's status, and `wait`, its Retry-After; whether it means "slow down".

        A link that was refused before, `since` when others were answered well, says nothing about the host.
        """
        host, now = self._host, time.monotonic()
        with host.changed:
            if status not in BUSY:
                host.accept(now)
                return False
            is_news = not since < host.accepted
            if is_news:
                host.answers.append(False)
            many = math.isfinite(host.accepted) and host.answers.count(False) >= _MANY
            plain = status == 429 or wait is not None
            if is_news and self._began >= host.slowed and (plain or many):
                host.slow_down(now, wait)
            return plain or many or host.rate is not None


class HostLimits:
    """At most `connections` to one host at a time, and `rate` requests to it in a second (None: any).

    A host that asks to slow down is waited for up to `patience` seconds.
    """

    def __init__(self, connections: int, rate: float | None, patience: float = 300.0) -> None:
        self._patience = patience
        self._connections, self._pause = connections, 1 / rate if rate else 0.0
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[Turn]:
        """Wait for a turn at host `name` and hold it for the block.

        Raises FetchError when the host has said nothing but "slow down" for long.
        """
        began = time.monotonic()
        host = self._enter(name)
        try:
            with host.free:
                self._wait(host)
                yield Turn(host, time.monotonic() - began)
        finally:
            self._leave(name, host)

    def until_turn(self, name: str, taken: int, last: float) -> float:
        """Seconds until a host has a turn to give, 0 or less: now; a guess while its connections are in use.

        `taken` turns were sent for and are not over, the last of them at `last` (by time.monotonic).
        """
        with self._lock:
            host = self._hosts.get(name)
            if host is not None and host.is_given_up:
                return 0.0
            if max(taken, host.users if host else 0) >= self._connections:
                return _LOOK
            rate, next_turn = (host.rate, host.next_turn) if host else (None, 0.0)
        spacing = max(self._pause, 1 / rate if rate else 0.0)
        return max(next_turn, last + spacing) - time.monotonic()

    def _enter(self, name: str) -> _Host:
        with self._lock:
            host = self._hosts.setdefault(name, self._new_host())
            host.users += 1
            return host

    def _new_host(self) -> _Host:
        return _Host(self._connections, threading.Semaphore(self._connections), self._patience)

    def _leave(self, name: str, host: _Host) -> None:
        """Forget a host that nobody uses, as lists of links name hosts by the hundred thousand."""
        with self._lock:
            host.users -= 1
            if host.users or (host.rate is not None and len(self._hosts) < _MOST_REMEMBERED):
                return
            if host.next_turn <= time.monotonic():
                self._hosts.pop(name, None)

    def _wait(self, host: _Host) -> None:
        """Until it is the caller's turn. Another may be told to slow down meanwhile, which puts it off."""
        with host.changed:
            while (left := host.next_turn - time.monotonic()) > 0:
                if host.is_given_up:
                    raise FetchError("http_429", "the server has long said nothing but to ask less often")
                host.changed.wait(left)
            spacing = max(self._pause, 1 / host.rate if host.rate else 0.0)
            host.next_turn = time.monotonic() + spacing


class HostOrder:
    """Which of many things to fetch is next: the first whose host has a turn to give.

    `hosts` are those of the things, None for what needs no turn. From the one on that `left` says none is
    wanted, and so none waited for.
    """

    def __init__(self, limits: HostLimits, hosts: Sequence[str | None], left: Callable[[], int]) -> None:
        self._limits, self._hosts, self._left = limits, hosts, left
        self._waiting = dict.fromkeys(range(len(hosts)))
        self._taken = Counter[str | None]()
        self._last: dict[str | None, float] = {}
        self._lock, self._counts = threading.Lock(), threading.Lock()
        self.is_idle = False  # whether somebody waits, as no host that is left has a turn to give

    def take(self) -> int:
        """Wait for the next and take it, each once; `done` says that it is over. Raises LookupError."""
        with self._lock:
            while (place := self._next()) is None:
                if not self._waiting:
                    raise LookupError("all were taken")
                self.is_idle = True
                time.sleep(_LOOK)
            self.is_idle = False
            return place

    def done(self, place: int) -> None:
        """A thing that was taken is over."""
        with self._counts:
            self._taken[self._hosts[place]] -= 1

    def _next(self) -> int | None:
        busy = set[str | None]()
        for place in self._waiting:
            if (name := self._hosts[place]) in busy:
                continue
            if self._is_ready(name):
                self._last[name] = time.monotonic()
                return self._taking(place)
            busy.add(name)
        last = next(reversed(self._waiting), -1)
        return self._taking(last) if self._waiting and last >= self._left() else None

    def _taking(self, place: int) -> int:
        del self._waiting[place]
        with self._counts:
            self._taken[self._hosts[place]] += 1
        return place

    def _is_ready(self, name: str | None) -> bool:
        last = self._last.get(name, -math.inf)
        return name is None or self._limits.until_turn(name, self._taken[name], last) <= 0
