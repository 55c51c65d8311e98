"""Images by their URLs, from the web as it is: no server can hang, fill or subvert this machine.

Everything about one URL (looking up its name, connecting, headers, body, redirects, retries and the pauses
between them) happens before one deadline. `fetch` never raises: an exception that leaked into img2dataset
would hang its job for ever.
"""

import time
from dataclasses import dataclass

from .budget import Budget
from .client import Client, ClientSettings, Hosts, Response
from .errors import FetchError, classed
from .rate_limit import HostLimits
from .retry import pause_before
from .robots import DIRECTIVES, Directive, forbidden

__all__ = ["FetchSettings", "Fetched", "Fetcher"]

HEADROOM = 512 * 1024  # bytes of headers, chunk sizes and redirects allowed beside the body
_ACCEPTED = {"Accept": "image/*,*/*;q=0.5"}


@dataclass(frozen=True)
class FetchSettings:
    """How to fetch. `deadline` in seconds for one URL; `max_bytes` as sent and after decoding.

    `respect`: which directives of a server against our use count.
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

    @property
    def client(self) -> ClientSettings:
        """The settings of the client that asks."""
        hosts = Hosts.PRIVATE_TOO if self.allow_private else Hosts.PUBLIC
        return ClientSettings(hosts, self.insecure, self.contact, self.connections)


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
        self._client = Client(settings.client, HostLimits(settings.host_connections, settings.host_rate))

    def close(self) -> None:
        """Close the connections that were kept."""
        self._client.close()

    def fetch(self, url: str) -> Fetched:
        """The bytes behind `url`, or why there are none. Never raises."""
        budget = Budget.of(self.settings.deadline)
        for tries in range(1, self.settings.retries + 2):
            budget.bytes_left = self.settings.max_bytes + HEADROOM
            try:
                return Fetched(url, self._bytes(url, budget), tries=tries)
            except Exception as error:
                failure = classed(error)
            pause = pause_before(tries, failure)
            if tries > self.settings.retries or pause is None or budget.ends - time.monotonic() <= pause:
                break
            time.sleep(pause)
        return Fetched(url, None, failure.kind, failure.advice, tries)

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
