"""The tool ``describe_item``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_REFERENCE
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import ItemDescription
from r4_mcp.tools.tool import Arguments, Tool


class DescribeItemArguments(Arguments):
    """The item."""

    reference: Annotated[str, Field(description="r4://vault/item", min_length=1, max_length=MAX_REFERENCE)]


async def _run(gate: Gate, arguments: DescribeItemArguments) -> ItemDescription:
    return await gate.describe_item(arguments.reference)


DESCRIBE_ITEM = Tool(
    name="describe_item",
    title="Describe item",
    description=(
        "Show an item's field names, types and references, its websites, and who signed it. Use it to find the exact field "
        "before read_secret. Never returns values."
    ),
    arguments=DescribeItemArguments,
    result=ItemDescription,
    run=_run,
    read_only=True,
    idempotent=True,
)
