"""Signing a vault's next state: the current key, above conflicts, never twice over one version.

What this file does not do: choose what is written.

Rules (contract §3 *Writing*, §5):
1. Never sign over what was not verified: each attempt starts from a proven summary.
2. After a version conflict the vault is fetched and verified again; the caller signs only above a verified version that is higher
   than the one it signed over; at most 8 tries with jitter.
3. Signed with the key that the vault's directory lists as active and ours; a retired one is never used.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import anyio

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.encoding import Json
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    DetailCheckpoint,
    ItemId,
    KeyId,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    signed_envelope,
)
from r4_mcp.errors import BusyError, KeyNotListedError
from r4_mcp.vault.proven import OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.runtime_key import RuntimeKey

CONFLICT_TRIES: Final = 8
_JITTER_SECONDS: Final = 0.05


class VaultSigner:
    """Signs checkpoints as this agent.

    Args:
        reader: Proven reads.
        key: The runtime's key.
    """

    def __init__(self, reader: VaultReader, key: RuntimeKey) -> None:
        self._reader = reader
        self._key = key

    def current(self, vault: ProvenVault) -> SignerRef:
        """Return who we are in a vault's directory (rule 3).

        Raises:
            KeyNotListedError: Our key is not an active signer there.
        """
        mine = vault.directory.active_of(self._key.public.fingerprint)
        if mine is None or mine.kind is not SignerType.AGENT:
            raise KeyNotListedError(f"our key is not an active signer of vault {vault.id}")
        return SignerRef(mine.kind, KeyId(mine.id))

    async def summary(self, checkpoint: SummaryCheckpoint, signer: SignerRef) -> dict[str, Json]:
        """Return a signed summary in its wire form."""
        payload = checkpoint.payload()
        return signed_envelope(payload, signer, await self._key.sign(Context.SUMMARY, payload))

    async def detail(self, checkpoint: DetailCheckpoint, signer: SignerRef) -> dict[str, Json]:
        """Return a signed detail in its wire form."""
        payload = checkpoint.payload()
        return signed_envelope(payload, signer, await self._key.sign(Context.DETAIL, payload))

    async def attempts(self, vault_id: VaultId) -> AsyncIterator[ProvenVault]:
        """Yield the proven vault, freshly fetched, once for each attempt to write (rules 1 and 2).

        Raises:
            BusyError: The caller has not stopped after 8 attempts.
            R4Error: The vault can't be fetched or proven.
        """
        async for _ in _rounds(vault_id):
            yield await self._reader.vault(vault_id)

    async def item_attempts(self, vault_id: VaultId, item_id: ItemId, first: OpenedItem | None) -> AsyncIterator[OpenedItem]:
        """Yield a proven item, freshly fetched, once for each attempt to change it (rules 1 and 2).

        Args:
            vault_id: Its vault.
            item_id: The item.
            first: What was fetched just now, for the first attempt.

        Raises:
            BusyError: The caller has not stopped after 8 attempts.
            R4Error: The item can't be fetched or proven.
        """
        async for number in _rounds(vault_id):
            yield first if first is not None and number == 0 else await self._reader.item(vault_id, item_id)


async def _rounds(vault_id: VaultId) -> AsyncIterator[int]:
    for number in range(CONFLICT_TRIES):
        if number:
            # Writers that collided once should not collide again.
            await anyio.sleep(random.uniform(0, _JITTER_SECONDS * 2**number))  # noqa: S311 - not a secret
        yield number
    raise BusyError(f"vault {vault_id} changed, or claimed to have changed, under each of {CONFLICT_TRIES} tries")


def next_summary(summary: ProvenSummary, items: tuple[SignedItem, ...]) -> SummaryCheckpoint:
    """Return the summary that replaces a proven one with other items."""
    return replace(summary.checkpoint, version=summary.checkpoint.version + 1, items=items)
