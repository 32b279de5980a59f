"""Oversight: what is spent, noted and logged around each call, in files that outlive the process.

What this file does not do: decide. It brings the audit log, the reveal budget and the exposure ledger to the gate and the door,
off the event loop.

Rules:
1. A reveal is spent and noted before the value is opened. What can't be noted is not revealed. A use is noted likewise, and
   spends nothing.
2. A screening hit costs budget, so that screening can't be used to guess. That it can't be charged does not let the text pass.
3. Every call is logged before its answer leaves. Where that fails, a reveal is refused; other answers leave, and the log of the
   process says so.
4. Reveals that wait at the same time are spent and noted by one write of each file, and calls are logged likewise. Nobody is
   answered before that write is done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import anyio

from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.audit_format import AuditEntry
from r4_mcp.policy.budget import RevealBudget, Spent
from r4_mcp.policy.call import Call
from r4_mcp.policy.exposure import Exposure, ExposureLedger, Place
from r4_mcp.policy.group_commit import GroupCommit
from r4_mcp.policy.model import Budget

_log: Final = logging.getLogger(__name__)


class Oversight:
    """The three of one agent.

    Args:
        audit: One line a call.
        budget: What may still be revealed.
        ledger: What was shown, used and blocked.
    """

    def __init__(self, audit: AuditLog, budget: RevealBudget, ledger: ExposureLedger) -> None:
        self.audit = audit
        self.budget = budget
        self.ledger = ledger
        self._reveals = GroupCommit(self._spend)
        self._lines = GroupCommit(self._append)

    async def spend(self, limits: Budget, ids: tuple[str, ...]) -> Spent:
        """Spend one field if it is within the budget, and note that the model is about to be shown it (rule 1).

        Args:
            limits: Those of the policy as it stands now.
            ids: Ids of vault, item and field.

        Raises:
            ConfigurationError: It can't be spent or noted; nothing may be revealed.
        """
        return await self._reveals.submit((limits, Place(*ids)))

    def _spend(self, reveals: Sequence[tuple[Budget, Place]]) -> list[Spent]:
        # The last one read the policy last.
        limits, _ = reveals[-1]
        self.budget.limit(limits.per_connection, limits.per_hour)
        outcomes = self.budget.spend_each(len(reveals))
        shown = [place for (_, place), spent in zip(reveals, outcomes, strict=True) if spent.within]
        if shown:
            self.ledger.shown_each(shown)
        return outcomes

    async def charge(self, ids: tuple[str, ...]) -> None:
        """Spend one field that a person allowed beyond the budget, and note it likewise.

        Raises:
            ConfigurationError: It can't be spent or noted; nothing may be revealed.
        """
        await anyio.to_thread.run_sync(self._charge, ids)

    def _charge(self, ids: tuple[str, ...]) -> None:
        self.budget.charge()
        self.ledger.shown(Place(*ids))

    async def used(self, ids: tuple[str, ...], how: str) -> None:
        """Note that a field is about to be used without showing it (rule 1).

        Args:
            ids: Ids of vault, item and field.
            how: The sink.

        Raises:
            ConfigurationError: It can't be noted; it may not be used.
        """
        await anyio.to_thread.run_sync(self.ledger.used, Place(*ids), how)

    async def blocked(self, kind: str, ids: tuple[str, ...]) -> None:
        """Note that something was kept from leaving; a screening hit costs budget (rule 2)."""
        if kind == SCREENING:
            try:
                await anyio.to_thread.run_sync(self.budget.charge)
            except ConfigurationError as error:
                _log.warning("a screening hit is not charged: %s", error.code)
        try:
            await anyio.to_thread.run_sync(self.ledger.blocked, kind, Place(*ids) if ids else None)
        except ConfigurationError as error:
            _log.warning("a block of kind %s is not noted: %s", kind, error.code)

    async def exposure(self) -> Exposure:
        """Return the ledger.

        Raises:
            ConfigurationError: It can't be read.
        """
        return await anyio.to_thread.run_sync(self.ledger.read)

    async def log(self, tool: str, call: Call, outcome: str, duration_ms: int) -> None:
        """Log one call, in one line for each field that it was about (rule 3).

        Raises:
            ConfigurationError: It can't be written.
        """
        await self._lines.submit([_entry(tool, call, ids, outcome, duration_ms) for ids in (call.ids, *call.further)])

    def _append(self, calls: Sequence[Sequence[AuditEntry]]) -> Sequence[None]:
        self.audit.append_all([entry for entries in calls for entry in entries])
        return [None] * len(calls)


def _entry(tool: str, call: Call, ids: tuple[str, ...], outcome: str, duration_ms: int) -> AuditEntry:
    decision = call.decision
    rule = None if decision is None else decision.rule
    vault_id, item_id, field_id = (*ids, None, None, None)[:3]
    return AuditEntry(
        tool=tool,
        outcome=outcome,
        duration_ms=duration_ms,
        decision=None if decision is None else decision.verdict,
        rule=rule if rule is None or call.pattern is None else f"{call.pattern} ({rule})",
        vault_id=vault_id,
        item_id=item_id,
        field_id=field_id,
    )


SCREENING: Final = "screening"
EGRESS: Final = "egress"
