"""Sockets that keep to a budget of time and bytes, and connect to public addresses only.

The budget belongs to the fetch that the current thread makes. Sockets ask it before every read, so neither a
server that sends one byte a second, in its headers, its body or its TLS handshake, nor one that never stops
sending can hold a thread for longer or take more memory than allowed.
"""

import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

from .errors import FetchError

__all__ = [
    "Address",
    "Budget",
    "GuardedSSLSocket",
    "GuardedSocket",
    "connect",
    "is_intranet",
    "is_public",
    "resolve",
    "spending",
]

_DNS_KEPT = 300.0  # seconds that an answer of the name service is used for
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # carries an IPv4 address in its last bits
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # carries one anywhere; older Pythons think it public
_INTRANET = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "::1/128", "fc00::/7",
    )
)  # fmt: skip
# Where clouds hand out credentials, inside networks that are private otherwise.
_METADATA = tuple(ipaddress.ip_address(address) for address in ("100.100.100.200", "fd00:ec2::254"))


@dataclass
class Budget:
    """What is left for one URL: until `ends` (of `time.monotonic()`), and bytes yet to receive.

    `connected` notes whether a new connection was made since it was last set to False.
    """

    ends: float
    bytes_left: int
    connected: bool = False

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


class spending:  # noqa: N801
    """A block of the current thread whose guarded sockets spend `budget`."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def __enter__(self) -> Budget:
        _current.budget = self.budget
        return self.budget

    def __exit__(self, *_: object) -> None:
        _current.budget = None


class _Guarded:
    """Reading under the current budget. Connect, handshake and send keep to the timeout by themselves."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive under the deadline. Raises TimeoutError or FetchError when the budget is used up."""
        budget = _current.budget
        if budget is None:
            return super().recv_into(*args, **kwargs)  # type: ignore[misc]
        self.settimeout(budget.seconds_left())  # type: ignore[attr-defined]
        count: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        budget.spend(count)
        return count


class GuardedSocket(_Guarded, socket.socket):
    """A TCP socket that reads under the current budget."""


class GuardedSSLSocket(_Guarded, ssl.SSLSocket):
    """A TLS socket that reads under the current budget."""


@dataclass(frozen=True)
class Address:
    """One place to connect to."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    @property
    def ip(self) -> str:
        """The IP address in digits, without an interface name."""
        return str(self.sockaddr[0]).partition("%")[0]


def is_public(ip: str) -> bool:
    """Whether an address is of the open internet, also when it is an IPv4 address in the clothes of IPv6."""
    return all(_is_global(address) for address in _meant(ipaddress.ip_address(ip)))


def is_intranet(ip: str) -> bool:
    """Whether an address may belong to a server of one's own: loopback, private or shared.

    Link-local addresses (169.254.169.254 hands out a machine's credentials), multicast and the like are
    neither public nor of an intranet.
    """
    return all(
        address not in _METADATA and any(address in network for network in _INTRANET)
        for address in _meant(ipaddress.ip_address(ip))
    )


def _meant(address: _IPAddress) -> list[_IPAddress]:
    """The address that packets go to in the end: those embedded in it, if there are any, else itself."""
    return _embedded(address) or [address]


def _is_global(address: _IPAddress) -> bool:
    routed = address.is_global and not address.is_multicast and not address.is_reserved
    return routed and address not in _LOCAL_NAT64


def _embedded(address: _IPAddress) -> list[_IPAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[_IPAddress] = [
        found for found in (address.ipv4_mapped, address.sixtofour) if found is not None
    ]
    if address.teredo is not None:
        inner += address.teredo
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner


class _Lookup:
    """One question to the name service, in a thread of its own: the library call knows no timeout."""

    def __init__(self, host: str) -> None:
        self.asked = time.monotonic()
        self.addresses: list[tuple[socket.AddressFamily, tuple[Any, ...]]] = []
        self.error: OSError | UnicodeError | None = None
        self.done = threading.Event()
        threading.Thread(target=self._ask, args=(host,), daemon=True, name="visunex-dns").start()

    def _ask(self, host: str) -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            self.addresses = [(family, sockaddr) for family, _, _, _, sockaddr in answers]
        except (OSError, UnicodeError) as error:
            self.error = error
        self.done.set()

    @property
    def stale(self) -> bool:
        return time.monotonic() - self.asked > _DNS_KEPT or _is_passing(self.error)


_lookups: dict[str, _Lookup] = {}
_lookups_lock = threading.Lock()
_MOST_LOOKUPS = 50_000


def _is_passing(error: Exception | None) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def resolve(host: str, port: int, budget: Budget) -> list[Address]:
    """The addresses of a name. Raises FetchError `dns`, or TimeoutError at the deadline."""
    with _lookups_lock:
        lookup = _lookups.get(host)
        if lookup is None or (lookup.done.is_set() and lookup.stale):
            if len(_lookups) >= _MOST_LOOKUPS:
                _lookups.clear()
            lookup = _lookups[host] = _Lookup(host)
    if not lookup.done.wait(budget.seconds_left()):
        raise TimeoutError("the name service did not answer")
    if lookup.error is not None or not lookup.addresses:
        reason = getattr(lookup.error, "strerror", None) or "no address"
        raise FetchError(
            "dns", f"the host's name does not resolve ({reason})", transient=_is_passing(lookup.error)
        )
    return [Address(family, (sockaddr[0], port, *sockaddr[2:])) for family, sockaddr in lookup.addresses]


def connect(host: str, port: int, *, allow_private: bool) -> socket.socket:
    """A connection to the very address that was checked, so that a name cannot change its meaning in between.

    Raises FetchError (`dns`, `private_address`, `refused`, `unreachable`) or TimeoutError.
    """
    budget = _current.budget
    assert budget is not None, "connect() belongs inside `with spending(budget)`"  # noqa: S101
    budget.connected = True
    addresses = resolve(host, port, budget)
    allowed = [address for address in addresses if is_public(address.ip)]
    if allow_private:
        allowed += [address for address in addresses if is_intranet(address.ip)]
    if not allowed:
        permitted = any(is_intranet(address.ip) for address in addresses)
        hint = " (--allow-private permits it)" if permitted else ""
        raise FetchError("private_address", f"the host's address is not public{hint}")
    return _first_that_answers(allowed, budget)


def _first_that_answers(addresses: list[Address], budget: Budget) -> socket.socket:
    for position, address in enumerate(addresses):
        # An address that swallows packets must leave time for the others.
        patience = budget.seconds_left() / (len(addresses) - position)
        try:
            return _connect_to(address, patience, budget)
        except OSError as error:
            failure = error
    raise _connection_error(failure)


def _connect_to(address: Address, patience: float, budget: Budget) -> socket.socket:
    connection = GuardedSocket(address.family, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(patience)
        connection.connect(address.sockaddr)
        connection.settimeout(budget.seconds_left())
    except BaseException:
        connection.close()
        raise
    return connection


def _connection_error(error: OSError) -> Exception:
    if isinstance(error, TimeoutError):
        return error
    if isinstance(error, ConnectionRefusedError):
        return FetchError("refused", "the host refuses connections")
    if isinstance(error, ConnectionResetError):
        return FetchError("reset", "the host hung up", transient=True)
    return FetchError("unreachable", f"the host cannot be reached ({error.strerror or error})")
