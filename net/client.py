"""The HTTP client: whatever is fetched, a picture, a range of a file or a listing, is fetched through this.

One method opens an answer. Looking up the name, connecting, headers, body and every redirect happen under a
Budget of seconds and bytes, so a server that drips for ever ends at the deadline. Each hop is http or https
and to a host that the settings permit; a token goes to no host but the first. A proxy is used where a person
said so (`base/proxies.py`); it then must keep links from private addresses.
"""

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from typing import Any

import urllib3
from urllib3.exceptions import ClosedPoolError, InsecureRequestWarning, ProtocolError, ProxyError
from urllib3.util import Url

from visunex.base.proxies import left_aside, proxy_for, without_userinfo

from . import addresses
from .addresses import absolute, checked_url, credentials, host_of, next_hop, proxy_headers, unescaped
from .budget import Budget, spending
from .dns import resolve
from .errors import FetchError, classed, retry_after
from .rate_limit import BUSY, HostLimits
from .sockets import GuardedSSLSocket, pool_classes

__all__ = ["Client", "ClientSettings", "Hosts", "Response"]

MOST_REDIRECTS = 5
CHUNK = 256 * 1024  # bytes that are read at once
MOST_HOSTS_OPEN = 64  # whose connections are kept
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WHOLE = frozenset({200, 203})  # the second: a proxy on the way has had a hand in it
_NO_WAY = frozenset({"dns", "refused", "unreachable", "timeout"})  # kinds of failure before any answer
_NOT_THE_LINK = frozenset({407, 408, 425, 429})  # refusals that say nothing of the link itself
# What servers name as the packing of what is not packed.
_UNPACKED = frozenset({"", "identity", "none", "binary", "utf-8", "utf8", "7bit", "8bit", "aws-chunked"})


class Hosts(Enum):
    """Which hosts may be asked. Link-local addresses, where clouds hand out credentials, never are."""

    PUBLIC = "those of the open internet alone"
    PRIVATE_TOO = "also those of a network of one's own"
    NAMED = "a private one where a person named it; a public one must not lead there by a redirect"


@dataclass(frozen=True)
class ClientSettings:
    """Whom a client may ask and in whose name; `connections` are kept to each host."""

    hosts: Hosts = Hosts.NAMED
    insecure: bool = False
    contact: str | None = None
    connections: int = 16
    own_user_agent: str | None = None

    @property
    def user_agent(self) -> str:
        """Who asks, and on whose behalf; a person's own words are used whole."""
        if self.own_user_agent:
            return self.own_user_agent
        behalf = f"; {self.contact}" if self.contact else ""
        return f"Mozilla/5.0 (compatible; VisuNex/{version('visunex')}; image data set downloader{behalf})"


def _tls_context(*, insecure: bool) -> ssl.SSLContext:
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


