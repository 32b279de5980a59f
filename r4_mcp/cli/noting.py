"""People's commands in the audit log: the same line that a tool call has, under a name that no tool has.

What this file does not do: decide, or count: what a person is shown is no exposure to a model and costs no reveal budget.

Rules:
1. The line is written before anything is shown. A value whose line can't be written is not shown.
2. A change that was made is told although its line can't be written; the process's log says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from r4_mcp.cli.wiring import Service
from r4_mcp.errors import ConfigurationError, R4Error
from r4_mcp.policy.call import Call

_log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def noted(service: Service, command: str, *, reveals: bool = False) -> AsyncIterator[Call]:
    """Note what a command came to when its body ends; the body fills in the ids and the decision.

    Args:
        service: Has the audit log.
        command: The command's name in the log: lower-case letters and underscores.
        reveals: Whether a value is shown afterwards (rule 1).

    Raises:
        ConfigurationError: The line of a reveal can't be written.
    """
    call, started, outcome = Call(), time.monotonic(), "cancelled"
    try:
        yield call
        outcome = "ok"
    except R4Error as error:
        outcome = error.code
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await _write(service, command, call, outcome, round((time.monotonic() - started) * 1000), must=reveals)


async def _write(service: Service, command: str, call: Call, outcome: str, duration_ms: int, *, must: bool) -> None:
    if service.oversight is None:
        return
    try:
        await service.oversight.log(command, call, outcome, duration_ms)
    except ConfigurationError as error:
        if must and outcome == "ok":
            raise
        _log.warning("a command is not in the audit log: %s", error.message)
