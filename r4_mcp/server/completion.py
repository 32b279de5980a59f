"""Completion: verified names for the arguments of templates and prompts.

What this file does not do: guess. It suggests what is in memory or one sync away, and nothing where listing is denied.

Rules:
1. What becomes part of a reference is suggested as references spell it; what a tool takes as a name is suggested raw.
2. Names are matched by their beginning, in any case. At most a hundred are given; ``hasMore`` says that there are others.
3. Where listing is denied, or nothing has the name that was chosen before, there is nothing to suggest; that is no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import mcp_types as types

from r4_mcp.errors import DeniedError, InvalidArgumentError, NotFoundError
from r4_mcp.policy.drafts import MAX_REFERENCE
from r4_mcp.policy.gate import Gate
from r4_mcp.server.approval import Context
from r4_mcp.server.dispatch import Dispatch
from r4_mcp.server.prompt_texts import ALL_PROMPTS, FIND, ROTATE, STORE
from r4_mcp.server.protocol import answered
from r4_mcp.server.resources import ITEM_TEMPLATE, VAULT_TEMPLATE

_SCHEME: Final = "r4://"
_FIELD_DEPTH: Final = 2
_SILENT: Final = frozenset({DeniedError.code, NotFoundError.code})


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to suggest: where, what was typed of it, what is written before each, and whether as references spell it."""

    within: str | None
    typed: str
    before: str = ""
    spelled: bool = True


class Completion:
    """Completes arguments.

    Args:
        dispatch: Runs what is asked, guarded and logged.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def complete(self, _: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Suggest values for one argument.

        Raises:
            MCPError: There is no such argument, a name before it is ambiguous, or as ``list_vaults`` refuses.
        """
        outcome = await self._dispatch.ask("completion", partial(_complete, params))
        if outcome.is_error and outcome.payload["code"] in _SILENT:
            return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))
        return types.CompleteResult(completion=types.Completion.model_validate(answered(outcome)))


async def _complete(params: types.CompleteRequestParams, gate: Gate) -> dict[str, Any]:
    wish = _wish(params)
    if wish is None or len(wish.typed) > MAX_REFERENCE:
        return {"values": [], "total": 0, "hasMore": False}
    suggested = await gate.suggest(wish.within, wish.typed)
    values = [wish.before + (one.spelled if wish.spelled else one.part) for one in suggested.found]
    return {"values": values, "total": suggested.total, "hasMore": suggested.total > len(values)}


def _wish(params: types.CompleteRequestParams) -> _Wish | None:
    """Say what to suggest; None where nothing can be known before it is typed.

    Raises:
        InvalidArgumentError: No template or prompt here has such an argument.
    """
    name, typed = params.argument.name, params.argument.value
    if isinstance(params.ref, types.ResourceTemplateReference):
        if name == "vault" and params.ref.uri in {VAULT_TEMPLATE, ITEM_TEMPLATE}:
            return _Wish("", typed)
        if name == "item" and params.ref.uri == ITEM_TEMPLATE:
            chosen = (params.context.arguments or {}).get("vault", "") if params.context is not None else ""
            return _Wish(chosen, typed) if chosen else None
    elif (params.ref.name, name) == (STORE.name, "vault"):
        return _Wish("", typed, spelled=False)
    elif (params.ref.name, name) == (FIND.name, "query"):
        return _Wish(None, typed, spelled=False)
    elif (params.ref.name, name) == (ROTATE.name, "reference"):
        return _reference_wish(typed)
    elif any(prompt.name == params.ref.name and name in {one.name for one in prompt.arguments} for prompt in ALL_PROMPTS):
        return None
    raise InvalidArgumentError(
        "no template or prompt here has such an argument", next_step="List the resource templates and the prompts."
    )


def _reference_wish(typed: str) -> _Wish | None:
    # A reference grows part by part. Whoever has not begun one yet begins with a vault's name.
    parts = "" if _SCHEME.startswith(typed) else typed.removeprefix(_SCHEME)
    within, slash, last = parts.rpartition("/")
    if within.count("/") >= _FIELD_DEPTH:
        return None
    return _Wish(within, last, _SCHEME + within + slash)
