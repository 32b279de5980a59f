"""Who lacks what: every 403 names the permission or the level and who grants it, and ``whoami`` says so before."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from r4_mcp.emulator.fresh import new_id
from r4_mcp.errors import PermissionDeniedError
from r4_mcp.machine import contract
from r4_mcp.machine.client import MachineClient
from r4_mcp.machine.contract import ALL_ENDPOINTS, Endpoint, Level, Permission
from r4_mcp.machine.pool import open_pool
from r4_mcp.policy.needs import NEEDS
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.server.explain import explain
from r4_mcp.tools import ALL_TOOLS
from tests.cli.running import run
from tests.doors import POLICY, Door, Person, World, in_memory, local_environment, subprocess, text_of, write_private

from .test_inventory import UNLISTED

Call = Callable[[MachineClient, str, str], Awaitable[object]]

CALLS: Final[dict[Endpoint, Call]] = {
    contract.ME: lambda machine, *_: machine.me(),
    contract.REGISTER_KEY: lambda machine, *_: machine.register_key({}, "host"),
    contract.LIST_VAULTS: lambda machine, *_: machine.list_vaults(),
    contract.CREATE_VAULT: lambda machine, *_: machine.create_vault({}),
    contract.ARCHIVE_VAULT: lambda machine, vault, _: machine.archive_vault(vault),
    contract.GET_WRAPPED_KEY: lambda machine, vault, _: machine.wrapped_key(vault),
    contract.PUT_WRAPPED_KEY: lambda machine, vault, _: machine.put_wrapped_key(vault, {}),
    contract.GET_DIRECTORY: lambda machine, vault, _: machine.directory(vault),
    contract.LIST_ITEMS: lambda machine, vault, _: machine.items(vault),
    contract.GET_ITEM: lambda machine, vault, item: machine.item(vault, item),
    contract.GET_FIELD: lambda machine, vault, _: machine.field(vault, new_id()),
    contract.GET_ENVIRONMENT: lambda machine, vault, _: machine.environment_fields(vault),
    contract.CREATE_ITEM: lambda machine, vault, _: machine.create_item(vault, {}),
    contract.UPDATE_ITEM: lambda machine, _, item: machine.update_item(item, {}),
    contract.ARCHIVE_ITEM: lambda machine, vault, item: machine.archive_item(vault, item, {}),
    contract.SYNC: lambda machine, *_: machine.sync(),
    contract.SEARCH: lambda machine, *_: machine.search("x"),
    contract.LIST_PROJECTS: lambda machine, *_: machine.projects(),
    contract.GET_PROJECT: lambda machine, *_: machine.project(new_id()),
    contract.FEEDBACK: lambda machine, *_: machine.feedback({}),
}
"""Every endpoint that the client calls, with any vault and item."""


def test_every_endpoint_that_the_client_calls_is_here() -> None:
    """A new endpoint is not forgotten; nothing asks for one vault alone."""
    assert CALLS.keys() == set(ALL_ENDPOINTS) - {contract.GET_VAULT}


async def refused(world: World, endpoint: Endpoint, vault: str, item: str) -> PermissionDeniedError:
    """Call an endpoint as the seed's agent; it must be refused for what the agent lacks."""
    known = KnownSecrets()
    members = world.agent_members()
    api_key = known.text(f"{members['accessKey']}.{members['accessSecret']}", SecretKind.API_KEY)
    async with open_pool(world.base_url) as connections:
        with pytest.raises(PermissionDeniedError) as raised:
            await CALLS[endpoint](MachineClient(connections, world.base_url, api_key), vault, item)
    return raised.value


def name(endpoint: Endpoint) -> str:
    """Name an endpoint in the test's id."""
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in CALLS if endpoint.permissions], ids=name)
async def test_every_endpoint_names_the_permission_that_is_missing_and_who_grants_it(endpoint: Endpoint, world: World) -> None:
    """Everything else is there: every other permission, and ADMIN access."""
    made = world.add_item("Engineering", "Ours")
    agent_id, vault = world.seeded.credentials.agent_id, world.vault_id("Engineering")
    world.seeded.operator.grant(agent_id, vault, Level.ADMIN)
    for permission in endpoint.permissions:
        world.seeded.operator.revoke_permission(agent_id, permission)
    told = explain(await refused(world, endpoint, vault, made.item_id))
    assert endpoint.permissions[0].value in told.message
    assert told.next_step.startswith("Ask the operator who manages this agent in R4 to grant its API key machine.")
    assert endpoint.permissions[0].value in told.next_step


