"""Pydantic AI: an agent whose model follows a script, and so sees what a model sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]  # in this client's own environment
from pydantic_ai import Agent  # type: ignore[import-not-found]  # as above
from pydantic_ai.mcp import MCPToolset  # type: ignore[import-not-found]  # as above
from pydantic_ai.messages import (  # type: ignore[import-not-found]  # as above
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import FunctionModel  # type: ignore[import-not-found]  # as above

from .conversation import Host, Plan, Reached, main


class PydanticAi:
    """A host that hands the model the part of a message that answers its call."""

    def __init__(self, toolset: Any) -> None:  # noqa: ANN401 - as the imports
        self._toolset = toolset

    async def tools(self) -> list[str]:
        """List what the model is offered."""
        offered: list[str] = []

        def script(_: Any, told: Any) -> Any:  # noqa: ANN401 - as the imports
            offered.extend(tool.name for tool in told.function_tools)
            return ModelResponse(parts=[TextPart("done")])

        await Agent(FunctionModel(script), toolsets=[self._toolset]).run("list")
        return offered

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Reached:
        """Let the model call, and read the answer."""
        answers: list[Reached] = []

        def script(messages: Any, _: Any) -> Any:  # noqa: ANN401 - as the imports
            for part in messages[-1].parts:
                if isinstance(part, ToolReturnPart):
                    answers.append(Reached(part.model_response_str(), part.outcome != "success"))
                elif isinstance(part, RetryPromptPart):
                    answers.append(Reached(part.model_response(), is_error=True))
            return ModelResponse(parts=[TextPart("done") if answers else ToolCallPart(tool, dict(arguments))])

        await Agent(FunctionModel(script), toolsets=[self._toolset]).run("call")
        (answer,) = answers
        return answer


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Host]:
    """Connect."""
    async with MCPToolset(StdioTransport(plan.command, plan.arguments, env=plan.environment, keep_alive=False)) as toolset:
        yield PydanticAi(toolset)


if __name__ == "__main__":
    main("pydantic-ai-slim", opened)
