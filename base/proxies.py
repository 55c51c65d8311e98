"""Which proxy all that is fetched goes through: one that the person names, the environment's, or none.

Without a word none is used, whatever HTTP_PROXY says: behind a proxy it is the proxy that must see to it that
no link leads to a private address. What is said holds for our own client and for libraries alike.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from urllib import request

from .errors import UsageError

__all__ = [
    "ENVIRONMENT",
    "VARIABLE",
    "is_offline",
    "left_aside",
    "one_way",
    "proxy_for",
    "reached_directly",
    "without_userinfo",
]

VARIABLE = "VISUNEX_PROXY"  # what was chosen, for this process and those that it starts
ENVIRONMENT = "env"  # the choice of the environment's proxies
_NO_PROXY = "VISUNEX_NO_PROXY"  # the environment's own no_proxy, where a host of ours was added to it
_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PROXY = re.compile(r"http://([^/?#@\s]*@)?[^/?#@\s]+/?")
_USERINFO = re.compile(r"^(\s*[a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)


def is_offline() -> bool:
    """Whether the person has said that nothing is to be fetched unasked: by the Hub's own variable."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def without_userinfo(url: str) -> str:
    """An address as it may be shown: without the name and password in it."""
    return _USERINFO.sub(r"\1", url)


@contextlib.contextmanager
def one_way(proxy: str | None = None) -> Iterator[None]:
    """While the block runs, all is fetched through `proxy` (a URL; `env`), else $VISUNEX_PROXY, else none.

    The variables that libraries read (polars, huggingface_hub) say the same, and are put back behind it.
    Raises UsageError for what is no proxy that can be used.
    """
    chosen = proxy or _chosen()
    if chosen not in ("", ENVIRONMENT) and not _PROXY.fullmatch(chosen):
        raise UsageError(
            f"--proxy {without_userinfo(chosen)}: say http://HOST:PORT, or env for the environment's"
        )
    before = dict(os.environ)
    _set(chosen)
    try:
        yield
    finally:
        _restore(before)


def _set(chosen: str) -> None:
    os.environ[VARIABLE] = chosen
    if chosen == ENVIRONMENT:
        return
    for name in [name for name in os.environ if name.lower() in _NAMES]:
        if not chosen and name.lower() != "no_proxy":
            os.environ.setdefault(f"VISUNEX_UNUSED_{name.upper()}", os.environ[name])
        del os.environ[name]
    if chosen:
        os.environ.update(dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), chosen))


def _restore(before: dict[str, str]) -> None:
    """What the block itself set of the environment stays, but for these variables."""
    for name in {*os.environ, *before}:
        if name.lower() in _NAMES or name.startswith(("VISUNEX_UNUSED_", VARIABLE, _NO_PROXY)):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def reached_directly(host: str) -> None:
    """Have libraries ask a host of this process' own without a proxy; our client does as the person said."""
    own = os.environ.setdefault(_NO_PROXY, os.environ.get("no_proxy") or os.environ.get("NO_PROXY", ""))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{own},{host}".lstrip(",")


def _chosen() -> str:
    return os.environ.get(VARIABLE, "").strip()


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy to ask for something at a host, None: the host itself."""
    chosen = _chosen()
    if chosen != ENVIRONMENT:
        return chosen or None
    named = request.getproxies_environment()
    named["no"] = os.environ.get(_NO_PROXY, named.get("no", ""))
    if request.proxy_bypass_environment(host, named):  # type: ignore[attr-defined]
        return None
    return named.get(scheme) or named.get("all")


def left_aside(scheme: str) -> str:
    """What to say where a host cannot be reached, and a proxy that the environment names is not used."""
    if _chosen():
        return ""
    named = (
        f"{prefix}{name}" for name in (f"{scheme}_proxy", "all_proxy") for prefix in ("", "VISUNEX_UNUSED_")
    )
    values = {name.lower(): value for name, value in os.environ.items()}
    found = next((values[name.lower()] for name in named if values.get(name.lower())), None)
    if found is None:
        return ""
    return f"; the proxy {without_userinfo(found)} that the environment names is used with --proxy env only"
