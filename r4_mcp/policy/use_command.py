"""The gate's side for programs: one that the operator listed is given secrets which the model never sees.

What this file does not do: know which commands are listed (``command_rules`` does), or run one (``sinks.process`` does).

Rules:
1. A command is of a form that the policy lists, and its references are among what that form may use. Both gates hold: the list
   opens nothing that the rules close, and the rules start nothing that isn't listed.
2. Secrets come by the environment or the standard input, never in an argument: every user of this machine can read those. One
   that gives no secret is refused, so that this is no way to run something else.
3. All is decided before a value is opened, and nothing is started before all values are.
4. After a value that can't be masked, a one-time code or a short one, only the ending of the program is told.
5. ``MAX_PROGRAMS`` run at once; a further call waits, already decided. Who takes the call back ends the program with its group.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import JsonIn, compact_json
from r4_mcp.errors import DeniedError, InvalidArgumentError, ProgramError
from r4_mcp.policy import outcomes
from r4_mcp.policy.command_rules import CommandTemplate, ShownOutput
from r4_mcp.policy.invisible import unmistakable, visible
from r4_mcp.policy.model import Action, Verdict
from r4_mcp.policy.rules import Decision
from r4_mcp.policy.use_rules import Sink
from r4_mcp.policy.uses import Uses, Wanted
from r4_mcp.policy.views import display
from r4_mcp.secret import Secret
from r4_mcp.sinks.capture import Capture
from r4_mcp.sinks.environment import check_name
from r4_mcp.sinks.masking import Masker, is_maskable
from r4_mcp.sinks.placeholders import refuse_placeholders
from r4_mcp.sinks.process import Command, run
from r4_mcp.vault.references import write_reference

MAX_COMMAND: Final = 16 * 1024
"""Characters of everything that a caller gives, as compact JSON."""

_MAX_FORM: Final = 1_024
"""Characters that a refusal shows of one listed form."""
_NEVER_CUT: Final = 10 * MAX_COMMAND
"""A limit for ``display`` that no command reaches, even if each of its characters has to be escaped."""
_LIKE_ONE: Final = "Call it like one of the candidates, or ask the operator to list it under [[run_command.allow]] in the policy."


@dataclass(frozen=True, slots=True)
class CommandDraft:
    """A command as given: nothing of it is checked yet.

    Attributes:
        argv: The program and its arguments.
        env: References by the names of environment variables.
        stdin: The reference of what it reads.
        timeout: Its deadline in seconds; None for the operator's, which is also the longest.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    timeout: int | None = None

    @property
    def references(self) -> frozenset[str]:
        """The references that it needs."""
        return frozenset(self.env.values()) | (frozenset() if self.stdin is None else {self.stdin})

    def check(self) -> None:
        """Check what needs neither policy nor vault.

        Raises:
            InvalidArgumentError: It gives no secret (rule 2), is too large, or a name may carry none.
            PlaceholderError: A placeholder in an argument.
        """
        if len(self.whole()) > MAX_COMMAND:
            raise InvalidArgumentError(f"the command has more than {MAX_COMMAND} characters")
        for text in self.argv:
            refuse_placeholders(text, "an argument")
        for name in self.env:
            check_name(name)
        if not self.references:
            raise InvalidArgumentError("env and stdin name no secret, so the command needs no vault; nothing was started")

    def whole(self) -> str:
        """Return all of it, references and not values, as compact JSON."""
        given: dict[str, JsonIn] = {"argv": list(self.argv), "env": dict(self.env), "stdin": self.stdin, "timeout": self.timeout}
        return compact_json({name: value for name, value in given.items() if value not in (None, {})})


