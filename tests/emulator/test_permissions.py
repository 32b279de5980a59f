"""Every endpoint asks for its permission, then for the vault, then for the level."""

from __future__ import annotations

import pytest

from r4_mcp.emulator.app import ROUTES
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import ALL_ENDPOINTS, LEVEL_ORDER, Endpoint, Level

from .client import AgentClient, error_code
from .conftest import World

GUARDED = [endpoint for endpoint in ALL_ENDPOINTS if endpoint.permissions]
LEVELLED = [endpoint for endpoint in ALL_ENDPOINTS if endpoint.level]


def name(endpoint: Endpoint) -> str:
    """Name an endpoint in the test's id."""
    return f"{endpoint.method} {endpoint.path}"


def path_of(endpoint: Endpoint, vault_id: str) -> str:
    """Fill an endpoint's path; ids other than the vault's are of nothing."""
    return endpoint.path.format(vault_id=vault_id, item_id=new_id(), field_id=new_id(), project_id=new_id())


async def code_of(agent: AgentClient, endpoint: Endpoint, vault_id: str) -> tuple[int, str]:
    """Call an endpoint with an empty body; returns status and error code."""
    body: dict[str, str] | None = None if endpoint.method == "GET" else {}
    response = await agent.call(endpoint.method, path_of(endpoint, vault_id), body)
    return response.status_code, "" if response.is_success else error_code(response)


def test_every_endpoint_of_the_contract_is_served() -> None:
    """The emulator serves the contract's endpoints, each once."""
    assert sorted(map(name, ALL_ENDPOINTS)) == sorted(name(route.endpoint) for route in ROUTES)


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=name)
async def test_no_endpoint_answers_without_an_api_key(world: World, endpoint: Endpoint) -> None:
    """An empty key is refused before anything else is looked at."""
    agent = world.agent()
    response = await agent.call(endpoint.method, path_of(endpoint, new_id()), headers={"X-API-Key": "nobody"})
    assert (response.status_code, error_code(response)) == (401, "invalid_api_key")


@pytest.mark.parametrize("endpoint", GUARDED, ids=name)
async def test_an_endpoint_without_its_permission_is_denied_by_name(world: World, endpoint: Endpoint) -> None:
    """403 ``permission_denied`` names the permission, although every other permission and ADMIN are there."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.ADMIN)
    for permission in endpoint.permissions:
        world.operator.revoke_permission(agent.credentials.agent_id, permission)
    response = await agent.call(endpoint.method, path_of(endpoint, vault_id), None if endpoint.method == "GET" else {})
    assert (response.status_code, error_code(response)) == (403, "permission_denied")
    assert response.json()["error"]["requiredPermission"] == endpoint.permissions[0]


@pytest.mark.parametrize("endpoint", GUARDED, ids=name)
async def test_any_one_of_an_endpoints_permissions_is_enough(world: World, endpoint: Endpoint) -> None:
    """Each permission alone, and its group, gets past the permission check."""
    for permission in [*endpoint.permissions, "machine.all"]:
        vault_id = world.vault()
        agent = world.agent(permissions=[permission])
        world.operator.grant(agent.credentials.agent_id, vault_id, Level.ADMIN)
        assert (await code_of(agent, endpoint, vault_id))[1] != "permission_denied"


@pytest.mark.parametrize("endpoint", LEVELLED, ids=name)
async def test_a_vault_that_is_not_shared_does_not_exist(world: World, endpoint: Endpoint) -> None:
    """A vault of others, an archived one and none at all get the same 404."""
    hidden, archived = world.vault("Hidden"), world.vault("Archived")
    agent = await world.granted(archived, Level.ADMIN)
    world.operator.archive_vault(archived)
    for vault_id in (hidden, archived, new_id(), "not-an-id"):
        assert await code_of(agent, endpoint, vault_id) == (404, "vault_not_found")


@pytest.mark.parametrize("endpoint", LEVELLED, ids=name)
async def test_a_level_below_the_endpoints_is_denied_and_one_that_reaches_it_is_not(world: World, endpoint: Endpoint) -> None:
    """403 ``permission_denied`` names both levels."""
    vault_id = world.vault()
    agent = await world.registered()
    assert endpoint.level is not None
    for level in Level:
        world.operator.grant(agent.credentials.agent_id, vault_id, level)
        if LEVEL_ORDER[level] >= LEVEL_ORDER[endpoint.level]:
            assert await code_of(agent, endpoint, vault_id) not in {(403, "permission_denied"), (404, "vault_not_found")}
            break
        response = await agent.call(endpoint.method, path_of(endpoint, vault_id), {})
        assert (response.status_code, error_code(response)) == (403, "permission_denied")
        assert endpoint.level in response.json()["error"]["message"]
        assert "requiredPermission" not in response.json()["error"]
