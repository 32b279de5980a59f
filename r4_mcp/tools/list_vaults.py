"""The tool ``list_vaults``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import VaultList
from r4_mcp.tools.tool import Arguments, Tool


class ListVaultsArguments(Arguments):
    """Filter and page."""

    project: Annotated[str | None, Field(description="Project id or name; only its vaults.", max_length=255)] = None
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=512)] = None


async def _run(gate: Gate, arguments: ListVaultsArguments) -> VaultList:
    return await gate.list_vaults(arguments.project, arguments.cursor)


LIST_VAULTS = Tool(
    name="list_vaults",
    title="List vaults",
    description=(
        "List the vaults this agent can see: name, reference, classification, item count. `verified` says whether these come "
        "from a checked signature. Never returns values."
    ),
    arguments=ListVaultsArguments,
    result=VaultList,
    run=_run,
    read_only=True,
    idempotent=True,
)