class CommandUses(Uses):
    """Programs with secrets."""

    async def run_command(self, draft: CommandDraft) -> outcomes.ProgramAnswer:
        """Run one program to its end, with secrets in its environment or on its standard input.

        Raises:
            InvalidArgumentError: The command gives no secret, or can't be given what it asks for.
            PlaceholderError: A placeholder in an argument.
            DeniedError: No form that the policy lists, or the rules deny a use.
            SecretInTextError: An argument is, or looks like, a secret.
            ApprovalRequiredError: A person must say yes to exactly this command.
            ProgramError: It can't be started here, or became another user's.
            R4Error: Not found, ambiguous, not verified, not readable, not configured, unreachable.
        """
        self._admission.refuse_where_closed(Action.USE)
        if sys.platform == "win32":
            raise ProgramError("programs can't be given secrets on Windows", next_step="Use http_request, or another machine.")
        draft.check()
        templates = self._of_its_form(draft)
        await self._admission.screen({f"argv, text {number}": text for number, text in enumerate(draft.argv, 1)})
        runtime = await self._admission.ready(Action.USE)
        wanted = await self._want(runtime, draft.references, Sink.RUN_COMMAND)
        template = self._that_may_use(templates, wanted)
        self._call.pattern = template.name
        seconds = template.seconds if draft.timeout is None else min(draft.timeout, template.seconds)
        # The whole of it, and where: nobody says yes to what is cut off.
        whole = display(draft.whole(), _NEVER_CUT)
        about = f"in this command, in {template.folder}, for at most {seconds} seconds? {unmistakable(whole)}"
        self._confirm(wanted, about, f"{template.folder} {seconds} {draft.whole()}")
        async with self._parts.programs:
            await self._note(wanted, Sink.RUN_COMMAND, template.name)
            values = {one.text: await self._open(runtime, one) for one in wanted}
            command = Command(
                tuple(draft.argv),
                Path(template.folder),
                secrets={name: values[text] for name, text in draft.env.items()},
                stdin=None if draft.stdin is None else values[draft.stdin],
                seconds=seconds,
            )
            try:
                return await _watch(command, _masker(wanted, values, template.output))
            except ProgramError as error:
                step = f"Tell the operator that the command {template.name} of the policy does not run as it is listed."
                raise ProgramError(error.message, next_step=step) from None

    def _of_its_form(self, draft: CommandDraft) -> list[CommandTemplate]:
        """Return the listed forms that a command has, in the operator's order (rule 1)."""
        listed = self._parts.policy().commands
        found = [one for one in listed if one.fits(draft.argv, draft.env.keys(), stdin=draft.stdin is not None)]
        if not found:
            forms = tuple(display(one.form, _MAX_FORM) for one in listed)
            raise self._unlisted("the operator's policy lists no command of this form", _LIKE_ONE, forms)
        return found

    def _that_may_use(self, templates: Sequence[CommandTemplate], wanted: Sequence[Wanted]) -> CommandTemplate:
        """Return the first of these forms that may use all that is wanted (rule 1)."""
        for template in templates:
            if all(template.may_use(one.ids) for one in wanted):
                return template
        first = templates[0]
        unlisted = ", ".join(write_reference(*one.ids) for one in wanted if not first.may_use(one.ids))
        step = f"Ask the operator to add it to `secrets` of {first.name}, under [[run_command.allow]] in the policy."
        raise self._unlisted(f"the operator's policy does not let the command {first.name} use {unlisted}", step)

    def _unlisted(self, message: str, next_step: str, candidates: tuple[str, ...] = ()) -> DeniedError:
        self._call.decision = Decision(Action.USE, Verdict.DENY, "no listed command", message)
        return DeniedError(f"{message}; nothing was started", next_step=next_step, candidates=candidates)


def _masker(wanted: Sequence[Wanted], values: Mapping[str, Secret[str]], output: ShownOutput) -> Masker | None:
    """Return what masks the output; None where none is shown (rule 4)."""
    withheld = output is ShownOutput.EXIT_CODE or any(one.is_one_time or not is_maskable(values[one.text]) for one in wanted)
    if withheld:
        return None
    # By ids where two are called alike: none of them may go unmasked.
    named = [one.found.reference for one in wanted]
    return Masker(
        {
            one.found.reference if named.count(one.found.reference) == 1 else write_reference(*one.ids): values[one.text]
            for one in wanted
        }
    )


async def _watch(command: Command, masker: Masker | None) -> outcomes.ProgramAnswer:
    """Run a program, and build the view of how it ended and what it printed, escaped where it can't be seen."""
    if masker is None:
        ending = await run(command)
        return outcomes.ProgramAnswer(ending.exit_code, ending.signal, ending.is_late, "", "", "withheld")
    out, err = Capture(masker), Capture(masker)
    ending = await run(command, out, err)
    return outcomes.ProgramAnswer(
        ending.exit_code,
        ending.signal,
        ending.is_late,
        visible(out.text),
        visible(err.text),
        "cut" if out.is_cut or err.is_cut else "whole",
    )
