"""Small questions to a server, answered in seconds: is it there, what does it say, or all of a small file.

An address that a person named may be of a private network (see `Hosts.NAMED`).
"""

import contextlib
import functools
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from visunex.base.proxies import left_aside, without_userinfo

from .budget import Budget
from .client import Client, Response
from .errors import FetchError

__all__ = ["Answer", "authorization", "get", "get_bytes", "reason", "refusal"]

SECONDS = 10.0  # until a server begins to answer, and for a small answer
_HEADROOM = 512 * 1024  # bytes of headers and redirects allowed beside the body
_REFUSAL = 4096  # bytes
_STATUSES = {
    401: "sign-in wanted",
    403: "access refused",
    404: "not found",
    410: "gone",
    429: "too many requests",
}


@dataclass(frozen=True)
class Answer:
    """What a server said: `body` is cut to what was asked for, or of a refusal the first few bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@functools.cache
def _client() -> Client:
    return Client()


def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    most: int,
    seconds: float | None = None,
    redirect: bool = True,
) -> Answer:
    """One GET; at most `most` bytes of the answer are read, within `seconds` (else SECONDS).

    A redirect that cannot be followed, for ever or to another scheme, is the answer itself. Raises
    FetchError, naming the host, when there is no answer.
    """
    try:
        with _opened(url, headers, most, redirect=redirect) as response:
            if seconds is not None:
                response.budget.renew(seconds)
            body = response.read(most) if most and response.status < 300 else _refusal_of(response)
            return Answer(response.status, response.headers, body)
    except FetchError as error:
        if error.status is not None and 300 <= error.status < 400:
            return Answer(error.status, {})
        if error.kind == "private_address":
            raise error.about(without_userinfo(url)) from None
        host = urllib.parse.urlsplit(without_userinfo(url)).netloc or without_userinfo(url)
        raise FetchError(error.kind, f"{host} cannot be reached: {reason(error, url)}") from None


def _refusal_of(response: Response) -> bytes:
    """What a server says of why it refused, as far as it can be read."""
    if response.status < 400:
        return b""
    with contextlib.suppress(FetchError):
        return response.read(_REFUSAL)
    return b""


def get_bytes(url: str, *, most: int, seconds: float) -> bytes:
    """A whole body of at most `most` bytes, within `seconds` of which SECONDS pass before it begins.

    Raises FetchError: with a `status` where the server refused, `too_large`, `timeout` for a body that takes
    too long, `no_answer` where none begins.
    """
    ends = time.monotonic() + seconds
    try:
        response = _opened(url, None, most)
    except FetchError as error:
        kind = "no_answer" if error.kind == "timeout" else error.kind
        raise FetchError(kind, reason(error, url), status=error.status) from None
    with response:
        if not response.whole:
            raise FetchError(
                f"http_{response.status}",
                f"{response.status} {response.reason}".rstrip(),
                status=response.status,
            )
        response.budget.ends = ends
        return response.read_all(most)


def _opened(url: str, headers: Mapping[str, str] | None, most: int, *, redirect: bool = True) -> Response:
    return _client().open(url, Budget.of(SECONDS, most + _HEADROOM), headers, redirect=redirect)


def reason(error: FetchError, url: str = "") -> str:
    """Why a host cannot be reached, in words; without a name server there is no network."""
    words = {
        "dns": "its name is unknown (no network?)",
        "timeout": f"no answer within {SECONDS:.0f} s (no network?)",
        "refused": "Connection refused",
    }
    if error.kind not in words:
        return error.message
    return words[error.kind] + left_aside(url.partition(":")[0].lower())


def refusal(answer: Answer) -> str:
    """Why a server did not give what was asked for."""
    other = "redirected to nowhere" if answer.status < 400 else "the server failed"
    return f"{_STATUSES.get(answer.status, other)} (HTTP {answer.status})"


def authorization(token: str | None) -> dict[str, str]:
    """The header that carries a token, if there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}
