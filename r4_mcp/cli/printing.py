"""What commands print for people: looked at once more before it leaves.

What this file does not do: choose words; the commands do.

Rules:
1. The last look holds for people's commands too: a line that holds a known secret blocks the whole message.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from r4_mcp.errors import R4Error
from r4_mcp.secret import KnownSecrets

if TYPE_CHECKING:
    from r4_mcp.cli.doctor import Finding


def say(lines: list[str], known: KnownSecrets) -> None:
    """Print lines on stdout.

    Raises:
        LeakBlockedError: Rule 1.
    """
    from r4_mcp.policy.egress import Egress  # noqa: PLC0415 - start-up is felt; errors of usage need none of it

    Egress(known).check(lines)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


async def say_findings(findings: AsyncIterable[Finding], known: KnownSecrets) -> bool:
    """Print what doctor finds, as it is found; returns whether everything that was checked works."""
    healthy = True
    async for finding in findings:
        say(finding.lines(), known)
        healthy = healthy and finding.good is not False
    say(["", "Everything that was checked works." if healthy else "Correct the first FAIL, then run doctor again."], known)
    return healthy


def print_error(error: R4Error, known: KnownSecrets) -> None:
    """Print an error and its next step on stderr."""
    from r4_mcp.policy.egress import Egress  # noqa: PLC0415 - as above
    from r4_mcp.server.explain import explain  # noqa: PLC0415

    told = explain(error)
    lines = [f"r4-mcp: {told.message}", *(f"  {candidate}" for candidate in told.candidates), f"next: {told.next_step}"]
    text = "\n".join(lines)
    if Egress(known).holds_secret(text):
        text = f"r4-mcp: an error message ({told.code}) held a known secret and was blocked."
    sys.stderr.write(text + "\n")
