"""The program as people run it: as a process, at a terminal of its own, or its entry called in this process."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

from r4_mcp.cli import main

SECONDS: Final = 60.0
COMMAND: Final = (sys.executable, "-m", "r4_mcp")

_AT_TERMINAL: Final = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes stdin's terminal the process's own, so that /dev/tty is it and Ctrl-C is a signal; then becomes the command."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def flat(self) -> str:
        """What was said on stdout, wherever its lines were broken."""
        return " ".join(self.out.split())


def run(*arguments: str, environment: Mapping[str, str], stdin: bytes = b"", pass_fds: tuple[int, ...] = ()) -> Ended:
    """Run the program to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env=dict(environment),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        pass_fds=pass_fds,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: str, environment: Mapping[str, str], stdin: bytes = b"") -> Ended:
    """Run the program's own entry in this process: start-up is most of what a subprocess takes."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, "utf-8", write_through=True)
    outside = mock.patch.dict(os.environ, environment, clear=True)
    piped = mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    with outside, piped, logging_left_alone(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(arguments))
    return Ended(status, raw.getvalue().decode(), err.getvalue())


@contextlib.contextmanager
def logging_left_alone() -> Iterator[None]:
    """Put the process's logging back as it was."""
    loggers = [logging.getLogger(name) for name in ("", "r4_mcp", "httpx", "httpcore", "mcp", "asyncio", "uvicorn")]
    levels, handlers, loud = [logger.level for logger in loggers], list(loggers[0].handlers), logging.raiseExceptions
    try:
        yield
    finally:
        loggers[0].handlers[:] = handlers
        logging.raiseExceptions = loud
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def run_at_terminal(*arguments: str, environment: Mapping[str, str], typed: tuple[tuple[str, str], ...] = ()) -> Ended:
    """Run the program at a pseudo-terminal; ``typed`` as for ``at_terminal``."""
    return at_terminal((*COMMAND, *arguments), environment=environment, typed=typed)


def at_terminal(
    command: Sequence[str], *, environment: Mapping[str, str], typed: tuple[tuple[str, str], ...] = (), folder: Path | None = None
) -> Ended:
    """Run any command at a pseudo-terminal.

    Args:
        command: The command and its arguments.
        environment: The environment.
        typed: What to wait for, and what to type then, in this order.
        folder: Where it runs; by default here.
    """
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _AT_TERMINAL, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    ) as process:
        os.close(slave)
        seen, looked_at = b"", 0
        waiting = list(typed)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            while waiting and (found := seen.find(waiting[0][0].encode(), looked_at)) >= 0:
                prompt, line = waiting.pop(0)
                looked_at = found + len(prompt.encode())
                os.write(master, line.encode())
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                chunk = os.read(master, 65_536)
            except OSError:
                break  # Linux says so when the last holder of the terminal has gone.
            if not chunk:
                break
            seen += chunk
        else:
            process.kill()
        process.wait(SECONDS)
    os.close(master)
    return Ended(process.returncode, seen.decode(), "")
