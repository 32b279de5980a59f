"""Vault keys: who may wrap one for us is proven before anything is decrypted."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.checkpoint import ProvenSummary, advance_summary
from r4_mcp.core.directory import Directory
from r4_mcp.core.encoding import b64_encode
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import PinnedDek, SignerStatus, VaultTrust
from r4_mcp.core.wire import KeyId, SignerRef, SignerType, WrappedKey
from r4_mcp.core.wrapping import Dek, advance_dek, dek_pin, prove_entry, unwrap, wrap, wrapped_entry
from r4_mcp.errors import (
    DisagreementError,
    EquivocationError,
    R4Error,
    RollbackError,
    SignatureError,
    SignerError,
    WrappedKeyDamagedError,
    WrappedKeyNotMineError,
)
from r4_mcp.secret import KnownSecrets, SecretKind

from .builders import (
    OTHER_VAULT,
    VAULT,
    Parties,
    Party,
    first_met,
    frozen_copy,
    identifier,
    listing,
    signed_summary,
    step,
    summary,
)

DEK: Final = bytes(range(32))
THEIRS: Final = bytes(range(100, 132))
DEK_VERSION: Final = 3
GARBAGE: Final = b64_encode(bytes(256))
"""Would raise *damaged* if anybody tried to decrypt it."""


@dataclass(frozen=True)
class Vault:
    """A vault at key version 3, proven, with no key opened yet."""

    all: Parties
    state: VaultTrust
    directory: Directory
    summary: ProvenSummary

    def entry(self, signer: Party | None = None, dek: bytes = DEK, version: int = DEK_VERSION) -> WrappedKey:
        """Wrap a DEK for our agent, signed by a person unless told otherwise."""
        by = signer or self.all.human
        held = Dek(VAULT, version, KnownSecrets().octets(dek, SecretKind.DEK))
        return wrapped_entry(held, self.all.agent.id, self.all.agent.key.public, by.ref, by.key)

    def advance(self, entry: WrappedKey, known: KnownSecrets | None = None) -> tuple[VaultTrust, Dek]:
        """Prove and open an entry with our agent's key."""
        return advance_dek(
            self.state, entry, self.directory, self.summary, self.all.agent.key, KnownSecrets() if known is None else known
        )

    def at(self, dek_version: int) -> Vault:
        """Advance the vault to a summary with another key version."""
        version = 5 + dek_version
        served = listing(signed_summary(self.all.human, summary(version, dek_version)))
        state, proven = advance_summary(self.state, served, self.directory)
        return replace(self, state=state, summary=proven)


def make_vault(parties: Parties, met: list[Party] | None = None) -> Vault:
    """Meet the vault."""
    state, directory = step(VaultTrust(), met or first_met(parties))
    state, proven = advance_summary(state, listing(signed_summary(parties.human, summary(5, DEK_VERSION))), directory)
    return Vault(parties, state, directory, proven)


@pytest.fixture(scope="session")
def vault(parties: Parties) -> Vault:
    """Meet the vault once."""
    return make_vault(parties)


def resigned(entry: WrappedKey, by: Party) -> WrappedKey:
    """Sign a changed entry anew, as a signer who lies validly would."""
    return replace(entry, signature=sign(by.key, Context.WRAPPED_DEK, entry.signed_payload()))


def of(entry: WrappedKey, wrapped: str, by: Party) -> WrappedKey:
    """Put another ciphertext into an entry and sign it."""
    return resigned(replace(entry, wrapped_dek=wrapped), by)


@pytest.mark.parametrize("signer", ["human", "agent"])
def test_a_key_wrapped_by_a_person_or_by_ourselves_opens(vault: Vault, signer: str) -> None:
    """It opens to the DEK, is pinned by version and HMAC, and is a known secret."""
    known = KnownSecrets()
    state, dek = vault.advance(vault.entry(getattr(vault.all, signer)), known)
    assert (dek.key.reveal(), dek.version, dek.vault_id) == (DEK, DEK_VERSION, VAULT)
    pin = hmac.new(DEK, b"r4.dek-pin.v1\n" + VAULT.encode(), "sha256").hexdigest()
    assert (state.dek, dek_pin(dek)) == (PinnedDek(DEK_VERSION, pin), pin)
    assert known.armed() == (DEK,)


