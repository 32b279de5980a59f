"""``r4-mcp put``: a person fills a vault without showing the value to a model.

What this file does not do: change a field that exists.
"""

from __future__ import annotations

import getpass
import signal
import sys
from contextlib import suppress
from typing import Final

from r4_mcp.cli.wiring import Service, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.envelope import MAX_VALUE_SIZE
from r4_mcp.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, ReferenceSyntaxError
from r4_mcp.policy.drafts import FieldType, ItemType, NewField, NewItem
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.locator import FoundVault
from r4_mcp.vault.references import Named, Reference, match, parse_reference, write_reference
from r4_mcp.vault.runtime import VaultRuntime

_NOT_YET: Final = "Choose another item name; put stores one field per item. An agent can archive the old item."


async def put(
    settings: Settings, known: KnownSecrets, reference: str, field_type: FieldType, item_type: ItemType, *, local: bool
) -> str:
    """Store one value under a new item, creating the vault where needed; the value comes from a hidden prompt or stdin.

    Returns:
        The reference of the new field.

    Raises:
        R4Error: Bad reference, the item exists, nothing configured, refused, unreachable.
    """
    parsed = parse_reference(reference)
    if parsed.item is None or parsed.field is None:
        raise ReferenceSyntaxError("put needs a reference of three parts: r4://vault/item/field")
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        await service.runtime.registration.ensure()
        vault = await _vault(service.runtime, parsed)
        if vault is not None:
            _refuse_existing(vault, parsed.item)
        # Asked for only now: nobody types a secret to learn that there is no place for it.
        value = _read_value(known)
        if field_type.is_secret:
            # Armed before anything is created, so that a value typed into the reference by mistake is refused there too.
            known.arm(value, SecretKind.FIELD)
        place = write_reference(parsed.vault)
        if vault is None:
            place = (await service.gate.create_vault(parsed.vault, None, None)).reference
        return await _create(service, place, parsed, NewField(parsed.field, field_type, value, None), item_type)


async def _create(service: Service, vault: str, parsed: Reference, field: NewField, item_type: ItemType) -> str:
    item = NewItem(parsed.item or "", item_type, (), (field,))
    created = await service.gate.create_item(vault, item)
    return created.fields[0].reference


async def _vault(runtime: VaultRuntime, parsed: Reference) -> FoundVault | None:
    try:
        return await runtime.locator.vault(write_reference(parsed.vault))
    except NotFoundError:
        return None


def _refuse_existing(found: FoundVault, item: str) -> None:
    items = [Named(line.id, line.name, line.id) for line in found.vault.summary.checkpoint.items]
    try:
        match(item, items, "item", lambda named: write_reference(found.part, named.id))
    except NotFoundError:
        return
    raise AlreadyExistsError("the item exists already, and changing an item is not possible yet", next_step=_NOT_YET)


def _read_value(known: KnownSecrets) -> Secret[str]:
    if sys.stdin.isatty():
        text = _ask()
    else:
        # Three bytes more than the largest value: room for the line break, and one that shows that there is too much.
        raw = sys.stdin.buffer.read(MAX_VALUE_SIZE + 3)
        # One line break at the end belongs to `echo` and editors, not to the value; everything else is kept as it is.
        raw = raw.removesuffix(b"\r\n") if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")
        if len(raw) > MAX_VALUE_SIZE:
            raise InvalidArgumentError(f"the value on stdin is larger than {MAX_VALUE_SIZE // 1024} KiB; nothing was stored")
        decoded = _utf8(raw)
        if decoded is None:
            raise InvalidArgumentError("the value on stdin is not UTF-8 text")
        text = decoded
    return known.text(text, SecretKind.FIELD, armed=False)


def _ask() -> str:
    # The event loop's own handler would only note a Ctrl-C while the prompt blocks; this one ends the prompt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    entered = None
    with suppress(EOFError, KeyboardInterrupt):
        entered = getpass.getpass("Value (not shown): ")
    signal.signal(signal.SIGINT, before)
    if not entered:
        raise InvalidArgumentError("nothing was entered, so nothing was stored", next_step="Run the command again.")
    return entered


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
