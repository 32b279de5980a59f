"""What is answered from memory, for how long, and what ends it: counted in requests, through the tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from r4_mcp.core.wire import FieldType, VaultId
from r4_mcp.errors import NotFoundError, VerificationError
from r4_mcp.machine.contract import API_PREFIX, Level
from tests.doors import Door, World, in_memory
from tests.switchboard import Exchange, Intercept

from .rooms import runtime
from .test_reader import genuine_answer

SECRET: Final = FieldType.SECRET
AT_ONCE: Final = 64


def asking_each_time(world: World) -> dict[str, str]:
    """Return an environment without a memory."""
    return {**world.environment, "R4_INDEX_SECONDS": "0"}


def new_item(name: str) -> dict[str, object]:
    """Return the arguments of an item to create."""
    return {"name": name, "type": "CUSTOM", "fields": [{"name": "Token", "type": "SECRET", "value": "v" * 9}]}


async def requests(world: World, call: Callable[[], Awaitable[object]]) -> list[str]:
    """Make a call; returns what it asked, ids left out."""
    world.tap.exchanges.clear()
    await call()
    return sorted(
        "/".join("*" if len(part) == 24 else part for part in exchange.line.split("/")) for exchange in world.tap.exchanges
    )


class Broken(Response):
    """An answer that breaks off."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Promise more than comes."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


def answering(make: Callable[[], Response], *ends: str) -> Intercept:
    """Answer requests whose path ends so; all where nothing is given."""

    async def intercept(exchange: Exchange) -> Response | None:
        return make() if not ends or exchange.path.endswith(ends) else None

    return intercept


def refusal(status: int, code: str) -> Callable[[], Response]:
    """Make a refusal of the service."""
    return lambda: JSONResponse({"error": {"code": code, "message": "no"}}, status)


async def read(door: Door, reference: str) -> str:
    """Read one field."""
    return str((await door.ok("read_secret", reference=reference))["value"])


async def test_a_cold_read_costs_what_it_must_and_a_warm_one_costs_one_request(world: World) -> None:
    """Four requests by ids, five by names; then the field alone, by either; in a process that has registered before."""
    made = world.add_item("Engineering", "Target", ("Token", SECRET, "the value"))
    by_name = "r4://Engineering/Target/Token"
    by_id = f"r4://{world.vault_id('Engineering')}/{made.item_id}/{made.field_ids[0]}"
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
    cold = {by_id: 4, by_name: 5}
    for first, second in ((by_id, by_name), (by_name, by_id)):
        async with in_memory(world.environment) as door:
            asked = await requests(world, lambda: read(door, first))  # noqa: B023 - awaited at once
            assert len(asked) == cold[first], asked
            assert await requests(world, lambda: read(door, first)) == ["GET /vault/*/fields/*"]  # noqa: B023
            await read(door, second)
            assert await requests(world, lambda: read(door, second)) == ["GET /vault/*/fields/*"]  # noqa: B023


async def test_listings_cost_one_request_and_then_none(world: World) -> None:
    """All of them, and a search, from one sync."""
    async with in_memory(world.environment) as door:
        await door.ok("whoami")
        await door.ok("list_vaults")
    async with in_memory(world.environment) as door:
        assert await requests(world, lambda: door.ok("list_vaults")) == ["GET /vault/sync"]
        for tool, arguments in (
            ("list_vaults", {}),
            ("list_items", {"vault": "Engineering"}),
            ("describe_item", {"reference": "r4://Engineering/GitHub"}),
            ("search_items", {"query": "token"}),
        ):
            assert await requests(world, lambda: door.ok(tool, **arguments)) == [], tool  # noqa: B023
    async with in_memory(world.environment) as door:
        assert await requests(world, lambda: door.ok("search_items", query="token")) == ["GET /vault/sync"]


