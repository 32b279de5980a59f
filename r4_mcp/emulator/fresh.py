"""What is new each time: ids, RSA keys, vault keys, IVs, times.

What this file does not do: keep anything. All randomness of the emulator that is not inside ``cryptography`` comes from here.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from r4_mcp.core.envelope import DEK_SIZE, IV_SIZE
from r4_mcp.core.keys import EXPONENT

DEFAULT_BITS: Final = 3072
_ID_BYTES: Final = 12


def new_id() -> str:
    """Return a new id: 24 lowercase hex characters (contract §1)."""
    return secrets.token_hex(_ID_BYTES)


def generate_private_key(bits: int = DEFAULT_BITS) -> bytes:
    """Return a new RSA private key as an unencrypted PKCS#8 PEM."""
    key = rsa.generate_private_key(public_exponent=EXPONENT, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_dek() -> bytes:
    """Return a new vault data encryption key."""
    return os.urandom(DEK_SIZE)


def new_iv() -> bytes:
    """Return a new AES-GCM IV. 96 random bits: safe for the 2^32 values that one DEK may seal."""
    return os.urandom(IV_SIZE)


def timestamp() -> str:
    """Return the time as ISO 8601 in UTC, with milliseconds and Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
