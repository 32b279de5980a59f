"""The program as a process: plain, or at a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 60.0
COMMAND: Final = (sys.executable, "-m", "r4_mcp")


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str


def run(*arguments: str, environment: Mapping[str, str], stdin: bytes = b"") -> Ended:
    """Run the program to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, env=dict(environment), capture_output=True, timeout=SECONDS, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_at_terminal(*arguments: str, environment: Mapping[str, str], typed: tuple[str, str] | None = None) -> Ended:
    """Run the program at a pseudo-terminal; ``typed`` is what to wait for and what to type then."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True
    ) as process:
        os.close(slave)
        seen = b""
        waiting = typed
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                chunk = os.read(master, 65_536)
            except OSError:
                break  # Linux says so when the last holder of the terminal has gone.
            if not chunk:
                break
            seen += chunk
            if waiting is not None and waiting[0].encode() in seen:
                os.write(master, waiting[1].encode())
                waiting = None
        else:
            process.kill()
        process.wait(SECONDS)
    os.close(master)
    return Ended(process.returncode, seen.decode(), "")
