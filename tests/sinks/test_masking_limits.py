"""What the masker can't catch: each line here is a promise that is not made, and is shown not to hold."""

from __future__ import annotations

import base64
import codecs
import hashlib
import quopri
import unicodedata
import zlib
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import pytest

from .values import VALUE, masked, masker

UNCAUGHT: Final[tuple[tuple[str, Callable[[str], bytes]], ...]] = (
    ("a part of the value", lambda value: value[:-2].encode()),
    ("the value with something between its characters", lambda value: " ".join(value).encode()),
    ("the value broken into lines", lambda value: f"{value[:20]}\n{value[20:]}".encode()),
    ("small letters and capitals exchanged", lambda value: value.swapcase().encode()),
    ("letters rotated or replaced by others", lambda value: codecs.encode(value, "rot13").encode()),
    ("another normal form of Unicode", lambda value: unicodedata.normalize("NFD", value).encode()),
    ("a character set other than UTF-8, UTF-16, Latin-1 and Windows-1252", lambda value: value.encode("cp500")),
    ("hex with separators", lambda value: value.encode().hex(":").encode()),
    ("numbers of its characters in a list", lambda value: str(list(value.encode())).encode()),
    ("octal escapes", lambda value: "".join(f"\\{octet:03o}" for octet in value.encode()).encode()),
    ("base64 broken into lines", lambda value: base64.encodebytes(b"x" * 40 + value.encode())),
    ("base64 of base64", lambda value: base64.b64encode(base64.b64encode(value.encode()))),
    ("percent-encoding of percent-encoding", lambda value: quote(quote(value)).encode()),
    ("base85 and other alphabets", lambda value: base64.b85encode(value.encode())),
    ("quoted-printable", lambda value: quopri.encodestring(value.encode(), quotetabs=True)),
    ("compression", lambda value: zlib.compress(value.encode())),
    ("encryption", lambda value: bytes(octet ^ 0x55 for octet in value.encode())),
    ("a digest", lambda value: hashlib.sha256(value.encode()).hexdigest().encode()),
)
"""The names of these transformations stand in the security policy."""


@pytest.mark.parametrize("transform", [transform for _, transform in UNCAUGHT], ids=[name for name, _ in UNCAUGHT])
def test_this_is_not_caught(transform: Callable[[str], bytes]) -> None:
    """The whole of it comes through unchanged."""
    text = b"before " + transform(VALUE) + b" behind"
    assert masked(masker(VALUE), [text]) == text


def test_a_value_split_over_two_streams_is_not_caught() -> None:
    """One half on the standard output, the other on the standard error: each stream is masked alone."""
    by = masker(VALUE)
    half = len(VALUE) // 2
    assert masked(by, [VALUE[:half].encode()]) + masked(by, [VALUE[half:].encode()]) == VALUE.encode()
