"""A key is registered once, again at no cost, and replaced only as the contract allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from r4_mcp.core.signing import Context, sign
from r4_mcp.core.wire import KeyId, KeyRotation, VaultId
from r4_mcp.core.wrapping import dek_pin
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import Level

from .client import AgentClient, error_code
from .conftest import World

PATH = "/vault/public-key"
Rotation: TypeAlias = Callable[[AgentClient, AgentClient, dict[str, Any]], dict[str, Any]]


async def test_a_first_key_is_registered_under_the_chosen_id(world: World) -> None:
    """201 with all members; the operator sees the host name."""
    agent = world.agent()
    body = {"publicKey": agent.key.public.pem, "encryptionKeyId": agent.key_id}
    response = await agent.call("POST", PATH, body, {"X-R4-Agent-Hostname": "build-7"})
    assert response.status_code == 201
    assert response.json() == {
        "encryptionKeyId": agent.key_id,
        "publicKey": agent.key.public.pem,
        "fingerprint": agent.key.public.fingerprint,
        "previousEncryptionKeyId": None,
        "rotationSignature": None,
    }
    assert "build-7" in world.dump()


async def test_the_service_chooses_an_id_if_the_client_does_not(world: World) -> None:
    """``encryptionKeyId`` is optional."""
    agent = world.agent()
    response = await agent.call("POST", PATH, {"publicKey": agent.key.public.pem})
    assert response.status_code == 201
    assert len(response.json()["encryptionKeyId"]) == 24


async def test_the_same_key_again_is_idempotent(world: World) -> None:
    """The same answer, even under another proposed id, and nothing is stored."""
    agent = await world.registered()
    before = world.dump()
    first = await agent.register()
    second = await agent.call("POST", PATH, {"publicKey": agent.key.public.pem, "encryptionKeyId": new_id()})
    assert (first.status_code, first.json()["encryptionKeyId"]) == (201, agent.key_id)
    assert second.content == first.content
    assert world.dump() == before


async def test_without_vaults_a_different_key_replaces_the_first(world: World) -> None:
    """No continuity is asked for while nothing is shared; the old key does not come back."""
    agent = await world.registered()
    other = agent.successor(world.keys.agents[1])
    assert (await other.register()).status_code == 201
    assert (await other.call("GET", "/me")).json()["activeEncryptionKeyId"] == other.key_id
    back = await agent.register()
    assert (back.status_code, error_code(back)) == (409, "key_already_rotated")


async def test_with_vaults_a_different_key_needs_continuity(world: World) -> None:
    """409 ``key_rotation_incomplete``, and nothing changes: no silent replacement."""
    agent = await world.granted(world.vault(), Level.READ)
    before = world.dump()
    response = await agent.successor(world.keys.agents[1]).register()
    assert (response.status_code, error_code(response)) == (409, "key_rotation_incomplete")
    assert world.dump() == before


async def test_a_key_id_of_someone_else_is_not_taken(world: World) -> None:
    """Ids are unique across agents."""
    first = await world.registered(0)
    second = replace(world.agent(1), key_id=first.key_id)
    response = await second.register()
    assert (response.status_code, error_code(response)) == (400, "invalid_request")


def elliptic_pem() -> str:
    """Return a public key that is not RSA."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_what_is_not_an_rsa_public_key_is_refused(world: World) -> None:
    """Private keys, other kinds of keys and other types change nothing and are not quoted."""
    agent = world.agent()
    before = world.dump()
    for wrong in (None, 7, "", "hunter2", elliptic_pem()):
        response = await agent.call("POST", PATH, {"publicKey": wrong})
        assert (response.status_code, error_code(response)) == (400, "invalid_request")
        assert "hunter2" not in response.text
    assert world.dump() == before


