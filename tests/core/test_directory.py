"""The signer directory: who is pinned, who continues whom, who is left out, and how a status sinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from r4_mcp.core import merkle
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.trust import LogHead, SignerStatus, SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import SignerRef, SignerType
from r4_mcp.errors import SignerError, TransparencyError

from .builders import OTHER_VAULT, PINNED, TOFU, VAULT, Parties, directory_json, entries, first_met, grown, step
from .mutate import replaced

REVOKED: Final = SignerStatus.REVOKED
RETIRED: Final = SignerStatus.RETIRED


def test_a_second_successor_is_refused_later_too(parties: Parties) -> None:
    """A key that was continued names no other heir, however long after."""
    all_ = parties
    state, _ = step(VaultTrust(), first_met(all_))
    first = all_.successor.continuing(all_.agent)
    state, _ = step(state, [*first_met(all_), first], grown_from=3)
    with pytest.raises(SignerError, match=r"has two successors \(directory rule 6\)"):
        step(state, [*first_met(all_), first, all_.second_successor.continuing(all_.agent)], grown_from=4)


def test_first_contact_pins_what_it_sees(parties: Parties) -> None:
    """Under tofu: every signer by id, kind and fingerprint, and the head of the log."""
    state, directory = step(VaultTrust(), first_met(parties))
    assert {key_id: pin.fingerprint for key_id, pin in state.signers.items()} == {
        party.id: party.fingerprint for party in first_met(parties)
    }
    hashes = [merkle.leaf_hash(party.leaf) for party in first_met(parties)]
    assert state.head == LogHead(3, merkle.root_of(hashes))
    assert directory.vault_id == VAULT
    assert not directory.strangers
    for party in first_met(parties):
        signer = directory.find(party.ref)
        assert (signer.id, signer.kind, signer.key.fingerprint) == (party.id, party.kind, party.fingerprint)
    assert VaultTrust().is_first_contact
    assert not state.is_first_contact


def test_the_same_directory_again_changes_nothing(parties: Parties) -> None:
    """An answer already proven is proven again to the same state."""
    state, _ = step(VaultTrust(), first_met(parties))
    assert step(state, first_met(parties))[0] == state


def test_continuity_is_followed_hop_by_hop(parties: Parties) -> None:
    """Two rotations missed in between are accepted together, in any order of the answer; each predecessor retires at once."""
    all_ = parties
    state, _ = step(VaultTrust(), first_met(all_))
    first = all_.successor.continuing(all_.agent)
    second = all_.second_successor.continuing(first)
    served = grown(all_, first, second)
    backwards = replaced(served, ("signers",), entries(served)[::-1])
    for answer in (served, backwards):
        after, directory = advance(state, read_directory(answer), VAULT, TOFU)
        statuses = [after.signers[party.id].status for party in (all_.agent, first, second)]
        assert statuses == [RETIRED, RETIRED, SignerStatus.ACTIVE]
        assert directory.find(second.ref).previous_id == first.id
        assert directory.active_of(second.fingerprint) is directory.signers[second.id]
        assert directory.active_of(all_.agent.fingerprint) is None
        assert not directory.strangers


def test_a_newcomer_without_continuity_is_left_out(parties: Parties) -> None:
    """After first contact it is listed, but trusted with nothing: not pinned, and refused by name with what to do."""
    state, _ = step(VaultTrust(), first_met(parties))
    after, directory = advance(state, read_directory(grown(parties, parties.stranger)), VAULT, TOFU)
    assert after.signers == state.signers
    assert parties.stranger.id not in directory.signers
    assert directory.active_of(parties.stranger.fingerprint) is None
    with pytest.raises(SignerError, match=r"continues no known key \(directory rule 6\)") as refused:
        directory.find(parties.stranger.ref)
    assert f"trust add {parties.stranger.fingerprint}" in str(refused.value.next_step)


def test_the_heir_of_a_newcomer_is_left_out_with_it(parties: Parties) -> None:
    """A chain that starts at an unknown key leads nowhere, valid as its links are."""
    heir = replace(parties.successor, kind=SignerType.USER).continuing(parties.stranger)
    state, _ = step(VaultTrust(), first_met(parties))
    after, directory = advance(state, read_directory(grown(parties, parties.stranger, heir)), VAULT, TOFU)
    assert after.signers == state.signers
    assert set(directory.strangers) == {parties.stranger.id, heir.id}


def test_keys_that_continue_each_other_are_left_out(parties: Parties) -> None:
    """A ring of continuity is rooted in nothing."""
    one = replace(parties.second_successor, previous=parties.successor)
    other = parties.successor.continuing(one)
    state, _ = step(VaultTrust(), first_met(parties))
    after, directory = advance(state, read_directory(grown(parties, one, other)), VAULT, TOFU)
    assert after.signers == state.signers
    assert set(directory.strangers) == {one.id, other.id}


@pytest.mark.parametrize("when", ["remembered", "served now"])
def test_a_revoked_key_names_no_heir(parties: Parties, when: str) -> None:
    """Continuity of a revoked key is worth nothing, whether the revocation was remembered or comes with the heir."""
    all_ = parties
    first = [all_.human, all_.agent.served_as(REVOKED) if when == "remembered" else all_.agent, all_.peer]
    state, _ = step(VaultTrust(), first)
    now = [all_.human, all_.agent if when == "remembered" else all_.agent.served_as(REVOKED), all_.peer]
    after, directory = step(state, [*now, all_.successor.continuing(all_.agent)], grown_from=3)
    assert all_.successor.id not in after.signers
    with pytest.raises(SignerError, match=r"\(directory rule 6\)"):
        directory.find(all_.successor.ref)


def test_a_fingerprint_that_the_operator_added_is_accepted(parties: Parties) -> None:
    """An anchor needs no continuity; only that fingerprint is one."""
    state, _ = step(VaultTrust(), first_met(parties))
    anchors = TrustAnchors(SignerTrust.TOFU, frozenset({parties.stranger.fingerprint}))
    served = grown(parties, parties.stranger, parties.second_successor)
    after, directory = advance(state, read_directory(served), VAULT, anchors)
    assert directory.find(parties.stranger.ref).status is SignerStatus.ACTIVE
    assert after.signers[parties.stranger.id].fingerprint == parties.stranger.fingerprint
    assert set(directory.strangers) == {parties.second_successor.id}


def test_under_pinned_only_anchors_and_their_heirs_are_admitted(parties: Parties) -> None:
    """First contact pins nothing that was not added by the operator; neither does the second."""
    all_ = parties
    anchors = TrustAnchors(SignerTrust.PINNED, frozenset({all_.agent.fingerprint}))
    served = [all_.human, all_.agent, all_.successor.continuing(all_.agent)]
    state = VaultTrust()
    for _ in range(2):
        state, directory = step(state, served, anchors=anchors)
        assert set(state.signers) == {all_.agent.id, all_.successor.id}
        assert set(directory.strangers) == {all_.human.id}
        with pytest.raises(SignerError, match=r"\(directory rule 6\)"):
            directory.find(all_.human.ref)


def test_under_pinned_without_anchors_nobody_signs(parties: Parties) -> None:
    """An empty policy admits nobody."""
    state, directory = step(VaultTrust(), first_met(parties), anchors=PINNED)
    assert not state.signers
    assert not directory.signers


@pytest.mark.parametrize("later", SignerStatus)
@pytest.mark.parametrize("seen", SignerStatus)
def test_a_status_only_ever_sinks(parties: Parties, seen: SignerStatus, later: SignerStatus) -> None:
    """RETIRED and REVOKED are sticky: flipped back they stay, and a lower one is taken over."""
    order = list(SignerStatus)
    state, _ = step(VaultTrust(), [parties.human, parties.agent.served_as(seen), parties.peer])
    state, directory = step(state, [parties.human, parties.agent.served_as(later), parties.peer])
    lowest = max(seen, later, key=order.index)
    assert state.signers[parties.agent.id].status is lowest
    assert directory.signers[parties.agent.id].status is lowest
    assert (directory.active_of(parties.agent.fingerprint) is not None) == (lowest is SignerStatus.ACTIVE)
    if lowest is REVOKED:
        with pytest.raises(SignerError, match=r"was revoked \(directory rule 7\)"):
            directory.find(parties.agent.ref)
    else:
        assert directory.find(parties.agent.ref).id == parties.agent.id


def test_a_signer_is_found_by_id_and_kind(parties: Parties) -> None:
    """An agent's id named as a person's, or an id that nobody has, is nobody."""
    _, directory = step(VaultTrust(), first_met(parties))
    for ref in (SignerRef(SignerType.USER, parties.agent.id), parties.stranger.ref):
        with pytest.raises(SignerError, match="is not in the signer directory"):
            directory.find(ref)


def test_a_directory_logged_for_another_vault_is_refused(parties: Parties) -> None:
    """The leaf names its vault, so another vault's whole directory can't be served here under our id."""
    served = replaced(directory_json(first_met(parties)), ("vaultId",), OTHER_VAULT)
    with pytest.raises(TransparencyError, match=r"inclusion proof.*directory rule 3"):
        advance(VaultTrust(), read_directory(served), OTHER_VAULT, TOFU)


def test_a_head_that_grew_is_remembered(parties: Parties) -> None:
    """The next proof starts where the last one ended; a proof from before is not enough."""
    state, _ = step(VaultTrust(), first_met(parties))
    first = parties.successor.continuing(parties.agent)
    state, _ = step(state, [*first_met(parties), first], grown_from=3)
    assert state.head is not None
    assert state.head.size == 4
    with pytest.raises(TransparencyError, match="shrank from 4 to 3"):
        step(state, first_met(parties))
