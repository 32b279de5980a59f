"""Signed checkpoints, proven: state + served thing + keys in, new state and proof out, or raise (contract §3, §6).

What this file does not do: fetch, store, decrypt. A proof type (``ProvenSummary``, ``ProvenItem``) exists only
after every rule held, and each step takes the last step's proof as an argument, so no step can be skipped.

Rules, cited by errors as "checkpoint rule N":
1. The checkpoint is for the vault and item that were asked for.
2. Its signer is in the proven directory, not revoked; a retired one verifies no summary newer than the one noted at its
   retirement, and no detail newer than one that was seen since then.
3. The signature verifies under that signer's key and the checkpoint's own context.
4. Versions never go down, the signed key version neither; the same version has the same digest.
5. Served ids equal signed ids, nothing hidden, nothing added, and served names, types, websites, groups equal signed ones.
6. Summary and detail of one item agree, and a detail does not change under a summary that stands still: every write makes a new
   summary.
7. There is a checkpoint. What never had one may be listed as unverified where the operator says so; nothing here proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from r4_mcp.core.directory import Directory, Signer
from r4_mcp.core.envelope import Place
from r4_mcp.core.served import ServedField, ServedItem, ServedItems, ServedSingleField
from r4_mcp.core.signing import Context, verify
from r4_mcp.core.trust import PinnedDetail, PinnedSigner, PinnedVersion, SignerStatus, VaultTrust
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    ItemId,
    KeyId,
    Signed,
    SignedField,
    SignedItem,
    SignerType,
    SummaryCheckpoint,
    VaultId,
)
from r4_mcp.errors import CheckpointMissingError, DisagreementError, EquivocationError, RollbackError, SignerError


@dataclass(frozen=True, slots=True)
class ProvenSummary:
    """A vault's contents, proven by rules 1 to 5."""

    checkpoint: SummaryCheckpoint
    signer: Signer
    lines: Mapping[ItemId, SignedItem]
    """The signed lines of its items, by id."""
    field_counts: Mapping[ItemId, int]
    """Unsigned counts, for display only."""
    floor: int
    """The summary version that was verified before this fetch began (0: none): what is served beside it is at least that new."""


@dataclass(frozen=True, slots=True)
class ProvenItem:
    """An item's make-up, proven by rules 1 to 6."""

    checkpoint: DetailCheckpoint
    signer: Signer

    def place(self, field: SignedField) -> Place | None:
        """Return where the field's current ciphertext belongs; None if it has no instance."""
        if not field.instance_ids:
            return None
        return Place(self.checkpoint.vault_id, self.checkpoint.item_id, field.id, field.instance_ids[-1])


@dataclass(frozen=True, slots=True)
class ProvenField:
    """One field of a proven item, with the envelope served for it."""

    item: ProvenItem
    line: SignedField
    envelope: str | None


def advance_summary(state: VaultTrust, served: ServedItems, directory: Directory) -> tuple[VaultTrust, ProvenSummary]:
    """Prove a vault's item listing.

    Args:
        state: What is remembered of this vault.
        served: The parsed listing.
        directory: The vault's proven signers.

    Raises:
        CheckpointMissingError: Rule 7.
        DisagreementError: Rules 1 or 5.
        SignerError: Rule 2.
        SignatureError: Rule 3.
        RollbackError: Rule 4, an older version, or a lower key version.
        EquivocationError: Rule 4, the same version with other content.
    """
    vault_id = directory.vault_id
    signed = served.summary
    if signed is None:
        raise CheckpointMissingError(f"the item listing of vault {vault_id} came without its signed summary (checkpoint rule 7)")
    checkpoint = signed.checkpoint
    if checkpoint.vault_id != vault_id or served.vault_id != vault_id:
        raise DisagreementError(f"the item listing of vault {vault_id} is for another vault (checkpoint rule 1)")
    signer, name = _prove_signature(directory, signed, Context.SUMMARY)
    _not_after_retirement(state, signer, checkpoint.version, vault_id)
    pinned = _newest(state.summary, checkpoint.version, name, f"summary of vault {vault_id}")
    if state.dek is not None and checkpoint.dek_version < state.dek.version:
        raise RollbackError(
            f"the signed key version of vault {vault_id} went back from {state.dek.version} to {checkpoint.dek_version} "
            "(checkpoint rule 4)"
        )
    _same_lines(served.items, checkpoint.items, f"vault {vault_id}")
    claimed = (served.vault_name, served.classification, served.dek_version)
    if claimed != (checkpoint.name, checkpoint.classification, checkpoint.dek_version):
        raise DisagreementError(
            f"name, classification or key version served for vault {vault_id} differ from the signed ones (checkpoint rule 5)"
        )
    signers = _note_retirements(state.signers, checkpoint)
    counts = MappingProxyType(dict(served.field_counts))
    floor = 0 if state.summary is None else state.summary.version
    moved = replace(state, summary=pinned, signers=signers, name=checkpoint.name)
    lines = MappingProxyType({item.id: item for item in checkpoint.items})
    return moved, ProvenSummary(checkpoint, signer, lines, counts, floor)


