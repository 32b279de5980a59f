"""Every lie of the malicious service is refused, for its own reason, without a trace, and the truth is believed again."""

from __future__ import annotations

import pytest

from r4_mcp.cli.wiring import Service
from r4_mcp.emulator.faults import FAULTS
from r4_mcp.vault import signer

from .stage import Reach, Stage, call
from .table import BOUNDED, CONTAINED, REFUSED, Probe, Row

pytestmark = pytest.mark.usefixtures("hasty_signer")


@pytest.fixture
def hasty_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between tries of a write; their number stays."""
    monkeypatch.setattr(signer, "_JITTER_SECONDS", 0.0001)


def test_every_fault_has_exactly_one_row() -> None:
    """No fault without a row, no row without a fault."""
    tables = [*REFUSED, *BOUNDED, *CONTAINED]
    assert sorted(tables) == sorted(FAULTS)


async def refuse(stage: Stage, service: Service, row: Row, probe: Probe) -> None:
    """Make a call that must be refused: the code, the canary, the requests."""
    stage.world.tap.exchanges.clear()
    outcome = await call(service, probe.tool, probe.arguments(stage))
    assert outcome.is_error, f"{probe.tool} was not refused: {outcome.text}"
    assert outcome.payload["code"] == row.code, f"{probe.tool}: {outcome.text}"
    stage.assert_unseen(outcome)
    reach = max(row.reach, probe.at_once) if row.reach >= Reach.VAULT else row.reach
    stage.assert_went_no_further(reach, row.times)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_lie_is_refused_and_leaves_no_trace(name: str, stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """In the process that remembers, in a new one on the same trust store; then the truth is believed again."""
    row, fault = REFUSED[name], FAULTS[name]
    async with stage.process() as remembering:
        await stage.lead_up_to(fault, remembering)
        before = stage.trust()
        if not row.once_per_process:
            await refuse(stage, remembering, row, row.probes[0])
    for probes in [[probe] for probe in row.probes] if row.once_per_process else [row.probes]:
        async with stage.process() as restarted:
            for probe in probes:
                await refuse(stage, restarted, row, probe)
    assert stage.liar.told, "the lie was never told"
    assert stage.trust() == before
    stage.liar.tell(None)
    async with stage.process() as later:
        await stage.contact(later)
    stage.assert_unwritten(*capfd.readouterr())
