"""The runtime's own private key: loaded when first needed, used off the event loop.

What this file does not do: read files; the loader it is given does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.directory import Directory
from r4_mcp.core.encoding import Json
from r4_mcp.core.keys import PrivateKey, PublicKey
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import WrappedKey
from r4_mcp.core.wrapping import Dek, advance_dek
from r4_mcp.secret import KnownSecrets


class RuntimeKey:
    """The agent's key pair.

    Args:
        load: Reads and checks the key; raises a ``ConfigurationError`` that says what is wrong.
    """

    def __init__(self, load: Callable[[], PrivateKey]) -> None:
        self._load = load
        self._loaded: PrivateKey | None = None

    @property
    def public(self) -> PublicKey:
        """The public half.

        Raises:
            ConfigurationError: No usable private key is configured.
        """
        return self.private.public

    @property
    def private(self) -> PrivateKey:
        """The key pair, loaded on first use.

        Raises:
            ConfigurationError: No usable private key is configured.
        """
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    async def sign(self, context: Context, payload: dict[str, Json]) -> str:
        """Sign in a worker thread: an RSA private operation takes milliseconds."""
        return await anyio.to_thread.run_sync(sign, self.private, context, payload)

    async def open_dek(
        self, state: VaultTrust, entry: WrappedKey, directory: Directory, summary: ProvenSummary, known: KnownSecrets
    ) -> tuple[VaultTrust, Dek]:
        """Prove and unwrap a vault key in a worker thread.

        Raises:
            VerificationError: As ``core.wrapping.advance_dek``.
        """
        return await anyio.to_thread.run_sync(partial(advance_dek, state, entry, directory, summary, self.private, known))
