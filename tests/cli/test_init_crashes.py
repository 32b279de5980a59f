"""``r4-mcp init`` killed anywhere, and two at once: a whole profile or none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r4_mcp.config import read_settings
from r4_mcp.config.profiles import Profiles
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.locked_file import LockedFile
from tests.doors import World

from .killed_init import MOST
from .profiles import files_below, new_agent, runtime_json, shows_nothing
from .running import COMMAND, SECONDS, Ended, run_here

pytestmark = pytest.mark.stdio

REPOSITORY = Path(__file__).parents[2]


def fingerprint_of(home: Path) -> str:
    """Load the key of the profile ``work``; it must be whole."""
    settings = read_settings({"R4_HOME": str(home)}, KnownSecrets(), profile="work")
    assert settings.problems == ()
    assert settings.key_source is not None
    return settings.key_source.load().public.fingerprint


def test_a_maker_that_is_killed_leaves_no_half_profile(world: World, tmp_path: Path) -> None:
    """Killed with signal 9 before each change of the disk: what is there is whole, and what is not is made by the next run."""
    root = tmp_path / "homes"
    root.mkdir(mode=0o700)
    config = runtime_json(world, new_agent(world), world.spare_keys[0])
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.killed_init", str(root), world.base_url, str(config)],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=SECONDS * 5,
        check=True,
    )
    killed = int(done.stdout)
    # A folder, two files, a rename and a default at least; else the hook saw nothing.
    assert 5 < killed < MOST
    outcomes: list[bool] = []
    for change in range(killed + 1):
        home = root / str(change)
        whole = Profiles(home).names() == ("work",)
        outcomes.append(whole)
        if whole:
            assert fingerprint_of(home) == world.spare_keys[0].public.fingerprint
            continue
        again = run_here(
            "init",
            "--profile",
            "work",
            "--config",
            str(config),
            environment={"R4_HOME": str(home), "R4_BASE_URL": world.base_url},
        )
        assert again.status == 0, again.err
        assert fingerprint_of(home) == world.spare_keys[0].public.fingerprint
        assert [path.name for path in (home / "profiles").iterdir()] == ["work"]
        assert json.loads((home / "config.json").read_text()) == {"defaultProfile": "work"}
    # Both happened, and once it is whole it stays so.
    assert outcomes == sorted(outcomes)
    assert len(set(outcomes)) == 2


def test_of_two_at_once_one_wins(world: World) -> None:
    """Both were told that the name is free and who they are; the profile is one's alone, and so is the registered key."""
    agent = new_agent(world)
    arguments = [*COMMAND, "init", "--profile", "work", "--base-url", world.base_url, "--bits", "2048"]
    environment = {"R4_HOME": str(world.home)}
    with LockedFile(Profiles(world.home).config_path, 1).locked():
        started = [
            subprocess.Popen(arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        for process in started:
            assert process.stdin is not None
            process.stdin.write(agent.api_key.encode())
            process.stdin.close()
            process.stdin = None
        deadline = time.monotonic() + SECONDS
        # Each asks who it is once, and then waits for the lock.
        while world.tap.lines().count("GET /me") < len(started):
            assert time.monotonic() < deadline, "two makers did not come to the lock"
            time.sleep(0.05)
    ended = [ended_of(process) for process in started]
    for end in ended:
        shows_nothing(end, agent.access_secret)
    winner, loser = sorted(ended, key=lambda end: end.status)
    assert (winner.status, loser.status) == (0, 1), winner.err + loser.err
    assert "exists already" in loser.err
    assert fingerprint_of(world.home) in winner.out
    assert fingerprint_of(world.home) in world.dump()
    assert world.tap.lines().count("POST /vault/public-key") == 1
    assert set(files_below(world.home / "profiles")) == {"work", "work/credentials.json", "work/private-key.pem"}


def ended_of(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for a process."""
    out, err = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, out.decode(), err.decode())
