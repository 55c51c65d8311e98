"""What the server lets through: whom it answers, and what a browser may do with what it sends."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["POLICY", "Guard", "is_loopback"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# gradio's page is made of inline scripts and templates; all it is made of and asks for is of this server.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),  # no other site's page shows the pictures
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at `host`."""
    return host in _LOOPBACK


class Guard:
    """An application whose answers the browser may not take anywhere.

    With `only_here` it answers only what is asked under this machine's own names: another site's name that
    resolves to it (DNS rebinding) is refused, and so is what a page of another site sends.
    """

    def __init__(self, application: Application, *, only_here: bool) -> None:
        self._application, self._only_here = application, only_here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one connection."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if self._only_here and not _is_ours(dict(scope.get("headers") or ())):
            await _refuse(send)
            return

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        await self._application(scope, receive, sent)


def _is_ours(headers: dict[bytes, bytes]) -> bool:
    host = headers.get(b"host", b"").decode("latin-1").lower()
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    return is_loopback(_bare(host)) and (not origin or origin.partition("://")[2] == host)


def _bare(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": b"The studio answers its own page only."})
