"""The tool ``exposure``."""

from __future__ import annotations

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import ExposureReport
from r4_mcp.tools.tool import Arguments, Tool


class ExposureArguments(Arguments):
    """None."""


async def _run(gate: Gate, _: ExposureArguments) -> ExposureReport:
    return await gate.exposure()


EXPOSURE = Tool(
    name="exposure",
    title="Exposure",
    description="List what was shown to you, used or blocked since the ledger was cleared; `to_rotate` is the checklist.",
    arguments=ExposureArguments,
    result=ExposureReport,
    run=_run,
    read_only=True,
    idempotent=True,
)
