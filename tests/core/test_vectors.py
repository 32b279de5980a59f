"""The golden vectors, made by the second implementation of the profile: each gives exactly its outcome."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from r4_mcp.core import WIRE_PROFILE, merkle
from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.directory import Directory, Signer
from r4_mcp.core.encoding import b64_decode, canonical, parse_json
from r4_mcp.core.envelope import Place, open_envelope, seal
from r4_mcp.core.keys import PrivateKey, load_public_key, public_key
from r4_mcp.core.signing import Context, signed_bytes, verify
from r4_mcp.core.trust import PinnedSigner, SignerStatus, VaultTrust
from r4_mcp.core.wire import (
    FieldId,
    FieldInstanceId,
    ItemId,
    KeyId,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    read_wrapped_key,
)
from r4_mcp.core.wrapping import advance_dek
from r4_mcp.errors import (
    EnvelopeError,
    R4Error,
    SignatureError,
    TransparencyError,
    WrappedKeyDamagedError,
    WrappedKeyNotMineError,
)
from r4_mcp.secret import KnownSecrets, SecretKind

# Any: this is the one file whose shape the tests take on trust; a wrong shape is a KeyError here, and a failed test.
VECTORS: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors" / "vectors.json").read_text(encoding="utf-8"))
KEYS: Final[dict[str, dict[str, str]]] = VECTORS["keys"]
LOG: Final[dict[str, Any]] = VECTORS["merkle"]
COUNTS = {"jcs": 24, "signatures": 60, "wraps": 32, "envelopes": 58}
LOG_COUNTS = {"leaves": 13, "leafHashes": 13, "roots": 14, "inclusion": 91, "consistency": 91}

WRAP_ERRORS: dict[str, type[R4Error]] = {
    "damaged": WrappedKeyDamagedError,
    "signature": SignatureError,
    "not_mine": WrappedKeyNotMineError,
}


def named(row: dict[str, Any]) -> str:
    """Return a vector's name."""
    return str(row["name"])


