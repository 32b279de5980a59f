"""The fields that are marked for environment export, and how a mark is set and lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from r4_mcp.core.checkpoint import advance_field, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.served import ServedSingleField, read_environment_fields, read_items
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import FieldType, ItemId, ItemType, VaultId
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind

from .client import AgentClient, error_code
from .conftest import World
from .item_updates import Change, Update, add, begin, delete, posted, put

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


@pytest.fixture
async def vault_id(world: World) -> VaultId:
    """Make a vault with two items, each with a marked field and one that is not."""

    def draft(name: str) -> ItemDraft:
        return ItemDraft(
            name,
            ItemType.API_KEY,
            [],
            [
                FieldDraft("Note", FieldType.TEXT, world.known.text(f"note of {name}", SecretKind.FIELD)),
                FieldDraft("Key", FieldType.SECRET, world.known.text(f"key of {name}", SecretKind.FIELD), exported=True),
            ],
        )

    vault_id = world.operator.create_vault("Production")
    world.operator.create_items(vault_id, [draft("First"), draft("Second")])
    world.vault("Another", items=1)
    return vault_id


@pytest.fixture
async def writer(world: World, vault_id: VaultId) -> AgentClient:
    """Make an agent that may write."""
    return await world.granted(vault_id, Level.WRITE)


@pytest.fixture
async def item_id(vault_id: VaultId, writer: AgentClient) -> ItemId:
    """Return the first item."""
    return (await writer.summary(vault_id)).items[0].id


async def exported(agent: AgentClient, vault_id: VaultId) -> tuple[ServedSingleField, ...]:
    """Fetch the marked fields, and read them strictly."""
    named, fields = read_environment_fields(await agent.get(f"/vault/{vault_id}/environment-fields"))
    assert named == vault_id
    return fields


async def labels(agent: AgentClient, vault_id: VaultId) -> list[tuple[str, str]]:
    """Return the item's and the field's name of each marked field."""
    return [(field.item_name, field.field.line.name) for field in await exported(agent, vault_id)]


async def change(agent: AgentClient, vault_id: VaultId, item_id: ItemId, *changes: Change) -> None:
    """Change an item."""
    response = await (await begin(agent, vault_id, item_id, *changes)).send()
    assert response.is_success, response.text


def mark(number: int, *, on: bool) -> Change:
    """Set or take the mark of a field, and change nothing else of it."""

    def change(update: Update) -> Update:
        return posted(len(update.updates), isEnvironmentVariable=on)(put(number)(update))

    return change


async def test_each_marked_field_is_served_as_if_alone(world: World, vault_id: VaultId, writer: AgentClient) -> None:
    """The single field's members, the mark, the count; each proves and opens in its place."""
    body: Any = await writer.get(f"/vault/{vault_id}/environment-fields")
    assert set(body) == {"vaultId", "fields", "count"}
    for field in body["fields"]:
        alone: Any = await writer.get(f"/vault/{vault_id}/fields/{field['id']}")
        assert field == {**alone, "isEnvironmentVariable": True}
    state, directory = advance(VaultTrust(), read_directory(await writer.get(f"/vault/{vault_id}/public-keys")), vault_id, TOFU)
    state, summary = advance_summary(state, read_items(await writer.get(f"/vault/{vault_id}/items")), directory)
    dek, opened = await writer.dek(vault_id), []
    for served in await exported(writer, vault_id):
        state, proven = advance_field(state, served, served.field.line.id, summary, directory)
        place = proven.item.place(proven.line)
        assert place is not None
        assert proven.envelope is not None
        opened.append(open_envelope(dek.key, place, proven.envelope, world.known, armed=False).reveal())
    assert opened == ["key of First", "key of Second"]


async def test_a_mark_is_set_and_taken_by_a_change(vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """With a new value or without one, on a field that is there or a new one; without a word it stays as it is."""
    await change(writer, vault_id, item_id, mark(0, on=True), mark(1, on=False))
    assert await labels(writer, vault_id) == [("First", "Note"), ("Second", "Key")]
    await change(writer, vault_id, item_id, put(0, "a new note"), put(1, "a new key"))
    assert await labels(writer, vault_id) == [("First", "Note"), ("Second", "Key")]
    await change(
        writer,
        vault_id,
        item_id,
        add("Marked", FieldType.SECRET, "x"),
        posted(0, isEnvironmentVariable=True),
        add("Plain", FieldType.SECRET, "y"),
    )
    assert await labels(writer, vault_id) == [("First", "Note"), ("First", "Marked"), ("Second", "Key")]


async def test_the_latest_value_is_served(vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """After a change, the envelope and the instance are the new ones."""
    update = await begin(writer, vault_id, item_id, put(1, "a new key"))
    assert (await update.send()).is_success
    (first, _) = await exported(writer, vault_id)
    assert first.field.envelope == update.updates[0]["value"]
    assert first.instance_id == update.detail.fields[1].instance_ids[-1]


async def test_what_is_gone_is_not_exported(world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """Deleted fields and archived items are not, and a field that comes later is not marked because another one was."""
    await change(writer, vault_id, item_id, delete(1))
    assert await labels(writer, vault_id) == [("Second", "Key")]
    await change(writer, vault_id, item_id, add("Key", FieldType.SECRET, "x"))
    assert await labels(writer, vault_id) == [("Second", "Key")]
    second = (await writer.summary(vault_id)).items[1].id
    world.operator.archive_item(vault_id, second)
    assert await labels(writer, vault_id) == []


async def test_a_created_item_has_no_mark(vault_id: VaultId, writer: AgentClient) -> None:
    """The contract's creation knows none, and refuses one."""
    parts = await writer.item_parts(vault_id)
    (field,) = parts.body["fields"]
    marked = replace(parts, body={**parts.body, "fields": [{**field, "isEnvironmentVariable": True}]})
    response = await writer.post_item(vault_id, marked)
    assert (response.status_code, error_code(response)) == (400, "vault_item_creation_failed")
    assert (await writer.post_item(vault_id, parts)).status_code == 201
    assert await labels(writer, vault_id) == [("First", "Key"), ("Second", "Key")]
