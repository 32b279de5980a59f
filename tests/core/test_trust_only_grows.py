"""Whatever is served, in whatever order: no accepted answer ever takes back what was proven before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.checkpoint import ProvenSummary, advance_item, advance_summary
from r4_mcp.core.directory import Directory
from r4_mcp.core.trust import STATUS_ORDER, SignerStatus, VaultTrust
from r4_mcp.core.wrapping import Dek, advance_dek, wrapped_entry
from r4_mcp.errors import VerificationError
from r4_mcp.secret import KnownSecrets, SecretKind

from .builders import (
    FIELDS,
    ITEM,
    ITEMS,
    VAULT,
    Parties,
    Party,
    detail,
    frozen_copy,
    listing,
    served_item,
    signed_detail,
    signed_summary,
    step,
    summary,
)

SIGNERS = ("human", "agent", "peer", "successor", "stranger")
VERSIONS = st.integers(1, 4)
names = st.sampled_from(SIGNERS)
statuses = st.sampled_from(SignerStatus)

Step: TypeAlias = tuple[str, dict[str, object]]
steps = st.one_of(
    st.tuples(
        st.just("directory"),
        st.fixed_dictionaries(
            {
                "parties": st.lists(names, min_size=1, max_size=5, unique=True) | st.just(list(SIGNERS[:3])),
                "status": statuses,
                "sunk": names,
                "grown_from": st.none() | st.integers(1, 4),
            }
        ),
    ),
    st.tuples(
        st.just("summary"),
        st.fixed_dictionaries({"version": VERSIONS, "dek": VERSIONS, "signer": names, "fork": st.integers(0, 1)}),
    ),
    st.tuples(st.just("detail"), st.fixed_dictionaries({"version": VERSIONS, "signer": names, "fork": st.integers(0, 1)})),
    st.tuples(st.just("dek"), st.fixed_dictionaries({"signer": names, "fork": st.integers(0, 1)})),
)


def party_of(parties: Parties, name: str) -> Party:
    """Return a party; the successor continues the agent."""
    found = getattr(parties, name)
    assert isinstance(found, Party)
    return found.continuing(parties.agent) if name == "successor" else found


def never_goes_back(before: VaultTrust, after: VaultTrust) -> None:
    """Compare two states, the second reached from the first by one accepted answer."""
    for key_id, pin in before.signers.items():
        now = after.signers[key_id]
        assert (now.kind, now.fingerprint, now.previous_id) == (pin.kind, pin.fingerprint, pin.previous_id)
        assert STATUS_ORDER[now.status] >= STATUS_ORDER[pin.status]
        if pin.retired_summary is not None:
            assert (now.retired_summary, now.retired_dek) == (pin.retired_summary, pin.retired_dek)
    if before.head is not None:
        assert after.head is not None
        assert after.head.size >= before.head.size
        assert after.head.size > before.head.size or after.head == before.head
    versions = [(before.summary, after.summary), (before.dek, after.dek)]
    pairs = [*versions, *((pin, after.details.get(item_id)) for item_id, pin in before.details.items())]
    for pinned, now_pinned in pairs:
        if pinned is not None:
            assert now_pinned is not None
            assert now_pinned.version >= pinned.version
            same_version = now_pinned.version == pinned.version
            assert not same_version or name_of(now_pinned) == name_of(pinned)


def name_of(pinned: object) -> str:
    """Return what names the content of a pinned version."""
    return str(getattr(pinned, "digest", None) or getattr(pinned, "pin", None))


class Journey:
    """A client's memory of one vault, served one answer after another."""

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.state = VaultTrust()
        self.directory: Directory | None = None
        self.proven: ProvenSummary | None = None
        self.outcomes: list[str] = []

    def take(self, move: Step) -> None:
        """Serve one answer: accepted, it takes nothing back; refused, it changes nothing."""
        kind, drawn = move
        before = frozen_copy(self.state)
        act: Callable[..., VaultTrust] = getattr(self, f"take_{kind}")
        try:
            after = act(**drawn)
        except VerificationError as refused:
            self.outcomes.append(type(refused).__name__)
            assert self.state == before
            return
        assert self.state == before
        never_goes_back(before, after)
        self.state = after
        self.outcomes.append("accepted")

    def take_directory(self, parties: list[str], status: SignerStatus, sunk: str, grown_from: int | None) -> VaultTrust:
        """Serve a directory, with a proof or without, one signer with another status."""
        served = [party_of(self.parties, name).served_as(status if name == sunk else SignerStatus.ACTIVE) for name in parties]
        size = grown_from if grown_from is not None and grown_from <= len(served) else None
        after, self.directory = step(self.state, served, grown_from=size)
        return after

    def take_summary(self, version: int, dek: int, signer: str, fork: int) -> VaultTrust:
        """Serve a listing."""
        if self.directory is None:
            return self.state
        served = listing(signed_summary(party_of(self.parties, signer), summary(version, dek, ITEMS[: 2 - fork])))
        after, self.proven = advance_summary(self.state, served, self.directory)
        return after

    def take_detail(self, version: int, signer: str, fork: int) -> VaultTrust:
        """Serve an item, with the last proven summary."""
        if self.directory is None or self.proven is None:
            return self.state
        served = served_item(signed_detail(party_of(self.parties, signer), detail(version, fields=FIELDS[fork:])))
        return advance_item(self.state, served, ITEM, self.proven, self.directory)[0]

    def take_dek(self, signer: str, fork: int) -> VaultTrust:
        """Serve a wrapped key of the version that the last proven summary names."""
        if self.directory is None or self.proven is None:
            return self.state
        by, mine, known = party_of(self.parties, signer), self.parties.agent, KnownSecrets()
        dek = Dek(VAULT, self.proven.checkpoint.dek_version, known.octets(bytes([fork]) * 32, SecretKind.DEK))
        entry = wrapped_entry(dek, mine.id, mine.key.public, by.ref, by.key)
        return advance_dek(self.state, entry, self.directory, self.proven, mine.key, known)[0]


