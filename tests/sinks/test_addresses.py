"""Which addresses may be dialled: every kind, every disguise, and what the operator can and can't list."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import AddressRefusedError
from r4_mcp.sinks.addresses import METADATA, admit, kind_of

PUBLIC: Final = ("1.1.1.1", "9.9.9.9", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::5efe")

KINDS: Final = (
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "unspecified"),  # noqa: S104 - an address that is refused, not bound
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "private"),
    ("fc00::1", "private"),
    ("fdff::1", "private"),
    ("fec0::1", "private"),
    ("169.254.0.1", "link-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%1", "link-local"),
    ("224.0.0.1", "multicast"),
    ("ff02::1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("192.0.0.1", "reserved"),
    ("192.0.2.1", "reserved"),
    ("198.18.0.1", "reserved"),
    ("198.51.100.1", "reserved"),
    ("203.0.113.1", "reserved"),
    ("192.88.99.1", "reserved"),
    ("2001:db8::1", "reserved"),
    ("2001:20::1", "reserved"),
    ("3fff::1", "reserved"),
    ("5f00::1", "reserved"),
    ("4000::1", "reserved"),
    ("100::1", "reserved"),
    ("169.254.169.254", "metadata service"),
    ("fd00:ec2::254", "metadata service"),
    ("168.63.129.16", "metadata service"),
    ("100.100.100.200", "metadata service"),
    ("::ffff:127.0.0.1", "embedded IPv4"),
    ("::ffff:169.254.169.254", "embedded IPv4"),
    ("::ffff:1.1.1.1", "embedded IPv4"),
    ("::ffff:0:7f00:1", "embedded IPv4"),
    ("::127.0.0.1", "embedded IPv4"),
    ("64:ff9b::7f00:1", "embedded IPv4"),
    ("64:ff9b:1::a9fe:a9fe", "embedded IPv4"),
    ("2002:7f00:1::", "embedded IPv4"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "embedded IPv4"),
    ("2a00:1450:4001::5efe:7f00:1", "embedded IPv4"),
    ("2a00:1450:4001::200:5efe:7f00:1", "embedded IPv4"),
)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_admitted(text: str) -> None:
    """Without a word of the operator."""
    assert admit([ip_address(text)], []) == (ip_address(text),)


@pytest.mark.parametrize(("text", "kind"), KINDS)
def test_an_address_that_is_not_public_is_refused_unless_listed(text: str, kind: str) -> None:
    """The refusal names the kind; listing the address itself admits it."""
    address = ip_address(text)
    with pytest.raises(AddressRefusedError, match=kind):
        admit([address], [])
    assert admit([address], [ip_network(text.partition("%")[0])]) == (address,)


def test_a_listed_network_admits_what_lies_in_it_and_no_more() -> None:
    """Of its own version of IP only: a mapped form is another address."""
    listed = [ip_network("10.1.0.0/16")]
    assert admit([ip_address("10.1.2.3")], listed)
    for text in ("10.2.0.1", "::ffff:10.1.2.3", "127.0.0.1"):
        with pytest.raises(AddressRefusedError):
            admit([ip_address(text)], listed)


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
def test_a_metadata_service_is_not_listed_by_its_network(address: IPv4Address | IPv6Address) -> None:
    """Who lists all private networks did not mean the service that hands out credentials."""
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    with pytest.raises(AddressRefusedError, match="metadata"):
        admit([address], everything)
    assert admit([address], [ip_network(str(address))])


@pytest.mark.parametrize("order", [1, -1])
def test_one_refused_address_refuses_the_host(order: int) -> None:
    """Wherever it stands in the answer."""
    with pytest.raises(AddressRefusedError):
        admit([ip_address(text) for text in ("1.1.1.1", "10.0.0.1")][::order], [])


def test_a_host_without_an_address_is_refused() -> None:
    """An empty answer proves nothing."""
    with pytest.raises(AddressRefusedError):
        admit([], [])


def test_http_admits_loopback_and_nothing_else() -> None:
    """Not even what is public or listed."""
    assert admit([ip_address("127.0.0.1"), ip_address("::1")], [], loopback_only=True)
    for text in ("1.1.1.1", "10.0.0.1", "::ffff:127.0.0.1"):
        with pytest.raises(AddressRefusedError):
            admit([ip_address("127.0.0.1"), ip_address(text)], [ip_network("10.0.0.0/8")], loopback_only=True)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_the_standard_library_calls_not_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    """A second opinion on the tables; it calls a few special addresses global, so the reverse does not hold."""
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local or not address.is_global:
        assert kind_of(address) is not None
