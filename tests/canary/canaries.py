"""Canaries: random plaintexts that are planted, each with a name for reports and the pieces that give it away.

What this file does not do: look for them, or know where they may show.

Rules:
1. A canary is random in each run and unlike everything else, so that a hit is never chance.
2. Two pieces of a canary are looked for on their own: a text that is cut in half is still found.
3. None has the shape of a provider's token.
"""

from __future__ import annotations

import base64
import os
import secrets
import string
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.wire import FieldType

PIECE: Final = 18
"""Characters of a piece: in base64 or hex it is far beyond chance in gigabytes."""

_LETTERS: Final = string.ascii_letters + string.digits
# What JSON, URLs, HTML, shells and UTF-8 each write in another way.
_BETWEEN: Final = "\"\\/+ é<&>%'"


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted plaintext.

    Attributes:
        label: What it is, for reports; never the value.
        text: The value as it is stored, typed or configured.
        pieces: What gives it away alone: texts, or bytes that the text stands for.
    """

    label: str
    text: str
    pieces: tuple[str | bytes, ...]


def password(label: str) -> Canary:
    """Make a value with everything in it that encoders write in another way."""
    first, last = _random(PIECE), _random(PIECE)
    return Canary(label, f"{first}{_BETWEEN}{last}", (first, last))


def word(label: str) -> Canary:
    """Make a text that is fit for any argument: hexadecimal, which no look for shapes of secrets takes for one."""
    first, last = secrets.token_hex(PIECE // 2), secrets.token_hex(PIECE // 2)
    return Canary(label, first + last, (first, last))


def value_of(kind: FieldType, label: str) -> Canary:
    """Make a value as a field of this type holds.

    Raises:
        ValueError: FILE fields have none.
    """
    if kind is FieldType.FILE:
        raise ValueError("a FILE field has no value")
    if kind is FieldType.NUMBER:
        digits = "".join(secrets.choice(string.digits[1:]) for _ in range(2 * PIECE))
        return Canary(label, digits, (digits[:PIECE], digits[PIECE:]))
    if kind is FieldType.URL:
        host, path = secrets.token_hex(PIECE // 2), _random(PIECE)
        return Canary(label, f"https://{host}.example/{path}?é=%20", (host, path))
    if kind is FieldType.TOTP:
        raw = os.urandom(20)
        seed = base64.b32encode(raw).decode("ascii")
        # The seed is the bytes, however they are written.
        return Canary(label, seed, (seed[:16], seed[16:], raw))
    return password(label)


def existing(label: str, text: str) -> Canary:
    """Take a secret that was made elsewhere, such as an API secret, for a canary."""
    middle = len(text) // 2
    return Canary(label, text, (text[:middle], text[middle:]))


def octets(label: str, raw: bytes) -> Canary:
    """Take a key of bytes for a canary."""
    middle = len(raw) // 2
    return Canary(label, "", (raw[:middle], raw[middle:]))


def private_key(label: str, key: PrivateKey, pem: str) -> Canary:
    """Take a private key for a canary: its lines, and the numbers that it is made of."""
    lines = [line for line in pem.splitlines() if len(line) >= 2 * PIECE and not line.startswith("-----")]
    numbers = key.rsa.private_numbers()
    # The first lines say the algorithm and the public modulus; what is private begins behind them.
    private = lines[len(lines) // 2 :]
    found: list[str | bytes] = [line[start : start + PIECE] for line in private for start in (0, PIECE)]
    for number in (numbers.d, numbers.p, numbers.q):
        raw = number.to_bytes((number.bit_length() + 7) // 8)
        found += [raw[:PIECE], raw[-PIECE:], str(number)[: 2 * PIECE]]
    return Canary(label, "", tuple(found))


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
