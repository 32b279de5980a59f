"""Admission: what every method of the gate goes through before it acts.

What this file does not do: act. It makes sure that the process is ready, asks the rules, and where they say so, a person.

Rules:
1. What an earlier process left half done is settled before anything else is asked of the service.
2. ``permit`` notes what was decided. ``ask`` raises ``ApprovalRequiredError``; the call comes back with the approval, and only
   one for exactly this subject counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from r4_mcp.errors import ApprovalRequiredError, ConfigurationError, DeniedError, NotConfiguredError, SecretInTextError
from r4_mcp.policy.bindings import Bindings
from r4_mcp.policy.budget import Spent
from r4_mcp.policy.call import Call
from r4_mcp.policy.cursors import Cursors
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.model import DEFAULTS, Action, Policy, Switches, Target, Verdict
from r4_mcp.policy.oversight import SCREENING, Oversight
from r4_mcp.policy.rules import Decision, decide, deny_early
from r4_mcp.policy.screen import refuse_secrets
from r4_mcp.policy.use_rules import Network
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.rotation import Rotated
from r4_mcp.vault.runtime import VaultRuntime

if TYPE_CHECKING:
    from r4_mcp.sinks.http import HttpSink

_WITHOUT_KEY: Final = frozenset({Action.LIST, Action.REPORT, Action.RAW_READ, Action.RAW_WRITE})
"""What needs no private key."""

_WRITES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.ARCHIVE, Action.ROTATE})
"""What does not begin from memory: a name must mean what it means now."""

MAX_PROGRAMS: Final = 4
"""Programs with secrets that run at once in a process; a further call waits until one of them ends."""


def http_sink(networks: tuple[Network, ...]) -> HttpSink:
    """Make what sends requests with secrets; only then is an HTTP library loaded for it.

    Args:
        networks: Networks that are not public, which the operator listed.
    """
    from r4_mcp.sinks.http import HttpSink  # noqa: PLC0415 - a tenth of what a start without it takes

    return HttpSink(networks)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process is wired with.

    Attributes:
        runtime: The configured agent, or None.
        missing: What keeps this server from being configured, or from being fully so.
        switches: The operator's switches.
        known: The secrets of this process.
        egress: Looks through texts for them.
        cursors: For paging; None where nothing is configured.
        clock: Seconds since 1970.
        oversight: Audit log, reveal budget and exposure ledger; None where nothing is configured.
        policy: The operator's policy as it stands now.
        options: What the operator's commands need to reach the same vault, such as " --local".
        bindings: Websites that a person added to items; None where nothing is configured.
        http: Makes what sends requests with secrets, for the networks that the operator listed.
        programs: Lets so many programs with secrets run at once.
        own_files: What this program is told by and remembers in: folders and files that no caller may write to.
    """

    runtime: VaultRuntime | None
    missing: tuple[ConfigurationError, ...]
    switches: Switches
    known: KnownSecrets
    egress: Egress
    cursors: Cursors | None
    clock: Callable[[], float]
    oversight: Oversight | None = None
    policy: Callable[[], Policy] = lambda: DEFAULTS
    options: str = ""
    bindings: Bindings | None = None
    http: Callable[[tuple[Network, ...]], HttpSink] = http_sink
    programs: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(MAX_PROGRAMS))
    own_files: tuple[Path, ...] = ()


