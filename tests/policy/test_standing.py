"""``whoami``: each state of an agent has its sentence and its exact next step, and nothing is changed by asking."""

from __future__ import annotations

from r4_mcp.machine.contract import Level
from tests.doors import World, in_memory


async def test_everything_in_place(calm: World) -> None:
    """Registered, granted: nothing is missing, and the listing is the next step."""
    async with in_memory(calm.environment) as door:
        standing = await door.ok("whoami")
    assert (standing["configured"], standing["scope"], standing["agent"]) == (True, "AGENT", "Demo agent")
    assert (standing["key"], standing["missing"], standing["waiting_for_grant"]) == ("registered", [], [])
    assert calm.seeded.agent_key.public.fingerprint.startswith(standing["fingerprint"])
    assert len(standing["fingerprint"]) == 16
    assert "list_vaults" in standing["next_step"]


async def test_asking_registers_nothing(world: World) -> None:
    """An agent without a registered key stays so; the next step names the call that registers it."""
    _, environment = world.new_agent()
    before = world.dump()
    async with in_memory(environment) as door:
        for _ in range(2):
            standing = await door.ok("whoami")
            assert standing["key"] == "not_registered"
            assert "list_vaults" in standing["next_step"]
    assert world.dump() == before
    assert {exchange.method for exchange in world.tap.exchanges} == {"GET"}


async def test_a_registered_agent_without_vaults(world: World) -> None:
    """No vault is visible: the operator, or create_vault."""
    _, environment = world.new_agent()
    async with in_memory(environment) as door:
        assert (await door.ok("list_vaults"))["vaults"] == []
        standing = await door.ok("whoami")
    assert standing["key"] == "registered"
    assert standing["missing"] == ["No vault is visible to this agent."]
    assert "create_vault" in standing["next_step"]


async def test_vaults_that_wait_are_listed_and_the_others_are_not(world: World) -> None:
    """One granted too early, one in time."""
    agent_id, environment = world.new_agent()
    world.seeded.operator.grant(agent_id, world.vault_id("Production"), Level.READ)
    async with in_memory(environment) as door:
        await door.ok("list_vaults")
        world.seeded.operator.grant(agent_id, world.vault_id("Engineering"), Level.READ)
        standing = await door.ok("whoami")
    assert standing["waiting_for_grant"] == ["r4://Production"]
    assert "1 visible vault" in standing["missing"][0]


async def test_a_missing_permission_is_a_sentence_too(world: World) -> None:
    """Whoami never fails: what it can't see is said."""
    world.seeded.operator.revoke_permission(world.seeded.credentials.agent_id, "machine.vault.read")
    async with in_memory(world.environment) as door:
        standing = await door.ok("whoami")
    assert "machine.vault.read" in standing["missing"][0]
    assert "operator" in standing["next_step"]
