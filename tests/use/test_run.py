"""``r4-mcp run``: a program gets values by its environment, and a person's screen shows references."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Final

import pytest

from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from r4_mcp.sinks.masking import mark
from tests.cli.running import COMMAND, SECONDS, Ended, run, run_at_terminal, run_here
from tests.doors import World, local_environment, write_private

from .looking import require_absent
from .services import PASSWORD, PIN, SEED, TOKEN, USER

FIELDS: Final = {
    "Token": (FieldType.SECRET, TOKEN),
    "Password": (FieldType.PASSWORD, PASSWORD),
    "User": (FieldType.TEXT, USER),
    "Pin": (FieldType.SECRET, PIN),
    "Code": (FieldType.TOTP, SEED),
}
SHOW: Final = "import os, sys; print(os.environ['T']); print(os.environ['T'].encode().hex(), file=sys.stderr); sys.exit(7)"


def ref(field: str) -> str:
    """Return the reference of a field."""
    return f"r4://Quay/Crane/{field}"


@pytest.fixture
def quay(world: World, request: pytest.FixtureRequest) -> World:
    """Make a vault with an item; its class is INTERNAL unless the test says otherwise."""
    operator = world.seeded.operator
    vault_id = operator.create_vault("Quay", getattr(request, "param", Classification.INTERNAL))
    operator.grant(world.seeded.credentials.agent_id, vault_id, Level.READ)
    drafts = [FieldDraft(name, kind, world.known.text(value, SecretKind.FIELD)) for name, (kind, value) in FIELDS.items()]
    operator.create_item(vault_id, "Crane", ItemType.CUSTOM, [], drafts)
    return world


def python(world: World, code: str, *options: str, stdin: bytes = b"", **environment: str) -> Ended:
    """Run a Python program through the command."""
    return run("run", *options, "--", sys.executable, "-c", code, environment={**world.environment, **environment}, stdin=stdin)


def test_a_program_gets_the_value_and_the_screen_a_reference(quay: World) -> None:
    """On stdout and stderr, in any spelling; the exit status is the program's."""
    ended = python(quay, SHOW, "--env", f"T={ref('Token')}")
    assert (ended.status, ended.out) == (7, mark(ref("Token")) + "\n")
    assert mark(ref("Token")) in ended.err
    require_absent(ended.out + ended.err, "what was printed")


def test_the_value_is_whole_and_several_are_told_apart(quay: World) -> None:
    """The program compares them byte by byte."""
    code = f"import os; print(os.environ['A'] == {TOKEN!r}, os.environ['B'] == {PASSWORD!r}, len(os.environ['C']))"
    ended = python(
        quay, code, "--unmasked", *(f"--env={pair}" for pair in (f"A={ref('Token')}", f"B={ref('Password')}", f"C={ref('Code')}"))
    )
    assert (ended.status, ended.out) == (0, "True True 6\n")


def test_the_program_reads_our_input_and_not_our_settings(quay: World) -> None:
    """The rest of the environment is passed on; what would make it act as this agent is not."""
    code = "import os, sys; print(sys.stdin.read(), sorted(n for n in os.environ if n.startswith('R4_')), os.environ['KEPT'])"
    ended = python(quay, code, "--env", f"T={ref('Token')}", stdin=b"typed", KEPT="kept")
    assert ended.out == "typed [] kept\n"


def test_a_signal_is_told_as_shells_tell_it(quay: World) -> None:
    """128 and its number."""
    ended = python(quay, "import os; os.kill(os.getpid(), 9)", "--env", f"T={ref('Token')}")
    assert ended.status == 137


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "at least one --env"),
        (("--env", "T"), "NAME=r4://"),
        (("--env", "9=r4://a/b/c"), "begins with no digit"),
        (("--env", "LD_PRELOAD=r4://a/b/c"), "LD_PRELOAD changes how programs load"),
        (("--env", "python_path=r4://a/b/c"), "changes how programs load"),
        (("--env", "T=r4://Quay/Crane/Token", "--env", "T=r4://Quay/Crane/User"), "sets T twice"),
        (("--env", "T=r4://Quay/Crane/Nothing"), "No field of that name"),
        (("--env", "T=r4://Quay/Crane/Pin"), "too short to be masked"),
        (("--env", "T=r4://Quay/Crane/Code"), "too short to be masked"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_starts(options: tuple[str, ...], told: str, quay: World) -> None:
    """Each in one sentence, and no value in it."""
    ended = python(quay, "print('started')", *options)
    assert (ended.status, ended.out) == (1, "")
    assert told in " ".join(ended.err.split())
    require_absent(ended.err, "an error")


def test_a_program_that_is_not_there_is_refused(quay: World) -> None:
    """Before a vault is asked."""
    ended = run("run", "--env", f"T={ref('Token')}", "--", "no-such-program-here", environment=quay.environment)
    assert ended.status == 1
    assert "not found" in ended.err
    assert quay.tap.lines() == []


@pytest.mark.parametrize("quay", [Classification.CONFIDENTIAL], indirect=True)
def test_where_the_policy_asks_a_person_is_asked(quay: World) -> None:
    """At a terminal, or by ``--yes``; nobody to ask is a refusal."""
    options = ("--env", f"T={ref('Token')}")
    alone = python(quay, "print('started')", *options)
    assert alone.status == 1
    assert "--yes" in alone.err
    assert python(quay, "print('started')", *options, "--yes").out == "started\n"
    argv = ("run", *options, "--", sys.executable, "-c", "print('started')")
    answered = run_at_terminal(*argv, environment=quay.environment, typed=(("[y/N]", "n\n"),))
    assert "started" not in answered.out.replace("nothing was started", "").replace("Nothing was started", "")


def test_what_the_policy_denies_is_denied_and_every_use_is_noted(quay: World) -> None:
    """No option lifts a deny; the audit log and the ledger have every run."""
    assert python(quay, "print('started')", "--env", f"T={ref('Token')}", "--env", f"U={ref('User')}").status == 0
    write_private(quay.home / "policy.toml", '[[rule]]\naction = "use"\ndecision = "deny"\nsink = "run"\n')
    denied = python(quay, "print('started')", "--env", f"T={ref('Token')}", "--yes")
    assert (denied.status, denied.out) == (1, "")
    lines = [json.loads(line) for line in (quay.home / "audit" / "audit.jsonl").read_text().splitlines()]
    assert [(line["tool"], line["outcome"]) for line in lines] == [("cli_run", "ok"), ("cli_run", "ok"), ("cli_run", "denied")]
    ledger = json.loads(run("exposure", "--json", environment=quay.environment).out)
    assert {(row["how"], row["count"]) for row in ledger["used"]} == {("run", 1)}
    assert len(ledger["used"]) == 2


def test_ctrl_c_ends_the_program_and_its_group(quay: World) -> None:
    """The status says so, and no process is left."""
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [*COMMAND, "run", "--env", f"T={ref('Token')}", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, env=dict(quay.environment), stdout=subprocess.PIPE, start_new_session=True) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_it_works_with_the_embedded_vault(world: World) -> None:
    """Filled by ``put``, used by ``run``."""
    environment = local_environment(world)
    put = run_here("put", "--local", "r4://Work/Crane/token", environment=environment, stdin=TOKEN.encode())
    assert put.status == 0, put.err
    program = ("--", sys.executable, "-c", SHOW)
    ended = run("run", "--local", "--env", "T=r4://Work/Crane/token", *program, environment=environment)
    assert (ended.status, ended.out) == (7, mark("r4://Work/Crane/token") + "\n")