class Client:
    """Asks servers from many threads, keeping connections and, where `limits` are given, to each host's."""

    def __init__(self, settings: ClientSettings | None = None, limits: HostLimits | None = None) -> None:
        self.settings = settings or ClientSettings()
        self._limits = limits
        # Without the second header some servers pack what they send, and ranges would be of the packed bytes.
        self._headers = {"User-Agent": self.settings.user_agent, "Accept-Encoding": "identity"}
        self._context = context = _tls_context(insecure=self.settings.insecure)
        self._proxies: dict[str, urllib3.PoolManager] = {}
        # Two managers: a connection that was kept to a private host is not to be found by a request that may
        # go to public ones alone.
        self._managers = {private: self._manager(context, private) for private in (False, True)}
        if self.settings.insecure:
            urllib3.disable_warnings(InsecureRequestWarning)  # the report says it, once

    def _manager(
        self, context: ssl.SSLContext, allow_private: bool, proxy: str | None = None
    ) -> urllib3.PoolManager:
        kept = {"num_pools": MOST_HOSTS_OPEN, "maxsize": self.settings.connections}
        given: dict[str, Any] = {**kept, "ssl_context": context, "retries": False}
        manager = urllib3.PoolManager(**given)
        if proxy is not None:
            asking = self._headers | proxy_headers(proxy)
            manager = urllib3.ProxyManager(proxy, proxy_headers=asking, **given)
        manager.pool_classes_by_scheme = pool_classes(allow_private=allow_private)
        return manager

    def close(self) -> None:
        """Close the connections that were kept."""
        for manager in [*self._managers.values(), *self._proxies.values()]:
            manager.clear()

    def open(
        self, url: str, budget: Budget, headers: Mapping[str, str] | None = None, *, redirect: bool = True
    ) -> "Response":
        """The answer at a URL, whatever its status, after up to five redirects; its body is yet to be read.

        The answer is read under the same budget, and to be closed. `redirect=False` gives a redirect itself.
        Raises FetchError for an address that is none or not permitted, or when no answer comes in time.
        """
        first = target = checked_url(url)
        sent = {**self._headers, **credentials(url), **(headers or {})}
        for _ in range(MOST_REDIRECTS + 1):
            allow_private = self._may_be_private(target, first, budget)
            response = self._ask_either(target, sent, budget, allow_private=allow_private)
            location = response.location if redirect else None
            if location is None:
                return response
            response.close()
            target = next_hop(target, location, response.status)
            if target[:4] != first[:4]:  # another scheme, host or port: what is secret goes no further
                sent.pop("Authorization", None)
        raise FetchError(
            "too_many_redirects", f"more than {MOST_REDIRECTS} redirects", status=response.status
        )

    def _may_be_private(self, target: Url, first: Url, budget: Budget) -> bool:
        """Whether a hop may go to a private address, after a first one to where the person said."""
        if self.settings.hosts is not Hosts.NAMED:
            return self.settings.hosts is Hosts.PRIVATE_TOO
        if target.host == first.host:
            return True
        if proxy_for(str(first.scheme), str(first.host)):
            return False  # where it is, the proxy alone may know
        with _errors_classed():
            found = resolve(str(first.host), first.port or 0, budget)
        return not any(addresses.is_public(address.ip) for address in found)

    def _ask_either(
        self, target: Url, headers: Mapping[str, str], budget: Budget, *, allow_private: bool
    ) -> "Response":
        """The answer of one hop. Links copied from pages say `&amp;` for `&`: refused, that is tried."""
        response = self._ask(target, headers, budget, allow_private=allow_private)
        meant = unescaped(target)
        if meant is None or not response.refused:
            return response
        response.close()
        return self._ask(meant, headers, budget, allow_private=allow_private)

    def _ask(
        self, target: Url, headers: Mapping[str, str], budget: Budget, *, allow_private: bool
    ) -> "Response":
        """The answer of one hop. Its host's turn is over when it is closed."""
        with contextlib.ExitStack() as held:
            turn = None
            if self._limits is not None:
                turn = held.enter_context(self._limits.turn(host_of(target)))
                budget.ends += turn.waited  # our own politeness is not the server's slowness
            proxy = proxy_for(str(target.scheme), str(target.host))
            manager = self._through(proxy) if proxy else self._managers[allow_private]
            raw = _answer(manager, target, headers, budget, proxy)
            if turn is not None:
                wait = retry_after(raw.headers.get("Retry-After"))
                budget.asked_to_wait = turn.answered(raw.status, wait, since=budget.refused)
                if raw.status in BUSY:
                    budget.refused = time.monotonic()
            return Response(raw, budget, held.pop_all())

    def _through(self, proxy: str) -> urllib3.PoolManager:
        """The connections by way of a proxy, which may be on this machine."""
        if not proxy.lower().startswith("http://"):
            raise FetchError(
                "proxy", f"the proxy {without_userinfo(proxy)} is not of the form http://HOST:PORT"
            )
        if proxy not in self._proxies:
            self._proxies[proxy] = self._manager(self._context, True, proxy)
        return self._proxies[proxy]


def _answer(
    manager: urllib3.PoolManager,
    target: Url,
    headers: Mapping[str, str],
    budget: Budget,
    proxy: str | None = None,
) -> urllib3.BaseHTTPResponse:
    """What the server begins to answer, or a proxy that is asked for it.

    A kept connection that its server has closed by now says nothing about the URL: the next one is used.
    """
    while True:
        budget.connected = False
        try:
            with spending(budget):
                return manager.connection_from_host(target.host, target.port, target.scheme).urlopen(
                    "GET",
                    absolute(target) if proxy and target.scheme == "http" else target.request_uri,
                    headers=headers,
                    assert_same_host=False,  # asked of a proxy, it is never that of the connection
                    redirect=False,
                    retries=False,
                    timeout=budget.seconds_left(),
                    preload_content=False,
                )
        except ClosedPoolError:  # to make room for another host's, between being found and being used
            continue
        except Exception as error:
            failure = classed(error)
            if budget.connected or failure.kind != "reset":
                raise _on_the_way(failure, error, target, proxy) from None


