"""The operator shares, revokes and rotates, and what it leaves behind always proves."""

from __future__ import annotations

import json

import pytest

from r4_mcp.core.checkpoint import advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.encoding import compact_json
from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.served import read_item, read_items
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, ItemType, SignerType, VaultId, read_wrapped_key
from r4_mcp.core.wrapping import advance_dek, dek_pin
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.emulator.fresh import new_id
from r4_mcp.emulator.operator import Operator
from r4_mcp.errors import (
    AlreadyExistsError,
    DisagreementError,
    EnvelopeError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
)
from r4_mcp.machine.contract import Level
from r4_mcp.secret import Secret, SecretKind

from .client import AgentClient, error_code
from .conftest import World

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


async def read_all(world: World, agent: AgentClient, vault_id: VaultId) -> tuple[VaultTrust, dict[FieldId, str]]:
    """Prove a vault from first contact and open every value; returns the trust and the values."""
    state, directory = advance(VaultTrust(), read_directory(await agent.get(f"/vault/{vault_id}/public-keys")), vault_id, TOFU)
    state, summary = advance_summary(state, read_items(await agent.get(f"/vault/{vault_id}/items")), directory)
    entry = read_wrapped_key(await agent.get(f"/vault/{vault_id}/wrapped-key"), "wrapped key")
    state, dek = advance_dek(state, entry, directory, summary, agent.key, world.known)
    values = {}
    for line in summary.checkpoint.items:
        served = read_item(await agent.get(f"/vault/{vault_id}/items/{line.id}"))
        state, item, fields = advance_item(state, served, line.id, summary, directory)
        for field in fields:
            place = item.place(field.line)
            if place is not None and field.envelope is not None:
                opened = open_envelope(dek.key, place, field.envelope, world.known, armed=False)
                values[field.line.id] = opened.reveal()
    return state, values


def plain(values: dict[FieldId, Secret[str]]) -> dict[FieldId, str]:
    """Reveal values, for comparison."""
    return {field_id: value.reveal() for field_id, value in values.items()}


async def test_a_grant_before_registration_shows_the_vault_but_wraps_nothing(world: World) -> None:
    """The vault is visible without key or signer entry; a new grant after registration completes it."""
    vault_id = world.vault()
    agent = world.agent()
    agent_id = agent.credentials.agent_id
    world.operator.grant(agent_id, vault_id, Level.READ)
    unregistered = await agent.call("GET", f"/vault/{vault_id}/wrapped-key")
    assert (unregistered.status_code, error_code(unregistered)) == (404, "encryption_key_not_found")
    await agent.register()
    unwrapped = await agent.call("GET", f"/vault/{vault_id}/wrapped-key")
    assert (unwrapped.status_code, error_code(unwrapped)) == (404, "encryption_key_not_found")
    assert unwrapped.content != unregistered.content
    signers = (await agent.call("GET", f"/vault/{vault_id}/public-keys")).json()["signers"]
    assert [signer["signerType"] for signer in signers] == ["USER_KEY_PAIR"]
    world.operator.grant(agent_id, vault_id, Level.READ)
    _, values = await read_all(world, agent, vault_id)
    assert values == plain(world.operator.open_values(vault_id))


async def test_a_grant_after_registration_is_signed_by_the_operator(world: World) -> None:
    """The entry is wrapped for the agent's active key and names the person as its signer."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    entry = read_wrapped_key(await agent.get(f"/vault/{vault_id}/wrapped-key"), "wrapped key")
    assert (entry.recipient, entry.signer.kind, entry.dek_version) == (agent.key_id, SignerType.USER, 1)


async def test_a_grant_changes_the_level_without_a_second_signer_entry(world: World) -> None:
    """Granting again is harmless."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    assert (await agent.call("DELETE", f"/vault/{vault_id}")).status_code == 403
    world.operator.grant(agent.credentials.agent_id, vault_id, Level.ADMIN)
    directory = (await agent.call("GET", f"/vault/{vault_id}/public-keys")).json()
    assert directory["head"]["treeSize"] == 2
    assert (await agent.call("DELETE", f"/vault/{vault_id}")).status_code == 204


