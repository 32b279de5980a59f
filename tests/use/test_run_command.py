"""``run_command`` through the door: programs get values, the model sees none, and what ends a program ends all of it."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Final

import anyio
import pytest

from r4_mcp.policy.admission import MAX_PROGRAMS
from r4_mcp.sinks.capture import MAX_CAPTURED
from r4_mcp.sinks.masking import mark
from r4_mcp.sinks.process import GRACE_SECONDS, SMALL_ENVIRONMENT
from tests.doors import CALL_SECONDS, ERAS, Era, World, in_memory, subprocess
from tests.sinks.test_process import GONE_SECONDS, is_gone, until
from tests.tools.schemas import check_result

from .commands import Quay, quay, ref
from .looking import require_absent, require_nowhere
from .services import PASSWORD, PIN, TOKEN

MARK: Final = mark(ref("Token"))


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Take every log line, of libraries only their warnings."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, "r4_mcp")


@pytest.fixture
def there(world: World, tmp_path: Path) -> Quay:
    """Make the vault; tests list what they run."""
    return quay(world, tmp_path)


@pytest.mark.parametrize("era", ERAS)
async def test_a_program_gets_values_that_the_model_does_not_see(era: Era, there: Quay, caplog: pytest.LogCaptureFixture) -> None:
    """By environment and input at once, whole; used and not shown; in the audit log field by field, with the command's name."""
    right = f"[os.environ['T'], os.environ['U'], sys.stdin.read()] == {[TOKEN, TOKEN, PASSWORD]!r}"
    argv = there.program(f"print(os.environ['T'], {right}); print(os.getcwd(), file=sys.stderr); sys.exit(7)")
    there.allow(there.template(argv, env=["T", "U"], folder="/etc"))
    async with in_memory(there.world.environment, era) as door:
        call = {"argv": argv, "env": {"T": ref("Token"), "U": ref("Token")}, "stdin": ref("Password")}
        answer = await door.ok("run_command", **call)
        check_result("run_command", answer)
        assert answer == {
            "exit_code": 7,
            "signal": None,
            "late": False,
            "stdout": f"{MARK} True\n",
            "stderr": "/etc\n",
            "shown": "whole",
        }
        ledger = await door.ok("exposure")
        assert [(row["how"], row["count"]) for row in ledger["used"]] == [("run_command", 1)] * 2
        assert (ledger["shown"], ledger["to_rotate"]) == ([], [])
        require_nowhere(there.world, door, caplog)
    lines = [json.loads(line) for line in (there.world.home / "audit" / "audit.jsonl").read_text().splitlines()]
    uses = [(line["outcome"], line["item"], line["rule"]) for line in lines if line["tool"] == "run_command"]
    assert uses == [("ok", there.item_id, "crane (default: INTERNAL)")] * 2


