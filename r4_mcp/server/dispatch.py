"""Dispatch: find the tool, parse, run, encode, explain; for every tool the same, in this order.

What this file does not do: know MCP. It turns a name and arguments into an outcome.

Rules:
1. Arguments are parsed here, strictly; a rejected one is named, its value is never repeated.
2. Every outcome passes the egress guard before it is encoded, errors too.
3. An unexpected exception gives one generic sentence with an error id; the log has the id, the exception's class and where it was
   raised, never its text or locals.
4. Every call is in the audit log before its answer leaves; a reveal that can't be logged is refused.
5. This is the one place, beside the network adapter, where ``except Exception`` is legal.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, TypeVar

import anyio
from pydantic import ValidationError

from r4_mcp.errors import (
    ApprovalRequiredError,
    ConfigurationError,
    InternalError,
    InvalidArgumentError,
    LeakBlockedError,
    OnboardingError,
    R4Error,
    SignerRefusedError,
    UnknownToolError,
    WrappedKeyNotMineError,
)
from r4_mcp.policy.call import Call
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.model import DEFAULTS, Policy, Switches
from r4_mcp.policy.oversight import EGRESS, Oversight
from r4_mcp.policy.raw import usable_patterns
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.explain import explain
from r4_mcp.tools import ALL_TOOLS
from r4_mcp.tools.tool import KNOWN, Arguments, Tool

ResultT = TypeVar("ResultT")

_log: Final = logging.getLogger(__name__)
_MAX_PROBLEMS: Final = 3
_SAFE_TYPES: Final = frozenset(
    {
        "string_too_short",
        "string_too_long",
        "greater_than_equal",
        "less_than_equal",
        "enum",
        "too_long",
        "none_required",
    }
)
"""Error types whose pydantic text is made of limits and expected words only, never of the input."""


_TOLD: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "a JSON array, such as [ … ]",
    "model_type": "a JSON object, such as { … }",
    "model_attributes_type": "a JSON object, such as { … }",
    "too_short": "an array with at least one entry",
}
"""Our own words where pydantic's speak of Python."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: the payload that leaves, whether it is an error, and what a person would have to be asked first."""

    payload: dict[str, Any]
    is_error: bool
    asks: ApprovalRequiredError | None = None

    @property
    def text(self) -> str:
        """The payload as compact JSON."""
        return compact(self.payload)


