"""Writing under concurrency: no write is lost, no version is signed twice, nothing is reported that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.errors import BusyError, DisagreementError, KeyNotListedError, NotFoundError, R4Error
from r4_mcp.vault import signer
from tests.doors import Door, World, in_memory, local_environment, subprocess
from tests.switchboard import Exchange

from .rooms import draft, runtime

CONFLICT: Final = {"error": {"code": "checkpoint_version_conflict", "message": "no"}}
EACH: Final = 10


@pytest.mark.stdio
async def test_two_processes_on_one_local_vault_lose_no_write(world: World, tmp_path: Path) -> None:
    """Two real servers write at once into one vault: everything is listed, reads back, and each write is one version."""
    environment = local_environment(world)
    async with (
        subprocess(environment, "--local", stderr=tmp_path / "first") as first,
        subprocess(environment, "--local", stderr=tmp_path / "second") as second,
    ):
        await first.ok("create_vault", name="Shared")

        async def fill(door: Door, who: str) -> None:
            for number in range(EACH):
                fields = [{"name": "Token", "type": "SECRET", "value": f"value {who} {number:04}"}]
                await door.ok("create_item", vault="Shared", name=f"{who} {number}", type="CUSTOM", fields=fields)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill, first, "first")
            tasks.start_soon(fill, second, "second")
        for door in (first, second):
            listed = await door.ok("list_items", vault="Shared")
            assert listed["total"] == 2 * EACH
            # Version 1 is the empty vault.
            assert listed["checkpoint_version"] == 1 + 2 * EACH
            names = {line["name"] for line in listed["items"]}
            assert names == {f"{who} {number}" for who in ("first", "second") for number in range(EACH)}
        for name in sorted(names):
            value = (await first.ok("read_secret", reference=f"r4://Shared/{name}/Token"))["value"]
            who, number = name.split()
            assert value == f"value {who} {int(number):04}"


async def test_conflicts_between_processes_are_resolved(world: World) -> None:
    """Two memories race for each version: at least one 409 happens, nothing is lost, versions grow by one."""
    vault_id = world.vault_id("Engineering")
    async with runtime(world) as one, runtime(world) as other:
        start = (await one.reader.vault(vault_id)).summary.checkpoint.version
        await other.registration.ensure()
        world.tap.exchanges.clear()
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon((one, other)[number % 2].writer.create_item, vault_id, draft(f"race {number}"))
        proven = (await one.reader.vault(vault_id)).summary.checkpoint
    posts = [exchange for exchange in world.tap.exchanges if exchange.method == "POST"]
    assert 409 in {exchange.status for exchange in posts}
    assert [exchange.status for exchange in posts].count(201) == 6
    assert proven.version == start + 6
    assert {item.name for item in proven.items} >= {f"race {number}" for number in range(6)}
    # A retry keeps its ids: six items were ever posted.
    assert len({json.loads(exchange.body)["id"] for exchange in posts}) == 6


def signed_versions(exchanges: list[Exchange]) -> list[int]:
    """Return the summary versions that were sent in writes."""
    return [
        json.loads(one.body)["summaryCheckpoint"]["checkpoint"]["version"]
        for one in exchanges
        if one.method in {"POST", "DELETE"}
    ]


@pytest.mark.parametrize("deed", ["create", "archive"])
async def test_a_conflict_liar_gets_one_signature_and_then_busy(world: World, deed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 for ever while the version stands still: one version is signed once, eight tries at most, then busy."""
    # The waits between tries are real; only their length is cut.
    monkeypatch.setattr(signer, "_JITTER_SECONDS", 0.0005)

    async def lie(exchange: Exchange) -> Response | None:
        return None if exchange.method == "GET" else JSONResponse(CONFLICT, 409)

    vault_id = world.vault_id("Engineering")
    before = world.dump()
    async with runtime(world) as one:
        item_id = (await one.reader.vault(vault_id)).summary.checkpoint.items[0].id
        await one.registration.ensure()
        world.tap.intercept = lie
        world.tap.exchanges.clear()
        writer = one.writer
        call = writer.create_item(vault_id, draft("liar")) if deed == "create" else writer.archive_item(vault_id, item_id)
        with pytest.raises(BusyError):
            await call
    assert len(signed_versions(world.tap.exchanges)) == 1
    # One more than the tries: whether a lost reply had been a success is asked for in the end.
    assert sum(one.path.endswith("/items") and one.method == "GET" for one in world.tap.exchanges) <= 8 + 1
    assert world.dump() == before


