"""The gate's writing side: what an agent may create, change, archive and rotate. Values are sealed, never echoed.

What this file does not do: show a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from r4_mcp.core.wire import Classification, DetailCheckpoint, FieldId, FieldType
from r4_mcp.errors import DeniedError
from r4_mcp.policy import outcomes
from r4_mcp.policy.admission import Doorway
from r4_mcp.policy.drafts import ChangedField, NewItem, check_change, check_item, check_name
from r4_mcp.policy.lines import change_question, classification_word, refuse_twin, updated_item
from r4_mcp.policy.model import BY_CLASS, Action, Target
from r4_mcp.policy.rules import decide
from r4_mcp.policy.views import SHORT_FINGERPRINT, display, quoted
from r4_mcp.vault.item_creation import new_id
from r4_mcp.vault.item_update import ItemChange
from r4_mcp.vault.locator import FoundItem, item_part
from r4_mcp.vault.references import address, write_reference

_NEW_VAULT_NOTE: Final = "Only this agent can open the vault until someone who can open it shares it with others."
_HALF_ROTATED_NOTE: Final = (
    "The new key is in use, but not for every vault: tell the operator. The old one is kept on this machine."
)
_ROTATED_NOTE: Final = "The new key is in use. The old one is kept beside it on this machine."
_ARCHIVED_NOTE: Final = "It left every listing. R4 keeps archived things for audit; an operator can see them."


class Changing(Doorway):
    """Creations, changes, archivals and the rotation."""

    async def create_vault(self, name: str, classification: Classification | None, project: str | None) -> outcomes.CreatedVault:
        """Create an empty vault.

        Raises:
            R4Error: Bad name, a secret in the name, denied, refused, unreachable.
        """
        check_name(name, "name")
        await self._admission.screen({"name": name})
        runtime = await self._admission.ready(Action.CREATE)
        project_id = runtime.project_id if project is None else await runtime.locator.project(project)
        question = f"Create a vault? Its name: {quoted(name)}"
        self._admission.permit(Action.CREATE, Target(classification=classification), question, ())
        refuse_twin(name, [(listed.id, listed.name) for listed in await runtime.reader.list_vaults()], "vault", ())
        vault = await runtime.writer.create_vault(name, classification, project_id)
        names = [listed.name for listed in await runtime.reader.list_vaults()]
        return outcomes.CreatedVault(
            reference=write_reference(address(vault.id, name, names)),
            id=vault.id,
            name=display(name),
            classification=classification_word(classification),
            note=_NEW_VAULT_NOTE,
        )

    async def create_item(self, vault: str, wanted: NewItem) -> outcomes.CreatedItem:
        """Create an item; its values are sealed here and never echoed.

        Raises:
            R4Error: Bad input, a secret in a name or website, denied, not verified, refused, unreachable.
        """
        draft = check_item(wanted, self._parts.clock(), self._parts.known)
        texts = {"name": draft.name}
        texts |= {f"fields[{index}].name": field.name for index, field in enumerate(draft.fields)}
        texts |= {f"websites[{index}]": website for index, website in enumerate(draft.websites)}
        await self._admission.screen(texts)
        runtime = await self._admission.ready(Action.CREATE)
        found = await runtime.locator.vault(vault)
        checkpoint = found.vault.summary.checkpoint
        sites = ", ".join(quoted(website) for website in draft.websites) or "none"
        question = (
            f"Create an item with {len(draft.fields)} field(s)? In the vault {quoted(checkpoint.name)}; websites: {sites}; "
            f"its name: {quoted(draft.name)}"
        )
        self._admission.permit(Action.CREATE, Target(found.vault.id, checkpoint.classification), question, (found.vault.id,))
        refuse_twin(draft.name, [(item.id, item.name) for item in checkpoint.items], "item", (found.part,))
        created = FoundItem(await runtime.writer.create_item(found.vault.id, draft), found.part)
        lines = [field.line for field in created.opened.fields]
        return outcomes.CreatedItem(
            reference=created.reference,
            id=created.opened.item.checkpoint.item_id,
            vault=write_reference(found.part),
            name=display(draft.name),
            type=draft.type.value,
            fields=tuple(
                outcomes.CreatedField(
                    created.field_reference(line.id), display(line.name), line.type.value, field.generate is not None
                )
                for line, field in zip(lines, wanted.fields, strict=True)
            ),
        )

    async def update_item(self, reference: str, name: str | None, fields: Sequence[ChangedField]) -> outcomes.UpdatedItem:
        """Change an item's name or fields; values are sealed here and never echoed.

        Raises:
            R4Error: Bad input, a secret in a name, not found, denied, not verified, changed meanwhile, refused, unreachable.
        """
        texts = {f"fields[{index}].name": field.name for index, field in enumerate(fields)}
        await self._admission.screen({"name": name, **texts})
        runtime = await self._admission.ready(Action.UPDATE)
        found = await runtime.locator.item(reference)
        vault, before = found.opened.vault, found.opened.item.checkpoint
        types = {field.name: field.type for field in before.fields}
        change = check_change(name, fields, types, self._parts.clock(), self._parts.known)
        # Once more, now that the new values are known: one of them may have been given as a name too.
        await self._admission.screen({"name": name, **texts})
        target = Target(vault.id, vault.summary.checkpoint.classification, item_id=before.item_id)
        place = (vault.id, before.item_id)
        self._refuse_weaker(target, before, change)
        self._admission.permit(Action.UPDATE, target, change_question(found.reference, change), place, str(before.version))
        if change.name is not None and change.name.casefold() != before.name.casefold():
            others = [(item.id, item.name) for item in vault.summary.checkpoint.items]
            refuse_twin(change.name, others, "item", (found.vault_part,))
        opened = await runtime.writer.update_item(vault.id, before.item_id, change)
        return updated_item(FoundItem(opened, found.vault_part), change)

    def _refuse_weaker(self, target: Target, before: DetailCheckpoint, change: ItemChange) -> None:
        """Refuse to remove a field that a rule holds more strictly than one which could have its name afterwards.

        Raises:
            DeniedError: There is such a field.
        """
        removed = {field.name for field in change.fields if field.remove}
        for line in before.fields:
            if line.name not in removed:
                continue
            held = replace(target, field_type=line.type, field_id=line.id)
            # A rule that names a field names its id, and no rule can name the id of a field that is still to come.
            heirs = [
                replace(held, field_type=kind, field_id=FieldId(new_id()))
                for kind in FieldType
                if kind is not FieldType.FILE and kind.is_secret is line.type.is_secret
            ]
            for action in BY_CLASS:
                if any(self._strictness(action, heir) < self._strictness(action, held) for heir in heirs):
                    raise DeniedError(
                        "the policy is stricter about a field to remove than about a new one of its name; nothing was changed",
                        next_step="Change its value in place, or have the operator take that rule out of the policy first.",
                    )

    def _strictness(self, action: Action, target: Target) -> int:
        return decide(action, target, self._parts.switches, self._parts.policy()).verdict.strictness

    async def archive_item(self, reference: str) -> outcomes.Archived:
        """Archive an item.

        Raises:
            R4Error: Not found, ambiguous, denied, not verified, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.ARCHIVE)
        found, item_id = await runtime.locator.listed_item(reference)
        checkpoint = found.vault.summary.checkpoint
        part = item_part(found.vault, item_id)
        self._admission.permit(
            Action.ARCHIVE,
            Target(found.vault.id, checkpoint.classification, item_id=item_id),
            f"Archive the item {write_reference(found.part, part)}?",
            (found.vault.id, item_id),
            str(checkpoint.version),
        )
        line = await runtime.writer.archive_item(found.vault.id, item_id)
        return outcomes.Archived("item", write_reference(found.part, part), line.id, display(line.name), _ARCHIVED_NOTE)

    async def archive_vault(self, reference: str) -> outcomes.Archived:
        """Archive a vault.

        Raises:
            R4Error: Not found, ambiguous, denied, not verified, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.ARCHIVE)
        found = await runtime.locator.vault(reference)
        proven = found.vault.summary.checkpoint
        self._admission.permit(
            Action.ARCHIVE,
            Target(found.vault.id, proven.classification),
            f"Archive a vault with its {len(proven.items)} item(s)? Its name: {quoted(proven.name)}",
            (found.vault.id,),
            str(proven.version),
        )
        checkpoint = (await runtime.writer.archive_vault(found.vault.id)).checkpoint
        name = display(checkpoint.name)
        return outcomes.Archived("vault", write_reference(found.part), checkpoint.vault_id, name, _ARCHIVED_NOTE)

    async def rotate_key(self) -> outcomes.RotatedKey:
        """Rotate this machine's key, or finish the rotation that was begun; always asks a person.

        Raises:
            R4Error: Not approved, not configured, a vault that does not verify, refused, unreachable, or unresolved.
        """
        runtime = await self._admission.ready(Action.ROTATE)
        # Finished just now, on the way in: whoever approved it did so before the interruption. A second one is not begun.
        done = self._admission.finished_rotation
        if done is None:
            await runtime.rotation.require_possible()
            key_id = await runtime.registration.ensure()
            fingerprint = runtime.key.public.fingerprint
            question = f"Replace this machine's key {fingerprint[:SHORT_FINGERPRINT]}… by a new one, for every vault?"
            self._admission.permit(Action.ROTATE, Target(), question, (), key_id)
            done = await runtime.rotation.rotate(self._call.progress)
        return outcomes.RotatedKey(
            key_id=done.key_id,
            fingerprint=done.fingerprint[:SHORT_FINGERPRINT],
            previous_key_id=done.previous_id,
            vaults=done.vaults,
            not_read_back=tuple(write_reference(vault_id) for vault_id in done.unread),
            left_out=tuple(write_reference(vault_id) for vault_id in done.left_out),
            resumed=done.resumed,
            note=_HALF_ROTATED_NOTE if done.unread or done.left_out else _ROTATED_NOTE,
        )
