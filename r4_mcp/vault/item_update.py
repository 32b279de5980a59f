"""Changing an item in place so that a lost reply or a crash leaves the change made once, or not at all.

What this file does not do: choose values, or decide whether an item may be changed, and by whom: websites and types are a
person's to change.

Rules (contract §2 *Update item*, §3 *Writing*):
1. A changed value is a new field instance, appended to the field's; untouched fields keep theirs and are never sent.
2. Ids are chosen and values sealed once; the whole request is in the journal before it is sent.
3. The change is made to the detail that was read, and to no other: where somebody else changed the item meanwhile, nothing is
   stored and the caller hears of it. Where only the vault moved, the same change is signed anew above it.
4. Without an answer the outcome is asked for: the signed detail is ours, or the request is sent again.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.envelope import IV_SIZE, Place, encode_value, open_envelope, seal
from r4_mcp.core.record import exact, open_record
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemId,
    ItemType,
    SignedField,
    SignedItem,
    VaultId,
    read_detail,
    read_summary,
)
from r4_mcp.core.wrapping import Dek
from r4_mcp.errors import (
    DisagreementError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    ServiceError,
    ValuesLostError,
    VersionConflictError,
)
from r4_mcp.machine.client import MachineClient
from r4_mcp.machine.contract import MAX_FIELDS
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.item_creation import is_final, new_id
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.proven import OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.signer import VaultSigner, next_summary

_log: Final = logging.getLogger(__name__)
_ANSWERLESS_TRIES: Final = 2
_KEYS: Final = frozenset({"patch", "dekVersion"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field to change, add or remove.

    Attributes:
        name: The field's name.
        value: Its new value; None where it is removed, or only its type changes.
        add: The type of a field to add; None for one that is there.
        remove: Whether it goes.
        generated: Whether nobody typed the value.
        retype: The new type of a field that is there; its value stays.
    """

    name: str
    value: Secret[str] | None = None
    add: FieldType | None = None
    remove: bool = False
    generated: bool = False
    retype: FieldType | None = None


