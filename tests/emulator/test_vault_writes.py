"""A vault is created exactly as it was signed, opens for its creator alone, and is archived by an ADMIN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from r4_mcp.core.encoding import canonical
from r4_mcp.core.wire import Classification, FieldType, ItemId, ItemType, SignedItem, SummaryCheckpoint, VaultId
from r4_mcp.core.wrapping import wrapped_entry
from r4_mcp.emulator.fresh import new_id
from r4_mcp.errors import NotFoundError, SignerError
from r4_mcp.machine.contract import Level

from .client import AgentClient, error_code
from .conftest import World

Change: TypeAlias = Callable[[AgentClient, dict[str, Any]], dict[str, Any]]


def member(**members: object) -> Change:
    """Change members of the body."""
    return lambda _, body: {**body, **members}


def summary(**members: Any) -> Change:  # noqa: ANN401 - the members of SummaryCheckpoint have many types
    """Sign another summary."""

    def change(agent: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
        first = SummaryCheckpoint(VaultId(body["id"]), 1, body["name"], None, 1, (), canonical([]))
        return {**body, "summaryCheckpoint": agent.signed_summary(replace(first, **members))}

    return change


ITEM = SignedItem(ItemId(new_id()), "Early", ItemType.LOGIN, (), None)
REFUSED: Mapping[str, Change] = {
    "the body names another vault": member(id=new_id()),
    "the id is not an id": member(id="vault"),
    "the name differs": member(name="Other"),
    "the classification differs": member(dataClassification="PUBLIC"),
    "the classification is unknown": member(dataClassification="SECRET"),
    "there is no summary": member(summaryCheckpoint=None),
    "there is an unknown member": member(ownerId=new_id()),
    "the summary is for another vault": summary(vault_id=VaultId(new_id())),
    "the summary has version 2": summary(version=2),
    "the summary has DEK version 2": summary(dek_version=2),
    "the summary has an item": summary(items=(ITEM,)),
    "the summary has a group": summary(groups=b"[1]"),
    "the summary is classified": summary(classification=Classification.CUI),
}


async def test_a_created_vault_belongs_to_its_creator(world: World) -> None:
    """ADMIN on it, first in its signer log, and it opens once the wrapped key is stored."""
    agent, other = await world.registered(0), await world.registered(1)
    body = agent.vault_body("Café", Classification.INTERNAL)
    created = await agent.call("POST", "/vault", body)
    assert (created.status_code, created.json()) == (201, {"id": body["id"]})
    vault_id = VaultId(body["id"])
    directory = (await agent.call("GET", f"/vault/{vault_id}/public-keys")).json()
    assert [(signer["id"], signer["leafIndex"], signer["status"]) for signer in directory["signers"]] == [
        (agent.key_id, 0, "ACTIVE")
    ]
    missing = await agent.call("GET", f"/vault/{vault_id}/wrapped-key")
    assert (missing.status_code, error_code(missing)) == (404, "encryption_key_not_found")
    entry = agent.new_entry(vault_id)
    for _ in range(2):
        assert (await agent.call("POST", f"/vault/{vault_id}/wrapped-key", entry)).status_code == 201
    assert (await agent.post_item(vault_id, await agent.item_parts(vault_id))).status_code == 201
    hidden = await other.call("GET", f"/vault/{vault_id}")
    assert (hidden.status_code, error_code(hidden)) == (404, "vault_not_found")
    assert (await agent.call("DELETE", f"/vault/{vault_id}")).status_code == 204


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
async def test_a_vault_that_breaks_a_rule_is_refused_and_changes_nothing(world: World, change: Change) -> None:
    """400 ``vault_creation_failed``, and the store is the same, row by row."""
    agent = await world.registered()
    body = change(agent, agent.vault_body())
    before = world.dump()
    response = await agent.call("POST", "/vault", body)
    assert (response.status_code, error_code(response)) == (400, "vault_creation_failed"), response.text
    assert world.dump() == before


@pytest.mark.parametrize("name", ["", "x" * 256])
async def test_a_vaults_name_has_1_to_255_characters(world: World, name: str) -> None:
    """Signed or not, a name beyond the limits is refused."""
    agent = await world.registered()
    response = await agent.call("POST", "/vault", agent.vault_body(name))
    assert (response.status_code, error_code(response)) == (400, "vault_creation_failed")
    assert (await agent.call("POST", "/vault", agent.vault_body("x" * 255))).status_code == 201


async def test_a_vault_id_is_used_once(world: World) -> None:
    """Archived ids included."""
    agent = await world.registered()
    body = agent.vault_body()
    assert (await agent.call("POST", "/vault", body)).status_code == 201
    assert (await agent.call("DELETE", f"/vault/{body['id']}")).status_code == 204
    before = world.dump()
    response = await agent.call("POST", "/vault", body)
    assert (response.status_code, error_code(response)) == (400, "vault_creation_failed")
    assert world.dump() == before


async def test_a_vault_needs_a_registered_current_key(world: World) -> None:
    """Without a key: 409. Signed with another one: 403. Not verifying: 400."""
    agent, other = world.agent(0), await world.registered(1)
    unregistered = await agent.call("POST", "/vault", agent.vault_body())
    assert (unregistered.status_code, error_code(unregistered)) == (409, "encryption_key_required")
    await agent.register()
    foreign = await agent.call("POST", "/vault", other.vault_body())
    assert (foreign.status_code, error_code(foreign)) == (403, "checkpoint_signer_required")
    forged = await agent.call("POST", "/vault", replace(agent, key=other.key).vault_body())
    assert (forged.status_code, error_code(forged)) == (400, "vault_creation_failed")
    assert (await agent.call("GET", "/vault")).json() == {"vaults": []}


async def test_a_vault_in_a_project_is_visible_to_its_members_without_a_key(world: World) -> None:
    """The project gets WRITE; nobody else can open the vault until someone who can shares it."""
    creator, member_agent = await world.registered(0), await world.registered(1)
    agents = [creator.credentials.agent_id, member_agent.credentials.agent_id]
    project_id = world.operator.create_project("Relaunch", members=agents)
    body = {**creator.vault_body(), "projectId": project_id}
    assert (await creator.call("POST", "/vault", body)).status_code == 201
    (listed,) = (await member_agent.call("GET", f"/vault?projectId={project_id}")).json()["vaults"]
    assert (listed["id"], listed["encryptionKeyId"]) == (body["id"], None)
    assert (await member_agent.call("DELETE", f"/vault/{body['id']}")).status_code == 403
    elsewhere = {**creator.vault_body(), "projectId": new_id()}
    before = world.dump()
    response = await creator.call("POST", "/vault", elsewhere)
    assert (response.status_code, error_code(response)) == (404, "project_not_found")
    assert world.dump() == before


async def test_an_operator_without_the_key_of_an_agents_vault_says_so(world: World) -> None:
    """Rule of the contract: it can be opened by others only after someone who can shares it."""
    agent, other = await world.registered(0), await world.registered(1)
    vault_id = await agent.create_vault()
    with pytest.raises(SignerError):
        world.operator.grant(other.credentials.agent_id, vault_id, Level.READ)
    with pytest.raises(SignerError):
        world.operator.open_values(vault_id)
    with pytest.raises(NotFoundError):
        world.operator.rotate_dek(VaultId(new_id()))


async def test_a_wrapped_key_is_the_agents_own_or_refused(world: World) -> None:
    """Another vault, recipient, version, signer or signature changes nothing; a second DEK neither."""
    agent, other = await world.registered(0), await world.registered(1)
    body = agent.vault_body()
    vault_id = VaultId(body["id"])
    assert (await agent.call("POST", "/vault", body)).status_code == 201
    good = agent.new_entry(vault_id)
    dek = replace(await agent.dek(await agent.create_vault("Elsewhere")), vault_id=vault_id)
    for_other = wrapped_entry(dek, other.key_id, other.key.public, agent.ref, agent.key).payload()
    refused: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
        "another vault": (agent.new_entry(VaultId(new_id())), (400, "invalid_request")),
        "another DEK version": (agent.new_entry(vault_id, 2), (400, "invalid_request")),
        "another recipient": (for_other, (400, "invalid_request")),
        "another signer": (other.new_entry(vault_id), (403, "checkpoint_signer_required")),
        "a false signature": (replace(agent, key=other.key).new_entry(vault_id), (400, "invalid_request")),
        "a changed member": ({**good, "wrappedDek": agent.new_entry(vault_id)["wrappedDek"]}, (400, "invalid_request")),
        "an unknown member": ({**good, "more": 1}, (400, "invalid_request")),
    }
    before = world.dump()
    for what, (entry, expected) in refused.items():
        response = await agent.call("POST", f"/vault/{vault_id}/wrapped-key", entry)
        assert (response.status_code, error_code(response)) == expected, what
    assert world.dump() == before
    assert (await agent.call("POST", f"/vault/{vault_id}/wrapped-key", good)).status_code == 201
    second = await agent.call("POST", f"/vault/{vault_id}/wrapped-key", agent.new_entry(vault_id))
    assert (second.status_code, error_code(second)) == (400, "invalid_request")
    parts = await agent.item_parts(vault_id, fields=[("Token", FieldType.SECRET, "demo-own")])
    assert (await agent.post_item(vault_id, parts)).status_code == 201
