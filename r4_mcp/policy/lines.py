"""From proven vaults and items to the lines of views, field by field; and the twin rule of names.

What this file does not do: fetch, decide, or hold a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from r4_mcp.core.served import ServedItems
from r4_mcp.core.wire import Classification
from r4_mcp.errors import AlreadyExistsError, NotFoundError
from r4_mcp.policy import outcomes, views
from r4_mcp.policy.drafts import MAX_NAME
from r4_mcp.policy.exposure import Exposure, Noted
from r4_mcp.policy.views import display, quoted
from r4_mcp.vault.item_update import ItemChange
from r4_mcp.vault.locator import FoundItem, FoundVault, field_reference, item_part
from r4_mcp.vault.proven import OpenedItem
from r4_mcp.vault.ranking import Hit
from r4_mcp.vault.references import address, screaming_key, write_reference
from r4_mcp.vault.sync import IndexedVault


def refuse_twin(name: str, existing: Sequence[tuple[str, str]], what: str, place: tuple[str, ...]) -> None:
    """Refuse a name that is taken in its place.

    Raises:
        AlreadyExistsError: It is; carries what has it.
    """
    # R4 allows twins, but a second of the same name would make the first one's reference ambiguous; and a caller that tries again
    # after a lost answer should be told of what is there.
    folded = name.casefold()
    twins = tuple(write_reference(*place, twin_id) for twin_id, twin in existing if twin.casefold() == folded)
    if twins:
        raise AlreadyExistsError(f"the name is taken by another {what}", candidates=twins)


def vault_line(names: Sequence[str], entry: IndexedVault) -> views.VaultLine:
    """Build a vault's line: verified, or with the reason why it is not."""
    listed, vault = entry.listed, entry.vault
    if vault is None:
        return views.VaultLine(
            reference=write_reference(listed.id),
            id=listed.id,
            name=display(listed.name),
            classification=None,
            item_count=listed.item_count,
            verified=False,
            problem=None if entry.problem is None else entry.problem.code,
        )
    checkpoint = vault.summary.checkpoint
    agrees = (checkpoint.name, checkpoint.classification) == (listed.name, listed.classification)
    return views.VaultLine(
        reference=write_reference(address(listed.id, listed.name, names) if agrees else listed.id),
        id=listed.id,
        name=display(checkpoint.name),
        classification=classification_word(checkpoint.classification),
        item_count=len(checkpoint.items),
        verified=agrees,
        problem=None if agrees else "served_differs_from_signed",
    )


def search_hit(names: Sequence[str], entry: IndexedVault, hit: Hit) -> views.SearchHit:
    """Build one result of a search: where it is, never a value.

    Args:
        names: The names of all vaults that could be meant.
        entry: The proven vault that it is in.
        hit: What fits.

    Raises:
        NotFoundError: The entry is not one that the hit came from.
    """
    vault, place = entry.vault, hit.place
    if vault is None:
        raise NotFoundError(f"vault {place.vault_id} is not verified")
    checkpoint = vault.summary.checkpoint
    part = address(vault.id, checkpoint.name, names)
    vault_name = display(checkpoint.name)
    if place.item_id is None:
        return views.SearchHit(write_reference(part), hit.matched.value, vault_name, None, vault_name, None)
    item = vault.summary.lines[place.item_id]
    item_name = display(item.name)
    if place.field_id is None:
        reference = write_reference(part, item_part(vault, item.id))
        return views.SearchHit(reference, hit.matched.value, item_name, item.type.value, vault_name, item_name)
    proven = entry.items[item.id]
    field = next(field for field in proven.checkpoint.fields if field.id == place.field_id)
    reference = field_reference(OpenedItem(vault, proven, ()), field.id, part)
    return views.SearchHit(reference, hit.matched.value, display(field.name), field.type.value, vault_name, item_name)


