"""``r4-mcp put``: a person fills a vault, or changes a value in it, without showing the value to a model.

What this file does not do: change names, types or websites.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from r4_mcp.cli.noting import noted
from r4_mcp.cli.values import read_value
from r4_mcp.cli.wiring import Service, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.errors import ApprovalRequiredError, DeniedError, NotFoundError, ReferenceSyntaxError
from r4_mcp.policy.call import Approval, Call
from r4_mcp.policy.drafts import ChangedField, FieldType, ItemType, NewField, NewItem
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.model import Action, Switches
from r4_mcp.policy.rules import deny_early
from r4_mcp.secret import KnownSecrets, SecretKind
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
        async with noted(service, "cli_put") as call:
            return await _put(service, service.runtime, settings.switches, parsed, (field_type, item_type), known, call)


async def _put(
    service: Service,
    runtime: VaultRuntime,
    switches: Switches,
    parsed: Reference,
    new: tuple[FieldType, ItemType],
    known: KnownSecrets,
    call: Call,
) -> str:
    await runtime.recovery.settle(writes=not switches.read_only, needs_key=True)
    name, (field_type, item_type) = parsed.field or "", new
    vault = await _vault(runtime, parsed)
    item = None if vault is None else await _item(runtime, vault, parsed.item or "")
    types = {} if item is None else {line.name: line.type for line in item.opened.item.checkpoint.fields}
    call.decision = deny_early(Action.CREATE if item is None else Action.UPDATE, switches, service.policy())
    if call.decision is not None:
        raise DeniedError(call.decision.reason)
    # Asked for only now: nobody types a secret to learn that there is no place for it.
    value = read_value(known)
    if types.get(name, field_type).is_secret:
        # Armed before anything is sent, so that a value typed into the reference by mistake is refused there too.
        known.arm(value, SecretKind.FIELD)
    if item is None:
        return await _as_person(service.gate, call, partial(_create, parsed, NewField(name, field_type, value, None), item_type))
    added = None if name in types else field_type
    change = ChangedField(name, value, None, added, remove=False)
    return await _as_person(service.gate, call, partial(_change, item.reference, change))


async def _as_person(gate: Gate, call: Call, act: _Act) -> str:
    try:
        return await act(gate.during(call))
    except ApprovalRequiredError as asked:
        # Whoever types this command is the person that the policy wants asked.
        call.approval = Approval(asked.subject)
        return await act(gate.during(call))


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
