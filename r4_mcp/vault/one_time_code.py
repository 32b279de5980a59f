"""One-time codes from a TOTP seed (RFC 6238), so that the seed itself is never shown.

What this file does not do: read the clock; the time is an argument.

The code is computed by ``cryptography`` with its key-length check off: many services still hand out seeds of 80 bits, shorter
than RFC 4226 asks of them, and a vault that refused those could not be used with them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from r4_mcp.errors import NotReadableError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

MIN_SEED: Final = 8
"""Bytes; the shortest seed seen in use has 10."""

MAX_PERIOD: Final = 300
DEFAULT_PERIOD: Final = 30
DEFAULT_DIGITS: Final = 6

_ALGORITHMS: Final[dict[str, Callable[[], hashes.SHA1 | hashes.SHA256 | hashes.SHA512]]] = {
    "SHA1": hashes.SHA1,
    "SHA256": hashes.SHA256,
    "SHA512": hashes.SHA512,
}
_NUMBER: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_PROBLEM: Final = "the TOTP field holds neither a base32 seed nor an otpauth://totp URI"


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """The current code and the whole seconds it is still valid."""

    code: Secret[str]
    remaining_seconds: int


@dataclass(frozen=True, slots=True, repr=False)
class _Seed:
    key: bytes
    algorithm: str
    digits: int
    period: int


def one_time_code(seed: Secret[str], now: float, known: KnownSecrets) -> OneTimeCode:
    """Compute the code of ``now`` from a base32 seed or an ``otpauth://totp`` URI.

    Args:
        seed: The field's value.
        now: Seconds since 1970.
        known: Where the code is made known.

    Raises:
        NotReadableError: The seed is neither of the two. It is not quoted.
    """
    # reveal: seen by this parser and the HMAC only.
    parsed = _read_uri(seed.reveal()) if seed.reveal().startswith("otpauth://") else _read_base32(seed.reveal())
    if parsed is None:
        raise NotReadableError(_PROBLEM)
    # SHA-1 is RFC 6238's own default; HMAC does not need its collision resistance.
    totp = TOTP(parsed.key, parsed.digits, _ALGORITHMS[parsed.algorithm](), parsed.period, enforce_key_length=False)
    # The seed inside a URI is as secret as the URI.
    known.text(base64.b32encode(parsed.key).decode("ascii").rstrip("="), SecretKind.FIELD)
    code = totp.generate(int(now)).decode("ascii")
    return OneTimeCode(known.text(code, SecretKind.FIELD), parsed.period - int(now) % parsed.period)


def _read_uri(text: str) -> _Seed | None:
    # The form of authenticator apps: otpauth://totp/LABEL?secret=…&algorithm=…&digits=…&period=…
    try:
        url = urlsplit(text)
        given = parse_qs(url.query, strict_parsing=True, max_num_fields=20)
    except ValueError:
        return None
    base = _read_base32(given.get("secret", [""])[0])
    algorithm = given.get("algorithm", ["SHA1"])[0].upper()
    digits = _number(given.get("digits", [str(DEFAULT_DIGITS)])[0])
    period = _number(given.get("period", [str(DEFAULT_PERIOD)])[0])
    if url.netloc.lower() != "totp" or base is None or algorithm not in _ALGORITHMS:
        return None
    if digits not in {6, 7, 8} or not 1 <= period <= MAX_PERIOD:
        return None
    return _Seed(base.key, algorithm, digits, period)


def _read_base32(text: str) -> _Seed | None:
    # Services show seeds in groups, in lower case, without padding; none of that changes the seed.
    compact = "".join(text.split()).upper().rstrip("=")
    try:
        key = base64.b32decode(compact + "=" * (-len(compact) % 8))
    except (binascii.Error, ValueError):
        return None
    return _Seed(key, "SHA1", DEFAULT_DIGITS, DEFAULT_PERIOD) if len(key) >= MIN_SEED else None


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
