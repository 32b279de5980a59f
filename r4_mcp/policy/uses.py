"""What every use of secrets without showing has in common: resolve, decide, ask, note, open.

What this file does not do: know where the values go. ``use_http`` and its neighbours prove that, between
decision and opening.

Rules:
1. Every reference is resolved and decided before a value is opened; of the decisions, the strictest counts for all.
2. A yes is bound to the whole of what is asked for, by a digest of it, and to the versions of the items.
3. Each use is noted as used before its value is opened.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.wire import FieldType
from r4_mcp.errors import DeniedError, NotConfiguredError, NotReadableError
from r4_mcp.policy.admission import Doorway
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.rules import Decision
from r4_mcp.policy.use_rules import Sink
from r4_mcp.policy.views import display
from r4_mcp.secret import Secret
from r4_mcp.vault.locator import FoundField
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.runtime import VaultRuntime

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One reference of a use, resolved and decided.

    Attributes:
        text: The reference as it was given.
        found: The field.
        decision: What the rules say of it.
    """

    text: str
    found: FoundField
    decision: Decision

    @property
    def ids(self) -> tuple[str, str, str]:
        """Ids of vault, item and field."""
        field = self.found.located.field
        return self.found.located.vault.id, field.item.checkpoint.item_id, field.line.id

    @property
    def is_one_time(self) -> bool:
        """Whether what is used is a one-time code, made from the value."""
        return self.found.located.field.line.type is FieldType.TOTP


class Uses(Doorway):
    """The steps of a use."""

    async def _want(self, runtime: VaultRuntime, references: Iterable[str], sink: Sink, host: str | None = None) -> list[Wanted]:
        """Resolve and decide all references of a use (rule 1).

        Args:
            runtime: The opened runtime.
            references: At least one, as they were given.
            sink: What the values go through.
            host: Where a request goes, as A-labels.

        Returns:
            One entry for each reference, in the order of their texts.

        Raises:
            DeniedError: The rules deny one of them.
            R4Error: Not found, ambiguous, not verified, not readable, unreachable.
        """
        wanted = [await self._resolve(runtime, text, sink, host) for text in sorted(set(references))]
        strictest = _strictest(wanted)
        self._call.decision, self._call.ids = strictest, wanted[0].ids
        self._call.further = tuple(one.ids for one in wanted[1:])
        if strictest.verdict is Verdict.DENY:
            raise DeniedError(strictest.reason)
        return wanted

    def _confirm(self, wanted: Sequence[Wanted], about: str, whole: str) -> None:
        """Ask a person where the rules say so (rule 2).

        Args:
            wanted: What is used; none of it is denied.
            about: The end of the question: where the values go, all that it comes to.
            whole: What a yes is bound to: all that was asked for.

        Raises:
            ApprovalRequiredError: A person must say yes to exactly this.
        """
        named = ", ".join(display(one.found.reference) for one in wanted)
        question = f"Use {named}, without showing the model, {about}"
        subject = tuple(part for one in wanted for part in one.ids)
        versions = [one.found.located.field.item.checkpoint.version for one in wanted]
        mark = hashlib.sha256(f"{whole}\n{versions}".encode("utf-8", "surrogatepass")).hexdigest()
        self._admission.enforce(_strictest(wanted), question, subject, mark)

    async def _note(self, wanted: Sequence[Wanted], sink: Sink, where: str) -> None:
        """Note the uses (rule 3).

        Args:
            wanted: What is used.
            sink: What the values go through.
            where: Where they go, for the log; nothing secret.

        Raises:
            R4Error: Nothing is configured, or the ledger can't be written.
        """
        if self._parts.oversight is None:
            raise NotConfiguredError("uses can't be noted, because nothing is configured")
        for one in wanted:
            await self._parts.oversight.used(one.ids, sink.value)
            _log.info("used vault=%s item=%s field=%s sink=%s where=%s", *one.ids, sink.value, where)

    async def _open(self, runtime: VaultRuntime, one: Wanted) -> Secret[str]:
        """Return the value that is used; for a TOTP field the current code.

        Raises:
            R4Error: Not verified, not readable, unreachable.
        """
        value = await runtime.opener.open_field(one.found.located)
        return one_time_code(value, self._parts.clock(), self._parts.known).code if one.is_one_time else value

    async def _resolve(self, runtime: VaultRuntime, text: str, sink: Sink, host: str | None) -> Wanted:
        found = await runtime.locator.field(text)
        vault, field = found.located.vault.summary.checkpoint, found.located.field
        if field.line.type is FieldType.FILE:
            raise NotReadableError("a field is of type FILE: it refers to an attachment, and attachments can't be used here")
        target = Target(
            vault.vault_id,
            vault.classification,
            field.line.type,
            item_id=field.item.checkpoint.item_id,
            field_id=field.line.id,
            sink=sink,
            host=host,
        )
        return Wanted(text, found, self._admission.decide(Action.USE, target))


def _strictest(wanted: Sequence[Wanted]) -> Decision:
    return max((one.decision for one in wanted), key=lambda decision: decision.verdict.strictness)
