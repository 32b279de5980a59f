"""RSA keys are loaded strictly: 2048 to 4096 bits, exponent 65537, nothing else."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from r4_mcp.core.keys import MAX_PEM_SIZE, load_private_key, load_public_key
from r4_mcp.errors import MalformedError, PrivateKeyError

from .builders import Parties

PASSPHRASE = b"correct horse"


def pem_of(
    key: PrivateKeyTypes,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    """Write a private key as PEM."""
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def spki_of(key: PublicKeyTypes) -> str:
    """Write a public key as SPKI PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def rsa_public(bits: int, exponent: int = 65537) -> str:
    """Write a public key of any size: its modulus is odd, and no prime was looked for."""
    return spki_of(rsa.RSAPublicNumbers(exponent, (1 << bits) - 1).public_key())


UNUSABLE_PUBLIC: dict[str, tuple[Callable[[], str], str]] = {
    "1024 bits": (lambda: rsa_public(1024), "has 1024 bits"),
    "2047 bits": (lambda: rsa_public(2047), "has 2047 bits"),
    "4097 bits": (lambda: rsa_public(4097), "has 4097 bits"),
    "8192 bits": (lambda: rsa_public(8192), "has 8192 bits"),
    "exponent 3": (lambda: rsa_public(2048, 3), "public exponent other than 65537"),
    "exponent 65539": (lambda: rsa_public(2048, 65539), "public exponent other than 65537"),
    "an elliptic curve": (lambda: spki_of(ec.generate_private_key(ec.SECP256R1()).public_key()), "is not an RSA key"),
    "Ed25519": (lambda: spki_of(ed25519.Ed25519PrivateKey.generate().public_key()), "is not an RSA key"),
    "nothing": (lambda: "", "is not a public key in PEM"),
    "garbage": (lambda: "canary-garbage", "is not a public key in PEM"),
    "letters that are not ASCII": (lambda: "\u00e9" * 10, "is not a public key in PEM"),
    "an empty PEM": (lambda: "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "is not a public key in PEM"),
    "PEM around garbage": (
        lambda: f"-----BEGIN PUBLIC KEY-----\n{b64encode(b'canary' * 20).decode()}\n-----END PUBLIC KEY-----\n",
        "is not a public key in PEM",
    ),
    "too long": (lambda: "x" * (MAX_PEM_SIZE + 1), "is larger than"),
}


@pytest.mark.parametrize(("make", "reason"), UNUSABLE_PUBLIC.values(), ids=UNUSABLE_PUBLIC.keys())
def test_a_public_key_that_is_not_allowed_is_refused(make: Callable[[], str], reason: str) -> None:
    """Each key outside rule 1 is refused for that, and not quoted."""
    with pytest.raises(MalformedError, match=reason) as refused:
        load_public_key(make(), what="key")
    assert "canary" not in str(refused.value)


def pkcs1_of(pem: str) -> str:
    """Spell a public key as PKCS#1."""
    return load_public_key(pem, what="key").rsa.public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()


SECOND_SPELLINGS: dict[str, Callable[[str, str], str]] = {
    "PKCS#1": lambda pem, _: pkcs1_of(pem),
    "text before": lambda pem, _: "canary\n" + pem,
    "text after": lambda pem, _: pem + "canary\n",
    "two keys": lambda pem, other: pem + other,
}


@pytest.mark.parametrize("spell", SECOND_SPELLINGS.values(), ids=SECOND_SPELLINGS.keys())
def test_a_public_key_has_one_spelling(parties: Parties, spell: Callable[[str, str], str]) -> None:
    """Rule 2: one SPKI PEM and nothing else, as the second implementation has it."""
    with pytest.raises(MalformedError, match="is not a public key in PEM"):
        load_public_key(spell(parties.human.key.public.pem, parties.agent.key.public.pem), what="key")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_the_border_sizes_are_allowed(bits: int) -> None:
    """2048 and 4096 bits are inside."""
    assert load_public_key(rsa_public(bits), what="key").rsa.key_size == bits


def test_a_private_key_given_for_a_public_one_is_refused(parties: Parties) -> None:
    """A served private key is not a public key, though it holds one."""
    with pytest.raises(MalformedError, match="not a public key in PEM"):
        load_public_key(pem_of(parties.human.key.rsa).decode(), what="key")


def test_a_fingerprint_is_the_hash_of_the_der(parties: Parties) -> None:
    """SHA-256 of the SPKI DER, 64 hex characters, the same from both halves."""
    key = parties.human.key
    der = key.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public.fingerprint == hashlib.sha256(der).hexdigest()
    assert load_public_key(key.public.pem, what="key").fingerprint == key.public.fingerprint
    assert load_private_key(pem_of(key.rsa)).public.fingerprint == key.public.fingerprint


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "PKCS#1"])
def test_a_private_key_is_read_with_and_without_passphrase(parties: Parties, form: PrivateFormat) -> None:
    """Plain and encrypted PEM in both forms."""
    key = parties.human.key
    assert load_private_key(pem_of(key.rsa, form)).public.fingerprint == key.public.fingerprint
    encrypted = pem_of(key.rsa, form, BestAvailableEncryption(PASSPHRASE))
    assert load_private_key(encrypted, passphrase=PASSPHRASE).public.fingerprint == key.public.fingerprint


