"""What an entry says: which command starts the server, and for whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from r4_mcp.cli.hosts.entry import is_ephemeral, is_ours, starting_command

CACHES = {
    "uvx on Linux": PurePosixPath("/home/ada/.cache/uv/archive-v0/Q7u5wQ"),
    "uvx on Windows": PureWindowsPath(r"C:\Users\ada\AppData\Local\uv\cache\archive-v0\Q7u5wQ"),
    "uv run --with, cache moved": PurePosixPath("/var/cache/environments-v2/r4-mcp-0f3c"),
}
KEPT = {
    "uv tool": PurePosixPath("/home/ada/.local/share/uv/tools/r4-mcp"),
    "pipx": PurePosixPath("/home/ada/.local/pipx/venvs/r4-mcp"),
    "a virtual environment": PurePosixPath("/srv/r4/.venv"),
    "a folder that only sounds like it": PurePosixPath("/srv/my-archive-v0-of-things/venv"),
}


@pytest.mark.parametrize("prefix", CACHES.values(), ids=list(CACHES))
def test_an_environment_of_a_cache_is_not_written_into_an_entry(prefix: PurePosixPath | PureWindowsPath) -> None:
    """It may be gone tomorrow; ``uvx`` makes it again."""
    assert is_ephemeral(prefix)
    assert starting_command(prefix)[1:] == ("r4-mcp",)
    assert starting_command(prefix)[0].endswith("uvx")


@pytest.mark.parametrize("prefix", KEPT.values(), ids=list(KEPT))
def test_an_environment_that_stays_is(prefix: PurePosixPath) -> None:
    """By an absolute path that can be run."""
    command, *arguments = starting_command(prefix)
    assert not is_ephemeral(prefix)
    assert Path(command).is_absolute()
    assert os.access(command, os.X_OK)
    assert arguments in ([], ["-m", "r4_mcp"])


def test_the_command_of_an_entry_starts_the_server(tmp_path: Path) -> None:
    """As a host does it: no shell, no PATH, one request on stdin."""
    environment = {"HOME": str(tmp_path), "R4_HOME": str(tmp_path / "state")}
    printed = subprocess.run(
        [sys.executable, "-m", "r4_mcp", "install", "cursor", "--print", "--local"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    entry = json.loads(printed)["mcpServers"]["r4"]
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "0"}},
    }
    answered = subprocess.run(
        [entry["command"], *entry["args"]],
        env={"HOME": str(tmp_path), **entry["env"]},
        input=json.dumps(hello) + "\n",
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    ).stdout
    assert json.loads(answered.splitlines()[0])["result"]["serverInfo"]["name"] == "r4-mcp"


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A folder's name may be any bytes; a configuration is UTF-8."""
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)  # noqa: PTH102 - pathlib takes no bytes
    script = folder + b"/r4-mcp"
    os.symlink(os.fsencode(sys.executable), script)  # noqa: PTH211 - as above
    code = "import sys; sys.argv[:2] = [sys.argv[1]]; from r4_mcp.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, script, "install", "cursor", "--print"],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not UTF-8" in done.stderr


@pytest.mark.parametrize(
    "value",
    [None, "r4-mcp", [], {}, {"url": "https://example.test/r4-mcp"}, {"command": "not-r4-mcp", "args": [1, "/src/r4-mcp"]}],
)
def test_what_does_not_start_it_is_not_ours(value: object) -> None:
    """A name alone makes no entry ours."""
    assert not is_ours(value)
