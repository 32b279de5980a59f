"""The gate: the tools' only handle. Each method resolves metadata, asks the rules, acts, and builds a view.

What this file does not do: hold a plaintext longer than the one line that builds ``RevealedField``.

Rules:
1. The rules are asked after metadata is resolved and before any key is unwrapped or anything is sent.
2. Results are views, built field by field.
3. Nothing configured is a clear error, not a crash: the gate exists, its methods say what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from r4_mcp.core.served import ServedItems, ServedVault
from r4_mcp.core.wire import Classification, FieldType
from r4_mcp.errors import (
    AlreadyExistsError,
    CheckpointMissingError,
    ConfigurationError,
    InvalidArgumentError,
    NetworkError,
    NotConfiguredError,
    NotFoundError,
    NotReadableError,
    ServiceError,
    UnauthorizedError,
    VerificationError,
)
from r4_mcp.policy import views
from r4_mcp.policy.cursors import Cursors
from r4_mcp.policy.drafts import MAX_NAME, NewItem, check_item, check_name
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.rules import Action, Switches, Target, decide
from r4_mcp.policy.screen import refuse_secrets
from r4_mcp.policy.standing import standing
from r4_mcp.policy.views import display, signed_by
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.locator import FoundItem, FoundVault, item_part
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.reader import ProvenVault
from r4_mcp.vault.references import address, screaming_key, write_reference
from r4_mcp.vault.runtime import VaultRuntime

VAULTS_PER_PAGE: Final = 50
DEFAULT_ITEMS: Final = 50
MAX_ITEMS: Final = 200
_WIDTH: Final = 8

_log: Final = logging.getLogger(__name__)
_NEW_VAULT_NOTE: Final = "Only this agent can open the vault until someone who can open it shares it with others."
_ARCHIVED_NOTE: Final = "It left every listing. R4 keeps archived things for audit; an operator can see them."


class Gate:
    """What an agent may do, as methods that return views.

    Args:
        runtime: The configured agent, or None.
        missing: What keeps this server from being configured, or from being fully so.
        switches: The operator's switches.
        known: The secrets of this process.
        egress: Looks through texts for them.
        cursors: For paging; None where nothing is configured.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        runtime: VaultRuntime | None,
        missing: tuple[ConfigurationError, ...],
        switches: Switches,
        known: KnownSecrets,
        egress: Egress,
        cursors: Cursors | None,
        clock: Callable[[], float],
    ) -> None:
        self._runtime = runtime
        self._missing = missing
        self._switches = switches
        self._known = known
        self._egress = egress
        self._cursors = cursors
        self._clock = clock
        self._recovered = False

    async def whoami(self) -> views.Standing:
        """Say who this is, what it may do, and what is missing; never fails."""
        return await standing(self._runtime, self._missing, self._switches)

    async def list_vaults(self, project: str | None, cursor: str | None) -> views.VaultList:
        """List the visible vaults, each with its verified metadata or the reason why it is not verified.

        Raises:
            R4Error: Not configured, refused, unreachable, or a bad cursor.
        """
        runtime = await self._ready(Action.LIST)
        project_id = runtime.project_id if project is None else await runtime.locator.project(project)
        listing = f"vaults {project_id or ''}"
        start = self._position(cursor, listing)
        listed = await runtime.reader.list_vaults(project_id)
        page = listed[start : start + VAULTS_PER_PAGE]
        names = [vault.name for vault in listed]
        lines = await map_bounded(partial(_vault_line, runtime, names), page, _WIDTH)
        return views.VaultList(tuple(lines), self._next(listing, start + VAULTS_PER_PAGE, len(listed)))

    async def list_items(self, vault: str, cursor: str | None, limit: int | None) -> views.ItemList:
        """List a vault's items from its verified summary.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable, or a bad cursor.
        """
        runtime = await self._ready(Action.LIST)
        size = DEFAULT_ITEMS if limit is None else limit
        if not 1 <= size <= MAX_ITEMS:
            raise InvalidArgumentError(f"the argument limit is not within 1 to {MAX_ITEMS}")
        try:
            found = await runtime.locator.vault(vault)
        except CheckpointMissingError:
            return _unverified_items(await runtime.locator.unverified_vault(vault), size)
        listing = f"items {found.vault.id}"
        start = self._position(cursor, listing)
        checkpoint = found.vault.summary.checkpoint
        return views.ItemList(
            vault=write_reference(found.part),
            vault_name=display(checkpoint.name),
            classification=_word(checkpoint.classification),
            items=tuple(_item_lines(found, start, size)),
            total=len(checkpoint.items),
            next_cursor=self._next(listing, start + size, len(checkpoint.items)),
            signed_by=signed_by(found.vault.summary.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
        )

    async def describe_item(self, reference: str) -> views.ItemDescription:
        """Describe an item from its verified detail.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable.
        """
        runtime = await self._ready(Action.LIST)
        found = await runtime.locator.item(reference)
        checkpoint = found.opened.item.checkpoint
        return views.ItemDescription(
            reference=found.reference,
            id=checkpoint.item_id,
            name=display(checkpoint.name),
            type=checkpoint.type.value,
            vault=write_reference(found.vault_part),
            websites=tuple(display(website) for website in checkpoint.websites),
            fields=tuple(_field_line(found, field.line.id) for field in found.opened.fields),
            signed_by=signed_by(found.opened.item.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
        )

    async def read_secret(self, reference: str, reason: str | None) -> views.RevealedField:
        """Reveal exactly one field; the operator's log notes its ids and the reason given.

        Raises:
            R4Error: A secret in the reason, not found, ambiguous, denied, not verified, not readable, refused, unreachable.
        """
        refuse_secrets({"reason": reason}, self._egress)
        runtime = await self._ready(Action.REVEAL)
        found = await runtime.locator.field(reference)
        vault, field = found.located.vault.summary.checkpoint, found.located.field
        decide(Action.REVEAL, Target(vault.vault_id, vault.classification, field.line.type), self._switches)
        if field.line.type is FieldType.FILE:
            raise NotReadableError("the field is of type FILE: it refers to an attachment, and attachments can't be read here")
        value = await runtime.reader.open_field(found.located)
        remaining = None
        if field.line.type is FieldType.TOTP:
            code = one_time_code(value, self._clock(), self._known)
            value, remaining = code.code, code.remaining_seconds
        given = "none" if reason is None else display(reason)
        place = (vault.vault_id, field.item.checkpoint.item_id, field.line.id)
        _log.info("revealed vault=%s item=%s field=%s reason=%s", *place, given)
        names = (vault.name, field.item.checkpoint.name, field.line.name)
        return views.revealed_field(found.reference, value, names, field.line.type.value, remaining)

    async def create_vault(self, name: str, classification: Classification | None, project: str | None) -> views.CreatedVault:
        """Create an empty vault.

        Raises:
            R4Error: Bad name, a secret in the name, denied, refused, unreachable.
        """
        check_name(name, "name")
        refuse_secrets({"name": name}, self._egress)
        runtime = await self._ready(Action.CREATE)
        project_id = runtime.project_id if project is None else await runtime.locator.project(project)
        _refuse_twin(name, [(listed.id, listed.name) for listed in await runtime.reader.list_vaults()], "vault", ())
        vault = await runtime.writer.create_vault(name, classification, project_id)
        names = [listed.name for listed in await runtime.reader.list_vaults()]
        return views.CreatedVault(
            reference=write_reference(address(vault.id, name, names)),
            id=vault.id,
            name=display(name),
            classification=_word(classification),
            note=_NEW_VAULT_NOTE,
        )

    async def create_item(self, vault: str, wanted: NewItem) -> views.CreatedItem:
        """Create an item; its values are sealed here and never echoed.

        Raises:
            R4Error: Bad input, a secret in a name or website, denied, not verified, refused, unreachable.
        """
        draft = check_item(wanted, self._clock(), self._known)
        texts = {"name": draft.name}
        texts |= {f"fields[{index}].name": field.name for index, field in enumerate(draft.fields)}
        texts |= {f"websites[{index}]": website for index, website in enumerate(draft.websites)}
        refuse_secrets(texts, self._egress)
        runtime = await self._ready(Action.CREATE)
        found = await runtime.locator.vault(vault)
        checkpoint = found.vault.summary.checkpoint
        decide(Action.CREATE, Target(found.vault.id, checkpoint.classification), self._switches)
        _refuse_twin(draft.name, [(item.id, item.name) for item in checkpoint.items], "item", (found.part,))
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

    async def archive_item(self, reference: str) -> views.Archived:
        """Archive an item.

        Raises:
            R4Error: Not found, ambiguous, denied, not verified, refused, unreachable.
        """
        runtime = await self._ready(Action.ARCHIVE)
        found, item_id = await runtime.locator.listed_item(reference)
        checkpoint = found.vault.summary.checkpoint
        decide(Action.ARCHIVE, Target(found.vault.id, checkpoint.classification), self._switches)
        part = item_part(found.vault, item_id)
        line = await runtime.writer.archive_item(found.vault.id, item_id)
        return views.Archived("item", write_reference(found.part, part), line.id, display(line.name), _ARCHIVED_NOTE)

    async def archive_vault(self, reference: str) -> views.Archived:
        """Archive a vault.

        Raises:
            R4Error: Not found, ambiguous, denied, not verified, refused, unreachable.
        """
        runtime = await self._ready(Action.ARCHIVE)
        found = await runtime.locator.vault(reference)
        decide(Action.ARCHIVE, Target(found.vault.id, found.vault.summary.checkpoint.classification), self._switches)
        checkpoint = (await runtime.writer.archive_vault(found.vault.id)).checkpoint
        name = display(checkpoint.name)
        return views.Archived("vault", write_reference(found.part), checkpoint.vault_id, name, _ARCHIVED_NOTE)

    async def report_gap(self, summary: str, details: str, desired_outcome: str | None) -> views.GapReport:
        """Report a product gap without secrets.

        Raises:
            R4Error: A text holds a secret, refused, unreachable.
        """
        refuse_secrets({"summary": summary, "details": details, "desired_outcome": desired_outcome}, self._egress)
        runtime = await self._ready(Action.REPORT)
        return views.GapReport(display(await runtime.writer.report_gap(summary, details, desired_outcome)))

    async def _ready(self, action: Action) -> VaultRuntime:
        decide(action, Target(), self._switches)
        if self._runtime is None:
            raise self._missing[0] if self._missing else NotConfiguredError("no vault is configured")
        try:
            await self._runtime.registration.ensure()
        except NotConfiguredError:
            # Listing needs no private key; everything else says what is missing.
            if action not in {Action.LIST, Action.REPORT}:
                raise
        if not self._recovered and not self._switches.read_only:
            # Once a process: a creation that an earlier one left half done is finished before anything else is asked.
            self._recovered = True
            await self._runtime.writer.recover()
        return self._runtime

    def _position(self, cursor: str | None, listing: str) -> int:
        if cursor is None or self._cursors is None:
            return 0
        return self._cursors.read(cursor, listing)

    def _next(self, listing: str, position: int, total: int) -> str | None:
        if position >= total or self._cursors is None:
            return None
        return self._cursors.write(listing, position)


def _refuse_twin(name: str, existing: Sequence[tuple[str, str]], what: str, place: tuple[str, ...]) -> None:
    # R4 allows twins, but a second of the same name would make the first one's reference ambiguous; and a caller that tries again
    # after a lost answer should be told of what is there.
    folded = name.casefold()
    twins = tuple(write_reference(*place, twin_id) for twin_id, twin in existing if twin.casefold() == folded)
    if twins:
        raise AlreadyExistsError(f"the name is taken by another {what}", candidates=twins)


async def _vault_line(runtime: VaultRuntime, names: list[str], listed: ServedVault) -> views.VaultLine:
    reference = write_reference(address(listed.id, listed.name, names))
    try:
        vault: ProvenVault = await runtime.reader.vault(listed.id)
    except UnauthorizedError:
        raise
    except (VerificationError, NotFoundError, ServiceError, NetworkError) as error:
        # One vault that can't be shown must not hide the others; the line says why.
        return views.VaultLine(
            reference=write_reference(listed.id),
            id=listed.id,
            name=display(listed.name),
            classification=None,
            item_count=listed.item_count,
            verified=False,
            problem=error.code,
        )
    checkpoint = vault.summary.checkpoint
    agrees = (checkpoint.name, checkpoint.classification) == (listed.name, listed.classification)
    return views.VaultLine(
        reference=reference if agrees else write_reference(listed.id),
        id=listed.id,
        name=display(checkpoint.name),
        classification=_word(checkpoint.classification),
        item_count=len(checkpoint.items),
        verified=agrees,
        problem=None if agrees else "served_differs_from_signed",
    )


def _unverified_items(served: ServedItems, size: int) -> views.ItemList:
    # Only where the operator allows it (R4_CHECKPOINTS=when-present): the first page, addressed by ids, marked as what it is.
    return views.ItemList(
        vault=write_reference(served.vault_id),
        vault_name=display(served.vault_name),
        classification=None,
        items=tuple(
            views.ItemLine(
                reference=write_reference(served.vault_id, item.id),
                id=item.id,
                name=display(item.name),
                type=item.type.value,
                websites=tuple(display(website) for website in item.websites),
                field_count=served.field_counts.get(item.id, 0),
            )
            for item in served.items[:size]
        ),
        total=len(served.items),
        next_cursor=None,
        signed_by=None,
        checkpoint_version=None,
        verified=False,
    )


def _item_lines(found: FoundVault, start: int, size: int) -> list[views.ItemLine]:
    summary = found.vault.summary
    return [
        views.ItemLine(
            reference=write_reference(found.part, item_part(found.vault, item.id)),
            id=item.id,
            name=display(item.name),
            type=item.type.value,
            websites=tuple(display(website) for website in item.websites),
            field_count=summary.field_counts.get(item.id, 0),
        )
        for item in summary.checkpoint.items[start : start + size]
    ]


def _field_line(found: FoundItem, field_id: str) -> views.FieldLine:
    checkpoint = found.opened.item.checkpoint
    field = next(field for field in checkpoint.fields if field.id == field_id)
    key = screaming_key(checkpoint.name, field.name)
    return views.FieldLine(
        reference=found.field_reference(field.id),
        id=field.id,
        name=display(field.name),
        type=field.type.value,
        secret=field.type.is_secret,
        # A key is for typing; of names beyond the limits there is none, and the reference is there in any case.
        key=key if key is not None and len(key) <= 2 * MAX_NAME + 1 else None,
    )


def _word(classification: Classification | None) -> str | None:
    return None if classification is None else classification.value
