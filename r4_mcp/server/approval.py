"""Asking a person, in both protocol eras, and calling again with their answer.

What this file does not do: decide what needs asking; the rules do, and the gate says so by ``ApprovalRequiredError``.

Rules:
1. Handshake era: the server asks while the call waits. From 2026-07-28 on: the call returns the question with a sealed state, and
   comes back with the answer; the SDK's ``RequestStateBoundary`` binds the state to the tool, its arguments and a time.
2. A yes is ``accept`` with ``approve: true``. Anything else is a no, and so is silence.
3. The answer counts for the subject that was asked about, once. An answer without a state that verified is ignored: then the
   question is asked.
4. A no is remembered by this process for as long as an answer may take, so that nobody is worn down by the same question.
5. A client that can't ask gets a refusal with the operator's way out. Nothing in a call's arguments can stand in for a person.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from r4_mcp.errors import ApprovalRequiredError, DeniedError, R4Error
from r4_mcp.policy.approvals import APPROVAL_SECONDS, UsedApprovals
from r4_mcp.policy.call import Approval, Call
from r4_mcp.secret import Secret
from r4_mcp.server.dispatch import Dispatch, Outcome

STATELESS_ERA: Final = "2026-07-28"
"""From this protocol version on, a server asks by returning the question."""

_KEY: Final = "approval"
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Yes, do it", "description": "Without a yes nothing is done."}},
    "required": ["approve"],
}
_DECLINED: Final = "Don't ask again for the same thing; tell the user what you wanted it for, and let them decide."

Context = ServerRequestContext[dict[str, Any]]


class Asking:
    """Runs calls, and asks where the gate says so.

    Args:
        dispatch: Runs a call.
        used: Where answers that were acted upon are noted; None where nothing is configured, so that nothing is ever asked.
        key: Seals the state of questions; the same in every process of the agent. None: one of this process.
    """

    def __init__(self, dispatch: Dispatch, used: UsedApprovals | None, key: Secret[bytes] | None) -> None:
        self._dispatch = dispatch
        self._used = used
        self._declined: dict[tuple[str, ...], float] = {}
        # reveal: seen by the SDK's AES-GCM codec only.
        keys = [secrets.token_bytes(32) if key is None else key.reveal()]
        self._security = RequestStateSecurity(keys=keys, ttl=float(APPROVAL_SECONDS))

    def boundary(self, server: str) -> RequestStateBoundary:
        """Return the middleware that seals and verifies states for a server of this name."""
        return RequestStateBoundary(self._security, default_audience=server)

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome | types.InputRequiredResult:
        """Run one call, with a person's answer where one is needed and given."""
        try:
            if ctx.protocol_version >= STATELESS_ERA:
                return await self._stateless(ctx, params)
            return await self._handshake(ctx, params)
        except R4Error as error:
            return await self._dispatch.refused(params.name, error)

    async def _stateless(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome | types.InputRequiredResult:
        state, responses = params.request_state, params.input_responses or {}
        outcome = await self._run(ctx, params, None if state is None else await self._answer(state, responses))
        if outcome.asks is None or not self._may_ask(ctx):
            return outcome
        form = types.ElicitRequestFormParams(message=outcome.asks.question, requested_schema=_SCHEMA)
        opened = {"nonce": secrets.token_hex(16), "subject": list(outcome.asks.subject)}
        request = types.ElicitRequest(params=form)
        return types.InputRequiredResult(input_requests={_KEY: request}, request_state=json.dumps(opened))

    async def _handshake(self, ctx: Context, params: types.CallToolRequestParams) -> Outcome:
        outcome = await self._run(ctx, params, None)
        if outcome.asks is None or not self._may_ask(ctx):
            return outcome
        approval = await self._ask(ctx, outcome.asks)
        return outcome if approval is None else await self._run(ctx, params, approval)

    async def _run(self, ctx: Context, params: types.CallToolRequestParams, approval: Approval | None) -> Outcome:
        async def progress(done: int, total: int) -> None:
            await ctx.session.report_progress(done, total)

        outcome = await self._dispatch.call(params.name, params.arguments, Call(approval, progress))
        if outcome.asks is not None and time.monotonic() < self._declined.get(outcome.asks.subject, 0.0):
            raise DeniedError("the user declined this a moment ago and is not asked again yet", next_step=_DECLINED)
        if outcome.asks is not None and approval is not None:
            # Rule 3: a yes to one thing is not a yes to another.
            raise DeniedError("what the user approved has changed since; nothing was done")
        return outcome

    def _may_ask(self, ctx: Context) -> bool:
        return self._used is not None and _can_ask(ctx)

    async def _ask(self, ctx: Context, asked: ApprovalRequiredError) -> Approval | None:
        try:
            with anyio.fail_after(APPROVAL_SECONDS):
                answer = await ctx.session.elicit_form(asked.question, _SCHEMA, related_request_id=ctx.request_id)
        except TimeoutError:
            raise DeniedError(f"nobody answered within {APPROVAL_SECONDS} seconds", next_step=_DECLINED) from None
        except MCPError:
            return None  # The client said that it can ask, and can't: rule 5.
        self._require_yes(answer.action, answer.content, asked.subject)
        return Approval(asked.subject)

    async def _answer(self, state: str, responses: Mapping[str, object]) -> Approval | None:
        # The boundary has verified the seal, the tool, the arguments and the time: this is our own JSON.
        opened = json.loads(state)
        answer = responses.get(_KEY)
        if answer is None:
            return None
        if not isinstance(answer, types.ElicitResult):
            raise DeniedError("the answer is not one to the question that was asked", next_step=_DECLINED)
        self._require_yes(answer.action, answer.content, tuple(opened["subject"]))
        if self._used is None or not await anyio.to_thread.run_sync(self._used.spend, opened["nonce"]):
            raise DeniedError("this approval was used before; each one counts once")
        return Approval(tuple(opened["subject"]))

    def _require_yes(self, action: str, content: Mapping[str, object] | None, subject: tuple[str, ...]) -> None:
        if action == "accept" and (content or {}).get("approve") is True:
            return
        now = time.monotonic()
        self._declined = {asked: until for asked, until in self._declined.items() if until > now}
        self._declined[subject] = now + APPROVAL_SECONDS
        raise DeniedError("the user did not approve it", next_step=_DECLINED)


def _can_ask(ctx: Context) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = None if capabilities is None else capabilities.elicitation
    # A bare `elicitation: {}` is the form mode of before modes existed.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)