async def test_a_revoked_agent_loses_the_vault_and_others_keep_what_it_wrote(world: World) -> None:
    """The operator signs again what the revoked agent signed last, so readers still prove every item."""
    vault_id = world.vault()
    writer = await world.granted(vault_id, Level.WRITE, 0)
    parts = await writer.item_parts(vault_id, fields=[("Token", FieldType.SECRET, "demo-written")])
    assert (await writer.post_item(vault_id, parts)).status_code == 201
    reader = await world.granted(vault_id, Level.READ, 1)
    world.operator.revoke(writer.credentials.agent_id, vault_id)
    gone = await writer.call("GET", f"/vault/{vault_id}")
    assert (gone.status_code, error_code(gone)) == (404, "vault_not_found")
    state, values = await read_all(world, reader, vault_id)
    assert "demo-written" in values.values()
    assert state.details[ItemId(parts.body["id"])].version == 2
    assert (await reader.summary(vault_id)).version == parts.summary.version + 1


async def test_revoking_the_only_signer_of_a_vault_leaves_nobody_to_sign(world: World) -> None:
    """A vault that an agent shared with nobody is taken from it all the same."""
    agent = await world.registered()
    vault_id = await agent.create_vault()
    world.operator.revoke(agent.credentials.agent_id, vault_id)
    assert (await agent.call("GET", "/vault")).json() == {"vaults": []}


async def test_a_permission_is_granted_and_revoked_at_once(world: World) -> None:
    """The next request meets it."""
    agent = world.agent(permissions=[])
    assert (await agent.call("GET", "/vault")).status_code == 403
    world.operator.grant_permission(agent.credentials.agent_id, "machine.vault.all")
    assert (await agent.call("GET", "/vault")).status_code == 200
    world.operator.revoke_permission(agent.credentials.agent_id, "machine.vault.all")
    assert (await agent.call("GET", "/vault")).status_code == 403


async def test_a_new_dek_seals_every_live_value_again_in_its_place(world: World) -> None:
    """Values, ids and detail checkpoints stay; ciphertext, DEK and summary version change; old entries are replaced."""
    vault_id = world.vault(items=3)
    agent = await world.granted(vault_id, Level.WRITE)
    await agent.post_item(vault_id, await agent.item_parts(vault_id))
    before, values = await read_all(world, agent, vault_id)
    old_summary, old_pin = await agent.summary(vault_id), dek_pin(await agent.dek(vault_id))
    assert world.operator.rotate_dek(vault_id) == 2
    after, same = await read_all(world, agent, vault_id)
    assert same == values == plain(world.operator.open_values(vault_id))
    assert after.details == before.details
    summary = await agent.summary(vault_id)
    assert (summary.version, summary.dek_version) == (old_summary.version + 1, 2)
    assert summary.items == old_summary.items
    assert dek_pin(await agent.dek(vault_id)) != old_pin
    assert (await agent.post_item(vault_id, await agent.item_parts(vault_id, "After"))).status_code == 201


async def test_a_second_process_goes_on_with_the_operators_key(world: World) -> None:
    """The operator's own wrapped keys are in the store."""
    vault_id = world.vault()
    again = Operator.open(world.store, world.keys.operator, world.known)
    assert plain(again.open_values(vault_id)) == plain(world.operator.open_values(vault_id))
    assert again.vaults() == {"Production": vault_id}
    with pytest.raises(AlreadyExistsError):
        Operator.create(world.store, world.keys.operator, world.known)
    with pytest.raises(NotFoundError):
        Operator.open(world.store, world.keys.agents[0], world.known)


async def test_bulk_creation_needs_one_summary(world: World) -> None:
    """Many items under one version, each with its ids in the order given."""
    vault_id = world.operator.create_vault("Bulk", Classification.INTERNAL)
    drafts = [
        ItemDraft(
            f"Note {number}",
            ItemType.SECURE_NOTE,
            [],
            [FieldDraft("Body", FieldType.TEXT, world.known.text(f"body {number}", SecretKind.FIELD, armed=False))],
        )
        for number in range(20)
    ]
    created = world.operator.create_items(vault_id, drafts)
    values = plain(world.operator.open_values(vault_id))
    assert [values[item.field_ids[0]] for item in created] == [f"body {number}" for number in range(20)]
    agent = await world.granted(vault_id, Level.READ)
    summary = await agent.summary(vault_id)
    assert (summary.version, summary.classification) == (2, Classification.INTERNAL)
    assert [line.id for line in summary.items] == [item.item_id for item in created]


