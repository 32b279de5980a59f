"""The tool ``whoami``."""

from __future__ import annotations

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import Standing
from r4_mcp.tools.tool import Arguments, Tool


class WhoamiArguments(Arguments):
    """None."""


async def _run(gate: Gate, _: WhoamiArguments) -> Standing:
    return await gate.whoami()


WHOAMI = Tool(
    name="whoami",
    title="Who am I",
    description=(
        "Say which agent this is, what it may do, which tools it can't use, what is missing and the exact next step. "
        "Call it first, or when a tool refuses. Never returns keys or values."
    ),
    arguments=WhoamiArguments,
    result=Standing,
    run=_run,
    read_only=True,
    idempotent=True,
)
