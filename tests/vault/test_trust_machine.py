"""Honest writes, lies, restarts, concurrent holders: pinned versions never decrease, and a refusal changes no byte.

The signed things are real (2048-bit keys, made once) and are proven by the functions of ``core``, in the order of the reader.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from r4_mcp.core.checkpoint import advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.served import ServedItem, ServedItems
from r4_mcp.core.trust import STATUS_ORDER, SignerStatus, VaultTrust
from r4_mcp.core.wire import DetailCheckpoint, Signed, SummaryCheckpoint
from r4_mcp.errors import (
    CheckpointMissingError,
    DisagreementError,
    EquivocationError,
    RollbackError,
    SignatureError,
    SignerError,
    TransparencyError,
    VerificationError,
)
from r4_mcp.vault.trust_store import TrustStore
from tests.core.builders import (
    ITEM,
    TOFU,
    VAULT,
    Parties,
    Party,
    detail,
    directory_json,
    listing,
    make_parties,
    served_item,
    signed_detail,
    signed_summary,
    summary,
)

from .trust_processes import open_store

HOLDERS = 2


@cache
def parties() -> Parties:
    """Make everybody's keys once."""
    return make_parties()


@cache
def summary_of(version: int, *, forked: bool = False) -> Signed[SummaryCheckpoint]:
    """Sign the vault's summary of a version; the forked one says something else."""
    checkpoint = summary(version)
    return signed_summary(parties().human, replace(checkpoint, name="Fork") if forked else checkpoint)


@cache
def detail_of(version: int, *, forked: bool = False) -> Signed[DetailCheckpoint]:
    """Sign the item's detail of a version; the forked one says something else."""
    checkpoint = detail(version)
    return signed_detail(parties().human, replace(checkpoint, fields=checkpoint.fields[:1]) if forked else checkpoint)


class Service:
    """What the service would serve honestly now."""

    def __init__(self) -> None:
        self.summary = 1
        self.detail = 1
        self.signers: list[Party] = [parties().human]

    def answers(self) -> tuple[list[Party], ServedItems, ServedItem]:
        """Return directory, listing and item."""
        return list(self.signers), listing(summary_of(self.summary)), served_item(detail_of(self.detail))


Answers = tuple[list[Party], ServedItems, ServedItem]


def prove(state: VaultTrust, answers: Answers) -> VaultTrust:
    """Prove one journey's answers, as the reader does."""
    signers, items, item = answers
    grown_from = None if state.head is None or state.head.size >= len(signers) else state.head.size
    claimed = read_directory(directory_json(signers, grown_from=grown_from))
    state, directory = advance(state, claimed, VAULT, TOFU)
    state, proven = advance_summary(state, items, directory)
    return advance_item(state, item, ITEM, proven, directory)[0]


def older_summary(service: Service, answers: Answers) -> Answers:
    """Serve the summary before this one."""
    return answers[0], listing(summary_of(service.summary - 1)), answers[2]


def older_detail(service: Service, answers: Answers) -> Answers:
    """Serve the detail before this one."""
    return answers[0], answers[1], served_item(detail_of(service.detail - 1))


def newer_detail_alone(service: Service, answers: Answers) -> Answers:
    """Serve a detail that is newer than what was written, under the summary that stands."""
    return answers[0], answers[1], served_item(detail_of(service.detail + 1))


def forked_summary(service: Service, answers: Answers) -> Answers:
    """Serve another summary of this version."""
    return answers[0], listing(summary_of(service.summary, forked=True)), answers[2]


def forked_detail(service: Service, answers: Answers) -> Answers:
    """Serve another detail of this version."""
    return answers[0], answers[1], served_item(detail_of(service.detail, forked=True))


def stripped_summary(_: Service, answers: Answers) -> Answers:
    """Leave the summary checkpoint out."""
    return answers[0], replace(answers[1], summary=None), answers[2]


def stripped_detail(_: Service, answers: Answers) -> Answers:
    """Leave the detail checkpoint out."""
    return answers[0], answers[1], replace(answers[2], detail=None)


def hidden_item(_: Service, answers: Answers) -> Answers:
    """Leave an item out of the listing."""
    return answers[0], replace(answers[1], items=answers[1].items[:1]), answers[2]


def substituted_key(_: Service, answers: Answers) -> Answers:
    """Put another key under the signer's id."""
    signers, items, item = answers
    return [replace(signers[0], key=parties().stranger.key), *signers[1:]], items, item


def shrunk_log(_: Service, answers: Answers) -> Answers:
    """Serve the log before it grew."""
    return answers[0][:-1], answers[1], answers[2]


def signed_by_a_stranger(service: Service, answers: Answers) -> Answers:
    """Sign the next summary with another key under the signer's id."""
    stranger = replace(parties().stranger, id=parties().human.id)
    return answers[0], listing(signed_summary(stranger, summary(service.summary + 1))), answers[2]


