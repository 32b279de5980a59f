"""The egress guard and the text screen: every spelling, at every place, and no false alarm for keys and exempt places."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.errors import LeakBlockedError, SecretInTextError
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.screen import refuse_secrets
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import MAX_WHOLE, MIN_SUBSTRING, WINDOW, spellings

VALUE: Final = 'Demo-"pass\\word"/+é <&> 1234 it\'s (#;)!'


def guard(*values: str | bytes) -> Egress:
    """Return a guard that knows these values."""
    known = KnownSecrets()
    for value in values:
        if isinstance(value, str):
            known.text(value, SecretKind.FIELD)
        else:
            known.octets(value, SecretKind.DEK)
    return Egress(known)


ENCODERS: Final[dict[str, Callable[[str], str]]] = {
    "raw": str,
    "reversed": lambda value: value[::-1],
    "JSON": json.dumps,
    "JSON with its own characters": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON with slashes escaped": lambda value: json.dumps(value).replace("/", "\\/"),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "percent-encoded": lambda value: quote(value, safe="", errors="surrogatepass"),
    "percent-encoded in small letters": lambda value: quote(value, safe="", errors="surrogatepass").lower(),
    "percent-encoded but for slashes": lambda value: quote(value, errors="surrogatepass"),
    "percent-encoded with small digits": lambda value: re.sub(
        "%..", lambda escape: escape[0].lower(), quote(value, safe="", errors="surrogatepass")
    ),
    "percent-encoded as by encodeURI": lambda value: quote(value, safe="!*'();/?:@&=+$,#", errors="surrogatepass"),
    "percent-encoded as by encodeURIComponent": lambda value: quote(value, safe="!*'()", errors="surrogatepass"),
    "form-encoded": lambda value: quote_plus(value, errors="surrogatepass"),
    "HTML": html.escape,
    "HTML without quotes": lambda value: html.escape(value, quote=False),
    "HTML with numbers": lambda value: html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "hex": lambda value: value.encode("utf-8", "surrogatepass").hex(),
    "HEX": lambda value: value.encode("utf-8", "surrogatepass").hex().upper(),
    "base32": lambda value: base64.b32encode(value.encode("utf-8", "surrogatepass")).decode(),
    "base64": lambda value: base64.b64encode(value.encode("utf-8", "surrogatepass")).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(b"x" + value.encode("utf-8", "surrogatepass") + b"y").decode(),
    "UTF-16 hex": lambda value: value.encode("utf-16-le", "surrogatepass").hex(),
    "UTF-16 base64": lambda value: base64.b64encode(value.encode("utf-16-be", "surrogatepass")).decode(),
    "UTF-16 base32": lambda value: base64.b32encode(value.encode("utf-16-be", "surrogatepass")).decode(),
}
"""Every spelling, made by the encoders that would make it, not by the code that is tested."""


@pytest.mark.parametrize("spelling", ENCODERS)
@pytest.mark.parametrize("around", ["{}", "before {} behind", "x{}x"])
def test_every_spelling_is_found_alone_and_inside(spelling: str, around: str) -> None:
    """The value is found wherever the text around it ends."""
    with pytest.raises(LeakBlockedError):
        guard(VALUE).check({"a": [{"b": around.format(ENCODERS[spelling](VALUE))}]})


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_that_was_read_as_bytes_is_found(codec: str) -> None:
    """A character and a NUL in turn, in either order."""
    assert guard(VALUE).holds_secret(VALUE.encode(codec).decode("latin-1"))


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("behind", range(4))
@pytest.mark.parametrize("urlsafe", [False, True])
def test_base64_is_found_at_every_alignment(before: int, behind: int, *, urlsafe: bool) -> None:
    """A base64 of a longer text that holds the value, whatever stands before and behind it."""
    raw = b"\xfb" * before + VALUE.encode() + b"\xff" * behind
    encoded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(raw).decode()
    for text in (encoded, encoded.rstrip("="), f"data:;base64,{encoded}"):
        assert guard(VALUE).holds_secret(text)


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_any_key_is_found_at_any_place(key: bytes, before: bytes, behind: bytes) -> None:
    """The law behind the table above."""
    assert guard(key).holds_secret(base64.b64encode(before + key + behind).decode())


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=40), st.binary(max_size=5))
def test_a_key_is_found_as_python_and_base32_write_it(key: bytes, behind: bytes) -> None:
    """A key in the words of a traceback, and at the head of a longer base32."""
    assert guard(key).holds_secret(f"wrong key: {key!r}")
    assert guard(key).holds_secret(base64.b32encode(key + behind).decode())


@settings(deadline=None)
@given(st.text(min_size=MIN_SUBSTRING, max_size=60))
def test_longer_spellings_come_first(value: str) -> None:
    """Who masks them in this order leaves no rest of a longer one behind; none is too short to be looked for."""
    found = spellings(value)
    assert [len(text) for text in found] == sorted((len(text) for text in found), reverse=True)
    assert len(found) == len(set(found))
    assert all(len(text) >= MIN_SUBSTRING for text in found)
    assert value in found


def test_a_long_value_is_known_by_its_start_middle_and_end() -> None:
    """Its spellings would be as many times longer; windows of it find each copy, and parts of it too."""
    value = "".join(f"{number:05d}," for number in range(MAX_WHOLE // 4))
    middle = len(value) // 2
    egress = guard(value)
    for text in (value, value[: WINDOW + 9], value[middle - 9 : middle + WINDOW + 9], value[-WINDOW:].encode().hex()):
        assert egress.holds_secret(f"before {text} behind")
    assert not egress.holds_secret(value[:WINDOW].replace("00007", "00008"))


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


def test_the_error_says_nothing_of_the_value() -> None:
    """Not its text, and no cause that quotes it."""
    with pytest.raises(LeakBlockedError) as caught:
        guard(VALUE).check([VALUE])
    assert not [needle for needle in spellings(VALUE) if needle in str(caught.value)]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_keys_of_objects_are_not_looked_at() -> None:
    """They are ours: a value that equals a member's name raises no alarm."""
    guard("xenophobia-8").check({"xenophobia-8": "r4://a", "b": {"xenophobia-8": 1}})


