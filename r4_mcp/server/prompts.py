"""Prompts: served around what was typed, where their tools are there.

What this file does not do: look into the vault, or say what a prompt says; ``prompt_texts`` does.

Rules:
1. What was typed is screened for secrets, and stands in the text as quoted data only.
2. A prompt is offered where every tool that it can't do without is visible.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import mcp_types as types

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import display
from r4_mcp.server.approval import Context
from r4_mcp.server.dispatch import Dispatch
from r4_mcp.server.prompt_texts import ALL_PROMPTS, Prompt
from r4_mcp.server.protocol import answered, require_first_page

_NOT_SAID: Final = "not chosen yet"


class Prompts:
    """Lists and gets prompts.

    Args:
        dispatch: Runs what is asked, guarded and logged.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def list_prompts(self, _: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """List the prompts that can be followed here (rule 2).

        Raises:
            MCPError: A cursor.
        """
        require_first_page(params)
        return types.ListPromptsResult(prompts=[prompt.listed() for prompt in self._offered()])

    async def get(self, _: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """Return a prompt's text around its arguments.

        Raises:
            MCPError: No such prompt, its arguments are not as described, or hold a secret.
        """
        work = partial(self._compose, params.name, params.arguments or {})
        payload = answered(await self._dispatch.ask("prompt", work))
        message = types.PromptMessage(role="user", content=types.TextContent(text=payload["text"]))
        return types.GetPromptResult(description=payload["description"], messages=[message])

    def _offered(self) -> tuple[Prompt, ...]:
        tools = self._tools()
        return tuple(prompt for prompt in ALL_PROMPTS if prompt.needs <= tools)

    def _tools(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self._dispatch.tools)

    async def _compose(self, name: str, said: Mapping[str, str], gate: Gate) -> dict[str, Any]:
        prompt = next((prompt for prompt in self._offered() if prompt.name == name), None)
        if prompt is None:
            raise InvalidArgumentError(
                "no prompt of that name is available here", next_step="List the prompts and get one of them."
            )
        _check(prompt, said)
        await gate.screen(said)
        told = {one.name: _quoted(said[one.name]) if said.get(one.name) else _NOT_SAID for one in prompt.arguments}
        return {"description": prompt.description, "text": prompt.text(told, self._tools())}


def _check(prompt: Prompt, said: Mapping[str, str]) -> None:
    arguments = {one.name: one for one in prompt.arguments}
    if not said.keys() <= arguments.keys():
        raise InvalidArgumentError("there is an argument that is not one of this prompt's", next_step=_taken(prompt))
    for one in prompt.arguments:
        text = said.get(one.name, "")
        if one.required and not text.strip():
            raise InvalidArgumentError(f"the argument {one.name} is required")
        if len(text) > one.limit:
            raise InvalidArgumentError(f"the argument {one.name} has more than {one.limit} characters")


def _taken(prompt: Prompt) -> str:
    names = ", ".join(one.name for one in prompt.arguments)
    return f"It takes: {names}." if names else "It takes no arguments."


def _quoted(text: str) -> str:
    """Return a text in quotes, whole: what can't be seen is escaped, and so are quotes."""
    return json.dumps(display(text, len(text)), ensure_ascii=False)
