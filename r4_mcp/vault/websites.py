"""The websites that a person gave an item: its owner's own word on where its secrets may go.

What this file does not do: prove, or compare with a URL. Only proofs put anything into the trust store.
"""

from __future__ import annotations

from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.vault.trust_store import TrustStore


async def human_websites(store: TrustStore, vault_id: VaultId, item_id: ItemId) -> tuple[str, ...]:
    """Return the websites of the last detail of an item that a person signed.

    A later detail that an agent signed neither adds to them nor takes from them; an item that only agents signed has none.

    Args:
        store: What is remembered.
        vault_id: The item's vault.
        item_id: The item, which was proven a moment ago.

    Raises:
        ConfigurationError: The trust store can't be read.
    """
    pin = (await store.load(vault_id)).details.get(item_id)
    return () if pin is None or pin.human_websites is None else pin.human_websites