NOT_AUTHENTIC: dict[str, tuple[Callable[[Vault], WrappedKey], type[R4Error], str]] = {
    "unsigned": (
        lambda vault: replace(vault.entry(dek=THEIRS), signature=""),
        SignatureError,
        "wrapped-dek.v1 does not verify",
    ),
    "with the signature of an honest entry": (
        lambda vault: replace(vault.entry(dek=THEIRS), signature=vault.entry().signature),
        SignatureError,
        "wrapped-dek.v1 does not verify",
    ),
    "signed for another purpose": (
        lambda vault: replace(
            vault.entry(dek=THEIRS),
            signature=sign(vault.all.human.key, Context.SUMMARY, vault.entry(dek=THEIRS).signed_payload()),
        ),
        SignatureError,
        "wrapped-dek.v1 does not verify",
    ),
    "signed by another key than it names": (
        lambda vault: resigned(vault.entry(dek=THEIRS), vault.all.stranger),
        SignatureError,
        "wrapped-dek.v1 does not verify",
    ),
    "signed by another agent of the vault": (
        lambda vault: vault.entry(vault.all.peer, dek=THEIRS),
        SignerError,
        r"signed by another agent, \w+ \(wrapping rule 3\)",
    ),
    "signed by a key that is not listed": (
        lambda vault: vault.entry(vault.all.stranger, dek=THEIRS),
        SignerError,
        "is not in the signer directory",
    ),
    "signed by an agent that calls itself a person": (
        lambda vault: vault.entry(
            replace(vault.all.peer, kind=SignerType.USER),
            dek=THEIRS,
        ),
        SignerError,
        "is not in the signer directory",
    ),
}


@pytest.mark.parametrize(("forge", "error", "reason"), NOT_AUTHENTIC.values(), ids=NOT_AUTHENTIC.keys())
def test_a_key_of_the_service_is_refused_before_decryption(
    vault: Vault, forge: Callable[[Vault], WrappedKey], error: type[R4Error], reason: str
) -> None:
    """The most important test: OAEP proves no sender, so a DEK that opens well is worth nothing unless its signer is trusted.

    The same forgery with a ciphertext that can't be decrypted gets the same answer: nobody tried.
    """
    before = frozen_copy(vault.state)
    forged = forge(vault)
    # The forged ciphertext is a perfectly good one: only the proof stands between it and us.
    assert unwrap(forged, vault.all.agent.key, KnownSecrets()).key.reveal() in {DEK, THEIRS}
    signer = next(party for party in (vault.all.human, vault.all.peer, vault.all.stranger) if party.id == forged.signer.id)
    undecryptable = replace(forged, wrapped_dek=GARBAGE)
    if error is SignerError:
        undecryptable = resigned(undecryptable, signer)
    for entry in (forged, undecryptable):
        known = KnownSecrets()
        with pytest.raises(error, match=reason) as refused:
            vault.advance(entry, known)
        assert type(refused.value) is error
        assert known.armed() == ()
        with pytest.raises(error, match=reason):
            prove_entry(vault.state, entry, vault.directory, vault.summary, vault.all.agent.key.public)
    assert vault.state == before


def test_what_can_not_be_decrypted_is_damaged_once_it_is_authentic(vault: Vault) -> None:
    """The control of the test above: the same garbage, signed by a person, is tried and called damaged."""
    with pytest.raises(WrappedKeyDamagedError, match="wrapping rule 4"):
        vault.advance(of(vault.entry(), GARBAGE, vault.all.human))


def oaep(mgf: hashes.HashAlgorithm, algorithm: hashes.HashAlgorithm, label: bytes | None = None) -> padding.OAEP:
    """Return another OAEP."""
    return padding.OAEP(mgf=padding.MGF1(mgf), algorithm=algorithm, label=label)


def wrapped_with(vault: Vault, scheme: padding.AsymmetricPadding, dek: bytes = DEK) -> str:
    """Wrap for our agent with another scheme."""
    return b64_encode(vault.all.agent.key.rsa.public_key().encrypt(dek, scheme))