UNUSABLE_PRIVATE: dict[str, tuple[Callable[[Parties], tuple[bytes, bytes | None]], str]] = {
    "1024 bits": (lambda _: (pem_of(rsa.generate_private_key(65537, 1024)), None), "has 1024 bits"),  # noqa: S505 - too short on purpose
    "exponent 3": (lambda _: (pem_of(rsa.generate_private_key(3, 2048)), None), "public exponent other than 65537"),
    "an elliptic curve": (lambda _: (pem_of(ec.generate_private_key(ec.SECP256R1())), None), "is not an RSA key"),
    "Ed25519": (lambda _: (pem_of(ed25519.Ed25519PrivateKey.generate()), None), "is not an RSA key"),
    "a public key": (lambda all_: (all_.human.key.public.pem.encode(), None), "a public key was given"),
    "encrypted, no passphrase": (
        lambda all_: (pem_of(all_.human.key.rsa, encryption=BestAvailableEncryption(PASSPHRASE)), None),
        "is encrypted and no passphrase was given",
    ),
    "encrypted, wrong passphrase": (
        lambda all_: (pem_of(all_.human.key.rsa, encryption=BestAvailableEncryption(PASSPHRASE)), b"canary-pass"),
        "or the passphrase is wrong",
    ),
    "encrypted, empty passphrase": (
        lambda all_: (pem_of(all_.human.key.rsa, encryption=BestAvailableEncryption(PASSPHRASE)), b""),
        "^the private key is",
    ),
    "plain, with a passphrase": (lambda all_: (pem_of(all_.human.key.rsa), b"canary-pass"), "is not encrypted, but a passphrase"),
    "nothing": (lambda _: (b"", None), "is not a readable PEM"),
    "garbage": (lambda _: (b"canary-garbage\xff\x00", None), "is not a readable PEM"),
    "a certificate's armour": (
        lambda _: (b"-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n", None),
        "is not a readable PEM",
    ),
    "cut short": (lambda all_: (pem_of(all_.human.key.rsa)[:800], None), "is not a readable PEM"),
    "too long": (lambda _: (b"canary" * MAX_PEM_SIZE, None), "is larger than"),
}


@pytest.mark.parametrize(("make", "reason"), UNUSABLE_PRIVATE.values(), ids=UNUSABLE_PRIVATE.keys())
def test_a_private_key_that_is_not_usable_is_refused(
    parties: Parties, make: Callable[[Parties], tuple[bytes, bytes | None]], reason: str
) -> None:
    """Each is refused for its own reason; neither the input nor the passphrase is in the error."""
    pem, passphrase = make(parties)
    with pytest.raises(PrivateKeyError, match=reason) as refused:
        load_private_key(pem, passphrase=passphrase)
    shown = repr(refused.value) + str(refused.value)
    assert "canary" not in shown
    assert not any(line.decode("latin-1") in shown for line in pem.splitlines() if len(line) > 8)


def test_a_private_key_shows_its_fingerprint_only(parties: Parties) -> None:
    """The repr names the key and holds nothing of it."""
    assert repr(parties.human.key) == f"PrivateKey({parties.human.fingerprint[:12]}\u2026)"