LEVELLED: Final = [
    (endpoint, level)
    for endpoint in CALLS
    if (level := endpoint.level or endpoint.item_level) is not None and level is not Level.READ
]


@pytest.mark.parametrize(("endpoint", "level"), LEVELLED, ids=[f"{name(endpoint)} {level}" for endpoint, level in LEVELLED])
async def test_every_endpoint_names_the_level_that_is_missing_and_who_grants_it(
    endpoint: Endpoint, level: Level, world: World
) -> None:
    """Every permission is there, but only READ access to the vault."""
    made = world.add_item("Engineering", "Ours")
    agent_id, vault = world.seeded.credentials.agent_id, world.vault_id("Engineering")
    world.seeded.operator.grant(agent_id, vault, Level.READ)
    told = explain(await refused(world, endpoint, vault, made.item_id))
    assert f"with {level.value} access to the vault" in told.message
    assert f"whoever has ADMIN access to the vault, to grant this agent {level.value} access" in told.next_step
    assert endpoint.permissions[0].value in told.next_step


ITEM: Final = "r4://Personal%20Sandbox/Playground"
FIELD: Final = {"name": "a", "type": "TEXT", "value": "not a secret"}
RIGHT: Final[dict[str, dict[str, Any]]] = {
    "exposure": {},
    "list_projects": {},
    "list_vaults": {},
    "list_items": {"vault": "Personal Sandbox"},
    "search_items": {"query": "Playground"},
    "describe_item": {"reference": ITEM},
    "read_secret": {"reference": "r4://Engineering/Sentry"},
    "rotate_key": {},
    "create_vault": {"name": "Ours"},
    "create_item": {"vault": "Personal Sandbox", "name": "Ours", "type": "LOGIN", "fields": [FIELD]},
    "update_item": {"reference": ITEM, "fields": [{"name": "Added", "value": "x", "add": "TEXT"}]},
    "archive_item": {"reference": ITEM},
    "archive_vault": {"reference": "r4://Personal%20Sandbox"},
    "report_gap": {"summary": "s", "details": "d"},
    # Right but for where it goes: nothing leaves this machine. What is lacking shows before.
    "http_request": {
        "method": "GET",
        "url": "https://elsewhere.example",
        "auth": {"bearer": "{{r4://Engineering/Sentry/Auth%20Token}}"},
    },
}
"""Right arguments of every tool that asks the service, in an order in which each finds what it needs."""


def test_every_tool_has_its_needs_written_down() -> None:
    """A new tool is forgotten neither by ``whoami`` nor here."""
    tools = {tool.name for tool in ALL_TOOLS}
    assert NEEDS.keys() == tools
    assert RIGHT.keys() == tools - UNLISTED - {"whoami"}


async def called(door: Door) -> dict[str, str]:
    """Call every tool; returns tool → code of its error, or "ok"."""
    found = {}
    for tool, arguments in RIGHT.items():
        result = await door.result(tool, arguments)
        found[tool] = json.loads(text_of(result))["code"] if result.is_error else "ok"
    return found


async def reasons(door: Door) -> dict[str, str]:
    """Ask who we are; returns tool → why it is unavailable, without those that every policy here hides."""
    standing = await door.ok("whoami")
    told = {line["tool"]: line["reason"] for line in standing["unavailable"]}
    assert all("the operator's policy lists no " in told.pop(tool) for tool in UNLISTED)
    return told


LACKING: Final = [(permission,) for permission in Permission] + [(Permission.AGENT, Permission.WRAPPED_KEY)]


