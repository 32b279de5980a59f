"""What checkpoints leave behind: versions, noted retirements, the websites that a person signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from r4_mcp.core.checkpoint import advance_item, advance_summary
from r4_mcp.core.directory import Directory
from r4_mcp.core.signing import Context, signed_bytes
from r4_mcp.core.trust import PinnedVersion, SignerStatus, VaultTrust
from r4_mcp.errors import DisagreementError, SignerError

from .builders import (
    FIELDS,
    ITEM,
    ITEMS,
    OTHER_ITEM,
    Parties,
    Party,
    detail,
    first_met,
    listing,
    served_item,
    signed_detail,
    signed_summary,
    step,
    summary,
)

RETIRED = SignerStatus.RETIRED


def seen(state: VaultTrust, party: Party, version: int, directory: Directory, dek_version: int = 1) -> VaultTrust:
    """Advance by an honest summary."""
    return advance_summary(state, listing(signed_summary(party, summary(version, dek_version))), directory)[0]


def rotated(parties: Parties) -> tuple[VaultTrust, Directory, Party]:
    """Know a vault whose agent signed summary 5 and was then continued by another key."""
    state, directory = step(VaultTrust(), first_met(parties))
    state = seen(state, parties.agent, 5, directory, dek_version=2)
    heir = parties.successor.continuing(parties.agent)
    state, directory = step(state, [*first_met(parties), heir], grown_from=3)
    return state, directory, heir


def test_the_highest_version_is_remembered(parties: Parties) -> None:
    """First contact takes any version; gaps are allowed; the digest goes with the version."""
    state, directory = step(VaultTrust(), first_met(parties))
    for version in (3, 4, 9):
        state = seen(state, parties.human, version, directory)
        assert state.summary == PinnedVersion(
            version, hashlib.sha256(signed_bytes(Context.SUMMARY, summary(version).payload())).hexdigest()
        )


def test_the_same_content_signed_by_someone_else_is_no_equivocation(parties: Parties) -> None:
    """The digest names the content; who signed it, and the random signature, don't change it."""
    state, directory = step(VaultTrust(), first_met(parties))
    state = seen(state, parties.human, 5, directory)
    assert seen(state, parties.agent, 5, directory) == state


def test_a_retired_signer_verifies_what_it_had_made(parties: Parties) -> None:
    """The versions served when it is first seen retired are noted, and stay readable."""
    state, directory, _ = rotated(parties)
    assert state.signers[parties.agent.id].retired_summary is None
    state = seen(state, parties.agent, 5, directory, dek_version=2)
    pin = state.signers[parties.agent.id]
    assert (pin.status, pin.retired_summary, pin.retired_dek) == (RETIRED, 5, 2)
    assert seen(state, parties.agent, 5, directory, dek_version=2) == state


def test_a_retired_signer_verifies_nothing_newer(parties: Parties) -> None:
    """After the noted version its signature counts for nothing; its heir's does, and moves no note."""
    state, directory, heir = rotated(parties)
    state = seen(state, parties.agent, 5, directory, dek_version=2)
    with pytest.raises(SignerError, match=r"retired at summary version 5 and can't sign version 6 \(checkpoint rule 2\)"):
        seen(state, parties.agent, 6, directory, dek_version=2)
    state = seen(state, heir, 6, directory, dek_version=3)
    pin = state.signers[parties.agent.id]
    assert (pin.retired_summary, pin.retired_dek) == (5, 2)
    assert state.signers[heir.id].retired_summary is None
    with pytest.raises(SignerError, match="checkpoint rule 2"):
        seen(state, parties.agent, 7, directory, dek_version=3)


def test_a_signer_first_met_retired_keeps_its_last_version(parties: Parties) -> None:
    """At first contact the version served is the last one that a retired signer may have made."""
    state, directory = step(VaultTrust(), [parties.human, parties.agent.served_as(RETIRED), parties.peer])
    state = seen(state, parties.agent, 7, directory)
    with pytest.raises(SignerError, match="checkpoint rule 2"):
        seen(state, parties.agent, 8, directory)


def test_a_retired_signer_signs_no_detail_newer_than_one_seen_since(parties: Parties) -> None:
    """Every write makes a new summary; a detail seen at the summary of its retirement is the last one that it signed."""
    state, directory, _ = rotated(parties)
    last = listing(signed_summary(parties.agent, summary(5, 2)))
    state, _ = advance_summary(state, last, directory)
    state, proven = advance_summary(state, last, directory)
    state, _, _ = advance_item(state, served_item(signed_detail(parties.agent, detail(3))), ITEM, proven, directory)
    newer = served_item(signed_detail(parties.agent, detail(4, fields=FIELDS[:2])))
    with pytest.raises(SignerError, match="checkpoint rule 2"):
        advance_item(state, newer, ITEM, proven, directory)


