"""Programs with secrets: real ones, friendly and not, and nothing of them left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import pytest

from r4_mcp.errors import InvalidArgumentError, PlaceholderError, ProgramError
from r4_mcp.sinks import process
from r4_mcp.sinks.capture import Capture, Forward
from r4_mcp.sinks.masking import Masker, mark
from r4_mcp.sinks.process import GRACE_SECONDS, SMALL_ENVIRONMENT, Command, Ending, run

from .services import SLOT
from .values import PLAIN, REFERENCE, VALUE, secret

MARK: Final = mark(REFERENCE)
GONE_SECONDS: Final = 10.0


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """Return an argv that runs some Python."""
    return (sys.executable, "-I", "-c", code, *arguments)


def shell(script: str) -> tuple[str, ...]:
    """Return an argv that runs a shell, which a test may and the sink does not."""
    return ("/bin/sh", "-c", script)


def capture(value: str = PLAIN, cap: int = 65_536) -> Capture:
    """Return an output that masks a value."""
    return Capture(Masker({REFERENCE: secret(value)}), cap)


async def output_of(argv: tuple[str, ...], value: str = PLAIN) -> str:
    """Run a program with a value in ``TOKEN``; return its masked standard output."""
    out, err = capture(value), capture(value)
    ending = await run(Command(argv, Path("/"), {"TOKEN": secret(value)}), out, err)
    assert (ending, err.text) == (Ending(0, None, is_late=False), "")
    return out.text


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something of the system that no event tells of, under a limit."""
    with anyio.fail_after(GONE_SECONDS):
        while not condition():  # noqa: ASYNC110 - as the docstring says
            await anyio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Say whether a process is gone, or waits to be reaped by whoever inherited it."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def descriptors() -> list[str]:
    """Return the open descriptors of this process, with the one that this look needs."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def arguments(pid: int) -> str:
    """Return the arguments of a process, as any user can read them."""
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_an_environment_dump_shows_no_value() -> None:
    """The program has the value, and exactly the environment that was built for it."""
    os.environ["R4_LEFT_OVER"] = "of this process"
    try:
        out = await output_of(("/usr/bin/env",))
    finally:
        del os.environ["R4_LEFT_OVER"]
    assert set(out.splitlines()) == {*(f"{name}={value}" for name, value in SMALL_ENVIRONMENT.items()), f"TOKEN={MARK}"}


async def test_the_program_reads_the_value_itself() -> None:
    """Masked is what comes back, not what goes in."""
    check = python("import hashlib, os; print(hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest())")
    digest = await output_of(python("import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())", VALUE))
    assert await output_of(check, VALUE) == digest


@pytest.mark.parametrize(
    "script",
    [
        'printf %s "$TOKEN" | base64',
        'echo "$TOKEN" | base64 -w0',
        'printf %s "$TOKEN" | base64 | tr -d =',
        'printf %s "$TOKEN" | base32',
        "set | grep TOKEN",
        "export -p | grep TOKEN",
        "cat /proc/self/environ | tr '\\0' '\\n' | grep TOKEN",
        'printf "%s" "$TOKEN" | rev',
        'printf "%s" "$TOKEN" | od -An -v -tx1 | tr -d " \\n"',
    ],
)
async def test_encoded_output_is_masked(script: str) -> None:
    """By the tools that people use."""
    out = await output_of(shell(script))
    assert MARK in out
    assert len(out.replace("TOKEN", "").replace("export", "").replace(MARK, "").strip(" \n='\"")) < 6


async def test_a_difficult_value_is_masked_as_programs_print_it() -> None:
    """JSON and literals of Python, shells' own quoting."""
    code = "import json, os, shlex; v = os.environ['TOKEN']; print(v, json.dumps(v), repr(v), shlex.quote(v), ascii(v), sep='|')"
    out = await output_of(python(code), VALUE)
    assert out.count(MARK) == 5
    assert await output_of(shell("export -p | grep TOKEN"), VALUE) == f"export TOKEN='{MARK}'\n"


async def test_output_byte_by_byte_is_masked() -> None:
    """Each byte in a write of its own."""
    out = await output_of(python("import os\nfor b in os.environb[b'TOKEN']: os.write(1, bytes([b]))"))
    assert out == MARK


async def test_the_standard_input_carries_a_value() -> None:
    """Larger than a pipe, and masked where it comes back."""
    value = "line-of-a-long-value/" * 10_000
    out = capture(value, 1_000_000)
    ending = await run(Command(("/bin/cat",), Path("/"), stdin=secret(value)), out)
    assert ending.exit_code == 0
    assert (out.octets, out.text) == (len(value), MARK)


async def test_a_program_need_not_read_its_input() -> None:
    """Nor wait for it."""
    assert await run(Command(("/bin/true",), Path("/"), stdin=secret("x" * 1_000_000))) == Ending(0, None, is_late=False)