@pytest.mark.parametrize("lacking", LACKING, ids=["+".join(lacking) for lacking in LACKING])
async def test_whoami_says_what_a_missing_permission_costs(lacking: tuple[Permission, ...], world: World) -> None:
    """Exactly the tools that are refused for it are unavailable; the reason names it, and who grants it."""
    agent_id = world.seeded.credentials.agent_id
    world.seeded.operator.grant(agent_id, world.vault_id("Personal Sandbox"), Level.ADMIN)
    async with in_memory(world.environment, answer=Person()) as door:
        # Registered: what follows is about a runtime whose key is.
        await door.ok("list_vaults")
        for permission in lacking:
            world.seeded.operator.revoke_permission(agent_id, permission)
    async with in_memory(world.environment, answer=Person()) as door:
        told = await reasons(door)
        codes = await called(door)
    assert told.keys() == {tool for tool, code in codes.items() if code == "permission_denied"}
    for reason in told.values():
        assert lacking[0].value in reason
        assert "the operator who manages this agent in R4 can grant" in reason
    assert {code for tool, code in codes.items() if tool not in told} <= {"ok", "not_found", "destination_refused"}


@pytest.mark.parametrize("held", [("machine.all",), ("machine.vault.all", "machine.agent.all")])
async def test_a_group_counts_for_what_is_under_it(held: tuple[str, ...], world: World) -> None:
    """``machine.vault.all`` for every vault permission, ``machine.all`` for everything."""
    _, environment = world.new_agent(held)
    async with in_memory(environment) as door:
        told = await reasons(door)
    assert told.keys() == (set() if held == ("machine.all",) else {"list_projects", "report_gap"})


READ_ONLY: Final = {tool.name for tool in ALL_TOOLS if tool.writes}
DENIED: Final[dict[str, tuple[dict[str, str], str, set[str], str]]] = {
    "nothing is off": ({}, "", set(), ""),
    "writing is off": ({"R4_READ_ONLY": "1"}, "", READ_ONLY, "R4_READ_ONLY"),
    "revealing is off": ({"R4_NO_REVEAL": "1"}, "", {"read_secret"}, "R4_NO_REVEAL"),
    "a default denies": ({}, '[defaults]\nreport = "deny"\n', {"report_gap"}, "default: report"),
    "a rule denies": ({}, '[[rule]]\naction = "reveal"\ndecision = "deny"\n', {"read_secret"}, "policy rule 1"),
    "a rule denies some": ({}, '[[rule]]\naction = "reveal"\ndecision = "deny"\nclassification = "PUBLIC"\n', set(), ""),
    "creating is denied": ({}, '[defaults]\ncreate = "deny"\n', {"create_vault", "create_item"}, "denies create"),
    "creating is opened for a class": (
        {},
        '[defaults]\ncreate = "deny"\n[[rule]]\naction = "create"\ndecision = "ask"\nclassification = "PUBLIC"\n',
        set(),
        "",
    ),
    "no class is revealed": (
        {},
        "[defaults.reveal]\n"
        + "".join(f'{kind} = "deny"\n' for kind in ("PUBLIC", "INTERNAL", "UNCLASSIFIED", "CONFIDENTIAL", "CUI", "UNVERIFIED")),
        {"read_secret"},
        "denies reveal",
    ),
    "one class is not revealed": ({}, '[defaults.reveal]\nPUBLIC = "deny"\n', set(), ""),
    "listing is denied": (
        {},
        '[defaults]\nlist = "deny"\n',
        {"exposure", "list_projects", "list_vaults", "list_items", "search_items", "describe_item"},
        "default: list",
    ),
}


@pytest.mark.parametrize("what", DENIED)
async def test_whoami_says_what_the_operator_switched_off(what: str, calm: World) -> None:
    """A switch, a default, a rule; not what is denied for some targets only."""
    environment, policy, tools, reason = DENIED[what]
    write_private(calm.home / "policy.toml", policy or POLICY)
    async with in_memory({**calm.environment, **environment}) as door:
        told = await reasons(door)
    assert told.keys() == tools
    assert all(reason in line for line in told.values())


