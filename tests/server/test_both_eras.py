"""Every tool in both protocol eras, through every door: one behaviour."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import mcp
import mcp_types as types
import pytest
from starlette.responses import Response

from r4_mcp.cli import wiring
from r4_mcp.config import read_settings
from r4_mcp.core.keys import PrivateKey
from r4_mcp.server.prompt_texts import ALL_PROMPTS
from r4_mcp.tools import ALL_TOOLS
from tests.doors import (
    CALL_SECONDS,
    ERAS,
    POLICY,
    Door,
    Era,
    Person,
    World,
    in_memory,
    local_environment,
    open_world,
    subprocess,
    write_private,
)
from tests.switchboard import Exchange, Switchboard
from tests.tools.schemas import check_result

Way = Literal["memory", "http", "local"]

pytestmark = pytest.mark.stdio

every_way = pytest.mark.parametrize("way", ["memory", pytest.param("http"), pytest.param("local")])
every_era = pytest.mark.parametrize("era", ERAS)


@asynccontextmanager
async def opened(way: Way, era: Era, world: World, stderr: Path) -> AsyncIterator[Door]:
    """Open one of the doors, with a person before it who says yes."""
    if way == "memory":
        door = in_memory(world.environment, era, Person())
    elif way == "http":
        door = subprocess(world.environment, stderr=stderr, era=era, answer=Person())
    else:
        door = subprocess(local_environment(world), "--local", stderr=stderr, era=era, answer=Person())
    async with door as client:
        yield client


async def drive(door: Door, home: Path) -> dict[str, dict[str, Any]]:
    """Call every tool once in an order that makes sense; returns the results by tool.

    All but ``machine_request`` and ``http_request``: no door here has the service that they need; ``test_machine_request`` and
    ``tests/use`` play one.

    Args:
        door: The door.
        home: Where its server finds the policy, which is written anew to list what some tools need.
    """
    results = {"create_vault": await door.ok("create_vault", name="Era Vault", classification="INTERNAL")}
    vault = results["create_vault"]["reference"]
    fields = [
        {"name": "user", "type": "TEXT", "value": "era-user"},
        {"name": "password", "type": "PASSWORD", "value": "era password, not short"},
    ]
    results["create_item"] = await door.ok(
        "create_item", vault=vault, name="Era Item", type="LOGIN", websites=["https://example.com"], fields=fields
    )
    item = results["create_item"]["reference"]
    results["whoami"] = await door.ok("whoami")
    listed = await door.ok("list_vaults")
    # Other vaults differ from door to door; this one does not.
    results["list_vaults"] = {**listed, "vaults": [line for line in listed["vaults"] if line["reference"] == vault]}
    results["list_items"] = await door.ok("list_items", vault=vault, limit=10)
    results["describe_item"] = await door.ok("describe_item", reference=item)
    results["search_items"] = await door.ok("search_items", query="era item")
    # Which projects there are is the world's business, as with vaults.
    results["list_projects"] = {**await door.ok("list_projects"), "projects": []}
    changes = [{"name": "user", "value": "another era-user"}]
    results["update_item"] = await door.ok("update_item", reference=item, fields=changes)
    results["read_secret"] = await door.ok("read_secret", reference=item, reason="era test")
    assert results["read_secret"]["value"] == "era password, not short"
    lists = '[[run_command.allow]]\nname = "true"\nargv = ["/bin/true"]\nfolder = "/usr"\nenv = ["TOKEN"]\n'
    lists += f'secrets = ["r4://{results["create_vault"]["id"]}"]\n'
    (home.parent / "files").mkdir()
    lists += f'[[write_secret_file.root]]\npath = "{home.parent / "files"}"\nvault = "{results["create_vault"]["id"]}"\n'
    write_private(home / "policy.toml", f"{lists}{POLICY}")
    results["run_command"] = await door.ok("run_command", argv=["/bin/true"], env={"TOKEN": f"{item}/password"})
    entries = {"password": f"{item}/password"}
    results["write_secret_file"] = await door.ok("write_secret_file", path="era.json", format="json", entries=entries)
    results["rotate_key"] = await door.ok("rotate_key")
    results["exposure"] = await door.ok("exposure")
    results["report_gap"] = await door.ok("report_gap", summary="Era", details="Nothing is missing.")
    results["archive_item"] = await door.ok("archive_item", reference=item)
    results["archive_vault"] = await door.ok("archive_vault", reference=vault)
    return results


@pytest.fixture(scope="module")
def reference(
    tmp_path_factory: pytest.TempPathFactory, template: Path, board: Switchboard, spare_keys: tuple[PrivateKey, ...]
) -> dict[str, dict[str, Any]]:
    """Drive every tool once in memory, in a world of its own: its key is rotated."""
    world = open_world(template, tmp_path_factory.mktemp("reference"), board, spare_keys)

    async def run() -> dict[str, dict[str, Any]]:
        async with in_memory(world.environment, answer=Person()) as door:
            return await drive(door, world.home)

    return anyio.run(run)


def shape(value: object) -> object:
    """Return what a result is made of: keys and types, no values."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    return type(value).__name__