async def test_a_complete_rotation_switches_everything_at_once(world: World) -> None:
    """Every DEK opens with the new key and is the same, the directory shows the succession, the old key is retired."""
    vaults = [world.vault(f"Vault {number}") for number in range(3)]
    agent = await world.granted(vaults[0], Level.READ)
    for vault_id in vaults[1:]:
        world.operator.grant(agent.credentials.agent_id, vault_id, Level.WRITE)
    pins = [dek_pin(await agent.dek(vault_id)) for vault_id in vaults]
    new = agent.successor(world.keys.agents[1])
    body = await agent.rotation_body(new)
    response = await agent.call("POST", PATH, body)
    assert response.status_code == 201
    assert response.json()["previousEncryptionKeyId"] == agent.key_id
    assert response.json()["rotationSignature"] == body["rotationSignature"]
    assert [dek_pin(await new.dek(vault_id)) for vault_id in vaults] == pins
    for vault_id in vaults:
        signers = (await new.call("GET", f"/vault/{vault_id}/public-keys")).json()["signers"]
        states = {signer["id"]: (signer["status"], signer["previousId"]) for signer in signers}
        assert states[agent.key_id] == ("RETIRED", None)
        assert states[new.key_id] == ("ACTIVE", agent.key_id)


async def test_a_rotation_sent_twice_is_answered_alike(world: World) -> None:
    """A retry after a lost answer finds the key registered; a second successor of the old key is refused."""
    agent = await world.granted(world.vault(), Level.READ)
    new, third = agent.successor(world.keys.agents[1]), agent.successor(world.keys.agents[2])
    body, fork = await agent.rotation_body(new), await agent.rotation_body(third)
    first = await agent.call("POST", PATH, body)
    before = world.dump()
    second = await agent.call("POST", PATH, body)
    assert (second.status_code, second.content) == (201, first.content)
    forked = await agent.call("POST", PATH, fork)
    assert (forked.status_code, error_code(forked)) == (409, "key_already_rotated")
    back = await agent.register()
    assert (back.status_code, error_code(back)) == (409, "key_already_rotated")
    assert world.dump() == before


