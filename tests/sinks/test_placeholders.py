"""What is refused before a value is touched: malformed placeholders, wrong places, wrong requests."""

from __future__ import annotations

import math
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import InvalidArgumentError, PlaceholderError
from r4_mcp.sinks.destination import parse
from r4_mcp.sinks.placeholders import MAX_DEPTH, JsonValue, parse_template
from r4_mcp.sinks.request import (
    MAX_PAIRS,
    REFUSED_HEADERS,
    BasicAuth,
    BearerAuth,
    FormBody,
    GivenPairs,
    JsonBody,
    Place,
    TextBody,
    compose,
    fill,
)

from .services import SLOT
from .values import OTHER, PLAIN, REFERENCE, secret

SITE: Final = parse("https://example.com/path")


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("", set()),
        ("no placeholder, {one} brace, {{two}}, }} and r4://a/b/c", set()),
        ("{{r4://a/b/c}}", {"r4://a/b/c"}),
        ("{{r4://a b/b%20c/d}}", {"r4://a b/b%20c/d"}),
        ("x{{r4://a/b/c}}{{r4://d/e/f}}y{{r4://a/b/c}}", {"r4://a/b/c", "r4://d/e/f"}),
        ("{{{r4://a/b/c}}}", {"r4://a/b/c"}),
        ('{"a":{"b":{{r4://a/b/c}}}}', {"r4://a/b/c"}),
    ],
)
def test_placeholders_are_found(text: str, references: set[str]) -> None:
    """And everything else is text."""
    template = parse_template(text)
    assert template.references == references
    assert template.fill({reference: secret("V") for reference in references}).count("V") == text.count("{{r4:")


@pytest.mark.parametrize(
    "text",
    [
        "{{r4://",
        "{{r4://}}",
        "{{r4:}}",
        "{{r4://a}}",
        "{{r4://a/b}}",
        "{{r4://a/b/}}",
        "{{r4://a//c}}",
        "{{r4:///b/c}}",
        "{{r4://a/b/c/d}}",
        "{{r4://a/b/c}",
        "{{r4://a/b/c",
        "{{ r4://a/b/c }}",
        "{{r4://a/b/c }x}",
        "{{R4://a/b/c}}",
        "{{\nr4 ://a/b/c}}",
        "{{r4://a/b/c?d}}",
        "{{r4://a/b/c#d}}",
        "{{r4://a/b/%zz}}",
        "{{r4://a/b/c\n}}",
        "{{r4://a/b/c|upper}}x{{r4://a/{{r4://d/e/f}}/c}}",
        "{{r4://a/{{r4://d/e/f}}/c}}",
        "{{r4://{{r4://d/e/f}}}}",
        "{{r4://a/b/c}} {{r4://a/b}}",
    ],
)
def test_a_malformed_placeholder_is_refused(text: str) -> None:
    """Also one inside another. It is never sent as text."""
    with pytest.raises(PlaceholderError):
        parse_template(text)


@given(st.lists(st.one_of(st.text("{}r4:/ab%\n "), st.just("{{r4://a/b/c}}")), max_size=8))
def test_any_text_is_parsed_or_refused(parts: list[str]) -> None:
    """What is accepted is put together again to what it was, by putting in what stood there."""
    text = "".join(parts)
    try:
        template = parse_template(text)
    except PlaceholderError:
        return
    assert template.fill({reference: secret(f"{{{{{reference}}}}}") for reference in template.references}) == text


def test_a_request_tells_where_each_reference_stands() -> None:
    """For the rules that open a place to an item."""
    slot = f"{{{{{OTHER}}}}}"
    request = compose(
        "POST", SITE, headers=[("x", SLOT)], query=[("a", slot)], auth=BasicAuth(slot, SLOT), body=JsonBody({"a": [SLOT, 1]})
    )
    assert request.uses == {
        (Place.HEADER, REFERENCE),
        (Place.QUERY, OTHER),
        (Place.CREDENTIALS, OTHER),
        (Place.CREDENTIALS, REFERENCE),
        (Place.JSON, REFERENCE),
    }
    assert request.references == {REFERENCE, OTHER}
    assert compose("POST", SITE, body=FormBody([("a", SLOT)])).uses == {(Place.FORM, REFERENCE)}


