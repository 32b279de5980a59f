"""Lies about vault keys: substituted, forked, lowered, of another vault, for another reader, wrapped another way.

What this file does not do: know the agent's private key. Everything here is wrapped for its public one, which the service has:
OAEP gives no sender authenticity, so whoever has a public key can wrap for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.envelope import DEK_SIZE, Place, seal
from r4_mcp.core.keys import PublicKey
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import FieldId, FieldInstanceId, ItemId, KeyId, SignerRef, SignerType
from r4_mcp.core.wrapping import wrap
from r4_mcp.emulator.custody import prove_vault
from r4_mcp.emulator.faults_checkpoints import advanced, replaying, resign
from r4_mcp.emulator.faults_liar import (
    Answer,
    Asked,
    Edit,
    Fault,
    Hand,
    Liar,
    Lie,
    admit_attacker,
    admit_insider,
    edit_of,
    editing,
    number,
    part,
    rows,
    text,
)
from r4_mcp.emulator.faults_signers import status_of
from r4_mcp.emulator.fresh import new_iv
from r4_mcp.emulator.signing_keys import key_by_id
from r4_mcp.emulator.vault_rows import find_wrapped_key, recipients
from r4_mcp.machine.contract import GET_DIRECTORY, GET_FIELD, GET_ITEM, GET_WRAPPED_KEY, LIST_ITEMS
from r4_mcp.secret import Secret, SecretKind

CHOSEN: Final = "chosen-by-the-attacker"
"""The plaintext of every field under a substituted key: whoever shows it was fooled."""

_Wrap = Callable[[PublicKey, bytes], bytes]


def _their_dek(liar: Liar) -> Secret[bytes]:
    # Derived, so that the key and the fields sealed under it agree between requests.
    return liar.known.octets(liar.attacker.key.public.fingerprint.encode("ascii")[:DEK_SIZE], SecretKind.DEK)


def _recipient(asked: Asked, body: dict[str, Json]) -> PublicKey:
    with asked.store.read() as db:
        key = key_by_id(db, text(body["encryptionKeyId"]))
    if key is None:
        message = "the recipient vanished"
        raise LookupError(message)
    return key.public


def _sign_entry(body: dict[str, Json], hand: Hand) -> None:
    for member in ("signerEncryptionKeyId", "signerUserKeyPairId", "wrappedDekSignature"):
        body.pop(member, None)
    body.update({**hand.ref.members(), "signerType": hand.ref.kind.value})
    body["wrappedDekSignature"] = part(hand.signed(Context.WRAPPED_DEK, dict(body)))["signature"]


def _substitute(hand: Callable[[Liar], Hand] | None) -> Edit:
    """Wrap the attacker's DEK; signed by a hand, or under the old signature."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        body["wrappedDek"] = wrap(_their_dek(asked.liar), _recipient(asked, body))
        if hand is not None:
            _sign_entry(body, hand(asked.liar))

    return edit


def _seal_chosen(asked: Asked, body: dict[str, Json]) -> None:
    item_id = ItemId(text(body["vaultItemId"] if asked.endpoint is GET_FIELD else body["id"]))
    for field in [body] if asked.endpoint is GET_FIELD else [part(row) for row in rows(body["fields"])]:
        if field["value"] is not None:
            instance = FieldInstanceId(text(rows(field["fieldInstanceIds"])[-1]))
            place = Place(asked.vault_id, item_id, FieldId(text(field["id"])), instance)
            value = asked.liar.known.text(CHOSEN, SecretKind.FIELD, armed=False)
            field["value"] = seal(_their_dek(asked.liar), place, value, new_iv())


def _substituting(hand: Callable[[Liar], Hand] | None) -> Lie:
    return editing({GET_WRAPPED_KEY: _substitute(hand), GET_ITEM: _seal_chosen, GET_FIELD: _seal_chosen})


def _attacker(liar: Liar) -> Hand:
    return liar.attacker


