"""What is remembered of a vault: frozen pins, one object per vault (contract §6).

What this file does not do: store or decide. ``directory``, ``checkpoint`` and ``wrapping`` take a ``VaultTrust`` and return the
next one; ``vault/trust_store`` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from r4_mcp.core.wire import ItemId, KeyId, SignerType


class SignerStatus(StrEnum):
    """The life of a signer. It only ever moves down this list (rule 6 of contract §6)."""

    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"
    REVOKED = "REVOKED"


class SignerTrust(StrEnum):
    """What first contact with a vault may pin (``R4_SIGNER_TRUST``)."""

    TOFU = "tofu"
    PINNED = "pinned"


class CheckpointMode(StrEnum):
    """What is done with answers that carry no signed checkpoint (``R4_CHECKPOINTS``)."""

    REQUIRE = "require"
    WHEN_PRESENT = "when-present"


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What the operator decided about trust: ``R4_SIGNER_TRUST`` and ``R4_CHECKPOINTS``."""

    mode: SignerTrust = SignerTrust.TOFU
    checkpoints: CheckpointMode = CheckpointMode.REQUIRE


STATUS_ORDER: Final = {SignerStatus.ACTIVE: 0, SignerStatus.RETIRED: 1, SignerStatus.REVOKED: 2}


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """Which new signers are accepted without a continuity signature.

    Attributes:
        mode: Whether first contact pins what it sees.
        fingerprints: Fingerprints that the operator added.
        own: Our own key's fingerprint: an anchor for an agent's entry, never for a person's.
    """

    mode: SignerTrust
    fingerprints: frozenset[str]
    own: str | None = None


@dataclass(frozen=True, slots=True)
class PinnedSigner:
    """One signer as first seen, with what was noted when it retired.

    Attributes:
        kind: Agent or person.
        fingerprint: SHA-256 of the SPKI DER, hex; never changes for an id.
        status: The lowest status ever seen.
        previous_id: The key that this one continues.
        retired_summary: Highest summary version it may still verify; None while active.
        retired_dek: Highest DEK version it may still have wrapped; None while active.
    """

    kind: SignerType
    fingerprint: str
    status: SignerStatus
    previous_id: KeyId | None
    retired_summary: int | None = None
    retired_dek: int | None = None


@dataclass(frozen=True, slots=True)
class LogHead:
    """The head of a vault's signer log: number of leaves, root hash."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """The highest version verified, and the digest that goes with it (hex SHA-256)."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class PinnedDek:
    r"""The highest DEK version verified, and HMAC-SHA256(DEK, ``"r4.dek-pin.v1\n" + vaultId``) in hex."""

    version: int
    pin: str


@dataclass(frozen=True, slots=True)
class PinnedDetail:
    """The highest detail version of one item, and what it was seen under.

    Attributes:
        version: The highest version verified.
        digest: The digest that goes with it (hex SHA-256).
        human_websites: The websites of the last detail that a person signed.
        summary_floor: A summary version that the service had reached when it served this detail: every write makes a new summary,
            so while the vault stands there, no newer detail exists.
    """

    version: int
    digest: str
    human_websites: tuple[str, ...] | None
    summary_floor: int


@dataclass(frozen=True, slots=True)
class VaultTrust:
    """Everything remembered of one vault; ``VaultTrust()`` before first contact."""

    signers: Mapping[KeyId, PinnedSigner] = field(default_factory=lambda: MappingProxyType({}))
    head: LogHead | None = None
    summary: PinnedVersion | None = None
    dek: PinnedDek | None = None
    details: Mapping[ItemId, PinnedDetail] = field(default_factory=lambda: MappingProxyType({}))
    name: str | None = None
    """The signed name last verified; None before that, and after this agent archived the vault."""

    @property
    def is_first_contact(self) -> bool:
        """Whether nothing of this vault was ever verified."""
        return self.head is None
