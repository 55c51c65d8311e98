"""Outages: when nobody answers any more, the links are not to blame. Fetching waits, probes and goes on.

A host that has answered and then refuses connections, says nothing any more, or cannot be reached or found,
is taken to be gone for a while, and so is everything when many hosts that were not heard of yet fail in a row
and none answers, not even those that did before. A silent host is asked for its front page, as it may be the
link that is slow.
Whoever wants something of it waits; one link at a time is tried, and when it is answered all go on. What was
in flight when it began is tried again, too. After `patience` seconds it is given up.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import MACHINE
from .fetcher import Fetched

__all__ = ["Patient"]

_GONE = frozenset({"refused", "unreachable", "dns", "dns_temporary"})
_CUT_OFF = frozenset({"reset", "truncated", "timeout"})  # of the link, or of the host that goes away
_DOUBTFUL = _GONE | {"reset", "truncated"}
_NO_ANSWER = frozenset({"private_address", "bad_url", "bad_scheme", "internal"})
_MANY_HOSTS = 8  # that fail in a row
_MANY_LINKS = 20  # that fail before anything has answered, or as many as there are threads
_GRACE = 1.0  # seconds in which another's answer shows that the network is well
_WITNESSES = 3  # hosts that answered last, of which one that still does shows that the network is well
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two probes


@dataclass(eq=False, slots=True)
class _Host:
    """What is known of a host: when it last answered (0: never), and since when it is gone."""

    answered: float = 0.0
    gone_since: float = 0.0
    pause: float = _FIRST_PAUSE
    prober: int = 0  # the thread that sees whether it is back
    given_up: bool = False


class Patient:
    """Fetches by `fetch`, from many threads, and waits through outages for up to `patience` seconds.

    `reaches(url)` says whether the host of a link answers. Of the `threads`, half may wait for one
    host while others answer: further links of it fail as `outage`, to be tried again later.
    """

    def __init__(
        self,
        fetch: Callable[[str], Fetched],
        reaches: Callable[[str], bool],
        patience: float,
        threads: int,
    ) -> None:
        self._fetch, self._reaches, self._patience = fetch, reaches, patience
        self._most_waiting = max(1, threads // 2)
        self._many_links = max(_MANY_HOSTS, min(threads, _MANY_LINKS))
        self._hosts: dict[str, _Host] = {}
        self._failing: dict[str, set[str]] = {}  # host -> its links that failed since anything answered
        self._gone = set[_Host]()
        self._witnesses = dict[str, str]()  # host -> a link of it, those that answered last
        self._asking_witnesses, self._none_answered = threading.Lock(), 0.0
        self._answered = 0.0  # when anything last answered; 0: never
        self._waiting = 0
        self._changed = threading.Condition()
        self.gave_up = False

    @property
    def waited(self) -> float:
        """Seconds since everything is gone; 0 while something answers."""
        with self._changed:
            since = [host.gone_since for host in self._gone if host.gone_since > self._answered]
            return time.monotonic() - min(since) if since else 0.0

    def fetch(self, url: str) -> Fetched:
        """What became of a link; `outage` where its host was gone for too long."""
        host, doubted = self._host(url), False
        while self._may_try(host):
            began = time.monotonic()
            fetched = self._fetch(url)
            if self._is_gone(host, url, fetched.error, began):
                continue
            if doubted or not self._is_doubtful(host, fetched.error, began):
                return fetched
            doubted = True  # the host is well by now, and may not have been a moment ago
            time.sleep(_FIRST_PAUSE)
        return Fetched(url, None, "outage", f"nothing answers for {self._patience:.0f} s (--patience)")

    def _is_doubtful(self, host: _Host, kind: str | None, began: float) -> bool:
        """Whether a host that is well by now may be to blame for a failure, and not the link."""
        was_silent = kind == "timeout" and host.answered < (began + time.monotonic()) / 2
        return host.answered > 0 and (kind in _DOUBTFUL or was_silent)

    def _host(self, url: str) -> _Host:
        with self._changed:
            return self._hosts.setdefault(_name(url), _Host())

    def _may_try(self, host: _Host) -> bool:
        """Wait while the host is gone, until it is this thread's turn to see whether it is back."""
        with self._changed:
            if host in self._gone and self._is_enough_for(host):
                return False
            self._waiting += 1
            try:
                while host in self._gone and not self._is_given_up(host):
                    if not host.prober:
                        host.prober = threading.get_ident()
                        self._changed.wait_for(lambda: self.gave_up or host not in self._gone, host.pause)
                        host.pause = min(2 * host.pause, _LONGEST_PAUSE, self._patience)
                        return not self.gave_up
                    self._changed.wait(_GRACE)
                return not self.gave_up and host not in self._gone
            finally:
                self._waiting -= 1

    def _is_enough_for(self, host: _Host) -> bool:
        """Whether others should wait no more for this host, as there is work for them elsewhere."""
        others_answer = self._answered > host.gone_since
        return others_answer and (host.given_up or self._waiting >= self._most_waiting)

    def _is_given_up(self, host: _Host) -> bool:
        if time.monotonic() - host.gone_since >= self._patience:
            host.given_up = True
            self.gave_up = self.gave_up or self._answered <= host.gone_since
            self._changed.notify_all()
        return self.gave_up or host.given_up

    def _is_gone(self, host: _Host, url: str, kind: str | None, began: float) -> bool:
        """Whether a failure is the host's or the network's, so that the link is to be tried again."""
        if kind not in _GONE and kind not in _CUT_OFF:
            self._heard(host, kind, url)
            return False
        # A redirect may have led to another host that is dead.
        # While a try takes long, the host may answer others and then go.
        since = time.monotonic() if kind == "timeout" else began
        well = host.answered > 0 and (host.answered > since or self._reaches(url))
        well = well or not (host.answered > 0 or self._nobody_answers(url, kind, since))
        with self._changed:
            if well:
                self._comes_back(host)
                return False
            self._goes(host)
            return True

    def _nobody_answers(self, url: str, kind: str | None, since: float) -> bool:
        """Whether many hosts that were not heard of yet fail and none answers, also not within a moment."""
        if kind in ("reset", "truncated"):
            return False
        with self._changed:
            self._failing.setdefault(_name(url), set()).add(url)
            if self._changed.wait_for(lambda: self._answered > since, _GRACE):
                return False
            if self._answered == 0:
                return sum(map(len, self._failing.values())) >= self._many_links
            if len(self._failing) < _MANY_HOSTS:
                return False
        return not self._a_witness_answers(since)

    def _a_witness_answers(self, since: float) -> bool:
        """Whether any of the hosts that answered last does after `since`: asked by one thread for all."""
        with self._asking_witnesses:
            if self._answered > since or self._none_answered > since:
                return self._answered > since
            if not any(self._reaches(url) for url in list(self._witnesses.values())):
                self._none_answered = time.monotonic()
                return False
            with self._changed:
                self._answered = time.monotonic()
                self._failing.clear()
            return True

    def _heard(self, host: _Host, kind: str | None, url: str) -> None:
        """Note an answer, be it a refusal. What this machine or a setting forbids is none."""
        with self._changed:
            self._comes_back(host)
            if kind is None or not (kind in _NO_ANSWER or kind.startswith(MACHINE)):
                host.answered = self._answered = time.monotonic()
                self._failing.clear()
                self._witnesses.pop(_name(url), None)
                self._witnesses[_name(url)] = url
                if len(self._witnesses) > _WITNESSES:
                    del self._witnesses[next(iter(self._witnesses))]
                for other in [other for other in self._gone if other.answered == 0]:
                    self._comes_back(other)

    def _goes(self, host: _Host) -> None:
        if host not in self._gone:
            self._gone.add(host)
            host.gone_since = time.monotonic()
        if host.prober == threading.get_ident():
            host.prober = 0
        self._changed.notify_all()

    def _comes_back(self, host: _Host) -> None:
        if host in self._gone:
            self._gone.remove(host)
            host.pause, host.prober, host.given_up = _FIRST_PAUSE, 0, False
            self._changed.notify_all()


def _name(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
