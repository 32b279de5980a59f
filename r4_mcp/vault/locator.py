"""From references to proven things: which vault, item or field a reader means.

What this file does not do: open anything.

Rules:
1. Names are matched against proven listings; the unsigned vault list only says where to look, and the signed name must agree.
2. A SCREAMING key is searched in every vault. One vault that does not verify stops the search: skipping it would let a
   service steer the key to a look-alike elsewhere.
3. Several fits are an error that lists them.
4. What was found in memory and turns out not to fit is looked for once more, in what the service says now.
5. A name belongs to the vault that had it: when a remembered vault vanishes from the list and another one shows its name, that is
   an ambiguity for a person, since the list is unsigned and first contact is trust on first use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from r4_mcp.core.checkpoint import ProvenField
from r4_mcp.core.record import is_id
from r4_mcp.core.served import ServedItems, ServedVault
from r4_mcp.core.wire import FieldId, ItemId, ProjectId, VaultId
from r4_mcp.errors import AmbiguousReferenceError, DisagreementError, NotFoundError, ReferenceSyntaxError, SignerError
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.index import VaultIndex
from r4_mcp.vault.proven import LocatedField, OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.references import (
    SCHEME,
    Named,
    Reference,
    ScreamingKey,
    address,
    match,
    parse_field_reference,
    parse_reference,
    screaming,
    screaming_key,
    write_reference,
)

FoundT = TypeVar("FoundT")

SEARCH_WIDTH: Final = 8
"""Vaults fetched at once."""


@dataclass(frozen=True, slots=True)
class FoundVault:
    """A proven vault and the part that addresses it: its signed name where that was unmistakable, else its id."""

    vault: ProvenVault
    part: str


@dataclass(frozen=True, slots=True)
class FoundItem:
    """A proven item and the part that addresses its vault."""

    opened: OpenedItem
    vault_part: str

    @property
    def reference(self) -> str:
        """The item's reference."""
        return item_reference(self.opened, self.vault_part)

    def field_reference(self, field_id: str) -> str:
        """Return the reference of one of its fields."""
        return field_reference(self.opened, field_id, self.vault_part)


@dataclass(frozen=True, slots=True)
class FoundField:
    """A proven field, still sealed, the item around it, and the part that addresses its vault."""

    located: LocatedField
    reference: str


