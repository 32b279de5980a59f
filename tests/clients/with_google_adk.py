"""Google's Agent Development Kit: the tools as its runner calls them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from google.adk.tools.mcp_tool.mcp_session_manager import (  # type: ignore[import-not-found]  # in this client's environment
    StdioConnectionParams,
)
from google.adk.tools.mcp_tool.mcp_toolset import McpToolset  # type: ignore[import-not-found]  # as above
from mcp.client.stdio import StdioServerParameters

from .conversation import SECONDS, Host, Plan, Reached, main


class GoogleAdk:
    """A host that hands the model the JSON of a function response."""

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self._tools = tools

    async def tools(self) -> list[str]:
        """List."""
        return list(self._tools)

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        response = await self._tools[tool].run_async(args=dict(arguments), tool_context=None)
        return Reached(json.dumps(response), bool(response.get("isError")))


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    server = StdioServerParameters(command=plan.command, args=plan.arguments, env=plan.environment)
    toolset = McpToolset(connection_params=StdioConnectionParams(server_params=server, timeout=SECONDS))
    try:
        yield GoogleAdk({tool.name: tool for tool in await toolset.get_tools()})
    finally:
        await toolset.close()


if __name__ == "__main__":
    main("google-adk", opened)
