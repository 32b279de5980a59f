"""``r4-mcp ls``: the vaults, the items of one, or the fields of an item, for people.

What this file does not do: open a value. It shows what an agent's listing tools show, from the same views.

Rules:
1. What is not verified is marked, in the table and in the JSON.
2. JSON is whole; a table cuts long names, never references (``layout``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from r4_mcp.cli.layout import COLUMNS, Row, cut, fitting, table, wrapped
from r4_mcp.cli.wiring import open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.policy.browsing import MAX_ITEMS
from r4_mcp.policy.call import Call
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import ItemDescription, ItemList, SignedBy, VaultList
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.references import SCHEME, parse_reference, write_reference

Listing = VaultList | ItemList | ItemDescription

_UNSIGNED: Final = "nobody signed it"


@dataclass(frozen=True, slots=True)
class Listed:
    """A listing, and the id of its vault where it is of one."""

    view: Listing
    vault_id: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """The view for programs: the members that the listing tools have, without the cursor, which was followed."""
        members = asdict(self.view)
        members.pop("next_cursor", None)
        return members

    @property
    def lines(self) -> list[str]:
        """The view for people."""
        if isinstance(self.view, VaultList):
            return _vault_lines(self.view)
        vault_id = self.vault_id or parse_reference(self.view.vault).vault
        if isinstance(self.view, ItemList):
            return _item_lines(self.view, vault_id)
        return _field_lines(self.view, vault_id)


async def ls(settings: Settings, known: KnownSecrets, reference: str | None, *, local: bool) -> Listed:
    """List what a reference holds.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: Of a vault or an item, or a vault's name; None for all vaults.
        local: Of the embedded vault.

    Raises:
        R4Error: Bad reference, nothing configured, denied, not found, ambiguous, not verified, refused, unreachable.
    """
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        call = Call()
        gate = service.gate.during(call)
        if reference is None:
            return Listed(await _vaults(gate))
        if reference.startswith(SCHEME) and parse_reference(reference).item is not None:
            view: Listing = await gate.describe_item(reference)
        else:
            view = await _items(gate, reference)
        # The gate notes what the call was about; of a listing that nobody signed it notes nothing.
        return Listed(view, next(iter(call.ids), None))


async def _vaults(gate: Gate) -> VaultList:
    first = page = await gate.list_vaults(None, None)
    vaults = page.vaults
    while page.next_cursor is not None:
        page = await gate.list_vaults(None, page.next_cursor)
        vaults += page.vaults
    return replace(first, vaults=vaults, next_cursor=None)


async def _items(gate: Gate, reference: str) -> ItemList:
    first = page = await gate.list_items(reference, None, MAX_ITEMS)
    items = page.items
    while page.next_cursor is not None:
        page = await gate.list_items(reference, page.next_cursor, MAX_ITEMS)
        items += page.items
    return replace(first, items=items, next_cursor=None)


def _vault_lines(listing: VaultList) -> list[str]:
    if not listing.vaults:
        return ["No vault is visible to this agent."]
    rows = [
        Row(
            (vault.name, vault.classification or "-", str(vault.item_count)),
            vault.reference,
            write_reference(vault.id),
            None if vault.verified else vault.problem or _UNSIGNED,
        )
        for vault in listing.vaults
    ]
    return table(("NAME", "CLASS", "ITEMS"), rows)


def _item_lines(listing: ItemList, vault_id: str) -> list[str]:
    head = f"{fitting(listing.vault, write_reference(vault_id))}  {listing.classification or 'unclassified'}, "
    rows = [
        Row(
            (item.name, item.type, str(item.field_count)),
            item.reference,
            write_reference(vault_id, item.id),
            None if listing.verified else _UNSIGNED,
        )
        for item in listing.items
    ]
    lines = wrapped(f"{head}{listing.total} item(s), {_signed(listing.signed_by, listing.checkpoint_version)}")
    return [*lines, *(table(("NAME", "TYPE", "FIELDS"), rows) if rows else [])]


def _field_lines(item: ItemDescription, vault_id: str) -> list[str]:
    rows = [
        Row(
            (field.name, field.type, "yes" if field.secret else "no"),
            field.reference,
            write_reference(vault_id, item.id, field.id),
        )
        for field in item.fields
    ]
    head = f"{fitting(item.reference, write_reference(vault_id, item.id))}  {item.type}, "
    return [
        *wrapped(head + _signed(item.signed_by, item.checkpoint_version)),
        *(cut(f"  website {website}", COLUMNS) for website in item.websites),
        *table(("NAME", "TYPE", "SECRET"), rows),
    ]


def _signed(signer: SignedBy | None, version: int | None) -> str:
    return "NOT VERIFIED" if signer is None else f"signed by {signer.kind} {signer.fingerprint}, v{version}"
