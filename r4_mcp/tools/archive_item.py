"""The tool ``archive_item``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_REFERENCE
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import Archived
from r4_mcp.tools.tool import Arguments, Tool


class ArchiveItemArguments(Arguments):
    """The item."""

    reference: Annotated[str, Field(description="r4://vault/item", min_length=1, max_length=MAX_REFERENCE)]


async def _run(gate: Gate, arguments: ArchiveItemArguments) -> Archived:
    return await gate.archive_item(arguments.reference)


ARCHIVE_ITEM = Tool(
    name="archive_item",
    title="Archive item",
    description="Archive one item: it leaves every listing; an operator can still see it. Ask the user first.",
    arguments=ArchiveItemArguments,
    result=Archived,
    run=_run,
    read_only=False,
    destructive=True,
    writes=True,
)
