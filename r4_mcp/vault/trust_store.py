"""The trust store: what is remembered of each vault, moved forward by compare-and-swap.

What this file does not do: prove. It keeps the frozen ``VaultTrust`` that the pure room returned.

Today the memory lasts as long as the process; the interface is the one a file needs: a state is loaded before the bytes
are fetched, and swapped only if nobody moved it meanwhile.

Rules:
1. A state is replaced only by one that was proven from it: ``swap`` refuses when the current state is another.
2. A refusal anywhere on the way leaves the store as it was, since nothing calls ``swap``.
"""

from __future__ import annotations

from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import VaultId


class TrustStore:
    """Pins per vault, for one service and agent."""

    def __init__(self) -> None:
        self._vaults: dict[VaultId, VaultTrust] = {}

    def load(self, vault_id: VaultId) -> VaultTrust:
        """Return what is remembered of a vault; an empty state before first contact."""
        return self._vaults.get(vault_id, VaultTrust())

    def swap(self, vault_id: VaultId, expected: VaultTrust, proven: VaultTrust) -> bool:
        """Replace ``expected`` by ``proven``; False if the current state is another (rule 1)."""
        if self._vaults.get(vault_id, VaultTrust()) != expected:
            return False
        self._vaults[vault_id] = proven
        return True
