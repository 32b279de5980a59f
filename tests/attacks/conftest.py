"""Stages: one that lies come and go on, and one of its own for each lie that changes what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from r4_mcp.cli.wiring import Service
from tests.doors import World

from .stage import Stage


@pytest.fixture
def stage(world: World) -> Stage:
    """Set up a world with a canary and a liar."""
    return Stage.set_up(world)


@pytest.fixture(scope="module")
def lasting(calm: World) -> Stage:
    """Set up a stage that stays as it is, however many lies are told on it."""
    return Stage.set_up(calm)


@pytest.fixture
def standing(lasting: Stage) -> Iterator[Stage]:
    """Take the lasting stage for one lie."""
    lasting.world.tap.exchanges.clear()
    yield lasting
    lasting.liar.tell(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remembering(lasting: Stage) -> AsyncIterator[Service]:
    """Wire a process that stays, on a memory that another process left."""
    async with lasting.process() as first:
        await lasting.contact(first)
    async with lasting.process() as service:
        yield service