async def test_without_an_input_there_is_nothing_to_read() -> None:
    """Not our own standard input, which is the protocol's."""
    assert await output_of(python("import sys; print(repr(sys.stdin.read()))")) == "''\n"


async def test_standard_error_is_kept_apart_and_masked() -> None:
    """Each in its own text."""
    out, err = capture(), capture()
    code = "import os, sys; print('out'); print('err', os.environ['TOKEN'], file=sys.stderr); sys.exit(3)"
    ending = await run(Command(python(code), Path("/"), {"TOKEN": secret(PLAIN)}), out, err)
    assert (ending, out.text, err.text) == (Ending(3, None, is_late=False), "out\n", f"err {MARK}\n")


async def test_the_exit_code_alone() -> None:
    """Without an output, nobody sees any; the program can still write."""
    code = "import os, sys; os.write(1, b'x' * 1000000); sys.exit(7 if os.environ['TOKEN'] == '1234' else 1)"
    assert await run(Command(python(code), Path("/"), {"TOKEN": secret("1234")})) == Ending(7, None, is_late=False)


async def test_a_hundred_megabytes_of_output() -> None:
    """Counted to the end, kept to the cap, with a value across the cap's edge left out or whole."""
    code = "import os\nb = (os.environ['TOKEN'] + '.') * 50000\nfor _ in range(87): print(b, end='')"
    out = capture(cap=100_000)
    started = time.monotonic()
    ending = await run(Command(python(code), Path("/"), {"TOKEN": secret(PLAIN)}), out)
    assert ending.exit_code == 0
    assert out.octets == 87 * 50_000 * (len(PLAIN) + 1) > 100_000_000
    assert out.is_cut
    assert 99_990 < len(out.text.encode()) <= 100_000
    assert PLAIN not in out.text
    assert time.monotonic() - started < 60


async def test_a_person_sees_output_as_it_comes() -> None:
    """Masked, without a cap, in order."""
    seen: list[bytes] = []
    code = "import os, time\nfor n in range(3): os.write(1, b'%d ' % n + os.environb[b'TOKEN'] + b'\\n'); time.sleep(0.05)"
    forward = Forward(Masker({REFERENCE: secret(PLAIN)}), seen.append)
    await run(Command(python(code), Path("/"), {"TOKEN": secret(PLAIN)}), forward)
    assert b"".join(seen).decode() == "".join(f"{number} {MARK}\n" for number in range(3))
    assert len(seen) >= 3


@pytest.mark.parametrize("ignores", [False, True])
async def test_a_deadline_ends_the_program(*, ignores: bool) -> None:
    """With SIGTERM where it listens, with SIGKILL where it does not; what it said before is kept, but for half a value."""
    handler = "signal.SIG_IGN" if ignores else "lambda *_: sys.exit(5)"
    code = f"""import os, signal, sys, time
signal.signal(signal.SIGTERM, {handler})
os.write(1, b"ready " + os.environb[b"TOKEN"][:-1])
while True: time.sleep(0.01)"""
    out = capture()
    started = time.monotonic()
    ending = await run(Command(python(code), Path("/"), {"TOKEN": secret(PLAIN)}, seconds=1), out)
    assert ending == (Ending(None, signal.SIGKILL, is_late=True) if ignores else Ending(5, None, is_late=True))
    assert (out.text, out.is_cut) == ("ready ", True)
    assert time.monotonic() - started < 1 + GRACE_SECONDS + GONE_SECONDS


async def test_a_fork_that_outlives_its_parent_is_killed(tmp_path: Path) -> None:
    """It ignores signals, holds the pipes, and would have run for a minute."""
    code = f"""import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    os.write(1, b"child\\n")
    time.sleep(60)
while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
os.write(1, b"parent\\n")"""
    started = time.monotonic()
    assert "parent\n" in await output_of(python(code))
    await until(lambda: is_gone(int((tmp_path / "pid").read_text())))
    assert time.monotonic() - started < GONE_SECONDS


async def test_who_leaves_the_group_does_not_keep_us(tmp_path: Path) -> None:
    """A daemon escapes, as the module says; but its hold on the pipe is not waited for, and the output is told to be cut."""
    code = f"""import os, time
if os.fork() == 0:
    os.setsid()
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    time.sleep(60)
while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
print("done")"""
    out = capture()
    started = time.monotonic()
    ending = await run(Command(python(code), Path("/")), out)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (ending.exit_code, out.text, out.is_cut) == (0, "done\n", True)
    assert time.monotonic() - started < GONE_SECONDS


async def test_a_cancelled_call_leaves_nothing(tmp_path: Path) -> None:
    """The client went away in the middle."""
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(run(Command(python(code), Path("/")), capture()))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(int((tmp_path / "pid").read_text()))


