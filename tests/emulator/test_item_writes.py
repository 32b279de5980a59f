"""An item is created or archived exactly as it was signed, or nothing changes at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from r4_mcp.core.checkpoint import advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.served import read_item, read_items
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import FieldType, ItemId, VaultId
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import Level

from .client import AgentClient, error_code
from .conftest import World
from .item_changes import REFUSED_PARTS, Change, body_with, detail_with, field_with, line_with, summary_with

Posted: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
async def vault_id(world: World) -> VaultId:
    """Make a vault with one item."""
    return world.vault()


@pytest.fixture
async def writer(world: World, vault_id: VaultId) -> AgentClient:
    """Make an agent that may write."""
    return await world.granted(vault_id, Level.WRITE)


async def test_a_created_item_proves_and_opens(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """What was posted is served, proves against summary and detail, and opens in its place."""
    fields = [
        ("Token", FieldType.SECRET, "demo-a"),
        ("Note", FieldType.TEXT, "two\nlines \N{SNOWMAN}"),
        ("Empty", FieldType.TEXT, ""),
    ]
    parts = await writer.item_parts(vault_id, "Café API", fields)
    created = await writer.post_item(vault_id, parts)
    assert (created.status_code, created.json()) == (201, {"id": parts.body["id"]})
    anchors = TrustAnchors(SignerTrust.TOFU, frozenset())
    state, directory = advance(
        VaultTrust(), read_directory(await writer.get(f"/vault/{vault_id}/public-keys")), vault_id, anchors
    )
    state, summary = advance_summary(state, read_items(await writer.get(f"/vault/{vault_id}/items")), directory)
    item_id = ItemId(parts.body["id"])
    served = read_item(await writer.get(f"/vault/{vault_id}/items/{item_id}"))
    _, item, proven = advance_item(state, served, item_id, summary, directory)
    assert item.signer.id == writer.key_id
    assert summary.field_counts[item_id] == 3
    dek = await writer.dek(vault_id)
    opened = []
    for field in proven:
        place = item.place(field.line)
        assert place is not None
        assert field.envelope is not None
        opened.append(open_envelope(dek.key, place, field.envelope, world.known, armed=False).reveal())
    assert opened == [value for _, _, value in fields]


async def test_the_operator_opens_what_an_agent_created(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """Agents and people share one DEK."""
    await writer.post_item(vault_id, await writer.item_parts(vault_id, fields=[("Token", FieldType.SECRET, "demo-by-agent")]))
    assert "demo-by-agent" in {value.reveal() for value in world.operator.open_values(vault_id).values()}


@pytest.mark.parametrize(("reason", "change"), REFUSED_PARTS.values(), ids=REFUSED_PARTS.keys())
async def test_an_item_that_breaks_a_rule_is_refused_and_changes_nothing(
    world: World, vault_id: VaultId, writer: AgentClient, reason: str, change: Change
) -> None:
    """400 ``vault_item_creation_failed`` that says which rule, and the store is the same, row by row."""
    parts = change(await writer.item_parts(vault_id))
    before = world.dump()
    response = await writer.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (400, "vault_item_creation_failed"), response.text
    assert reason in response.json()["error"]["message"]
    assert "hunter2" not in response.text
    assert world.dump() == before


@pytest.mark.parametrize("kind", ["item", "field", "instance"])
async def test_an_id_is_used_once(world: World, vault_id: VaultId, writer: AgentClient, kind: str) -> None:
    """Ids of archived things are not free again either."""
    first = await writer.item_parts(vault_id, "First")
    assert (await writer.post_item(vault_id, first)).status_code == 201
    archived = await writer.archive_body(vault_id, first.body["id"])
    assert (await writer.call("DELETE", f"/vault/{vault_id}/items/{first.body['id']}", archived)).status_code == 204
    parts = await writer.item_parts(vault_id, "Second")
    (used,) = first.detail.fields
    if kind == "field":
        parts = line_with(id=used.id)(field_with(id=used.id)(parts))
    elif kind == "instance":
        parts = line_with(instance_ids=used.instance_ids)(field_with(fieldInstanceId=used.instance_ids[0])(parts))
    else:
        item_id = first.detail.item_id
        *others, line = parts.summary.items
        parts = summary_with(items=(*others, replace(line, id=item_id)))(
            detail_with(item_id=item_id)(body_with(id=item_id)(parts))
        )
    before = world.dump()
    response = await writer.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (400, "vault_item_creation_failed")
    assert "in use" in response.json()["error"]["message"]
    assert world.dump() == before


@pytest.mark.parametrize("step", [-1, 1, 2])
async def test_a_summary_of_another_version_is_a_conflict(
    world: World, vault_id: VaultId, writer: AgentClient, step: int
) -> None:
    """409 ``checkpoint_version_conflict`` for anything but the stored version plus 1."""
    parts = await writer.item_parts(vault_id)
    parts = replace(parts, summary=replace(parts.summary, version=parts.summary.version + step))
    before = world.dump()
    response = await writer.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (409, "checkpoint_version_conflict")
    assert world.dump() == before


async def test_a_repeated_creation_is_a_conflict_and_creates_one_item(
    world: World, vault_id: VaultId, writer: AgentClient
) -> None:
    """A retry after a lost answer meets the version check first."""
    parts = await writer.item_parts(vault_id)
    assert (await writer.post_item(vault_id, parts)).status_code == 201
    before = world.dump()
    response = await writer.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (409, "checkpoint_version_conflict")
    assert world.dump() == before


@pytest.mark.parametrize("member", ["summaryCheckpoint", "detailCheckpoint"])
async def test_a_checkpoint_of_another_signer_is_refused(
    world: World, vault_id: VaultId, writer: AgentClient, member: str
) -> None:
    """403 ``checkpoint_signer_required``: the caller's own current key, and no other that may write here."""
    other = await world.granted(vault_id, Level.WRITE, 1)
    parts = await writer.item_parts(vault_id)
    body = {**writer.signed_body(parts), member: other.signed_body(parts)[member]}
    before = world.dump()
    response = await writer.call("POST", f"/vault/{vault_id}/items", body)
    assert (response.status_code, error_code(response)) == (403, "checkpoint_signer_required")
    assert world.dump() == before


