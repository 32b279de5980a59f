"""One value has one spelling: strict JSON, canonical JSON, strict base64."""

from __future__ import annotations

import base64
import binascii
import json

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from r4_mcp.core.encoding import MAX_DEPTH, MAX_INT, Json, b64_decode, b64_encode, canonical, compact_json, parse_json
from r4_mcp.errors import MalformedError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSONS: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
BASE64_TEXTS = st.text("ABCXYZabcxyz0189+/=-_ \n", max_size=12)

BYTE_ORDER = "starts with a byte order mark"
NOT_JSON = "is not JSON in UTF-8"
DUPLICATE = "has an object with a duplicate key"
FRACTION = "has a number with a fraction or exponent"
RANGE = "has an integer out of range"
CONSTANT = "has NaN or Infinity"
SURROGATE = "holds half of a surrogate pair"
DEEP = f"is nested more than {MAX_DEPTH} levels deep"

REFUSED_JSON = {
    "a duplicate key": (b'{"a":1,"a":1}', DUPLICATE),
    "a duplicate key one level down": (b'{"b":{"a":1,"a":2}}', DUPLICATE),
    "a duplicate key inside lists": (b'[[{"c":[{"a":1,"b":2,"a":3}]}]]', DUPLICATE),
    "a duplicate key spelled with an escape": (b'{"a":1,"\\u0061":2}', DUPLICATE),
    "NaN": (b'{"a":NaN}', CONSTANT),
    "Infinity": (b"[Infinity]", CONSTANT),
    "minus Infinity": (b"[-Infinity]", CONSTANT),
    "minus zero": (b"-0", RANGE),
    "a float that is whole": (b'{"version":1.0}', FRACTION),
    "a fraction": (b"[0.5]", FRACTION),
    "an exponent": (b"[1e3]", FRACTION),
    "an exponent that overflows": (b"[1e999]", FRACTION),
    "2^53": (b"9007199254740992", RANGE),
    "-2^53": (b"-9007199254740992", RANGE),
    "2^63": (b"[9223372036854775808]", RANGE),
    "10^400": (b"1" + b"0" * 400, RANGE),
    "a megabyte of digits": (b"7" * 1_000_000, RANGE),
    "a leading zero": (b"[01]", NOT_JSON),
    "a plus sign": (b"[+1]", NOT_JSON),
    "digits of another script": ("[\u0663]".encode(), NOT_JSON),
    "a byte order mark": (b"\xef\xbb\xbf{}", BYTE_ORDER),
    "a byte order mark inside": (b"[\xef\xbb\xbf1]", NOT_JSON),
    "UTF-16 with a byte order mark": ('{"a":1}'.encode("utf-16"), NOT_JSON),
    "UTF-16 without one": ('{"a":1}'.encode("utf-16-le"), NOT_JSON),
    "UTF-32": ('{"a":1}'.encode("utf-32-le"), NOT_JSON),
    "a byte that is not UTF-8": (b'"\xff"', NOT_JSON),
    "an overlong slash": (b'"\xc0\xaf"', NOT_JSON),
    "an encoded surrogate": (b'"\xed\xa0\x80"', NOT_JSON),
    "half a pair, escaped, in a text": (b'{"a":"\\ud800"}', SURROGATE),
    "the other half in a key": (b'{"\\uDC00":1}', SURROGATE),
    "a pair in the wrong order": (b'["\\udc00\\ud800"]', SURROGATE),
    "half a pair at the top": (b'"x\\uDBFFx"', SURROGATE),
    "one level too many, of lists": (b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1), DEEP),
    "one level too many, of objects": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), DEEP),
    "a hundred thousand open brackets": (b"[" * 100_000, NOT_JSON),
    "a hundred thousand nested objects": (b'{"a":' * 100_000, NOT_JSON),
    "something after the value": (b"{} {}", NOT_JSON),
    "a NUL after the value": (b"{}\x00", NOT_JSON),
    "nothing": (b"", NOT_JSON),
    "only space": (b" \n", NOT_JSON),
    "single quotes": (b"{'a':1}", NOT_JSON),
    "a trailing comma": (b"[1,]", NOT_JSON),
    "a comment": (b"[1]//", NOT_JSON),
    "a raw newline in a text": (b'"a\nb"', NOT_JSON),
    "a key that is not text": (b"{1:1}", NOT_JSON),
}