async def test_a_signal_is_told() -> None:
    """A program that kills itself."""
    assert await run(Command(shell("kill -9 $$"), Path("/"))) == Ending(None, signal.SIGKILL, is_late=False)


async def test_twenty_at_once() -> None:
    """Each has its own output."""
    code = "import sys, time, os; time.sleep(0.2); print(sys.argv[1], os.environ['TOKEN'])"
    outs = await asyncio.gather(*(output_of(python(code, str(number))) for number in range(20)))
    assert outs == [f"{number} {MARK}\n" for number in range(20)]


async def test_no_descriptor_is_inherited_or_left(tmp_path: Path) -> None:
    """The program has its three; this process has as many as before."""
    with (tmp_path / "open").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        await output_of(("/bin/true",))
        before = descriptors()
        found = await output_of(python("import json, os; print(json.dumps(sorted(os.listdir('/proc/self/fd'))))"))
        assert descriptors() == before
    # The fourth is the listing's own.
    assert json.loads(found) == ["0", "1", "2", "3"]


async def test_without_a_process_descriptor_the_program_is_waited_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems that have none, and in sandboxes that forbid it."""

    def forbidden(pid: int) -> int:
        raise PermissionError(pid)

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert await output_of(("/bin/echo", "hello")) == "hello\n"
    assert (await run(Command(("/bin/sleep", "60"), Path("/"), seconds=0.2))).signal == signal.SIGTERM


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
async def test_a_program_that_became_another_user_s_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be killed, as after setuid; that is said, within the time for it."""

    def forbidden(group: int, number: int) -> None:
        raise PermissionError(group, number)

    monkeypatch.setattr(os, "killpg", forbidden)
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(process, "REAP_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(ProgramError, match="still runs"):
        await run(Command(("/bin/sleep", "3"), Path("/"), seconds=0.1), capture())
    assert time.monotonic() - started < 3


async def test_the_working_folder_is_the_one_that_was_told() -> None:
    """And not this process's."""
    out = capture()
    await run(Command(("/bin/pwd",), Path("/etc")), out)
    assert out.text == "/etc\n"


@pytest.mark.parametrize(
    "argv",
    [(), ("env",), ("./env",), ("../bin/env",), ("",), ("/usr/bin/env\0",), ("/bin/echo", "a\0b"), ("/bin/echo", "\ud800")],
)
async def test_an_argv_that_can_not_be_passed_on_is_refused(argv: tuple[str, ...]) -> None:
    """Nothing is looked up on a path."""
    with pytest.raises(InvalidArgumentError):
        await run(Command(argv, Path("/")))


async def test_a_placeholder_in_an_argument_is_refused() -> None:
    """Arguments are seen by everybody on the machine."""
    with pytest.raises(PlaceholderError):
        await run(Command(("/bin/echo", f"--token={SLOT}"), Path("/")))


@pytest.mark.parametrize("value", ["nul\0inside", "\ud800" * 8])
async def test_a_value_that_can_not_be_passed_on_is_refused(value: str) -> None:
    """In the environment and on the input alike; and it is not quoted."""
    for command in (
        Command(("/bin/true",), Path("/"), {"TOKEN": secret(value)}),
        Command(("/bin/true",), Path("/"), stdin=secret(value)),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await run(command)
        assert value not in caught.value.message
        assert caught.value.__context__ is None


async def test_a_name_that_the_operator_has_set_is_not_set_again() -> None:
    """Whoever reads the policy reads what the program gets."""
    with pytest.raises(InvalidArgumentError):
        await run(Command(("/bin/true",), Path("/"), {"LANG": secret(PLAIN)}))


@pytest.mark.parametrize(
    ("argv", "folder"),
    [(("/nowhere/program",), "/"), (("/etc/hostname",), "/"), (("/tmp",), "/"), (("/bin/true",), "/nowhere")],  # noqa: S108
)
async def test_a_program_that_can_not_be_started(argv: tuple[str, ...], folder: str) -> None:
    """One sentence, without the environment that it would have had."""
    with pytest.raises(ProgramError) as caught:
        await run(Command(argv, Path(folder), {"TOKEN": secret(PLAIN)}), capture())
    assert caught.value.__cause__ is None
    assert PLAIN not in caught.value.message


async def test_a_relative_folder_is_refused() -> None:
    """It would depend on where this process was started."""
    with pytest.raises(InvalidArgumentError):
        await run(Command(("/bin/true",), Path("here")))


async def test_no_value_stands_in_an_argument(tmp_path: Path) -> None:
    """While the program runs, other users can read its arguments, and find none."""
    ready = tmp_path / "pid"
    code = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(run(Command(python(code), Path("/"), {"TOKEN": secret(PLAIN)}, stdin=secret(PLAIN))))
    await until(lambda: ready.exists() and ready.read_text() != "")
    listed = arguments(int(ready.read_text()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "time.sleep" in listed
    assert PLAIN not in listed
