"""RSA keys of agents and people: loaded strictly, named by their fingerprint.

What this file does not do: read files or generate keys. It takes bytes.

Rules (contract §4):
1. RSA, 2048 to 4096 bits, public exponent 65537. Nothing else is a key here.
2. A public key is one SPKI PEM; its fingerprint is the SHA-256 of the SPKI DER in 64 hex characters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from r4_mcp.errors import MalformedError, PrivateKeyError

MIN_BITS: Final = 2048
MAX_BITS: Final = 4096
EXPONENT: Final = 65537
MAX_PEM_SIZE: Final = 16_384
"""Bytes; a 4096-bit PKCS#8 PEM has about 3,300."""


_SPKI_BEGIN: Final = "-----BEGIN PUBLIC KEY-----"
_SPKI_END: Final = "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that passed rule 1.

    Attributes:
        rsa: The key itself.
        pem: Its SPKI PEM, as this project writes it.
        fingerprint: SHA-256 of the SPKI DER, 64 lowercase hex characters.
    """

    rsa: rsa.RSAPublicKey
    pem: str
    fingerprint: str


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A private key that passed rule 1, with its public half."""

    rsa: rsa.RSAPrivateKey
    public: PublicKey

    def __repr__(self) -> str:
        # The default repr is harmless today; this one stays harmless.
        return f"PrivateKey({self.public.fingerprint[:12]}…)"


def public_key(key: rsa.RSAPublicKey) -> PublicKey:
    """Name a public key. The caller has checked rule 1."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(key, pem.decode("ascii"), hashlib.sha256(der).hexdigest())


def load_public_key(pem: str, *, what: str) -> PublicKey:
    """Read a served public key.

    Raises:
        MalformedError: Not an SPKI PEM of an RSA key that rule 1 allows.
    """
    if len(pem) > MAX_PEM_SIZE:
        raise MalformedError(f"{what} is larger than {MAX_PEM_SIZE} bytes")
    # One spelling: cryptography also takes PKCS#1, text around the PEM, and the first of several keys.
    if not (pem.startswith(_SPKI_BEGIN) and pem.count("-----BEGIN") == 1 and pem.rstrip().endswith(_SPKI_END)):
        raise MalformedError(f"{what} is not a public key in PEM (SPKI, one key, nothing around it)")
    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError(f"{what} is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise MalformedError(f"{what} is not an RSA key")
    problem = _rule_1(key)
    if problem:
        raise MalformedError(f"{what} {problem}")
    return public_key(key)


def load_private_key(pem: bytes, *, passphrase: bytes | None = None) -> PrivateKey:
    """Read the runtime's own private key.

    Args:
        pem: PKCS#8 or PKCS#1 PEM.
        passphrase: For an encrypted PEM.

    Raises:
        PrivateKeyError: Not a PEM private key, encrypted without a passphrase (or with a wrong one), or rule 1 fails. The message
            never quotes the input.
    """
    if len(pem) > MAX_PEM_SIZE:
        raise PrivateKeyError(f"the private key is larger than {MAX_PEM_SIZE} bytes, so it is not one RSA key in PEM")
    if b"PUBLIC KEY-----" in pem:
        raise PrivateKeyError("a public key was given where the private key is needed")
    passphrase = passphrase or None  # An empty passphrase is none; cryptography tells them apart.
    try:
        key = load_pem_private_key(pem, password=passphrase)
    except TypeError:
        # cryptography's way to say that the passphrase is missing, or given for a plain key.
        wanted = (
            "is encrypted and no passphrase was given" if passphrase is None else "is not encrypted, but a passphrase was given"
        )
        raise PrivateKeyError(f"the private key {wanted}") from None
    except (ValueError, UnsupportedAlgorithm):
        wanted = "" if passphrase is None else ", or the passphrase is wrong"
        step = None if passphrase is None else "Give the right passphrase, or point R4_PRIVATE_KEY_PATH at another key."
        raise PrivateKeyError(f"the private key is not a readable PEM (PKCS#8 or PKCS#1){wanted}", next_step=step) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PrivateKeyError("the private key is not an RSA key")
    problem = _rule_1(key.public_key())
    if problem:
        raise PrivateKeyError(f"the private key {problem}")
    return PrivateKey(key, public_key(key.public_key()))


def dump_private_key(key: rsa.RSAPrivateKey, passphrase: bytes | None) -> bytes:
    """Return a private key as PKCS#8 PEM, encrypted where a passphrase is given. For private files alone."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _rule_1(key: rsa.RSAPublicKey) -> str | None:
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        return f"has {key.key_size} bits; {MIN_BITS} to {MAX_BITS} are allowed"
    if key.public_numbers().e != EXPONENT:
        return f"has a public exponent other than {EXPONENT}"
    return None
