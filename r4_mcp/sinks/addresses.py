"""Which network addresses may be dialled with a secret. Pure.

What this file does not do: resolve names.

Rules:
1. Only public unicast addresses may be dialled, and what the operator listed. The tables are those of the IANA special-purpose
   registries (RFC 6890), kept here because the standard library's answers differ between its versions.
2. Forms of IPv6 that carry an IPv4 address are refused whatever they carry: they are other names for what was refused as IPv4.
   A listed IPv4 network does not list them.
3. A cloud's metadata service hands out credentials, so a network that holds its address does not list it; the address alone does.
4. Of a name that resolves to several addresses, one refused address refuses all: whoever answers chooses which one is dialled.
5. http is for loopback: there, addresses of loopback are right and no others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from r4_mcp.errors import AddressRefusedError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA: Final[frozenset[Address]] = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pods
        "fd20:ce::254",  # Google Cloud
        "168.63.129.16",  # Azure; public by its number
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
    )
)

_KINDS: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = tuple(
    (kind, tuple(ip_network(text) for text in networks))
    for kind, networks in (
        ("unspecified", ("0.0.0.0/8", "::/128")),
        ("loopback", ("127.0.0.0/8", "::1/128")),
        ("link-local", ("169.254.0.0/16", "fe80::/10")),
        ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10")),
        ("multicast", ("224.0.0.0/4", "ff00::/8")),
        (
            "reserved",
            (
                "192.0.0.0/24",
                "192.0.2.0/24",
                "192.88.99.0/24",
                "198.18.0.0/15",
                "198.51.100.0/24",
                "203.0.113.0/24",
                "240.0.0.0/4",
                "2001:db8::/32",
                "3fff::/20",
            ),
        ),
        (
            "embedded IPv4",
            (
                "::/96",  # compatible (RFC 4291, deprecated)
                "::ffff:0:0/96",  # mapped (RFC 4291)
                "::ffff:0:0:0/96",  # translated (RFC 2765)
                "64:ff9b::/96",  # NAT64 (RFC 6052)
                "64:ff9b:1::/48",  # NAT64, local (RFC 8215)
                "2001::/32",  # Teredo (RFC 4380)
                "2002::/16",  # 6to4 (RFC 3056)
            ),
        ),
        ("reserved", ("2001::/23",)),
    )
)
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""All that was ever handed out as global unicast (RFC 4291, section 2.4, and IANA's registry)."""

_ISATAP: Final = 0x5EFE
"""The upper half of an interface identifier that carries an IPv4 address in the lower (RFC 5214, section 6.1)."""
_GLOBAL_BIT: Final = 0x0200_0000


def admit(addresses: Iterable[Address], listed: Sequence[Network], *, loopback_only: bool = False) -> tuple[Address, ...]:
    """Return the addresses, all of which may be dialled.

    Args:
        addresses: Everything that a host resolved to.
        listed: The operator's networks.
        loopback_only: Rule 5.

    Raises:
        AddressRefusedError: Rules 1 to 5, or there is no address. Names the kind of the first refused one.
    """
    admitted = tuple(addresses)
    if not admitted:
        raise AddressRefusedError("the host has no address")
    for address in admitted:
        if loopback_only:
            if kind_of(address) != "loopback":
                raise AddressRefusedError("http is for loopback, and the host has an address that is none")
        elif (kind := kind_of(address)) is not None and not _is_listed(address, listed):
            raise AddressRefusedError(f"the host has an address that may not be dialled ({kind})")
    return admitted


def kind_of(address: Address) -> str | None:
    """Return why an address is not for everybody, in one word; None for a public one."""
    if address in METADATA:
        return "metadata service"
    kind = next((kind for kind, networks in _KINDS if any(address in network for network in networks)), None)
    if kind is None and isinstance(address, IPv6Address):
        if address not in _PUBLIC_IPV6:
            return "reserved"
        if (int(address) >> 32 & 0xFFFF_FFFF) & ~_GLOBAL_BIT == _ISATAP:
            return "embedded IPv4"
    return kind


def _is_listed(address: Address, listed: Sequence[Network]) -> bool:
    if address in METADATA:
        return any(network.num_addresses == 1 and address in network for network in listed)
    return any(address in network for network in listed)
