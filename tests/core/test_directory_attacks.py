"""Lies about a signer directory, validly signed and validly logged, each refused by the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import KeyRotation, SignerType
from r4_mcp.errors import DisagreementError, MalformedError, R4Error, SignatureError, SignerError, TransparencyError

from .builders import (
    OTHER_VAULT,
    TOFU,
    VAULT,
    Parties,
    Party,
    directory_json,
    entries,
    first_met,
    frozen_copy,
    grown,
    step,
    without,
)
from .mutate import at, replaced


def logged_twice(all_: Parties, index: int, impostor: Party) -> Json:
    """Log an impostor under a known id, honestly proven to continue the log, and serve it in the known one's place."""
    return without(grown(all_, impostor), index)


def forked(all_: Parties) -> dict[str, Json]:
    """Return a larger log in which one known leaf was another, with that log's own proof."""
    other = replace(all_.agent, id=all_.stranger.id)
    log = directory_json([all_.human, other, all_.peer, all_.stranger], grown_from=3)
    return {**grown(all_, all_.stranger), "head": log["head"], "consistencyProof": log["consistencyProof"]}


def flipped(text: Json) -> str:
    """Return another hash in base64."""
    assert isinstance(text, str)
    return ("A" if text[0] != "A" else "B") + text[1:]


PROOF: Final = ("signers", 1, "inclusionProof")
SAME_ANSWER = {
    "rule 1: it is for another vault": (
        lambda served: replaced(served, ("vaultId",), OTHER_VAULT),
        DisagreementError,
        r"another vault \(directory rule 1\)",
    ),
    "rule 1: an entry stands there twice": (
        lambda served: replaced(served, ("signers",), [*entries(served), entries(served)[0]]),
        DisagreementError,
        r"repeats an entry \(directory rule 1\)",
    ),
    "rule 1: two entries share a leaf": (
        lambda served: replaced(served, ("signers", 1, "leafIndex"), 0),
        DisagreementError,
        r"repeats an entry \(directory rule 1\)",
    ),
    "rule 2: a fingerprint is that of another key": (
        lambda served: replaced(served, ("signers", 1, "fingerprint"), at(served, ("signers", 0, "fingerprint"))),
        MalformedError,
        r"is not that of its key \(directory rule 2\)",
    ),
    "rule 2: a key was exchanged, its fingerprint kept": (
        lambda served: replaced(served, ("signers", 1, "publicKey"), at(served, ("signers", 0, "publicKey"))),
        MalformedError,
        r"is not that of its key \(directory rule 2\)",
    ),
    "rule 2: a key is no key": (
        lambda served: replaced(served, ("signers", 1, "publicKey"), "no key"),
        MalformedError,
        "is not a public key in PEM",
    ),
    "rule 3: an inclusion proof is another": (
        lambda served: replaced(served, (*PROOF, 0), flipped(at(served, (*PROOF, 0)))),
        TransparencyError,
        r"inclusion proof of leaf 1 in a log of 3.*directory rule 3",
    ),
    "rule 3: an inclusion proof is absent": (
        lambda served: replaced(served, PROOF, []),
        TransparencyError,
        r"inclusion proof of leaf 1 in a log of 3.*directory rule 3",
    ),
    "rule 3: a leaf outside the log": (
        lambda served: replaced(served, ("signers", 1, "leafIndex"), 3),
        TransparencyError,
        r"leaf index 3 is outside a log of 3.*directory rule 3",
    ),
    "rule 3: the kind is not the logged one": (
        lambda served: replaced(served, ("signers", 1, "signerType"), "USER_KEY_PAIR"),
        TransparencyError,
        r"inclusion proof of leaf 1\b.*directory rule 3",
    ),
    "rule 3: the predecessor is not the logged one": (
        lambda served: replaced(served, ("signers", 1, "previousId"), at(served, ("signers", 0, "id"))),
        TransparencyError,
        r"inclusion proof of leaf 1\b.*directory rule 3",
    ),
    "rule 3: the id is not the logged one": (
        lambda served: replaced(served, ("signers", 1, "id"), "f" * 24),
        TransparencyError,
        r"inclusion proof of leaf 1\b.*directory rule 3",
    ),
}