def _on_the_way(failure: FetchError, error: Exception, target: Url, proxy: str | None) -> FetchError:
    """The failure with the proxy named: the one that was asked, or one that could have been."""
    if failure.kind not in _NO_WAY and not isinstance(error, ProxyError):
        return failure
    if proxy is None:
        message = failure.message + left_aside(str(target.scheme))
        return FetchError(failure.kind, message, retryable=failure.retryable, option=failure.option)
    refused = f" ({error.__cause__ or error})" if isinstance(error, ProxyError) else ""
    said = failure.message if failure.kind in _NO_WAY or not refused else f"it gives no connection{refused}"
    return FetchError("unreachable", f"by the proxy {without_userinfo(proxy)}: {said}", retryable=True)


@contextlib.contextmanager
def _errors_classed() -> Iterator[None]:
    """Within it, whatever goes wrong is a FetchError."""
    try:
        yield
    except FetchError:
        raise
    except ProtocolError as error:
        if "ended prematurely" in str(error):  # between two chunks: the last one is missing
            raise FetchError("truncated", "the server hangs up before the end", retryable=True) from None
        raise classed(error) from None
    except Exception as error:
        raise classed(error) from None


class Response:
    """A server's answer: status and headers at once, the body as it is read. To be closed, as by `with`."""

    def __init__(
        self, raw: urllib3.BaseHTTPResponse, budget: Budget, held: contextlib.ExitStack | None = None
    ) -> None:
        self._raw, self._held = raw, held
        self.budget = budget
        self.status, self.headers = raw.status, raw.headers

    @property
    def whole(self) -> bool:
        """Whether it is what was asked for, all of it."""
        return self.status in _WHOLE

    @property
    def refused(self) -> bool:
        """Whether the server finds the request at fault, its link most likely."""
        return 400 <= self.status < 500 and self.status not in _NOT_THE_LINK

    @property
    def location(self) -> str | None:
        """Where a redirect leads; None for any other answer."""
        return self.headers.get("Location") if self.status in _REDIRECTS else None

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end, unpacked where its header says that it is packed.

        A part of a file is given as it is sent. Raises FetchError.
        """
        self._require_readable()
        with _errors_classed(), spending(self.budget):
            return self._raw.read(size, decode_content=self.status != 206)

    def read_all(self, most: int) -> bytes:
        """The whole body, unpacked where its header says that it is packed.

        Raises FetchError, `too_large` for more than `most` bytes, announced, sent or unpacked.
        """
        self._require_readable()
        announced = self.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > most:
            raise _too_large(most)
        chunks, size = [], 0
        with _errors_classed(), spending(self.budget):
            for chunk in self._raw.stream(CHUNK, decode_content=True):
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _require_readable(self) -> None:
        """Packed unasked is unpacked, if it is known how."""
        readable = {*urllib3.HTTPResponse.CONTENT_DECODERS, *_UNPACKED}
        for name in self.headers.get("Content-Encoding", "").split(","):
            if name.strip().lower() not in readable:
                raise FetchError(
                    "bad_encoding", f"the body is packed as {name.strip()}, which is not read here"
                )

    def failure(self) -> FetchError:
        """The error that the status means, for one that is not wanted."""
        status = self.status
        wait = retry_after(self.headers.get("Retry-After")) if status in BUSY else None
        later = "" if wait is None else f" and asks to wait {wait:.0f} s; the same command tries again later"
        return FetchError(
            f"http_{status}", f"the server answers with status {status}{later}",
            retryable=status in (408, 425, 429) or 500 <= status <= 599, wait=wait, status=status,
        )  # fmt: skip

    @property
    def reason(self) -> str:
        """The server's words for its status."""
        return self._raw.reason or ""

    def close(self) -> None:
        """Let go: a body read to its end has given its connection back; any other takes it along."""
        with contextlib.suppress(Exception):
            self._raw.close()
            self._raw.release_conn()
        if self._held is not None:
            self._held.close()

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _too_large(most: int) -> FetchError:
    return FetchError("too_large", f"more than {most} bytes", option="--max-bytes")
