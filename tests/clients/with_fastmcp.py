"""FastMCP's client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found]  # installed in this client's own environment
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]  # as above
from fastmcp.exceptions import ToolError  # type: ignore[import-not-found]  # as above

from .conversation import Host, Plan, Reached, main


class FastMcp:
    """A host that hands the model the text blocks, or what an error says."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - as the imports
        self._client = client

    async def tools(self) -> list[str]:
        """List."""
        return [tool.name for tool in await self._client.list_tools()]

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        try:
            result = await self._client.call_tool(tool, dict(arguments))
        except ToolError as error:
            return Reached(str(error), is_error=True)
        (block,) = result.content
        return Reached(block.text, is_error=False)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    async with Client(StdioTransport(plan.command, plan.arguments, env=plan.environment, keep_alive=False)) as client:
        yield FastMcp(client)


if __name__ == "__main__":
    main("fastmcp", opened)
