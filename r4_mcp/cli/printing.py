"""What commands print for people: looked at once more before it leaves.

What this file does not do: choose words; the commands do.

Rules:
1. The last look holds for people's commands too: a line that holds a known secret blocks the whole message. It is taken before a
   line is broken, coloured or encoded.
2. Colour is for terminals; ``NO_COLOR`` and ``TERM=dumb`` turn it off there too (termcolor). It carries nothing that words don't.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterable, Sequence
from typing import TYPE_CHECKING, Final

from r4_mcp.core.encoding import JsonIn
from r4_mcp.errors import R4Error
from r4_mcp.secret import KnownSecrets

if TYPE_CHECKING:
    from r4_mcp.cli.doctor import Finding

_HANGING: Final = 5
"""Columns under which the lines of a finding continue."""

_COLOURS: Final = (("ok  ", "green"), ("FAIL", "red"), ("BROKEN", "red"), ("!", "red"), ("    not verified", "red"))
"""How a line begins, and the colour of that beginning."""


def say(lines: Sequence[str], known: KnownSecrets, *, hanging: int | None = None) -> None:
    """Print lines on stdout.

    Args:
        lines: The lines; for none, nothing is printed.
        known: The secrets of this process.
        hanging: Break lines that are too wide, and indent what follows by so many columns more; None leaves them whole.

    Raises:
        LeakBlockedError: Rule 1.
    """
    from r4_mcp.cli.guard import guard  # noqa: PLC0415 - start-up is felt; errors of usage need none of it
    from r4_mcp.cli.layout import wrapped  # noqa: PLC0415 - as above

    guard(known).check(list(lines))
    if not lines:
        return
    shown = lines if hanging is None else [part for line in lines for part in wrapped(line, hanging)]
    sys.stdout.write("\n".join(map(_coloured, shown)) + "\n")
    sys.stdout.flush()


def say_json(payload: JsonIn, known: KnownSecrets) -> None:
    """Print a payload on stdout as JSON, for programs.

    Raises:
        LeakBlockedError: Rule 1.
    """
    from r4_mcp.cli.guard import guard  # noqa: PLC0415 - as above

    guard(known).check(payload)
    # ASCII: whatever encoding the other end of the pipe expects.
    sys.stdout.write(json.dumps(payload, indent=2) + "\n")
    sys.stdout.flush()


async def say_findings(findings: AsyncIterable[Finding], known: KnownSecrets, *, as_json: bool = False) -> bool:
    """Print what doctor finds, for people as it is found; returns whether everything that was checked works."""
    found: list[JsonIn] = []
    healthy = True
    async for finding in findings:
        healthy = healthy and finding.good is not False
        if as_json:
            found.append({"step": finding.step, "good": finding.good, "told": finding.told, "next_step": finding.next_step})
        else:
            say(finding.lines(), known, hanging=_HANGING)
    if as_json:
        say_json({"good": healthy, "findings": found}, known)
    else:
        say(["", "Everything that was checked works." if healthy else "Correct the first FAIL, then run doctor again."], known)
    return healthy


def print_error(error: R4Error, known: KnownSecrets) -> None:
    """Print an error and its next step on stderr: what happened, what to choose from, what to do."""
    from r4_mcp.cli.guard import guard  # noqa: PLC0415 - as above
    from r4_mcp.cli.layout import wrapped  # noqa: PLC0415 - as above
    from r4_mcp.cli.next_steps import explain_to_person  # noqa: PLC0415 - as above

    told = explain_to_person(error)
    lines = [f"r4-mcp: {told.message}", *(f"  {candidate}" for candidate in told.candidates), f"next: {told.next_step}"]
    if guard(known).holds_secret("\n".join(lines)):
        lines = [f"r4-mcp: an error message ({told.code}) held a known secret and was blocked."]
    elif sys.stderr.isatty():
        lines = [part for line in lines for part in wrapped(line)]
    sys.stderr.write("\n".join(lines) + "\n")


def _coloured(line: str) -> str:
    for beginning, colour in _COLOURS:
        if line.startswith(beginning):
            from termcolor import colored  # noqa: PLC0415 - as above

            return colored(beginning, colour) + line.removeprefix(beginning)
    return line