def compact(payload: dict[str, Any]) -> str:
    """Return a payload as compact JSON, which is what models read."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


class Dispatch:
    """Runs tools.

    Args:
        gate: The tools' only handle.
        known: Where values are made known as arguments are parsed.
        egress: Has the last look.
        switches: The operator's switches; they hide tools.
        oversight: Logs each call; None where nothing is configured.
        policy: The operator's policy as it stands now; it shows what it opens.
    """

    def __init__(
        self,
        gate: Gate,
        known: KnownSecrets,
        egress: Egress,
        switches: Switches,
        oversight: Oversight | None = None,
        policy: Callable[[], Policy] = lambda: DEFAULTS,
    ) -> None:
        self._gate = gate
        self._oversight = oversight
        self._known = known
        self._egress = egress
        self._switches = switches
        self._policy = policy
        self._by_name = {tool.name: tool for tool in ALL_TOOLS}

    @property
    def tools(self) -> tuple[Tool[Any], ...]:
        """The tools that are visible now: only the policy can change them while a process lives."""
        # To know the policy is to read its file: once is enough for all of them.
        policy = cache(self._policy)
        return tuple(tool for tool in ALL_TOOLS if is_visible(tool, self._switches, policy))

    @property
    def gate(self) -> Gate:
        """The gate outside of any call: for looks at memory that nobody is answered with."""
        return self._gate

    def _tool(self, name: str) -> Tool[Any] | None:
        tool = self._by_name.get(name)
        return tool if tool is not None and is_visible(tool, self._switches, self._policy) else None

    async def call(self, name: str, arguments: Mapping[str, object] | None, call: Call | None = None) -> Outcome:
        """Run one call, and log it before its answer leaves (rule 4). Never raises but for cancellation."""
        call, tool = call or Call(), self._by_name.get(name)

        async def run() -> Outcome:
            # A function of its own: unlike a ``partial``, it does not show the arguments when something prints it.
            return await self._run(name, arguments or {}, call)

        outcome, unlogged = await self._logged(self._told(name), call, run)
        if unlogged is not None and not outcome.is_error and tool is not None and tool.reveals:
            return self._refusal(unlogged)
        return outcome

    async def ask(self, name: str, work: Callable[[Gate], Awaitable[dict[str, Any]]]) -> Outcome:
        """Run what is not a tool as a tool is run: guarded, explained and logged. Never raises but for cancellation.

        Args:
            name: Our own name for it, for the logs.
            work: What to do with the gate; returns what is about to leave.
        """
        call = Call()
        outcome, _ = await self._logged(name, call, partial(self._work, work, call))
        return outcome

    def may_leave(self, payload: dict[str, Any]) -> bool:
        """Say whether a message that answers nobody may leave (rule 2)."""
        try:
            self._egress.check(payload)
        except LeakBlockedError:
            _log.error("egress blocked a notification")
            return False
        return True

    async def _logged(
        self, name: str, call: Call, run: Callable[[], Awaitable[Outcome]]
    ) -> tuple[Outcome, ConfigurationError | None]:
        started, outcome, unlogged = time.monotonic(), None, None
        try:
            outcome = await self._outcome(name, run)
        finally:
            # A cancelled call is logged too.
            with anyio.CancelScope(shield=True):
                unlogged = await self._log(name, call, outcome, round((time.monotonic() - started) * 1000))
        return outcome, unlogged

    async def _log(self, name: str, call: Call, outcome: Outcome | None, duration_ms: int) -> ConfigurationError | None:
        if self._oversight is None:
            return None
        code = "cancelled" if outcome is None else outcome.payload["code"] if outcome.is_error else "ok"
        if code == LeakBlockedError.code:
            await self._oversight.blocked(EGRESS, call.ids)
        try:
            await self._oversight.log(name, call, code, duration_ms)
        except ConfigurationError as error:
            _log.warning("a call is not in the audit log: %s", error.message)
            return error
        return None

    async def _outcome(self, name: str, run: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            return await run()
        except R4Error as error:
            return self._refused(name, error)
        except Exception as error:  # noqa: BLE001 - rule 5
            error_id = secrets.token_hex(6)
            _log.error("internal error id=%s class=%s at %s", error_id, type(error).__name__, _where(error))
            return self._refusal(InternalError(f"something unexpected happened; error id {error_id}"))

    async def refused(self, name: str, error: R4Error) -> Outcome:
        """Return, and log, what a call comes to that didn't run: a person's no, or an approval that doesn't count."""
        told = self._told(name)
        outcome = self._refused(told, error)
        await self._log(told, Call(), outcome, 0)
        return outcome

    def _refused(self, name: str, error: R4Error) -> Outcome:
        _log.info("refused tool=%s code=%s", name, error.code)
        return self._refusal(error)

    def _told(self, name: str) -> str:
        """Return a tool's name as logs have it: never one that the caller chose."""
        return "unknown" if self._tool(name) is None else name

    async def _run(self, name: str, arguments: Mapping[str, object], call: Call) -> Outcome:
        tool = self._tool(name)
        if tool is None:
            raise UnknownToolError("no tool of that name is available here")
        parsed = self._parse(tool, arguments)
        payload = tool.encode(await self._act(lambda gate: tool.run(gate, parsed), self._gate.during(call)))
        self._egress.check(payload, exempt=tool.plaintext_at)
        return Outcome(payload, is_error=False)

    async def _work(self, work: Callable[[Gate], Awaitable[dict[str, Any]]], call: Call) -> Outcome:
        payload = await self._act(work, self._gate.during(call))
        self._egress.check(payload)
        return Outcome(payload, is_error=False)

    async def _act(self, work: Callable[[Gate], Awaitable[ResultT]], gate: Gate) -> ResultT:
        try:
            return await work(gate)
        except (OnboardingError, SignerRefusedError, WrappedKeyNotMineError):
            # Our key was refused somewhere. The cause may be that it is no longer the registered one: then that is said.
            await gate.recheck()
            raise

    def _parse(self, tool: Tool[Any], arguments: Mapping[str, object]) -> Arguments:
        try:
            parsed: Arguments = tool.arguments.model_validate(dict(arguments), context={KNOWN: self._known})
        except ValidationError as error:
            problems = error.errors(include_input=False, include_context=False, include_url=False)
            names = _names(tool.input_schema())
            told = "; ".join(
                _problem(_location(problem["loc"], names), problem["type"], problem["msg"])
                for problem in problems[:_MAX_PROBLEMS]
            )
            more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
            refusal = InvalidArgumentError(told + more)
        else:
            return parsed
        # Raised out here: inside the clause, the pydantic error with its inputs would stay as __context__.
        raise refusal

    def _refusal(self, error: R4Error) -> Outcome:
        asks = error if isinstance(error, ApprovalRequiredError) else None
        payload = explain(error).payload()
        try:
            # The question leaves too, to the person.
            self._egress.check(payload if asks is None else {**payload, "question": asks.question})
        except LeakBlockedError as leak:
            _log.error("egress blocked an error of class %s", type(error).__name__)
            return Outcome(explain(leak).payload(), is_error=True)
        return Outcome(payload, is_error=True, asks=asks)


def is_visible(tool: Tool[Any], switches: Switches, policy: Callable[[], Policy]) -> bool:
    """Say whether the operator's switches leave a tool visible, and the policy shows it."""
    if (tool.writes and switches.read_only) or (tool.reveals and switches.no_reveal):
        return False
    if tool.runs:
        return bool(policy().commands)
    if tool.files:
        return bool(policy().roots)
    return not tool.requests or bool(usable_patterns(policy(), switches))


def _problem(name: str, kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return f"there is an argument that is not one of this tool's: {name}"
    if kind == "missing":
        return f"the argument {name} is required"
    if kind in _TOLD:
        return f"the argument {name} must be {_TOLD[kind]}"
    if kind in _SAFE_TYPES:
        return f"the argument {name}: {text[:1].lower()}{text[1:]}"
    return f"the argument {name} is not of the right kind"


def _names(schema: Any) -> frozenset[str]:  # noqa: ANN401 - a JSON Schema is any JSON
    """Return every argument name of a schema, at any depth."""
    if isinstance(schema, list):
        return frozenset().union(*(_names(member) for member in schema))
    if not isinstance(schema, dict):
        return frozenset()
    own = frozenset(schema.get("properties", {}))
    return own.union(*(_names(member) for member in schema.values()))


def _location(location: tuple[str | int, ...], names: frozenset[str]) -> str:
    # Argument names come from the caller too; one that is not of the schema may be a secret and is not repeated.
    told = ""
    for part in location:
        if isinstance(part, int):
            told += f"[{part}]"
        else:
            word = part if part in names else "(unknown name)"
            told += f".{word}" if told else word
    return told or "(all)"


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