class Locator:
    """Finds what references mean, for one agent.

    Args:
        reader: Proven reads.
        index: What was proven a moment ago.
        project_id: Only vaults of this project are searched by name, where one is configured.
    """

    def __init__(self, reader: VaultReader, index: VaultIndex, project_id: ProjectId | None) -> None:
        self._reader = reader
        self._index = index
        self._project_id = project_id

    async def vault(self, text: str) -> FoundVault:
        """Find the vault of ``r4://vault``, a bare name or an id.

        Raises:
            ReferenceSyntaxError: Longer than a vault reference.
            NotFoundError: None fits.
            AmbiguousReferenceError: Several fit.
            VerificationError: It does not verify.
        """
        reference = parse_reference(text) if text.startswith(SCHEME) else Reference(text)
        if reference.item is not None:
            raise ReferenceSyntaxError("a vault reference has one part: r4://vault")
        return await self._anew(partial(self._vault, reference.vault))

    async def unverified_vault(self, text: str) -> ServedItems:
        """Find a vault whose listing came without a checkpoint.

        Raises:
            CheckpointMissingError: The operator requires checkpoints, or this vault was verified before.
            R4Error: As ``vault``.
        """
        reference = parse_reference(text) if text.startswith(SCHEME) else Reference(text)
        return await self._reader.unverified_items((await self._claimed(reference.vault)).id)

    async def item(self, text: str) -> FoundItem:
        """Find the item of ``r4://vault/item``.

        Raises:
            ReferenceSyntaxError: Not an item reference.
            NotFoundError: None fits.
            AmbiguousReferenceError: Several fit.
            VerificationError: It does not verify.
        """
        reference = parse_reference(text)
        if reference.item is None or reference.field is not None:
            raise ReferenceSyntaxError("an item reference has two parts: r4://vault/item")
        return await self._anew(partial(self._item, reference.vault, reference.item))

    async def listed_item(self, text: str) -> tuple[FoundVault, ItemId]:
        """Find an item in its vault's listing alone, which needs no permission to read ciphertext.

        Raises:
            ReferenceSyntaxError: Not an item reference.
            NotFoundError: None fits.
            AmbiguousReferenceError: Several fit.
            VerificationError: It does not verify.
        """
        reference = parse_reference(text)
        if reference.item is None or reference.field is not None:
            raise ReferenceSyntaxError("an item reference has two parts: r4://vault/item")
        return await self._anew(partial(self._listed_item, reference.vault, reference.item))

    async def field(self, text: str) -> FoundField:
        """Find the field of ``r4://vault/item/field``, of an item with one secret field, or of a SCREAMING key.

        Raises:
            ReferenceSyntaxError: None of these.
            NotFoundError: None fits.
            AmbiguousReferenceError: Several fit; lists them.
            VerificationError: It does not verify.
        """
        reference = parse_field_reference(text)
        if isinstance(reference, ScreamingKey):
            return await self._anew(partial(self._screaming, reference))
        if reference.item is None:
            raise ReferenceSyntaxError("a field reference has three parts: r4://vault/item/field")
        return await self._anew(partial(self._field, reference.vault, reference.item, reference.field))

    async def project(self, text: str) -> ProjectId:
        """Find a project by id or name.

        Raises:
            NotFoundError: None fits.
            AmbiguousReferenceError: Several fit; lists their ids.
        """
        if is_id(text):
            return ProjectId(text)
        projects = [Named(project.id, project.name, project.id) for project in await self._reader.projects()]
        return match(text, projects, "project", lambda project: project.id)

    async def _anew(self, look: Callable[[], Awaitable[FoundT]]) -> FoundT:
        """Look, and look again if what was in memory misled (rule 4)."""
        recalled = self._index.recalled
        try:
            return await look()
        except (NotFoundError, AmbiguousReferenceError, DisagreementError, SignerError):
            if self._index.recalled == recalled:
                raise
        self._index.expire()
        return await look()

    async def _vault(self, part: str) -> FoundVault:
        claimed = await self._claimed(part)
        return FoundVault(_agreed(claimed, await self._index.vault(claimed.id)), claimed.part)

    async def _listed_item(self, vault_part: str, item_part: str) -> tuple[FoundVault, ItemId]:
        found = await self._vault(vault_part)
        return found, _select(item_part, found.vault)

    async def _item(self, vault_part: str, part: str) -> FoundItem:
        claimed = await self._claimed(vault_part)
        # By name, the vault's own name is settled before anything in it is looked up.
        select = ItemId(part) if is_id(part) else lambda vault: _select(part, _agreed(claimed, vault))
        opened = await self._index.item(claimed.id, select)
        _agreed(claimed, opened.vault)
        return FoundItem(opened, claimed.part)

    async def _field(self, vault_part: str, item_part: str, part: str | None) -> FoundField:
        claimed = await self._claimed(vault_part)
        if part is not None and is_id(part) and is_id(item_part):
            located = await self._index.field(claimed.id, FieldId(part))
            _agreed(claimed, located.vault)
            if located.field.item.checkpoint.item_id != item_part:
                raise NotFoundError(f"item {item_part} has no field {part}")
            return FoundField(located, field_reference(located, part, claimed.part))
        found = await self._item(vault_part, item_part)
        if part is None:
            return await self._sealed(found, _single_secret(found))
        fields = [Named(field.line.id, field.line.name, field) for field in found.opened.fields]
        return await self._sealed(found, match(part, fields, "field", lambda field: found.field_reference(field.id)))

    async def _sealed(self, found: FoundItem, field: ProvenField) -> FoundField:
        """Return a field with its ciphertext, fetched now if the item was known from before."""
        located = LocatedField(found.opened.vault, field)
        if field.envelope is None:
            located = await self._index.field(found.opened.vault.id, field.line.id)
            if located.field.item.checkpoint != field.item.checkpoint:
                raise DisagreementError(f"item {field.item.checkpoint.item_id} changed while it was looked for")
        return FoundField(located, found.field_reference(field.line.id))

    async def _claimed(self, part: str) -> _Claimed:
        if is_id(part):
            return _Claimed(VaultId(part), part, None)
        listed = await self._index.listed(self._project_id)
        named = [Named(vault.id, vault.name, vault) for vault in listed]
        found: ServedVault = match(part, named, "vault", lambda vault: write_reference(vault.id))
        await self._refuse_rebound(found, {vault.id for vault in listed})
        return _Claimed(found.id, address(found.id, found.name, [vault.name for vault in listed]), found.name)

    async def _refuse_rebound(self, found: ServedVault, listed: set[VaultId]) -> None:
        """Refuse a name that a remembered vault had which is no longer listed (rule 5)."""
        folded = found.name.casefold()
        twins = {
            vault_id
            for vault_id, name in self._reader.remembered_names().items()
            if name.casefold() == folded and vault_id != found.id and vault_id not in listed
        }
        if twins and self._project_id is not None:
            twins -= {vault.id for vault in await self._index.listed(None)}
        if twins:
            gone = min(twins)
            raise AmbiguousReferenceError(
                f"vault {gone} had that name and is not listed any more; vault {found.id} shows it now",
                candidates=tuple(write_reference(vault_id) for vault_id in sorted({found.id, *twins})),
                next_step=f"If the operator says that vault {gone} was archived or taken away, run `r4-mcp trust reset {gone}`.",
            )

    async def _screaming(self, key: ScreamingKey) -> FoundField:
        known_before = set(self._reader.remembered_names())
        listed = await self._index.listed(self._project_id)
        vaults = await map_bounded(self._index.vault, [vault.id for vault in listed], SEARCH_WIDTH)
        likely = [
            (vault.id, item.id)
            for vault in vaults
            for item in vault.summary.checkpoint.items
            if key.text.startswith(screaming(item.name) + "_")
        ]
        items = [FoundItem(one, one.vault.id) for one in await map_bounded(self._open, likely, SEARCH_WIDTH)]
        fits = [
            (item, field)
            for item in items
            for field in item.opened.fields
            if screaming_key(item.opened.item.checkpoint.name, field.line.name) == key.text
        ]
        if not fits:
            raise NotFoundError("no field with that SCREAMING key is visible to this agent")
        if len(fits) > 1:
            candidates = tuple(item.field_reference(field.line.id) for item, field in fits)
            raise AmbiguousReferenceError(f"{len(fits)} fields share that SCREAMING key", candidates=candidates)
        found = await self._sealed(*fits[0])
        if found.located.vault.id not in known_before:
            await self._refuse_if_one_vanished(known_before - {vault.id for vault in listed}, found)
        return found

    async def _open(self, place: tuple[VaultId, ItemId]) -> OpenedItem:
        return await self._index.item(*place)

    async def _refuse_if_one_vanished(self, unlisted: set[VaultId], found: FoundField) -> None:
        """Refuse a key that turned up in a vault met for the first time while a remembered one is gone (rule 5)."""
        if unlisted and self._project_id is not None:
            unlisted -= {vault.id for vault in await self._index.listed(None)}
        if unlisted:
            gone = min(unlisted)
            raise AmbiguousReferenceError(
                f"that SCREAMING key was found in a vault met for the first time, while vault {gone} is not listed any more",
                candidates=(found.reference,),
                next_step=(
                    f"Use the reference if that vault is meant. If vault {gone} was archived or taken away, an operator can run "
                    f"`r4-mcp trust reset {gone}`."
                ),
            )


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A vault as a reference and the unsigned list name it; ``listed_name`` is None where an id was given."""

    id: VaultId
    part: str
    listed_name: str | None


def _agreed(claimed: _Claimed, vault: ProvenVault) -> ProvenVault:
    # Rule 1: the list is unsigned, so a name that was found in it counts only once the signed one agrees.
    if claimed.listed_name is not None and vault.summary.checkpoint.name != claimed.listed_name:
        raise DisagreementError(f"vault {vault.id} is listed under another name than the signed one (checkpoint rule 5)")
    return vault


def _select(part: str, vault: ProvenVault) -> ItemId:
    items = [Named(item.id, item.name, item.id) for item in vault.summary.checkpoint.items]
    return match(part, items, "item", lambda item: write_reference(vault.id, item.id))


def _single_secret(found: FoundItem) -> ProvenField:
    fields = found.opened.fields
    secret = [field for field in fields if field.line.type.is_secret]
    if len(secret) == 1:
        return secret[0]
    candidates = tuple(found.field_reference(field.line.id) for field in secret or fields)
    count = "no secret field" if not secret else f"{len(secret)} secret fields"
    raise AmbiguousReferenceError(f"the item has {count}; name one field", candidates=candidates)


def item_reference(opened: OpenedItem, vault_part: str) -> str:
    """Write an item's reference: its name where that is unmistakable in its vault, else its id."""
    return write_reference(vault_part, item_part(opened.vault, opened.item.checkpoint.item_id))


def item_part(vault: ProvenVault, item_id: ItemId) -> str:
    """Choose the part that addresses an item of a proven vault."""
    lines = vault.summary.lines
    return address(item_id, lines[item_id].name, [line.name for line in lines.values()])


def field_reference(place: OpenedItem | LocatedField, field_id: str, vault_part: str) -> str:
    """Write the reference of a field of a proven item."""
    item = place.item if isinstance(place, OpenedItem) else place.field.item
    fields = item.checkpoint.fields
    name = next(field.name for field in fields if field.id == field_id)
    part = address(field_id, name, [field.name for field in fields])
    return write_reference(vault_part, item_part(place.vault, item.checkpoint.item_id), part)