async def test_a_conflict_is_signed_again_only_above_a_higher_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes under each try: each signature is for another, higher version, at most eight of them."""
    monkeypatch.setattr(signer, "_JITTER_SECONDS", 0.0005)
    vault_id = world.vault_id("Engineering")
    written = 0

    async def overtake(exchange: Exchange) -> Response | None:
        nonlocal written
        if exchange.method == "POST":
            written += 1
            await anyio.to_thread.run_sync(world.add_item, "Engineering", f"overtaken {written}")
        return None

    async with runtime(world) as one:
        await one.registration.ensure()
        world.tap.intercept = overtake
        with pytest.raises(BusyError):
            await one.writer.create_item(vault_id, draft("slow"))
    versions = signed_versions(world.tap.exchanges)
    assert len(versions) == written == 8
    assert versions == sorted(set(versions))
    names = [item.name for item in (await proven(world)).items]
    assert "slow" not in names
    assert len([name for name in names if name.startswith("overtaken")]) == 8


async def proven(world: World) -> Any:  # noqa: ANN401 - a checkpoint of core
    """Return what a fresh process proves of Engineering."""
    async with runtime(world) as fresh:
        return (await fresh.reader.vault(world.vault_id("Engineering"))).summary.checkpoint


async def test_one_overtaking_write_is_resolved(world: World) -> None:
    """The second try succeeds with the same ids; both items are there."""
    overtaken = False

    async def overtake(exchange: Exchange) -> Response | None:
        nonlocal overtaken
        if exchange.method == "POST" and not overtaken:
            overtaken = True
            await anyio.to_thread.run_sync(world.add_item, "Engineering", "overtaking")
        return None

    async with in_memory(world.environment) as door:
        await door.ok("whoami")
        world.tap.intercept = overtake
        fields = [{"name": "Token", "type": "SECRET", "generate": {}}]
        await door.ok("create_item", vault="Engineering", name="second try", type="CUSTOM", fields=fields)
        names = {line["name"] for line in (await door.ok("list_items", vault="Engineering"))["items"]}
    assert {"overtaking", "second try"} <= names


async def test_an_acknowledgement_of_another_id_is_not_believed(world: World) -> None:
    """The service says 201 for an item or a vault that nobody chose, and stores nothing."""

    async def other(exchange: Exchange) -> Response | None:
        return JSONResponse({"id": "f" * 24}, 201) if exchange.method == "POST" else None

    async with runtime(world) as one:
        await one.registration.ensure()
        world.tap.intercept = other
        with pytest.raises(DisagreementError, match="acknowledged another id"):
            await one.writer.create_item(world.vault_id("Engineering"), draft("x"))
        with pytest.raises(DisagreementError, match="acknowledged another id"):
            await one.writer.create_vault("x", None, None)


async def test_what_is_not_there_afterwards_is_not_reported_as_done(world: World) -> None:
    """The service acknowledges a write and drops it: creating and archiving are errors, not successes."""

    async def drop(exchange: Exchange) -> Response | None:
        if exchange.method == "POST":
            return JSONResponse({"id": json.loads(exchange.body)["id"]}, 201)
        return Response(status_code=204) if exchange.method == "DELETE" else None

    vault_id = world.vault_id("Engineering")
    async with runtime(world) as one:
        item_id = (await one.reader.vault(vault_id)).summary.checkpoint.items[0].id
        await one.registration.ensure()
        world.tap.intercept = drop
        with pytest.raises(R4Error):
            await one.writer.create_item(vault_id, draft("dropped"))
        with pytest.raises(DisagreementError, match="does not serve it"):
            await one.writer.create_vault("dropped", None, None)
        with pytest.raises(DisagreementError, match="still lists it"):
            await one.writer.archive_item(vault_id, item_id)
        with pytest.raises(DisagreementError, match="still serves it"):
            await one.writer.archive_vault(vault_id)


async def test_a_revoked_signer_does_not_sign(world: World) -> None:
    """Our key is no active signer of the vault any more: nothing is sent."""
    vault_id = world.vault_id("Engineering")

    async with runtime(world) as one:
        await one.registration.ensure()
        genuine = await one.reader.vault(vault_id)
        assert genuine.directory.active_of(one.key.public.fingerprint) is not None
        world.seeded.operator.revoke(world.seeded.credentials.agent_id, vault_id)
        world.tap.exchanges.clear()
        with pytest.raises((NotFoundError, KeyNotListedError)):
            await one.writer.create_item(vault_id, draft("x"))
    assert all(exchange.method == "GET" for exchange in world.tap.exchanges)


async def test_an_agent_outside_the_directory_does_not_sign(world: World) -> None:
    """Registered, granted too early, so not a signer: key_not_listed, and nothing is sent."""
    from r4_mcp.machine.contract import Level  # noqa: PLC0415 - the only use

    agent_id, environment = world.new_agent()
    world.seeded.operator.grant(agent_id, world.vault_id("Engineering"), Level.WRITE)
    async with runtime(world, environment) as one:
        await one.registration.ensure()
        world.tap.exchanges.clear()
        with pytest.raises(KeyNotListedError):
            await one.writer.create_item(world.vault_id("Engineering"), draft("x"))
    assert all(exchange.method == "GET" for exchange in world.tap.exchanges)
