"""What a bad network does to a rotation, and a rotation that it interrupted.

What this file does not do: judge.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.errors import RotationUnresolvedError
from r4_mcp.vault.rotation import Rotated
from r4_mcp.vault.runtime import VaultRuntime
from tests.switchboard import Exchange
from tests.vault.test_lost_replies import BrokenOff

from .small_world import SmallWorld

ROTATE: Final = "POST /vault/public-key"
ME: Final = "GET /me"
_HOLD_SECONDS: Final = 30.0


@dataclass
class Lossy:
    """A network that fails around a rotation's request.

    Attributes:
        world: Whose network it is.
        unanswered: How many rotation requests are acted on, and their answers lost.
        dropped: How many of those after them never arrive.
        silent: How often, once a rotation was sent, the service does not say which key is active.
        bodies: The rotation requests.
    """

    world: SmallWorld
    unanswered: int = 0
    dropped: int = 0
    silent: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, exchange: Exchange) -> Response | None:
        """Answer one request, or let it through."""
        if exchange.line == ROTATE:
            self.bodies.append(exchange.body)
            if self.unanswered:
                self.unanswered -= 1
                await forward(self.world, exchange)
                return BrokenOff()
            if self.dropped:
                self.dropped -= 1
                return BrokenOff()
        if exchange.line == ME and self.bodies and self.silent:
            self.silent -= 1
            # Not one of the statuses that are tried again.
            return JSONResponse({"error": {"code": "internal_error", "message": "not now"}}, 500)
        return None

    @property
    def key_ids(self) -> list[str]:
        """The ids of the keys that were to be registered."""
        return [json.loads(body)["encryptionKeyId"] for body in self.bodies]


async def forward(world: SmallWorld, exchange: Exchange, body: bytes | None = None) -> httpx.Response:
    """Let the service act on a request, perhaps with another body; returns its answer."""
    transport = httpx.ASGITransport(world.tap.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as inside:
        headers = {"X-API-Key": exchange.api_key or ""}
        content = exchange.body if body is None else body
        return await inside.request(exchange.method, exchange.path, content=content, headers=headers)


@asynccontextmanager
async def held(
    world: SmallWorld, work: Callable[[], Coroutine[None, None, object]], line: str, after: str = ""
) -> AsyncIterator[None]:
    """Run something, and hold it at its first request of a line while the block runs.

    Args:
        world: Where.
        work: What runs; a second process, so to speak.
        line: How the line of the held request begins.
        after: A line that must have come before it.
    """
    arrived, released = threading.Event(), threading.Event()

    async def hold(exchange: Exchange) -> Response | None:
        if exchange.line.startswith(line) and not arrived.is_set() and (not after or after in world.tap.lines()):
            arrived.set()
            # In a thread, since the service's loop has to answer the block meanwhile.
            assert await anyio.to_thread.run_sync(released.wait, _HOLD_SECONDS)
        return None

    world.tap.intercept = hold
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            assert await anyio.to_thread.run_sync(arrived.wait, _HOLD_SECONDS), f"{line} was not sent"
            yield
        finally:
            released.set()
    world.tap.intercept = None


async def quietly(_: int, __: int) -> None:
    """Watch no progress."""


async def rotate(rooms: VaultRuntime) -> Rotated:
    """Rotate as the command does: what was left is settled first, and that is enough."""
    return await rooms.recovery.settle(writes=True, needs_key=True) or await rooms.rotation.rotate(quietly)


async def interrupt(world: SmallWorld, *, acted: bool) -> None:
    """Leave a rotation whose request was sent, and of which nobody here knows whether the service acted."""
    world.tap.intercept = Lossy(world, unanswered=int(acted), dropped=int(not acted), silent=1)
    async with world.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError):
            await rotate(rooms)
    world.tap.intercept = None
    world.service.settle()
    world.tap.exchanges.clear()
    (entry,) = world.journal()
    assert entry.body["state"] == "prepared"