@pytest.mark.parametrize(
    ("proof", "reason"),
    [([b64_encode(bytes(32))] * 65, "more than 64 hashes"), ([b64_encode(bytes(31))], "not 32 bytes")],
    ids=["longer than any tree is deep", "a hash that is too short"],
)
def test_a_proof_of_another_form_is_malformed(parties: Parties, proof: list[str], reason: str) -> None:
    """It is refused before any hash is computed."""
    served = replaced(directory_json(first_met(parties)), PROOF, [*proof])
    with pytest.raises(MalformedError, match=reason):
        read_directory(served)


@pytest.mark.parametrize(("lie", "error", "reason"), SAME_ANSWER.values(), ids=SAME_ANSWER.keys())
@pytest.mark.parametrize("met", ["first contact", "later"])
def test_a_directory_that_is_not_proven_is_refused(
    parties: Parties, lie: Callable[[Json], Json], error: type[R4Error], reason: str, met: str
) -> None:
    """Each lie about an otherwise honest answer is refused, at first contact as later, and changes nothing."""
    state = VaultTrust() if met == "first contact" else step(VaultTrust(), first_met(parties))[0]
    before = frozen_copy(state)
    with pytest.raises(error, match=reason):
        advance(state, read_directory(lie(directory_json(first_met(parties)))), VAULT, TOFU)
    assert state == before


