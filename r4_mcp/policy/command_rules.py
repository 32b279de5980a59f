"""What the operator's policy says of programs that are given secrets: templates of commands, and whether a call fits one.

What this file does not do: read a policy's text (``command_text`` does), decide about a secret (``rules`` does), or start
anything.

Rules:
1. A command fits a template argument by argument: what is fixed is equal, what is free matches the whole of its pattern, and
   there are as many as the template has. The program is always fixed.
2. What fills a free position never begins with ``-``, whatever the pattern: to most programs it would be an option, or by ``--``
   the end of them. It has ``=`` only where the pattern writes one: to others (make, env, dd) that is an assignment.
3. What fills a free position holds nothing that can't be seen, so no NUL and no line break, and has at most ``MAX_FREE``
   characters. The bound is also one of time: patterns are searched with backtracking.
4. A template names the vaults, items or fields that it may use, by id. That opens nothing that ``rules`` close.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from r4_mcp.core.encoding import JsonIn, compact_json
from r4_mcp.policy.invisible import is_invisible

MAX_FREE: Final = 256
"""Characters of an argument in a free position."""


class ShownOutput(StrEnum):
    """What the model gets of a program that ended."""

    MASKED = "masked"
    EXIT_CODE = "exit_code"


@dataclass(frozen=True, slots=True)
class Free:
    """A position whose argument the caller chooses (rules 2 and 3).

    Attributes:
        pattern: Matches the whole argument.
        max_length: Characters of the argument; at most ``MAX_FREE``.
    """

    pattern: re.Pattern[str]
    max_length: int = MAX_FREE

    def fits(self, argument: str) -> bool:
        """Say whether an argument may stand here."""
        return (
            len(argument) <= self.max_length
            and not argument.startswith("-")
            and ("=" not in argument or "=" in self.pattern.pattern)
            and not any(map(is_invisible, argument))
            and self.pattern.fullmatch(argument) is not None
        )


@dataclass(frozen=True, slots=True)
class CommandTemplate:
    """A command that the model may start.

    Attributes:
        name: The operator's word for it; in refusals, in the audit log and in the log.
        argv: The program by its absolute path, then its arguments.
        folder: Where it works; an absolute path.
        secrets: Ids of vaults, of items behind their vault's, or of fields behind both (rule 4).
        env: Names of environment variables that may carry a secret.
        stdin: Whether its standard input may carry one.
        seconds: Its deadline, at most.
        output: What is shown of it.
    """

    name: str
    argv: tuple[str | Free, ...]
    folder: str
    secrets: tuple[tuple[str, ...], ...]
    env: frozenset[str] = frozenset()
    stdin: bool = False
    seconds: int = 60
    output: ShownOutput = ShownOutput.MASKED

    def fits(self, argv: Sequence[str], env: AbstractSet[str], *, stdin: bool) -> bool:
        """Say whether a command is of this form.

        Args:
            argv: All of it (rule 1).
            env: Names of variables that are to carry a secret.
            stdin: Whether the standard input is to carry one.
        """
        return len(argv) == len(self.argv) and all(map(_fills, self.argv, argv)) and env <= self.env and (self.stdin or not stdin)

    def may_use(self, ids: tuple[str, str, str]) -> bool:
        """Say whether it lists a field, given as the ids of vault, item and field (rule 4)."""
        return any(ids[: len(listed)] == listed for listed in self.secrets)

    @property
    def places(self) -> tuple[str, ...]:
        """What it runs or may load from: its folder, its program's, and each fixed argument that is an absolute path."""
        fixed = [part for part in self.argv[1:] if isinstance(part, str) and part.startswith("/")]
        return (self.folder, str(self.argv[0]).rpartition("/")[0] or "/", *fixed)

    @property
    def form(self) -> str:
        """How it is called, in one line: free positions by their patterns."""
        argv: list[JsonIn] = [{"pattern": part.pattern.pattern} if isinstance(part, Free) else part for part in self.argv]
        takes = [f"env {name}" for name in sorted(self.env)] + ["stdin"] * self.stdin
        return f"{self.name}: {compact_json(argv)} with {', '.join(takes)}"


def _fills(part: str | Free, argument: str) -> bool:
    return part.fits(argument) if isinstance(part, Free) else part == argument
