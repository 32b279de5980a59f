"""``r4-mcp edit``: a person changes what no tool may change: websites, an item's type, a field's type; and names and fields.

What this file does not do: write a plaintext to a file for an editor. New values are typed without an echo, or piped.

Rules:
1. What would change is shown, and a yes is asked for. What the policy denies is denied; where it asks, this yes is the answer.
   A change that opens a field to models needs a yes that is typed at a terminal: ``--yes`` could be a model's.
2. The change is made to what was shown: if somebody changed the item meanwhile, nothing is stored.
3. It is signed with this agent's key. That is said, since websites bind an item only where a person signed them.
4. Nobody types a value before the rest is known to be possible.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from r4_mcp.cli.edit_wishes import EditWishes, Plan, differences, read_wishes, refuse_misplaced
from r4_mcp.cli.guard import guard
from r4_mcp.cli.layout import fitting
from r4_mcp.cli.noting import noted
from r4_mcp.cli.printing import say
from r4_mcp.cli.prompts import at_terminal, require_yes
from r4_mcp.cli.values import read_value
from r4_mcp.cli.wiring import Service, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.wire import FieldType
from r4_mcp.errors import DeniedError, InvalidArgumentError, NotReadableError, VersionConflictError
from r4_mcp.policy.call import Call
from r4_mcp.policy.drafts import ChangedField, check_edit
from r4_mcp.policy.lines import refuse_twin
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.rules import decide, deny_early
from r4_mcp.policy.screen import refuse_secrets
from r4_mcp.policy.views import quoted, signed_by
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.item_update import ItemChange
from r4_mcp.vault.locator import FoundItem
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.references import write_reference
from r4_mcp.vault.runtime import VaultRuntime

_HANGING: Final = 9
_SIGNED_HERE: Final = "It will be signed with this agent's key, so its websites count as set by the agent, not by a person."
_SO_ALREADY: Final = "It is so already; nothing was changed."


async def edit(settings: Settings, known: KnownSecrets, reference: str, wishes: EditWishes, *, local: bool, yes: bool) -> str:
    """Change an item.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: ``r4://vault/item``.
        wishes: What to change.
        local: Of the embedded vault.
        yes: Don't ask.

    Returns:
        What came of it, in a line.

    Raises:
        R4Error: Bad input, a secret in a name, nothing configured, denied, a no, not found, not verified, changed meanwhile,
            refused, unreachable.
    """
    plan = read_wishes(wishes)
    refuse_secrets(plan.texts, guard(known))
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        async with noted(service, "cli_edit") as call:
            return await _Editing(settings, known, service, service.runtime, plan, call).run(reference, yes=yes)


@dataclass(frozen=True, slots=True)
class _Shift:
    """How the policy's answer to a model that wants to read a field changes."""

    field: str
    old: Verdict
    new: Verdict

    @property
    def opens(self) -> bool:
        return self.new.strictness < self.old.strictness

    @property
    def line(self) -> str:
        return f"  policy   models that want to read {quoted(self.field)}: {self.old.value} -> {self.new.value}"


