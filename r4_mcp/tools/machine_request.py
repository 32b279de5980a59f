"""The tool ``machine_request``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import RawAnswer
from r4_mcp.policy.raw_request import MAX_PATH, Method
from r4_mcp.tools.tool import Arguments, Tool


class MachineRequestArguments(Arguments):
    """The request."""

    method: Annotated[Method, Field(strict=False)]
    path: Annotated[str, Field(description="/segment?key=value", min_length=1, max_length=MAX_PATH)]
    # Any JSON object: its shape is the service's. The gate bounds it.
    body: Annotated[dict[str, Any] | None, Field(description="At most 16 KiB."), WithJsonSchema({"type": ["object", "null"]})] = (
        None
    )


async def _run(gate: Gate, arguments: MachineRequestArguments) -> RawAnswer:
    return await gate.machine_request(arguments.method, arguments.path, arguments.body)


MACHINE_REQUEST = Tool(
    name="machine_request",
    title="Machine request",
    description=(
        "Make an R4 API request that the operator listed. `body` is unverified JSON text; what may be secret in it is a "
        "placeholder."
    ),
    arguments=MachineRequestArguments,
    result=RawAnswer,
    run=_run,
    read_only=False,
    destructive=True,
    requests=True,
)
