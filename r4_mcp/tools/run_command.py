"""The tool ``run_command``: a program gets secrets, and its output shows none."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import ProgramAnswer
from r4_mcp.policy.use_command import CommandDraft
from r4_mcp.tools.tool import Arguments, Tool


class RunCommandArguments(Arguments):
    """The command. The gate bounds the whole; the tool's description says what its parts are, in fewer bytes than theirs."""

    argv: list[str]
    # The names are the program's own.
    env: Annotated[dict[str, str] | None, WithJsonSchema({"type": ["object", "null"]})] = None
    stdin: str | None = None
    timeout: Annotated[int | None, Field(ge=1), WithJsonSchema({"type": "integer"})] = None


async def _run(gate: Gate, arguments: RunCommandArguments) -> ProgramAnswer:
    return await gate.run_command(CommandDraft(arguments.argv, arguments.env or {}, arguments.stdin, arguments.timeout))


RUN_COMMAND = Tool(
    name="run_command",
    title="Run command",
    description="Run a program with secrets unseen: references in `env` (by name), `stdin`. A refusal lists what may run.",
    arguments=RunCommandArguments,
    result=ProgramAnswer,
    run=_run,
    read_only=False,
    destructive=True,
    runs=True,
)