ACCEPTED_JSON: dict[str, tuple[bytes, Json]] = {
    "the largest integer": (b"9007199254740991", MAX_INT),
    "the smallest integer": (b"-9007199254740991", -MAX_INT),
    "space around": (b' \t\r\n{"a" : [ 1 , null ] } ', {"a": [1, None]}),
    "a whole pair, escaped": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "an escaped backslash before something like a half": (b'"\\\\ud800"', "\\ud800"),
    "the same key in two objects": (b'[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
}


@pytest.mark.parametrize(("raw", "reason"), REFUSED_JSON.values(), ids=REFUSED_JSON.keys())
def test_json_with_a_second_reading_is_refused(raw: bytes, reason: str) -> None:
    """Each breach of rule 1 is refused, and for that breach; the document is not quoted."""
    with pytest.raises(MalformedError) as refused:
        parse_json(raw, what="answer")
    assert str(refused.value) == f"answer {reason}"


@pytest.mark.parametrize(("raw", "value"), ACCEPTED_JSON.values(), ids=ACCEPTED_JSON.keys())
def test_json_at_the_border_is_read(raw: bytes, value: Json) -> None:
    """What rule 1 allows is read as it stands."""
    assert parse_json(raw, what="answer") == value


@pytest.mark.parametrize("digits", ["1e999", "-1e999", "9" * 400 + ".0"])
def test_a_fraction_beyond_all_numbers_is_refused(digits: str) -> None:
    """Where fractions may stand, infinity may not: no JSON could say it again."""
    assert parse_json(b"[1.5,-2e3]", what="answer", fractions=True) == [1.5, -2000.0]
    with pytest.raises(MalformedError, match="number out of range"):
        parse_json(f"[{digits}]".encode(), what="answer", fractions=True)


@pytest.mark.parametrize("depth", [0, 1, MAX_DEPTH])
def test_the_depth_limit_is_exact(depth: int) -> None:
    """As deep as allowed is read; a level more is refused."""
    parse_json(b"[" * depth + b"1" + b"]" * depth, what="answer", max_depth=depth)
    with pytest.raises(MalformedError, match="levels deep"):
        parse_json(b"[" * (depth + 1) + b"1" + b"]" * (depth + 1), what="answer", max_depth=depth)
    parse_json(b'{"":' * depth + b"1" + b"}" * depth, what="answer", max_depth=depth)
    for deepest in (b"[]", b"{}"):
        with pytest.raises(MalformedError, match="levels deep"):
            parse_json(b'[1,{"":' * depth + deepest + b"},2]" * depth, what="answer", max_depth=2 * depth)


def test_a_refusal_never_quotes_the_document() -> None:
    """An answer may hold anything, so nothing of it is in the error or in what the error carries along."""
    with pytest.raises(MalformedError) as refused:
        parse_json(b'{"k":"canary-7d1f", "k":"canary-7d1f"}', what="answer")
    assert "canary" not in repr(refused.value)
    assert refused.value.__suppress_context__


@given(JSONS)
def test_parsing_what_was_canonicalised_is_identity(value: Json) -> None:
    """parse(canonical(x)) is x."""
    assert parse_json(canonical(value), what="value") == value


@given(JSONS)
@example({"é": {"b": '\u2028\x7f\x1f\\/"<', "a": [True, None, -1, {}]}, "\U00010000": 1, "\uffff": 2})
@example({"b": MAX_INT, "a": -MAX_INT, "A": "\U0001f600", "": []})
def test_canonical_bytes_are_those_of_the_reference_library(value: Json) -> None:
    """Whatever the strict parser lets through has the same bytes as in the library that speaks RFC 8785 alone."""
    assert canonical(value) == rfc8785.dumps(value)


@given(JSONS)
def test_canonical_is_idempotent(value: Json) -> None:
    """Canonical bytes are the canonical bytes of what they parse to, whatever spelling came before."""
    once = canonical(value)
    assert canonical(parse_json(once, what="value")) == once
    assert canonical(parse_json(json.dumps(value, indent=1).encode(), what="value")) == once
    assert canonical(parse_json(compact_json(value).encode(), what="value")) == once


NOT_CANONICAL: dict[str, Json] = {
    "2^53": 2**53,
    "-2^53": -(2**53),
    "2^53 in an object": {"a": 2**53},
    "-2^53 further in": {"a": {"b": -(2**53)}},
    "2^53 in a list": [2**53],
    "-2^53 in a list": [-(2**53), 1],
    "10^20 as a list's last": [1, "", 10**20],
    "half a pair": "\ud800",
    "half a pair in a key": {"\udfff": 1},
    "half a pair inside": ["a\udc00b"],
}


@pytest.mark.parametrize("value", NOT_CANONICAL.values(), ids=NOT_CANONICAL.keys())
def test_what_has_no_canonical_form_is_refused(value: Json) -> None:
    """Values that RFC 8785 can't spell raise our error, not the library's."""
    with pytest.raises(MalformedError, match="no canonical JSON form"):
        canonical(value)


def test_a_value_without_end_has_no_canonical_form() -> None:
    """Nested far too deep, or in itself: an error of ours, not one of the interpreter."""
    deep: list[Json] = []
    for _ in range(100_000):
        deep = [deep]
    itself: list[Json] = []
    itself.append(itself)
    for value in (deep, itself):
        with pytest.raises(MalformedError, match="no canonical JSON form"):
            canonical(value)


@given(st.binary(max_size=400))
def test_decoding_what_was_encoded_is_identity(raw: bytes) -> None:
    """decode(encode(x)) is x, at exactly its own size limit."""
    assert b64_decode(b64_encode(raw), what="bytes", max_size=len(raw)) == raw


@given(BASE64_TEXTS)
@example("QQ==")
@example("+/+/")
def test_base64_has_one_spelling(text: str) -> None:
    """Whatever is accepted is the very text that encoding its bytes gives; everything else is our error."""
    try:
        raw = b64_decode(text, what="bytes", max_size=100)
    except MalformedError:
        # Refused: then it is not what the encoder writes for whatever the lenient decoder makes of it.
        try:
            lenient = base64.b64decode(text)
        except binascii.Error:
            return
        assert base64.b64encode(lenient).decode() != text
    else:
        assert base64.b64encode(raw).decode() == text


REFUSED_BASE64 = {
    "trailing bits, one byte": ("QR==", "second spelling"),
    "trailing bits, two bytes": ("QUF=", "second spelling"),
    "no padding": ("QQ", "not standard padded base64"),
    "half the padding": ("QQ=", "not standard padded base64"),
    "too much padding": ("QUJD=", "base64"),
    "four padding characters": ("QUJD====", "base64"),
    "padding alone": ("====", "base64"),
    "a space before": (" QUJD", "not standard padded base64"),
    "a newline after": ("QUJD\n", "not standard padded base64"),
    "a newline inside": ("QU\nJD", "not standard padded base64"),
    "the URL alphabet": ("-_-_", "not standard padded base64"),
    "a NUL": ("QUJD\x00", "not standard padded base64"),
    "a letter that is not ASCII": ("QUJ\u00e9", "not standard padded base64"),
    "full-width letters": ("\uff31\uff31\uff31\uff31", "not standard padded base64"),
    "two encodings joined": ("QQ==QQ==", "base64"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED_BASE64.values(), ids=REFUSED_BASE64.keys())
def test_base64_with_a_second_spelling_is_refused(text: str, reason: str) -> None:
    """Each spelling that lenient decoders accept is refused."""
    with pytest.raises(MalformedError, match=reason):
        b64_decode(text, what="bytes", max_size=100)


@pytest.mark.parametrize("size", range(8))
def test_the_size_limit_is_exact(size: int) -> None:
    """A text of exactly the limit decodes; a byte more is refused as too large."""
    assert b64_decode(b64_encode(bytes(size)), what="bytes", max_size=size) == bytes(size)
    with pytest.raises(MalformedError, match=f"bytes is larger than {size} bytes"):
        b64_decode(b64_encode(bytes(size + 1)), what="bytes", max_size=size)


def test_the_size_is_decided_before_decoding() -> None:
    """A text too long for its limit is called too large even where it is not base64 at all."""
    with pytest.raises(MalformedError, match="larger than 12 bytes"):
        b64_decode("!" * 17, what="bytes", max_size=12)


def test_compact_json_keeps_order_and_letters() -> None:
    """Compact JSON has no spaces, the keys in the given order, and letters as they are."""
    assert compact_json({"b": "\u00e9", "a": [1, None]}) == '{"b":"\u00e9","a":[1,null]}'
