"""Registration: on first need, once, and never a replacement (contract §5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.errors import ConfigurationError, DisagreementError, KeyMismatchError, NotConfiguredError
from tests.doors import World, private_pem, write_private
from tests.switchboard import Exchange

from .rooms import runtime


async def test_a_new_agent_registers_on_first_need_and_once(world: World) -> None:
    """Many calls at once: one ``GET /me``, one registration; a second process of the home asks nobody."""
    _, environment = world.new_agent()
    async with runtime(world, environment) as first:
        assert (await first.registration.me()).active_key_id is None
        world.tap.exchanges.clear()
        ids: set[str] = set()

        async def ensure() -> None:
            ids.add(await first.registration.ensure())

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ensure)
        assert world.tap.lines() == ["GET /me", "POST /vault/public-key"]
    async with runtime(world, environment) as second:
        world.tap.exchanges.clear()
        ids.add(await second.registration.ensure())
        assert world.tap.lines() == []
    assert len(ids) == 1


def memory(world: World) -> Path:
    """Return the one file that remembers a registration."""
    (path,) = (world.home / "registered").glob("*.json")
    return path


async def test_what_is_remembered_is_private_and_holds_no_secret(world: World) -> None:
    """An id and a fingerprint, both public, and a stamp, in a file of this user alone."""
    async with runtime(world) as one:
        key_id = await one.registration.ensure()
    path = memory(world)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    fingerprint = world.seeded.agent_key.public.fingerprint
    kept = json.loads(path.read_text())
    # The stamp of the key's file, which says nothing of the key: inode, size, time of change.
    status = world.seeded.config_path.stat()
    assert kept.pop("keyFile") == [str(number) for number in (status.st_ino, status.st_size, status.st_mtime_ns)]
    assert kept == {"schema": 2, "fingerprint": fingerprint, "encryptionKeyId": key_id}


def forget_nothing(path: Path) -> None:
    """Leave the memory as it is."""
    assert path.exists()


SPOILT: Final[dict[str, tuple[Callable[[Path], object], list[str]]]] = {
    "as it was": (forget_nothing, []),
    "gone": (Path.unlink, ["GET /me"]),
    "empty": (lambda path: path.write_text(""), ["GET /me"]),
    "cut": (lambda path: path.write_text(path.read_text()[:-3]), ["GET /me"]),
    "of another schema": (lambda path: path.write_text(path.read_text().replace('"schema":2', '"schema":3')), ["GET /me"]),
    "with a stamp that is none": (
        lambda path: path.write_text(path.read_text().replace('"keyFile":["', '"keyFile":["x')),
        ["GET /me"],
    ),
    "too large": (lambda path: path.write_text(" " * 5000), ["GET /me"]),
    "open to others": (lambda path: path.chmod(0o644), ["GET /me"]),
}


@pytest.mark.parametrize("how", list(SPOILT))
async def test_a_memory_that_cannot_be_used_costs_one_request(world: World, how: str) -> None:
    """Nothing fails for it: the service is asked, and the memory is written again."""
    spoil, expected = SPOILT[how]
    async with runtime(world) as one:
        key_id = await one.registration.ensure()
    spoil(memory(world))
    for lines in (expected, []):
        world.tap.exchanges.clear()
        async with runtime(world) as one:
            assert await one.registration.ensure() == key_id
        assert world.tap.lines() == lines


async def test_a_listing_loads_no_key_that_was_loaded_before(world: World) -> None:
    """The memory says which key the same file held; a file that was touched since is read again."""
    async with runtime(world) as one:
        fingerprint = one.key.public.fingerprint
        await one.registration.ensure()
    world.seeded.config_path.write_text(world.seeded.config_path.read_text().replace("privateKey", "privateKeyGone"))
    # Same inode and size as that of no earlier file, so the stamp is another one: the damage is seen.
    async with runtime(world) as one:
        with pytest.raises(ConfigurationError):
            await one.registration.ensure()
    world.seeded.config_path.write_text(world.seeded.config_path.read_text().replace("privateKeyGone", "privateKey"))
    async with runtime(world) as one:
        await one.registration.ensure()
    async with runtime(world) as one:
        await one.registration.ensure()
        assert one.key.fingerprint == fingerprint
        # What is loaded has a stamp; so nothing was.
        assert one.key.stamp() is None


async def test_who_has_no_private_key_lists_and_hears_what_is_missing_for_the_rest(world: World) -> None:
    """Settling what was left needs one only where the call does."""
    members = world.agent_members()
    environment = {
        "R4_API_KEY": f"{members['accessKey']}.{members['accessSecret']}",
        "R4_BASE_URL": world.base_url,
        "R4_HOME": str(world.home),
    }
    async with runtime(world, environment) as one:
        assert await one.recovery.settle(writes=False, needs_key=False) is None
        assert {vault.id for vault in await one.reader.list_vaults()} == set(world.seeded.vaults.values())
        with pytest.raises(NotConfiguredError, match="private key"):
            await one.recovery.settle(writes=False, needs_key=True)


async def test_another_key_is_not_taken_for_the_remembered_one(world: World) -> None:
    """The memory names the key that it was for: with another one the service is asked, and its refusal is not remembered."""
    async with runtime(world) as one:
        await one.registration.ensure()
    kept = memory(world).read_bytes()
    members = {**world.agent_members(), "privateKey": private_pem(world.spare_keys[0])}
    path = write_private(world.home / "other.json", json.dumps(members))
    for _ in range(2):
        world.tap.exchanges.clear()
        async with runtime(world, {**world.environment, "R4_CONFIG": str(path)}) as other:
            with pytest.raises(KeyMismatchError):
                await other.registration.ensure()
        assert world.tap.lines() == ["GET /me"]
    assert memory(world).read_bytes() == kept


async def test_a_home_that_cannot_be_written_keeps_no_vault_from_being_read(world: World) -> None:
    """A file stands where the folder belongs: each process asks, and works."""
    (world.home / "registered").write_text("in the way")
    for _ in range(2):
        world.tap.exchanges.clear()
        async with runtime(world) as one:
            assert await one.registration.ensure() == world.seeded.agent_key_id
        assert world.tap.lines() == ["GET /me"]


async def test_two_processes_that_register_at_once_agree(world: World) -> None:
    """The same key twice is idempotent: both get one id."""
    _, environment = world.new_agent()
    ids = []
    async with runtime(world, environment) as one, runtime(world, environment) as other:
        # Both have seen that there is no key before either registers.
        barrier, waiting = anyio.Event(), 0

        async def hold(exchange: Exchange) -> Response | None:
            nonlocal waiting
            if exchange.path.endswith("/me"):
                waiting += 1
            return None

        world.tap.intercept = hold

        async def ensure(number: int) -> None:
            ids.append(await (one, other)[number].registration.ensure())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ensure, 0)
            tasks.start_soon(ensure, 1)
        assert not barrier.is_set()
    assert waiting == 2
    assert len(set(ids)) == 1


async def test_another_active_key_is_a_refusal_and_nothing_is_sent(world: World) -> None:
    """Rule 1: the registered key stays."""
    members = {**world.agent_members(), "privateKey": private_pem(world.spare_keys[0])}
    path = write_private(world.home / "other.json", json.dumps(members))
    async with runtime(world, {**world.environment, "R4_CONFIG": str(path)}) as one:
        for _ in range(2):
            with pytest.raises(KeyMismatchError) as caught:
                await one.registration.ensure()
        # Short fingerprints tell two keys apart; whole ones are nobody's business.
        assert one.key.public.fingerprint[:12] in caught.value.message
        assert one.key.public.fingerprint not in caught.value.message
    assert {exchange.method for exchange in world.tap.exchanges} == {"GET"}


async def test_a_service_that_registers_another_key_is_not_believed(world: World) -> None:
    """The answer names another fingerprint than the key that was sent."""
    _, environment = world.new_agent()

    async def lie(exchange: Exchange) -> Response | None:
        if exchange.method != "POST":
            return None
        other = world.spare_keys[1].public
        members = {
            "encryptionKeyId": "a" * 24,
            "publicKey": other.pem,
            "fingerprint": other.fingerprint,
            "previousEncryptionKeyId": None,
            "rotationSignature": None,
        }
        return JSONResponse(members, 201)

    world.tap.intercept = lie
    async with runtime(world, environment) as one:
        with pytest.raises(DisagreementError):
            await one.registration.ensure()


async def test_a_failed_registration_is_tried_again_on_the_next_need(world: World) -> None:
    """Nothing is remembered of a refusal."""
    agent_id, environment = world.new_agent(("machine.vault.read",))
    async with runtime(world, environment) as one:
        with pytest.raises(Exception, match=r"machine\.agent\.all"):
            await one.registration.ensure()
        world.seeded.operator.grant_permission(agent_id, "machine.agent.all")
        assert await one.registration.ensure()
