"""The signer directory of a vault: who may sign here, proven against a log that only grows (contract §6).

What this file does not do: fetch, store, or ask a person. It takes what was remembered and what was served, and returns the
directory with the next state, or raises.

Rules, cited by errors as "directory rule N":
1. The directory is for the vault that was asked for; ids, leaf indexes and keys are distinct: a key has one entry, so it can't be
   a person's and an agent's, or revoked and active.
2. A signer's fingerprint is that of its public key, an RSA key that ``keys`` allows.
3. Each signer's leaf is in the log: its inclusion proof leads to the head's root.
4. The log continues the remembered one: a valid consistency proof from that head, never smaller.
5. An id never changes its fingerprint or kind, and a remembered signer never disappears.
6. A new signer after first contact continues a remembered one (``rotationSignature`` of ``previousId``, hop by hop, one successor
   each) or has a fingerprint of the anchors. First contact pins what it sees (``tofu``) or anchors alone (``pinned``). Any other
   signer is left out: being listed gives it nothing, and what it signed is refused by name until the operator trusts it.
7. RETIRED and REVOKED are sticky; an accepted continuation retires its predecessor at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from r4_mcp.core import merkle
from r4_mcp.core.encoding import Json, b64_decode
from r4_mcp.core.keys import PublicKey, load_public_key
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.signing import Context, verify
from r4_mcp.core.trust import (
    STATUS_ORDER,
    LogHead,
    PinnedSigner,
    SignerStatus,
    SignerTrust,
    TrustAnchors,
    VaultTrust,
)
from r4_mcp.core.wire import KeyId, KeyRotation, SignerRef, SignerType, VaultId
from r4_mcp.errors import DisagreementError, MalformedError, SignerError, TransparencyError


@dataclass(frozen=True, slots=True)
class Signer:
    """One proven entry of a directory; ``status`` is the sticky one."""

    id: KeyId
    kind: SignerType
    key: PublicKey
    status: SignerStatus
    previous_id: KeyId | None


@dataclass(frozen=True, slots=True)
class Directory:
    """A vault's signers, each proven by the rules above. Exists only after the proof.

    Attributes:
        vault_id: The vault.
        signers: Who may sign here.
        strangers: Listed, but not trusted (rule 6): id to fingerprint.
    """

    vault_id: VaultId
    signers: Mapping[KeyId, Signer]
    strangers: Mapping[KeyId, str]

    def find(self, ref: SignerRef) -> Signer:
        """Return the signer that a signature names.

        Raises:
            SignerError: Not in the directory, not trusted, of another kind, or revoked.
        """
        if ref.id in self.strangers:
            fingerprint = self.strangers[ref.id]
            raise SignerError(
                f"signer {ref.id} (fingerprint {fingerprint}) is new in vault {self.vault_id} and continues no known key "
                "(directory rule 6)",
                next_step=f"Compare the fingerprint with its owner; if it is theirs, run `r4-mcp trust add {fingerprint}`.",
            )
        signer = self.signers.get(ref.id)
        if signer is None or signer.kind is not ref.kind:
            raise SignerError(f"signer {ref.id} is not in the signer directory of vault {self.vault_id}")
        if signer.status is SignerStatus.REVOKED:
            raise SignerError(f"signer {ref.id} of vault {self.vault_id} was revoked (directory rule 7)")
        return signer

    def active_of(self, fingerprint: str) -> Signer | None:
        """Return the active signer with this key, if it is one."""
        for signer in self.signers.values():
            if signer.key.fingerprint == fingerprint and signer.status is SignerStatus.ACTIVE:
                return signer
        return None


@dataclass(frozen=True, slots=True)
class _Claim:
    """One served entry: parsed, not proven."""

    id: KeyId
    kind: SignerType
    key: PublicKey
    status: SignerStatus
    previous_id: KeyId | None
    rotation_signature: str | None
    leaf_index: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ServedDirectory:
    """A served directory: parsed, not proven."""

    vault_id: VaultId
    claims: tuple[_Claim, ...]
    head: LogHead
    consistency_from: int | None
    consistency: tuple[bytes, ...]


WHAT: Final = "signer directory"


def read_directory(value: Json) -> ServedDirectory:
    """Read a served directory.

    Raises:
        MalformedError: Not the form of contract §6, or rule 2 fails.
    """
    record = open_record(value, WHAT)
    head = record.part("head", open_record)
    served = ServedDirectory(
        vault_id=VaultId(record.identifier("vaultId")),
        claims=record.parts("signers", _read_claim),
        head=LogHead(head.integer("treeSize"), bytes.fromhex(head.hex_digest("rootHash"))),
        consistency_from=None,
        consistency=(),
    )
    if record.has("consistencyProof"):
        proof = record.part("consistencyProof", open_record)
        return replace(served, consistency_from=proof.integer("fromTreeSize"), consistency=_hashes(proof, "hashes"))
    return served


def advance(state: VaultTrust, served: ServedDirectory, vault_id: VaultId, anchors: TrustAnchors) -> tuple[VaultTrust, Directory]:
    """Prove a served directory against what is remembered.

    Args:
        state: What is remembered of this vault.
        served: The parsed directory.
        vault_id: The vault that was asked for.
        anchors: Which new signers need no continuity signature.

    Returns:
        The next state and the proven directory.

    Raises:
        TransparencyError: Rules 3 or 4.
        DisagreementError: Rules 1 or 5.
        SignerError: Rule 6, a continuity that is forked or not shown.
        SignatureError: A continuity signature does not verify.
    """
    claims = {claim.id: claim for claim in served.claims}
    if served.vault_id != vault_id:
        raise DisagreementError(f"the signer directory of vault {vault_id} is for another vault (directory rule 1)")
    indexes = {claim.leaf_index for claim in served.claims}
    fingerprints = {claim.key.fingerprint for claim in served.claims}
    if not len(claims) == len(indexes) == len(fingerprints) == len(served.claims):
        raise DisagreementError(f"the signer directory of vault {vault_id} repeats an entry (directory rule 1)")
    _prove_log(state, served, vault_id)
    pins = dict(state.signers)
    _keep_pins(pins, claims, vault_id)
    _check_continuity(claims, vault_id)
    _admit(pins, claims, anchors, first_contact=state.is_first_contact)
    _settle_status(pins, claims)
    signers = {
        claim.id: Signer(claim.id, claim.kind, claim.key, pins[claim.id].status, claim.previous_id)
        for claim in served.claims
        if claim.id in pins
    }
    strangers = {claim.id: claim.key.fingerprint for claim in served.claims if claim.id not in pins}
    moved = replace(state, signers=MappingProxyType(pins), head=served.head)
    return moved, Directory(vault_id, MappingProxyType(signers), MappingProxyType(strangers))


def leaf(vault_id: VaultId, key_id: KeyId, kind: SignerType, fingerprint: str, previous: KeyId | None) -> dict[str, Json]:
    """Return the log leaf of a signer (contract §6)."""
    return {
        "fingerprint": fingerprint,
        "id": key_id,
        "previousId": previous,
        "signerType": kind.value,
        "vaultId": vault_id,
    }


def _prove_log(state: VaultTrust, served: ServedDirectory, vault_id: VaultId) -> None:
    pinned, head = state.head, served.head
    if pinned is not None:
        grew = head.size > pinned.size
        if grew and served.consistency_from != pinned.size:
            raise TransparencyError(
                f"the signer log of vault {vault_id} has no consistency proof from {pinned.size} entries (directory rule 4)"
            )
        try:
            proof = served.consistency if grew else ()
            merkle.check_consistency(pinned.size, pinned.root, head.size, head.root, proof)
        except TransparencyError as error:
            raise TransparencyError(f"vault {vault_id}: {error.message} (directory rule 4)") from error
    for claim in served.claims:
        hashed = merkle.leaf_hash(leaf(vault_id, claim.id, claim.kind, claim.key.fingerprint, claim.previous_id))
        try:
            merkle.check_inclusion(hashed, claim.leaf_index, head.size, claim.proof, head.root)
        except TransparencyError as error:
            raise TransparencyError(f"vault {vault_id}: {error.message} (directory rule 3)") from error


def _keep_pins(pins: dict[KeyId, PinnedSigner], claims: Mapping[KeyId, _Claim], vault_id: VaultId) -> None:
    for key_id, pin in pins.items():
        claim = claims.get(key_id)
        if claim is None:
            raise DisagreementError(f"signer {key_id} vanished from the directory of vault {vault_id} (directory rule 5)")
        same = claim.key.fingerprint == pin.fingerprint and claim.kind is pin.kind
        if not same or claim.previous_id != pin.previous_id:
            raise DisagreementError(f"signer {key_id} of vault {vault_id} changed its key (directory rule 5)")


def _admit(
    pins: dict[KeyId, PinnedSigner],
    claims: Mapping[KeyId, _Claim],
    anchors: TrustAnchors,
    *,
    first_contact: bool,
) -> None:
    waiting = [claim for claim in claims.values() if claim.id not in pins]
    by_anchor = [
        claim
        for claim in waiting
        if claim.key.fingerprint in anchors.fingerprints
        or (claim.key.fingerprint == anchors.own and claim.kind is SignerType.AGENT)
        or (first_contact and anchors.mode is SignerTrust.TOFU)
    ]
    for claim in by_anchor:
        pins[claim.id] = _pin(claim)
    # Hop by hop: each pass admits what continues an admitted key, until nothing moves.
    waiting = [claim for claim in waiting if claim.id not in pins]
    while admitted := [claim for claim in waiting if _continues(claim, pins, claims)]:
        for claim in admitted:
            pins[claim.id] = _pin(claim)
        waiting = [claim for claim in waiting if claim.id not in pins]


def _continues(claim: _Claim, pins: Mapping[KeyId, PinnedSigner], claims: Mapping[KeyId, _Claim]) -> bool:
    # A revoked key verifies nothing, so it names no successor either.
    if claim.previous_id is None or claim.previous_id not in pins:
        return False
    revoked = SignerStatus.REVOKED
    return revoked not in {pins[claim.previous_id].status, claims[claim.previous_id].status}


def _check_continuity(claims: Mapping[KeyId, _Claim], vault_id: VaultId) -> None:
    successors: set[KeyId] = set()
    for claim in claims.values():
        if claim.previous_id is None:
            continue
        previous = claims.get(claim.previous_id)
        if previous is None or claim.rotation_signature is None or previous.kind is not claim.kind:
            raise SignerError(f"signer {claim.id} of vault {vault_id} does not show what it continues (directory rule 6)")
        if previous.id in successors:
            raise SignerError(f"signer {previous.id} of vault {vault_id} has two successors (directory rule 6)")
        successors.add(previous.id)
        rotation = KeyRotation(claim.id, claim.key.fingerprint, previous.id)
        verify(previous.key, Context.KEY_ROTATION, rotation.payload(), claim.rotation_signature)


def _settle_status(pins: dict[KeyId, PinnedSigner], claims: Mapping[KeyId, _Claim]) -> None:
    continued = {claim.previous_id for claim in claims.values() if claim.id in pins}
    for key_id, pin in pins.items():
        status = max(pin.status, claims[key_id].status, key=STATUS_ORDER.__getitem__)
        if key_id in continued and status is SignerStatus.ACTIVE:
            status = SignerStatus.RETIRED
        # The versions that a retired signer may still have made are noted by the summary served with this directory.
        pins[key_id] = replace(pin, status=status)


def _pin(claim: _Claim) -> PinnedSigner:
    return PinnedSigner(claim.kind, claim.key.fingerprint, claim.status, claim.previous_id)


def _read_claim(value: Json, what: str) -> _Claim:
    record = open_record(value, what)
    key = load_public_key(record.text("publicKey"), what=f"{what}.publicKey")
    if record.hex_digest("fingerprint") != key.fingerprint:
        raise MalformedError(f"{what}.fingerprint is not that of its key (directory rule 2)")
    previous = record.optional_identifier("previousId")
    return _Claim(
        id=KeyId(record.identifier("id")),
        kind=record.choice("signerType", SignerType),
        key=key,
        status=record.choice("status", SignerStatus),
        previous_id=None if previous is None else KeyId(previous),
        rotation_signature=record.optional_text("rotationSignature"),
        leaf_index=record.integer("leafIndex"),
        proof=_hashes(record, "inclusionProof"),
    )


def _hashes(record: Record, key: str) -> tuple[bytes, ...]:
    texts = record.texts(key)
    if len(texts) > merkle.MAX_PROOF:
        raise MalformedError(f"{record.what}.{key} has more than {merkle.MAX_PROOF} hashes")
    hashes = tuple(b64_decode(text, what=f"{record.what}.{key}", max_size=merkle.HASH_SIZE) for text in texts)
    if any(len(entry) != merkle.HASH_SIZE for entry in hashes):
        raise MalformedError(f"{record.what}.{key} has a hash that is not {merkle.HASH_SIZE} bytes")
    return hashes
