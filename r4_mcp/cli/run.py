"""``r4-mcp run``: a person's program gets secrets by its environment, and what it prints is masked.

What this file does not do: know what a project exports (``run_project`` does), or watch the program (``sinks.process`` does).

Rules:
1. The policy decides each use by the sink ``run``. What it denies is denied here too, and no option lifts it; where it asks,
   whoever typed the command is asked, or says ``--yes``.
2. Every use is noted, and the audit line is written, before the program starts. No connection is held while it runs.
3. The program is found as a shell would find it, and gets this environment without our own settings (``R4_*``): it must not act
   as this agent.
4. Output is masked. A value that can't be masked is refused, unless ``--unmasked`` says that the screen may show values.
5. It reads this command's standard input. Ctrl-C ends it and all of its group at once.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from r4_mcp.cli.noting import noted
from r4_mcp.cli.prompts import require_yes
from r4_mcp.cli.run_project import by_ids, project_fields
from r4_mcp.cli.wiring import Service, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.wire import FieldType
from r4_mcp.errors import (
    AmbiguousReferenceError,
    DeniedError,
    InvalidArgumentError,
    NotConfiguredError,
    NotMaskableError,
    NotReadableError,
    ProgramError,
)
from r4_mcp.policy.call import Call
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.pinned_exports import PinnedExports
from r4_mcp.policy.rules import decide, deny_early
from r4_mcp.policy.use_rules import Sink
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.sinks.capture import Forward
from r4_mcp.sinks.environment import check_name
from r4_mcp.sinks.masking import Masker, is_maskable
from r4_mcp.sinks.process import Command
from r4_mcp.sinks.process import run as run_program
from r4_mcp.vault.locator import FoundField
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.runtime import VaultRuntime

_OWN_SETTINGS: Final = "R4_"
_BY_SIGNAL: Final = 128
"""What shells add to the number of the signal that ended a program."""


@dataclass(frozen=True, slots=True)
class RunWishes:
    """What was typed.

    Attributes:
        argv: The program and its arguments.
        env: ``NAME=reference``, each.
        project: A project whose exports are wanted too; None for none.
        prefix: Before each name that the project gives.
        unmasked: Whether output is passed on as it is.
        yes: Whether the policy's question is answered.
    """

    argv: Sequence[str]
    env: Sequence[str] = ()
    project: str | None = None
    prefix: str = ""
    unmasked: bool = False
    yes: bool = False


async def run(settings: Settings, known: KnownSecrets, wishes: RunWishes, *, local: bool) -> int:
    """Run a program with secrets in its environment.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        wishes: What was typed.
        local: Of the embedded vault.

    Returns:
        Its exit status; 128 and the number of the signal where one ended it.

    Raises:
        ProgramError: It is not found, or can't be started.
        NotMaskableError: Rule 4.
        R4Error: Bad name or reference, nothing configured, denied, a no, not found, not verified, refused, unreachable.
    """
    argv, wanted = _located(wishes.argv), _wanted(wishes.env)
    if not wanted and wishes.project is None:
        raise InvalidArgumentError("run needs at least one --env NAME=r4://vault/item/field, or a --project")
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service, noted(service, "cli_run", reveals=True) as call:
        if service.runtime is None:
            raise service.missing[0]
        call.decision = deny_early(Action.USE, settings.switches, service.policy())
        if call.decision is not None:
            raise DeniedError(call.decision.reason)
        await service.runtime.recovery.settle(writes=not settings.switches.read_only, needs_key=True)
        found = {name: await service.runtime.locator.field(reference) for name, reference in wanted.items()}
        if wishes.project is not None:
            pinned = PinnedExports(settings.home / "state", service.runtime.owner)
            exported = await project_fields(service.runtime, wishes.project, wishes.prefix, pinned)
            _refuse_clashes(found, exported)
            found |= exported
        _permit(settings, service, found, call, wishes)
        values = await _open(service, service.runtime, found, known)
        masked = {} if wishes.unmasked else {found[name].reference: value for name, value in values.items()}
        if not all(map(is_maskable, masked.values())):
            step = "Add --unmasked if whoever sees this command's output may see the values."
            raise NotMaskableError("a value is too short to be masked in what the program prints", next_step=step)
    return await _watch(argv, values, Masker(masked))


def _located(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the program by its absolute path, and its arguments (rule 3)."""
    given = tuple(argv[1:] if argv[:1] == ["--"] else argv)
    if not given:
        raise InvalidArgumentError("run needs a program: r4-mcp run --env NAME=REF -- program arguments")
    path = shutil.which(given[0])
    if path is None:
        raise ProgramError("the program is not found", next_step="Check its name and PATH, or give its path.")
    return (str(Path(path).absolute()), *given[1:])


