"""What people see: within 80 columns, without escape codes when piped, and help that shows how."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import wcwidth

from r4_mcp.cli.help import EXIT_STATUS
from r4_mcp.cli.layout import COLUMNS, wrapped
from r4_mcp.cli.parser import build_parser
from tests.doors import World, local_environment

from .profiles import new_agent
from .running import COMMAND, SECONDS, Ended, run, run_at_terminal, run_here

ESCAPE: Final = "\x1b"
README: Final = Path(__file__).parents[2] / "README.md"


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield every command with its parser, the program itself first."""
    yield path, parser
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to look at a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for name, command in action.choices.items():
                yield from commands(command, (*path, name))


ALL: Final = dict(commands(build_parser()))


def fits(ended: Ended) -> None:
    """Check that no line is too wide and that nothing but text was printed."""
    said = ended.out + ended.err
    assert ESCAPE not in said
    assert [line for line in said.splitlines() if wcwidth.width(line) > COLUMNS] == []


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a folder with a short path: a path that is too long for a line stays whole."""
    with tempfile.TemporaryDirectory(prefix="r4-", dir="/tmp") as folder:
        yield Path(folder)


def test_every_screen_fits(calm: World, short: Path) -> None:
    """init, doctor, ls at each level, trust list: real ones, of a real agent."""
    agent = new_agent(calm)
    environment = {"R4_HOME": str(short), "R4_BASE_URL": calm.base_url}
    made = run_here("init", "--profile", "work", "--bits", "2048", environment=environment, stdin=agent.api_key.encode())
    assert made.status == 0, made.err
    fits(made)
    for arguments in (("doctor",), ("ls",), ("ls", "Engineering"), ("ls", "r4://Engineering/GitHub"), ("trust", "list")):
        ended = run_here(*arguments, environment=calm.environment)
        assert ended.status == 0, ended.err
        fits(ended)


@pytest.mark.stdio
def test_the_demos_screen_fits() -> None:
    """All of it but the command's own path, which a host needs whole."""
    ended = run("demo", environment={"PATH": os.environ.get("PATH", "")})
    assert ended.status == 0, ended.out[-2000:]
    fits(Ended(0, re.sub(r'"command": ".*"', "", ended.out), ended.err))
    assert '"--profile"' in ended.out
    assert "R4_CONFIG" not in ended.out


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_of_a_command_fits_and_has_examples(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example begins with a command that there is."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    text = ALL[path].format_help()
    fits(Ended(0, text, ""))
    assert "examples:" in text
    shown = re.findall(r"^  .*?\b(r4-mcp(?: [a-z-]+)*)", text.partition("examples:")[2], re.MULTILINE)
    assert shown
    for example in shown:
        typed = tuple(example.split()[1:])
        assert typed[:1] in ALL, example
        assert typed[: len(path)] == path, example


def test_exit_status_is_in_the_help_and_in_the_readme() -> None:
    """One table, told twice."""
    told = " ".join(ALL[()].format_help().split())
    section = README.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section, re.MULTILINE))
    assert rows == {str(status): meaning for status, meaning in EXIT_STATUS.items()}
    for status, meaning in EXIT_STATUS.items():
        assert f"{status} {meaning}" in told


@pytest.mark.stdio
def test_wrong_usage_is_two_and_does_not_repeat_what_was_typed() -> None:
    """It may be a value; the next step is the command's own help."""
    for arguments in (
        ("canary-zebra",),
        ("completion", "canary-zebra"),
        ("put", "--type", "canary-zebra", "r4://a/b/c"),
        ("emulator", "--port", "canary-zebra"),
        ("ls", "--json=canary-zebra"),
        ("put", "r4://a/b/c", "canary-zebra"),
    ):
        ended = run(*arguments, environment={})
        assert (ended.status, ended.out) == (2, "")
        assert "canary" not in ended.err
        assert "next: `r4-mcp" in ended.err


@pytest.mark.stdio
def test_who_stops_reading_ends_it_without_a_word(world: World) -> None:
    """As ``| head`` does: no traceback."""
    with subprocess.Popen([*COMMAND, "ls"], env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, b"")


@pytest.mark.stdio
@pytest.mark.parametrize(
    ("more", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["a terminal", "NO_COLOR", "dumb"],
)
def test_colour_is_for_terminals_that_want_it(world: World, more: dict[str, str], coloured: bool) -> None:  # noqa: FBT001 - a case
    """The words are the same with and without."""
    environment = {**world.environment, "TERM": "xterm", **more}
    ended = run_at_terminal("doctor", environment=environment)
    assert ended.status == 0
    assert (ESCAPE in ended.out) is coloured
    plain = re.sub(r"\x1b\[\d+m", "", ended.out)
    assert "ok   private key: RSA 2048 bits" in plain
    assert ESCAPE not in plain


@pytest.mark.stdio
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_its_shell(shell: str, tmp_path: Path) -> None:
    """It knows every command and option; where the shell is here, it reads the script without a complaint."""
    ended = run("completion", shell, environment={})
    assert (ended.status, ended.err) == (0, "")
    for word in ("ls", "rotate-key", "--field-type" if shell != "fish" else "field-type"):
        assert word in ended.out
    program = shutil.which(shell)
    if program is not None:
        script = tmp_path / "script"
        script.write_text(ended.out)
        checked = subprocess.run([program, "-n", str(script)], capture_output=True, timeout=SECONDS, check=False)
        assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.stdio
def test_bash_completes_commands() -> None:
    """In a real bash: what follows ``r4-mcp ro`` is ``rotate-key``."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = run("completion", "bash", environment={}).out
    asked = "\nCOMP_WORDS=(r4-mcp ro); COMP_CWORD=1; $(complete -p r4-mcp | sed 's/.*-F \\([^ ]*\\).*/\\1/') r4-mcp ro r4-mcp; "
    done = subprocess.run(
        [bash, "-c", script + asked + 'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.split() == ["rotate-key"]


def test_a_command_is_never_broken() -> None:
    """What a person copies stays on one line, in backticks or after "Run:"; other text is broken at its spaces."""
    command = f"chmod 600 /{'a' * 90}"
    for line, whole in (
        (f"FAIL private key: it is open. Do `{command}` and try again.", f"`{command}`"),
        (f"Run: {command}", command),
    ):
        parts = wrapped(line)
        assert any(whole in part for part in parts)
        assert " ".join(part.strip() for part in parts) == line


@pytest.mark.stdio
def test_errors_at_a_terminal_fit(world: World) -> None:
    """What happened, then what to do."""
    ended = run_at_terminal("ls", "r4://Engineering/Nothing/At/All", environment=local_environment(world))
    assert ended.status == 1
    fits(ended)
    assert ended.out.startswith("r4-mcp: ")
    assert "\nnext: " in ended.out.replace("\r", "")