Growth = Callable[[Parties], Json]
LATER: dict[str, tuple[Growth, type[R4Error], str]] = {
    "rule 4: the log shrank": (
        lambda all_: directory_json([all_.human, all_.agent]),
        TransparencyError,
        r"shrank from 3 to 2\b.*directory rule 4",
    ),
    "rule 4: the log shrank, with a proof from the larger one": (
        lambda all_: {
            **directory_json([all_.human, all_.agent]),
            "consistencyProof": {"fromTreeSize": 3, "hashes": []},
        },
        TransparencyError,
        r"shrank from 3 to 2\b.*directory rule 4",
    ),
    "rule 4: the log of the same size has another root": (
        lambda all_: directory_json([all_.human, all_.agent, all_.stranger]),
        TransparencyError,
        r"log of 3 entries changed its root.*directory rule 4",
    ),
    "rule 4: the same, with a proof that says otherwise": (
        lambda all_: {
            **directory_json([all_.human, all_.agent, all_.stranger]),
            "consistencyProof": {"fromTreeSize": 3, "hashes": []},
        },
        TransparencyError,
        r"log of 3 entries changed its root.*directory rule 4",
    ),
    "rule 4: the log grew without proof": (
        lambda all_: directory_json([*first_met(all_), all_.stranger]),
        TransparencyError,
        r"no consistency proof from 3\b.*directory rule 4",
    ),
    "rule 4: the proof is from another size": (
        lambda all_: directory_json([*first_met(all_), all_.stranger], grown_from=2),
        TransparencyError,
        r"no consistency proof from 3\b.*directory rule 4",
    ),
    "rule 4: a hash of the proof is another": (
        lambda all_: replaced(
            grown(all_, all_.stranger),
            ("consistencyProof", "hashes", 0),
            flipped(at(grown(all_, all_.stranger), ("consistencyProof", "hashes", 0))),
        ),
        TransparencyError,
        r"log of 4 entries does not continue the one of 3.*directory rule 4",
    ),
    "rule 4: the proof is empty": (
        lambda all_: replaced(grown(all_, all_.stranger), ("consistencyProof", "hashes"), []),
        TransparencyError,
        r"a consistency proof is missing.*directory rule 4",
    ),
    "rule 4: the log forked": (forked, TransparencyError, r"log of 4 entries does not continue the one of 3.*directory rule 4"),
    "rule 5: another key under a known id": (
        lambda all_: logged_twice(all_, 1, replace(all_.stranger, id=all_.agent.id, kind=SignerType.AGENT)),
        DisagreementError,
        r"changed its key \(directory rule 5\)",
    ),
    "rule 5: another kind under a known id": (
        lambda all_: logged_twice(all_, 1, replace(all_.agent, kind=SignerType.USER)),
        DisagreementError,
        r"changed its key \(directory rule 5\)",
    ),
    "rule 5: another predecessor under a known id": (
        lambda all_: logged_twice(all_, 1, all_.agent.continuing(all_.peer)),
        DisagreementError,
        r"changed its key \(directory rule 5\)",
    ),
    "rule 5: a known signer vanished": (
        lambda all_: without(directory_json(first_met(all_)), 2),
        DisagreementError,
        r"vanished from the directory of vault \w+ \(directory rule 5\)",
    ),
    "rule 6: the continuity is signed by the new key itself": (
        lambda all_: grown(all_, all_.successor.continuing(all_.agent, all_.successor)),
        SignatureError,
        "key-rotation.v1 does not verify",
    ),
    "rule 6: the continuity is signed by another known key": (
        lambda all_: grown(all_, all_.successor.continuing(all_.agent, all_.human)),
        SignatureError,
        "key-rotation.v1 does not verify",
    ),
    "rule 6: the continuity is for another new key": (
        lambda all_: replaced(
            grown(all_, all_.successor.continuing(all_.agent)),
            ("signers", 3, "rotationSignature"),
            at(grown(all_, all_.second_successor.continuing(all_.agent)), ("signers", 3, "rotationSignature")),
        ),
        SignatureError,
        "key-rotation.v1 does not verify",
    ),
    "rule 6: the continuity was signed for another purpose": (
        lambda all_: replaced(
            grown(all_, all_.successor.continuing(all_.agent)),
            ("signers", 3, "rotationSignature"),
            sign(
                all_.agent.key,
                Context.SUMMARY,
                KeyRotation(all_.successor.id, all_.successor.fingerprint, all_.agent.id).payload(),
            ),
        ),
        SignatureError,
        "key-rotation.v1 does not verify",
    ),
    "rule 6: the continuity is not shown": (
        lambda all_: replaced(grown(all_, all_.successor.continuing(all_.agent)), ("signers", 3, "rotationSignature"), None),
        SignerError,
        r"does not show what it continues \(directory rule 6\)",
    ),
    "rule 6: the predecessor is not there": (
        lambda all_: without(grown(all_, all_.stranger, all_.successor.continuing(all_.stranger)), 3),
        SignerError,
        r"does not show what it continues \(directory rule 6\)",
    ),
    "rule 6: a person continues an agent": (
        lambda all_: grown(all_, replace(all_.successor, kind=SignerType.USER).continuing(all_.agent)),
        SignerError,
        r"does not show what it continues \(directory rule 6\)",
    ),
    "rule 6: two successors at once": (
        lambda all_: grown(all_, all_.successor.continuing(all_.agent), all_.second_successor.continuing(all_.agent)),
        SignerError,
        r"has two successors \(directory rule 6\)",
    ),
}


@pytest.mark.parametrize("met", ["first contact", "later"])
def test_one_id_with_two_logged_keys_is_refused(parties: Parties, met: str) -> None:
    """Both leaves are in the log, each with its own index and proof: an id still names one key (rule 1)."""
    state = VaultTrust() if met == "first contact" else step(VaultTrust(), first_met(parties))[0]
    impostor = replace(parties.stranger, id=parties.agent.id, kind=SignerType.AGENT)
    with pytest.raises(DisagreementError, match=r"repeats an entry \(directory rule 1\)"):
        advance(state, read_directory(grown(parties, impostor)), VAULT, TOFU)


@pytest.mark.parametrize(("lie", "error", "reason"), LATER.values(), ids=LATER.keys())
def test_a_directory_that_contradicts_what_is_remembered_is_refused(
    parties: Parties, lie: Growth, error: type[R4Error], reason: str
) -> None:
    """After first contact: each lie is validly logged and signed, and refused by the rule that it breaks; nothing changes."""
    state, _ = step(VaultTrust(), first_met(parties))
    before = frozen_copy(state)
    with pytest.raises(error, match=reason):
        advance(state, read_directory(lie(parties)), VAULT, TOFU)
    assert state == before
