"""Raw requests: what may be listed and asked for, what no list lets through, and what is decided about the rest."""

from __future__ import annotations

import itertools
import json
import string
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.errors import ConfigurationError, DeniedError, InvalidArgumentError
from r4_mcp.machine.contract import ALL_ENDPOINTS, Endpoint, is_permission_name, is_served
from r4_mcp.policy.audit_format import AuditEntry
from r4_mcp.policy.model import DEFAULTS, Action, Policy, Switches, Target, Verdict
from r4_mcp.policy.policy_text import MAX_REQUESTS, parse_policy
from r4_mcp.policy.raw import pattern_of, usable_patterns
from r4_mcp.policy.raw_request import (
    MAX_BODY,
    MAX_BODY_DEPTH,
    MAX_PATH,
    MAX_PATTERN,
    Method,
    RequestPattern,
    check_body,
    parse_pattern,
    parse_request,
)
from r4_mcp.policy.rules import decide

CANARY: Final = "canary-zebra"
ID: Final = "a" * 24
ANYTHING: Final = tuple(RequestPattern(method, ("*",) * depth) for method in Method for depth in range(1, 9))
"""Patterns that fit every request there is."""


def listing(*patterns: str) -> Policy:
    """Return a policy that lists raw requests."""
    return parse_policy(f"[machine_request]\nallow = {json.dumps(patterns)}\n".encode())


@pytest.mark.parametrize("text", ["GET /webhook", "POST /attachment/*", "DELETE /a/*/b-c_d.e~f", "PATCH /*", "PUT /A/1"])
def test_a_pattern_is_spelled_as_it_was_written(text: str) -> None:
    """One value, one spelling; and the audit log takes each."""
    pattern = parse_pattern(text)
    assert str(pattern) == text
    assert AuditEntry("machine_request", "ok", 0, rule=f"{pattern} (default: raw_write)").rule


def test_the_longest_pattern_fits_into_an_audit_line() -> None:
    """With the longest name of a rule behind it."""
    longest = "DELETE " + ("/" + "a" * 64 + "/" + "b" * 64)[: MAX_PATTERN - 7]
    assert len(str(parse_pattern(longest))) == MAX_PATTERN
    AuditEntry("machine_request", "denied", 0, rule=f"{longest} (policy rule 9999)")
    with pytest.raises(ValueError, match="no method and path"):
        parse_pattern(longest + "c")


NO_PATTERNS: Final = (
    "",
    "GET",
    "GET ",
    "GET webhook",
    "/webhook",
    "GET  /webhook",
    " GET /webhook",
    "GET /webhook ",
    "get /webhook",
    "HEAD /webhook",
    "GET /",
    "GET //webhook",
    "GET /webhook/",
    "GET /a*",
    "GET /**",
    "GET /a/../b",
    "GET /.",
    "GET /...",
    "GET /a?b=c",
    "GET /a%2fb",
    "GET https://r4.dev/webhook",
    "GET /a\n",
    "GET /a\tb",
    "GET /\u0430",
    "GET /" + "/".join("abcdefghi"),
    "GET /" + "a" * 65,
)


@pytest.mark.parametrize("text", NO_PATTERNS)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """And so is the whole policy that has it; its text is not repeated."""
    with pytest.raises(ValueError, match="no "):
        parse_pattern(text)
    with pytest.raises(ConfigurationError, match=r"machine_request\.allow, entry 2 is not a method and a path") as raised:
        listing("GET /fine", text)
    assert raised.value.next_step is not None
    assert "POST /attachment/*" in raised.value.next_step


REFUSED_TABLES: Final = {
    "another key": ('deny = ["GET /a"]', "machine_request has an unknown key deny; known are allow"),
    "a text": ('allow = "GET /a"', "is not a list of at most"),
    "a number in the list": ("allow = [1]", "entry 1 is not a method and a path"),
    "a pattern twice": ('allow = ["GET /a", "POST /a", "GET /a"]', "has a pattern twice"),
    "too many": (f"allow = {json.dumps([f'GET /a{n}' for n in range(MAX_REQUESTS + 1)], indent=1)}", "is not a list of at most"),
    "a vault": (f'allow = ["GET /vault/{ID}/wrapped-key"]', "entry 1 has tools of its own"),
    "its alias": ('allow = ["GET /vaults"]', "entry 1 has tools of its own"),
    "keys elsewhere": ('allow = ["GET /agent/*/public-keys"]', "entry 1 has tools of its own"),
}


@pytest.mark.parametrize("what", REFUSED_TABLES)
def test_a_table_that_is_not_understood_closes_the_policy(what: str) -> None:
    """As everywhere in the file."""
    line, told = REFUSED_TABLES[what]
    with pytest.raises(ConfigurationError, match=told):
        parse_policy(f"[machine_request]\n{line}\n".encode())


def test_an_empty_table_lists_nothing() -> None:
    """The header alone is something, and opens nothing."""
    assert parse_policy(b"[machine_request]\n") == DEFAULTS
    assert parse_policy(b"[machine_request]\nallow = []\n").requests == ()