async def test_whoami_says_which_requests_are_of_use(calm: World) -> None:
    """One that reads is enough; under R4_READ_ONLY one that writes is not; denied by their defaults, none is."""
    listed = {
        'allow = ["GET /webhook"]\n': (False, False),
        'allow = ["POST /webhook"]\n': (False, True),
        'allow = ["GET /webhook"]\n[defaults]\nraw_read = "deny"\nraw_write = "deny"\n': (True, True),
    }
    for text, gone in listed.items():
        write_private(calm.home / "policy.toml", f"[machine_request]\n{text}")
        for environment, unavailable in zip(({}, {"R4_READ_ONLY": "1"}), gone, strict=True):
            async with in_memory({**calm.environment, **environment}) as door:
                standing = await door.ok("whoami")
            assert ("machine_request" in {line["tool"] for line in standing["unavailable"]}) is unavailable, text


async def test_whoami_says_that_the_policy_is_closed(world: World) -> None:
    """Why, and what the operator runs; the agent is configured all the same, and everything but ``whoami`` is unavailable."""
    write_private(world.home / "policy.toml", "[machine_request]\nallow = 1\n")
    async with in_memory(world.environment) as door:
        standing = await door.ok("whoami")
        await door.refused("list_vaults", "denied")
    assert standing["configured"] is True
    assert "the operator's policy can't be used" in standing["missing"][0]
    assert "machine_request.allow is not a list" in standing["missing"][0]
    assert "r4-mcp policy check" in standing["next_step"]
    assert {line["tool"] for line in standing["unavailable"]} == NEEDS.keys() - {"whoami"}
    assert standing["agent"] == "Demo agent"


async def test_the_reveal_budget_follows_the_policy(world: World) -> None:
    """Raised and lowered while a connection lives; what was spent stays spent."""
    path, reading = world.home / "policy.toml", {"reference": "r4://Engineering/Sentry"}
    write_private(path, "[budget]\nper_connection = 1\n")
    async with in_memory(world.environment) as door:
        await door.ok("read_secret", **reading)
        await door.refused("read_secret", "approval_required", **reading)
        write_private(path, "[budget]\nper_connection = 2\n")
        await door.ok("read_secret", **reading)
        told = await door.refused("read_secret", "approval_required", **reading)
        assert "(2 fields)" in told["message"]
        write_private(path, "[budget]\nper_connection = 3\nper_hour = 2\n")
        told = await door.refused("read_secret", "approval_required", **reading)
        assert "the last hour" in told["message"]
        write_private(path, "[budget]\nper_connection = 3\n")
        await door.ok("read_secret", **reading)


async def test_a_vault_that_could_not_be_opened_is_not_made(world: World) -> None:
    """Who may write but read no keys is told before anything is there, and nothing stays half done."""
    agent_id, environment = world.new_agent((Permission.AGENT, Permission.VAULT_READ, Permission.VAULT_WRITE))
    async with in_memory(environment, answer=Person()) as door:
        told = await door.refused("create_vault", "permission_denied", name="Sealed")
        assert "machine.vault.secret.read" in told["message"]
        assert "POST /vault" not in world.tap.lines()
        world.seeded.operator.grant_permission(agent_id, Permission.SECRET_READ)
        await door.ok("rotate_key")
        await door.ok("create_vault", name="Sealed")


@pytest.mark.stdio
async def test_the_way_out_works_when_it_is_pasted(world: World, tmp_path: Path) -> None:
    """The embedded vault's server names ``--local``, and the line, with a yes, allows what was refused."""
    environment = local_environment(world)
    write_private(world.home / "policy.toml", '[defaults.reveal]\nUNCLASSIFIED = "ask"\n')
    async with subprocess(environment, "--local", stderr=tmp_path / "stderr") as door:
        made = await door.ok("create_vault", name="Ours")
        fields = [{"name": "key", "type": "SECRET", "value": "a value of no account"}]
        item = await door.ok("create_item", vault=made["reference"], name="Ours", type="CUSTOM", fields=fields)
        told = await door.refused("read_secret", "approval_required", reference=item["reference"])
        (line,) = re.findall(r"`r4-mcp (policy allow [^`]*)`", told["next_step"])
        assert line.endswith(" --local")
        ended = run(*line.split(), "--yes", environment=environment)
        assert ended.status == 0, ended.err
        await door.ok("read_secret", reference=item["reference"])
