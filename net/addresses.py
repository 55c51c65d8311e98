"""Which addresses belong to the open internet, which to a network of one's own, and which to neither."""

import ipaddress

__all__ = ["is_intranet", "is_public"]

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
