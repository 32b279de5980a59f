"""The egress guard and the text screen: every spelling, at every place, and no false alarm for our own words."""

from __future__ import annotations

import base64
import html
import json
from typing import Any, Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import LeakBlockedError, SecretInTextError
from r4_mcp.policy.egress import OUR_WORDS, Egress
from r4_mcp.policy.screen import refuse_secrets
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import MIN_SUBSTRING

VALUE: Final = 'Demo-"pass\\word"/+é <&> 1234'


def guard(*values: str | bytes) -> Egress:
    """Return a guard that knows these values."""
    known = KnownSecrets()
    for value in values:
        if isinstance(value, str):
            known.text(value, SecretKind.FIELD)
        else:
            known.octets(value, SecretKind.DEK)
    return Egress(known)


SPELLINGS: Final = {
    "raw": VALUE,
    "reversed": VALUE[::-1],
    "JSON": json.dumps(VALUE),
    "JSON with its own characters": json.dumps(VALUE, ensure_ascii=False),
    "JSON in JSON": json.dumps(json.dumps(VALUE)),
    "percent-encoded": quote(VALUE, safe=""),
    "percent-encoded in small letters": quote(VALUE, safe="").lower(),
    "form-encoded": quote_plus(VALUE),
    "HTML": html.escape(VALUE),
    "HTML without quotes": html.escape(VALUE, quote=False),
    "hex": VALUE.encode().hex(),
    "HEX": VALUE.encode().hex().upper(),
    "base32": base64.b32encode(VALUE.encode()).decode(),
    "UTF-16 hex": VALUE.encode("utf-16-le").hex(),
    "UTF-16 base64": base64.b64encode(VALUE.encode("utf-16-be")).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "before {} behind", "x{}x"])
def test_every_spelling_is_found_alone_and_inside(spelling: str, around: str) -> None:
    """The value is found wherever the text around it ends."""
    with pytest.raises(LeakBlockedError):
        guard(VALUE).check({"a": [{"b": around.format(SPELLINGS[spelling])}]})


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("behind", range(4))
@pytest.mark.parametrize("urlsafe", [False, True])
def test_base64_is_found_at_every_alignment(before: int, behind: int, *, urlsafe: bool) -> None:
    """A base64 of a longer text that holds the value, whatever stands before and behind it."""
    raw = b"\xfb" * before + VALUE.encode() + b"\xff" * behind
    encoded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(raw).decode()
    for text in (encoded, encoded.rstrip("="), f"data:;base64,{encoded}"):
        assert guard(VALUE).holds_secret(text)


@given(st.binary(min_size=8, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_any_key_is_found_at_any_place(key: bytes, before: bytes, behind: bytes) -> None:
    """The law behind the table above."""
    assert guard(key).holds_secret(base64.b64encode(before + key + behind).decode())


def test_a_short_value_is_only_recognised_whole() -> None:
    """As a part it would be found in everything; alone it is blocked."""
    short = "abc1234"
    assert len(short) == MIN_SUBSTRING - 1
    egress = guard(short)
    egress.check({"a": f"x{short}", "b": f"{short} "})
    with pytest.raises(LeakBlockedError):
        egress.check({"a": [short]})


def test_exempt_is_a_place_and_not_a_value() -> None:
    """The same value beside its own place is blocked."""
    egress = guard(VALUE)
    exempt = frozenset({("value",)})
    egress.check({"value": VALUE, "other": "x"}, exempt=exempt)
    leaks: tuple[Any, ...] = (
        {"value": VALUE, "other": VALUE},
        {"value": {"value": VALUE}},
        {"value": [VALUE]},
        {"a": {"value": VALUE}},
    )
    for payload in leaks:
        with pytest.raises(LeakBlockedError):
            egress.check(payload, exempt=exempt)


@pytest.mark.parametrize("word", sorted(OUR_WORDS))
def test_our_own_words_are_no_leak(word: str) -> None:
    """A password may be LOGIN; a listing still says LOGIN."""
    egress = guard(word)
    egress.check({"type": word})
    egress.check({"type": f"a sentence with {word} in it"})


def test_keys_of_objects_are_not_looked_at() -> None:
    """They are ours: a value that equals a member's name raises no alarm."""
    guard("reference").check({"reference": "r4://a"})


def test_a_value_learnt_later_is_looked_for() -> None:
    """The guard follows what becomes known, and forgets nothing of it."""
    known = KnownSecrets()
    egress = Egress(known)
    egress.check({"a": VALUE})
    known.text(VALUE, SecretKind.FIELD)
    with pytest.raises(LeakBlockedError):
        egress.check({"a": VALUE})


def test_a_public_value_raises_no_alarm() -> None:
    """Made unarmed, it may stand anywhere until it is armed."""
    known = KnownSecrets()
    egress = Egress(known)
    secret = known.text(VALUE, SecretKind.FIELD, armed=False)
    egress.check({"a": VALUE})
    known.arm(secret, SecretKind.FIELD)
    with pytest.raises(LeakBlockedError):
        egress.check({"a": VALUE})


def test_each_line_of_a_private_key_is_known() -> None:
    """Lines leak alone."""
    known = KnownSecrets()
    line = "QUJD" * 16
    known.private_key_pem(f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n".encode())
    assert Egress(known).holds_secret(f"see {line} there")


SCREENED: Final = {
    "a known value": f"it is {VALUE}",
    "a PKCS#8 key": "-----BEGIN PRIVATE KEY-----",
    "an RSA key": "text -----BEGIN RSA PRIVATE KEY----- text",
    "an encrypted key": "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "an SSH key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "an R4 API key": "rk_aaaabbbbcccc.dddd-eeee_ffff",
}


@pytest.mark.parametrize("what", SCREENED)
def test_the_screen_refuses_and_does_not_say_what_it_found(what: str) -> None:
    """One sentence for every kind of hit: it names the argument only."""
    with pytest.raises(SecretInTextError) as caught:
        refuse_secrets({"fine": "text", "details": SCREENED[what]}, guard(VALUE))
    assert caught.value.message == ("the argument details holds something that is, or looks like, a secret; nothing was sent")


@pytest.mark.parametrize(
    "text", ["", "an ordinary text", "rk_short.x", "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "r4://a/b/c"]
)
def test_the_screen_lets_ordinary_texts_pass(text: str) -> None:
    """References and public things may be reported."""
    refuse_secrets({"details": text, "desired_outcome": None}, guard(VALUE))
