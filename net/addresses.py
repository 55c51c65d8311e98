"""Links taken apart; which IP addresses are of the open internet, of a network of one's own, or neither."""

import base64
import ipaddress
import re
from urllib.parse import unquote, urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from .errors import FetchError

__all__ = [
    "absolute",
    "checked_url",
    "credentials",
    "host_of",
    "is_intranet",
    "is_public",
    "next_hop",
    "proxy_headers",
    "unescaped",
]

_AMPERSAND = re.compile(r"&(?:amp|#0*38|#x0*26);", re.IGNORECASE)

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


def checked_url(url: str) -> Url:
    """The parts of an http or https URL with host and port. Raises FetchError `bad_url` or `bad_scheme`."""
    target = _parsed(url)
    if target.scheme not in ("http", "https"):
        scheme = f"{target.scheme}:" if target.scheme else "no scheme"
        raise FetchError("bad_scheme", f"only http and https are fetched, not {scheme}")
    if not target.host:
        raise FetchError("bad_url", "the URL names no host")
    port = target.port or (443 if target.scheme == "https" else 80)
    host = target.host.strip("[]")
    return Url(target.scheme, None, host, port, target.path, target.query)


def host_of(target: Url) -> str:
    """What politeness calls the host of a checked URL: name and port."""
    return f"{target.host}:{target.port}"


def _parsed(url: str) -> Url:
    try:
        return parse_url(str(url).strip())
    except (LocationParseError, ValueError):
        raise FetchError("bad_url", "this is no URL") from None


def absolute(target: Url) -> str:
    """A link in whole, as a proxy is asked for it."""
    path = target.path or "/"
    return str(target._replace(path=path, port=None if target.port == 80 else target.port).url)


def credentials(url: str) -> dict[str, str]:
    """The header that says who asks, where the link does: `https://NAME:PASSWORD@host/`."""
    auth = _parsed(url).auth
    return {"Authorization": _basic(auth)} if auth else {}


def proxy_headers(url: str) -> dict[str, str]:
    """The header that says to a proxy who asks, where its address does."""
    auth = _parsed(url).auth
    return {"Proxy-Authorization": _basic(auth)} if auth else {}


def _basic(auth: str) -> str:
    return f"Basic {base64.b64encode(unquote(auth).encode()).decode()}"


def unescaped(target: Url) -> Url | None:
    """The link with `&` for each `&amp;`; None where there is none."""
    path, query = (_AMPERSAND.sub("&", part or "") for part in (target.path, target.query))
    if (path, query) == (target.path or "", target.query or ""):
        return None
    return target._replace(path=path or None, query=query or None)


def next_hop(target: Url, location: str, status: int) -> Url:
    """Where a redirect leads. Raises FetchError, with the redirect's status."""
    try:
        return checked_url(urljoin(target.url, _text(location)))
    except FetchError as error:
        raise FetchError(error.kind, error.message, status=status) from None
    except ValueError:
        raise FetchError("bad_url", "the redirect leads to no URL", status=status) from None


def _text(location: str) -> str:
    """A Location header as its server wrote it: headers are read as Latin-1, and servers write UTF-8."""
    raw = location.encode("latin-1", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:  # another encoding, whose bytes the server knows again
        return "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in raw)