@pytest.mark.parametrize("member", ["summaryCheckpoint", "detailCheckpoint"])
async def test_a_signature_that_does_not_verify_is_refused(
    world: World, vault_id: VaultId, writer: AgentClient, member: str
) -> None:
    """The right key id with another key's signature is a 400."""
    forger = replace(writer, key=world.keys.agents[1])
    parts = await writer.item_parts(vault_id)
    body = {**writer.signed_body(parts), member: forger.signed_body(parts)[member]}
    before = world.dump()
    response = await writer.call("POST", f"/vault/{vault_id}/items", body)
    assert (response.status_code, error_code(response)) == (400, "vault_item_creation_failed")
    assert world.dump() == before


CHECKPOINT_SHAPES: Mapping[str, Posted] = {
    "absent": lambda body: {key: value for key, value in body.items() if key != "summaryCheckpoint"},
    "null": lambda body: {**body, "summaryCheckpoint": None},
    "unsigned": lambda body: {**body, "summaryCheckpoint": {"checkpoint": body["summaryCheckpoint"]["checkpoint"]}},
    "signed for another purpose": lambda body: {
        **body,
        "summaryCheckpoint": {**body["summaryCheckpoint"], "signature": body["detailCheckpoint"]["signature"]},
    },
    "named by two signers": lambda body: {
        **body,
        "summaryCheckpoint": {**body["summaryCheckpoint"], "signerUserKeyPairId": new_id()},
    },
}


@pytest.mark.parametrize("change", CHECKPOINT_SHAPES.values(), ids=CHECKPOINT_SHAPES.keys())
async def test_a_summary_that_is_not_a_signed_summary_is_refused(
    world: World, vault_id: VaultId, writer: AgentClient, change: Posted
) -> None:
    """No write goes through without its checkpoint."""
    body = change(writer.signed_body(await writer.item_parts(vault_id)))
    before = world.dump()
    response = await writer.call("POST", f"/vault/{vault_id}/items", body)
    assert (response.status_code, error_code(response)) == (400, "vault_item_creation_failed")
    assert world.dump() == before


async def test_an_agent_without_a_key_is_told_to_register(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """409 ``encryption_key_required``."""
    parts = await writer.item_parts(vault_id)
    keyless = world.agent(1)
    world.operator.grant(keyless.credentials.agent_id, vault_id, Level.WRITE)
    before = world.dump()
    response = await keyless.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (409, "encryption_key_required")
    assert world.dump() == before


async def test_an_agent_granted_before_registration_is_no_signer_yet(
    world: World, vault_id: VaultId, writer: AgentClient
) -> None:
    """Its key is not in the vault's directory, so what it signs would not verify: 403."""
    parts = await writer.item_parts(vault_id)
    early = world.agent(1)
    world.operator.grant(early.credentials.agent_id, vault_id, Level.WRITE)
    await early.register()
    before = world.dump()
    response = await early.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (403, "checkpoint_signer_required")
    assert world.dump() == before


async def test_a_retired_key_does_not_sign(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """After a rotation the old key's checkpoints are refused."""
    parts = await writer.item_parts(vault_id)
    new = writer.successor(world.keys.agents[1])
    assert (await writer.call("POST", "/vault/public-key", await writer.rotation_body(new))).status_code == 201
    before = world.dump()
    response = await writer.post_item(vault_id, parts)
    assert (response.status_code, error_code(response)) == (403, "checkpoint_signer_required")
    assert world.dump() == before
    assert (await new.post_item(vault_id, parts)).status_code == 201


async def test_archiving_needs_exactly_the_item_gone(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """A summary that drops another item, all, none, or has another version or member is refused."""
    await writer.post_item(vault_id, await writer.item_parts(vault_id, "Second"))
    stored = await writer.summary(vault_id)
    first, second = stored.items
    following = replace(stored, version=stored.version + 1)
    path = f"/vault/{vault_id}/items/{first.id}"
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"summaryCheckpoint": writer.signed_summary(checkpoint)}, status, code)
        for checkpoint, status, code in (
            (replace(following, items=(first,)), 400, "vault_item_creation_failed"),
            (replace(following, items=()), 400, "vault_item_creation_failed"),
            (replace(following, items=(first, second)), 400, "vault_item_creation_failed"),
            (replace(following, items=(replace(second, name="Renamed"),)), 400, "vault_item_creation_failed"),
            (replace(stored, items=(second,)), 409, "checkpoint_version_conflict"),
        )
    ]
    good = {"summaryCheckpoint": writer.signed_summary(replace(following, items=(second,)))}
    refused += [({**good, "more": 1}, 400, "vault_item_creation_failed"), ({}, 400, "vault_item_creation_failed")]
    before = world.dump()
    for body, status, code in refused:
        response = await writer.call("DELETE", path, body)
        assert (response.status_code, error_code(response)) == (status, code)
    assert world.dump() == before
    absent = await writer.call("DELETE", f"/vault/{vault_id}/items/{new_id()}", good)
    assert (absent.status_code, error_code(absent)) == (404, "vault_item_not_found")
    assert (await writer.call("DELETE", path, good)).status_code == 204
    again = await writer.call("DELETE", path, good)
    assert (again.status_code, error_code(again)) == (404, "vault_item_not_found")