@given(st.lists(steps, max_size=12))
@settings(max_examples=120, deadline=None)
def test_no_accepted_answer_takes_anything_back(parties: Parties, moves: list[Step]) -> None:
    """Versions never fall, one version keeps one content, no signer is forgotten, changed or raised, the log never shrinks."""
    journey = Journey(parties)
    journey.take(("directory", {"parties": list(SIGNERS[:3]), "status": SignerStatus.ACTIVE, "sunk": "peer", "grown_from": None}))
    for move in moves:
        journey.take(move)


def test_the_journey_meets_both_outcomes(parties: Parties) -> None:
    """The test above walks over acceptances and refusals alike: a journey of known outcomes."""
    journey = Journey(parties)
    first, active = list(SIGNERS[:3]), SignerStatus.ACTIVE
    moves: list[tuple[str, dict[str, object], str]] = [
        ("directory", {"parties": first, "status": active, "sunk": "peer", "grown_from": None}, "accepted"),
        ("summary", {"version": 2, "dek": 2, "signer": "agent", "fork": 0}, "accepted"),
        ("detail", {"version": 3, "signer": "human", "fork": 0}, "accepted"),
        ("dek", {"signer": "human", "fork": 0}, "accepted"),
        ("summary", {"version": 1, "dek": 2, "signer": "human", "fork": 0}, "RollbackError"),
        ("summary", {"version": 2, "dek": 2, "signer": "human", "fork": 1}, "EquivocationError"),
        ("summary", {"version": 3, "dek": 2, "signer": "stranger", "fork": 0}, "SignerError"),
        ("detail", {"version": 2, "signer": "human", "fork": 0}, "RollbackError"),
        ("detail", {"version": 3, "signer": "human", "fork": 1}, "EquivocationError"),
        ("dek", {"signer": "peer", "fork": 0}, "SignerError"),
        ("dek", {"signer": "agent", "fork": 1}, "EquivocationError"),
        ("directory", {"parties": first[:2], "status": active, "sunk": "peer", "grown_from": None}, "TransparencyError"),
        ("directory", {"parties": [*first, "successor"], "status": active, "sunk": "peer", "grown_from": 3}, "accepted"),
        ("summary", {"version": 2, "dek": 2, "signer": "agent", "fork": 0}, "accepted"),
        ("summary", {"version": 3, "dek": 2, "signer": "agent", "fork": 0}, "SignerError"),
        ("summary", {"version": 3, "dek": 1, "signer": "successor", "fork": 0}, "RollbackError"),
        ("summary", {"version": 3, "dek": 2, "signer": "successor", "fork": 0}, "accepted"),
        ("dek", {"signer": "human", "fork": 0}, "accepted"),
    ]
    for kind, drawn, _ in moves:
        journey.take((kind, drawn))
    assert journey.outcomes == [outcome for _, _, outcome in moves]
