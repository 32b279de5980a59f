"""The gate's side for raw requests: what the machine API has and this product has no tool for.

What this file does not do: let through what the operator didn't list. What comes back is proven by nothing, and shown filtered.

Rules:
1. A path that has a tool of its own is refused whatever the policy lists: those tools verify what they are told.
2. Everything that leaves, path, query and body, is screened like a report.
3. The audit log has the pattern that lists a request, never its path, query or body.
4. A yes is bound to the whole request, by a digest of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import anyio

from r4_mcp.errors import AbsentError, DeniedError
from r4_mcp.machine.contract import is_served
from r4_mcp.policy import outcomes
from r4_mcp.policy.admission import Doorway
from r4_mcp.policy.model import Action, Policy, Switches, Target, Verdict
from r4_mcp.policy.raw_answer import AnswerFilter
from r4_mcp.policy.raw_request import MAX_BODY, Method, RawRequest, RequestPattern, check_body, json_text, parse_request
from r4_mcp.policy.rules import Decision
from r4_mcp.policy.views import display

_NEVER_CUT: Final = 5 * MAX_BODY
"""A limit for ``display`` that no body reaches, even if each of its characters has to be escaped."""


def usable_patterns(policy: Policy, switches: Switches) -> tuple[RequestPattern, ...]:
    """Return the patterns that a policy lists and the switches leave of use; none of a closed policy."""
    return tuple(pattern for pattern in policy.requests if pattern.method.is_read or not switches.read_only)


def action_of(method: Method) -> Action:
    """Return what a raw request is for the rules."""
    return Action.RAW_READ if method.is_read else Action.RAW_WRITE


def pattern_of(request: RawRequest, policy: Policy) -> RequestPattern:
    """Return the pattern of the policy that lists a request.

    Raises:
        DeniedError: It has a tool of its own (rule 1), or no pattern lists it.
    """
    if is_served(request.segments):
        step = "Use the tool that is made for it; the list of tools says what each does."
        raise DeniedError("this path belongs to other tools, so no raw request takes it", next_step=step)
    found = next((pattern for pattern in policy.requests if pattern.fits(request)), None)
    if found is None:
        raise DeniedError("the operator's policy does not list this method and path")
    return found


class RawRequests(Doorway):
    """Requests that the operator lists by pattern."""

    async def machine_request(self, method: Method, path: str, body: Mapping[str, object] | None) -> outcomes.RawAnswer:
        """Make one raw request.

        Args:
            method: The HTTP method.
            path: Under the API's base, with its query.
            body: A JSON object, or None.

        Raises:
            InvalidArgumentError: Path or body are not of their form.
            SecretInTextError: Something in it is, or looks like, a secret; nothing was sent.
            DeniedError: It has a tool of its own, is not listed, or the rules deny it.
            ApprovalRequiredError: A person must say yes to exactly this request.
            UnsupportedContentError: The answer is not JSON.
            MalformedError: The answer is not strict JSON.
            R4Error: Not configured, refused, unreachable.
        """
        request = parse_request(method, path)
        texts = check_body(method, body)
        action = action_of(method)
        try:
            self._call.pattern = str(pattern_of(request, self._parts.policy()))
        except DeniedError as error:
            self._call.decision = Decision(action, Verdict.DENY, "no listed request", error.message)
            raise
        # Not by their keys: a key may be the secret.
        await self._admission.screen({"path": path, **{f"body, text {number}": text for number, text in enumerate(texts, 1)}})
        runtime = await self._admission.ready(action)
        text = "" if body is None else json_text(body)
        mark = hashlib.sha256(f"{method.value} {path}\n{text}".encode()).hexdigest()
        self._admission.permit(action, Target(), _question(method, path, text), (), mark)
        try:
            received = await runtime.raw(method.value, request.path, request.query, body)
        except AbsentError as error:
            raise AbsentError(
                f"the service has nothing at this path for this agent, by {method.value}",
                status=error.status,
                service_code=error.service_code,
                next_step="Compare method and path with R4's documentation; if they are right, tell R4 with report_gap.",
            ) from None
        answer = AnswerFilter(self._parts.egress.holds_secret)
        # Hundreds of kilobytes of text take longer to look through than the event loop should wait.
        shown = await anyio.to_thread.run_sync(answer.shown, received.body)
        return outcomes.RawAnswer(received.status, shown, answer.replaced)


def _question(method: Method, path: str, text: str) -> str:
    # The whole of it: nobody says yes to what is cut off.
    return f"Send {method.value} {path} to R4{'? Its body: ' + display(text, _NEVER_CUT) if text else ', without a body?'}"
