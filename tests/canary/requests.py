"""One combination as requests on the wire.

What this file does not do: bring the condition about on the service's side, or look at what came of it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import anyio

from .breaks import Break
from .calls import CONTACT, RIGHT
from .conditions import MALFORMED, Combination
from .vaults import REJECTED, Planted
from .wire import Message, Wire
from .wrong import wrong

FORGED: Final = dict(zip(("name", "text", "list", "state", "answer", "member", "envelope"), MALFORMED, strict=True))


async def play(wire: Wire, one: Combination, planted: Planted, broken: Break | None) -> Message | None:
    """Make the call of one combination; returns the answer, None where it was taken back before there was one."""
    condition = one.condition
    if condition.malformed is not None:
        return await wire.request("tools/call", malformed(one, planted))
    if condition.way is not None:
        return await wire.call(one.tool, wrong(one.tool, condition.way, planted))
    arguments = RIGHT[one.tool](condition.turn, planted)
    if not condition.cancelled or broken is None:
        return await wire.call(one.tool, arguments)
    return await _cancelled(wire, one.tool, arguments, broken)


def malformed(one: Combination, planted: Planted) -> dict[str, object]:
    """Return the parameters of a request that is wrong around its arguments."""
    canary, known = planted.supplied[REJECTED].text, planted.values[CONTACT[0]].text
    params: dict[str, object] = {"name": one.tool, "arguments": RIGHT[one.tool](0, planted)}
    changes: dict[str, dict[str, object]] = {
        "an unknown tool": {"name": f"{one.tool} {canary}"},
        "arguments that are a text": {"arguments": canary},
        "arguments that are a list": {"arguments": [canary, known]},
        "a forged state": {"requestState": f"v1.{canary}", "inputResponses": {"approval": _answer(canary)}},
        "an answer to no question": {"inputResponses": {canary: _answer(canary), "approval": _answer(known)}},
        "an unknown member": {canary: known},
        "an unknown member of the envelope": {"_meta": {canary: known}},
    }
    return {**params, **changes[one.condition.malformed or ""]}


def _answer(canary: str) -> dict[str, object]:
    return {"action": "accept", "content": {"approve": canary}}


async def _cancelled(wire: Wire, tool: str, arguments: object, broken: Break) -> Message | None:
    """Take a call back in the moment that its break is met."""
    moment, loop = anyio.Event(), asyncio.get_running_loop()
    broken.noticed = partial(_tell, loop, moment)
    answers: list[Message] = []

    async with anyio.create_task_group() as tasks:

        async def answered() -> None:
            answers.append(await wire.call(tool, arguments))
            tasks.cancel_scope.cancel()

        async def noticed() -> None:
            await moment.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(answered)
        tasks.start_soon(noticed)
    if answers:
        return answers[0]
    await wire.cancel(wire.latest)
    return None


def _tell(loop: asyncio.AbstractEventLoop, moment: anyio.Event) -> None:
    loop.call_soon_threadsafe(moment.set)
