"""The v3 field envelope: one value, sealed for one place (contract §4).

What this file does not do: choose IVs. They are arguments; a caller who repeats one under the same DEK breaks AES-GCM.

Rules:
1. The envelope is the string ``{"v":3,"iv":…,"t":…,"d":…}``, exactly these keys in this order and no spaces; iv 12 bytes,
   tag 16 bytes, strict base64: encoded again it is the same string.
2. The AAD is the canonical JSON of the field, instance, item and vault ids and the version, so a ciphertext moved
   to another place does not open.
3. The plaintext is UTF-8 of at most ``MAX_VALUE_SIZE`` bytes; the size is decided before encrypting and before decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from r4_mcp.core.encoding import b64_decode, b64_encode, canonical, compact_json, parse_json
from r4_mcp.core.record import exact
from r4_mcp.core.wire import FieldId, FieldInstanceId, ItemId, VaultId
from r4_mcp.errors import EnvelopeError, InvalidArgumentError, MalformedError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

ENVELOPE_VERSION: Final = 3
DEK_SIZE: Final = 32
IV_SIZE: Final = 12
TAG_SIZE: Final = 16
MAX_VALUE_SIZE: Final = 256 * 1024
"""Bytes of UTF-8. Ours: R4 publishes none; larger things are attachments."""

MAX_ENVELOPE_SIZE: Final = (MAX_VALUE_SIZE + 2) // 3 * 4 + 128
"""Characters of the longest envelope string."""

_KEYS: Final = frozenset({"v", "iv", "t", "d"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ciphertext belongs: the four ids of its AAD (rule 2)."""

    vault_id: VaultId
    item_id: ItemId
    field_id: FieldId
    instance_id: FieldInstanceId

    def aad(self) -> bytes:
        """Return the additional authenticated bytes."""
        return canonical(
            {
                "fieldId": self.field_id,
                "fieldInstanceId": self.instance_id,
                "v": ENVELOPE_VERSION,
                "vaultId": self.vault_id,
                "vaultItemId": self.item_id,
            }
        )


def seal(dek: Secret[bytes], place: Place, value: Secret[str], iv: bytes) -> str:
    """Encrypt a value for its place.

    Args:
        dek: The vault's data encryption key, 32 bytes.
        place: Where the value will live.
        value: The plaintext.
        iv: 12 fresh random bytes, never used before with this DEK.

    Returns:
        The envelope string.

    Raises:
        InvalidArgumentError: The value is over the limit, or is not text that UTF-8 can hold.
    """
    if len(iv) != IV_SIZE:
        message = f"an IV has {IV_SIZE} bytes"
        raise ValueError(message)
    # reveal: seen by the cipher only, on its way into the ciphertext.
    plaintext = encode_value(value.reveal())
    sealed = AESGCM(dek.reveal()).encrypt(iv, plaintext, place.aad())
    body, tag = sealed[:-TAG_SIZE], sealed[-TAG_SIZE:]
    return _spell(iv, tag, body)


def encode_value(value: str) -> bytes:
    """Return a value's UTF-8 within its limit (rule 3).

    Raises:
        InvalidArgumentError: Over the limit, or holding half of a surrogate pair. The value is not quoted.
    """
    # A look, not a strict encode: a UnicodeEncodeError would carry the value along as an attribute.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidArgumentError("a value holds half of a surrogate pair, which UTF-8 can't encode")
    if len(value) > MAX_VALUE_SIZE or len(encoded := value.encode("utf-8")) > MAX_VALUE_SIZE:
        raise InvalidArgumentError(f"a value is larger than {MAX_VALUE_SIZE // 1024} KiB of UTF-8; nothing was encrypted")
    return encoded


def open_envelope(dek: Secret[bytes], place: Place, envelope: str, known: KnownSecrets, *, armed: bool) -> Secret[str]:
    """Decrypt a value in its place.

    Args:
        dek: The vault's data encryption key.
        place: Where the value was found; all four ids come from signed metadata.
        envelope: The served envelope string.
        known: Where the plaintext is made known.
        armed: Whether the value alarms the egress guard: secret fields do.

    Raises:
        EnvelopeError: Not a v3 envelope, damaged, or sealed for another place or under another key.
    """
    where = f"field {place.field_id} of item {place.item_id}"
    if len(envelope) > MAX_ENVELOPE_SIZE:
        raise EnvelopeError(f"the envelope of {where} is larger than {MAX_ENVELOPE_SIZE} characters")
    try:
        members = exact(parse_json(envelope.encode("utf-8"), what="envelope", max_depth=1), "envelope", _KEYS)
        version = members.integer("v")
        iv = b64_decode(members.text("iv"), what="iv", max_size=IV_SIZE)
        tag = b64_decode(members.text("t"), what="tag", max_size=TAG_SIZE)
        body = b64_decode(members.text("d", max_length=MAX_ENVELOPE_SIZE), what="ciphertext", max_size=MAX_VALUE_SIZE)
    except (MalformedError, UnicodeEncodeError):
        raise EnvelopeError(f"the envelope of {where} is not of the v3 form") from None
    if _spell(iv, tag, body) != envelope and version == ENVELOPE_VERSION:
        raise EnvelopeError(f"the envelope of {where} is a second spelling of its content")
    if version != ENVELOPE_VERSION or len(iv) != IV_SIZE or len(tag) != TAG_SIZE:
        raise EnvelopeError(f"the envelope of {where} has another version, iv size or tag size than v3")
    plaintext = open_bytes(dek, iv, body + tag, place.aad())
    if plaintext is None:
        raise EnvelopeError(f"the envelope of {where} does not open there under this vault's key")
    text = _utf8(plaintext)
    if text is None:
        raise EnvelopeError(f"the value of {where} is not UTF-8 text")
    return known.text(text, SecretKind.FIELD, armed=armed)


def open_bytes(dek: Secret[bytes], iv: bytes, sealed: bytes, aad: bytes) -> bytes | None:
    """Decrypt AES-256-GCM, ``sealed`` being ciphertext and tag; None where the tag does not hold."""
    try:
        # reveal: seen by the cipher only.
        return AESGCM(dek.reveal()).decrypt(iv, sealed, aad)
    except InvalidTag:
        return None


def _spell(iv: bytes, tag: bytes, body: bytes) -> str:
    return compact_json({"v": ENVELOPE_VERSION, "iv": b64_encode(iv), "t": b64_encode(tag), "d": b64_encode(body)})


def _utf8(plaintext: bytes) -> str | None:
    # Not raised from inside the except clause: a UnicodeDecodeError keeps the plaintext, and would stay as __context__.
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        return None