async def test_without_a_memory_each_call_asks(world: World) -> None:
    """``R4_INDEX_SECONDS=0``."""
    async with in_memory(asking_each_time(world)) as door:
        await door.ok("list_vaults")
        assert await requests(world, lambda: door.ok("list_vaults")) == ["GET /vault/sync"]
        asked = await requests(world, lambda: read(door, "r4://Engineering/GitHub/Password"))
        assert "GET /vault/*/wrapped-key" in asked


async def test_reads_at_once_share_what_they_need(world: World) -> None:
    """64 cold reads: one vault list, one directory, one wrapped key."""
    for number in range(AT_ONCE):
        world.add_item("Engineering", f"Item {number}", ("Token", SECRET, f"the value {number}"))
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        world.tap.exchanges.clear()
        values = {}

        async def one(number: int) -> None:
            values[number] = await read(door, f"r4://Engineering/Item%20{number}/Token")

        async with anyio.create_task_group() as tasks:
            for number in range(AT_ONCE):
                tasks.start_soon(one, number)
        assert values == {number: f"the value {number}" for number in range(AT_ONCE)}
        lines = world.tap.lines()
        assert sum(line.endswith("/wrapped-key") for line in lines) == 1
        assert sum("/fields/" in line for line in lines) == AT_ONCE
        assert len(lines) == AT_ONCE + 1


async def test_access_that_ends_ends_at_the_next_read(world: World) -> None:
    """Between two calls of one connection, with everything in memory."""
    agent_id, environment = world.new_agent()
    operator, vault_id = world.seeded.operator, world.vault_id("Engineering")
    async with in_memory(environment) as door:
        await door.ok("list_vaults")
        operator.grant(agent_id, vault_id, Level.READ)
        await door.ok("list_vaults")
    async with in_memory(environment) as door:
        reference = "r4://Engineering/GitHub/Password"
        await read(door, reference)
        operator.revoke(agent_id, vault_id)
        await door.refused("read_secret", "not_found", reference=reference)
        assert (await door.ok("list_vaults"))["vaults"] == []


async def test_what_changed_is_found_although_it_is_in_memory(world: World) -> None:
    """A new item by its name, a new value, a value after a change of the vault's key."""
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        made = world.add_item("Engineering", "Newcomer", ("Token", SECRET, "first"))
        assert await read(door, "r4://Engineering/Newcomer/Token") == "first"
        world.seeded.operator.rotate_dek(world.vault_id("Engineering"))
        assert await read(door, "r4://Engineering/Newcomer/Token") == "first"
        async with in_memory(world.environment) as other:
            await other.ok("update_item", reference="r4://Engineering/Newcomer", fields=[{"name": "Token", "value": "second"}])
            await other.ok("archive_item", reference="r4://Engineering/GitHub")
        assert await read(door, "r4://Engineering/Newcomer/Token") == "second"
        # The other process has left what it verified on disk, so this one does not answer from an older memory.
        names = {item["name"] for item in (await door.ok("list_items", vault="Engineering"))["items"]}
        assert "Newcomer" in names
        assert "GitHub" not in names
        assert made.item_id in {item["id"] for item in (await door.ok("list_items", vault="Engineering"))["items"]}


async def test_own_writes_are_seen_at_once(world: World) -> None:
    """By listings and by search."""
    async with in_memory(world.environment) as door:
        await door.ok("search_items", query="x")
        await door.ok(
            "create_item",
            vault="Engineering",
            name="Fresh",
            type="CUSTOM",
            fields=[{"name": "Token", "type": "SECRET", "value": "v" * 9}],
        )
        hits = (await door.ok("search_items", query="fresh"))["results"]
        assert [hit["reference"] for hit in hits] == ["r4://Engineering/Fresh"]
        await door.ok("archive_item", reference="r4://Engineering/Fresh")
        assert (await door.ok("search_items", query="fresh"))["results"] == []


