"""LlamaIndex's MCP tools, which start one server for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from llama_index.tools.mcp import (  # type: ignore[import-not-found]  # installed in this client's own environment
    BasicMCPClient,
    McpToolSpec,
)

from .conversation import Host, Plan, Reached, main


class LlamaIndex:
    """A host that hands the model the content of a ``ToolOutput``."""

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self._tools = tools

    async def tools(self) -> list[str]:
        """List."""
        return list(self._tools)

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        output = await self._tools[tool].acall(**arguments)
        return Reached(output.content, output.is_error)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    client = BasicMCPClient(plan.command, args=plan.arguments, env=plan.environment)
    yield LlamaIndex({tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()})


if __name__ == "__main__":
    main("llama-index-tools-mcp", opened)
