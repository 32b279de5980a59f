"""A program that is given secrets by its environment or its standard input, and watched until all of it is gone.

What this file does not do: decide which programs may run. There is no shell, and nothing here ever puts a value into an argument.

Rules:
1. The program is an absolute path; the environment is what the caller built, and nothing of this process's own.
2. The program leads a session of its own. When it ends, or its deadline passes, its whole group is killed: SIGTERM and a moment
   for a deadline, SIGKILL for what is left. Who leaves the group, as daemons do, escapes; but not with our pipes.
3. The group is killed before its leader is reaped: only then can the number of the group not belong to others by now.
4. Output goes through a masking ``Output``, or nowhere. What came before a deadline or a kill may end in half a value, and is
   told to be cut; also where only a child was killed, after a moment to come to its end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

import anyio

from r4_mcp.errors import InvalidArgumentError, ProgramError
from r4_mcp.secret import Secret
from r4_mcp.sinks.capture import Output
from r4_mcp.sinks.environment import check_name
from r4_mcp.sinks.placeholders import refuse_placeholders

SMALL_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"})
"""What every program gets, unless the operator says otherwise."""

DEADLINE_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 2.0
"""Between SIGTERM and SIGKILL at a deadline."""
SETTLE_SECONDS: Final = 0.25
"""For output to come to its end once the program did; who still writes then is killed, and its output told to be cut."""
DRAIN_SECONDS: Final = 1.0
"""For output that is still in the pipes once the group is gone; who escaped with a pipe is not waited for any longer."""
REAP_SECONDS: Final = 5.0
"""For a killed program to be gone."""
_POLL_SECONDS: Final = 0.02
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Args:
        argv: The program by its absolute path, and its arguments.
        folder: Where it works; an absolute path.
        secrets: Values by the names of environment variables.
        stdin: What it reads; without it, nothing.
        environment: The rest of its environment, by the operator's choice.
        seconds: Its deadline.
        inherits_stdin: Whether it reads what this process would read, where ``stdin`` is not given.
    """

    argv: tuple[str, ...]
    folder: Path
    secrets: Mapping[str, Secret[str]] = field(default_factory=dict)
    stdin: Secret[str] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: SMALL_ENVIRONMENT)
    seconds: float = DEADLINE_SECONDS
    inherits_stdin: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended.

    Args:
        exit_code: What it returned; None where a signal ended it.
        signal: The number of that signal.
        is_late: Whether its deadline passed first.
    """

    exit_code: int | None
    signal: int | None
    is_late: bool


async def run(command: Command, stdout: Output | None = None, stderr: Output | None = None) -> Ending:
    """Run a program until it and its group are gone.

    Args:
        command: What to run.
        stdout: Takes its standard output; without it, nobody sees any.
        stderr: The same for its standard error.

    Raises:
        InvalidArgumentError: An argument, a name or a value that can't be passed on; nothing was started.
        PlaceholderError: A placeholder in an argument; nothing was started.
        ProgramError: It can't be started; or it became another user's, and could not be ended.
    """
    environment = _environment(command)
    stdin = None if command.stdin is None else _octets(command.stdin.reveal())  # reveal: seen by the program's input only
    process = _start(command, environment, stdout, stderr)
    watch = _watch(process)
    try:
        is_late, at_end = await _attend(process, watch, command.seconds, stdin, {1: stdout, 2: stderr})
    finally:
        # Also where this task is cancelled: nothing of the program outlives the call (rules 2 and 3).
        _kill(process, signal.SIGKILL)
        with anyio.move_on_after(REAP_SECONDS, shield=True):
            await _ended(process, watch)
        code = process.poll()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if watch is not None:
            os.close(watch)
    if code is None:
        raise ProgramError("the program became another user's and could not be ended; it still runs")
    for number, output in ((1, stdout), (2, stderr)):
        if output is not None:
            output.end(is_cut=is_late or code < 0 or number not in at_end)
    return Ending(code if code >= 0 else None, -code if code < 0 else None, is_late)


async def _attend(
    process: subprocess.Popen[bytes], watch: int | None, seconds: float, stdin: bytes | None, outputs: Mapping[int, Output | None]
) -> tuple[bool, frozenset[int]]:
    """Feed, read and wait until the group is killed; return whether it was late, and which outputs came to their end before."""
    at_end: set[int] = set()
    settled = anyio.Event()
    watched = {number for number, output in outputs.items() if output is not None}

    async def read(number: int, pipe: IO[bytes], output: Output) -> None:
        while True:
            await anyio.wait_readable(pipe)
            chunk = os.read(pipe.fileno(), _CHUNK)
            if not chunk:
                at_end.add(number)
                if at_end == watched:
                    settled.set()
                return
            output.feed(chunk)

    async with anyio.create_task_group() as tasks:
        if process.stdin is not None and stdin is not None:
            tasks.start_soon(_write, process.stdin, stdin)
        async with anyio.create_task_group() as readers:
            for number, pipe in ((1, process.stdout), (2, process.stderr)):
                output = outputs[number]
                if pipe is not None and output is not None:
                    os.set_blocking(pipe.fileno(), False)
                    readers.start_soon(read, number, pipe, output)
            with anyio.move_on_after(seconds) as limit:
                await _ended(process, watch)
            if limit.cancelled_caught:
                _kill(process, signal.SIGTERM)
                with anyio.move_on_after(GRACE_SECONDS):
                    await _ended(process, watch)
            if watched:
                with anyio.move_on_after(SETTLE_SECONDS):
                    await settled.wait()
            # What a killed program had not written yet is missing, perhaps the end of a value.
            whole = frozenset(at_end)
            _kill(process, signal.SIGKILL)
            readers.cancel_scope.deadline = anyio.current_time() + DRAIN_SECONDS
        tasks.cancel_scope.cancel()
    return limit.cancelled_caught, whole


def _environment(command: Command) -> dict[bytes, bytes]:
    for text in command.argv:
        refuse_placeholders(text, "an argument")
        _octets(text)
    if not command.argv or not Path(command.argv[0]).is_absolute():
        raise InvalidArgumentError("the program is not an absolute path")
    if not command.folder.is_absolute():
        raise InvalidArgumentError("the working folder is not an absolute path")
    environment = {_octets(name): _octets(value) for name, value in command.environment.items()}
    for name, secret in command.secrets.items():
        check_name(name)
        # reveal: seen by the program that is started, and by whoever may look into it: its own user and root.
        value = _octets(secret.reveal())
        if environment.setdefault(_octets(name), value) is not value:
            raise InvalidArgumentError("an environment name is already set by the operator")
    return environment


def _octets(text: str) -> bytes:
    with suppress(UnicodeEncodeError):
        if "\0" not in text:
            return text.encode("utf-8")
    # Not where it was caught: the codec's error holds the text, and would be this one's context.
    raise InvalidArgumentError("a NUL or half a surrogate pair can't be handed to a program")


def _start(
    command: Command, environment: Mapping[bytes, bytes], stdout: Output | None, stderr: Output | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - no shell; what may run is decided above this room
            [_octets(text) for text in command.argv],
            cwd=command.folder,
            env=environment,
            stdin=subprocess.PIPE if command.stdin is not None else None if command.inherits_stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if stdout is None else subprocess.PIPE,
            stderr=subprocess.DEVNULL if stderr is None else subprocess.PIPE,
            # The default would buffer what is read around it.
            bufsize=0,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        raise ProgramError(f"the program can't be started: {reason}") from None


def _watch(process: subprocess.Popen[bytes]) -> int | None:
    """Return a descriptor that becomes readable when the program ends; it is not reaped by that (rule 3)."""
    if sys.platform == "linux":
        # Not in every sandbox.
        with suppress(OSError):
            return os.pidfd_open(process.pid)
    return None


async def _ended(process: subprocess.Popen[bytes], watch: int | None) -> None:
    if watch is not None:
        await anyio.wait_readable(watch)
        return
    # This reaps the leader, so that the kill that follows is only as good as the moment between is short.
    while process.poll() is None:  # noqa: ASYNC110 - the system tells of it in no other way that asyncio could wait for
        await anyio.sleep(_POLL_SECONDS)


def _kill(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Nobody is left; or, on macOS, only a leader that waits to be reaped; or a program that became another user's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _write(pipe: IO[bytes], content: bytes) -> None:
    os.set_blocking(pipe.fileno(), False)
    rest = memoryview(content)
    # A program need not read its input to the end.
    with suppress(BrokenPipeError):
        while rest:
            await anyio.wait_writable(pipe)
            rest = rest[os.write(pipe.fileno(), rest[:_CHUNK]) :]
    pipe.close()