def advance_item(
    state: VaultTrust, served: ServedItem, item_id: ItemId, summary: ProvenSummary, directory: Directory
) -> tuple[VaultTrust, ProvenItem, tuple[ProvenField, ...]]:
    """Prove one item with all its fields.

    Raises:
        CheckpointMissingError: Rule 7.
        DisagreementError: Rules 1, 5 or 6.
        SignerError: Rule 2.
        SignatureError: Rule 3.
        RollbackError: Rule 4, an older version.
        EquivocationError: Rule 4, the same version with other content.
    """
    pin, proven = _prove_detail(state, served.detail, item_id, summary, directory)
    fields = _prove_item(proven, served)
    return _pin_details(state, {item_id: pin}), proven, fields


def advance_items(
    state: VaultTrust, served: Iterable[ServedItem], summary: ProvenSummary, directory: Directory
) -> tuple[VaultTrust, tuple[ProvenItem, ...]]:
    """Prove many items of one vault, each exactly as ``advance_item`` does.

    Raises:
        VerificationError: As ``advance_item``, for the first that fails; nothing is remembered of the others then.
    """
    pins: dict[ItemId, PinnedDetail] = {}
    items: list[ProvenItem] = []
    for one in served:
        pins[one.line.id], proven = _prove_detail(state, one.detail, one.line.id, summary, directory)
        _prove_item(proven, one)
        items.append(proven)
    return _pin_details(state, pins), tuple(items)


def advance_field(
    state: VaultTrust, served: ServedSingleField, field_id: FieldId, summary: ProvenSummary, directory: Directory
) -> tuple[VaultTrust, ProvenField]:
    """Prove one field that was served alone.

    Raises:
        CheckpointMissingError: Rule 7.
        DisagreementError: Rules 1, 5 or 6.
        SignerError: Rule 2.
        SignatureError: Rule 3.
        RollbackError: Rule 4, an older version.
        EquivocationError: Rule 4, the same version with other content.
    """
    pin, proven = _prove_detail(state, served.detail, served.item_id, summary, directory)
    checkpoint = proven.checkpoint
    if served.field.line.id != field_id or served.vault_id != checkpoint.vault_id or served.item_name != checkpoint.name:
        raise DisagreementError(f"field {field_id} was served as part of something else (checkpoint rule 1)")
    line = next((field for field in checkpoint.fields if field.id == field_id), None)
    if line is None:
        raise DisagreementError(f"field {field_id} is not among the signed fields of its item (checkpoint rule 5)")
    latest = line.instance_ids[-1] if line.instance_ids else None
    if served.instance_id != latest:
        raise DisagreementError(f"field {field_id} was not served in its current instance (checkpoint rule 5)")
    field = _prove_field(proven, line, served.field)
    return _pin_details(state, {checkpoint.item_id: pin}), field


def _prove_item(proven: ProvenItem, served: ServedItem) -> tuple[ProvenField, ...]:
    checkpoint = proven.checkpoint
    if served.line != checkpoint.line or served.vault_id != checkpoint.vault_id:
        raise DisagreementError(f"item {checkpoint.item_id} was served other than it was signed (checkpoint rule 5)")
    by_id: dict[FieldId, ServedField] = {field.line.id: field for field in served.fields}
    if len(by_id) != len(served.fields) or by_id.keys() != {field.id for field in checkpoint.fields}:
        raise DisagreementError(f"the fields served for item {checkpoint.item_id} are not the signed ones (checkpoint rule 5)")
    return tuple(_prove_field(proven, field, by_id[field.id]) for field in checkpoint.fields)