def test_every_kind_of_sequence_and_mapping_is_walked() -> None:
    """What the encoder would write is what is looked at."""
    for payload in ([VALUE], (VALUE,), {"a": ({"b": [0, None, VALUE]},)}, MappingProxyType({"a": VALUE}), VALUE):
        with pytest.raises(LeakBlockedError):
            guard(VALUE).check(payload)


def test_two_leaves_are_not_read_as_one() -> None:
    """A value that only stands there when leaves are put together did not leave."""
    guard("first line\nsecond line").check(["first line", "second line"])


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
    "a known value in hex": VALUE.encode().hex(),
    "a PKCS#8 key": "-----BEGIN PRIVATE KEY-----",
    "an RSA key": "text -----BEGIN RSA PRIVATE KEY----- text",
    "an encrypted key": "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "an SSH key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "an R4 API key": "rk_aaaabbbbcccc.dddd-eeee_ffff",
}


@pytest.mark.parametrize("what", SCREENED)
def test_the_screen_refuses_and_does_not_say_what_it_found(what: str) -> None:
    """One sentence and one code for a known value and for a shape: it names the argument only."""
    with pytest.raises(SecretInTextError) as caught:
        refuse_secrets({"fine": "text", "details": SCREENED[what]}, guard(VALUE))
    assert caught.value.message == ("the argument details holds something that is, or looks like, a secret; nothing was done")
    assert (caught.value.code, caught.value.next_step, caught.value.candidates) == ("secret_in_text", None, ())
    assert caught.value.__context__ is None


def test_the_screen_names_the_first_argument_whichever_kind_it_holds() -> None:
    """The order of the arguments decides, not the kind of the hit: else the order would tell the kinds apart."""
    for first, second in (("a known value", "an RSA key"), ("an RSA key", "a known value")):
        with pytest.raises(SecretInTextError, match="the argument one holds"):
            refuse_secrets({"none": None, "one": SCREENED[first], "two": SCREENED[second]}, guard(VALUE))


@pytest.mark.parametrize(
    "text", ["", "an ordinary text", "rk_short.x", "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "r4://a/b/c"]
)
def test_the_screen_lets_ordinary_texts_pass(text: str) -> None:
    """References and public things may be reported."""
    refuse_secrets({"details": text, "desired_outcome": None}, guard(VALUE))
