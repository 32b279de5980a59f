"""Runs ``r4-mcp init`` again and again, killed before one more change of the disk each time, until it lives to its end.

What this file does not do: judge; ``test_init_crashes`` does. It is started as a process, since it forks.

Usage: python -m tests.cli.killed_init ROOT BASE_URL CONFIG; makes ROOT/0, ROOT/1, … and prints how many were killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

# Loaded before the fork, so that each child pays for its own work only.
from r4_mcp.cli import init as _init  # noqa: F401
from r4_mcp.cli import main

_CHANGES: Final = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOST: Final = 200


def killed_before(change: int, home: Path) -> None:
    """Kill this process before its change of that number below a folder (0 is the first)."""
    left = change

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        named = arguments[0] if arguments else None
        writes = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITING)
        if (event in _CHANGES or writes) and isinstance(named, (str, Path)) and str(named).startswith(f"{home}/"):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def play(root: Path, base_url: str, config: str) -> int:
    """Make one home after the other; returns how many makers were killed."""
    for change in range(MOST):
        home = root / str(change)
        home.mkdir(mode=0o700)
        child = os.fork()
        if child == 0:
            os.environ.clear()
            os.environ.update(R4_HOME=str(home), R4_BASE_URL=base_url)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            killed_before(change, home)
            os._exit(main(["init", "--profile", "work", "--config", config]))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return change
    raise AssertionError


if __name__ == "__main__":
    sys.stdout.write(str(play(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