class _Editing:
    """One edit on its way.

    Args:
        settings: The operator's switches.
        known: Where values are made known.
        service: The wired process.
        runtime: Its agent.
        plan: What was asked for.
        call: What is noted of it.
    """

    def __init__(
        self, settings: Settings, known: KnownSecrets, service: Service, runtime: VaultRuntime, plan: Plan, call: Call
    ) -> None:
        self._settings = settings
        self._known = known
        self._service = service
        self._runtime = runtime
        self._plan = plan
        self._call = call

    async def run(self, reference: str, *, yes: bool) -> str:
        denial = deny_early(Action.UPDATE, self._settings.switches, self._service.policy())
        if denial is not None:
            self._call.decision = denial
            raise DeniedError(denial.reason)
        await self._runtime.recovery.settle(writes=True, needs_key=True)
        found = await self._runtime.locator.item(reference)
        vault, before = found.opened.vault, found.opened.item.checkpoint
        self._call.ids = (vault.id, before.item_id)
        target = Target(vault.id, vault.summary.checkpoint.classification, item_id=before.item_id)
        self._call.decision = decide(Action.UPDATE, target, self._settings.switches, self._service.policy())
        if self._call.decision.verdict is Verdict.DENY:
            raise DeniedError(self._call.decision.reason)
        await self._refuse_impossible(found)
        changed = list(differences(self._plan, before))
        if not changed:
            return _SO_ALREADY
        shifts = list(self._shifts(found))
        say([*_heading(found), *changed, *(shift.line for shift in shifts)], self._known, hanging=_HANGING)
        say([_SIGNED_HERE], self._known, hanging=0)
        opens = any(shift.opens for shift in shifts)
        what = "opening a field to models" if opens else "changing an item"
        require_yes("Change it?", yes=yes, what=what, undone="nothing was changed", typed=opens)
        change = self._with_values(found)
        # Rule 2. A person may take long to answer.
        now = await self._runtime.locator.item(write_reference(vault.id, before.item_id))
        if now.opened.item.checkpoint != before:
            raise VersionConflictError(f"item {before.item_id} was changed by somebody else meanwhile", status=409)
        opened = await self._runtime.writer.update_item(vault.id, before.item_id, change)
        after = FoundItem(opened, found.vault_part)
        return f"changed {after.reference}, now version {opened.item.checkpoint.version}"

    async def _refuse_impossible(self, found: FoundItem) -> None:
        vault, before = found.opened.vault, found.opened.item.checkpoint
        refuse_misplaced(self._plan, before)
        self._check(found, self._plan)
        name = self._plan.edit.name
        if name is not None and name.casefold() != before.name.casefold():
            others = [(item.id, item.name) for item in vault.summary.checkpoint.items]
            refuse_twin(name, others, "item", (found.vault_part,))
        for field, kind in self._plan.edit.field_types.items():
            if kind is FieldType.TOTP:
                await self._require_seed(found, field)

    async def _require_seed(self, found: FoundItem, name: str) -> None:
        line = next(field for field in found.opened.item.checkpoint.fields if field.name == name)
        if line.type is FieldType.TOTP:
            return
        place = (found.opened.vault.id, found.opened.item.checkpoint.item_id, line.id)
        value = await self._runtime.opener.open_field((await self._runtime.locator.field(write_reference(*place))).located)
        try:
            one_time_code(value, time.time(), self._known)
        except NotReadableError:
            raise InvalidArgumentError(
                "--field-type: the field's value is no base32 seed and no otpauth://totp URI, as a TOTP field needs"
            ) from None

    def _check(self, found: FoundItem, plan: Plan) -> ItemChange:
        types = {field.name: field.type for field in found.opened.item.checkpoint.fields}
        return check_edit(plan.edit, types, time.time(), self._known)

    def _shifts(self, found: FoundItem) -> Iterator[_Shift]:
        """Yield the fields for which the policy's answer to a model that wants to read them changes with their type."""
        vault, item = found.opened.vault, found.opened.item.checkpoint
        for field in item.fields:
            classification = vault.summary.checkpoint.classification
            target = Target(vault.id, classification, field.type, item_id=item.item_id, field_id=field.id)
            kind = self._plan.edit.field_types.get(field.name, field.type)
            old, new = (
                decide(Action.REVEAL, aimed, self._settings.switches, self._service.policy()).verdict
                for aimed in (target, replace(target, field_type=kind))
            )
            if old is not new:
                yield _Shift(field.name, old, new)

    def _with_values(self, found: FoundItem) -> ItemChange:
        if len(self._plan.added) > 1 and not at_terminal():
            raise InvalidArgumentError("stdin gives one value", next_step="Add one field at a time, or run it at a terminal.")
        added = tuple(
            ChangedField(name, read_value(self._known, f"Value of {quoted(name)} (not shown): "), None, kind, remove=False)
            for name, kind in self._plan.added.items()
        )
        plan = replace(self._plan, edit=replace(self._plan.edit, fields=(*self._plan.edit.fields, *added)))
        change = self._check(found, plan)
        # Once more, now that the values are known: one of them may have been typed as a name too.
        refuse_secrets(plan.texts, guard(self._known))
        return change


def _heading(found: FoundItem) -> Iterator[str]:
    signer, item = signed_by(found.opened.item.signer), found.opened.item.checkpoint
    reference = fitting(found.reference, write_reference(item.vault_id, item.item_id))
    yield f"{reference}  version {item.version}, signed by {signer.kind} {signer.fingerprint}"
