"""OpenAI's Agents SDK: the tools as its runner calls them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, RunContextWrapper  # type: ignore[import-not-found]  # installed in this client's own environment
from agents.mcp import MCPServerStdio, MCPUtil  # type: ignore[import-not-found]  # as above
from agents.tool_context import ToolContext  # type: ignore[import-not-found]  # as above

from .conversation import Host, Plan, Reached, main


class OpenAiAgents:
    """A host that hands the model a function call's output."""

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self._tools = tools

    async def tools(self) -> list[str]:
        """List."""
        return list(self._tools)

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Call."""
        text = json.dumps(arguments)
        context = ToolContext(context=None, tool_name=tool, tool_call_id="1", tool_arguments=text)
        output = await self._tools[tool].on_invoke_tool(context, text)
        # A function call's output has no place for a mark: the text is all that the model has.
        return Reached(output["text"], is_error=False)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    params = {"command": plan.command, "args": plan.arguments, "env": plan.environment}
    async with MCPServerStdio(params, client_session_timeout_seconds=None) as server:
        context, agent = RunContextWrapper(context=None), Agent(name="r4", mcp_servers=[server])
        tools = await MCPUtil.get_function_tools(server, convert_schemas_to_strict=False, run_context=context, agent=agent)
        yield OpenAiAgents({tool.name: tool for tool in tools})


if __name__ == "__main__":
    main("openai-agents", opened)
