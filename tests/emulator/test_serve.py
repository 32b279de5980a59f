"""The program: one line when it listens, loopback only, a clean end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from r4_mcp.emulator.serve import run
from r4_mcp.errors import ConfigurationError
from r4_mcp.machine.contract import API_PREFIX

PROGRAM = """
import pathlib, sys
from r4_mcp.emulator.serve import run
run(pathlib.Path(sys.argv[1]), 0, seed=sys.argv[2] == "seed", bits=2048)
"""
SECONDS = 30


@contextmanager
def serving(directory: Path, *, seed: bool) -> Iterator[tuple[subprocess.Popen[str], dict[str, str | None]]]:
    """Run the program until the block ends; gives it and its announcement."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(directory), "seed" if seed else "empty"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate(timeout=SECONDS)[1]
            yield process, json.loads(line)
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_announces_itself_answers_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """One JSON line, a seeded vault behind it, exit status 0 and nothing on standard error."""
    directory = tmp_path / "demo"
    with serving(directory, seed=True) as (process, announced):
        assert set(announced) == {"baseUrl", "dataDir", "agentConfig"}
        assert announced["dataDir"] == str(directory)
        assert announced["agentConfig"] == str(directory / "agent.json")
        agent = json.loads((directory / "agent.json").read_text("ascii"))
        with httpx.Client(trust_env=False) as http:
            answer = http.get(
                f"{announced['baseUrl']}{API_PREFIX}/vault",
                headers={"X-API-Key": f"{agent['accessKey']}.{agent['accessSecret']}"},
            )
            assert len(answer.json()["vaults"]) == 4
            assert not {"server", "date"} & set(answer.headers)
            # The connection is still open: it must not hold the program up.
            process.send_signal(number)
            output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, errors) == (0, "", "")


def test_without_a_seed_there_is_no_agent(tmp_path: Path) -> None:
    """``agentConfig`` is null, and the store answers 401."""
    with serving(tmp_path / "empty", seed=False) as (_, announced):
        assert announced["agentConfig"] is None
        answer = httpx.get(f"{announced['baseUrl']}{API_PREFIX}/me", trust_env=False)
        assert answer.status_code == 401


def test_it_listens_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    """The announced address is 127.0.0.1, and no other address of this host answers there."""
    with serving(tmp_path / "empty", seed=False) as (_, announced):
        base = httpx.URL(str(announced["baseUrl"]))
        assert base.host == "127.0.0.1"
        assert base.port is not None
        with socket.socket() as other:
            other.settimeout(5)
            assert other.connect_ex(("127.0.0.2", base.port)) != 0


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    """A ConfigurationError, not a traceback of the server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="can't be used"):
            run(tmp_path / "vault", taken.getsockname()[1], seed=False)
