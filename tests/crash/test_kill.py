"""``kill -9`` at random moments, by the operating system, of real processes: what a fresh process finds afterwards.

The moments are random; the seed is printed, and ``R4_TEST_SEED`` sets it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.doors import private_pem, write_private

from .conftest import WARM
from .invariants import Remembered, leftovers, remembered_on_disk, require_not_behind, require_whole
from .small_world import SmallWorld
from .victims import NEW, VALUE

ROUNDS: Final = 30
ROUNDS_SECONDS: Final = 20.0
FEWEST_ROUNDS: Final = 12
"""Done whatever they cost; fewer show nothing."""

COMMANDS: Final = 5
COMMANDS_SECONDS: Final = 20.0
FEWEST_COMMANDS: Final = 2
_REPOSITORY: Final = Path(__file__).parents[2]
_ROTATE: Final = (sys.executable, "-m", "r4_mcp", "rotate-key", "--yes")
_POLL_SECONDS: Final = 0.0005
_PATIENCE_SECONDS: Final = 15.0
_TURNS: Final = ("rotate", "create-item", "rotate", "create-vault")
_MADE: Final[dict[str, dict[str, str]]] = {
    "create-item": {f"One/{NEW}/Token": VALUE},
    "create-vault": {f"{NEW}/": ""},
    "rotate": {},
}


class Victims:
    """Starts victims, and kills them.

    Args:
        world: What they work on.
        process: The process that forks them.
    """

    def __init__(self, world: SmallWorld, process: subprocess.Popen[str]) -> None:
        self._world = world
        self._process = process

    def start(self, work: str) -> int:
        """Start a victim; returns its process id."""
        environment = {**self._world.environment, "PATH": os.environ["PATH"]}
        pid = self._order(work=work, environment=environment, vault=self._world.vault_id())
        assert isinstance(pid, int)
        return pid

    def end(self) -> object:
        """Wait for the end of the victim; returns what it said, None if nothing."""
        return self._order(work="end")

    def run(self, work: str) -> object:
        """Run a victim to its end."""
        self.start(work)
        return self.end()

    def _order(self, **order: object) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: object = json.loads(self._process.stdout.readline())
        return answer


@pytest.fixture
def chance() -> random.Random:
    """Give the source of the random moments, and print its seed."""
    seed = int(os.environ.get("R4_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"R4_TEST_SEED={seed}")  # noqa: T201 - to repeat a run with
    return random.Random(seed)  # noqa: S311 - moments, not secrets


@pytest.fixture
def victims(small: SmallWorld, tmp_path: Path) -> Iterator[Victims]:
    """Start the process that forks the victims."""
    key_file = write_private(tmp_path / "next-key.pem", private_pem(small.spare_keys[0]))
    command = [sys.executable, "-m", "tests.crash.victims", str(key_file)]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Victims(small, process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


@dataclass(frozen=True)
class Lasting:
    """How long something takes that nobody kills: seconds, and requests."""

    seconds: float
    requests: int


class Killer:
    """Waits for a random moment: some time after a random request, so that a slow machine changes nothing.

    Args:
        world: Whose requests count.
        chance: Where the moments come from.
        lasting: How long what is killed takes.
    """

    def __init__(self, world: SmallWorld, chance: random.Random, lasting: Lasting) -> None:
        self._world = world
        self._request = chance.randint(0, lasting.requests)
        # What follows the last request, the switch of the files, is given the time of three requests.
        steps = chance.uniform(0, 3 if self._request == lasting.requests else 1)
        self._seconds = steps * lasting.seconds / (lasting.requests + 1)

    def wait(self) -> None:
        """Wait for the moment."""
        patience = time.monotonic() + _PATIENCE_SECONDS
        while len(self._world.tap.exchanges) < self._request and time.monotonic() < patience:
            time.sleep(_POLL_SECONDS)
        time.sleep(self._seconds)


def measure(world: SmallWorld, run: Callable[[], object]) -> Lasting:
    """Let something run to its end."""
    world.put_back(WARM)
    started = time.monotonic()
    run()
    return Lasting(time.monotonic() - started, len(world.tap.exchanges))


async def test_processes_that_are_killed_at_random_moments(small: SmallWorld, victims: Victims, chance: random.Random) -> None:
    """After each kill a fresh process recovers: the active key is ours, every value is there, nothing is doubled."""
    before = await remembered_on_disk(small)
    lasting = {work: measure(small, partial(victims.run, work)) for work in _MADE}
    seen: Counter[str] = Counter()
    left: Counter[str] = Counter()
    rounds = 0
    deadline = time.monotonic() + ROUNDS_SECONDS
    while rounds < ROUNDS and (rounds < FEWEST_ROUNDS or time.monotonic() < deadline):
        work = _TURNS[rounds % len(_TURNS)]
        small.put_back(WARM)
        pid = victims.start(work)
        Killer(small, chance, lasting[work]).wait()
        os.kill(pid, signal.SIGKILL)
        killed = victims.end() is None
        small.service.settle()
        begun = len(small.journal())
        found = await _recovered(small, victims, before)
        there = _MADE[work].items() <= found.items()
        assert there or not begun
        if not there:
            assert victims.run(work) is not None
            found = await _recovered(small, victims, before)
        assert found == {**small.values, **_MADE[work]}
        left += leftovers(small)
        seen[f"{work} {'killed' if killed else 'done'}{' half way' if begun else ''}"] += 1
        rounds += 1
    print(f"{rounds} rounds: {dict(sorted(seen.items()))}; left behind: {dict(left)}")  # noqa: T201 - the numbers are the point
    assert sum(count for name, count in seen.items() if "killed" in name) >= rounds // 2
    assert sum(count for name, count in seen.items() if "half way" in name)


async def _recovered(world: SmallWorld, victims: Victims, before: Remembered) -> dict[str, str]:
    """Let a fresh process settle and read everything, and judge what is on disk then."""
    found = victims.run("recover")
    assert isinstance(found, dict), "a fresh process did not recover"
    assert world.journal() == ()
    assert world.active_fingerprint() == world.key_on_disk().public.fingerprint
    require_not_behind(before, await remembered_on_disk(world))
    return found


def _start_and_kill(environment: dict[str, str], killer: Killer) -> None:
    with subprocess.Popen(
        _ROTATE, cwd=_REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        killer.wait()
        process.kill()


@pytest.mark.stdio
async def test_the_command_that_rotates_is_killed_at_random_moments(small: SmallWorld, chance: random.Random) -> None:
    """``r4-mcp rotate-key --yes`` itself, with the library's own key generator; the next one finishes what was begun."""
    before = await remembered_on_disk(small)
    environment = {**small.environment, "PATH": os.environ["PATH"]}
    start = partial(subprocess.run, _ROTATE, cwd=_REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)
    lasting = measure(small, partial(start, check=True))
    outcomes: Counter[str] = Counter()
    deadline = time.monotonic() + COMMANDS_SECONDS
    while outcomes.total() < COMMANDS and (outcomes.total() < FEWEST_COMMANDS or time.monotonic() < deadline):
        small.put_back(WARM)
        _start_and_kill(environment, Killer(small, chance, lasting))
        small.service.settle()
        outcomes["half way" if small.journal() else "before or after"] += 1
        assert start(check=False).returncode == 0
        assert await require_whole(small, before) == small.values
    print(f"{outcomes.total()} commands of {lasting.seconds:.1f} s: {dict(outcomes)}")  # noqa: T201 - as above
