"""Creating an item so that a lost reply or a crash leaves exactly one of it.

What this file does not do: choose values or decide whether an item may be created.

Rules:
1. Ids are chosen and values sealed once; every later attempt sends the same ids.
2. The whole request is in the journal before it is sent.
3. Without an answer the outcome is asked for: the item is in the verified summary, or the request is sent again. The same bytes
   where the vault has not moved; signed anew above it where it has.
4. A clear refusal settles the entry: nothing was stored. Anything else keeps it for the retry or the next start.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.encoding import Json, parse_json
from r4_mcp.core.envelope import IV_SIZE, Place, encode_value, open_envelope, seal
from r4_mcp.core.record import exact, open_record
from r4_mcp.core.served import MAX_VALUE_TEXT, read_created
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
    NetworkError,
    NotFoundError,
    R4Error,
    ServiceError,
    ValuesLostError,
    VersionConflictError,
)
from r4_mcp.machine.client import MachineClient
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.proven import OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.signer import VaultSigner, next_summary

_log: Final = logging.getLogger(__name__)
_ANSWERLESS_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """A field to create; ``generated`` where nobody typed the value."""

    name: str
    type: FieldType
    value: Secret[str]
    generated: bool = False


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to create; names are within the contract's limits."""

    name: str
    type: ItemType
    websites: tuple[str, ...]
    fields: tuple[FieldDraft, ...]


@dataclass(frozen=True, slots=True)
class _Sealed:
    """An item with its ids chosen and its values sealed under one DEK version."""

    detail: DetailCheckpoint
    envelopes: tuple[str, ...]
    dek_version: int

    @property
    def line(self) -> SignedItem:
        checkpoint = self.detail
        return SignedItem(checkpoint.item_id, checkpoint.name, checkpoint.type, checkpoint.websites, checkpoint.group_id)