def unverified_items(served: ServedItems, size: int) -> views.ItemList:
    """Build the listing of a vault that came without a checkpoint, where the operator allows that."""
    # Only where the operator allows it (R4_CHECKPOINTS=when-present): the first page, addressed by ids, marked as what it is.
    return views.ItemList(
        vault=write_reference(served.vault_id),
        vault_name=display(served.vault_name),
        classification=None,
        items=tuple(
            views.ItemLine(
                reference=write_reference(served.vault_id, item.id),
                id=item.id,
                name=display(item.name),
                type=item.type.value,
                websites=tuple(display(website) for website in item.websites),
                field_count=served.field_counts.get(item.id, 0),
            )
            for item in served.items[:size]
        ),
        total=len(served.items),
        next_cursor=None,
        signed_by=None,
        checkpoint_version=None,
        verified=False,
        stale=False,
        verified_at=None,
    )


def item_lines(found: FoundVault, start: int, size: int) -> list[views.ItemLine]:
    """Build one page of an item listing."""
    summary = found.vault.summary
    return [
        views.ItemLine(
            reference=write_reference(found.part, item_part(found.vault, item.id)),
            id=item.id,
            name=display(item.name),
            type=item.type.value,
            websites=tuple(display(website) for website in item.websites),
            field_count=summary.field_counts.get(item.id, 0),
        )
        for item in summary.checkpoint.items[start : start + size]
    ]


def field_line(found: FoundItem, field_id: str) -> views.FieldLine:
    """Build the line of one field of a proven item."""
    checkpoint = found.opened.item.checkpoint
    field = next(field for field in checkpoint.fields if field.id == field_id)
    key = screaming_key(checkpoint.name, field.name)
    return views.FieldLine(
        reference=found.field_reference(field.id),
        id=field.id,
        name=display(field.name),
        type=field.type.value,
        secret=field.type.is_secret,
        # A key is for typing; of names beyond the limits there is none, and the reference is there in any case.
        key=key if key is not None and len(key) <= 2 * MAX_NAME + 1 else None,
    )


def classification_word(classification: Classification | None) -> str | None:
    """Return a classification as the views spell it."""
    return None if classification is None else classification.value


def change_question(reference: str, change: ItemChange) -> str:
    """Return what a person is asked about a change: what happens, and the names last."""
    added = sum(1 for field in change.fields if field.add is not None)
    removed = sum(1 for field in change.fields if field.remove)
    changed = len(change.fields) - added - removed
    renamed = "" if change.name is None else f"; its new name: {quoted(change.name)}"
    return f"Change {reference}: {changed} value(s), {added} new field(s), {removed} removed{renamed}?"


def updated_item(found: FoundItem, change: ItemChange) -> outcomes.UpdatedItem:
    """Build the view of a changed item: references, never values."""
    lines = {field.line.name: field.line for field in found.opened.fields}
    checkpoint = found.opened.item.checkpoint
    return outcomes.UpdatedItem(
        reference=found.reference,
        id=checkpoint.item_id,
        name=display(checkpoint.name),
        fields=tuple(
            outcomes.CreatedField(
                found.field_reference(lines[field.name].id),
                display(field.name),
                lines[field.name].type.value,
                field.generated,
            )
            for field in change.fields
            if not field.remove
        ),
        removed=tuple(display(field.name) for field in change.fields if field.remove),
        checkpoint_version=checkpoint.version,
    )


def exposure_report(exposure: Exposure) -> views.ExposureReport:
    """Build the report of the exposure ledger; everything in it is named by ids."""
    shown = tuple(_exposed(row) for row in exposure.shown)
    return views.ExposureReport(
        since=None if exposure.cleared_at is None else _time(exposure.cleared_at),
        shown=shown,
        used=tuple(_exposed(row) for row in exposure.used),
        blocked=tuple(_exposed(row) for row in exposure.blocked),
        to_rotate=tuple(row.reference for row in shown if row.reference is not None),
    )


def _exposed(row: Noted) -> views.ExposedPlace:
    reference = None if row.place is None or not row.place.ids else write_reference(*row.place.ids)
    return views.ExposedPlace(reference, row.how, row.count, _time(row.last))


def time_if(seconds: float, wanted: bool) -> str | None:  # noqa: FBT001 - reads as what it is
    """Return a time (seconds since 1970) as the views spell it, where it is wanted."""
    return _time(int(seconds * 1000)) if wanted else None


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
