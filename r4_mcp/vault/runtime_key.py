"""The runtime's own private key: loaded when first needed, used off the event loop.

What this file does not do: read files; its source does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.directory import Directory
from r4_mcp.core.encoding import Json
from r4_mcp.core.keys import PrivateKey, PublicKey
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import WrappedKey
from r4_mcp.core.wrapping import Dek, advance_dek
from r4_mcp.errors import NotConfiguredError
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.key_file import KeyFile, KeySource


class RuntimeKey:
    """The agent's key pair.

    Args:
        source: Where it lives; None where none is configured.
    """

    def __init__(self, source: KeySource | None) -> None:
        self._source = source
        self._loaded: PrivateKey | None = None
        self._stamp: object = None
        self._hint: tuple[object, str] | None = None

    @property
    def public(self) -> PublicKey:
        """The public half.

        Raises:
            ConfigurationError: No usable private key is configured.
        """
        return self.private.public

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public half; known without the key where its file is still the one that was loaded before.

        Raises:
            ConfigurationError: No usable private key is configured.
        """
        if self._loaded is None and self._source is not None and self._hint is not None and self._hint[0] == self._source.stamp():
            return self._hint[1]
        return self.public.fingerprint

    def hint(self, stamp: object, fingerprint: str) -> None:
        """Take an earlier process's word for which key a file of this stamp holds: to check an RSA key costs many milliseconds.

        It decides what is compared and which entry of a directory is ours; what is opened or signed takes the key itself.
        """
        self._hint = (stamp, fingerprint)

    def stamp(self) -> tuple[int, ...] | None:
        """Return the stamp of the file that the loaded key came from, if it came from one."""
        return self._stamp if self._loaded is not None and isinstance(self._stamp, tuple) else None

    @property
    def private(self) -> PrivateKey:
        """The key pair, loaded on first use.

        Raises:
            ConfigurationError: No usable private key is configured.
        """
        if self._loaded is None:
            if self._source is None:
                raise NotConfiguredError(
                    "no private key is configured",
                    next_step="Set R4_PRIVATE_KEY_PATH or R4_CONFIG, or make a profile with `r4-mcp init`, and start again.",
                )
            # The stamp is taken first: a file that is replaced in between is read again, not missed.
            self._stamp = self._source.stamp()
            self._loaded = self._source.load()
        return self._loaded

    def refresh(self) -> bool:
        """Forget a key whose file was replaced since it was loaded; says whether it was.

        Called between calls, never within one: a call that began with one key ends with it.
        """
        if self._loaded is None or self._source is None or self._source.stamp() == self._stamp:
            return False
        self._loaded = None
        return True

    def kept(self, fingerprint: str) -> tuple[Path, Path] | None:
        """Return the file that keeps a key which was current here or meant to be, and the file of the current one."""
        if not isinstance(self._source, KeyFile):
            return None
        path = self._source.kept(fingerprint)
        return None if path is None else (path, self._source.path)

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