async def test_an_archived_item_leaves_the_summary(world: World) -> None:
    """One version more, one item less; an unknown one is an error."""
    vault_id = world.vault(items=0)
    value = world.known.text("demo", SecretKind.FIELD)
    item = world.operator.create_item(vault_id, "Gone", ItemType.CUSTOM, [], [FieldDraft("Key", FieldType.SECRET, value)])
    world.operator.archive_item(vault_id, item.item_id)
    agent = await world.granted(vault_id, Level.READ)
    summary = await agent.summary(vault_id)
    assert (summary.version, summary.items) == (3, ())
    with pytest.raises(NotFoundError):
        world.operator.archive_item(vault_id, item.item_id)


@pytest.mark.parametrize("kind", [FieldType.TEXT, FieldType.FILE])
def test_a_field_has_a_value_unless_it_is_a_file(world: World, kind: FieldType) -> None:
    """The other way round is refused, and nothing is created."""
    vault_id = world.vault()
    value = world.known.text("x", SecretKind.FIELD, armed=False) if kind is FieldType.FILE else None
    before = world.dump()
    with pytest.raises(InvalidArgumentError):
        world.operator.create_item(vault_id, "Odd", ItemType.CUSTOM, [], [FieldDraft("Field", kind, value)])
    assert world.dump() == before


def test_the_operator_names_what_does_not_exist(world: World) -> None:
    """Unknown agents and vaults are errors."""
    vault_id, agent_id = world.vault(), world.agent().credentials.agent_id
    with pytest.raises(NotFoundError):
        world.operator.grant(new_id(), vault_id, Level.READ)
    with pytest.raises(NotFoundError):
        world.operator.grant(agent_id, VaultId(new_id()), Level.READ)
    with pytest.raises(NotFoundError):
        world.operator.revoke(agent_id, VaultId(new_id()))
    with pytest.raises(NotFoundError):
        world.operator.grant_permission(new_id(), "machine.all")
    with pytest.raises(NotFoundError):
        world.operator.create_project("Empty", members=[new_id()])


def tamper(world: World, statement: str, *values: str) -> None:
    """Change the store behind everyone's back."""
    with world.store.write() as db:
        db.execute(statement, values)


def test_the_operator_signs_nothing_over_a_summary_that_does_not_verify(world: World) -> None:
    """A summary changed in the file stops every write, and the file stays as it is."""
    vault_id = world.vault(items=2)
    tamper(world, """UPDATE vaults SET summary = replace(summary, '"version":2', '"version":9')""")
    before = world.dump()
    with pytest.raises(SignatureError):
        world.operator.create_items(vault_id, [])
    with pytest.raises(SignatureError):
        world.operator.rotate_dek(vault_id)
    with pytest.raises(SignatureError):
        world.operator.grant(world.agent().credentials.agent_id, vault_id, Level.READ)
    assert [line for line in world.dump().splitlines() if "agent" not in line] == [
        line for line in before.splitlines() if "agent" not in line
    ]


def test_the_operator_notices_an_item_that_the_summary_does_not_list(world: World) -> None:
    """Served ids equal signed ids, also for the operator."""
    vault_id = world.vault(items=2)
    tamper(world, "UPDATE items SET archived_at = 'now' WHERE name = ?", "Item 0")
    with pytest.raises(DisagreementError):
        world.operator.open_values(vault_id)


def test_the_operator_notices_ciphertext_that_was_moved(world: World) -> None:
    """An envelope opens in its own place alone."""
    vault_id = world.vault(items=2)
    with world.store.read() as db:
        first, second = db.execute("SELECT id, envelope FROM field_instances ORDER BY rowid").fetchall()
    tamper(world, "UPDATE field_instances SET envelope = ? WHERE id = ?", first["envelope"], second["id"])
    with pytest.raises(EnvelopeError):
        world.operator.rotate_dek(vault_id)


@pytest.mark.parametrize(("member", "error"), [("dekVersion", DisagreementError), ("wrappedDek", SignatureError)])
def test_the_operator_opens_no_wrapped_key_but_its_own(world: World, member: str, error: type[Exception]) -> None:
    """A stored entry of another version or content is refused before it is decrypted."""
    vault_id = world.vault()
    with world.store.read() as db:
        entry: dict[str, str | int] = json.loads(db.execute("SELECT entry FROM wrapped_keys").fetchone()["entry"])
    changed = {**entry, member: 2 if member == "dekVersion" else "AAAA"}
    tamper(world, "UPDATE wrapped_keys SET entry = ?", compact_json(changed))
    with pytest.raises(error):
        world.operator.open_values(vault_id)
