"""One URL to the bytes behind it, from the web as it is: no server can hang, fill or subvert this machine.

Everything about one URL (looking up its name, connecting, headers, body, redirects, retries and the pauses
between them) happens before one deadline. Every hop is http or https, to a public address. `fetch` never
raises: an exception that leaked into img2dataset would hang its job for ever.
"""

import contextlib
import random
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError, InsecureRequestWarning, LocationParseError
from urllib3.util import Url, parse_url

from . import guard
from .errors import FetchError, classed
from .guard import Budget, GuardedSSLSocket, spending
from .rate_limit import HostLimits

__all__ = ["FetchSettings", "Fetched", "Fetcher"]

MOST_REDIRECTS = 5
LONGEST_RETRY_AFTER = 10.0  # seconds; a server that asks for more patience is not asked again
HEADROOM = 512 * 1024  # bytes of headers, chunk sizes and redirects allowed beside the body
FIRST_PAUSE = 0.2  # seconds before the first retry; doubled before each further one
_CHUNK = 256 * 1024
_MOST_HOSTS_OPEN = 64
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNWANTED = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
_TOKEN = "visunex"  # noqa: S105


@dataclass(frozen=True)
class FetchSettings:
    """How to fetch. `deadline` in seconds for one URL; `max_bytes` as sent and after decoding."""

    deadline: float = 30.0
    max_bytes: int = 32 * 2**20
    retries: int = 2
    connections: int = 32
    host_connections: int = 32
    host_rate: float | None = None
    allow_private: bool = False
    insecure: bool = False
    ignore_robots_tag: bool = False
    contact: str | None = None

    @property
    def user_agent(self) -> str:
        """Who asks, and on whose behalf."""
        behalf = f"; {self.contact}" if self.contact else ""
        return f"Mozilla/5.0 (compatible; VisuNex/{version('visunex')}; image data set downloader{behalf})"


@dataclass(frozen=True)
class Fetched:
    """What became of a URL: `body`, or the class (`error`) and the sentence (`message`) of its failure."""

    url: str
    body: bytes | None = None
    error: str | None = None
    message: str = ""
    tries: int = 1

    @property
    def described(self) -> str:
        """The failure in one line that begins with its class: `http_404: the server says Not Found`."""
        return f"{self.error}: {self.message}" if self.message else str(self.error)


class _Connection(HTTPConnection):
    allow_private = False

    def _new_conn(self) -> Any:
        return guard.connect(self._dns_host, self.port, allow_private=self.allow_private)


class _SecureConnection(HTTPSConnection):
    allow_private = False

    def _new_conn(self) -> Any:
        return guard.connect(self._dns_host, self.port, allow_private=self.allow_private)


class _PrivateConnection(_Connection):
    allow_private = True


class _PrivateSecureConnection(_SecureConnection):
    allow_private = True


def _pools(*, allow_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools of kept connections, with connections that check where they go."""
    plain = _PrivateConnection if allow_private else _Connection
    secure = _PrivateSecureConnection if allow_private else _SecureConnection
    return {
        "http": type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("GuardedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


def tls_context(*, insecure: bool) -> ssl.SSLContext:
    """The system's certificates (or $SSL_CERT_FILE's), else certifi's, on sockets that keep to a budget."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = GuardedSSLSocket
    return context


