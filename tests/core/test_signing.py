"""A signature proves one payload, by one key, for one purpose."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.encoding import Json, JsonIn, b64_decode, b64_encode
from r4_mcp.core.signing import Context, sign, signed_bytes, verify
from r4_mcp.errors import MalformedError, SignatureError

from .builders import Parties
from .test_encoding import JSONS

PAYLOAD: dict[str, JsonIn] = {"vaultId": "v", "version": 1, "items": ["\u00e9"]}


@given(JSONS, st.sampled_from(Context))
@settings(max_examples=40)
def test_what_was_signed_verifies(parties: Parties, payload: Json, context: Context) -> None:
    """Any payload, any purpose, as often as it is signed."""
    verify(parties.human.key.public, context, payload, sign(parties.human.key, context, payload))


@pytest.mark.parametrize(("made_for", "read_as"), list(itertools.permutations(Context, 2)), ids=str)
def test_a_signature_for_one_purpose_means_nothing_for_another(parties: Parties, made_for: Context, read_as: Context) -> None:
    """The context is in the signed bytes."""
    signature = sign(parties.human.key, made_for, PAYLOAD)
    with pytest.raises(SignatureError, match=f"the signature for {read_as.value} does not verify"):
        verify(parties.human.key.public, read_as, PAYLOAD, signature)


def test_another_key_or_payload_does_not_verify(parties: Parties) -> None:
    """Key and payload are those that were signed."""
    signature = sign(parties.human.key, Context.SUMMARY, PAYLOAD)
    with pytest.raises(SignatureError, match="does not verify"):
        verify(parties.agent.key.public, Context.SUMMARY, PAYLOAD, signature)
    with pytest.raises(SignatureError, match="does not verify"):
        verify(parties.human.key.public, Context.SUMMARY, {**PAYLOAD, "version": 2}, signature)


@given(st.integers(0, 2048 - 1))
def test_every_flipped_bit_is_refused(parties: Parties, bit: int) -> None:
    """No bit of a signature can change."""
    raw = bytearray(b64_decode(sign(parties.human.key, Context.DETAIL, PAYLOAD), what="signature", max_size=256))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError, match="does not verify"):
        verify(parties.human.key.public, Context.DETAIL, PAYLOAD, b64_encode(bytes(raw)))


MISSPELLED = {
    "no base64": "canary!",
    "a newline after": None,
    "no padding": "QQ",
    "longer than the largest key's": b64_encode(bytes(513)),
}


@pytest.mark.parametrize("text", MISSPELLED.values(), ids=MISSPELLED.keys())
def test_a_misspelled_signature_is_refused_before_cryptography(parties: Parties, text: str | None) -> None:
    """Strict base64 of at most 512 bytes; the text is not quoted."""
    signature = text or sign(parties.human.key, Context.SUMMARY, PAYLOAD) + "\n"
    with pytest.raises(SignatureError, match="is not base64 of at most 512 bytes") as refused:
        verify(parties.human.key.public, Context.SUMMARY, PAYLOAD, signature)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("size", [0, 1, 255, 257, 512])
def test_a_signature_of_another_length_does_not_verify(parties: Parties, size: int) -> None:
    """Well spelled, but not as long as the key: our error, not the library's."""
    with pytest.raises(SignatureError, match="does not verify"):
        verify(parties.human.key.public, Context.SUMMARY, PAYLOAD, b64_encode(bytes(size)))


OTHER_SCHEMES: dict[str, tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]] = {
    "a salt of 0 bytes": (padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256()),
    "a salt of 31 bytes": (padding.PSS(padding.MGF1(hashes.SHA256()), 31), hashes.SHA256()),
    "the longest salt": (padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256()),
    "SHA-512": (padding.PSS(padding.MGF1(hashes.SHA512()), 32), hashes.SHA512()),
    "MGF1 with SHA-1": (padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()),  # noqa: S303 - the attack under test
    "PKCS#1 v1.5": (padding.PKCS1v15(), hashes.SHA256()),
}


@pytest.mark.parametrize(("scheme", "algorithm"), OTHER_SCHEMES.values(), ids=OTHER_SCHEMES.keys())
def test_another_scheme_is_refused(parties: Parties, scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm) -> None:
    """Salt, hash, MGF1 and scheme are constants: nothing is negotiated, nothing detected."""
    raw = parties.human.key.rsa.sign(signed_bytes(Context.SUMMARY, PAYLOAD), scheme, algorithm)
    with pytest.raises(SignatureError, match="does not verify"):
        verify(parties.human.key.public, Context.SUMMARY, PAYLOAD, b64_encode(raw))


@given(JSONS, st.sampled_from(Context))
def test_the_purpose_stands_before_the_signed_bytes(payload: Json, context: Context) -> None:
    """Context and newline, then the canonical payload."""
    assert signed_bytes(context, payload).startswith(context.value.encode() + b"\n")


def test_a_payload_without_canonical_form_is_refused(parties: Parties) -> None:
    """Half a surrogate pair can't be signed, and can't be verified."""
    with pytest.raises(MalformedError):
        sign(parties.human.key, Context.SUMMARY, "\ud800")
    with pytest.raises(MalformedError):
        verify(parties.human.key.public, Context.SUMMARY, "\ud800", b64_encode(bytes(256)))
