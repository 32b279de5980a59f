"""The reveal budget: never more than its limits without a person, whatever clocks, processes and disks do."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.errors import FileAccessError
from r4_mcp.policy.budget import MAX_PER_HOUR, PER_CONNECTION, PER_HOUR, RevealBudget, Spent
from r4_mcp.vault.journal import owner_hash

from .state_processes import OWNER, python

NOW = 1_800_000_000.0
HOUR = 3600
SECONDS = 60
PROCESSES = 4


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return what was set."""
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a state folder that does not exist yet."""
    return tmp_path / "state"


def path_in(folder: Path) -> Path:
    """Return the budget's file."""
    return folder / f"budget-{owner_hash(OWNER)}.json"


def spent_of(budget: RevealBudget, attempts: int) -> int:
    """Return how many of so many attempts are within."""
    return sum(budget.spend().within for _ in range(attempts))


def test_a_connection_has_its_limit(folder: Path) -> None:
    """The twenty-first field of a connection is not within; another connection has its own count."""
    assert (PER_CONNECTION, PER_HOUR) == (20, 60)
    budget = RevealBudget(folder, OWNER, Clock())
    assert [budget.spend() for _ in range(20)] == [Spent(within=True, which=None, limit=60)] * 20
    assert budget.spend() == Spent(within=False, which="connection", limit=20)
    assert RevealBudget(folder, OWNER, Clock()).spend().within


def test_an_hour_has_its_limit_over_all_connections(folder: Path) -> None:
    """A process for each call changes nothing: the sixty-first field of an hour is not within."""
    assert sum(RevealBudget(folder, OWNER, Clock()).spend().within for _ in range(70)) == 60
    assert RevealBudget(folder, OWNER, Clock()).spend() == Spent(within=False, which="hour", limit=60)
    for other in (("http://localhost", "rk_other"), ("http://127.0.0.1", OWNER[1])):
        assert RevealBudget(folder, other, Clock()).spend().within


def test_the_hour_slides(folder: Path) -> None:
    """A field counts for 3,600 seconds after it was spent, to the millisecond, and then no more."""
    clock = Clock()
    budget = RevealBudget(folder, OWNER, clock, per_connection=100, per_hour=2)
    assert budget.spend().within
    clock.now += 1000
    assert budget.spend().within
    clock.now = NOW + HOUR - 0.001
    assert not budget.spend().within
    clock.now = NOW + HOUR
    assert budget.spend().within
    assert not budget.spend().within


def test_several_fields_are_spent_together_or_not_at_all(folder: Path) -> None:
    """Three fields don't fit where two are left, and leave the two."""
    budget = RevealBudget(folder, OWNER, Clock(), per_connection=5, per_hour=100)
    assert budget.spend(3).within
    assert budget.spend(3) == Spent(within=False, which="connection", limit=5)
    assert budget.spend(2).within
    hourly = RevealBudget(folder, OWNER, Clock(), per_connection=100, per_hour=8)
    assert hourly.spend(4) == Spent(within=False, which="hour", limit=8)
    assert hourly.spend(3).within
    for none in (0, -1):
        with pytest.raises(ValueError, match="less than one"):
            hourly.spend(none)


def test_a_charge_spends_whatever_is_left(folder: Path) -> None:
    """A screening hit, or what a person allowed beyond the budget, counts in both limits, also over them."""
    budget = RevealBudget(folder, OWNER, Clock(), per_connection=3, per_hour=5)
    budget.charge(2)
    assert spent_of(budget, 5) == 1
    budget.charge()
    budget.charge()
    assert spent_of(RevealBudget(folder, OWNER, Clock(), per_hour=5), 5) == 0
    assert spent_of(RevealBudget(folder, OWNER, Clock(NOW + HOUR), per_hour=5), 6) == 5
    RevealBudget(folder, OWNER, Clock(NOW + HOUR)).charge(10**9)
    assert json.loads(path_in(folder).read_bytes().splitlines()[-1])[1] == MAX_PER_HOUR


@pytest.mark.parametrize("limits", [(0, 60), (20, 0)])
def test_a_limit_of_zero_asks_every_time(folder: Path, limits: tuple[int, int]) -> None:
    """Nothing is within nothing."""
    budget = RevealBudget(folder, OWNER, Clock(), *limits)
    assert budget.spend() == Spent(within=False, which="hour" if limits[0] else "connection", limit=0)


@pytest.mark.parametrize("limits", [(-1, 60), (20, -1), (20, MAX_PER_HOUR + 1)])
def test_limits_have_limits(folder: Path, limits: tuple[int, int]) -> None:
    """What could not be counted can't be set."""
    with pytest.raises(ValueError, match="not from 0 to"):
        RevealBudget(folder, OWNER, Clock(), *limits)