class Admission:
    """Admits one call.

    Args:
        parts: What the process is wired with.
        call: The call.
    """

    def __init__(self, parts: Parts, call: Call) -> None:
        self._parts = parts
        self._call = call
        self.finished_rotation: Rotated | None = None

    async def ready(self, action: Action) -> VaultRuntime:
        """Return the runtime, registered and with nothing half done (rule 1).

        Raises:
            DeniedError: The operator's switches deny the action whatever it is aimed at.
            ConfigurationError: Something is not configured.
            OnboardingError: Our key is not the registered one.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        denial = deny_early(action, self._parts.switches, self._parts.policy())
        if denial is not None:
            self._call.decision = denial
            raise DeniedError(denial.reason)
        runtime = self._parts.runtime
        if runtime is None:
            raise self._parts.missing[0] if self._parts.missing else NotConfiguredError("no vault is configured")
        self.finished_rotation = await runtime.recovery.settle(
            writes=not self._parts.switches.read_only, needs_key=action not in _WITHOUT_KEY
        )
        if action in _WRITES:
            runtime.index.expire()
        # Only listings tell how old their answer is.
        runtime.index.allow_stale(allowed=action is Action.LIST)
        return runtime

    def permit(self, action: Action, target: Target, question: str, ids: tuple[str, ...], mark: str = "") -> Decision:
        """Ask the rules about a resolved target, and a person where they say so (rule 2).

        Args:
            action: What is about to be done.
            target: What it is aimed at, from signed metadata.
            question: What a person would be asked.
            ids: Resolved ids of vault, item and field, as far as it is aimed at one; the answer is bound to them.
            mark: What else the answer is bound to: a version, or the id of a key.

        Raises:
            DeniedError: The rules deny it.
            ApprovalRequiredError: A person must say yes to exactly this.
        """
        decision = self.decide(action, target)
        self._call.decision, self._call.ids = decision, ids
        self.enforce(decision, question, ids, mark)
        return decision

    def decide(self, action: Action, target: Target) -> Decision:
        """Ask the rules about a resolved target, and do nothing yet."""
        return decide(action, target, self._parts.switches, self._parts.policy(), self._parts.options)

    def enforce(self, decision: Decision, question: str, ids: tuple[str, ...], mark: str = "") -> None:
        """Do what the rules said; arguments as for ``permit``.

        Raises:
            DeniedError: The rules deny it.
            ApprovalRequiredError: A person must say yes to exactly this.
        """
        if decision.verdict is Verdict.DENY:
            raise DeniedError(decision.reason)
        if decision.verdict is Verdict.ASK:
            self._require_approval(decision, question, ids, mark)

    async def permit_reveal(self, target: Target, question: str, ids: tuple[str, ...], version: int) -> None:
        """Permit one reveal, spend it, and note it, before anything is opened.

        Args:
            target: The field, from signed metadata.
            question: What a person would be asked.
            ids: Ids of vault, item and field.
            version: Version of the item's signed detail.

        Raises:
            DeniedError: The rules deny it.
            ApprovalRequiredError: A person must say yes: the rules say so, or the reveal budget is spent.
            ConfigurationError: It can't be noted.
        """
        decision = self.permit(Action.REVEAL, target, question, ids, str(version))
        oversight = self._parts.oversight
        if oversight is None:
            raise NotConfiguredError("reveals can't be noted, because nothing is configured")
        if decision.verdict is Verdict.ASK:
            await oversight.charge(ids)
            return
        spent = await oversight.spend(self._parts.policy().budget, ids)
        if not spent.within:
            self._require_approval(_beyond(spent), f"{question} ({spent.limit} fields were shown already.)", ids, str(version))
            await oversight.charge(ids)

    async def screen(self, texts: Mapping[str, str | None]) -> None:
        """Refuse texts for people or listings that hold a secret; a hit costs reveal budget.

        Raises:
            SecretInTextError: One does; the message names the argument only.
        """
        try:
            refuse_secrets(texts, self._parts.egress)
        except SecretInTextError:
            if self._parts.oversight is not None:
                await self._parts.oversight.blocked(SCREENING, ())
            raise

    def _require_approval(self, decision: Decision, question: str, ids: tuple[str, ...], mark: str) -> None:
        self._call.decision = decision
        bound = (decision.action.value, *ids, mark)
        if self._call.approval is None or self._call.approval.subject != bound:
            raise ApprovalRequiredError(decision.reason, question=question, subject=bound, next_step=decision.way_out)

    async def recheck(self) -> None:
        """Find out why the service refused our key.

        Raises:
            KeyMismatchError: Another key is active.
            BusyError: Another process is rotating the key.
            RotationUnresolvedError: A rotation was begun and can't be settled now.
        """
        if self._parts.runtime is not None:
            await self._parts.runtime.recovery.recheck()

    def refuse_where_closed(self, action: Action = Action.LIST) -> None:
        """Refuse, before the service is asked anything, what is denied whatever it is aimed at.

        Raises:
            DeniedError: It is.
        """
        denial = deny_early(action, self._parts.switches, self._parts.policy())
        if denial is not None:
            self._call.decision = denial
            raise DeniedError(denial.reason)

    def position(self, cursor: str | None, listing: str) -> int:
        """Return where a listing continues.

        Raises:
            InvalidArgumentError: The cursor is not one of this listing.
        """
        if cursor is None or self._parts.cursors is None:
            return 0
        return self._parts.cursors.read(cursor, listing)

    def next_cursor(self, listing: str, position: int, total: int) -> str | None:
        """Return the cursor of what follows, if anything does."""
        if position >= total or self._parts.cursors is None:
            return None
        return self._parts.cursors.write(listing, position)


def _beyond(spent: Spent) -> Decision:
    which = "this connection" if spent.which == "connection" else "the last hour"
    return Decision(
        Action.REVEAL,
        Verdict.ASK,
        "reveal budget",
        f"the reveal budget of {which} is spent ({spent.limit} fields)",
        "This client can't ask the user. Wait, or the operator raises the limits in the policy's [budget].",
    )


class Doorway:
    """What every side of the gate is made of: the wired parts, the call, and its admission.

    Args:
        parts: What the process is wired with.
        call: The call that it serves.
    """

    def __init__(self, parts: Parts, call: Call | None = None) -> None:
        self._parts = parts
        self._call = call or Call()
        self._admission = Admission(parts, self._call)
