"""Sockets that read under the current budget, connections to permitted addresses alone, and their pools."""

import http.client
import logging
import socket
import ssl
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from . import addresses
from .budget import Budget, current_budget
from .dns import Address, resolve
from .errors import FetchError, machine_error

__all__ = ["GuardedSSLSocket", "GuardedSocket", "connect", "pool_classes"]

# What a server gets wrong comes to an error of ours; urllib3 would print it as well, with what it sent.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_MOST_HEADERS = 1000  # of an answer; http.client takes 100, and some servers send more
_MOST_INTERIM = 32  # answers of 1xx before the one that counts
http.client._MAXHEADERS = _MOST_HEADERS  # type: ignore[attr-defined]


class _Guarded:
    """Reading under the current budget. Connect, handshake and send keep to the timeout by themselves."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive under the deadline. Raises TimeoutError or FetchError when the budget is used up."""
        budget = current_budget()
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


def connect(host: str, port: int, *, allow_private: bool) -> socket.socket:
    """A connection to the very address that was checked, so that a name cannot change its meaning in between.

    Raises FetchError (`dns`, `private_address`, `refused`, `unreachable`) or TimeoutError.
    """
    budget = current_budget()
    assert budget is not None, "connect() belongs inside `with spending(budget)`"  # noqa: S101
    budget.connected = True
    found = resolve(host, port, budget)
    allowed = [address for address in found if addresses.is_public(address.ip)]
    private = [address for address in found if addresses.is_intranet(address.ip)]
    if allow_private:
        allowed += private
    if not allowed:
        option = "--allow-private permits it" if private else ""
        raise FetchError("private_address", "the host's address is not public", option=option)
    return _first_that_answers(allowed, budget)


def _first_that_answers(places: list[Address], budget: Budget) -> socket.socket:
    for position, address in enumerate(places):
        # An address that swallows packets must leave time for the others.
        patience = budget.seconds_left() / (len(places) - position)
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
    lacking = machine_error(error)
    if isinstance(error, TimeoutError) or lacking is not None:
        return lacking or error
    if isinstance(error, ConnectionRefusedError):
        return FetchError("refused", "the host refuses connections")
    if isinstance(error, ConnectionResetError):
        return FetchError("reset", "the host hung up", retryable=True)
    return FetchError("unreachable", f"the host cannot be reached ({error.strerror or error})")


class _FinalResponse(http.client.HTTPResponse):
    """An answer without the interim ones before it, such as 103 Early Hints; http.client skips 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 <= found[1] < 200:
                return found
            http.client.parse_headers(self.fp)
        raise FetchError("bad_response", "the server only ever announces its answer")


class _Connection(HTTPConnection):
    allow_private = False
    response_class = _FinalResponse

    def _new_conn(self) -> Any:
        return connect(self._dns_host, self.port, allow_private=self.allow_private)


class _SecureConnection(HTTPSConnection):
    allow_private = False
    response_class = _FinalResponse

    def _new_conn(self) -> Any:
        return connect(self._dns_host, self.port, allow_private=self.allow_private)


class _PrivateConnection(_Connection):
    allow_private = True


class _PrivateSecureConnection(_SecureConnection):
    allow_private = True


def pool_classes(*, allow_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools of kept connections, with connections that check where they go."""
    plain = _PrivateConnection if allow_private else _Connection
    secure = _PrivateSecureConnection if allow_private else _SecureConnection
    return {
        "http": type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("GuardedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
