"""``r4-mcp put``: a person fills a vault, or changes a value in it, without showing the value to a model.

What this file does not do: change names, types or websites.
"""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from r4_mcp.cli.wiring import open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.envelope import MAX_VALUE_SIZE
from r4_mcp.errors import ApprovalRequiredError, InvalidArgumentError, NotFoundError, ReferenceSyntaxError
from r4_mcp.policy.call import Approval, Call
from r4_mcp.policy.drafts import ChangedField, FieldType, ItemType, NewField, NewItem
from r4_mcp.policy.gate import Gate
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.locator import FoundItem, FoundVault
from r4_mcp.vault.references import Reference, parse_reference, write_reference
from r4_mcp.vault.runtime import VaultRuntime

_Act = Callable[[Gate], Awaitable[str]]


async def put(
    settings: Settings, known: KnownSecrets, reference: str, field_type: FieldType, item_type: ItemType, *, local: bool
) -> str:
    """Store one value: in a field that is there, in a new field of an item that is there, or in a new item, or a new vault.

    The value comes from a hidden prompt or stdin.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: ``r4://vault/item/field``.
        field_type: Type of a new field; one that is there keeps its own.
        item_type: Type of a new item.
        local: Of the embedded vault.

    Returns:
        The reference of the field.

    Raises:
        R4Error: Bad reference, nothing configured, refused, unreachable.
    """
    parsed = parse_reference(reference)
    if parsed.item is None or parsed.field is None:
        raise ReferenceSyntaxError("put needs a reference of three parts: r4://vault/item/field")
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        runtime = service.runtime
        await runtime.recovery.settle(writes=True, needs_key=True)
        vault = await _vault(runtime, parsed)
        item = None if vault is None else await _item(runtime, vault, parsed.item)
        types = {} if item is None else {line.name: line.type for line in item.opened.item.checkpoint.fields}
        # Asked for only now: nobody types a secret to learn that there is no place for it.
        value = _read_value(known)
        if types.get(parsed.field, field_type).is_secret:
            # Armed before anything is sent, so that a value typed into the reference by mistake is refused there too.
            known.arm(value, SecretKind.FIELD)
        if item is None:
            return await _as_person(
                service.gate, partial(_create, parsed, NewField(parsed.field, field_type, value, None), item_type)
            )
        added = None if parsed.field in types else field_type
        change = ChangedField(parsed.field, value, None, added, remove=False)
        return await _as_person(service.gate, partial(_change, item.reference, change))


async def _as_person(gate: Gate, act: _Act) -> str:
    try:
        return await act(gate)
    except ApprovalRequiredError as asked:
        # Whoever types this command is the person that the policy wants asked.
        return await act(gate.during(Call(Approval(asked.subject))))


async def _create(parsed: Reference, field: NewField, item_type: ItemType, gate: Gate) -> str:
    vault = write_reference(parsed.vault)
    try:
        created = await gate.create_item(vault, NewItem(parsed.item or "", item_type, (), (field,)))
    except NotFoundError:
        vault = (await gate.create_vault(parsed.vault, None, None)).reference
        created = await gate.create_item(vault, NewItem(parsed.item or "", item_type, (), (field,)))
    return created.fields[0].reference


async def _change(item: str, change: ChangedField, gate: Gate) -> str:
    return (await gate.update_item(item, None, [change])).fields[0].reference


async def _vault(runtime: VaultRuntime, parsed: Reference) -> FoundVault | None:
    try:
        return await runtime.locator.vault(write_reference(parsed.vault))
    except NotFoundError:
        return None


async def _item(runtime: VaultRuntime, vault: FoundVault, item: str) -> FoundItem | None:
    try:
        return await runtime.locator.item(write_reference(vault.part, item))
    except NotFoundError:
        return None


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