@pytest.mark.parametrize(
    "body", [TextBody(SLOT), TextBody("{{ r4:x"), JsonBody({SLOT: 1}), JsonBody([{"a": {SLOT: ""}}]), FormBody([(SLOT, "")])]
)
def test_a_placeholder_in_another_place_of_the_body_is_refused(body: TextBody | JsonBody | FormBody) -> None:
    """Texts and names."""
    with pytest.raises(PlaceholderError):
        compose("POST", SITE, body=body)


def test_a_placeholder_in_a_name_is_refused() -> None:
    """Of a header, of a query parameter."""
    with pytest.raises(PlaceholderError):
        compose("GET", SITE, headers=[(SLOT, "x")])
    with pytest.raises(PlaceholderError):
        compose("GET", SITE, query=[(SLOT, "x")])


@pytest.mark.parametrize("method", ["get", "CONNECT", "TRACE", "", "GET / HTTP/1.1\r\n", "PROPFIND"])
def test_an_unknown_method_is_refused(method: str) -> None:
    """Those that tunnel or echo, and whatever is none."""
    with pytest.raises(InvalidArgumentError):
        compose(method, SITE)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_body_of_the_wrong_method_is_refused(method: str) -> None:
    """Servers differ about what it means."""
    with pytest.raises(InvalidArgumentError):
        compose(method, SITE, body=JsonBody({}))


@pytest.mark.parametrize("name", sorted(REFUSED_HEADERS))
def test_a_header_that_is_ours_is_refused(name: str) -> None:
    """In any case of its letters."""
    for spelling in (name, name.upper(), name.title()):
        with pytest.raises(InvalidArgumentError, match=name):
            compose("GET", SITE, headers=[(spelling, "x")])


@pytest.mark.parametrize(
    "headers",
    [
        [("a", "1"), ("A", "2")],
        [("", "x")],
        [("a b", "x")],
        [("a:", "x")],
        [("a\r\nb", "x")],
        [("é", "x")],
        [("a" * 129, "x")],
        [(f"a{number}", "x") for number in range(MAX_PAIRS + 1)],
    ],
)
def test_a_wrong_header_is_refused(headers: GivenPairs) -> None:
    """Given twice, not a token, too many."""
    with pytest.raises(InvalidArgumentError):
        compose("GET", SITE, headers=headers)


def test_too_many_parameters_are_refused() -> None:
    """Of the query and of a form."""
    pairs = [("a", "b")] * (MAX_PAIRS + 1)
    with pytest.raises(InvalidArgumentError, match="query"):
        compose("GET", SITE, query=pairs)
    with pytest.raises(InvalidArgumentError, match="form"):
        compose("POST", SITE, body=FormBody(pairs))


def test_two_kinds_of_credentials_are_refused() -> None:
    """Nobody could say which one counts."""
    with pytest.raises(InvalidArgumentError):
        compose("GET", SITE, headers=[("Authorization", SLOT)], auth=BearerAuth(SLOT))


def test_a_line_end_in_the_caller_s_own_header_is_refused() -> None:
    """Not only in the value that is put in."""
    with pytest.raises(PlaceholderError):
        fill(compose("GET", SITE, headers=[("x", "a\r\nb: c")]), {})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    """A parser of another language would refuse it, or worse, not."""
    with pytest.raises(InvalidArgumentError):
        fill(compose("POST", SITE, body=JsonBody([number])), {})


def test_a_deep_body_is_refused() -> None:
    """Long before the interpreter's own limit."""
    value: JsonValue = SLOT
    for _ in range(MAX_DEPTH):
        value = [value]
    assert compose("POST", SITE, body=JsonBody(value)).references == {REFERENCE}
    with pytest.raises(InvalidArgumentError):
        compose("POST", SITE, body=JsonBody([value]))


def test_a_filled_request_does_not_show_itself() -> None:
    """In a traceback's repr."""
    filled = fill(compose("GET", SITE, auth=BearerAuth(SLOT)), {REFERENCE: secret(PLAIN)})
    assert any(PLAIN.encode() in value for _, value in filled.headers)
    assert PLAIN not in repr(filled)