def revoked_signer(_: Service, answers: Answers) -> Answers:
    """Call the signer revoked and go on with what it signed."""
    return [answers[0][0].served_as(SignerStatus.REVOKED), *answers[0][1:]], answers[1], answers[2]


Lie = Callable[[Service, Answers], Answers]

LIES: dict[Lie, type[VerificationError]] = {
    older_summary: RollbackError,
    older_detail: RollbackError,
    newer_detail_alone: DisagreementError,
    forked_summary: EquivocationError,
    forked_detail: EquivocationError,
    stripped_summary: CheckpointMissingError,
    stripped_detail: CheckpointMissingError,
    hidden_item: DisagreementError,
    substituted_key: TransparencyError,
    shrunk_log: TransparencyError,
    signed_by_a_stranger: SignatureError,
    revoked_signer: SignerError,
}


class Remembering(RuleBasedStateMachine):
    """Two holders of one store, and a service that lies now and then."""

    @initialize()
    def begin(self) -> None:
        """Make first contact with an honest service."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "home" / "trust-store.json"
        self.holders = [open_store(self.path) for _ in range(HOLDERS)]
        self.service = Service()
        self.seen = VaultTrust()
        assert self.read(self.holders[0])

    def teardown(self) -> None:
        """Remove the store."""
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def read(self, holder: TrustStore) -> bool:
        """Make one honest journey."""
        before = anyio.run(holder.load, VAULT)
        return anyio.run(holder.swap, VAULT, before, prove(before, self.service.answers()))

    @rule(holder=st.integers(0, HOLDERS - 1))
    def honest_read(self, holder: int) -> None:
        """An honest answer is always accepted, by whoever asks."""
        assert self.read(self.holders[holder])
        state = anyio.run(self.holders[holder].load, VAULT)
        assert state.summary is not None
        assert state.summary.version == self.service.summary
        assert state.details[ITEM].version == self.service.detail

    @rule(summaries=st.integers(0, 2), details=st.integers(0, 2))
    def honest_write(self, summaries: int, details: int) -> None:
        """Somebody writes; nobody here has seen it yet. A write of the item makes a new summary too."""
        self.service.summary += summaries + details
        self.service.detail += details

    @precondition(lambda self: len(self.service.signers) == 1)
    @rule()
    def honest_signer(self) -> None:
        """An agent is admitted as a signer, so the log grows."""
        self.service.signers.append(parties().agent)

    @rule(lie=st.sampled_from(list(LIES)), holder=st.integers(0, HOLDERS - 1))
    def lie(self, lie: Lie, holder: int) -> None:
        """After the truth was seen, every lie is refused with its own error, and not a byte changes."""
        if lie is shrunk_log and len(self.service.signers) == 1:
            return
        if (lie is older_summary and self.service.summary == 1) or (lie is older_detail and self.service.detail == 1):
            return
        # Twice: only the second look began after the first one's summary was verified, which is what rule 6 counts from.
        assert self.read(self.holders[holder])
        assert self.read(self.holders[holder])
        before = self.path.read_bytes()
        state = anyio.run(self.holders[holder].load, VAULT)
        with pytest.raises(LIES[lie]):
            prove(state, lie(self.service, self.service.answers()))
        assert self.path.read_bytes() == before

    @rule(holder=st.integers(0, HOLDERS - 1))
    def late_holder(self, holder: int) -> None:
        """What was proven from a state that another holder moved meanwhile is not written; proven again it is."""
        late, quick = self.holders[holder], self.holders[holder - 1]
        before = anyio.run(late.load, VAULT)
        proven = prove(before, self.service.answers())
        self.service.summary += 1
        assert self.read(quick)
        written = self.path.read_bytes()
        assert not anyio.run(late.swap, VAULT, before, proven)
        assert self.path.read_bytes() == written
        assert self.read(late)

    @rule(holder=st.integers(0, HOLDERS - 1))
    def restart(self, holder: int) -> None:
        """A process ends and another begins."""
        self.holders[holder] = open_store(self.path)

    @invariant()
    def nothing_goes_back(self) -> None:
        """Every pin is at least what it was; statuses only move down their list."""
        if not hasattr(self, "path"):
            return
        now, then = anyio.run(open_store(self.path).load, VAULT), self.seen
        assert now.summary is not None
        assert now.head is not None
        assert now.summary.version >= (then.summary.version if then.summary else 0)
        assert now.head.size >= (then.head.size if then.head else 0)
        for item_id, pin in then.details.items():
            assert now.details[item_id].version >= pin.version
            assert now.details[item_id].summary_floor >= pin.summary_floor
        for key_id, signer in then.signers.items():
            assert now.signers[key_id].fingerprint == signer.fingerprint
            assert STATUS_ORDER[now.signers[key_id].status] >= STATUS_ORDER[signer.status]
        self.seen = now


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