async def test_without_an_answer_what_is_known_is_told_as_stale(world: World) -> None:
    """Listings and search say so, with the time; a value and a write are refused; afterwards all is well."""
    async with in_memory(world.environment) as door:
        before = await door.ok("list_vaults")
        assert (before["stale"], before["verified_at"]) == (False, None)
        await door.ok("create_vault", name="Soon")  # A write: nothing is answered from before it.
        world.tap.intercept = answering(Broken)
        for tool, arguments in (
            ("list_vaults", {}),
            ("list_items", {"vault": "Engineering"}),
            ("describe_item", {"reference": "r4://Engineering/GitHub"}),
            ("search_items", {"query": "github"}),
        ):
            told = await door.ok(tool, **arguments)
            assert told["stale"], tool
            assert told["verified_at"].endswith("Z")
        await door.refused("read_secret", "unreachable", reference="r4://Engineering/GitHub/Password")
        await door.refused("archive_item", "unreachable", reference="r4://Engineering/GitHub")
        await door.refused("create_item", "unreachable", vault="Engineering", **new_item("N"))
        world.tap.intercept = None
        await anyio.sleep(5.1)
        told = await door.ok("list_vaults")
        assert (told["stale"], "Soon" in {vault["name"] for vault in told["vaults"]}) == (False, True)
    async with in_memory(world.environment) as door:
        world.tap.intercept = answering(Broken)
        await door.refused("list_vaults", "unreachable")


@pytest.mark.parametrize(
    ("status", "code", "told"), [(401, "unauthorized", "unauthorized"), (403, "permission_denied", "permission_denied")]
)
async def test_a_refusal_empties_the_memory(world: World, status: int, code: str, told: str) -> None:
    """Nothing is told from before."""
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        await door.ok("create_vault", name="Soon")
        world.tap.intercept = answering(refusal(status, code))
        await door.refused("list_vaults", told)
        world.tap.intercept = answering(Broken)
        await door.refused("list_vaults", "unreachable")


@pytest.mark.parametrize("make", [refusal(404, "not_found"), refusal(501, "no"), lambda: JSONResponse({"cursor": 1})])
async def test_a_service_without_sync_is_listed_vault_by_vault(world: World, make: Callable[[], Response]) -> None:
    """Verified as ever; names of fields are searched where the service's search hints at them."""
    world.tap.intercept = answering(make, "/sync")
    world.seeded.operator.grant_permission(world.agent_members()["agentId"], "machine.search.all")
    async with in_memory(world.environment) as door:
        vaults = (await door.ok("list_vaults"))["vaults"]
        assert {vault["name"] for vault in vaults} == set(world.seeded.vaults)
        assert all(vault["verified"] for vault in vaults)
        hits = (await door.ok("search_items", query="github password"))["results"]
        assert [(hit["matched"], hit["reference"]) for hit in hits] == [("field", "r4://Engineering/GitHub/Password")]
        assert await read(door, hits[0]["reference"])
    world.tap.intercept = without_search(make)
    async with in_memory(world.environment) as door:
        assert (await door.ok("search_items", query="github password"))["results"] == []
        hits = (await door.ok("search_items", query="github"))["results"]
        assert hits[0]["reference"] == "r4://Engineering/GitHub"


def without_search(make: Callable[[], Response]) -> Intercept:
    """Have neither sync nor the permission to search."""

    async def intercept(exchange: Exchange) -> Response | None:
        if exchange.path.endswith("/sync"):
            return make()
        return refusal(403, "permission_denied")() if exchange.path == API_PREFIX + "/search" else None

    return intercept


@pytest.mark.parametrize(("status", "code"), [(409, "conflict"), (422, "unprocessable")])
async def test_a_sync_that_is_refused_is_not_gone_around(world: World, status: int, code: str) -> None:
    """Only a service that does not know the way is listed vault by vault."""
    world.tap.intercept = answering(refusal(status, code), "/sync")
    async with in_memory(world.environment) as door:
        assert (await door.result("list_vaults", {})).is_error
    assert not any(line.endswith("/items") for line in world.tap.lines())


