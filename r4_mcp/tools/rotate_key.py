"""The tool ``rotate_key``."""

from __future__ import annotations

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import RotatedKey
from r4_mcp.tools.tool import Arguments, Tool


class RotateKeyArguments(Arguments):
    """None."""


async def _run(gate: Gate, _: RotateKeyArguments) -> RotatedKey:
    return await gate.rotate_key()


ROTATE_KEY = Tool(
    name="rotate_key",
    title="Rotate key",
    description=(
        "Replace this machine's RSA key by a new one and wrap every vault key for it. Asks the user. An interrupted rotation is "
        "finished first."
    ),
    arguments=RotateKeyArguments,
    result=RotatedKey,
    run=_run,
    read_only=False,
    destructive=True,
    writes=True,
)
