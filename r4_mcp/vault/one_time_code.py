"""One-time codes from a TOTP seed (RFC 6238), so that the seed itself is never shown.

What this file does not do: read the clock; the time is an argument.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

import pyotp

from r4_mcp.errors import NotReadableError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """The current code and the whole seconds it is still valid."""

    code: Secret[str]
    remaining_seconds: int


def one_time_code(seed: Secret[str], now: float, known: KnownSecrets) -> OneTimeCode:
    """Compute the code of ``now`` (seconds since 1970) from a base32 seed or an ``otpauth://totp`` URI.

    Raises:
        NotReadableError: The seed is neither. It is not quoted.
    """
    # reveal: seen by pyotp only, in this function.
    text = seed.reveal().strip()
    problem = "the TOTP field holds neither a base32 seed nor an otpauth://totp URI"
    try:
        otp = pyotp.parse_uri(text) if text.startswith("otpauth://") else pyotp.TOTP(text.replace(" ", ""))
        if not isinstance(otp, pyotp.TOTP):
            raise NotReadableError(problem)
        code = otp.at(int(now))
    except (ValueError, binascii.Error):
        # from None: the library's message may quote the seed.
        raise NotReadableError(problem) from None
    remaining = otp.interval - int(now) % otp.interval
    return OneTimeCode(known.text(code, SecretKind.FIELD), remaining)
