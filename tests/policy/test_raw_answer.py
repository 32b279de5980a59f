"""The one filtered view: what may be a secret in an answer of unknown shape never gets through, and the rest does."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.envelope import Place, seal
from r4_mcp.core.wire import FieldId, FieldInstanceId, ItemId, VaultId
from r4_mcp.errors import MalformedError
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.raw_answer import MARKS, MAX_DEPTH, MAX_ENTRIES, MAX_NAME, MAX_SHOWN, MAX_TEXT, AnswerFilter
from r4_mcp.secret import KnownSecrets, SecretKind

from .test_shapes import SHAPES

VALUE: Final = "canary zebra value"
"""A secret of the process; without a shape."""
ID: Final = "a" * 24


def octets(count: int) -> bytes:
    """Return random bytes, the same in each run."""
    return random.Random(3).randbytes(count)  # noqa: S311 - a test text, repeatable


def b64(count: int) -> str:
    """Return random bytes in base64."""
    return base64.b64encode(octets(count)).decode()


def filtered(answer: Any) -> tuple[Any, int]:  # noqa: ANN401 - an answer is any JSON
    """Return what is shown of an answer, parsed again, and how much was replaced."""
    known = KnownSecrets()
    known.text(VALUE, SecretKind.FIELD)
    known.text("31415926", SecretKind.FIELD)
    egress = Egress(known)
    made = AnswerFilter(egress.holds_secret)
    text = made.shown(json.dumps(answer).encode())
    assert text is not None
    # The last look finds nothing more.
    egress.check({"body": text})
    return json.loads(text), made.replaced


def envelope() -> str:
    """Return a real ciphertext envelope."""
    known = KnownSecrets()
    place = Place(VaultId(ID), ItemId("b" * 24), FieldId("c" * 24), FieldInstanceId("d" * 24))
    return seal(known.octets(octets(32), SecretKind.DEK), place, known.text(VALUE, SecretKind.FIELD), octets(12))


HIDDEN: Final[dict[str, tuple[Callable[[], str], str]]] = {
    "a secret of this process": (lambda: VALUE, "secret"),
    "one inside a sentence": (lambda: f"The value is {VALUE}.", "secret"),
    "one in base64": (lambda: base64.b64encode(VALUE.encode()).decode(), "secret"),
    "one in hexadecimal": (lambda: VALUE.encode().hex(), "secret"),
    "a ciphertext envelope": (envelope, "ciphertext, {} characters"),
    "an envelope with spaces": (lambda: " " + json.dumps(json.loads(envelope()), indent=1), "ciphertext, {} characters"),
    "an envelope of another version": (lambda: '{"v":4,"iv":"","t":"","d":"","x":1}', "ciphertext, {} characters"),
    "a wrapped key of 2048 bits": (lambda: b64(256), "wrapped key or signature, {} characters"),
    "a wrapped key of 3072 bits": (lambda: b64(384), "wrapped key or signature, {} characters"),
    "a wrapped key of 4096 bits": (lambda: b64(512), "wrapped key or signature, {} characters"),
    "a public key": (lambda: f"-----BEGIN PUBLIC KEY-----\n{b64(40)}\n-----END PUBLIC KEY-----\n", "PEM, {} characters"),
    "a certificate inside": (lambda: f"cert: -----BEGIN CERTIFICATE-----{b64(40)}", "PEM, {} characters"),
    "32 bytes in base64": (lambda: b64(32), "base64 or hexadecimal, {} characters"),
    "base64 of a kind in lines": (lambda: f"{b64(48)}\r\n{b64(48)}\n", "base64 or hexadecimal, {} characters"),
    "base64 of zeros": (lambda: "A" * 43, "base64 or hexadecimal, {} characters"),
    "a digest": (lambda: octets(32).hex(), "base64 or hexadecimal, {} characters"),
    "a digest in a sentence": (lambda: f"sha256:{octets(32).hex()}, as ever", "base64 or hexadecimal, {} characters"),
    "an address with a password": (lambda: "see https://app:hunter@example.com/x", "address with a credential, {} characters"),
    "an address with a user": (lambda: "ftp://someone@example.com", "address with a credential, {} characters"),
    "a signed address": (lambda: "https://s3.example.com/a/b?X-Amz-Signature=00ff", "address with a credential, {} characters"),
    "another": (lambda: "<https://blob.example.com/c?sv=2026-01-01&sig=abc>", "address with a credential, {} characters"),
    "a path with a token": (lambda: "/attachment/1/content?token=abc", "address with a credential, {} characters"),
    "a token behind a hash": (lambda: "https://example.com/#access_token=abc", "address with a credential, {} characters"),
    "a long parameter": (lambda: f"https://example.com/?state={'a-b.' * 8}", "address with a credential, {} characters"),
    "an address that can't be read": (lambda: "https://[example.com/x", "address with a credential, {} characters"),
    "a secret in JSON as text": (lambda: json.dumps({"a": [{"password": "short"}]}), "JSON with a secret, {} characters"),
    "one in JSON in JSON": (lambda: json.dumps([json.dumps({"pin": "1234"})]), "JSON with a secret, {} characters"),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_what_may_be_a_secret_becomes_a_placeholder_of_its_kind(what: str) -> None:
    """As a member, in a list, at depth, and as a name: never a part of it stays."""
    made, kind = HIDDEN[what]
    text = made()
    placeholder = kind.format(len(text)).join(MARKS)
    shown, replaced = filtered({"a": text, "b": [{"c": [1, text]}], "kept": "kept"})
    assert shown == {"a": placeholder, "b": [{"c": [1, placeholder]}], "kept": "kept"}
    assert replaced == 2
    assert filtered({text: 1}) == ({"name 1".join(MARKS): 1}, 1)
    assert filtered(text) == (placeholder, 1)


@pytest.mark.parametrize("what", SHAPES)
def test_whatever_has_the_shape_of_a_secret_is_replaced(what: str) -> None:
    """The same shapes that may not leave in a report."""
    for text in (SHAPES[what](), f"it is {SHAPES[what]()} now", json.dumps({"a": SHAPES[what]()})):
        shown, replaced = filtered({"a": text})
        assert replaced == 1
        assert shown["a"].startswith(MARKS[0])
        assert shown["a"].endswith(MARKS[1])


SECRET_NAMES: Final = (
    "secret", "clientSecret", "client_secret", "CLIENT-SECRET", "secrets", "password", "passwd", "apiKey", "API_KEY",
    "accessToken", "refresh_token", "privateKey", "wrappedDek", "wrappedDekSignature", "encryptedValue", "Authorization",
    "set-cookie", "totpSeed", "otp", "pin", "signing key", "credentials", "passphrase", "ciphertext",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_text_under_a_secrets_name_is_replaced_whatever_it_looks_like(name: str) -> None:
    """A short or hexadecimal secret has no shape; numbers, true and null are kept, and so is an empty text."""
    member = {"id": ID, "count": 3, "on": True, "none": None, "empty": ""}
    secret = "secret".join(MARKS)
    assert filtered({name: "deadbeef"}) == ({name: secret}, 1)
    assert filtered({name: ["x", {"value": "y"}]}) == ({name: [secret, {"value": secret}]}, 2)
    assert filtered({name: member}) == ({name: {**member, "id": secret}}, 1)


KEPT: Final = {
    "an id": ID,
    "a UUID": "123e4567-e89b-12d3-a456-426614174000",
    "a time": "2026-11-23T12:00:00.000Z",
    "a plain address": "https://example.com/hooks/r4?page=2&sort=name",
    "a mail address": "ops@example.com",
    "a sentence": "The quick brown fox jumps over the lazy dog, and the operator of the vault is told about it. Why? No reason.",
    "a file name": "Quarterly report (final), version 3.pdf",
    "a reference": f"r4://{ID}/{'b' * 24}/{'c' * 24}",
    "another script": "Größe 世界",
    "a name of a permission": "machine.webhook.all",
    "JSON as text": '{"event": "vault.shared", "count": 2}',
    "braces": "{not JSON}",
}


@pytest.mark.parametrize("what", KEPT)
def test_what_is_no_secret_is_shown_as_it_is(what: str) -> None:
    """Else the tool would be of no use."""
    assert filtered({"name": KEPT[what], "list": [KEPT[what]]}) == ({"name": KEPT[what], "list": [KEPT[what]]}, 0)


def test_numbers_are_kept_with_their_fractions() -> None:
    """But for one that is written like a secret of this process."""
    numbers = [0, -7, 1.5, 0.1, 1e21, 2**53 - 1, True, False, None]
    assert filtered({"amounts": numbers}) == ({"amounts": numbers}, 0)
    assert filtered([31415926, 3.5]) == (["secret".join(MARKS), 3.5], 1)


def test_an_envelope_that_is_an_object_is_replaced_whole() -> None:
    """No length of a part of it is shown either."""
    assert filtered({"value": json.loads(envelope())}) == ({"value": "ciphertext".join(MARKS)}, 1)


def test_names_that_look_the_same_stay_two() -> None:
    """What can't be seen is escaped, in names as in texts, and a long name is replaced."""
    shown, _ = filtered({"a\u200b": 1, "a\\u{200b}": "b\u202e", "n" * (MAX_NAME + 1): 2})
    assert shown == {"a\\u{200b}": 1, f"a\\u{{200b}} {'2'.join(MARKS)}": "b\\u{202e}", "name 3".join(MARKS): 2}


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"a":1,"a":2}', b"NaN", b"[1e999]", b"[" * 99, b"\xef\xbb\xbf{}", b'"\\ud800"'])
def test_what_is_not_strict_json_is_refused(raw: bytes) -> None:
    """One value has one reading, or there is none."""
    with pytest.raises(MalformedError, match="the answer"):
        AnswerFilter(lambda _: False).shown(raw)


