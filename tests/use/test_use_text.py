"""What the policy's text may say of uses, and what is refused and how that is told."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

import pytest

from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.model import DEFAULTS, USE_DEFAULTS, Action, PolicyClass, Verdict
from r4_mcp.policy.policy_text import parse_policy, rule_block
from r4_mcp.policy.use_rules import Opening, Openings, OpenPlace, Sink
from r4_mcp.policy.use_text import MAX_NETWORKS, MAX_OPENINGS

VAULT, ITEM = VaultId("a" * 24), ItemId("b" * 24)
OPEN: Final = f'[[http_request.open]]\nvault = "{VAULT}"\nitem = "{ITEM}"\nwebsite = "https://example.com"\n'
RULE: Final = '[[rule]]\naction = "use"\ndecision = "deny"\n'


def test_every_key_is_understood() -> None:
    """Websites in their plain spelling, places, networks, http on loopback, defaults, and a rule with sink and host."""
    policy = parse_policy(
        (
            f'[[http_request.open]]\nvault = "{VAULT}"\nitem = "{ITEM}"\nwebsite = "Example.COM:443/v1"\n'
            'places = ["json", "query"]\nname = "the crane"\n'
            '[http_request]\nnetworks = ["10.0.0.0/8", "fd00::/8"]\nloopback_http = true\n'
            '[defaults.use]\nPUBLIC = "ask"\n'
            '[[rule]]\naction = "use"\ndecision = "ask"\nsink = ["http_request"]\nhost = ["Example.com", "b\u00fccher.example"]\n'
        ).encode()
    )
    places = frozenset({OpenPlace.JSON, OpenPlace.QUERY})
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    opening = Opening(VAULT, ITEM, "https://example.com/v1", places, "the crane")
    assert policy.openings == Openings((opening,), networks, loopback_http=True)
    assert policy.use == {**USE_DEFAULTS, PolicyClass.PUBLIC: Verdict.ASK}
    (rule,) = policy.rules
    assert rule.sinks == frozenset({Sink.HTTP_REQUEST})
    assert rule.hosts == frozenset({"example.com", "xn--bcher-kva.example"})
    assert parse_policy(rule_block(rule).encode()).rules == policy.rules


@pytest.mark.parametrize("text", ["[http_request]\n", "[defaults.use]\n", "[http_request]\nopen = []\n"])
def test_what_says_nothing_more_is_the_default(text: str) -> None:
    """An empty table opens nothing."""
    assert parse_policy(text.encode()) == DEFAULTS


REFUSED: Final = {
    "an unknown key": ("[http_request]\nproxy = 1\n", "http_request has an unknown key proxy; known are"),
    "an unknown key of an opening": (OPEN + "port = 1\n", "entry 1 has an unknown key port; known are"),
    "no item": (f'[[http_request.open]]\nvault = "{VAULT}"\nwebsite = "https://example.com"\n', "item is not an id"),
    "a name for an id": (OPEN.replace(ITEM, "Crane"), "item is not an id"),
    "no website": (f'[[http_request.open]]\nvault = "{VAULT}"\nitem = "{ITEM}"\n', "website is none"),
    "a website that covers nothing": (OPEN.replace("https://example.com", "ftp://example.com"), "website is none"),
    "a website with a number": (OPEN.replace('"https://example.com"', "1"), "website is none"),
    "a place that needs no opening": (OPEN + 'places = ["header"]\n', "is not a list of query, form, json"),
    "a place twice": (OPEN + 'places = ["json", "json"]\n', "is not a list of query, form, json"),
    "a place alone": (OPEN + 'places = "json"\n', "is not a list of at most"),
    "a long name": (OPEN + f'name = "{"x" * 513}"\n', "name is not a text"),
    "an opening that is no table": ('[http_request]\nopen = ["a"]\n', "is not written as"),
    "an address with a mask beside": ('[http_request]\nnetworks = ["10.0.0.1/8"]\n', "entry 1 is not a network"),
    "a network that is a host": ('[http_request]\nnetworks = ["example.com"]\n', "entry 1 is not a network"),
    "a network that is a number": ("[http_request]\nnetworks = [1]\n", "entry 1 is not a network"),
    "a word for true": ('[http_request]\nloopback_http = "yes"\n', "loopback_http is not true or false"),
    "many networks": (f"[http_request]\nnetworks = {['10.0.0.0/8'] * (MAX_NETWORKS + 1)}\n", "at most 64"),
    "many openings": (OPEN * (MAX_OPENINGS + 1), "at most 256"),
    "a host with a path": (RULE + 'host = "example.com/v1"\n', "is not the name or address of a host"),
    "a host with a port": (RULE + 'host = "example.com:8443"\n', "is not the name or address of a host"),
    "a host with user information": (RULE + 'host = "a@example.com"\n', "is not the name or address of a host"),
    "a host with a query": (RULE + 'host = "example.com?a"\n', "is not the name or address of a host"),
    "an empty list of hosts": (RULE + "host = []\n", "host is an empty list"),
    "a host twice": (RULE + 'host = ["example.com", "EXAMPLE.com"]\n', "has a host twice"),
    "an unknown sink": (RULE + 'sink = "mail"\n', "sink is not one of http_request, run"),
    "a host of a sink that has none": (RULE + 'sink = "run"\nhost = "example.com"\n', "names a host, and a sink that has none"),
    "a sink of a reveal": (RULE.replace("use", "reveal") + 'sink = "run"\n', "sink says nothing about the action reveal"),
    "an allow without a class": (RULE.replace("deny", "allow"), "no classification says what it opens"),
    "a class that there is not": ('[defaults.use]\nSECRET = "deny"\n', "defaults.use has an unknown key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_understood_closes_the_policy(what: str) -> None:
    """The message names the key; the values, which may be those of another file, are not repeated."""
    text, told = REFUSED[what]
    with pytest.raises(ConfigurationError) as raised:
        parse_policy(text.encode())
    assert told in raised.value.message
    assert "example.com" not in raised.value.message


def test_no_rule_needs_a_class_to_deny_uses() -> None:
    """One line forbids every sink; one with ids forbids them for an item, and nothing lifts it."""
    (rule,) = parse_policy(RULE.encode()).rules
    assert (rule.actions, rule.verdict, rule.sinks, rule.hosts) == (
        frozenset({Action.USE}),
        Verdict.DENY,
        frozenset(),
        frozenset(),
    )