async def test_an_environment_dump_is_small_and_masked(there: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly what was built for it, and nothing of this process."""
    monkeypatch.setenv("R4_LEFT_OVER", "of this process")
    there.allow(there.template(["/usr/bin/env"]))
    async with in_memory(there.world.environment) as door:
        answer = await door.ok("run_command", argv=["/usr/bin/env"], env={"T": ref("Token")})
    assert set(answer["stdout"].splitlines()) == {*(f"{name}={value}" for name, value in SMALL_ENVIRONMENT.items()), f"T={MARK}"}


async def test_encoded_output_is_masked(there: Quay, caplog: pytest.LogCaptureFixture) -> None:
    """On both streams, in what programs make of a value without intent; a terminal's control characters are shown escaped."""
    argv = there.program(
        "import base64, json, urllib.parse\n"
        "value = os.environ['T']; raw = value.encode()\n"
        "forms = [value, raw.hex(), base64.b64encode(raw).decode(), base64.b64encode(b'Basic ' + raw).decode(), repr(value)]\n"
        "forms += [json.dumps(value), urllib.parse.quote(value), value[::-1]]\n"
        "print('\\x1b[2J', *forms, sep='\\n', flush=True); print(*forms, sep='\\n', file=sys.stderr)\n"
        "for byte in raw: os.write(1, bytes([byte]))"
    )
    there.allow(there.template(argv))
    async with in_memory(there.world.environment) as door:
        for field in ("Token", "Password"):
            answer = await door.ok("run_command", argv=argv, env={"T": ref(field)})
            assert answer["exit_code"] == 0
            assert answer["stdout"].startswith("\\u{1b}[2J\n")
            assert answer["stdout"].count(mark(ref(field))) >= 8
            assert answer["stderr"].count(mark(ref(field))) >= 8
        require_nowhere(there.world, door, caplog)


@pytest.mark.parametrize(
    ("field", "members"), [("Pin", {}), ("Code", {}), ("Token", {"output": "exit_code"})], ids=["short", "code", "by policy"]
)
async def test_what_can_not_be_masked_gives_the_exit_code_alone(
    field: str, members: dict[str, str], there: Quay, caplog: pytest.LogCaptureFixture
) -> None:
    """A value under 8 characters, a one-time code, and where the operator wants no output."""
    argv = there.program("print(os.environ['T']); sys.stderr.write(os.environ['T']); sys.exit(len(os.environ['T']))")
    there.allow(there.template(argv, **members))
    async with in_memory(there.world.environment) as door:
        answer = await door.ok("run_command", argv=argv, env={"T": ref(field)})
        lengths = {"Pin": len(PIN), "Code": 6, "Token": len(TOKEN)}
        assert answer == {
            "exit_code": lengths[field],
            "signal": None,
            "late": False,
            "stdout": "",
            "stderr": "",
            "shown": "withheld",
        }
        require_nowhere(there.world, door, caplog)
        # A second value that could be masked changes nothing.
        there.allow(there.template(argv, env=["T", "U"], **members))
        answer = await door.ok("run_command", argv=argv, env={"T": ref(field), "U": ref("Password")})
        assert answer["shown"] == "withheld"


async def test_a_hundred_megabytes_of_output_are_cut(there: Quay, caplog: pytest.LogCaptureFixture) -> None:
    """The program comes to its end; what is kept is masked, and the answer says that it is a part."""
    argv = there.program("block = (os.environ['T'] + '.') * 50_000\nfor _ in range(100): sys.stdout.write(block)")
    there.allow(there.template(argv))
    assert 100 * 50_000 * (len(TOKEN) + 1) > 100_000_000
    async with in_memory(there.world.environment) as door:
        answer = await door.ok("run_command", argv=argv, env={"T": ref("Token")})
        assert (answer["exit_code"], answer["shown"]) == (0, "cut")
        assert MAX_CAPTURED - 8 <= len(answer["stdout"].encode()) <= MAX_CAPTURED
        require_nowhere(there.world, door, caplog)


@pytest.mark.parametrize(
    ("seconds", "wish"), [(60, 1), (1, None), (1, 60)], ids=["the caller's", "the operator's", "the shorter one"]
)
async def test_a_deadline_ends_a_program_that_ignores_sigterm(seconds: int, wish: int | None, there: Quay) -> None:
    """It is told that it was late, by which signal it ended, and what it had said; not half a value."""
    argv = there.program(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.write(1, b'ready ' + os.environb[b'T'][:-1])\ntime.sleep(60)"
    )
    there.allow(there.template(argv, seconds=seconds))
    started = time.monotonic()
    async with in_memory(there.world.environment) as door:
        answer = await door.ok("run_command", argv=argv, env={"T": ref("Token")}, timeout=wish)
    assert answer == {"exit_code": None, "signal": 9, "late": True, "stdout": "ready ", "stderr": "", "shown": "cut"}
    assert time.monotonic() - started < 1 + GRACE_SECONDS + GONE_SECONDS


async def test_a_fork_that_outlives_its_parent_is_killed(there: Quay) -> None:
    """It ignores signals and holds the pipes, and is gone when the call is answered."""
    child = there.folder / "child"
    argv = there.program(
        "import signal, time\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"    open({str(child)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        f"while not os.path.exists({str(child)!r}): time.sleep(0.01)"
    )
    there.allow(there.template(argv))
    started = time.monotonic()
    async with in_memory(there.world.environment) as door:
        assert (await door.ok("run_command", argv=argv, env={"T": ref("Token")}))["exit_code"] == 0
        await until(lambda: is_gone(int(child.read_text())))
    assert time.monotonic() - started < GONE_SECONDS


async def test_what_a_killed_child_was_writing_is_told_to_be_cut(there: Quay) -> None:
    """The program ends well, and a child of it is killed with half a value written."""
    argv = there.program(
        "import time\n"
        "ready = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.write(1, os.environ['T'][:9].encode()); os.write(ready[1], b'.'); time.sleep(60)\n"
        "os.read(ready[0], 1)"
    )
    there.allow(there.template(argv))
    async with in_memory(there.world.environment) as door:
        answer = await door.ok("run_command", argv=argv, env={"T": ref("Token")})
    assert (answer["exit_code"], answer["stdout"], answer["shown"]) == (0, "", "cut")


async def test_twenty_at_once_run_a_few_at_a_time(there: Quay) -> None:
    """Each has its own answer, and no more than the bound are alive together."""
    running = there.folder / "running"
    running.mkdir()
    argv = there.program(
        f"import time\nmine = os.path.join({str(running)!r}, str(os.getpid())); open(mine, 'w').close()\n"
        "time.sleep(0.2); print(sys.argv[1], len(os.listdir(os.path.dirname(mine))), os.environ['T']); os.unlink(mine)"
    )
    there.allow(there.template([*argv, {"pattern": "[0-9]{1,2}"}]))
    answers: dict[int, str] = {}
    async with in_memory(there.world.environment) as door:

        async def call(number: int) -> None:
            answers[number] = (await door.ok("run_command", argv=[*argv, str(number)], env={"T": ref("Token")}))["stdout"]

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, number)
    parts = {number: answer.split() for number, answer in answers.items()}
    assert {number: (said[0], said[2]) for number, said in parts.items()} == {n: (str(n), MARK) for n in range(20)}
    assert max(int(said[1]) for said in parts.values()) == MAX_PROGRAMS
    assert there.started == 20


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_taken_back_ends_the_program(era: Era, there: Quay) -> None:
    """With its group; the next call is answered."""
    child = there.folder / "child"
    argv = there.program(
        "import time\npid = os.fork()\n"
        f"if pid == 0: open({str(child)!r}, 'w').write(f'{{os.getppid()}} {{os.getpid()}} ')\n"
        "time.sleep(60)"
    )
    there.allow(there.template(argv), there.template(["/bin/true"], name="true"))
    async with in_memory(there.world.environment, era) as door:
        with anyio.fail_after(CALL_SECONDS):
            async with anyio.create_task_group() as tasks:
                call = {"argv": argv, "env": {"T": ref("Token")}}
                tasks.start_soon(door.result, "run_command", call)
                await until(lambda: child.exists() and len(child.read_text().split()) == 2)
                tasks.cancel_scope.cancel()
        for pid in map(int, child.read_text().split()):
            await until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]  # mypy can't infer a lambda with a default
        assert (await door.ok("run_command", argv=["/bin/true"], stdin=ref("Token")))["exit_code"] == 0


@pytest.mark.stdio
async def test_the_real_server_shows_nothing_either(there: Quay, tmp_path: Path) -> None:
    """A subprocess over stdio, as hosts start it: its own input stays its own, and its stderr is looked through."""
    argv = there.program("print(repr(sys.stdin.read()), os.environ['T']); print(os.environ['T'], file=sys.stderr)")
    there.allow(there.template(argv))
    async with subprocess(there.world.environment, stderr=tmp_path / "stderr") as door:
        answer = await door.ok("run_command", argv=argv, env={"T": ref("Token")})
        assert (answer["stdout"], answer["stderr"]) == (f"'' {MARK}\n", f"{MARK}\n")
    require_absent("\n".join(door.raw), "the transcript")
    require_absent((tmp_path / "stderr").read_text(), "stderr")