def test_an_empty_body_is_nothing() -> None:
    """A 204 has none."""
    assert AnswerFilter(lambda _: False).shown(b"") is None


def test_what_is_shown_has_bounds_and_says_what_is_left_out() -> None:
    """Entries, members and characters; a long text is cut."""
    shown, replaced = filtered(list(range(MAX_ENTRIES + 5)))
    assert (shown[-2:], replaced) == ([MAX_ENTRIES - 1, "5 left out".join(MARKS)], 5)
    shown, replaced = filtered({f"k{number}": number for number in range(MAX_ENTRIES + 5)})
    assert (list(shown.items())[-1], replaced) == (("more".join(MARKS), "5 left out".join(MARKS)), 5)
    words = "a plain word " * 1000
    shown, _ = filtered([words] * 30)
    assert shown[0] == words[:MAX_TEXT] + "…"
    assert shown[-1] == f"text, {len(words)} characters, left out".join(MARKS)
    assert len(json.dumps(shown)) < 2 * MAX_SHOWN


def test_the_deepest_answer_is_shown_and_a_deeper_one_refused() -> None:
    """The bound is the parser's."""
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert filtered(deep) == (deep, 0)
    with pytest.raises(MalformedError, match="levels deep"):
        filtered([deep])


@pytest.mark.parametrize("text", ["a." * 120_000, "?" * 240_000, "a://" * 60_000, "&=" * 120_000, '{"' * 120_000, "[" * 240_000])
def test_no_answer_keeps_the_filter_busy(text: str) -> None:
    """Of the largest size that is read: what grows with the square of it would take minutes."""
    began = time.monotonic()
    filtered(["x?" + text])
    filtered([text])
    assert time.monotonic() - began < 20


JSON_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES, st.sampled_from(["{}", "a {} b", '{{"k":"{}"}}', "https://example.com/{}?q={}"]))
def test_no_place_in_an_answer_lets_a_known_secret_through(answer: Any, around: str) -> None:  # noqa: ANN401 - any JSON
    """Beside anything, inside anything, as a name or a text."""
    text = around.replace("{}", VALUE).replace("{{", "{").replace("}}", "}")
    shown, replaced = filtered([answer, {"x": text, text: answer}, text])
    assert VALUE not in json.dumps(shown)
    assert replaced >= 3
