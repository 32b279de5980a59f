"""The tool ``archive_vault``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_REFERENCE
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import Archived
from r4_mcp.tools.tool import Arguments, Tool


class ArchiveVaultArguments(Arguments):
    """The vault."""

    reference: Annotated[str, Field(description="r4://vault", min_length=1, max_length=MAX_REFERENCE)]


async def _run(gate: Gate, arguments: ArchiveVaultArguments) -> Archived:
    return await gate.archive_vault(arguments.reference)


ARCHIVE_VAULT = Tool(
    name="archive_vault",
    title="Archive vault",
    description="Archive a whole vault with all its items; needs ADMIN access. Ask the user first.",
    arguments=ArchiveVaultArguments,
    result=Archived,
    run=_run,
    read_only=False,
    destructive=True,
    writes=True,
)
