"""The signer log only grows, and every state of it proves against every earlier one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from r4_mcp.core.directory import Directory, advance, read_directory
from r4_mcp.core.trust import SignerStatus, SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import KeyId, SignerType, VaultId
from r4_mcp.errors import InvalidArgumentError, TransparencyError
from r4_mcp.machine.contract import Level

from .client import AgentClient
from .conftest import World

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


async def proven(
    agent: AgentClient, vault_id: VaultId, state: VaultTrust, anchors: TrustAnchors = TOFU
) -> tuple[VaultTrust, Directory]:
    """Fetch the directory with a proof from what is remembered, and prove it."""
    since = "" if state.head is None else f"?sinceTreeSize={state.head.size}"
    return advance(state, read_directory(await agent.get(f"/vault/{vault_id}/public-keys{since}")), vault_id, anchors)


async def rotate(world: World, agent: AgentClient, number: int) -> AgentClient:
    """Rotate an agent's key."""
    new = agent.successor(world.keys.agents[number])
    assert (await agent.call("POST", "/vault/public-key", await agent.rotation_body(new))).status_code == 201
    return new


async def growth(world: World, vault_id: VaultId) -> AsyncIterator[AgentClient]:
    """Let the log grow by one signer at a time, yielding an agent that can read."""
    agent = await world.granted(vault_id, Level.READ)
    yield agent
    for number in (1, 2):
        agent = await rotate(world, agent, number)
        yield agent


async def test_each_growth_of_the_log_continues_every_earlier_head(world: World) -> None:
    """From any remembered size to any later one, under continuity alone."""
    vault_id = world.vault()
    states: list[VaultTrust] = []
    sizes: list[int] = []
    async for agent in growth(world, vault_id):
        for remembered in [*states, VaultTrust()]:
            state, directory = await proven(agent, vault_id, remembered)
        assert state.head is not None
        states.append(state)
        sizes.append(state.head.size)
        assert directory.active_of(agent.key.public.fingerprint) is not None
    assert sizes == [2, 3, 4]


async def test_ancestors_stay_and_are_retired(world: World) -> None:
    """A rotated key stands in the directory with its status; the operator's is a person's."""
    vault_id = world.vault()
    first = await world.granted(vault_id, Level.READ)
    second = await rotate(world, first, 1)
    _, directory = await proven(second, vault_id, VaultTrust())
    by_id = {key_id: (signer.kind, signer.status, signer.previous_id) for key_id, signer in directory.signers.items()}
    assert by_id[first.key_id] == (SignerType.AGENT, SignerStatus.RETIRED, None)
    assert by_id[second.key_id] == (SignerType.AGENT, SignerStatus.ACTIVE, first.key_id)
    assert [kind for kind, _, _ in by_id.values()].count(SignerType.USER) == 1


async def test_a_key_that_rotated_before_it_was_granted_brings_its_ancestors(world: World) -> None:
    """The succession is shown whole: the ancestor enters the log first."""
    other, late = world.vault("Other"), world.vault("Late")
    first = await world.granted(other, Level.READ)
    second = await rotate(world, first, 1)
    world.operator.grant(second.credentials.agent_id, late, Level.READ)
    signers = (await second.call("GET", f"/vault/{late}/public-keys")).json()["signers"]
    assert [(signer["id"], signer["leafIndex"]) for signer in signers[1:]] == [(first.key_id, 1), (second.key_id, 2)]
    await proven(second, late, VaultTrust())


async def test_a_new_agent_is_a_stranger_to_those_who_were_there(world: World) -> None:
    """Its key continues nothing, so it may sign nothing until its fingerprint is trusted; the others go on."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ, 0)
    state, _ = await proven(agent, vault_id, VaultTrust())
    newcomer = await world.granted(vault_id, Level.READ, 1)
    _, directory = await proven(agent, vault_id, state)
    assert newcomer.key_id not in directory.signers
    assert directory.strangers[newcomer.key_id] == newcomer.key.public.fingerprint
    assert agent.key_id in directory.signers
    trusted = TrustAnchors(SignerTrust.TOFU, frozenset({newcomer.key.public.fingerprint}))
    _, directory = await proven(agent, vault_id, state, trusted)
    assert newcomer.key_id in directory.signers


async def test_the_proof_is_given_for_sizes_that_the_log_had(world: World) -> None:
    """From 1 to the size there is a proof; otherwise it is null, and a remembered head then refuses."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    path = f"/vault/{vault_id}/public-keys"
    served = {since: (await agent.call("GET", f"{path}?sinceTreeSize={since}")).json()["consistencyProof"] for since in range(4)}
    assert served[0] is None
    assert (served[1]["fromTreeSize"], len(served[1]["hashes"])) == (1, 1)
    assert served[2] == {"fromTreeSize": 2, "hashes": []}
    assert served[3] is None
    state, _ = await proven(agent, vault_id, VaultTrust())
    new = await rotate(world, agent, 1)
    with pytest.raises(TransparencyError):
        advance(state, read_directory(await new.get(path)), vault_id, TOFU)


async def test_a_revoked_signer_stays_in_the_log_and_verifies_nothing(world: World) -> None:
    """REVOKED in this vault alone; the same key is not admitted again."""
    vault_id, elsewhere = world.vault("One"), world.vault("Two")
    agent = await world.granted(vault_id, Level.READ)
    world.operator.grant(agent.credentials.agent_id, elsewhere, Level.READ)
    witness = await world.granted(vault_id, Level.READ, 1)
    world.operator.revoke(agent.credentials.agent_id, vault_id)
    _, here = await proven(witness, vault_id, VaultTrust())
    _, there = await proven(agent, elsewhere, VaultTrust())
    assert here.signers[agent.key_id].status is SignerStatus.REVOKED
    assert there.signers[agent.key_id].status is SignerStatus.ACTIVE
    with pytest.raises(InvalidArgumentError):
        world.operator.grant(agent.credentials.agent_id, vault_id, Level.READ)
    rotated = await rotate(world, agent, 2)
    _, here = await proven(witness, vault_id, VaultTrust())
    assert KeyId(rotated.key_id) not in here.signers
