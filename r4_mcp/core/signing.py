r"""Signatures over signed metadata: RSA-PSS over a context and canonical JSON (contract §3).

What this file does not do: decide who may sign what. It proves that one key signed one payload for one purpose.

Rules:
1. RSA-PSS with SHA-256, MGF1-SHA-256 and a salt of exactly 32 bytes. Never ``PSS.AUTO`` for verifying: it accepts six vectors per
   key size that Wycheproof marks invalid.
2. The signed bytes are ``context + "\n" + RFC 8785(payload)`` in UTF-8. The context is one of ``Context``, so that a signature
   made for one purpose means nothing for another.
3. The digest of a payload is SHA-256 of the same bytes; PSS signatures are random and can't serve as a name.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.encoding import JsonIn, b64_decode, b64_encode, canonical
from r4_mcp.core.keys import MAX_BITS, PrivateKey, PublicKey
from r4_mcp.errors import MalformedError, SignatureError

SALT_LENGTH: Final = 32
_MAX_SIGNATURE: Final = MAX_BITS // 8
_SHA256: Final = hashes.SHA256()
_PSS: Final = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=SALT_LENGTH)
"""Rule 1. Parameters alone: nothing in them changes with their use."""


class Context(StrEnum):
    """What a signature is for (rule 2)."""

    SUMMARY = "r4.summary-checkpoint.v1"
    DETAIL = "r4.detail-checkpoint.v1"
    WRAPPED_DEK = "r4.wrapped-dek.v1"
    KEY_ROTATION = "r4.key-rotation.v1"


def signed_bytes(context: Context, payload: JsonIn) -> bytes:
    """Return the bytes that a signature covers (rule 2)."""
    return context.encode("ascii") + b"\n" + canonical(payload)


def sign(key: PrivateKey, context: Context, payload: JsonIn) -> str:
    """Sign a payload for one purpose; returns standard base64."""
    return b64_encode(key.rsa.sign(signed_bytes(context, payload), _PSS, _SHA256))


def verify(key: PublicKey, context: Context, payload: JsonIn, signature: str) -> str:
    """Prove that ``key`` signed ``payload`` for ``context``.

    Returns:
        The digest that names the payload (rule 3).

    Raises:
        SignatureError: It did not, or the signature is not one well-formed base64 text.
    """
    try:
        raw = b64_decode(signature, what="signature", max_size=_MAX_SIGNATURE)
    except MalformedError:
        raise SignatureError(f"the signature for {context.value} is not base64 of at most {_MAX_SIGNATURE} bytes") from None
    message = signed_bytes(context, payload)
    try:
        verify_bytes(key, message, raw)
    except SignatureError as error:
        raise SignatureError(f"the signature for {context.value} {error.message}") from None
    return hashlib.sha256(message).hexdigest()


def verify_bytes(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Prove that ``key`` signed these bytes (rule 1). What they mean is for ``verify`` to say.

    Raises:
        SignatureError: It did not.
    """
    try:
        key.rsa.verify(signature, message, _PSS, _SHA256)
    except InvalidSignature:
        raise SignatureError(f"does not verify under key {key.fingerprint[:12]}…") from None
