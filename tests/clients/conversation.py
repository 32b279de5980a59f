"""What every client does with the server, whichever framework it is made of, and what it tells the test of it.

What this file does not do: import anything but the standard library. It runs in each client's own environment.

Rules:
1. A client reads its plan from stdin, and writes one line of JSON to stdout.
2. What it tells is what the *model* would read: the text, or the JSON of the object, that its framework hands it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Plan:
    """What the test wants done.

    Attributes:
        command: The program that is the server.
        arguments: Its arguments.
        environment: Variables that it needs.
        unknown: A reference to nothing.
        held: A file that appears when the service has the request that it won't answer.
    """

    command: str
    arguments: list[str]
    environment: dict[str, str]
    unknown: str
    held: str


@dataclass(frozen=True)
class Reached:
    """What of one call reaches the model.

    Attributes:
        text: What it reads.
        is_error: Whether the framework knows, and so can tell it, that this is an error.
    """

    text: str
    is_error: bool


class Host(Protocol):
    """A framework that is connected to the server."""

    async def tools(self) -> list[str]:
        """Return the names of the tools that the model is offered."""

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call a tool as the model would."""


Opening = Callable[[Plan], AbstractAsyncContextManager[Host]]


def main(distribution: str, opening: Opening) -> None:
    """Do everything and tell it.

    Args:
        distribution: The package whose version is told.
        opening: Starts the server and connects to it.
    """
    plan = Plan(**json.load(sys.stdin))
    asyncio.run(_converse(plan, opening, version(distribution)))


async def _converse(plan: Plan, opening: Opening, version: str) -> None:
    async with opening(plan) as host:
        told = {
            "version": version,
            "tools": await host.tools(),
            "call": asdict(await host.call("list_vaults", {})),
            "error": asdict(await host.call("read_secret", {"reference": plan.unknown})),
            "was_cancelled": await _cancel(plan, host),
            "after": asdict(await host.call("list_vaults", {})),
        }
        # Before the connection is closed, which may go wrong too: then this process's status says so.
        sys.stdout.write(json.dumps(told) + "\n")


async def _cancel(plan: Plan, host: Host) -> bool:
    """Cancel a call while the service keeps it waiting; returns whether that ended it."""
    call = asyncio.create_task(host.call("report_gap", {"summary": "slow", "details": "this call is cancelled"}))
    async with asyncio.timeout(SECONDS):
        # Another process makes the file: there is nothing to wait on but its being there.
        while not Path(plan.held).exists() and not call.done():  # noqa: ASYNC110, ASYNC240 - as said
            await asyncio.sleep(_LOOK_SECONDS)
        call.cancel()
        await asyncio.wait([call])
    return call.cancelled()