def private_key(name: str) -> PrivateKey:
    """Read a vector key."""
    key = load_der_private_key(base64.b64decode(KEYS[name]["pkcs8"]), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return PrivateKey(key, public_key(key.public_key()))


PRIVATE = {name: private_key(name) for name in KEYS}


def test_the_file_is_whole() -> None:
    """An empty or shortened file can't pass, nor one of another profile."""
    assert VECTORS["profile"] == WIRE_PROFILE
    assert {section: len(VECTORS[section]) for section in COUNTS} == COUNTS
    assert {section: len(LOG[section]) for section in LOG_COUNTS} == LOG_COUNTS
    assert list(KEYS) == ["human", "agent", "successor", "stranger"]
    assert sum(row["valid"] for row in VECTORS["signatures"]) == 14
    assert sum(row["valid"] for row in VECTORS["wraps"]) == 6
    assert sum(row["valid"] for row in VECTORS["envelopes"]) == 9


@pytest.mark.parametrize("name", KEYS)
def test_fingerprints_agree(name: str) -> None:
    """The public PEM, the private key and the other implementation name the key alike."""
    assert load_public_key(KEYS[name]["spkiPem"], what="key").fingerprint == KEYS[name]["fingerprint"]
    assert PRIVATE[name].public.fingerprint == KEYS[name]["fingerprint"]
    assert PRIVATE[name].public.pem == KEYS[name]["spkiPem"]


@pytest.mark.parametrize("row", VECTORS["jcs"], ids=named)
def test_canonical_bytes_agree(row: dict[str, Any]) -> None:
    """The same value gives the same bytes, and the bytes parse to the value."""
    expected = bytes.fromhex(row["canonicalHex"])
    assert canonical(row["value"]) == expected
    assert parse_json(expected, what="vector") == row["value"]


@pytest.mark.parametrize("row", VECTORS["signatures"], ids=named)
def test_signatures_are_judged_alike(row: dict[str, Any]) -> None:
    """Digests agree; a valid signature verifies; an invalid one raises SignatureError and says misspelled or not verifying."""
    context = Context(row["context"])
    assert hashlib.sha256(signed_bytes(context, row["payload"])).hexdigest() == row["digest"]
    key = PRIVATE[row["key"]].public
    if row["valid"]:
        verify(key, context, row["payload"], row["signature"])
        return
    reason = {"malformed": "is not base64", "signature": "does not verify"}[row["why"].split(":")[0]]
    with pytest.raises(SignatureError, match=reason) as refused:
        verify(key, context, row["payload"], row["signature"])
    assert type(refused.value) is SignatureError


def open_wrap(row: dict[str, Any]) -> bytes:
    """Prove and open a wrap vector among signers that know its claimed ids, so that only its own fault can refuse it."""
    entry = read_wrapped_key(row["entry"], "vector")
    keys: dict[KeyId, tuple[SignerType, PrivateKey]] = {
        KeyId(KEYS[name]["id"]): (SignerType.USER if name == "human" else SignerType.AGENT, PRIVATE[name]) for name in KEYS
    }
    keys[entry.signer.id] = (entry.signer.kind, PRIVATE[row["signedBy"]])
    active = SignerStatus.ACTIVE
    directory = Directory(
        entry.vault_id,
        MappingProxyType({key_id: Signer(key_id, kind, key.public, active, None) for key_id, (kind, key) in keys.items()}),
        MappingProxyType({}),
    )
    state = VaultTrust(
        signers={key_id: PinnedSigner(kind, key.public.fingerprint, active, None) for key_id, (kind, key) in keys.items()}
    )
    checkpoint = SummaryCheckpoint(entry.vault_id, 1, "vector", None, entry.dek_version, (), b"[]")
    summary = ProvenSummary(checkpoint, directory.signers[entry.signer.id], {}, {}, 0)
    _, dek = advance_dek(state, entry, directory, summary, PRIVATE[row["key"]], KnownSecrets())
    return dek.key.reveal()


@pytest.mark.parametrize("row", VECTORS["wraps"], ids=named)
def test_wraps_are_judged_alike(row: dict[str, Any]) -> None:
    """A good entry opens to its DEK; any other raises exactly the class of its vector."""
    if row["expected"] == "ok":
        assert open_wrap(row) == bytes.fromhex(row["dekHex"])
        return
    with pytest.raises(R4Error) as refused:
        open_wrap(row)
    assert type(refused.value) is WRAP_ERRORS[row["expected"]]


@pytest.mark.parametrize("row", VECTORS["envelopes"], ids=named)
def test_envelopes_are_judged_alike(row: dict[str, Any]) -> None:
    """A good envelope opens and is sealed to the same text; any other raises EnvelopeError, before or in decryption."""
    known = KnownSecrets()
    dek = known.octets(bytes.fromhex(row["dekHex"]), SecretKind.DEK)
    place = Place(
        VaultId(row["vaultId"]),
        ItemId(row["vaultItemId"]),
        FieldId(row["fieldId"]),
        FieldInstanceId(row["fieldInstanceId"]),
    )
    if row["valid"]:
        value = open_envelope(dek, place, row["envelope"], known, armed=False)
        assert value.reveal() == row["plaintext"]
        assert seal(dek, place, value, bytes.fromhex(row["ivHex"])) == row["envelope"]
        return
    with pytest.raises(EnvelopeError) as refused:
        open_envelope(dek, place, row["envelope"], known, armed=False)
    in_decryption = "does not open there" in str(refused.value) or "not UTF-8" in str(refused.value)
    assert in_decryption == row["why"].startswith("damaged")


HASHES = [bytes.fromhex(text) for text in LOG["leafHashes"]]
ROOTS = [bytes.fromhex(text) for text in LOG["roots"]]


def test_leaf_hashes_and_roots_agree() -> None:
    """Every leaf hash, and the root of every size from zero."""
    assert [merkle.leaf_hash(leaf) for leaf in LOG["leaves"]] == HASHES
    assert [merkle.root_of(HASHES[:size]) for size in range(len(HASHES) + 1)] == ROOTS


def proof_of(row: dict[str, Any]) -> list[bytes]:
    """Decode a proof."""
    return [b64_decode(text, what="proof", max_size=merkle.HASH_SIZE) for text in row["proof"]]


def every_bit_flipped(proof: list[bytes]) -> list[list[bytes]]:
    """Return the proof with one bit changed: one bit of each byte of each hash."""
    broken = []
    for at, entry in enumerate(proof):
        for octet in range(len(entry)):
            changed = bytearray(entry)
            changed[octet] ^= 1 << octet % 8
            broken.append([*proof[:at], bytes(changed), *proof[at + 1 :]])
    return broken


def hold_to_its_proof(proof: list[bytes], check: Callable[[list[bytes]], None]) -> None:
    """Expect the proof to hold, and no proof one bit or one hash away from it."""
    check(proof)
    for broken in [*every_bit_flipped(proof), [*proof, HASHES[0]], *([proof[:-1], proof[1:]] if proof else [])]:
        with pytest.raises(TransparencyError):
            check(broken)


@pytest.mark.parametrize("row", LOG["inclusion"], ids=lambda row: f"{row['leafIndex']} of {row['treeSize']}")
def test_inclusion_proofs_agree(row: dict[str, Any]) -> None:
    """Ours is the same proof; it holds; broken in one bit it does not."""
    index, size, proof = row["leafIndex"], row["treeSize"], proof_of(row)
    assert merkle.inclusion_proof(HASHES[:size], index) == proof
    hold_to_its_proof(proof, lambda path: merkle.check_inclusion(HASHES[index], index, size, path, ROOTS[size]))


@pytest.mark.parametrize("row", LOG["consistency"], ids=lambda row: f"{row['fromTreeSize']} to {row['toTreeSize']}")
def test_consistency_proofs_agree(row: dict[str, Any]) -> None:
    """Ours is the same proof; it holds; broken in one bit it does not."""
    earlier, size, proof = row["fromTreeSize"], row["toTreeSize"], proof_of(row)
    assert merkle.consistency_proof(HASHES[:size], earlier) == proof
    hold_to_its_proof(proof, lambda path: merkle.check_consistency(earlier, ROOTS[earlier], size, ROOTS[size], path))
