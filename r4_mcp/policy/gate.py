"""The gate: the tools' only handle. Each method resolves metadata, asks the rules, acts, and builds a view.

What this file does not do: hold a plaintext longer than the one line that builds ``RevealedField``.

Rules:
1. The rules are asked after metadata is resolved and before any key is unwrapped or anything is sent.
2. Results are views, built field by field.
3. Nothing configured is a clear error, not a crash: the gate exists, its methods say what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from r4_mcp.core.wire import Classification, FieldType
from r4_mcp.errors import (
    CheckpointMissingError,
    InvalidArgumentError,
    NotConfiguredError,
    NotFoundError,
    NotReadableError,
)
from r4_mcp.policy import views
from r4_mcp.policy.admission import Admission, Parts
from r4_mcp.policy.call import Call
from r4_mcp.policy.drafts import ChangedField, NewItem, check_change, check_item, check_name
from r4_mcp.policy.lines import (
    change_question,
    classification_word,
    exposure_report,
    field_line,
    item_lines,
    refuse_twin,
    unverified_items,
    updated_item,
    vault_line,
)
from r4_mcp.policy.rules import Action, Target
from r4_mcp.policy.standing import standing
from r4_mcp.policy.views import SHORT_FINGERPRINT, display, quoted, signed_by
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.locator import FoundItem, item_part
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.references import address, write_reference

VAULTS_PER_PAGE: Final = 50
DEFAULT_ITEMS: Final = 50
MAX_ITEMS: Final = 200
_WIDTH: Final = 8

_log: Final = logging.getLogger(__name__)
_NEW_VAULT_NOTE: Final = "Only this agent can open the vault until someone who can open it shares it with others."
_HALF_ROTATED_NOTE: Final = (
    "The new key is in use, but not for every vault: tell the operator. The old one is kept on this machine."
)
_ROTATED_NOTE: Final = "The new key is in use. The old one is kept beside it on this machine."
_ARCHIVED_NOTE: Final = "It left every listing. R4 keeps archived things for audit; an operator can see them."


class Gate:
    """What an agent may do, as methods that return views; one for each call.

    Args:
        parts: What the process is wired with.
        call: The call that it serves: a person's approval, who is told of progress, what is noted.
    """

    def __init__(self, parts: Parts, call: Call | None = None) -> None:
        self._parts = parts
        self._call = call or Call()
        self._admission = Admission(parts, self._call)

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
        return await standing(self._parts.runtime, self._parts.missing, self._parts.switches)

    async def list_vaults(self, project: str | None, cursor: str | None) -> views.VaultList:
        """List the visible vaults, each with its verified metadata or the reason why it is not verified.

        Raises:
            R4Error: Not configured, refused, unreachable, or a bad cursor.
        """
        runtime = await self._admission.ready(Action.LIST)
        project_id = runtime.project_id if project is None else await runtime.locator.project(project)
        listing = f"vaults {project_id or ''}"
        start = self._admission.position(cursor, listing)
        listed = await runtime.reader.list_vaults(project_id)
        page = listed[start : start + VAULTS_PER_PAGE]
        names = [vault.name for vault in listed]
        lines = await map_bounded(partial(vault_line, runtime, names), page, _WIDTH)
        return views.VaultList(tuple(lines), self._admission.next_cursor(listing, start + VAULTS_PER_PAGE, len(listed)))

    async def list_projects(self, project: str | None) -> views.ProjectList:
        """List the projects; for a single one also its vaults.

        Raises:
            R4Error: Not configured, not found, ambiguous, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.LIST)
        wanted = None if project is None else await runtime.locator.project(project)
        found = [line for line in await runtime.reader.projects() if wanted is None or line.id == wanted]
        if wanted is not None and not found:
            raise NotFoundError("no such project is visible to this agent")
        vaults = views.VaultList((), None) if wanted is None else await self.list_vaults(wanted, None)
        lines = tuple(views.ProjectLine(line.id, display(line.name), line.vaults_count) for line in found)
        return views.ProjectList(lines, vaults.vaults, vaults.next_cursor)

    async def list_items(self, vault: str, cursor: str | None, limit: int | None) -> views.ItemList:
        """List a vault's items from its verified summary.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable, or a bad cursor.
        """
        runtime = await self._admission.ready(Action.LIST)
        size = DEFAULT_ITEMS if limit is None else limit
        if not 1 <= size <= MAX_ITEMS:
            raise InvalidArgumentError(f"the argument limit is not within 1 to {MAX_ITEMS}")
        try:
            found = await runtime.locator.vault(vault)
        except CheckpointMissingError:
            return unverified_items(await runtime.locator.unverified_vault(vault), size)
        self._call.ids = (found.vault.id,)
        listing = f"items {found.vault.id}"
        start = self._admission.position(cursor, listing)
        checkpoint = found.vault.summary.checkpoint
        return views.ItemList(
            vault=write_reference(found.part),
            vault_name=display(checkpoint.name),
            classification=classification_word(checkpoint.classification),
            items=tuple(item_lines(found, start, size)),
            total=len(checkpoint.items),
            next_cursor=self._admission.next_cursor(listing, start + size, len(checkpoint.items)),
            signed_by=signed_by(found.vault.summary.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
        )

    async def describe_item(self, reference: str) -> views.ItemDescription:
        """Describe an item from its verified detail.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.LIST)
        found = await runtime.locator.item(reference)
        checkpoint = found.opened.item.checkpoint
        self._call.ids = (checkpoint.vault_id, checkpoint.item_id)
        return views.ItemDescription(
            reference=found.reference,
            id=checkpoint.item_id,
            name=display(checkpoint.name),
            type=checkpoint.type.value,
            vault=write_reference(found.vault_part),
            websites=tuple(display(website) for website in checkpoint.websites),
            fields=tuple(field_line(found, field.line.id) for field in found.opened.fields),
            signed_by=signed_by(found.opened.item.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
        )

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
        value = await runtime.reader.open_field(found.located)
        remaining = None
        if field.line.type is FieldType.TOTP:
            code = one_time_code(value, self._parts.clock(), self._parts.known)
            value, remaining = code.code, code.remaining_seconds
        given = "none" if reason is None else display(reason)
        _log.info("revealed vault=%s item=%s field=%s reason=%s", *place, given)
        names = (vault.name, field.item.checkpoint.name, field.line.name)
        return views.revealed_field(found.reference, value, names, field.line.type.value, remaining)

    async def create_vault(self, name: str, classification: Classification | None, project: str | None) -> views.CreatedVault:
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
        return views.CreatedVault(
            reference=write_reference(address(vault.id, name, names)),
            id=vault.id,
            name=display(name),
            classification=classification_word(classification),
            note=_NEW_VAULT_NOTE,
        )

    async def create_item(self, vault: str, wanted: NewItem) -> views.CreatedItem:
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
        return views.CreatedItem(
            reference=created.reference,
            id=created.opened.item.checkpoint.item_id,
            vault=write_reference(found.part),
            name=display(draft.name),
            type=draft.type.value,
            fields=tuple(
                views.CreatedField(
                    created.field_reference(line.id), display(line.name), line.type.value, field.generate is not None
                )
                for line, field in zip(lines, wanted.fields, strict=True)
            ),
        )

    async def update_item(self, reference: str, name: str | None, fields: Sequence[ChangedField]) -> views.UpdatedItem:
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
        target = Target(vault.id, vault.summary.checkpoint.classification, item_id=before.item_id)
        place = (vault.id, before.item_id)
        self._admission.permit(Action.UPDATE, target, change_question(found.reference, change), place, str(before.version))
        if change.name is not None and change.name.casefold() != before.name.casefold():
            others = [(item.id, item.name) for item in vault.summary.checkpoint.items]
            refuse_twin(change.name, others, "item", (found.vault_part,))
        opened = await runtime.writer.update_item(vault.id, before.item_id, change)
        return updated_item(FoundItem(opened, found.vault_part), change)

    async def archive_item(self, reference: str) -> views.Archived:
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
        return views.Archived("item", write_reference(found.part, part), line.id, display(line.name), _ARCHIVED_NOTE)

    async def archive_vault(self, reference: str) -> views.Archived:
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
        return views.Archived("vault", write_reference(found.part), checkpoint.vault_id, name, _ARCHIVED_NOTE)

    async def rotate_key(self) -> views.RotatedKey:
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
        return views.RotatedKey(
            key_id=done.key_id,
            fingerprint=done.fingerprint[:SHORT_FINGERPRINT],
            previous_key_id=done.previous_id,
            vaults=done.vaults,
            not_read_back=tuple(write_reference(vault_id) for vault_id in done.unread),
            left_out=tuple(write_reference(vault_id) for vault_id in done.left_out),
            resumed=done.resumed,
            note=_HALF_ROTATED_NOTE if done.unread or done.left_out else _ROTATED_NOTE,
        )

    async def exposure(self) -> views.ExposureReport:
        """Say what was shown, used and blocked since the ledger was last cleared; asks the service nothing.

        Raises:
            ConfigurationError: Nothing is configured, or the ledger can't be read.
        """
        if self._parts.oversight is None:
            raise self._parts.missing[0] if self._parts.missing else NotConfiguredError("no vault is configured")
        self._admission.refuse_where_closed()
        return exposure_report(await self._parts.oversight.exposure())

    async def report_gap(self, summary: str, details: str, desired_outcome: str | None) -> views.GapReport:
        """Report a product gap without secrets.

        Raises:
            R4Error: A text holds a secret, refused, unreachable.
        """
        await self._admission.screen({"summary": summary, "details": details, "desired_outcome": desired_outcome})
        runtime = await self._admission.ready(Action.REPORT)
        return views.GapReport(display(await runtime.writer.report_gap(summary, details, desired_outcome)))
