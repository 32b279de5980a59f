"""What the vault room has proven, and the checkpoints that it met on the way.

What this file does not do: prove. These objects exist only after the proofs of ``core`` were made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from r4_mcp.core.checkpoint import ProvenField, ProvenItem, ProvenSummary
from r4_mcp.core.directory import Directory
from r4_mcp.core.wire import VaultId
from r4_mcp.vault.evidence import SignedCheckpoint


class Seen:
    """The signed checkpoints that one fetch met, in case one of them contradicts an earlier one."""

    def __init__(self) -> None:
        self.checkpoints: tuple[SignedCheckpoint, ...] = ()

    def note(self, signed: SignedCheckpoint | None) -> None:
        """Add a checkpoint, if one was served."""
        if signed is not None:
            self.checkpoints += (signed,)


@dataclass(frozen=True, slots=True)
class ProvenVault:
    """A vault whose directory and summary are proven."""

    id: VaultId
    directory: Directory
    summary: ProvenSummary

    def before_now(self) -> ProvenVault:
        """Return it for a fetch that begins after this proof: what is served then is at least as new as its summary."""
        return replace(self, summary=replace(self.summary, floor=self.summary.checkpoint.version))


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """An item whose make-up is proven; its values are still sealed."""

    vault: ProvenVault
    item: ProvenItem
    fields: tuple[ProvenField, ...]


@dataclass(frozen=True, slots=True)
class LocatedField:
    """One proven field, still sealed, with the vault that it is in.

    Attributes:
        recalled: Whether the vault's proof is an earlier one, so that its directory may lack who was added since.
    """

    vault: ProvenVault
    field: ProvenField
    recalled: bool = False


def public_texts(vault: ProvenVault) -> Iterator[str]:
    """Yield the texts of a vault's listing: signed metadata, which is not encrypted."""
    yield vault.summary.checkpoint.name
    for item in vault.summary.checkpoint.items:
        yield item.name
        yield from item.websites
