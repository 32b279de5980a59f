"""Audit logs that tests fill and verify."""

from __future__ import annotations

from pathlib import Path

from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.audit_format import Head
from r4_mcp.policy.audit_verify import Broken, Intact, Kind, verify

from .state_processes import entry


def open_log(folder: Path, now: float = 1_800_000_000.0) -> AuditLog:
    """Open a log at a fixed time."""
    return AuditLog(folder, lambda: now)


def filled(folder: Path, count: int) -> Path:
    """Append lines as one process does; returns the current file."""
    log = open_log(folder)
    for number in range(count):
        log.append(entry(number))
    return folder / "audit.jsonl"


def intact(folder: Path, exported: Head | None = None) -> Intact:
    """Return the verified log."""
    found = verify(folder, exported)
    assert isinstance(found, Intact), found
    return found


def broken(folder: Path, exported: Head | None = None) -> tuple[Kind, str, int]:
    """Return how and where the log is broken."""
    found = verify(folder, exported)
    assert isinstance(found, Broken), found
    return found.kind, found.file, found.number
