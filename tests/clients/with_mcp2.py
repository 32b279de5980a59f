"""The official Python SDK, version 2: `mcp.Client`. The protocol era is the first argument."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp
import mcp_types as types
from mcp.client.stdio import StdioServerParameters

from .conversation import Host, Plan, Reached, main


class Mcp2:
    """A host that hands the model the text blocks."""

    def __init__(self, client: mcp.Client) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        """List."""
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        result = await self._client.call_tool(tool, dict(arguments))
        assert isinstance(result, types.CallToolResult)
        (block,) = result.content
        assert isinstance(block, types.TextContent)
        return Reached(block.text, bool(result.is_error))


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    mode: Any = sys.argv[1]
    server = StdioServerParameters(command=plan.command, args=plan.arguments, env=plan.environment)
    async with mcp.Client(server, mode=mode) as client:
        yield Mcp2(client)


if __name__ == "__main__":
    main("mcp", opened)
