"""The official Python SDK, version 1: `ClientSession`, which most frameworks were built on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp
from mcp.client.stdio import StdioServerParameters, stdio_client

from .conversation import Host, Plan, Reached, main


class Mcp1:
    """A host that hands the model the text blocks."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - version 1 is not what the types here are of
        self._session = session

    async def tools(self) -> list[str]:
        """List."""
        return [tool.name for tool in (await self._session.list_tools()).tools]

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        result = await self._session.call_tool(tool, dict(arguments))
        (block,) = result.content
        return Reached(block.text, result.isError)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    server = StdioServerParameters(command=plan.command, args=plan.arguments, env=plan.environment)
    async with stdio_client(server) as (incoming, outgoing), mcp.ClientSession(incoming, outgoing) as session:
        await session.initialize()
        yield Mcp1(session)


if __name__ == "__main__":
    main("mcp", opened)