def test_a_detail_fetched_before_its_retirement_was_seen_may_still_grow(parties: Parties) -> None:
    """On the first look nothing says that the detail was the last one, so an honest later one is not refused."""
    state, directory = step(VaultTrust(), [parties.human, parties.agent.served_as(RETIRED), parties.peer])
    state, proven = advance_summary(state, listing(signed_summary(parties.agent, summary(5))), directory)
    state, _, _ = advance_item(state, served_item(signed_detail(parties.agent, detail(3))), ITEM, proven, directory)
    newer = served_item(signed_detail(parties.agent, detail(4, fields=FIELDS[:2])))
    state, _, _ = advance_item(state, newer, ITEM, proven, directory)
    assert state.details[ITEM].version == 4


def test_a_detail_does_not_change_under_a_summary_that_stands_still(parties: Parties) -> None:
    """Whoever signed it: a write without a new summary is none."""
    state, directory = step(VaultTrust(), first_met(parties))
    same = listing(signed_summary(parties.human, summary(5)))
    state, _ = advance_summary(state, same, directory)
    state, proven = advance_summary(state, same, directory)
    state, _, _ = advance_item(state, served_item(signed_detail(parties.human, detail(1))), ITEM, proven, directory)
    newer = served_item(signed_detail(parties.human, detail(2, fields=FIELDS[:2])))
    with pytest.raises(DisagreementError, match="checkpoint rule 6"):
        advance_item(state, newer, ITEM, proven, directory)
    state, proven = advance_summary(state, listing(signed_summary(parties.human, summary(6))), directory)
    state, _, _ = advance_item(state, newer, ITEM, proven, directory)
    assert state.details[ITEM].version == 2


def test_a_revoked_signer_verifies_nothing(parties: Parties) -> None:
    """Not even what it signed before."""
    state, directory = step(VaultTrust(), first_met(parties))
    state, proven = advance_summary(state, listing(signed_summary(parties.agent, summary(5))), directory)
    state, directory = step(state, [parties.human, parties.agent.served_as(SignerStatus.REVOKED), parties.peer])
    with pytest.raises(SignerError, match=r"was revoked \(directory rule 7\)"):
        seen(state, parties.agent, 5, directory)
    with pytest.raises(SignerError, match=r"was revoked \(directory rule 7\)"):
        advance_item(state, served_item(signed_detail(parties.agent, detail(1))), ITEM, proven, directory)


def test_websites_count_when_a_person_signed_them(parties: Parties) -> None:
    """They are pinned from human-signed details only, kept across agent-signed ones, and replaced by the next human's."""
    state, directory = step(VaultTrust(), first_met(parties))
    human, agent = parties.human, parties.agent
    expected: list[tuple[Party, tuple[str, ...], tuple[str, ...] | None]] = [
        (agent, ("https://agent.example",), None),
        (human, ("https://one.example",), ("https://one.example",)),
        (agent, ("https://evil.example",), ("https://one.example",)),
        (agent, (), ("https://one.example",)),
        (human, (), ()),
        (human, ("https://two.example",), ("https://two.example",)),
    ]
    for version, (signer, websites, pinned) in enumerate(expected, start=1):
        item = replace(ITEMS[0], websites=websites)
        state, proven = advance_summary(
            state, listing(signed_summary(signer, summary(version, items=(item, ITEMS[1])))), directory
        )
        served = served_item(signed_detail(signer, detail(version, item)))
        state, _, _ = advance_item(state, served, ITEM, proven, directory)
        assert state.details[ITEM].human_websites == pinned


def test_items_are_remembered_apart(parties: Parties) -> None:
    """A version of one item says nothing of another's, and nothing is forgotten."""
    state, directory = step(VaultTrust(), first_met(parties))
    state, proven = advance_summary(state, listing(signed_summary(parties.human, summary(1))), directory)
    for item, version in ((ITEMS[0], 7), (ITEMS[1], 2), (ITEMS[0], 8)):
        served = served_item(signed_detail(parties.human, detail(version, item)))
        state, _, _ = advance_item(state, served, item.id, proven, directory)
    assert {key: pin.version for key, pin in state.details.items()} == {ITEM: 8, OTHER_ITEM: 2}
