"""Registration: on first need, once, and never a replacement (contract §5)."""

from __future__ import annotations

import json

import anyio
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.errors import DisagreementError, KeyMismatchError
from tests.doors import World, private_pem, write_private
from tests.switchboard import Exchange

from .rooms import runtime


async def test_a_new_agent_registers_on_first_need_and_once(world: World) -> None:
    """Many calls at once: one ``GET /me``, one registration; a second process finds the same key."""
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
        assert world.tap.lines() == ["GET /me"]
    assert len(ids) == 1


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
