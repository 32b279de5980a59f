"""One-time codes against the RFC's own table and an independent implementation."""

from __future__ import annotations

import base64

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import NotReadableError
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.one_time_code import one_time_code

# RFC 6238, appendix B: seeds of the three algorithms, times, codes of eight digits.
SEEDS = {
    "SHA1": b"12345678901234567890",
    "SHA256": b"12345678901234567890123456789012",
    "SHA512": b"1234567890123456789012345678901234567890123456789012345678901234",
}
TABLE = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


def code(seed: str, now: float) -> tuple[str, int]:
    """Compute a code and its remaining seconds."""
    known = KnownSecrets()
    found = one_time_code(known.text(seed, SecretKind.FIELD), now, known)
    return found.code.reveal(), found.remaining_seconds


@pytest.mark.parametrize(("now", "sha1", "sha256", "sha512"), TABLE)
def test_the_table_of_the_rfc(now: int, sha1: str, sha256: str, sha512: str) -> None:
    """Every row of RFC 6238 appendix B."""
    for algorithm, expected in zip(SEEDS, (sha1, sha256, sha512), strict=True):
        secret = base64.b32encode(SEEDS[algorithm]).decode().rstrip("=")
        uri = f"otpauth://totp/rfc?secret={secret}&algorithm={algorithm}&digits=8"
        assert code(uri, now) == (expected, 30 - now % 30)


@given(st.binary(min_size=14, max_size=64), st.integers(0, 2**33))
def test_another_implementation_agrees(key: bytes, now: int) -> None:
    """Pyotp gives the same six digits."""
    secret = base64.b32encode(key).decode().rstrip("=")
    assert code(secret, now)[0] == pyotp.TOTP(secret).at(now)


@pytest.mark.parametrize(
    "seed",
    [
        "",
        "not base32!",
        "AAAA",
        "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQ&counter=1",
        "otpauth://totp/x",
        "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=0",
        "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=9999",
        "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&digits=12",
        "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&algorithm=MD5",
        "otpauth://[bad/x?secret=GEZDGNBVGY3TQOJQ",
    ],
)
def test_what_is_no_seed_is_refused_without_an_echo(seed: str) -> None:
    """Neither base32 of 64 bits or more nor a TOTP URI with sane parameters."""
    with pytest.raises(NotReadableError) as refused:
        code(seed, 0)
    assert not seed or seed not in str(refused.value)