@dataclass(frozen=True, slots=True)
class ItemChange:
    """What changes of an item; what is None stays."""

    name: str | None
    fields: tuple[FieldChange, ...]
    type: ItemType | None = None
    websites: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A change with its ids chosen and its values sealed under one DEK version."""

    detail: DetailCheckpoint
    updates: tuple[dict[str, Json], ...]
    dek_version: int

    @property
    def line(self) -> SignedItem:
        checkpoint = self.detail
        return SignedItem(checkpoint.item_id, checkpoint.name, checkpoint.type, checkpoint.websites, checkpoint.group_id)


class ItemUpdate:
    """Changes items for one agent.

    Args:
        machine: The service.
        reader: Proven reads.
        signer: Signs as this agent.
        journal: Keeps what is about to be sent.
        known: The secrets of this process.
    """

    def __init__(
        self, *, machine: MachineClient, reader: VaultReader, signer: VaultSigner, journal: Journal, known: KnownSecrets
    ) -> None:
        self._machine = machine
        self._reader = reader
        self._signer = signer
        self._journal = journal
        self._known = known

    async def update(self, vault_id: VaultId, item_id: ItemId, change: ItemChange) -> OpenedItem:
        """Change an item, or finish the same change whose reply was lost.

        Raises:
            InvalidArgumentError: A field to change is not there, one to add is, or a value is over the limit; nothing was sent.
            NotFoundError: No such item for this agent.
            VersionConflictError: Somebody else changed the item meanwhile; nothing was stored.
            NetworkError: No answer; the journal has it, and the next attempt finishes it.
            R4Error: Refused, not proven, or busy.
        """
        for entry in self._journal.prepared(EntryKind.UPDATE_ITEM):
            if entry.id == item_id:
                opened = await self.roll_forward(entry)
                if opened is not None and await self._has(opened, change):
                    return opened
        opened = await self._reader.item(vault_id, item_id)
        self._signer.current(opened.vault)
        dek = await self._reader.dek(opened.vault)
        return await self._store(_prepare(opened.item.checkpoint, change, dek), None, change, opened)

    async def roll_forward(self, entry: Entry) -> OpenedItem | None:
        """Finish a prepared entry.

        Returns:
            The item; None where the change can't be made any more, which is logged with the item's id.

        Raises:
            R4Error: The outcome is still not known; the entry stays.
        """
        try:
            return await self._store(_read_prepared(entry), entry, None, None)
        except (NotFoundError, ValuesLostError, VersionConflictError) as error:
            _log.warning("the change of item %s was not stored: %s; make it again", entry.id, error.code)
            self._journal.settle(entry)
            return None

    # One loop, so that the order of its checks can be read beside the rules.
    async def _store(  # noqa: C901
        self, prepared: _Prepared, entry: Entry | None, change: ItemChange | None, first: OpenedItem | None
    ) -> OpenedItem:
        vault_id, item_id = prepared.detail.vault_id, prepared.detail.item_id
        conflicted_at = answerless = 0
        async for opened in self._signer.item_attempts(vault_id, item_id, first):
            version = opened.vault.summary.checkpoint.version
            if opened.item.checkpoint == prepared.detail:
                break  # An earlier request of ours arrived.
            self._require_base(opened, prepared, entry)
            if version <= conflicted_at:
                continue  # The service claims a conflict with what it does not show; signing over this version again would fork.
            if opened.vault.summary.checkpoint.dek_version != prepared.dek_version:
                prepared, entry = await self._prepare_again(prepared, change, opened), None
            if entry is None or not self._is_current(entry, opened.vault):
                entry = await self._write_entry(opened.vault, prepared)
            try:
                await self._machine.update_item(item_id, _patch(entry))
            except VersionConflictError:
                conflicted_at = version
            except NetworkError:
                answerless += 1
                if answerless == _ANSWERLESS_TRIES:
                    raise
            except ServiceError as error:
                await self._refused(prepared, entry, error)
            else:
                break
        opened = await self._reader.item(vault_id, item_id)
        if opened.item.checkpoint != prepared.detail:
            raise DisagreementError(f"the service acknowledged a change of item {item_id}, but does not serve it")
        if entry is not None:
            self._journal.settle(entry)
        return opened

    def _require_base(self, opened: OpenedItem, prepared: _Prepared, entry: Entry | None) -> None:
        # Rule 3. One version has one content, so the number says whether it is the detail that the change was made to.
        if opened.item.checkpoint.version == prepared.detail.version - 1:
            return
        if entry is not None:
            self._journal.settle(entry)  # Its version is taken: it can't be stored any more.
        raise VersionConflictError(f"item {prepared.detail.item_id} was changed by somebody else meanwhile", status=409)

    def _is_current(self, entry: Entry, vault: ProvenVault) -> bool:
        signed = read_summary(_patch(entry)["summaryCheckpoint"], "journal entry")
        return signed.checkpoint.version == vault.summary.checkpoint.version + 1 and signed.signer == self._signer.current(vault)

    async def _refused(self, prepared: _Prepared, entry: Entry, error: ServiceError) -> None:
        # An earlier request of ours may have arrived after all; then the next round finds it.
        opened = await self._reader.item(prepared.detail.vault_id, prepared.detail.item_id)
        if opened.item.checkpoint == prepared.detail:
            return
        if is_final(error):
            self._journal.settle(entry)
        raise error

    async def _prepare_again(self, prepared: _Prepared, change: ItemChange | None, opened: OpenedItem) -> _Prepared:
        if change is None:
            raise ValuesLostError(f"new values of item {prepared.detail.item_id} are sealed under an earlier key of its vault")
        return _prepare(opened.item.checkpoint, change, await self._reader.dek(opened.vault))

    async def _write_entry(self, vault: ProvenVault, prepared: _Prepared) -> Entry:
        signer = self._signer.current(vault)
        detail = prepared.detail
        items = tuple(prepared.line if item.id == detail.item_id else item for item in vault.summary.checkpoint.items)
        before = vault.summary.lines.get(detail.item_id)
        patch: dict[str, Json] = {
            "name": detail.name,
            "updates": list(prepared.updates),
            "summaryCheckpoint": await self._signer.summary(next_summary(vault.summary, items), signer),
            "detailCheckpoint": await self._signer.detail(detail, signer),
        }
        if before is None or before.type is not detail.type:
            patch["type"] = detail.type.value
        if before is None or before.websites != detail.websites:
            patch["websites"] = list(detail.websites)
        body: dict[str, Json] = {"patch": patch, "dekVersion": prepared.dek_version}
        entry = Entry(EntryKind.UPDATE_ITEM, detail.item_id, detail.vault_id, body)
        self._journal.prepare_creation(entry)
        return entry

    async def _has(self, opened: OpenedItem, change: ItemChange) -> bool:
        """Say whether an item is as a change would leave it."""
        checkpoint = opened.item.checkpoint
        if checkpoint != _renamed(checkpoint, change):
            return False
        dek = await self._reader.dek(opened.vault)
        by_name = {field.line.name: field for field in opened.fields}
        for wanted in change.fields:
            field = by_name.get(wanted.name)
            if wanted.remove or field is None:
                if not (wanted.remove and field is None):
                    return False
                continue
            if wanted.retype is not None:
                if field.line.type is not wanted.retype:
                    return False
                continue
            place = opened.item.place(field.line)
            if place is None or field.envelope is None:
                return False
            stored = open_envelope(dek.key, place, field.envelope, self._known, armed=False)
            if not wanted.generated and stored != wanted.value:
                return False
        return True


def _prepare(base: DetailCheckpoint, change: ItemChange, dek: Dek) -> _Prepared:
    fields = list(base.fields)
    updates: list[dict[str, Json]] = []
    for wanted in change.fields:
        index = _find(fields, wanted.name)
        if wanted.remove:
            if index is None:
                raise InvalidArgumentError("a field to remove is not in the item")
            gone = fields.pop(index)
            updates.append(_update("delete", gone, None))
            continue
        if wanted.retype is not None:
            if index is None:
                raise InvalidArgumentError("a field to give another type is not in the item")
            fields[index] = replace(fields[index], type=wanted.retype)
            updates.append(_update("update", fields[index], None))
            continue
        value = wanted.value
        assert value is not None  # noqa: S101 - a change that removes nothing has a value; told to the type checker
        # reveal: measured by our own codec, so that nothing is sealed or sent if the value is too large.
        encode_value(value.reveal())
        if wanted.add is None:
            if index is None:
                raise InvalidArgumentError("a field to change is not in the item; `add` makes a new one")
            field = replace(fields[index], instance_ids=(*fields[index].instance_ids, FieldInstanceId(new_id())))
            fields[index] = field
        else:
            if index is not None:
                raise InvalidArgumentError("a field to add is in the item already")
            order = 1 + max((field.order for field in fields), default=-1)
            field = SignedField(FieldId(new_id()), wanted.name, wanted.add, order, (FieldInstanceId(new_id()),), ())
            fields.append(field)
        place = Place(base.vault_id, base.item_id, field.id, field.instance_ids[-1])
        envelope = seal(dek.key, place, value, os.urandom(IV_SIZE))
        updates.append(_update("update" if wanted.add is None else "add", field, envelope))
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise InvalidArgumentError(f"the item would have {len(fields)} fields; 1 to {MAX_FIELDS} are allowed")
    detail = replace(_renamed(base, change), version=base.version + 1, fields=tuple(fields))
    return _Prepared(detail, tuple(updates), dek.version)


def _renamed(base: DetailCheckpoint, change: ItemChange) -> DetailCheckpoint:
    """Return a detail with the name, type and websites of a change."""
    return replace(
        base,
        name=base.name if change.name is None else change.name,
        type=base.type if change.type is None else change.type,
        websites=base.websites if change.websites is None else change.websites,
    )


def _find(fields: list[SignedField], name: str) -> int | None:
    found = [index for index, field in enumerate(fields) if field.name == name]
    if len(found) > 1:
        raise InvalidArgumentError("the item has several fields of that name; a person has to tell them apart")
    return found[0] if found else None


def _update(action: str, field: SignedField, envelope: str | None) -> dict[str, Json]:
    update: dict[str, Json] = {"action": action, "fieldId": field.id, "name": field.name, "type": field.type.value}
    if envelope is not None:
        update |= {"fieldInstanceId": field.instance_ids[-1], "value": envelope, "order": field.order}
    return update


def _patch(entry: Entry) -> dict[str, Json]:
    return dict(open_record(entry.body["patch"], "journal entry").members)


def _read_prepared(entry: Entry) -> _Prepared:
    record = exact(dict(entry.body), "journal entry", _KEYS)
    patch = record.part("patch", open_record)
    detail = read_detail(patch.members["detailCheckpoint"], "journal entry").checkpoint
    updates = tuple(dict(update.members) for update in patch.parts("updates", open_record))
    return _Prepared(detail, updates, record.integer("dekVersion"))
