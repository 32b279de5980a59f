"""LangChain's MCP adapters, which start one server for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langchain_mcp_adapters.client import (  # type: ignore[import-not-found]  # installed in this client's own environment
    MultiServerMCPClient,
)

from .conversation import Host, Plan, Reached, main


class LangChain:
    """A host that hands the model the content of a ``ToolMessage``."""

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self._tools = tools

    async def tools(self) -> list[str]:
        """List."""
        return list(self._tools)

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        message = await self._tools[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": dict(arguments)})
        (block,) = message.content
        return Reached(block["text"], message.status == "error")


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    server = {"transport": "stdio", "command": plan.command, "args": plan.arguments, "env": plan.environment}
    yield LangChain({tool.name: tool for tool in await MultiServerMCPClient({"r4": server}).get_tools()})


if __name__ == "__main__":
    main("langchain-mcp-adapters", opened)