def _insider(liar: Liar) -> Hand:
    return liar.insider


def _colluder(liar: Liar) -> Hand:
    return liar.colluder


def _attacker_as_colluder(liar: Liar) -> Hand:
    return Hand(liar.attacker.key, liar.colluder.ref)


def _as_reader(asked: Asked, body: dict[str, Json]) -> None:
    # An agent may wrap for itself, so the attacker signs in the reader's own name.
    own = SignerRef(SignerType.AGENT, KeyId(text(body["encryptionKeyId"])))
    body["wrappedDek"] = wrap(_their_dek(asked.liar), _recipient(asked, body))
    _sign_entry(body, Hand(asked.liar.attacker.key, own))


def _version(step: int) -> Edit:
    """Serve the true key under another version, signed by a real signer."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        body["dekVersion"] = number(body["dekVersion"]) + step
        _sign_entry(body, asked.liar.colluder)

    return edit


def _rotate_deks(liar: Liar) -> None:
    for vault_id in liar.vault_ids():
        liar.operator.rotate_dek(vault_id)


def _lower_summary(asked: Asked, body: dict[str, Json]) -> None:
    body["currentDekVersion"] = 1
    resign(body, asked.liar.colluder, version=advanced(body), currentDekVersion=1)


def _lowered(asked: Asked) -> Answer:
    return _REPLAYED(asked) if asked.endpoint is GET_WRAPPED_KEY else edit_of(_lower_summary, LIST_ITEMS)(asked)


def _higher_summary(asked: Asked, body: dict[str, Json]) -> None:
    raised = number(body["currentDekVersion"]) + 1
    body["currentDekVersion"] = raised
    resign(body, asked.liar.insider, version=advanced(body), currentDekVersion=raised)


def _for_another(asked: Asked, body: dict[str, Json]) -> None:
    own = text(body["encryptionKeyId"])
    with asked.store.read() as db:
        other = next(key for key in recipients(db, asked.vault_id) if key != own)
        entry = find_wrapped_key(db, asked.vault_id, other)
    if entry is not None:
        body.clear()
        body.update(entry.payload())


def _of_another_vault(asked: Asked, body: dict[str, Json]) -> None:
    other = next(key for key in asked.liar.vault_ids() if key != asked.vault_id)
    body.update(part(asked.instead(vault_id=other).body))


def _relabelled(asked: Asked, body: dict[str, Json]) -> None:
    _of_another_vault(asked, body)
    body["vaultId"] = asked.vault_id


def _wrapped(how: _Wrap, size: int = DEK_SIZE) -> Edit:
    """Wrap the vault's true key in another way, signed by a real signer."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        with asked.store.read() as db:
            dek = asked.liar.custodian.open_dek(db, prove_vault(db, asked.vault_id))
        # reveal: seen by the cipher only.
        octets = (dek.key.reveal() * 2)[:size]
        body["wrappedDek"] = b64_encode(how(_recipient(asked, body), octets))
        _sign_entry(body, asked.liar.colluder)

    return edit


def _oaep(algorithm: hashes.HashAlgorithm, label: bytes | None = None) -> _Wrap:
    scheme = padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=label)
    return lambda key, octets: key.rsa.encrypt(octets, scheme)


def _pkcs1(key: PublicKey, octets: bytes) -> bytes:
    return key.rsa.encrypt(octets, padding.PKCS1v15())