class ItemCreation:
    """Creates items for one agent.

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

    async def create(self, vault_id: VaultId, draft: ItemDraft) -> OpenedItem:
        """Create an item, or finish the same one whose reply was lost.

        Raises:
            InvalidArgumentError: A value is over the limit; nothing was encrypted or sent.
            NetworkError: No answer; the journal has it, and the next attempt finishes it.
            R4Error: Refused, not proven, or busy.
        """
        for field in draft.fields:
            # reveal: measured by our own codec, so that nothing is sent or sealed if one value is too large.
            encode_value(field.value.reveal())
        finished = await self._finish_same(vault_id, draft)
        if finished is not None:
            return finished
        vault = await self._reader.vault(vault_id)
        self._signer.current(vault)
        return await self._store(self._seal(vault_id, draft, await self._reader.dek(vault)), None, draft)

    async def roll_forward(self, entry: Entry) -> OpenedItem | None:
        """Finish a prepared entry: exactly one item, whatever happened before.

        Returns:
            The item; None where it can't be stored any more, which is logged with its id.

        Raises:
            R4Error: The outcome is still not known; the entry stays.
        """
        try:
            return await self._store(_read_sealed(entry), entry, None)
        except (NotFoundError, ValuesLostError) as error:
            _log.warning("item %s of vault %s was not stored: %s; store it again", entry.id, entry.vault_id, error.code)
            self._journal.settle(entry)
            return None

    # One loop, so that the order of its checks can be read beside the rules.
    async def _store(  # noqa: C901
        self, sealed: _Sealed, entry: Entry | None, draft: ItemDraft | None
    ) -> OpenedItem:
        """Send until the verified summary holds the item (rules 1 to 4).

        Args:
            sealed: The item.
            entry: What is in the journal for it, if anything is.
            draft: The plaintexts, to seal again should the vault's key change; None when only the journal is left.
        """
        vault_id, item_id = sealed.detail.vault_id, sealed.detail.item_id
        conflicted_at = answerless = 0
        async for vault in self._signer.attempts(vault_id):
            version = vault.summary.checkpoint.version
            if item_id in vault.summary.lines:
                break  # An earlier request of ours arrived.
            if version <= conflicted_at:
                continue  # The service claims a conflict with what it does not show; signing over this version again would fork.
            if vault.summary.checkpoint.dek_version != sealed.dek_version:
                sealed, entry = await self._seal_again(sealed, draft, vault), None
            if entry is None or _summary_version(entry) != version + 1 or _signer_id(entry) != self._signer.current(vault).id:
                entry = await self._prepare(vault, sealed)
            try:
                answer = await self._machine.create_item(vault_id, _post(entry))
            except VersionConflictError:
                conflicted_at = version
            except NetworkError:
                answerless += 1
                if answerless == _ANSWERLESS_TRIES:
                    raise
            except ServiceError as error:
                await self._refused(vault_id, entry, error)
            else:
                if read_created(parse_json(answer, what="creation")) != item_id:
                    raise DisagreementError(f"the service acknowledged another id than {item_id}")
                break
        opened = await self._read_back(vault_id, item_id)
        if entry is not None:
            self._journal.settle(entry)
        return opened

    async def _read_back(self, vault_id: VaultId, item_id: ItemId) -> OpenedItem:
        try:
            return await self._reader.item(vault_id, item_id)
        except NotFoundError:
            raise DisagreementError(f"the service acknowledged item {item_id}, but does not serve it") from None

    async def _refused(self, vault_id: VaultId, entry: Entry, error: ServiceError) -> None:
        # The id may be taken by our own earlier request, which arrived after all; then the next round finds it.
        vault = await self._reader.vault(vault_id)
        if ItemId(entry.id) in vault.summary.lines:
            return
        if is_final(error):
            self._journal.settle(entry)
        raise error

    async def _finish_same(self, vault_id: VaultId, draft: ItemDraft) -> OpenedItem | None:
        same: OpenedItem | None = None
        for entry in self._journal.prepared(EntryKind.CREATE_ITEM):
            if entry.vault_id == vault_id:
                opened = await self.roll_forward(entry)
                if opened is not None and await self._is_same(opened, draft):
                    same = opened
        return same

    async def _is_same(self, opened: OpenedItem, draft: ItemDraft) -> bool:
        checkpoint = opened.item.checkpoint
        if (checkpoint.name, checkpoint.type, checkpoint.websites) != (draft.name, draft.type, draft.websites):
            return False
        wanted = [(field.name, field.type) for field in draft.fields]
        if [(field.line.name, field.line.type) for field in opened.fields] != wanted:
            return False
        dek = await self._reader.dek(opened.vault)
        for field, drafted in zip(opened.fields, draft.fields, strict=True):
            place = opened.item.place(field.line)
            if place is None or field.envelope is None:
                return False
            stored = open_envelope(dek.key, place, field.envelope, self._known, armed=False)
            if not drafted.generated and stored != drafted.value:
                return False
        return True

    def _seal(self, vault_id: VaultId, draft: ItemDraft, dek: Dek) -> _Sealed:
        item_id = ItemId(new_id())
        fields = tuple(
            SignedField(FieldId(new_id()), field.name, field.type, order, (FieldInstanceId(new_id()),), ())
            for order, field in enumerate(draft.fields)
        )
        detail = DetailCheckpoint(item_id, vault_id, 1, draft.name, draft.type, draft.websites, None, fields)
        return _seal_values(detail, draft, dek)

    async def _seal_again(self, sealed: _Sealed, draft: ItemDraft | None, vault: ProvenVault) -> _Sealed:
        if draft is None:
            raise ValuesLostError(f"the values of item {sealed.detail.item_id} are sealed under an earlier key of its vault")
        return _seal_values(sealed.detail, draft, await self._reader.dek(vault))

    async def _prepare(self, vault: ProvenVault, sealed: _Sealed) -> Entry:
        signer = self._signer.current(vault)
        summary = next_summary(vault.summary, (*vault.summary.checkpoint.items, sealed.line))
        detail = sealed.detail
        fields: list[Json] = [
            {
                "id": field.id,
                "fieldInstanceId": field.instance_ids[-1],
                "name": field.name,
                "type": field.type.value,
                "encryptedValue": envelope,
            }
            for field, envelope in zip(detail.fields, sealed.envelopes, strict=True)
        ]
        post: dict[str, Json] = {
            "id": detail.item_id,
            "name": detail.name,
            "type": detail.type.value,
            "websites": list(detail.websites),
            "fields": fields,
            "summaryCheckpoint": await self._signer.summary(summary, signer),
            "detailCheckpoint": await self._signer.detail(detail, signer),
        }
        body: dict[str, Json] = {"post": post, "dekVersion": sealed.dek_version}
        entry = Entry(EntryKind.CREATE_ITEM, detail.item_id, detail.vault_id, body)
        self._journal.prepare_creation(entry)
        return entry


def is_final(error: R4Error) -> bool:
    """Say whether a refusal proves that nothing was stored."""
    return isinstance(error, ServiceError) and 400 <= error.status < 500 and error.status not in {408, 429}  # noqa: PLR2004


def new_id() -> str:
    """Return a new id: 12 random bytes in hex (contract §1)."""
    return os.urandom(12).hex()


def _seal_values(detail: DetailCheckpoint, draft: ItemDraft, dek: Dek) -> _Sealed:
    envelopes = tuple(
        seal(
            dek.key,
            Place(detail.vault_id, detail.item_id, field.id, field.instance_ids[-1]),
            drafted.value,
            os.urandom(IV_SIZE),
        )
        for field, drafted in zip(detail.fields, draft.fields, strict=True)
    )
    return _Sealed(detail, envelopes, dek.version)


def _post(entry: Entry) -> dict[str, Json]:
    return dict(open_record(entry.body["post"], "journal entry").members)


def _signer_id(entry: Entry) -> Json:
    return open_record(_post(entry)["summaryCheckpoint"], "journal entry").members.get("signerEncryptionKeyId")


def _summary_version(entry: Entry) -> int:
    return read_summary(_post(entry)["summaryCheckpoint"], "journal entry").checkpoint.version


def _read_sealed(entry: Entry) -> _Sealed:
    record = exact(dict(entry.body), "journal entry", frozenset({"post", "dekVersion"}))
    post = record.part("post", open_record)
    detail = read_detail(post.members["detailCheckpoint"], "journal entry").checkpoint
    fields = post.parts("fields", open_record)
    envelopes = tuple(field.text("encryptedValue", max_length=MAX_VALUE_TEXT) for field in fields)
    return _Sealed(detail, envelopes, record.integer("dekVersion"))
