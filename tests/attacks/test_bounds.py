"""Bodies without end, drips, page loops and redirects: refused within bounded memory and time, and the API key stays home."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from r4_mcp.cli.wiring import Service
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.faults import FAULTS
from r4_mcp.machine import contract
from tests.switchboard import Switchboard, Tap

from .stage import Stage, call, reach_of, succeed
from .table import BOUNDED

PEAK = 3 * contract.LIST_ITEMS.max_response
"""Bytes: the cap, twice while its buffer grows, and as much again for the server in the same process."""

PAGES = 20

SECONDS = 60.0


@pytest.fixture
def tight_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give listings half a second, and vault lists few pages."""
    monkeypatch.setattr(contract, "LIST_ITEMS", replace(contract.LIST_ITEMS, seconds=0.5))
    monkeypatch.setattr(contract, "MAX_PAGES", PAGES)


@pytest.fixture
def elsewhere(board: Switchboard, standing: Stage) -> Iterator[Tap]:
    """Open another address, which nobody must come to."""
    standing.liar.elsewhere, tap = board.plug(create_app(standing.world.store))
    yield tap
    assert not tap.exchanges


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.usefixtures("elsewhere")
async def test_a_lie_about_bytes_is_refused_within_bounds(
    name: str, standing: Stage, remembering: Service, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exact code, the peak of memory, the time, the requests; the trust store as it was; the truth is believed again."""
    row = BOUNDED[name]
    if row.code == "deadline_exceeded" or name == "endless-pages":
        request.getfixturevalue("tight_limits")
    before = standing.trust()
    for probe in row.probes:
        if row.once_per_home:
            standing.forget_registration()
        async with standing.process() as restarted:
            if not row.once_per_home and row.code != "deadline_exceeded":
                # What a process reads once, it has read before the measurement. (Where no answer comes, what is known would be
                # the answer, marked as stale.)
                await succeed(restarted, "read_secret", reference=standing.by_id)
            standing.liar.tell(FAULTS[name].lie)
            standing.world.tap.exchanges.clear()
            tracemalloc.start()
            started = time.monotonic()
            outcome = await call(restarted, probe.tool, probe.arguments(standing))
            seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
            tracemalloc.stop()
            standing.liar.tell(None)
        requests = len(standing.world.tap.exchanges)
        told = f"{name:<22} {probe.tool:<12} {peak / contract.MIB:6.1f} MiB {seconds:6.2f} s {requests:4} requests\n"
        with capfd.disabled():
            sys.stdout.write(told)
        assert (outcome.is_error, outcome.payload.get("code")) == (True, row.code), outcome.text
        standing.assert_unseen(outcome)
        assert peak < PEAK
        assert seconds < SECONDS
        assert requests <= PAGES
        assert all(reach_of(exchange) <= row.reach for exchange in standing.world.tap.exchanges)
    assert standing.trust() == before
    await standing.read_honestly(remembering)
    standing.assert_unwritten(*capfd.readouterr())
