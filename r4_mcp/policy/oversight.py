"""Oversight: what is spent, noted and logged around each call, in files that outlive the process.

What this file does not do: decide. It brings the audit log, the reveal budget and the exposure ledger to the gate and the door,
off the event loop.

Rules:
1. A reveal is spent and noted before the value is opened. What can't be noted is not revealed. A use is noted likewise, and
   spends nothing.
2. A screening hit costs budget, so that screening can't be used to guess. That it can't be charged does not let the text pass.
3. Every call is logged before its answer leaves. Where that fails, a reveal is refused; other answers leave, and the log of the
   process says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import anyio

from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.audit_format import AuditEntry
from r4_mcp.policy.budget import RevealBudget, Spent
from r4_mcp.policy.call import Call
from r4_mcp.policy.exposure import Exposure, ExposureLedger, Place
from r4_mcp.policy.model import Budget

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Oversight:
    """The three of one agent.

    Attributes:
        audit: One line a call.
        budget: What may still be revealed.
        ledger: What was shown, used and blocked.
    """

    audit: AuditLog
    budget: RevealBudget
    ledger: ExposureLedger

    async def spend(self, limits: Budget, ids: tuple[str, ...]) -> Spent:
        """Spend one field if it is within the budget, and note that the model is about to be shown it (rule 1).

        Args:
            limits: Those of the policy as it stands now.
            ids: Ids of vault, item and field.

        Raises:
            ConfigurationError: It can't be spent or noted; nothing may be revealed.
        """
        return await anyio.to_thread.run_sync(self._spend, limits, ids)

    def _spend(self, limits: Budget, ids: tuple[str, ...]) -> Spent:
        self.budget.limit(limits.per_connection, limits.per_hour)
        spent = self.budget.spend()
        if spent.within:
            self.ledger.shown(Place(*ids))
        return spent

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
        decision = call.decision
        rule = None if decision is None else decision.rule
        for ids in (call.ids, *call.further):
            vault_id, item_id, field_id = (*ids, None, None, None)[:3]
            entry = AuditEntry(
                tool=tool,
                outcome=outcome,
                duration_ms=duration_ms,
                decision=None if decision is None else decision.verdict,
                rule=rule if rule is None or call.pattern is None else f"{call.pattern} ({rule})",
                vault_id=vault_id,
                item_id=item_id,
                field_id=field_id,
            )
            await anyio.to_thread.run_sync(self.audit.append, entry)


SCREENING: Final = "screening"
EGRESS: Final = "egress"
