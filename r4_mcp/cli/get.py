"""``r4-mcp get``: a person is shown one field.

What this file does not do: spend the reveal budget or note an exposure. Both are about what a model was shown.

Rules:
1. What closes every reveal holds here too: ``R4_NO_REVEAL``, a policy that can't be used, a rule that denies all of them.
2. On a terminal it asks first, unless ``--yes`` is given: somebody may look over the shoulder, and screens are recorded.
3. The policy speaks of models. Where it asks, whoever typed the command is asked, also before a pipe. Where it denies by class,
   type or id, only a yes that is typed at a terminal counts, never ``--yes``: so a model with a shell is not let through by the
   way. (One that opens a terminal of its own could as well read the key file; the same user's programs are out of reach.)
4. It goes into the audit log before anything is shown (``noting``); the value goes to stdout alone.
5. A value that could act on a terminal, such as by an escape sequence, is not sent to one.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Final

from r4_mcp.cli.noting import noted
from r4_mcp.cli.prompts import at_terminal, require_yes
from r4_mcp.cli.wiring import Service, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.wire import FieldType
from r4_mcp.errors import DeniedError, NotReadableError
from r4_mcp.policy.call import Call
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.rules import Decision, decide, deny_early
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.locator import FoundField
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.runtime import VaultRuntime

_HARMLESS: Final = frozenset("\n\t")
_AT_TERMINAL: Final = "Run it at a terminal, where a person can be asked; --yes does not stand for that."


async def get(settings: Settings, known: KnownSecrets, reference: str, *, local: bool, yes: bool) -> Secret[str]:
    """Open one field for a person.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: ``r4://vault/item/field``, an item with one secret field, or a SCREAMING key.
        local: Of the embedded vault.
        yes: Don't ask (rules 2 and 3).

    Returns:
        Its value; for TOTP the current code, never the seed.

    Raises:
        R4Error: Bad reference, nothing configured, denied, a no, not found, not verified, not readable, refused, unreachable.
    """
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        async with noted(service, "cli_get", reveals=True) as call:
            call.decision = deny_early(Action.REVEAL, settings.switches, service.policy())
            if call.decision is not None:
                raise DeniedError(call.decision.reason)
            await service.runtime.recovery.settle(writes=not settings.switches.read_only, needs_key=True)
            found = await service.runtime.locator.field(reference)
            call.decision = _decide(settings, service, found, call)
            _require_person(call.decision, found.reference, yes=yes)
            return await _open(service.runtime, found, known)


def print_value(value: Secret[str]) -> None:
    """Print the value and a line break on stdout, and nothing else."""
    # reveal: shown to the person who asked for exactly this field.
    sys.stdout.buffer.write(value.reveal().encode("utf-8") + b"\n")
    sys.stdout.buffer.flush()


def _decide(settings: Settings, service: Service, found: FoundField, call: Call) -> Decision:
    vault, field = found.located.vault.summary.checkpoint, found.located.field
    call.ids = (vault.vault_id, field.item.checkpoint.item_id, field.line.id)
    target = Target(
        vault.vault_id,
        vault.classification,
        field.line.type,
        item_id=field.item.checkpoint.item_id,
        field_id=field.line.id,
    )
    return decide(Action.REVEAL, target, settings.switches, service.policy())


def _require_person(decision: Decision, reference: str, *, yes: bool) -> None:
    on_screen = sys.stdout.isatty()
    where = "on this screen" if on_screen else "to what reads this command's output"
    question, denied = f"Show {reference} {where}?", decision.verdict is Verdict.DENY
    if denied:
        if not at_terminal():
            raise DeniedError(decision.reason, next_step=_AT_TERMINAL)
        question = f"Models are not shown this ({decision.rule}). {question}"
    elif decision.verdict is Verdict.ALLOW and not on_screen:
        return
    require_yes(question, yes=yes, what="showing this value", undone="nothing was shown", typed=denied)


async def _open(runtime: VaultRuntime, found: FoundField, known: KnownSecrets) -> Secret[str]:
    line = found.located.field.line
    if line.type is FieldType.FILE:
        raise NotReadableError("the field is of type FILE: it refers to an attachment, and attachments can't be read here")
    value = await runtime.opener.open_field(found.located)
    if line.type is FieldType.TOTP:
        return one_time_code(value, time.time(), known).code
    # reveal: looked through for what acts on a terminal.
    if sys.stdout.isatty() and any(_acts(character) for character in value.reveal()):
        raise NotReadableError(
            "the value holds control characters, which could act on this terminal; it was not shown",
            next_step="Send it to a file or a pipe: `r4-mcp get REF > FILE`.",
        )
    return value


def _acts(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character not in _HARMLESS
