"""Dialling the very addresses that were screened, so that a name can't mean something else the second time.

What this file does not do: decide which addresses are right.

Rules:
1. A name is resolved once. Every address of the answer is screened before the first one is dialled.
2. What is dialled is an address; the name stays what TLS asks for and checks the certificate against.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import anyio
import httpcore

from r4_mcp.errors import UnreachableError
from r4_mcp.sinks.addresses import Address, Network, admit
from r4_mcp.sinks.destination import Destination, is_address

CONNECT_SECONDS: Final = 5.0
"""How long one address may take, so that a dead one leaves time for the next."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to addresses as text. Raises ``OSError`` where there are none."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [sockaddr[0] for *_, sockaddr in found]


async def screened_addresses(destination: Destination, listed: Sequence[Network], resolve: Resolve) -> tuple[Address, ...]:
    """Resolve and screen a destination's host (rule 1).

    Raises:
        UnreachableError: The name does not resolve.
        AddressRefusedError: An address may not be dialled.
    """
    if is_address(destination.host):
        texts: Sequence[str] = [destination.host]
    else:
        try:
            texts = await resolve(destination.host, destination.port)
        except OSError:
            raise UnreachableError("the host's name does not resolve") from None
    addresses = dict.fromkeys(ipaddress.ip_address(text) for text in texts)
    return admit(addresses, listed, loopback_only=destination.scheme == "http")


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to screened addresses, in their order, whatever host it is asked for.

    Args:
        addresses: What may be dialled.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the form of the library; rule 2
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            httpcore.ConnectError: None does.
        """
        for address in self._addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError
