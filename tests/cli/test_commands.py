"""The commands as people and clients start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import r4_mcp
from tests.doors import World, in_memory, local_environment

from .running import COMMAND, SECONDS, run, run_at_terminal

pytestmark = pytest.mark.stdio

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}},
}


def test_the_version_is_the_packages() -> None:
    """On stdout, status 0."""
    ended = run("--version", environment={})
    assert (ended.status, ended.out) == (0, f"r4-mcp {r4_mcp.__version__}\n")


def test_the_module_and_the_script_are_one_program() -> None:
    """``python -m r4_mcp`` and the installed script say the same."""
    script = Path(COMMAND[0]).with_name("r4-mcp")
    if not script.exists():
        pytest.skip("the script is not installed beside this interpreter")
    said = subprocess.run(
        [str(script), "--help"], capture_output=True, timeout=SECONDS, check=True, env={"COLUMNS": "120"}
    ).stdout
    assert said.decode() == run("--help", environment={"COLUMNS": "120"}).out


def test_help_names_every_setting() -> None:
    """What is read from the environment is said."""
    from r4_mcp.config import SETTINGS  # noqa: PLC0415 - the only use

    said = run("--help", environment={}).out
    assert all(name in said for name in SETTINGS)


@pytest.mark.parametrize("arguments", [("nonsense",), ("put",), ("emulator",), ("serve", "--nonsense")])
def test_wrong_usage_is_status_two(arguments: tuple[str, ...]) -> None:
    """Said on stderr; stdout stays the protocol's."""
    ended = run(*arguments, environment={})
    assert ended.status == 2
    assert ended.out == ""
    assert "usage: r4-mcp" in ended.err


def test_bare_with_a_pipe_serves(tmp_path: Path) -> None:
    """Clients start it without a command: the first line on stdout is the answer to the first request."""
    ended = run(environment={"R4_HOME": str(tmp_path)}, stdin=json.dumps(HELLO).encode() + b"\n")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["result"]["serverInfo"]["name"] == "r4-mcp"


def test_bare_at_a_terminal_prints_help(tmp_path: Path) -> None:
    """A person gets words, not a silent server."""
    ended = run_at_terminal(environment={"R4_HOME": str(tmp_path)})
    assert ended.status == 0
    assert "usage: r4-mcp" in ended.out


def put(environment: dict[str, str], reference: str, value: bytes, *more: str) -> str:
    """Put a value that must be stored; returns the reference that was printed."""
    ended = run("put", "--local", *more, reference, environment=environment, stdin=value)
    assert ended.status == 0, ended.err
    assert ended.out.startswith("stored r4://")
    return ended.out.removeprefix("stored ").strip()


VALUES = {
    "plain": (b"a demo value", "a demo value"),
    "one line break": (b"a demo value\n", "a demo value"),
    "a Windows line break": (b"a demo value\r\n", "a demo value"),
    "two line breaks": (b"a demo value\n\n", "a demo value\n"),
    "spaces": (b"  a demo value  ", "  a demo value  "),
    "several lines": ("ü\nb\n".encode(), "ü\nb"),
    "the largest": (b"x" * 262_144, "x" * 262_144),
    "the largest and a line break": (b"x" * 262_144 + b"\n", "x" * 262_144),
}


async def test_put_stores_exactly_what_was_piped(world: World) -> None:
    """But for one line break at the end; the value is on neither stdout nor stderr."""
    environment = local_environment(world)
    references = {}
    for what in ("plain", "two line breaks", "the largest and a line break"):
        references[what] = put(environment, f"r4://Box/{what}/Token", VALUES[what][0])
    # The others through the same function, in this process: starting one takes a second.
    from .test_put_values import stored_in_process  # noqa: PLC0415 - a cycle otherwise

    for what, (piped, wanted) in VALUES.items():
        assert stored_in_process(piped) == wanted, what
    config = {"R4_CONFIG": str(world.home / "local" / "agent.json"), "R4_HOME": str(world.home / "reader")}
    base_url, _ = plug_local(world)
    async with in_memory({**config, "R4_BASE_URL": base_url}) as door:
        for what, reference in references.items():
            assert (await door.ok("read_secret", reference=reference))["value"] == VALUES[what][1], what


def plug_local(world: World) -> tuple[str, Any]:
    """Serve the embedded vault of a world over HTTP too."""
    from r4_mcp.emulator.app import create_app  # noqa: PLC0415 - the only use
    from r4_mcp.emulator.store import Store  # noqa: PLC0415

    return world.board.plug(create_app(Store.open(world.home / "local")))


def test_put_refuses_what_it_must(world: World) -> None:
    """An empty value, one over the limit, no UTF-8, two parts, nothing configured: status 1, no echo."""
    environment = local_environment(world)
    refused = [
        ("r4://Box/Two/Token", b"", "empty"),
        ("r4://Box/Two", b"canary-zebra-4", "three parts"),
        ("r4://Box/Two/Token", b"canary-zebra-\xff", "UTF-8"),
    ]
    for reference, value, says in refused:
        ended = run("put", "--local", reference, environment=environment, stdin=value)
        assert (ended.status, ended.out) == (1, ""), reference
        assert says in ended.err
        assert "next: " in ended.err
        assert "canary" not in ended.err
        assert "Traceback" not in ended.err
    ended = run("put", "r4://a/b/c", environment={"R4_HOME": str(world.home)}, stdin=b"canary-zebra-5")
    assert ended.status == 1
    assert "no API key is configured" in ended.err.lower().replace("api", "API")


def test_put_asks_at_a_terminal_and_shows_nothing(world: World) -> None:
    """The prompt is hidden: what was typed is not on the screen."""
    environment = local_environment(world)
    typed = (("Value (not shown): ", "canary-zebra-typed\n"),)
    ended = run_at_terminal("put", "--local", "r4://Box/Typed/Token", environment=environment, typed=typed)
    assert ended.status == 0
    assert "stored r4://Box/Typed/Token" in ended.out
    assert "canary" not in ended.out


def test_put_does_not_ask_for_a_value_that_has_no_place(world: World) -> None:
    """Nobody types a secret to learn that the reference names no field."""
    ended = run_at_terminal("put", "--local", "r4://Box/One", environment=local_environment(world))
    assert ended.status == 1
    assert "Value" not in ended.out


async def test_put_changes_a_field_that_is_there_and_adds_one_that_is_not(world: World) -> None:
    """One item, two fields, the newer value; the field keeps its type whatever ``--type`` says."""
    environment = local_environment(world)
    first = put(environment, "r4://Box/One/Token", b"the first value")
    assert put(environment, "r4://box/ONE/Token", b"the second value", "--type", "TEXT") == first
    other = put(environment, "r4://Box/One/User", b"somebody", "--type", "TEXT")
    base_url, _ = plug_local(world)
    config = {"R4_CONFIG": str(world.home / "local" / "agent.json"), "R4_HOME": str(world.home / "reader")}
    async with in_memory({**config, "R4_BASE_URL": base_url}) as door:
        described = await door.ok("describe_item", reference="r4://Box/One")
        assert [(field["name"], field["type"]) for field in described["fields"]] == [("Token", "PASSWORD"), ("User", "TEXT")]
        assert (await door.ok("read_secret", reference=first))["value"] == "the second value"
        assert (await door.ok("read_secret", reference=other))["value"] == "somebody"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_emulator_says_one_line_and_stops_with_status_zero(world: World, number: signal.Signals) -> None:
    """Exactly one JSON line on stdout, printed once connections are accepted."""
    folder = world.seeded.config_path.parent
    with subprocess.Popen(
        [*COMMAND, "emulator", "--data", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["baseUrl"].startswith("http://127.0.0.1:")
        assert (said["dataDir"], said["agentConfig"]) == (str(folder), str(world.seeded.config_path))
        os.kill(process.pid, number)
        rest, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, rest, errors) == (0, b"", b"")


def test_the_demo_plays_to_its_end() -> None:
    """Every step did what it says: status 0."""
    ended = run("demo", environment={"PATH": os.environ.get("PATH", "")})
    assert ended.status == 0, ended.out[-2000:]
    assert "Every step did what it says." in ended.out
    assert "Traceback" not in ended.err