@pytest.mark.parametrize("back", [0.01, 60.0, 1e6, NOW, NOW + 5])
def test_a_clock_that_jumps_back_gives_nothing_and_takes_an_hour_at_most(folder: Path, back: float) -> None:
    """The spent budget stays spent after the jump, and an hour later by the new clock it is whole, asked meanwhile or not."""
    clock = Clock()
    assert spent_of(RevealBudget(folder, OWNER, clock, per_hour=5), 5) == 5
    clock.now = NOW - back
    assert RevealBudget(folder, OWNER, clock, per_hour=5).spend().which == "hour"
    zero = max(clock.now, 0.0)  # A clock before 1970 is read as 1970.
    for later in (1800, HOUR - 1):
        clock.now = zero + later
        assert RevealBudget(folder, OWNER, clock, per_hour=5).spend().which == "hour"
    clock.now = zero + HOUR
    assert spent_of(RevealBudget(folder, OWNER, clock, per_hour=5), 6) == 5


def test_a_clock_that_jumps_forward_and_back_gives_nothing(folder: Path) -> None:
    """What left the window only because of a wrong clock counts again once the clock is right."""
    clock = Clock()
    assert spent_of(RevealBudget(folder, OWNER, clock, per_hour=5), 5) == 5
    clock.now = NOW + 10 * HOUR
    assert RevealBudget(folder, OWNER, clock, per_hour=5).spend().within
    clock.now = NOW + 60
    assert not RevealBudget(folder, OWNER, clock, per_hour=5).spend().within


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.floats(-2 * HOUR, 2 * HOUR, allow_nan=False), min_size=1, max_size=60))
def test_no_clock_that_goes_forward_gives_more_than_the_limit_in_an_hour(
    tmp_path_factory: pytest.TempPathFactory, steps: list[float]
) -> None:
    """In every stretch in which the clock only went forward, any window of an hour holds at most the limit."""
    clock = Clock()
    budget = RevealBudget(tmp_path_factory.mktemp("state"), OWNER, clock, per_connection=1000, per_hour=4)
    stretch: list[float] = []
    for step in steps:
        clock.now += step
        if step < 0:
            stretch = []
        for _ in range(2):
            if budget.spend().within:
                stretch.append(clock.now)
        assert sum(clock.now - time < HOUR - 0.01 for time in stretch) <= 4


DAMAGES = {
    "empty": b"",
    "cut off": b'{"schema":1,"spentAt":[18',
    "another document": b"[]",
    "a newer schema": b'{"schema":2,"spentAt":[]}',
    "no list": b'{"schema":1,"spentAt":{}}',
    "a text for a time": b'{"schema":1,"spentAt":["1"]}',
    "a time before 1970": b'{"schema":1,"spentAt":[-1]}',
    "more members": b'{"schema":1,"spentAt":[],"reset":true}',
    "too large": b'{"schema":1,"spentAt":[' + b"1," * 40_000 + b"1]}",
    "no end of the first line": b'{"schema":1,"spentAt":[]}',
    "an event that is none": b'{"schema":1,"spentAt":[]}\n{}\n',
    "an event of nothing": b'{"schema":1,"spentAt":[]}\n[1,0]\n',
    "an event of the past": b'{"schema":1,"spentAt":[]}\n[-1,1]\n',
    "half an event": b'{"schema":1,"spentAt":[]}\n[1]\n[1,1]\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_gives_nothing(folder: Path, damage: str) -> None:
    """Neither spending nor charging takes a damaged file for a fresh budget; the error names it, and it stays as it is."""
    budget = RevealBudget(folder, OWNER, Clock(), per_connection=2)
    assert budget.spend().within
    path = path_in(folder)
    path.write_bytes(DAMAGES[damage])
    for attempt in (budget.spend, budget.charge):
        with pytest.raises(FileAccessError) as raised:
            attempt()
        assert str(path) in raised.value.message
    assert path.read_bytes() == DAMAGES[damage]
    path.unlink()
    # The charge counted for the connection although it could not be written.
    assert budget.spend().which == "connection"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["disk full", "read-only folder"])
def test_a_disk_that_refuses_gives_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """What can't be noted is not granted, and costs nothing."""
    budget = RevealBudget(folder, OWNER, Clock(), per_connection=1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", refuse)
        with pytest.raises(FileAccessError, match=os.strerror(code)):
            budget.spend()
    assert budget.spend().within


def test_the_file_is_private_and_holds_times_only(folder: Path) -> None:
    """Folder 0700, files 0600, and nothing in them but times."""
    RevealBudget(folder, OWNER, Clock()).spend(2)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert json.loads(path_in(folder).read_bytes()) == {"schema": 1, "spentAt": [1_800_000_000_000] * 2}
    path_in(folder).chmod(0o644)
    with pytest.raises(FileAccessError, match="open to other users"):
        RevealBudget(folder, OWNER, Clock()).spend()


def test_processes_never_share_the_last_one(folder: Path) -> None:
    """Four processes that ask for more than there is get exactly what there is, together."""
    commands = [python("spend", str(folder), "50", "20") for _ in range(PROCESSES)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    within = [int(process.communicate(timeout=SECONDS)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    assert sum(within) == 50


def test_threads_never_share_the_last_one(folder: Path) -> None:
    """The connection's own count holds among threads too."""
    budget = RevealBudget(folder, OWNER, Clock(), per_connection=10)
    within: list[int] = []
    threads = [Thread(target=lambda: within.append(spent_of(budget, 5))) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sum(within) == 10