def _noise(key: PublicKey, _: bytes) -> bytes:
    return b"\0" + os.urandom(key.rsa.key_size // 8 - 1)


def _members(change: Callable[[dict[str, Json]], object]) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        change(body)

    return edit


def _entry(name: str, description: str, edit: Edit) -> Fault:
    return Fault(name, description, edit_of(edit, GET_WRAPPED_KEY))


_REPLAYED: Final = replaying(GET_WRAPPED_KEY)
_RETIRED: Final = status_of(_colluder, "RETIRED")

FAULTS: Final = (
    Fault("dek-substituted-unsigned", "The attacker's vault key is served under the old signature.", _substituting(None)),
    Fault("dek-substituted-by-attacker", "The attacker's vault key is signed by the attacker.", _substituting(_attacker)),
    Fault(
        "dek-substituted-by-listed-attacker",
        "The attacker's vault key is signed by the attacker, whom the directory lists with valid proofs.",
        _substituting(_attacker),
        change=admit_attacker,
        remembered=True,
    ),
    Fault(
        "dek-substituted-in-a-signers-name",
        "The attacker signs its vault key in a known person's name.",
        _substituting(_attacker_as_colluder),
    ),
    Fault(
        "dek-substituted-in-the-readers-name",
        "The attacker signs its vault key in the reading agent's own name.",
        editing({GET_WRAPPED_KEY: _as_reader, GET_ITEM: _seal_chosen, GET_FIELD: _seal_chosen}),
    ),
    Fault(
        "dek-substituted-by-another-agent",
        "Another agent of the vault wraps its own vault key for the reader, validly signed.",
        _substituting(_insider),
        prepare=admit_insider,
    ),
    Fault(
        "dek-forked",
        "A signer wraps another vault key under the same version.",
        _substituting(_colluder),
        remembered=True,
    ),
    Fault(
        "wrapped-key-replayed",
        "The wrapped key is the one from before the vault key was changed.",
        _REPLAYED,
        change=_rotate_deks,
        remembered=True,
    ),
    Fault(
        "dek-version-lowered",
        "A signer signs a summary that goes back to the first vault key, and the key is replayed.",
        _lowered,
        change=_rotate_deks,
        remembered=True,
    ),
    _entry("dek-version-higher-than-signed", "The wrapped key is one version ahead of the signed summary.", _version(1)),
    Fault(
        "retired-signer-wraps-newer",
        "A person who was announced as retired wraps the next vault key.",
        editing({GET_DIRECTORY: _RETIRED, LIST_ITEMS: _higher_summary, GET_WRAPPED_KEY: _version(1)}),
        prepare=admit_insider,
        prelude=edit_of(_RETIRED, GET_DIRECTORY),
        remembered=True,
    ),
    _entry("wrapped-key-for-another-reader", "The entry of another recipient is served.", _for_another),
    _entry("wrapped-key-of-another-vault", "The entry of another vault is served.", _of_another_vault),
    _entry("wrapped-key-relabelled", "The entry of another vault is served as this one's.", _relabelled),
    _entry("wrapped-key-oaep-sha1", "The vault key is wrapped with SHA-1.", _wrapped(_oaep(hashes.SHA1()))),  # noqa: S303
    _entry("wrapped-key-labelled", "The vault key is wrapped with a label.", _wrapped(_oaep(hashes.SHA256(), b"vault"))),
    _entry("wrapped-key-pkcs1", "The vault key is wrapped with PKCS #1 v1.5.", _wrapped(_pkcs1)),
    _entry("wrapped-key-noise", "The wrapped key is noise.", _wrapped(_noise)),
    _entry("wrapped-key-short", "The wrapped vault key has 16 bytes.", _wrapped(_oaep(hashes.SHA256()), 16)),
    _entry("wrapped-key-long", "The wrapped vault key has 33 bytes.", _wrapped(_oaep(hashes.SHA256()), 33)),
    _entry("wrapped-key-member-unknown", "The entry has a member more.", _members(lambda body: body.update(alg="none"))),
    _entry("wrapped-key-member-missing", "The entry has no signature.", _members(lambda body: body.pop("wrappedDekSignature"))),
    _entry(
        "wrapped-key-signer-type-lied",
        "The entry calls a person's key an agent's.",
        _members(lambda body: body.update(signerType="AGENT_ENCRYPTION_KEY")),
    ),
)
