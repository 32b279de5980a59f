"""The gate: the tools' only handle. Each method resolves metadata, asks the rules, acts, and builds a view.

What this file does not do: hold a plaintext longer than the one line that builds ``RevealedField``.

Rules:
1. The rules are asked after metadata is resolved and before any key is unwrapped or anything is sent.
2. Results are views, built field by field.
3. Nothing configured is a clear error, not a crash: the gate exists, its methods say what is missing.
"""

from __future__ import annotations

import logging
from typing import Final

from r4_mcp.core.wire import FieldType
from r4_mcp.errors import NotConfiguredError, NotReadableError
from r4_mcp.policy import outcomes, views
from r4_mcp.policy.browsing import Browsing
from r4_mcp.policy.call import Call
from r4_mcp.policy.changing import Changing
from r4_mcp.policy.lines import exposure_report
from r4_mcp.policy.model import Action, Target
from r4_mcp.policy.raw import RawRequests
from r4_mcp.policy.standing import standing
from r4_mcp.policy.use_command import CommandUses
from r4_mcp.policy.use_file import FileUses
from r4_mcp.policy.use_http import HttpUses
from r4_mcp.policy.views import display
from r4_mcp.vault.one_time_code import one_time_code

_log: Final = logging.getLogger(__name__)


class Gate(Browsing, Changing, RawRequests, HttpUses, CommandUses, FileUses):
    """What an agent may do, as methods that return views; one for each call.

    Args:
        parts: What the process is wired with.
        call: The call that it serves: a person's approval, who is told of progress, what is noted.
    """

    def during(self, call: Call) -> Gate:
        """Return the gate of one call."""
        return Gate(self._parts, call)

    async def recheck(self) -> None:
        """Ask who we are after the service refused our key somewhere, so that the answer names the cause.

        Raises:
            KeyMismatchError: Another key is active.
            BusyError: Another process is rotating the key.
            RotationUnresolvedError: A rotation was begun and can't be settled now.
        """
        await self._admission.recheck()

    async def whoami(self) -> views.Standing:
        """Say who this is, what it may do, and what is missing; never fails."""
        return await standing(self._parts.runtime, self._parts.missing, self._parts.switches, self._parts.policy())

    async def read_secret(self, reference: str, reason: str | None) -> views.RevealedField:
        """Reveal exactly one field; the operator's log notes its ids and the reason given.

        Raises:
            R4Error: A secret in the reason, not found, ambiguous, denied, not verified, not readable, refused, unreachable.
        """
        await self._admission.screen({"reason": reason})
        runtime = await self._admission.ready(Action.REVEAL)
        found = await runtime.locator.field(reference)
        vault, field = found.located.vault.summary.checkpoint, found.located.field
        if field.line.type is FieldType.FILE:
            raise NotReadableError("the field is of type FILE: it refers to an attachment, and attachments can't be read here")
        place = (vault.vault_id, field.item.checkpoint.item_id, field.line.id)
        await self._admission.permit_reveal(
            Target(
                vault.vault_id,
                vault.classification,
                field.line.type,
                item_id=field.item.checkpoint.item_id,
                field_id=field.line.id,
            ),
            f"Show the value of {found.reference} to the model?",
            place,
            field.item.checkpoint.version,
        )
        value = await runtime.opener.open_field(found.located)
        remaining = None
        if field.line.type is FieldType.TOTP:
            code = one_time_code(value, self._parts.clock(), self._parts.known)
            value, remaining = code.code, code.remaining_seconds
        given = "none" if reason is None else display(reason)
        _log.info("revealed vault=%s item=%s field=%s reason=%s", *place, given)
        names = (vault.name, field.item.checkpoint.name, field.line.name)
        return views.revealed_field(found.reference, value, names, field.line.type.value, remaining)

    async def exposure(self) -> views.ExposureReport:
        """Say what was shown, used and blocked since the ledger was last cleared; asks the service nothing.

        Raises:
            ConfigurationError: Nothing is configured, or the ledger can't be read.
        """
        if self._parts.oversight is None:
            raise self._parts.missing[0] if self._parts.missing else NotConfiguredError("no vault is configured")
        self._admission.refuse_where_closed()
        return exposure_report(await self._parts.oversight.exposure())

    async def report_gap(self, summary: str, details: str, desired_outcome: str | None) -> outcomes.GapReport:
        """Report a product gap without secrets.

        Raises:
            R4Error: A text holds a secret, refused, unreachable.
        """
        await self._admission.screen({"summary": summary, "details": details, "desired_outcome": desired_outcome})
        runtime = await self._admission.ready(Action.REPORT)
        return outcomes.GapReport(display(await runtime.writer.report_gap(summary, details, desired_outcome)))
