"""Reveals that come at the same moment, and processes that die among them: nothing is lost, and no limit is passed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest

from r4_mcp.errors import FileAccessError
from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.budget import MAX_PER_HOUR, RevealBudget
from r4_mcp.policy.exposure import ExposureLedger
from r4_mcp.policy.model import Budget
from r4_mcp.policy.oversight import Oversight
from tests.doors import Door, World, in_memory, write_private
from tests.doors import subprocess as spawned

from .audit_logs import intact
from .state_processes import OWNER, place, python

AT_ONCE = 64
REFERENCE = "r4://Engineering/Sentry/Auth%20Token"


def opened(folder: Path) -> Oversight:
    """Open the three files as a process does."""
    state = folder / "state"
    return Oversight(
        AuditLog(folder / "audit", time.time), RevealBudget(state, OWNER, time.time), ExposureLedger(state, OWNER, time.time)
    )


async def test_of_many_at_once_exactly_the_limit_is_shown(world: World) -> None:
    """64 calls of one client: ten values and 54 questions; the ledger has ten showings, the audit log 64 lines in one chain."""
    write_private(world.home / "policy.toml", "[budget]\nper_connection = 10\nper_hour = 1000\n")
    codes: Counter[str] = Counter()
    async with in_memory(world.environment) as door:
        await door.ok("describe_item", reference="r4://Engineering/Sentry")

        async def read() -> None:
            result = await door.result("read_secret", {"reference": REFERENCE})
            codes["ok" if "value" in (result.structured_content or {}) else (result.structured_content or {})["code"]] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(read)
        shown = (await door.ok("exposure"))["shown"]
    assert codes == {"ok": 10, "approval_required": AT_ONCE - 10}
    assert [row["count"] for row in shown] == [10]
    lines = [json.loads(line) for line in (world.home / "audit" / "audit.jsonl").read_text().splitlines()]
    assert Counter(line["outcome"] for line in lines if line["tool"] == "read_secret") == codes
    assert intact(world.home / "audit").head.sequence == len(lines)


async def test_two_processes_share_the_hour(world: World, tmp_path: Path) -> None:
    """Both are asked for more than there is, at the same time: together they show exactly what there is."""
    write_private(world.home / "policy.toml", "[budget]\nper_connection = 1000\nper_hour = 20\n")
    values = 0
    async with (
        spawned(world.environment, stderr=tmp_path / "one") as one,
        spawned(world.environment, stderr=tmp_path / "other") as other,
    ):

        async def read(door: Door) -> None:
            nonlocal values
            result = await door.result("read_secret", {"reference": REFERENCE})
            values += "value" in (result.structured_content or {})

        async with anyio.create_task_group() as tasks:
            for door in (one, other) * 16:
                tasks.start_soon(read, door)
        (row,) = (await one.ok("exposure"))["shown"]
    assert (values, row["count"]) == (20, 20)


async def test_together_costs_a_few_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 reveals at once are spent and noted in two groups: two writes of each file, the first of which makes it."""
    oversight = opened(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)

    async def spend() -> None:
        assert (await oversight.spend(Budget(1000, 1000), place(1).ids)).within

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(spend)
    assert len(synced) <= 6
    (row,) = oversight.ledger.read().shown
    assert row.count == AT_ONCE


async def test_where_the_showing_can_not_be_noted_nobody_is_answered(tmp_path: Path) -> None:
    """A damaged ledger fails each of those who wait, however many."""
    oversight, refused = opened(tmp_path), []
    oversight.ledger.shown(place(1))
    (path,) = (tmp_path / "state").glob("exposure-*.json")
    path.write_text("{}")

    async def spend() -> None:
        with pytest.raises(FileAccessError, match="damaged"):
            await oversight.spend(Budget(1000, 1000), place(2).ids)
        refused.append(True)

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(spend)
    assert len(refused) == AT_ONCE


def test_a_killed_process_has_noted_what_it_said(tmp_path: Path) -> None:
    """Killed at ten moments that nobody chose: what was answered is spent and in the ledger, and the next process goes on."""
    said = 0
    for _ in range(10):
        more = random.randint(1, 40)  # noqa: S311 - a moment, not a secret
        with subprocess.Popen(python("reveal", str(tmp_path)), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(more):
                assert process.stdout.readline() == b"shown\n"
            process.send_signal(signal.SIGKILL)
        said += more
        (row,) = opened(tmp_path).ledger.read().shown
        assert said <= row.count
        budget = RevealBudget(tmp_path / "state", OWNER, time.time, per_connection=1000, per_hour=min(said, MAX_PER_HOUR))
        assert not budget.spend().within
        # It may have noted more than it said, never less; the next round begins from there.
        said = row.count
