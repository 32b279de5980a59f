"""One call on its way through the gate: what a person said to it, who is told of progress, and what is noted of it.

What this file does not do: decide, or ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from r4_mcp.policy.rules import Decision

Progress = Callable[[int, int], Awaitable[None]]
"""Told how many steps of how many are done."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to one question about one subject. Only ``server/approval`` and a person's own command make one."""

    subject: tuple[str, ...]


async def _silent(_: int, __: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        approval: What a person approved; None until one was asked.
        progress: Told of long work.
        ids: Ids of the vault, item and field that the call turned out to be about; for the audit log.
        further: Ids of the other fields, where it is about several; each has a line of its own in the audit log.
        decision: What the rules said; for the audit log.
        pattern: The pattern of the policy that lists the raw request, or its name for a command or folder; for the audit log,
            which never has the request or the command itself.
    """

    approval: Approval | None = None
    progress: Progress = _silent
    ids: tuple[str, ...] = field(default=())
    further: tuple[tuple[str, ...], ...] = field(default=())
    decision: Decision | None = None
    pattern: str | None = None