@every_era
@every_way
async def test_every_tool_gives_the_same_shape_through_every_door(
    way: Way, era: Era, world: World, reference: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """A result has its schema, and the members and types that the in-memory modern door gives."""
    async with opened(way, era, world, tmp_path / "stderr") as door:
        results = await drive(door, world.home)
    assert set(results) == {tool.name for tool in ALL_TOOLS} - {"http_request", "machine_request"}
    for name, payload in results.items():
        check_result(name, payload)
        given, wanted = shape(payload), shape(reference[name])
        if name == "whoami":
            assert isinstance(given, dict)
            assert isinstance(wanted, dict)
            # How many permissions and vaults there are is the world's business.
            given, wanted = list(given), list(wanted)
        assert given == wanted, name


ERRORS: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "an unknown tool": ("no_such_tool", {}, "unknown_tool"),
    "an unknown argument": ("list_vaults", {"shadow": "canary-zebra-argument"}, "invalid_argument"),
    "an unknown argument with an unreadable name": ("list_vaults", {"CANARY zebra": 1}, "invalid_argument"),
    "an unknown argument inside a field": (
        "create_item",
        {
            "vault": "x",
            "name": "n",
            "type": "LOGIN",
            "fields": [{"name": "a", "type": "TEXT", "value": "v", "canary_zebra_x": "canary-zebra"}],
        },
        "invalid_argument",
    ),
    "a missing argument": ("read_secret", {}, "invalid_argument"),
    "a number where a text belongs": ("read_secret", {"reference": 7777777}, "invalid_argument"),
    "a text where a number belongs": ("list_items", {"vault": "x", "limit": "canary-zebra-limit"}, "invalid_argument"),
    "a list where a text belongs": ("describe_item", {"reference": ["canary-zebra-list"]}, "invalid_argument"),
    "an object where a value belongs": (
        "create_item",
        {"vault": "x", "name": "n", "type": "LOGIN", "fields": [{"name": "a", "type": "TEXT", "value": {"canary": "zebra"}}]},
        "invalid_argument",
    ),
    "a text where fields belong": (
        "create_item",
        {"vault": "x", "name": "n", "type": "LOGIN", "fields": "canary-zebra-fields"},
        "invalid_argument",
    ),
    "a word that is no item type": (
        "create_item",
        {"vault": "x", "name": "n", "type": "CANARY_ZEBRA", "fields": [{"name": "a", "type": "TEXT", "value": "v"}]},
        "invalid_argument",
    ),
    "a reference of four parts": ("read_secret", {"reference": "r4://canary/zebra/a/b"}, "invalid_reference"),
    "a vault that does not exist": ("list_items", {"vault": "canary-zebra-vault"}, "not_found"),
}


@every_era
@every_way
async def test_every_error_is_one_text_and_repeats_no_value(way: Way, era: Era, world: World, tmp_path: Path) -> None:
    """What was rejected is in no result and no log, and each next call shows that the server stayed up."""
    stderr = tmp_path / "stderr"
    async with opened(way, era, world, stderr) as door:
        for what, (tool, arguments, code) in ERRORS.items():
            payload = await door.refused(tool, code, **arguments)
            told = json.dumps(payload).casefold()
            assert "zebra-" not in told, what
            assert "canary-" not in told, what
            assert "canary zebra" not in told, what
            assert "7777777" not in told, what
        assert (await door.ok("whoami"))["configured"]
    logged = stderr.read_text().casefold() if stderr.exists() else ""
    assert "canary" not in logged
    assert "zebra" not in logged
    assert "Traceback" not in logged


async def test_a_wrong_type_is_named(world: World) -> None:
    """The message says which argument, at which place."""
    async with in_memory(world.environment) as door:
        fields = [{"name": "a", "type": "TEXT", "value": "v"}, {"name": "b", "type": "NO", "value": "v"}]
        payload = await door.refused("create_item", "invalid_argument", vault="x", name="n", type="LOGIN", fields=fields)
        assert "fields[1].type" in payload["message"]