class Fetcher:
    """Fetches URLs from many threads, keeping connections and the limits of each host."""

    def __init__(self, settings: FetchSettings) -> None:
        self.settings = settings
        self.limits = HostLimits(settings.host_connections, settings.host_rate)
        self._manager = urllib3.PoolManager(
            num_pools=_MOST_HOSTS_OPEN,
            maxsize=settings.connections,
            ssl_context=tls_context(insecure=settings.insecure),
            retries=False,
        )
        self._manager.pool_classes_by_scheme = _pools(allow_private=settings.allow_private)
        self._headers = {"User-Agent": settings.user_agent, "Accept": "image/*,*/*;q=0.5"}
        if settings.insecure:
            urllib3.disable_warnings(InsecureRequestWarning)  # the report says it, once

    def close(self) -> None:
        """Close the connections that were kept."""
        self._manager.clear()

    def pool(self, target: Url) -> HTTPConnectionPool:
        """The guarded connections to a checked URL's host, to be used `with spending(budget)`."""
        return self._manager.connection_from_host(target.host, target.port, target.scheme)

    def fetch(self, url: str) -> Fetched:
        """The bytes behind `url`, or why there are none. Never raises."""
        budget = Budget(time.monotonic() + self.settings.deadline, self.settings.max_bytes + HEADROOM)
        with spending(budget):
            for tries in range(1, self.settings.retries + 2):
                try:
                    return Fetched(url, self._follow(url, budget), tries=tries)
                except Exception as error:
                    failure = classed(error)
                pause = _pause_before_retry(failure, tries)
                if tries > self.settings.retries or pause is None or budget.ends - time.monotonic() <= pause:
                    break
                time.sleep(pause)
                budget.bytes_left = self.settings.max_bytes + HEADROOM
        return Fetched(url, None, failure.kind, failure.message, tries)

    def _follow(self, url: str, budget: Budget) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            target = checked_url(url)
            with self.limits.turn(f"{target.host}:{target.port}") as waited:
                budget.ends += waited  # our own politeness is not the server's slowness
                body, location = self._visit(target, budget)
            if location is None:
                return body
            url = urljoin(target.url, location)
        raise FetchError("too_many_redirects", f"more than {MOST_REDIRECTS} redirects")

    def _visit(self, target: Url, budget: Budget) -> tuple[bytes, str | None]:
        """The body behind one hop, or where it redirects to.

        A kept connection that its server has closed by now says nothing about the URL: the next one is used.
        """
        while True:
            budget.connected = False
            try:
                return self._ask(target, budget)
            except ClosedPoolError:  # to make room for another host's, between being found and being used
                continue
            except Exception as error:
                if budget.connected or classed(error).kind != "reset":
                    raise

    def _ask(self, target: Url, budget: Budget) -> tuple[bytes, str | None]:
        response = self.pool(target).urlopen(
            "GET",
            target.request_uri,
            headers=self._headers,
            redirect=False,
            retries=False,
            timeout=budget.seconds_left(),
            preload_content=False,
        )
        try:
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            if location is not None:
                return b"", location
            self._check_headers(response)
            return self._read(response), None
        finally:
            _let_go(response)

    def _check_headers(self, response: urllib3.BaseHTTPResponse) -> None:
        if response.status != 200:
            raise _status_error(response)
        if not self.settings.ignore_robots_tag and is_unwanted(response.headers.getlist("X-Robots-Tag")):
            raise FetchError("robots_tag", "its X-Robots-Tag forbids this use (--ignore-robots-tag takes it)")
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self.settings.max_bytes:
            raise _too_large(self.settings.max_bytes)

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        chunks, size = [], 0
        for chunk in response.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > self.settings.max_bytes:
                raise _too_large(self.settings.max_bytes)
            chunks.append(chunk)
        if not size:
            raise FetchError("empty", "the server sends no bytes")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _let_go(response: urllib3.BaseHTTPResponse) -> None:
    """A response that was read to its end has given its connection back; any other takes it along."""
    with contextlib.suppress(Exception):
        response.close()
        response.release_conn()


def checked_url(url: str) -> Url:
    """The parts of an http or https URL with host and port. Raises FetchError `bad_url` or `bad_scheme`."""
    try:
        target = parse_url(str(url).strip())
    except (LocationParseError, ValueError):
        raise FetchError("bad_url", "this is no URL") from None
    if target.scheme not in ("http", "https"):
        scheme = f"{target.scheme}:" if target.scheme else "no scheme"
        raise FetchError("bad_scheme", f"only http and https are fetched, not {scheme}")
    if not target.host:
        raise FetchError("bad_url", "the URL names no host")
    port = target.port or (443 if target.scheme == "https" else 80)
    host = target.host.strip("[]")
    return Url(target.scheme, None, host, port, target.path, target.query)


def is_unwanted(values: Iterable[str], token: str = _TOKEN) -> bool:
    """Whether X-Robots-Tag headers (`[user agent:] directives`) forbid the use, as img2dataset reads them."""
    for value in values:
        agent, colon, rest = value.partition(":")
        addressed = not colon or agent.strip().lower() == token
        directives = {part.strip().lower() for part in (rest if colon else agent).split(",")}
        if addressed and not _UNWANTED.isdisjoint(directives):
            return True
    return False


def _too_large(max_bytes: int) -> FetchError:
    return FetchError("too_large", f"more than {max_bytes} bytes (--max-bytes)")


def _status_error(response: urllib3.BaseHTTPResponse) -> FetchError:
    status = response.status
    transient = status in (408, 425, 429) or 500 <= status <= 599
    wait = _retry_after(response.headers.get("Retry-After")) if status in (429, 503) else None
    return FetchError(
        f"http_{status}", f"the server answers with status {status}", transient=transient, wait=wait
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait from a Retry-After header, in seconds or as a date; None when there is none to read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _pause_before_retry(failure: FetchError, tries: int) -> float | None:
    """Seconds before the next try, growing and never quite the same; None when there should be none."""
    if not failure.transient:
        return None
    pause = FIRST_PAUSE * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    if failure.wait is None:
        return pause
    return max(pause, failure.wait) if failure.wait <= LONGEST_RETRY_AFTER else None
