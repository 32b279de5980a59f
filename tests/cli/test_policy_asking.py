"""``r4-mcp policy`` as a person runs it: what it asks before it writes, and what it says of raw requests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.policy.policy_file import read_policy
from tests.doors import World, write_private

from .running import Ended, run, run_at_terminal, run_here

REFERENCE: Final = "r4://Production/Stripe/Secret%20Key"
LISTED: Final = '[machine_request]\nallow = ["GET /webhook/*", "POST /webhook"]\n'


def policy_of(world: World) -> Path:
    """Write a policy of the test's own, and return its file."""
    return write_private(world.home / "policy.toml", "# ours\n[budget]\n")


def rules_in(path: Path) -> int:
    """Return how many rules a policy file has."""
    return len(read_policy(path, named=True).rules)


def allow(world: World, typed: str) -> Ended:
    """Run ``policy allow`` at a terminal and answer."""
    return run_at_terminal("policy", "allow", REFERENCE, environment=world.environment, typed=(("[y/N]", typed),))


@pytest.mark.stdio
def test_at_a_terminal_a_person_sees_what_is_written_and_says_yes(world: World) -> None:
    """The file, the decision, the action, the class, the ids and the names."""
    path = policy_of(world)
    ended = allow(world, "y\n")
    assert ended.status == 0, ended.out
    question = re.sub(r"\s+", " ", ended.out.partition("[y/N]")[0])
    for part in (str(path), "allow reveal", "class CONFIDENTIAL", f"r4://{world.vault_id('Production')}/", "Stripe / Secret Key"):
        assert part in question, part
    assert rules_in(path) == 1


@pytest.mark.stdio
@pytest.mark.parametrize("typed", ["n\n", "\n", "yess\n", "\x04"])
def test_at_a_terminal_anything_but_yes_is_a_no(world: World, typed: str) -> None:
    """The file stays as it is, byte for byte."""
    path = policy_of(world)
    before = path.read_bytes()
    ended = allow(world, typed)
    assert (ended.status, "nothing was written" in ended.out.lower()) == (1, True), ended.out
    assert path.read_bytes() == before


@pytest.mark.stdio
def test_in_a_pipe_the_refusal_has_the_line_to_run(world: World) -> None:
    """With ids, whatever was given; a yes on stdin is none. Pasted, the line writes the rule."""
    path = policy_of(world)
    before = path.read_bytes()
    ended = run("policy", "allow", "STRIPE_SECRET_KEY", "--decision", "deny", environment=world.environment, stdin=b"y\n")
    assert (ended.status, ended.out) == (1, "")
    assert path.read_bytes() == before
    (line,) = re.findall(r"Run: r4-mcp (.*)", ended.err)
    assert re.fullmatch(r"policy allow r4://[0-9a-f/]+ --action reveal --decision deny --yes", line)
    pasted = run(*line.split(), environment=world.environment)
    assert pasted.status == 0, pasted.err
    assert rules_in(path) == 1


def test_what_needs_no_rule_asks_nothing(world: World) -> None:
    """It is so already: nobody is bothered."""
    path = policy_of(world)
    ended = run_here("policy", "allow", "r4://Engineering/Sentry/Auth%20Token", environment=world.environment)
    assert (ended.status, "nothing was written" in ended.out) == (0, True), ended.err
    assert rules_in(path) == 0


def test_check_prints_the_requests_that_there_may_be(world: World) -> None:
    """Each pattern with what is decided about it."""
    write_private(world.home / "policy.toml", LISTED + '[defaults]\nraw_read = "ask"\n')
    ended = run_here("policy", "check", environment=world.environment)
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    at = lines.index("raw requests, those of these forms:")
    assert lines[at + 1 : at + 3] == ["     ask    raw_read   GET /webhook/*", "     ask    raw_write  POST /webhook"]


def test_check_says_what_is_wrong_with_a_pattern(world: World) -> None:
    """By its number, never by its text."""
    write_private(world.home / "policy.toml", '[machine_request]\nallow = ["GET /webhook", "GET /vault/canary"]\n')
    ended = run_here("policy", "check", environment=world.environment)
    assert ended.status == 1
    assert "machine_request.allow, entry 2 has tools of its own" in ended.err
    assert "canary" not in ended.err


EXPLAINED: Final = {
    "GET /webhook/1?page=2": "  allow  raw_read   listed as GET /webhook/*: default: raw_read",
    "POST /webhook": "  ask    raw_write  listed as POST /webhook: default: raw_write",
    "GET /webhook": "  deny   raw_read   the operator's policy does not list this method and path",
    "DELETE /webhook/1": "  deny   raw_write  the operator's policy does not list this method and path",
    "GET /vault/1": "  deny   raw_read   this path belongs to other tools, so no raw request takes it",
}


@pytest.mark.parametrize("request_line", EXPLAINED)
def test_a_request_is_explained_without_asking_anybody(request_line: str, world: World) -> None:
    """The pattern that lists it and the rule that decides, or why it is refused; nothing is sent."""
    write_private(world.home / "policy.toml", LISTED)
    world.tap.exchanges.clear()
    ended = run_here("policy", "explain", request_line, environment=world.environment)
    assert ended.status == 0, ended.err
    assert ended.out.splitlines() == [request_line.partition("?")[0], EXPLAINED[request_line]]
    assert world.tap.lines() == []


def test_what_closes_and_what_switches_off_is_the_reason(world: World) -> None:
    """Before what is listed; a path that is none is refused."""
    write_private(world.home / "policy.toml", "")
    ended = run_here("policy", "explain", "GET /webhook/1", environment=world.environment)
    assert "the operator's policy can't be used" in ended.out
    write_private(world.home / "policy.toml", LISTED)
    ended = run_here("policy", "explain", "POST /webhook", environment={**world.environment, "R4_READ_ONLY": "1"})
    assert "R4_READ_ONLY" in ended.out
    ended = run_here("policy", "explain", "GET /webhook/../vault", environment=world.environment)
    assert (ended.status, "argument path" in ended.err) == (1, True)
