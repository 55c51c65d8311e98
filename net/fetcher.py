"""Images by their URLs, from the web as it is: no server can hang, fill or subvert this machine.

Everything about one URL (looking up its name, connecting, headers, body, redirects, retries and the pauses
between them) happens before one deadline. `fetch` never raises: an exception that leaked into img2dataset
would hang its job for ever.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from visunex.base.proxies import proxy_for

from .addresses import checked_url, host_of
from .budget import Budget
from .client import Client, ClientSettings, Hosts, Response
from .errors import FIRST_PAUSE, FetchError, classed, pause_before
from .rate_limit import HostLimits, HostOrder
from .robots import DIRECTIVES, Directive, forbidden

__all__ = ["FetchSettings", "Fetched", "Fetcher"]

HEADROOM = 512 * 1024  # bytes of headers, chunk sizes and redirects allowed beside the body
PROBE_SECONDS = 5.0  # in which a host that is there answers
_GATEWAY = frozenset({502, 503, 504})  # what a proxy says of a host that it does not reach
_NO_WAY = frozenset({"refused", "unreachable", "dns", "dns_temporary", "timeout", "reset", "truncated"})
_MOST_WAITS = 10  # tries of one link that its server answered with "slow down"
_MOST_503 = 4  # of those, where that may also mean that the link is broken
_LONGEST_PAUSE = 5.0  # seconds between two of them, besides what the host as a whole is given
_ACCEPTED = {"Accept": "image/*,*/*;q=0.5"}


@dataclass(frozen=True)
class FetchSettings:
    """How to fetch. `deadline` in seconds for one URL; `max_bytes` as sent and after decoding.

    `respect`: which directives of a server against our use count. `patience`: seconds that a host which asks
    to slow down is waited for.
    """

    deadline: float = 30.0
    max_bytes: int = 32 * 2**20
    retries: int = 2
    connections: int = 32
    host_connections: int = 32
    host_rate: float | None = None
    allow_private: bool = False
    insecure: bool = False
    respect: tuple[Directive, ...] = DIRECTIVES
    contact: str | None = None
    user_agent: str | None = None
    patience: float = 300.0

    @property
    def client(self) -> ClientSettings:
        """The settings of the client that asks."""
        hosts = Hosts.PRIVATE_TOO if self.allow_private else Hosts.PUBLIC
        return ClientSettings(hosts, self.insecure, self.contact, self.connections, self.user_agent)


@dataclass(frozen=True)
class Fetched:
    """What became of a URL: `body`, or the kind (`error`) and the sentence (`message`) of its failure."""

    url: str
    body: bytes | None = None
    error: str | None = None
    message: str = ""
    tries: int = 1

    @property
    def described(self) -> str:
        """The failure in one line that begins with its kind: `http_404: the server says Not Found`."""
        return f"{self.error}: {self.message}" if self.message else str(self.error)


class Fetcher:
    """Fetches URLs from many threads, keeping connections and the limits of each host."""

    def __init__(self, settings: FetchSettings) -> None:
        self.settings = settings
        self._limits = HostLimits(settings.host_connections, settings.host_rate, settings.patience)
        self._client = Client(settings.client, self._limits)
        self._probe = Client(settings.client)  # waits for no turn

    def close(self) -> None:
        """Close the connections that were kept."""
        self._client.close()
        self._probe.close()

    def fetch(self, url: str) -> Fetched:
        """The bytes behind `url`, or why there are none. Never raises."""
        budget, tries, waits = Budget.of(self.settings.deadline), 0, 0
        while True:
            budget.bytes_left, budget.asked_to_wait = self.settings.max_bytes + HEADROOM, False
            tries += 1
            try:
                return Fetched(url, self._bytes(url, budget), tries=tries)
            except Exception as error:
                failure = classed(error)
            if budget.asked_to_wait:
                waits += 1
                pause = _pause_for_the_host(waits, failure, budget, self.settings.patience)
            else:
                pause = self._pause(tries - waits, failure, budget)
            if pause is None:
                return Fetched(url, None, failure.kind, failure.advice, tries)
            time.sleep(pause)

    def order(self, urls: Sequence[str | None], left: Callable[[], int]) -> HostOrder:
        """In which order to fetch `urls`: none waits for its host while another's could be fetched."""
        return HostOrder(self._limits, list(map(_host_in, urls)), left)

    def _pause(self, tries: int, failure: FetchError, budget: Budget) -> float | None:
        """Seconds before another try, which must begin before the deadline; None for no further one."""
        pause = pause_before(tries, failure)
        late = pause is None or budget.ends - time.monotonic() <= pause
        return None if late or tries > self.settings.retries else pause

    def reaches(self, url: str) -> bool:
        """Whether the host of `url` answers, whatever it says: asked as its links are, by the proxy if any.

        What cannot be known for want of files or memory here counts as yes.
        """
        try:
            target = checked_url(url)
            home = target._replace(path="/", query=None).url
            with self._probe.open(home, Budget.of(PROBE_SECONDS, HEADROOM), redirect=False) as response:
                return response.status not in _GATEWAY or not proxy_for(str(target.scheme), str(target.host))
        except FetchError as error:
            return error.kind not in _NO_WAY

    def _bytes(self, url: str, budget: Budget) -> bytes:
        with self._client.open(url, budget, _ACCEPTED) as response:
            self._require_wanted(response)
            body = response.read_all(self.settings.max_bytes)
        if not body:
            raise FetchError("empty", "the server sends no bytes")
        return body

    def _require_wanted(self, response: Response) -> None:
        if not response.whole:
            raise response.failure()
        said = forbidden(*map(response.headers.getlist, ("X-Robots-Tag", "tdm-reservation")))
        if counts := [directive for directive in self.settings.respect if directive in said]:
            raise FetchError(
                "robots_tag",
                f"its server's headers say {', '.join(counts)}",
                option="--respect without it takes it",
            )


def _host_in(url: str | None) -> str | None:
    """What the limits call the host of a link; None where it will not be asked."""
    try:
        return None if url is None else host_of(checked_url(url))
    except FetchError:
        return None


def _pause_for_the_host(waits: int, failure: FetchError, budget: Budget, patience: float) -> float | None:
    """Seconds before another try for a server that asks for fewer requests, besides its turn; None for none.

    They are not counted against the deadline, as the server is well.
    """
    unclear = failure.status == 503 and failure.wait is None
    if waits > (_MOST_503 if unclear else _MOST_WAITS) or (failure.wait or 0.0) > patience:
        return None
    pause = min(FIRST_PAUSE * 2 ** (waits - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1.5)  # noqa: S311
    budget.ends += pause
    return pause
