"""An item is changed exactly as it was signed, or nothing changes at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from r4_mcp.core.checkpoint import ProvenField, advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.served import read_created, read_item, read_items
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import FieldType, ItemId, ItemType, VaultId
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import Level, Permission

from .client import AgentClient, error_code
from .conftest import World
from .item_updates import ATTACHMENT, REFUSED, Change, add, begin, delete, detail, item, line, path_of, posted, put, summary

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


@pytest.fixture
async def vault_id(world: World) -> VaultId:
    """Make a vault with two items of a token and an attachment."""
    return world.vault(items=2)


@pytest.fixture
async def writer(world: World, vault_id: VaultId) -> AgentClient:
    """Make an agent that may write."""
    return await world.granted(vault_id, Level.WRITE)


@pytest.fixture
async def item_id(vault_id: VaultId, writer: AgentClient) -> ItemId:
    """Return the first item."""
    return (await writer.summary(vault_id)).items[0].id


class Reader:
    """An agent that remembers what it has proven of one vault."""

    def __init__(self, agent: AgentClient, vault_id: VaultId) -> None:
        self.agent = agent
        self.vault_id = vault_id
        self.trust = VaultTrust()

    async def fields(self, item_id: ItemId) -> tuple[ProvenField, ...]:
        """Prove an item, against everything that was seen before."""
        since = "" if self.trust.head is None else f"?sinceTreeSize={self.trust.head.size}"
        served = read_directory(await self.agent.get(f"/vault/{self.vault_id}/public-keys{since}"))
        trust, directory = advance(self.trust, served, self.vault_id, TOFU)
        trust, proven = advance_summary(trust, read_items(await self.agent.get(f"/vault/{self.vault_id}/items")), directory)
        found = read_item(await self.agent.get(f"/vault/{self.vault_id}/items/{item_id}"))
        self.trust, _, fields = advance_item(trust, found, item_id, proven, directory)
        return fields

    async def values(self, item_id: ItemId) -> dict[str, str]:
        """Open every value of an item, by field name."""
        dek, opened = await self.agent.dek(self.vault_id), {}
        for field in await self.fields(item_id):
            place = field.item.place(field.line)
            if place is not None and field.envelope is not None:
                opened[field.line.name] = open_envelope(dek.key, place, field.envelope, self.agent.known, armed=False).reveal()
        return opened


async def refuse(world: World, agent: AgentClient, item_id: ItemId, body: object, status: int, code: str) -> str:
    """Send an update that must be refused without a trace; returns what the refusal says."""
    before = world.dump()
    response = await agent.call("PATCH", path_of(item_id), body)
    assert (response.status_code, error_code(response)) == (status, code), response.text
    assert world.dump() == before
    return str(response.json()["error"]["message"])


async def test_a_changed_item_proves_and_opens(world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """One request changes a value, adds a field, renames and retypes; a reader who knew the item accepts all of it."""
    reader = Reader(writer, vault_id)
    (token, attachment) = await reader.fields(item_id)
    update = await begin(
        writer,
        vault_id,
        item_id,
        item(name="Renamed", type=ItemType.LOGIN, websites=("https://example.com", "https://example.org")),
        put(0, "a new value", name="API Token", type=FieldType.PASSWORD),
        add("User", FieldType.TEXT, "two\nlines \N{SNOWMAN}"),
    )
    response = await update.send()
    assert (response.status_code, read_created(response.json())) == (200, item_id)
    fields = {field.line.name: field.line for field in await reader.fields(item_id)}
    assert list(fields) == ["API Token", "Attachment", "User"]
    assert fields["API Token"].instance_ids == (*token.line.instance_ids, update.detail.fields[0].instance_ids[-1])
    assert fields["Attachment"] == attachment.line
    assert fields["User"].order == 2
    assert await reader.values(item_id) == {"API Token": "a new value", "User": "two\nlines \N{SNOWMAN}"}
    stored = await writer.summary(vault_id)
    assert (stored.version, stored.items[0].name, stored.items[0].type) == (update.summary.version, "Renamed", "LOGIN")
    assert "a new value" in {value.reveal() for value in world.operator.open_values(vault_id).values()}


async def test_the_operator_goes_on_from_a_change(world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """A new key seals the older instances too; revoking the writer has the operator sign what it signed last."""
    reader = Reader(await world.granted(vault_id, Level.READ, 1), vault_id)
    await (await begin(writer, vault_id, item_id, put(0, "second"))).send()
    await (await begin(writer, vault_id, item_id, put(0, "third"), add("User", FieldType.TEXT, "x"))).send()
    await (await begin(writer, vault_id, item_id, delete(2))).send()
    assert world.operator.rotate_dek(vault_id) == 2
    world.operator.revoke(writer.credentials.agent_id, vault_id)
    assert await reader.values(item_id) == {"Token": "third"}


async def test_older_values_are_kept_and_not_served(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId
) -> None:
    """The latest instance alone is answered, with the item and with the field; the older ones stay in the store."""
    update = await begin(writer, vault_id, item_id, put(0, "second"))
    (old, _), field_id = update.detail.fields[0].instance_ids, update.detail.fields[0].id
    (older,) = [row for row in instances(world) if row[0] == old]
    await update.send()
    served = read_item(await writer.get(f"/vault/{vault_id}/items/{item_id}")).fields[0].envelope
    assert served == update.updates[0]["value"]
    alone = (await writer.call("GET", f"/vault/{vault_id}/fields/{field_id}")).json()
    assert (alone["value"], alone["fieldInstanceId"]) == (served, update.detail.fields[0].instance_ids[-1])
    assert older in instances(world)


async def test_a_deleted_field_is_gone_for_readers_and_kept_in_the_store(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId
) -> None:
    """It is in no answer any more, its row and its values stay, and its id is not free again."""
    update = await begin(writer, vault_id, item_id, delete(0))
    (token,) = [field for field in (await Reader(writer, vault_id).fields(item_id)) if field.line.name == "Token"]
    kept = instances(world)
    assert (await update.send()).status_code == 200
    assert [field.line.name for field in await Reader(writer, vault_id).fields(item_id)] == ["Attachment"]
    listed = (await writer.call("GET", f"/vault/{vault_id}/items")).json()["items"]
    assert [row["fieldCount"] for row in listed] == [1, 2]
    alone = await writer.call("GET", f"/vault/{vault_id}/fields/{token.line.id}")
    assert (alone.status_code, error_code(alone)) == (404, "vault_item_not_found")
    assert instances(world) == kept
    assert token.line.id not in world.operator.open_values(vault_id)
    again = await begin(writer, vault_id, item_id, add("Token", FieldType.SECRET, "x"), line(1, id=token.line.id))
    assert "in use" in await refuse(world, writer, item_id, posted(fieldId=token.line.id)(again).signed(), 400, "invalid_request")


def instances(world: World) -> list[tuple[str, str, str]]:
    """Return every stored instance: id, field, envelope."""
    with world.store.read() as db:
        return [(row["id"], row["field_id"], row["envelope"]) for row in db.execute("SELECT * FROM field_instances ORDER BY id")]


NOTHING_NEW: Mapping[str, tuple[Change, ...]] = {
    "a name": (item(name="Renamed"),),
    "a field's name": (put(ATTACHMENT, name="Contract"),),
    "a field's order": (put(0, order=9),),
    "two fields' order": (put(0, order=1), put(ATTACHMENT, order=0)),
    "nothing at all": (),
}


@pytest.mark.parametrize("changes", NOTHING_NEW.values(), ids=NOTHING_NEW.keys())
async def test_what_changes_no_value_keeps_every_instance(
    vault_id: VaultId, writer: AgentClient, item_id: ItemId, changes: tuple[Change, ...]
) -> None:
    """A rename needs no value: instances stay, both versions grow."""
    reader = Reader(writer, vault_id)
    before = {field.line.id: field.line.instance_ids for field in await reader.fields(item_id)}
    update = await begin(writer, vault_id, item_id, *changes)
    assert (await update.send()).status_code == 200
    assert {field.line for field in await reader.fields(item_id)} == set(update.detail.fields)
    assert {field.id: field.instance_ids for field in update.detail.fields} == before
    assert await reader.values(item_id) == {"Token": "demo-token-0"}


@pytest.mark.parametrize(("reason", "changes"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_change_that_breaks_a_rule_is_refused_and_changes_nothing(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId, reason: str, changes: tuple[Change, ...]
) -> None:
    """400 that says which rule, quotes nothing, and leaves the store the same, row by row."""
    update = await begin(writer, vault_id, item_id, *changes)
    said = await refuse(world, writer, item_id, update.signed(), 400, "invalid_request")
    assert reason in said
    assert "hunter2" not in said


async def test_a_detail_of_another_item_is_refused(world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId) -> None:
    """The path names the item, and the detail must."""
    other = (await writer.summary(vault_id)).items[1].id
    update = await begin(writer, vault_id, other, put(0, "x"))
    assert "rule 3" in await refuse(world, writer, item_id, update.signed(), 400, "invalid_request")


@pytest.mark.parametrize("change", [detail, summary])
@pytest.mark.parametrize("step", [-1, 1, 2])
async def test_another_version_than_the_next_is_a_conflict(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId, change: Callable[..., Change], step: int
) -> None:
    """409 for the summary and for the detail; the version that both would have had is the only one taken."""
    update = await begin(writer, vault_id, item_id, put(0, "x"))
    version = (update.detail if change is detail else update.summary).version + step
    await refuse(world, writer, item_id, change(version=version)(update).signed(), 409, "checkpoint_version_conflict")
    assert (await update.send()).status_code == 200


@pytest.mark.parametrize("changes", [(put(0, "x"),), (add("More", FieldType.TEXT, "x"),), (delete(0),)])
async def test_a_repeated_change_is_a_conflict(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId, changes: tuple[Change, ...]
) -> None:
    """A retry after a lost answer meets the version check before anything else."""
    update = await begin(writer, vault_id, item_id, *changes)
    assert (await update.send()).status_code == 200
    await refuse(world, writer, item_id, update.signed(), 409, "checkpoint_version_conflict")


@pytest.mark.parametrize("where", ["the same item", "another item"])
async def test_an_instance_id_is_used_once(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId, where: str
) -> None:
    """Neither an older instance of the field nor one of another item comes again."""
    own, other = (await writer.summary(vault_id)).items
    found = read_item(await writer.get(f"/vault/{vault_id}/items/{(own if where == 'the same item' else other).id}"))
    used = found.fields[0].line.instance_ids[0]
    update = await begin(writer, vault_id, item_id, add("More", FieldType.TEXT, "x"), line(2, instance_ids=(used,)))
    body = posted(fieldInstanceId=used)(update).signed()
    assert "in use" in await refuse(world, writer, item_id, body, 400, "invalid_request")


@pytest.mark.parametrize("member", ["summaryCheckpoint", "detailCheckpoint"])
async def test_both_checkpoints_are_signed_by_the_callers_current_key(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId, member: str
) -> None:
    """Another writer's is a 403, another key's under the right id a 400, none at all a 400."""
    other = await world.granted(vault_id, Level.WRITE, 1)
    update = await begin(writer, vault_id, item_id, put(0, "x"))
    good = update.signed()
    others = {**good, member: replace(update, agent=other).signed()[member]}
    await refuse(world, writer, item_id, others, 403, "checkpoint_signer_required")
    forged = {**good, member: replace(update, agent=replace(writer, key=world.keys.agents[1])).signed()[member]}
    await refuse(world, writer, item_id, forged, 400, "invalid_request")
    swapped = {**good[member], "signature": good["detailCheckpoint" if member[0] == "s" else "summaryCheckpoint"]["signature"]}
    for broken in (None, {"checkpoint": good[member]["checkpoint"]}, swapped):
        await refuse(world, writer, item_id, {**good, member: broken}, 400, "invalid_request")
    await refuse(world, writer, item_id, {key: value for key, value in good.items() if key != member}, 400, "invalid_request")
    retired = await begin(writer, vault_id, item_id, put(0, "x"))
    new = writer.successor(world.keys.agents[2])
    assert (await writer.call("POST", "/vault/public-key", await writer.rotation_body(new))).status_code == 201
    await refuse(world, writer, item_id, retired.signed(), 403, "checkpoint_signer_required")
    assert (await replace(retired, agent=new).send()).status_code == 200


async def test_an_item_that_is_not_visible_does_not_exist(world: World, writer: AgentClient, item_id: ItemId) -> None:
    """Items of others, archived ones and none at all get the same 404, whatever is posted."""
    hidden = world.vault("Hidden")
    with world.store.read() as db:
        (row,) = db.execute("SELECT id FROM items WHERE vault_id = ?", (hidden,)).fetchall()
    gone, vault = world.vault("Gone"), world.vault("Archived")
    for shared in (gone, vault):
        world.operator.grant(writer.credentials.agent_id, shared, Level.WRITE)
    archived = [(await writer.summary(shared)).items[0].id for shared in (gone, vault)]
    world.operator.archive_item(gone, archived[0])
    world.operator.archive_vault(vault)
    for absent in (row["id"], *archived, new_id(), "not-an-id"):
        await refuse(world, writer, ItemId(absent), {}, 404, "vault_item_not_found")
    await refuse(world, writer, item_id, {}, 400, "invalid_request")


async def test_a_change_needs_write_access_and_the_permission(
    world: World, vault_id: VaultId, writer: AgentClient, item_id: ItemId
) -> None:
    """403 ``permission_denied`` that names the level, or the permission."""
    update = await begin(writer, vault_id, item_id, put(0, "x"))
    world.operator.grant(writer.credentials.agent_id, vault_id, Level.READ)
    assert "WRITE" in await refuse(world, writer, item_id, update.signed(), 403, "permission_denied")
    world.operator.grant(writer.credentials.agent_id, vault_id, Level.WRITE)
    world.operator.revoke_permission(writer.credentials.agent_id, Permission.VAULT_WRITE)
    said = await refuse(world, writer, item_id, update.signed(), 403, "permission_denied")
    assert Permission.VAULT_WRITE in said


async def test_an_agent_without_a_key_is_told_to_register(world: World, vault_id: VaultId, item_id: ItemId) -> None:
    """409 ``encryption_key_required``; one that was granted before it registered is no signer yet: 403."""
    early = world.agent(1)
    world.operator.grant(early.credentials.agent_id, vault_id, Level.WRITE)
    await refuse(world, early, item_id, {}, 409, "encryption_key_required")
    await early.register()
    await refuse(world, early, item_id, {}, 403, "checkpoint_signer_required")
