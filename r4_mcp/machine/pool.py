"""Connections to a service: pooled, checked against the public authorities, with nothing of the environment in them.

What this file does not do: decide what is asked, or tried again; ``client`` does. Of httpx it uses the transport alone, which
knows neither redirects nor cookies.

Rules:
1. No proxy, no ``.netrc``, no certificate file and no key log of the environment takes part.
2. A certificate is checked against the public authorities, for the name that was dialled.
3. Connecting has a timeout; everything else is within the total deadline that each call has.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from r4_mcp.errors import UnreachableError
from r4_mcp.machine.connections import Answer, Connections, Request
from r4_mcp.machine.contract import CONNECT_SECONDS

MAX_CONNECTIONS: Final = 32
"""Requests that are under way at once; the others wait."""

_IDLE_SECONDS: Final = 5.0
"""Less than services keep an idle connection open, so that none is used that is about to be closed."""
_LIMITS: Final = httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS)
_TIMEOUT: Final = {"timeout": {"connect": CONNECT_SECONDS}}


class Pool:
    """Pooled connections.

    Args:
        transport: The one that they belong to.
    """

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self._transport = transport

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Answer]:
        """Send a request.

        Raises:
            UnreachableError: There is no connection, or it broke.
        """
        sent = httpx.Request(
            request.method, request.url, headers=dict(request.headers), content=request.content, extensions=_TIMEOUT
        )
        try:
            response = await self._transport.handle_async_request(sent)
            try:
                yield Answer(response.status_code, _joined(response.headers), response.aiter_raw())
            finally:
                await response.aclose()
        except (httpx.TransportError, ssl.SSLError) as error:
            # An SSLError as such is a broken record in the middle of an answer.
            # from None: the library's errors hold the request, and with it the API key header.
            raise UnreachableError(_problem(error)) from None


@asynccontextmanager
async def open_pool(base_url: str) -> AsyncIterator[Connections]:
    """Open the pool for a service; nothing is dialled yet.

    Args:
        base_url: The service's address; the authorities are read only where it is https.
    """
    # Without authorities a context trusts nobody; it is for an address that needs none.
    tls = public_authorities() if base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncHTTPTransport(verify=tls, limits=_LIMITS, trust_env=False) as transport:
        yield Pool(transport)


def public_authorities() -> ssl.SSLContext:
    """Return what certificates are checked with (rules 1 and 2); to read it takes tens of milliseconds."""
    context = httpx.create_ssl_context(trust_env=False)
    # Python's default context reads SSLKEYLOGFILE, and would write the keys of the connection there.
    context.keylog_filename = None  # type: ignore[assignment]  # how to switch it off; the stubs know only paths
    return context


def _joined(headers: httpx.Headers) -> dict[str, str]:
    # Their mapping's own items are in lower case, and joined.
    return dict(headers.items())


def _problem(error: Exception) -> str:
    never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return "no connection to the service" if never else "the connection broke"
