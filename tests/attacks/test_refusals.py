"""Every lie of the malicious service is refused, for its own reason, without a trace, and the truth is believed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.cli.wiring import Service
from r4_mcp.emulator.faults import FAULTS
from r4_mcp.emulator.faults_checkpoints import next_summaries
from r4_mcp.vault import signer

from .stage import Reach, Stage, call, succeed
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


def stays(name: str) -> bool:
    """Say whether a lie is told on the wire alone, so that its stage can be used again."""
    fault = FAULTS[name]
    past = (fault.prepare, fault.change, fault.prelude)
    return not any(past) and REFUSED[name].reach < Reach.WRITE and not REFUSED[name].moves


def meets_at_once(name: str) -> bool:
    """Say whether a client that remembers nothing can notice a lie in what a vault serves."""
    row = REFUSED[name]
    return stays(name) and not FAULTS[name].remembered and row.reach >= Reach.VAULT and len(row.probes) > MANY


MANY: Final = 2
"""Lies in many spellings have few probes; one spelling each is enough at first contact."""


async def meet(name: str, stage: Stage, service: Service, probes: Sequence[Probe]) -> None:
    """Meet a lie in a process that remembers; then believe the truth again."""
    row = REFUSED[name]
    before = stage.trust()
    stage.liar.tell(FAULTS[name].lie)
    for probe in probes:
        await refuse(stage, service, row, probe)
    assert stage.liar.told, "the lie was never told"
    assert row.moves or stage.trust() == before
    stage.liar.tell(None)
    if row.moves:
        # An honest service goes on from what its signers signed.
        for _ in range(2):
            next_summaries(stage.liar, None if stage.liar.insider_id is None else stage.liar.insider)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", [name for name in REFUSED if stays(name)])
async def test_a_lie_is_refused_and_leaves_no_trace(
    name: str, standing: Stage, remembering: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exact code; no canary in results, logs, files, requests; the trust store as it was; nothing asked or written after."""
    row = REFUSED[name]
    with standing.everything_logged():
        if row.once_per_home:
            for probe in row.probes:
                standing.forget_registration()
                async with standing.process() as restarted:
                    await meet(name, standing, restarted, [probe])
        else:
            await meet(name, standing, remembering, row.probes)
        await standing.read_honestly(remembering)
    standing.assert_unwritten(*capfd.readouterr())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", [name for name in REFUSED if meets_at_once(name)])
async def test_a_lie_at_first_contact_is_refused(
    name: str, standing: Stage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that remembers nothing refuses it too, remembers nothing of what it refused, and then believes the truth."""
    row = REFUSED[name]
    with standing.everything_logged():
        async with standing.process(R4_HOME=str(tmp_path / "new")) as first:
            standing.liar.tell(FAULTS[name].lie)
            await refuse(standing, first, row, row.probes[0])
            assert standing.liar.told
            remembered = first.runtime.store.section().vaults if first.runtime is not None else {}
            assert row.reach > Reach.VAULT or standing.vault_id not in remembered
            standing.liar.tell(None)
            await standing.read_honestly(first)
    standing.assert_unwritten(*capfd.readouterr())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["checkpoints-stripped", "summary-stripped", "summary-nulled", "detail-stripped"])
async def test_stripped_checkpoints_are_refused_where_they_are_optional(name: str, standing: Stage, remembering: Service) -> None:
    """Under ``when-present`` too: what was verified once does not come without its checkpoint again."""
    assert remembering.runtime is not None
    async with standing.process(R4_CHECKPOINTS="when-present") as lenient:
        await meet(name, standing, lenient, REFUSED[name].probes)
        await standing.read_honestly(lenient)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["item-hidden", "attacker-signer-added", "log-shrunk", "summary-stripped"])
async def test_a_refused_vault_is_listed_as_not_verified(name: str, standing: Stage, remembering: Service) -> None:
    """The list says so, with the code and the id alone; the other tools are where it is an error."""
    before = standing.trust()
    standing.liar.tell(FAULTS[name].lie)
    for line in (await succeed(remembering, "list_vaults"))["vaults"]:
        assert (line["verified"], line["problem"]) == (False, REFUSED[name].code)
        assert line["reference"] == f"r4://{line['id']}"
    assert standing.trust() == before


@pytest.mark.parametrize("name", [name for name in REFUSED if not stays(name)])
async def test_a_lie_about_what_happened_is_refused_across_a_restart(
    name: str, stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same for lies that need a past (something arranged, changed or announced before, or a write), in a new process."""
    row = REFUSED[name]
    with stage.everything_logged():
        async with stage.process() as first:
            await stage.lead_up_to(FAULTS[name], first)
            if not row.once_per_home and row.reach < Reach.WRITE:
                await meet(name, stage, first, row.probes[:1])
        for probes in [[probe] for probe in row.probes] if row.once_per_home else [row.probes]:
            if row.once_per_home:
                stage.forget_registration()
            async with stage.process() as restarted:
                await meet(name, stage, restarted, probes)
        async with stage.process() as later:
            await stage.read_honestly(later)
    stage.assert_unwritten(*capfd.readouterr())