FITS: Final = (
    ("GET /webhook", "/webhook", True),
    ("GET /webhook", "/webhook?page=2&limit=10", True),
    ("GET /webhook", "/Webhook", False),
    ("GET /webhook", "/webhook/1", False),
    ("GET /webhook/*", "/webhook", False),
    ("GET /webhook/*", "/webhook/1", True),
    ("GET /webhook/*", "/webhook/1/2", False),
    ("GET /*/log", "/webhook/log", True),
    ("POST /webhook", "/webhook", False),
)


@pytest.mark.parametrize(("pattern", "path", "fits"), FITS)
def test_a_star_is_exactly_one_segment(pattern: str, path: str, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    """The method is a part of it; the query is not."""
    request = parse_request(Method.GET, path)
    assert parse_pattern(pattern).fits(request) is fits
    if fits:
        assert pattern_of(request, listing(pattern)) == parse_pattern(pattern)
    else:
        with pytest.raises(DeniedError, match="does not list"):
            pattern_of(request, listing(pattern))


NO_PATHS: Final = (
    "",
    "/",
    "webhook",
    "//webhook",
    "/webhook/",
    "/a//b",
    "/a/../vault",
    "/a/./b",
    "/..",
    "/...",
    "/%2e%2e/vault",
    "/a%2Fb",
    "/a%00",
    "https://r4.dev/webhook",
    "//r4.dev/webhook",
    "/@r4.dev",
    "/a:b",
    "/a\\b",
    "/a b",
    "/a\r\nHost: evil",
    "/a\n",
    "/a#b",
    "/a;b=c",
    "/a?",
    "/a?b",
    "/a?b=c&",
    "/a?b=c&b=d",
    "/a?=c",
    "/a?b=c=d",
    "/a?b=%41",
    "/a?b=c#d",
    "/a?b=c?d=e",
    "/a?b=/c",
    "/a?b=c\r\nX: y",
    "/\u0430",
    "/a?b=\u0663",
    "/" + "a" * 65,
    "/" + "/".join("abcdefghi"),
    "/a?b=" + "c" * 129,
    "/*",
    f"/{CANARY}\u0000",
    "/a?" + "&".join(f"k{n}=v" for n in range(17)),
)


@pytest.mark.parametrize("text", NO_PATHS)
def test_what_is_no_path_is_refused(text: str) -> None:
    """Whatever would leave the API's base, or could be read in a second way; the text is not repeated."""
    with pytest.raises(InvalidArgumentError, match="argument path") as raised:
        parse_request(Method.GET, text)
    assert CANARY not in raised.value.message


def test_a_long_path_is_refused_before_it_is_looked_at() -> None:
    """Longer than the limit by one, and by a megabyte."""
    path = "/a?" + "&".join(f"k{number}={'v' * 100}" for number in range(5))
    assert len(path) > MAX_PATH
    for text in (path, "/a" * 500_000):
        with pytest.raises(InvalidArgumentError):
            parse_request(Method.GET, text)


@given(st.text(alphabet=string.printable + "\u0430\u2044\uff0f\x00", max_size=40))
def test_every_path_that_passes_has_one_reading(text: str) -> None:
    """It is put together again from its parts, without anything being encoded."""
    try:
        request = parse_request(Method.GET, "/" + text)
    except InvalidArgumentError:
        return
    query = "&".join(f"{key}={value}" for key, value in request.query.items())
    assert request.path + ("?" + query if query else "") == "/" + text
    assert not {".", "..", ""} & set(request.segments)
    assert set(text) <= set(string.ascii_letters + string.digits + "._~-/?&=")


def filled(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the segments of an endpoint's path, with ids."""
    return tuple(ID if part.startswith("{") else part for part in endpoint.path.strip("/").split("/"))


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_of_the_contract_is_refused(endpoint: Endpoint) -> None:
    """Whatever the policy lists, by any method, under it and above it, and however a lax server would let it be spelled."""
    segments = filled(endpoint)
    assert is_served(segments)
    spellings = [segments, (*segments, "x")[:8], segments[:1]]
    spellings += [
        (change(segments[0]), *segments[1:])
        for change in (str.upper, str.title, lambda root: root + "s", lambda root: root + ".")
    ]
    for method, parts in itertools.product(Method, spellings):
        request = parse_request(method, "/" + "/".join(parts))
        with pytest.raises(DeniedError, match="belongs to other tools"):
            pattern_of(request, Policy(requests=ANYTHING))


@pytest.mark.parametrize(
    "root", ["webhook", "attachment", "procurement", "agent", "billing", "monitoring", "permissions", "audit"]
)
def test_what_has_no_tool_can_be_listed(root: str) -> None:
    """The rest of the machine surface."""
    assert not is_served((root,))
    assert not is_served((root, ID, "items"))
    assert is_served((root, "wrapped-key"))
    assert is_served((root, "x", "Public_Keys"))


BODIES: Final[dict[str, tuple[Any, str]]] = {
    "not finite": ({"a": float("nan")}, "no JSON"),
    "infinite": ({"a": [float("inf")]}, "no JSON"),
    "half of a surrogate pair": ({"a": "\ud800"}, "no JSON"),
    "half of one as a key": ({"\udfff": 1}, "no JSON"),
    "too deep": (json.loads('{"a":' * 9 + "1" + "}" * 9), f"more than {MAX_BODY_DEPTH} levels"),
    "endless": (json.loads('{"a":' * 900 + "1" + "}" * 900), "levels"),
    "a huge number": ({"a": 2**53}, "out of range"),
    "too large": ({"a": CANARY * MAX_BODY}, f"larger than {MAX_BODY} bytes"),
    "too large in bytes": ({"a": "\u20ac" * (MAX_BODY // 3)}, f"larger than {MAX_BODY} bytes"),
    "not JSON": ({"a": b"bytes"}, "no JSON"),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_none_is_refused(what: str) -> None:
    """One sentence that names the argument, and repeats nothing of it."""
    body, told = BODIES[what]
    with pytest.raises(InvalidArgumentError, match=f"the argument body .*{told}") as raised:
        check_body(Method.POST, body)
    assert CANARY not in raised.value.message


def test_every_text_of_a_body_is_handed_out_keys_included() -> None:
    """At every depth, and whole numbers as they are written; fractions, true, false and null are none."""
    body = {"a": "b", "c": [1, 2.5, True, None, "d", {"e": {"f": "g"}}], "": ""}
    assert sorted(check_body(Method.PUT, body)) == ["", "", "1", "a", "b", "c", "d", "e", "f", "g"]
    assert check_body(Method.DELETE, None) == ()
    with pytest.raises(InvalidArgumentError, match="no meaning for GET"):
        check_body(Method.GET, {})


OFF: Final = Switches()
READ_ONLY: Final = Switches(read_only=True)


def test_reading_is_allowed_once_listed_and_writing_asks() -> None:
    """Rule 8 of ``rules``: with the defaults; both are the operator's to change, and the read-only switch denies writing."""
    for action, verdict in ((Action.RAW_READ, Verdict.ALLOW), (Action.RAW_WRITE, Verdict.ASK)):
        assert decide(action, Target(), OFF).verdict is verdict
        for other in Verdict:
            written = parse_policy(f'[defaults]\n{action.value} = "{other.value}"\n'.encode())
            assert decide(action, Target(), OFF, written).verdict is other
    assert decide(Action.RAW_READ, Target(), READ_ONLY).verdict is Verdict.ALLOW
    assert decide(Action.RAW_WRITE, Target(), READ_ONLY).rule == "R4_READ_ONLY"


def test_a_switch_leaves_the_patterns_that_it_does_not_deny() -> None:
    """None of a closed policy."""
    policy = listing("GET /webhook", "POST /webhook")
    assert [str(pattern) for pattern in usable_patterns(policy, OFF)] == ["GET /webhook", "POST /webhook"]
    assert [str(pattern) for pattern in usable_patterns(policy, READ_ONLY)] == ["GET /webhook"]
    assert usable_patterns(DEFAULTS, OFF) == ()


CANT: Final = "This client can't ask the user."


def test_the_way_out_of_a_request_is_the_file() -> None:
    """No command writes a rule about what is aimed at nothing."""
    way = f"{CANT} The operator can allow it in the policy file, under [defaults]."
    assert decide(Action.RAW_WRITE, Target(), OFF).way_out == way


@pytest.mark.parametrize("options", ["", " --local", " --profile work"])
def test_the_way_out_reaches_the_same_vault(options: str) -> None:
    """The operator pastes the line into a terminal, which knows nothing of how the server was started."""
    ids = (ItemId("c" * 24), FieldId("e" * 24))
    target = Target(VaultId(ID), Classification.CONFIDENTIAL, FieldType.SECRET, True, *ids)
    assert decide(Action.REVEAL, target, OFF, DEFAULTS, options).way_out == (
        f"{CANT} The operator can allow it: `r4-mcp policy allow r4://{'/'.join(target.ids)}{options}`."
    )
    assert decide(Action.ROTATE, Target(), OFF, DEFAULTS, options).way_out == (
        f"{CANT} The operator runs `r4-mcp rotate-key{options}` on this machine."
    )


@pytest.mark.parametrize("name", ["machine.all", "machine.webhook.all", "machine.attachment.read", "machine.vault.secret.read"])
def test_a_permission_is_known_by_its_words(name: str) -> None:
    """Also one that guards no endpoint of this product."""
    assert is_permission_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "machine",
        "machine.",
        "machine.all.all",
        "machine.call.read_secret",
        "vault.read",
        "machine.vault.read\n",
        "MACHINE.ALL",
    ],
)
def test_other_words_are_no_permission(name: str) -> None:
    """What a service names is shown to a model; free words could be instructions."""
    assert not is_permission_name(name)