SHA1 = hashes.SHA1()  # noqa: S303 - the downgrade under test
SHA256 = hashes.SHA256()
DAMAGED: dict[str, Callable[[Vault], str]] = {
    "for another key": lambda vault: wrap(KnownSecrets().octets(DEK, SecretKind.DEK), vault.all.peer.key.public),
    "31 bytes": lambda vault: wrapped_with(vault, oaep(SHA256, SHA256), DEK[:31]),
    "33 bytes": lambda vault: wrapped_with(vault, oaep(SHA256, SHA256), DEK + b"x"),
    "no bytes": lambda vault: wrapped_with(vault, oaep(SHA256, SHA256), b""),
    "OAEP with SHA-1": lambda vault: wrapped_with(vault, oaep(SHA1, SHA1)),
    "MGF1 with SHA-1": lambda vault: wrapped_with(vault, oaep(SHA1, SHA256)),
    "a label": lambda vault: wrapped_with(vault, oaep(SHA256, SHA256, b"label")),
    "PKCS#1 v1.5": lambda vault: wrapped_with(vault, padding.PKCS1v15()),
    "no base64": lambda _: "canary!",
    "nothing": lambda _: "",
    "too long": lambda _: b64_encode(bytes(513)),
}


@pytest.mark.parametrize("make", DAMAGED.values(), ids=DAMAGED.keys())
def test_an_authentic_key_that_does_not_open_is_damaged(vault: Vault, make: Callable[[Vault], str]) -> None:
    """Rule 4: other schemes, sizes and keys; signed as it is, and still nothing is known or pinned."""
    before, known = frozen_copy(vault.state), KnownSecrets()
    with pytest.raises(WrappedKeyDamagedError, match="wrapping rule 4") as refused:
        vault.advance(of(vault.entry(), make(vault), vault.all.human), known)
    assert "canary" not in str(refused.value)
    assert known.armed() == ()
    assert vault.state == before


WRONG_PLACE: dict[str, tuple[Callable[[Vault], WrappedKey], type[R4Error], str]] = {
    "rule 1: for another vault": (
        lambda vault: resigned(replace(vault.entry(), vault_id=OTHER_VAULT), vault.all.human),
        DisagreementError,
        "wrapping rule 1",
    ),
    "rule 1: of a lower version than the signed one": (
        lambda vault: vault.entry(version=DEK_VERSION - 1),
        DisagreementError,
        "wrapping rule 1",
    ),
    "rule 1: of a higher version than the signed one": (
        lambda vault: vault.entry(version=DEK_VERSION + 1),
        DisagreementError,
        "wrapping rule 1",
    ),
    "rule 2: for another agent": (
        lambda vault: resigned(replace(vault.entry(), recipient=vault.all.peer.id), vault.all.human),
        WrappedKeyNotMineError,
        "wrapping rule 2",
    ),
    "rule 2: for a person": (
        lambda vault: resigned(replace(vault.entry(), recipient=vault.all.human.id), vault.all.human),
        WrappedKeyNotMineError,
        "wrapping rule 2",
    ),
    "rule 2: for an id that nobody has": (
        lambda vault: resigned(replace(vault.entry(), recipient=KeyId(identifier("nobody"))), vault.all.human),
        WrappedKeyNotMineError,
        "wrapping rule 2",
    ),
}


@pytest.mark.parametrize(("make", "error", "reason"), WRONG_PLACE.values(), ids=WRONG_PLACE.keys())
def test_a_key_for_something_or_somebody_else_is_refused(
    vault: Vault, make: Callable[[Vault], WrappedKey], error: type[R4Error], reason: str
) -> None:
    """Rules 1 and 2, each validly signed; not being ours is not damage."""
    before = frozen_copy(vault.state)
    for entry in (make(vault), replace(make(vault), wrapped_dek=GARBAGE)):
        with pytest.raises(error, match=reason) as refused:
            vault.advance(entry)
        assert type(refused.value) is error
    assert vault.state == before


def test_our_key_under_a_persons_id_is_not_ours(parties: Parties) -> None:
    """The recipient is an agent's entry; a person's is somebody else's place."""
    vault = make_vault(parties, first_met(parties))
    with pytest.raises(WrappedKeyNotMineError, match="wrapping rule 2"):
        vault.advance(resigned(replace(vault.entry(), recipient=parties.human.id), parties.human))