def _prove_detail(
    state: VaultTrust,
    signed: Signed[DetailCheckpoint] | None,
    item_id: ItemId,
    summary: ProvenSummary,
    directory: Directory,
) -> tuple[PinnedDetail, ProvenItem]:
    if signed is None:
        raise CheckpointMissingError(f"item {item_id} came without its signed detail (checkpoint rule 7)")
    checkpoint = signed.checkpoint
    vault_id: VaultId = directory.vault_id
    if checkpoint.item_id != item_id or checkpoint.vault_id != vault_id or summary.checkpoint.vault_id != vault_id:
        raise DisagreementError(f"the detail checkpoint of item {item_id} is for something else (checkpoint rule 1)")
    signer, name = _prove_signature(directory, signed, Context.DETAIL)
    pin = state.details.get(item_id)
    remembered = None if pin is None else PinnedVersion(pin.version, pin.digest)
    pinned = _newest(remembered, checkpoint.version, name, f"detail of item {item_id}")
    if pin is not None and checkpoint.version > pin.version:
        _may_be_newer(state, pin, signer, summary, item_id)
    if summary.lines.get(item_id) != checkpoint.line:
        raise DisagreementError(f"summary and detail of item {item_id} contradict each other (checkpoint rule 6)")
    websites = checkpoint.websites if signer.kind is SignerType.USER else None if pin is None else pin.human_websites
    floor = summary.floor if pin is None or checkpoint.version > pin.version else max(pin.summary_floor, summary.floor)
    return PinnedDetail(pinned.version, pinned.digest, websites, floor), ProvenItem(checkpoint, signer)


def _pin_details(state: VaultTrust, pins: Mapping[ItemId, PinnedDetail]) -> VaultTrust:
    if all(state.details.get(item_id) == pin for item_id, pin in pins.items()):
        return state  # The same object: large vaults are read often and change rarely.
    return replace(state, details=MappingProxyType({**state.details, **pins}))


def _prove_signature(
    directory: Directory, signed: Signed[SummaryCheckpoint] | Signed[DetailCheckpoint], context: Context
) -> tuple[Signer, str]:
    signer = directory.find(signed.signer)
    return signer, verify(signer.key, context, signed.checkpoint.payload(), signed.signature)


def _not_after_retirement(state: VaultTrust, signer: Signer, version: int, vault_id: VaultId) -> None:
    noted = state.signers[signer.id].retired_summary
    if signer.status is SignerStatus.RETIRED and noted is not None and version > noted:
        raise SignerError(
            f"signer {signer.id} of vault {vault_id} retired at summary version {noted} and can't sign version {version} "
            "(checkpoint rule 2)"
        )


def _may_be_newer(state: VaultTrust, pin: PinnedDetail, signer: Signer, summary: ProvenSummary, item_id: ItemId) -> None:
    retired = state.signers[signer.id].retired_summary
    if signer.status is SignerStatus.RETIRED and retired is not None and pin.summary_floor >= retired:
        raise SignerError(
            f"signer {signer.id} retired before item {item_id} changed and can't have signed it (checkpoint rule 2)"
        )
    if summary.checkpoint.version <= pin.summary_floor:
        raise DisagreementError(f"item {item_id} changed without a new summary of its vault (checkpoint rule 6)")


def _note_retirements(signers: Mapping[KeyId, PinnedSigner], checkpoint: SummaryCheckpoint) -> Mapping[KeyId, PinnedSigner]:
    # The versions served when a signer is first seen retired are the last ones that it may have made.
    noted = {
        key_id: replace(pin, retired_summary=checkpoint.version, retired_dek=checkpoint.dek_version)
        for key_id, pin in signers.items()
        if pin.status is SignerStatus.RETIRED and pin.retired_summary is None
    }
    return MappingProxyType({**signers, **noted}) if noted else signers


def _newest(pinned: PinnedVersion | None, version: int, name: str, what: str) -> PinnedVersion:
    if pinned is not None:
        if version < pinned.version:
            raise RollbackError(f"the {what} went back from version {pinned.version} to {version} (checkpoint rule 4)")
        if version == pinned.version and name != pinned.digest:
            raise EquivocationError(f"the {what} has two contents of version {version} (checkpoint rule 4)")
    return PinnedVersion(version, name)


def _same_lines(served: tuple[SignedItem, ...], signed: tuple[SignedItem, ...], where: str) -> None:
    by_id = {item.id: item for item in served}
    if len(by_id) != len(served) or by_id.keys() != {item.id for item in signed}:
        raise DisagreementError(f"the items served for {where} are not the signed ones (checkpoint rule 5)")
    for item in signed:
        if by_id[item.id] != item:
            raise DisagreementError(f"item {item.id} of {where} was served other than it was signed (checkpoint rule 5)")


def _prove_field(item: ProvenItem, line: SignedField, served: ServedField) -> ProvenField:
    if served.line != line:
        raise DisagreementError(f"field {line.id} was served other than it was signed (checkpoint rule 5)")
    return ProvenField(item, line, served.envelope)
