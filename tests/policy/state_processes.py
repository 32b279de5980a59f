"""A process of its own that works on one state file: started by the tests, ``python -m tests.policy.state_processes COMMAND …``.

Commands: ``audit FOLDER THREADS COUNT SIZE`` appends COUNT lines in each of THREADS threads. ``forever FOLDER SIZE`` appends
until it is killed, and says so after each line. ``limited FOLDER BYTES`` appends until the system lets no file grow over BYTES,
and says the errors. ``spend FOLDER LIMIT COUNT`` spends from an hour's budget and says how often it was within. ``show FOLDER
NUMBER COUNT`` notes a field of its own and one of all processes as shown, COUNT times each. ``reveal FOLDER`` spends and notes
what a reveal does until it is killed, and says so after each.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Final

from r4_mcp.errors import R4Error
from r4_mcp.policy.audit import AuditEntry, AuditLog
from r4_mcp.policy.budget import MAX_PER_HOUR, RevealBudget
from r4_mcp.policy.exposure import ExposureLedger, Place

OWNER: Final = ("http://localhost", "rk_tests")
KEEP_ALL: Final = 10_000


def entry(number: int) -> AuditEntry:
    """Return an entry that can be told from others by its duration."""
    return AuditEntry("read_secret", "ok", number, vault_id=f"{number:024x}")


def place(number: int) -> Place:
    """Return a field that can be told from others."""
    return Place(f"{number:024x}", "a" * 24, "b" * 24)


def python(*arguments: str) -> list[str]:
    """Return how to start a process of these tests."""
    return [sys.executable, "-m", "tests.policy.state_processes", *arguments]


def _append(folder: Path, threads: int, count: int, size: int) -> None:
    log = AuditLog(folder, time.time, max_size=size, keep=KEEP_ALL)

    def write() -> None:
        for number in range(count):
            log.append(entry(number))

    running = [Thread(target=write) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _forever(folder: Path, size: int) -> None:
    log = AuditLog(folder, time.time, max_size=size, keep=KEEP_ALL)
    while True:
        log.append(entry(1))
        _say("appended")


def _limited(folder: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    log = AuditLog(folder, time.time)
    try:
        while True:
            log.append(entry(1))
    except R4Error as error:
        _say(f"{error.code} {error.message}")
    try:
        log.append(entry(1))
    except R4Error as error:
        _say(f"{error.code} {error.message}")


def _spend(folder: Path, limit: int, count: int) -> None:
    budget = RevealBudget(folder, OWNER, time.time, per_connection=count, per_hour=limit)
    _say(str(sum(budget.spend().within for _ in range(count))))


def _show(folder: Path, number: int, count: int) -> None:
    ledger = ExposureLedger(folder, OWNER, time.time)
    for _ in range(count):
        ledger.shown(place(number))
        ledger.shown(place(0))


def _reveal(folder: Path) -> None:
    budget = RevealBudget(folder / "state", OWNER, time.time, per_connection=KEEP_ALL, per_hour=MAX_PER_HOUR)
    ledger = ExposureLedger(folder / "state", OWNER, time.time)
    while True:
        budget.charge()
        ledger.shown(place(0))
        _say("shown")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    command, folder, *rest = arguments
    commands: dict[str, Callable[..., None]] = {
        "audit": _append,
        "forever": _forever,
        "limited": _limited,
        "spend": _spend,
        "show": _show,
        "reveal": _reveal,
    }
    commands[command](Path(folder), *map(int, rest))


if __name__ == "__main__":
    main(sys.argv[1:])