def _wanted(pairs: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for pair in pairs:
        name, equals, reference = pair.partition("=")
        if not equals:
            raise InvalidArgumentError("--env is written NAME=r4://vault/item/field")
        check_name(name)
        if name in wanted:
            raise InvalidArgumentError(f"--env sets {name} twice")
        wanted[name] = reference
    return wanted


def _refuse_clashes(found: Mapping[str, FoundField], exported: Mapping[str, FoundField]) -> None:
    for name in sorted(found.keys() & exported.keys()):
        both = (by_ids(found[name]), by_ids(exported[name]))
        raise AmbiguousReferenceError(f"--env and the project both set {name}", candidates=both)


def _permit(settings: Settings, service: Service, found: Mapping[str, FoundField], call: Call, wishes: RunWishes) -> None:
    """Decide every use (rule 1); of the decisions the strictest counts."""
    ids = [_ids(one) for one in found.values()]
    call.ids, call.further = ids[0], tuple(ids[1:])
    decisions = [decide(Action.USE, _target(one), settings.switches, service.policy()) for one in found.values()]
    call.decision = max(decisions, key=lambda decision: decision.verdict.strictness)
    if call.decision.verdict is Verdict.DENY:
        raise DeniedError(call.decision.reason)
    if call.decision.verdict is Verdict.ASK:
        named = ", ".join(f"{name} ({one.reference})" for name, one in found.items())
        question = f"Give {named} to the program? The policy asks ({call.decision.rule})."
        require_yes(question, yes=wishes.yes, what="giving these values to a program", undone="nothing was started")


def _ids(found: FoundField) -> tuple[str, str, str]:
    field = found.located.field
    return found.located.vault.id, field.item.checkpoint.item_id, field.line.id


def _target(found: FoundField) -> Target:
    vault, field = found.located.vault.summary.checkpoint, found.located.field
    return Target(
        vault.vault_id,
        vault.classification,
        field.line.type,
        item_id=field.item.checkpoint.item_id,
        field_id=field.line.id,
        sink=Sink.RUN,
    )


async def _open(
    service: Service, runtime: VaultRuntime, found: Mapping[str, FoundField], known: KnownSecrets
) -> dict[str, Secret[str]]:
    """Note every use, then open the values (rule 2)."""
    if service.oversight is None:
        raise NotConfiguredError("uses can't be noted, because nothing is configured")
    if any(one.located.field.line.type is FieldType.FILE for one in found.values()):
        raise NotReadableError("a field is of type FILE: it refers to an attachment, and attachments can't be used here")
    for one in found.values():
        await service.oversight.used(_ids(one), Sink.RUN.value)
    values = {name: await runtime.opener.open_field(one.located) for name, one in found.items()}
    codes = [name for name, one in found.items() if one.located.field.line.type is FieldType.TOTP]
    return values | {name: one_time_code(values[name], time.time(), known).code for name in codes}


async def _watch(argv: tuple[str, ...], values: Mapping[str, Secret[str]], masker: Masker) -> int:
    environment = {name: text for name, text in os.environ.items() if name not in values and not name.startswith(_OWN_SETTINGS)}
    command = Command(argv, Path.cwd(), secrets=values, environment=environment, seconds=math.inf, inherits_stdin=True)
    ending = await run_program(command, _output(masker, sys.stdout.buffer), _output(masker, sys.stderr.buffer))
    return ending.exit_code if ending.exit_code is not None else _BY_SIGNAL + (ending.signal or 0)


def _output(masker: Masker, stream: IO[bytes]) -> Forward:
    def write(masked: bytes) -> None:
        stream.write(masked)
        stream.flush()

    return Forward(masker, write)