def test_our_key_listed_as_a_persons_is_not_ours(parties: Parties) -> None:
    """Nor where the directory knows it as a person's, and nobody else's."""
    person = replace(parties.agent, kind=SignerType.USER)
    vault = make_vault(parties, [person if party is parties.agent else party for party in first_met(parties)])
    with pytest.raises(WrappedKeyNotMineError, match="wrapping rule 2"):
        vault.advance(vault.entry())


def test_our_key_listed_twice_is_refused_with_the_directory(parties: Parties) -> None:
    """One key has one entry: else what we sign as an agent could be shown as a person's word."""
    twin = replace(parties.agent, id=KeyId(identifier("twin")), kind=SignerType.USER)
    with pytest.raises(DisagreementError, match="directory rule 1"):
        make_vault(parties, [*first_met(parties), twin])


def test_the_key_version_never_goes_down(vault: Vault) -> None:
    """Not even where a newer signed summary says so."""
    state, _ = vault.advance(vault.entry())
    with pytest.raises(RollbackError, match=r"went back from 3 to 2 \(checkpoint rule 4\)"):
        replace(vault, state=state).at(DEK_VERSION - 1)
    # And should such a summary ever be at hand all the same, the key under it is refused as well.
    lowered = replace(vault, summary=replace(vault.summary, checkpoint=summary(20, DEK_VERSION - 1)))
    before = frozen_copy(state)
    with pytest.raises(RollbackError, match=r"went back from 3 to 2 \(wrapping rule 1\)"):
        replace(lowered, state=state).advance(vault.entry(version=DEK_VERSION - 1))
    assert state == before


def test_one_version_has_one_key(vault: Vault) -> None:
    """Rule 5: another DEK under the remembered version is equivocation, well signed as it is; the same one is not."""
    state, _ = vault.advance(vault.entry())
    remembering = replace(vault, state=state)
    assert remembering.advance(vault.entry(vault.all.agent))[0] == state
    before = frozen_copy(state)
    with pytest.raises(EquivocationError, match=r"two keys of version 3 \(wrapping rule 5\)"):
        remembering.advance(vault.entry(dek=THEIRS))
    assert state == before


def test_a_new_version_brings_a_new_key(vault: Vault) -> None:
    """With the signed summary's next version, another DEK is what is expected."""
    state, _ = vault.advance(vault.entry())
    raised = replace(vault, state=state).at(DEK_VERSION + 1)
    after, dek = raised.advance(raised.entry(dek=THEIRS, version=DEK_VERSION + 1))
    assert (dek.key.reveal(), after.dek) == (THEIRS, PinnedDek(DEK_VERSION + 1, dek_pin(dek)))


def test_a_retired_signer_wraps_nothing_newer(parties: Parties) -> None:
    """Rule 3: what it had wrapped when it was first seen retired still opens; a later version's key does not."""
    retired = parties.human.served_as(SignerStatus.RETIRED)
    vault = make_vault(parties, [retired, parties.agent, parties.peer])
    vault.advance(vault.entry())
    newer = listing(signed_summary(parties.agent, summary(6, DEK_VERSION + 1)))
    state, proven = advance_summary(vault.state, newer, vault.directory)
    raised = replace(vault, state=state, summary=proven)
    with pytest.raises(SignerError, match=r"retired at key version 3 and can't wrap version 4 \(wrapping rule 3\)"):
        raised.advance(raised.entry(version=DEK_VERSION + 1))
    raised.advance(raised.entry(parties.agent, version=DEK_VERSION + 1))


def test_a_revoked_signer_wraps_nothing(parties: Parties) -> None:
    """Not even what it had wrapped before."""
    vault = make_vault(parties)
    revoked = [parties.human.served_as(SignerStatus.REVOKED), parties.agent, parties.peer]
    state, directory = step(vault.state, revoked)
    with pytest.raises(SignerError, match="was revoked"):
        replace(vault, state=state, directory=directory).advance(vault.entry())


def test_an_entry_names_its_signer_and_recipient(vault: Vault) -> None:
    """What is written is what was asked for."""
    entry = vault.entry()
    assert (entry.recipient, entry.signer) == (vault.all.agent.id, SignerRef(SignerType.USER, vault.all.human.id))
    assert prove_entry(vault.state, entry, vault.directory, vault.summary, vault.all.agent.key.public) is entry
