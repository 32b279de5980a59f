"""The tool ``create_vault``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_NAME, Classification
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import CreatedVault
from r4_mcp.tools.tool import Arguments, Tool


class CreateVaultArguments(Arguments):
    """The vault."""

    name: Annotated[str, Field(description="Not secret.", min_length=1, max_length=MAX_NAME)]
    classification: Annotated[Classification | None, Field(strict=False)] = None
    project: Annotated[str | None, Field(description="Project id or name that gets access.", max_length=255)] = None


async def _run(gate: Gate, arguments: CreateVaultArguments) -> CreatedVault:
    return await gate.create_vault(arguments.name, arguments.classification, arguments.project)


CREATE_VAULT = Tool(
    name="create_vault",
    title="Create vault",
    description=(
        "Create an empty vault whose key is made on this machine. Only this agent can open it until it is shared. Returns its "
        "reference."
    ),
    arguments=CreateVaultArguments,
    result=CreatedVault,
    run=_run,
    read_only=False,
    writes=True,
)