async def test_a_vault_that_is_not_in_a_sync_is_told_as_such(world: World) -> None:
    """It is not there, or there is a reason why it is not shown; neither is a proven vault."""

    async def spoil(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith("/sync"):
            return None
        told = await genuine_answer(world, exchange)
        for entry in told["vaults"]:
            if entry["vault"]["name"] == "Engineering":
                entry["items"] = entry["items"][1:]
        return JSONResponse(told)

    world.tap.intercept = spoil
    async with runtime(world) as rooms:
        await rooms.index.snapshot()
        assert (await rooms.index.vault(world.vault_id("Production"))).id == world.vault_id("Production")
        with pytest.raises(VerificationError):
            await rooms.index.vault(world.vault_id("Engineering"))
        with pytest.raises(NotFoundError, match="not visible to this agent"):
            await rooms.index.vault(VaultId("f" * 24))


async def test_what_is_in_memory_is_not_on_disk(world: World) -> None:
    """The whole home holds no value and no key of a vault after everything was synced and read."""
    world.add_item("Engineering", "Canary", ("Token", SECRET, "canary-of-the-index"))
    async with in_memory(world.environment) as door:
        await door.ok("search_items", query="canary")
        assert await read(door, "r4://Engineering/Canary/Token") == "canary-of-the-index"
    kept = [path.read_bytes() for path in world.home.rglob("*") if path.is_file()]
    assert kept
    assert not [content for content in kept if b"canary-of-the-index" in content]


async def test_what_is_too_old_decides_nothing(world: World) -> None:
    """A listing without an answer is told as stale, and for seconds after it no name of then is believed by a read or a write."""
    elsewhere = {**world.environment, "R4_HOME": str(world.home / "elsewhere")}
    for name in ("Alpha", "Beta"):
        world.add_item("Engineering", name, ("Token", SECRET, f"the value of {name}"))
    environment = {**world.environment, "R4_INDEX_SECONDS": "1"}
    async with in_memory(environment) as door, in_memory(elsewhere) as other:
        await door.ok("list_items", vault="Engineering")
        assert await read(door, "r4://Engineering/Alpha/Token") == "the value of Alpha"
        for old, new in (("Alpha", "Gamma"), ("Beta", "Alpha"), ("Gamma", "Beta")):
            await other.ok("update_item", reference=f"r4://Engineering/{old}", name=new)
        await anyio.sleep(1.1)
        world.tap.intercept = answering(Broken)
        assert (await door.ok("list_items", vault="Engineering"))["stale"]
        for tool in ("read_secret", "archive_item"):
            await door.refused(tool, "unreachable", reference="r4://Engineering/Alpha" + "/Token" * (tool == "read_secret"))
        world.tap.intercept = None
        assert (await door.ok("list_items", vault="Engineering"))["stale"]
        assert await read(door, "r4://Engineering/Alpha/Token") == "the value of Beta"
        await door.ok("archive_item", reference="r4://Engineering/Alpha")
        assert await read(door, "r4://Engineering/Beta/Token") == "the value of Alpha"


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "permission_denied")])
async def test_a_refused_vault_empties_the_memory_too(world: World, status: int, code: str) -> None:
    """Also where the service has no sync, and one vault is asked for."""
    gone = refusal(404, "not_found")
    world.tap.intercept = answering(gone, "/sync")
    async with in_memory({**world.environment, "R4_INDEX_SECONDS": "1"}) as door:
        await door.ok("list_items", vault="Engineering")
        await anyio.sleep(1.1)
        world.tap.intercept = answering(refusal(status, code))
        await door.refused("list_items", code, vault="Engineering")
        world.tap.intercept = answering(Broken)
        await door.refused("list_items", "unreachable", vault="Engineering")
