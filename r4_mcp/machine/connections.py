"""Connections to the service: pooled, checked against the public authorities, with nothing of the environment in them.

What this file does not do: make requests; ``client`` does.

Rules:
1. No proxy, no ``.netrc``, no certificate file and no key log of the environment takes part. (httpcore consults none of the first
   two; Python's default TLS context would write the keys of a connection where SSLKEYLOGFILE says.)
2. A certificate is checked against the authorities that ``certifi`` lists, for the name that was dialled.
"""

from __future__ import annotations

import ssl
from typing import Final

import certifi
import httpcore

Connections = httpcore.AsyncConnectionPool | httpcore.AsyncConnectionInterface
"""What requests go through: a pool, or one connection."""

MAX_CONNECTIONS: Final = 32
"""Requests that are under way at once; the others wait."""

_IDLE_SECONDS: Final = 5.0
"""Less than services keep an idle connection open, so that none is used that is about to be closed."""


def open_connections(base_url: str) -> httpcore.AsyncConnectionPool:
    """Return the pool for a service; nothing is dialled yet.

    Args:
        base_url: The service's address; the authorities are read only where it is https.
    """
    tls = public_authorities() if base_url.startswith("https:") else None
    return httpcore.AsyncConnectionPool(ssl_context=tls, max_connections=MAX_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS)


def public_authorities() -> ssl.SSLContext:
    """Return what certificates are checked with (rules 1 and 2); to read it takes tens of milliseconds."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.keylog_filename = None  # type: ignore[assignment]  # how to switch it off; the stubs know only paths
    return context