def batch(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Rotation:
    """Change the batch."""
    return lambda _, __, body: {**body, "rewrappedVaultKeys": change(body["rewrappedVaultKeys"])}


def without(*members: str) -> Rotation:
    """Leave members out."""
    return lambda _, __, body: {key: value for key, value in body.items() if key not in members}


def member(**members: object) -> Rotation:
    """Change members."""
    return lambda _, __, body: {**body, **members}


def signed_by_new(_: AgentClient, new: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Approve the new key with the new key."""
    payload = KeyRotation(new.key_id, new.key.public.fingerprint, KeyId(body["previousEncryptionKeyId"])).payload()
    return {**body, "rotationSignature": sign(new.key, Context.KEY_ROTATION, payload)}


def signed_for_other_key(old: AgentClient, new: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Approve another public key under the new id."""
    payload = KeyRotation(new.key_id, old.key.public.fingerprint, old.key_id).payload()
    return {**body, "rotationSignature": sign(old.key, Context.KEY_ROTATION, payload)}


def entry_signed_by_old(old: AgentClient, new: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Let the old key sign an entry of the batch."""
    first, *rest = body["rewrappedVaultKeys"]
    forged = replace(new, key=old.key).new_entry(VaultId(first["vaultId"]))
    return {**body, "rewrappedVaultKeys": [forged, *rest]}


def entry_for_old(old: AgentClient, _: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Wrap an entry of the batch for the old key."""
    first, *rest = body["rewrappedVaultKeys"]
    return {**body, "rewrappedVaultKeys": [old.new_entry(VaultId(first["vaultId"])), *rest]}


def entry_of_version_2(_: AgentClient, new: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Wrap another DEK version."""
    first, *rest = body["rewrappedVaultKeys"]
    return {**body, "rewrappedVaultKeys": [new.new_entry(VaultId(first["vaultId"]), 2), *rest]}


def entry_of_other_vault(_: AgentClient, new: AgentClient, body: dict[str, Any]) -> dict[str, Any]:
    """Add an entry for a vault that the agent does not hold."""
    return {**body, "rewrappedVaultKeys": [*body["rewrappedVaultKeys"], new.new_entry(VaultId(new_id()))]}


INCOMPLETE, INVALID = (409, "key_rotation_incomplete"), (400, "invalid_request")
REFUSED_ROTATIONS: Mapping[str, tuple[Rotation, tuple[int, str]]] = {
    "there is no batch": (without("rewrappedVaultKeys"), INCOMPLETE),
    "the batch is empty": (batch(lambda _: []), INCOMPLETE),
    "an entry is missing": (batch(lambda entries: entries[1:]), INCOMPLETE),
    "an entry is of another vault": (entry_of_other_vault, INCOMPLETE),
    "an entry is of another DEK version": (entry_of_version_2, INCOMPLETE),
    "an entry is there twice": (batch(lambda entries: [*entries, entries[0]]), INVALID),
    "an entry is signed by the old key": (entry_signed_by_old, INVALID),
    "an entry is wrapped for the old key": (entry_for_old, INVALID),
    "an entry is damaged": (batch(lambda entries: [{**entries[0], "wrappedDek": "AAAA"}, *entries[1:]]), INVALID),
    "an entry has an unknown member": (batch(lambda entries: [{**entries[0], "more": 1}, *entries[1:]]), INVALID),
    "the continuity signature is missing": (without("rotationSignature"), INVALID),
    "the continuity signature is the new key's": (signed_by_new, INVALID),
    "the continuity signature is for another key": (signed_for_other_key, INVALID),
    "the continuity signature is no base64": (member(rotationSignature="?"), INVALID),
    "the new id is missing": (without("encryptionKeyId"), INVALID),
    "the new id is not the signed one": (member(encryptionKeyId=new_id()), INVALID),
    "the old id is missing": (without("previousEncryptionKeyId"), INCOMPLETE),
    "the old id is nobody's": (member(previousEncryptionKeyId=new_id()), (404, "encryption_key_not_found")),
}


@pytest.mark.parametrize(("change", "expected"), REFUSED_ROTATIONS.values(), ids=REFUSED_ROTATIONS.keys())
async def test_a_rotation_that_breaks_a_rule_is_refused_whole(world: World, change: Rotation, expected: tuple[int, str]) -> None:
    """Nothing of it is stored: the old key stays active and every DEK opens with it."""
    vaults = [world.vault("One"), world.vault("Two")]
    agent = await world.granted(vaults[0], Level.READ)
    world.operator.grant(agent.credentials.agent_id, vaults[1], Level.READ)
    new = agent.successor(world.keys.agents[1])
    body = change(agent, new, await agent.rotation_body(new))
    before = world.dump()
    response = await agent.call("POST", PATH, body)
    assert (response.status_code, error_code(response)) == expected, response.text
    assert world.dump() == before
    for vault_id in vaults:
        await agent.dek(vault_id)


async def grant_another(world: World, agent: AgentClient, _: VaultId) -> None:
    """Share one more vault."""
    world.operator.grant(agent.credentials.agent_id, world.vault("Late"), Level.READ)


async def change_dek(world: World, _: AgentClient, vault_id: VaultId) -> None:
    """Change the DEK."""
    world.operator.rotate_dek(vault_id)


@pytest.mark.parametrize("meanwhile", [grant_another, change_dek])
async def test_a_batch_that_became_incomplete_is_refused_and_can_be_rebuilt(
    world: World, meanwhile: Callable[[World, AgentClient, VaultId], Awaitable[None]]
) -> None:
    """What was shared or changed between fetch and submit is noticed; a batch built afterwards is accepted."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    new = agent.successor(world.keys.agents[1])
    body = await agent.rotation_body(new)
    await meanwhile(world, agent, vault_id)
    response = await agent.call("POST", PATH, body)
    assert (response.status_code, error_code(response)) == INCOMPLETE
    assert (await agent.call("POST", PATH, await agent.rotation_body(new))).status_code == 201


async def test_archived_and_unwrapped_vaults_are_not_part_of_the_batch(world: World) -> None:
    """Only DEKs that the agent holds in live vaults are rewrapped."""
    early, archived, live = world.vault("Early"), world.vault("Archived"), world.vault("Live")
    agent = world.agent()
    world.operator.grant(agent.credentials.agent_id, early, Level.READ)
    await agent.register()
    for vault_id in (archived, live):
        world.operator.grant(agent.credentials.agent_id, vault_id, Level.READ)
    world.operator.archive_vault(archived)
    new = agent.successor(world.keys.agents[1])
    body = await agent.rotation_body(new)
    assert [entry["vaultId"] for entry in body["rewrappedVaultKeys"]] == [live]
    assert (await agent.call("POST", PATH, body)).status_code == 201


async def test_an_agent_without_a_key_has_nothing_to_continue(world: World) -> None:
    """404 ``encryption_key_not_found``."""
    agent = world.agent()
    body = {"publicKey": agent.key.public.pem, "encryptionKeyId": agent.key_id, "previousEncryptionKeyId": new_id()}
    response = await agent.call("POST", PATH, body)
    assert (response.status_code, error_code(response)) == (404, "encryption_key_not_found")