@pytest.mark.parametrize(("way", "era"), [("memory", "auto"), ("http", "auto"), ("http", "legacy")])
async def test_calls_may_overlap(way: Way, era: Era, world: World, tmp_path: Path) -> None:
    """Twelve calls at once each get their own answer."""
    answers: dict[int, Any] = {}
    async with opened(way, era, world, tmp_path / "stderr") as door:

        async def call(number: int) -> None:
            if number % 3 == 0:
                answers[number] = await door.ok("list_vaults")
            elif number % 3 == 1:
                answers[number] = await door.refused("read_secret", "not_found", reference=f"r4://No%20Such%20{number}/a/b")
            else:
                answers[number] = await door.ok("whoami")

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(call, number)
    assert [min(answers[number]) for number in range(12)] == ["next_cursor", "code", "agent"] * 4


@every_era
@every_way
async def test_what_is_no_tool_agrees_with_the_tools_through_every_door(way: Way, era: Era, world: World, tmp_path: Path) -> None:
    """Resources are the tools' listings, completion suggests their names, and prompts are all there."""
    async with opened(way, era, world, tmp_path / "stderr") as door:
        client = door.client
        vaults = (await door.ok("list_vaults"))["vaults"]
        listed = (await client.list_resources()).resources
        assert [resource.uri for resource in listed] == ["r4-index://vaults", *(line["reference"] for line in vaults)]
        for resource, line in zip(listed[1:], vaults, strict=True):
            (content,) = (await client.read_resource(resource.uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert json.loads(content.text) == await door.ok("list_items", vault=line["reference"])
        (vault, item) = (await client.list_resource_templates()).resource_templates
        assert (vault.uri_template, item.uri_template) == ("r4://{vault}", "r4://{vault}/{item}")
        reference = types.ResourceTemplateReference(uri=vault.uri_template)
        suggested = (await client.complete(reference, {"name": "vault", "value": ""})).completion.values
        assert sorted(f"r4://{part}" for part in suggested) == sorted(line["reference"] for line in vaults)
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == [prompt.name for prompt in ALL_PROMPTS]
        assert (await client.get_prompt("onboard-this-agent")).messages
        assert client.instructions is not None
        assert len(client.instructions) < 600


CANCELLED: Final[dict[str, Callable[[mcp.Client], Coroutine[Any, Any, object]]]] = {
    "resource_read": lambda client: client.read_resource("r4://Production"),
    "resource_list": lambda client: client.list_resources(),
    "completion": lambda client: client.complete(
        types.ResourceTemplateReference(uri="r4://{vault}"), {"name": "vault", "value": ""}
    ),
}


@every_era
@pytest.mark.parametrize("way", ["memory", "http"])
@pytest.mark.parametrize("what", CANCELLED)
async def test_what_waits_for_the_service_can_be_cancelled(what: str, way: Way, era: Era, world: World, tmp_path: Path) -> None:
    """It ends while the service is silent, the log has it, and the next one is answered."""
    held, loop, release = anyio.Event(), asyncio.get_running_loop(), threading.Event()

    async def hold(_: Exchange) -> Response | None:
        loop.call_soon_threadsafe(held.set)
        await anyio.to_thread.run_sync(release.wait)
        return None

    async with opened(way, era, world, tmp_path / "stderr") as door:
        await door.ok("whoami")
        world.tap.intercept = hold
        with anyio.fail_after(CALL_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(CANCELLED[what], door.client)
                await held.wait()
                tasks.cancel_scope.cancel()
        world.tap.intercept = None
        release.set()
        await CANCELLED[what](door.client)
    log = [json.loads(line) for line in (world.home / "audit" / "audit.jsonl").read_text().splitlines()]
    assert sorted((line["tool"], line["outcome"]) for line in log) == sorted(
        [("whoami", "ok"), (what, "cancelled"), (what, "ok")]
    )


def test_the_embedded_door_is_wired_as_the_command_line_wires_it(world: World) -> None:
    """The folder that ``local_environment`` fills is the one that ``serve --local`` opens."""
    assert (world.home / "local" / "agent.json").exists() is False
    environment = local_environment(world)
    assert wiring.local_folder(read_settings(environment, world.known)) == world.home / "local"
    assert (world.home / "local" / "agent.json").exists()
