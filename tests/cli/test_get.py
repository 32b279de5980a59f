"""``r4-mcp get`` as a person runs it: the bare value, after a yes where one is due, and a line in the audit log."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest

from r4_mcp.core.wire import FieldType
from tests.doors import World, write_private

from .running import Ended, run_at_terminal, run_here

REFERENCE: Final = "r4://Engineering/Sentry/Auth%20Token"
QUESTION: Final = "[y/N] "
CLOSED: Final = '[defaults.reveal]\nINTERNAL = "deny"\n'
ASKS: Final = '[defaults.reveal]\nINTERNAL = "ask"\n'


def value_of(world: World) -> str:
    """Return the value that ``REFERENCE`` names."""
    found = run_here("ls", "r4://Engineering/Sentry", "--json", environment=world.environment)
    field = next(field for field in json.loads(found.out)["fields"] if field["reference"] == REFERENCE)
    return world.plaintexts()[field["id"]]


def policy(world: World, text: str) -> None:
    """Write the operator's policy."""
    write_private(world.home / "policy.toml", text)


def shows_nothing(ended: Ended, value: str) -> None:
    """Check that it was refused, and that the value is nowhere."""
    assert ended.status == 1
    assert value not in ended.out + ended.err
    assert "next: " in ended.out + ended.err


def logged(world: World) -> list[tuple[str, str, str | None, str | None]]:
    """Return what the audit log says of this command."""
    lines = [json.loads(line) for line in run_here("audit", "--json", environment=world.environment).out.splitlines()]
    return [(line["outcome"], line["decision"], line["rule"], line["reference"]) for line in lines if line["tool"] == "cli_get"]


@pytest.mark.parametrize("reference", [REFERENCE, "r4://engineering/sentry", "SENTRY_AUTH_TOKEN"])
def test_a_pipe_gets_the_bare_value_and_a_line_break(calm: World, reference: str) -> None:
    """Nothing is asked, and nothing else is printed."""
    ended = run_here("get", reference, environment=calm.environment)
    assert (ended.status, ended.out, ended.err) == (0, value_of(calm) + "\n", "")


@pytest.mark.stdio
def test_a_terminal_is_asked_first(calm: World) -> None:
    """Yes shows it; the question names the field."""
    ended = run_at_terminal("get", REFERENCE, environment=calm.environment, typed=((QUESTION, "y\n"),))
    assert ended.status == 0
    assert f"Show {REFERENCE} on this screen? [y/N]" in ended.flat
    assert ended.out.rstrip().endswith(value_of(calm))


@pytest.mark.stdio
@pytest.mark.parametrize(("typed", "status"), [("n\n", 1), ("\n", 1), ("yess\n", 1), ("\x04", 1), ("\x03", 130)])
def test_anything_but_yes_shows_nothing(calm: World, typed: str, status: int) -> None:
    """No, an empty line, another word, the end of input, and Ctrl-C at once."""
    ended = run_at_terminal("get", REFERENCE, environment=calm.environment, typed=((QUESTION, typed),))
    assert ended.status == status
    assert value_of(calm) not in ended.out
    assert ("nothing was shown" in ended.out.lower()) is (status == 1)


@pytest.mark.stdio
def test_with_yes_a_terminal_is_not_asked(calm: World) -> None:
    """For who is alone with the screen."""
    ended = run_at_terminal("get", REFERENCE, "--yes", environment=calm.environment)
    assert (ended.status, ended.out) == (0, value_of(calm) + "\r\n")


def test_where_the_policy_asks_a_pipe_needs_a_yes(world: World) -> None:
    """Nobody can be asked there, so it is said on the command line."""
    value = value_of(world)
    policy(world, ASKS)
    refused = run_here("get", REFERENCE, environment=world.environment)
    shows_nothing(refused, value)
    assert "--yes" in refused.err
    assert run_here("get", REFERENCE, "--yes", environment=world.environment).out == value + "\n"


def test_what_is_denied_to_models_is_not_shown_without_a_person(world: World) -> None:
    """A model with a shell has no terminal: neither a pipe nor --yes helps it, and the rule is named."""
    value = value_of(world)
    policy(world, CLOSED)
    for arguments in ((REFERENCE,), (REFERENCE, "--yes")):
        refused = run_here("get", *arguments, environment=world.environment, stdin=b"y\n")
        shows_nothing(refused, value)
        assert "default: INTERNAL" in refused.err
    assert [line[:3] for line in logged(world)] == [("denied", "deny", "default: INTERNAL")] * 2


@pytest.mark.stdio
def test_what_is_denied_to_models_is_shown_to_a_person_who_says_so(world: World) -> None:
    """At a terminal, asked even with --yes; the log keeps what the policy says to models."""
    value = value_of(world)
    policy(world, CLOSED)
    ended = run_at_terminal("get", REFERENCE, "--yes", environment=world.environment, typed=((QUESTION, "y\n"),))
    assert ended.status == 0
    assert "Models are not shown this (default: INTERNAL)." in ended.flat
    assert ended.out.rstrip().endswith(value)
    assert [line[:3] for line in logged(world)] == [("ok", "deny", "default: INTERNAL")]


CLOSING: Final = {
    "the switch": ({"R4_NO_REVEAL": "1"}, "", "R4_NO_REVEAL"),
    "a policy that can't be used": ({}, "nonsense", "policy check"),
    "a rule that denies every reveal": ({}, '[[rule]]\naction = "reveal"\ndecision = "deny"\n', "policy rule 1"),
}


@pytest.mark.stdio
@pytest.mark.parametrize("case", CLOSING)
def test_what_closes_every_reveal_holds_for_people_too(world: World, case: str) -> None:
    """At a terminal, with --yes: refused before anything is asked, and the cause is named."""
    value = value_of(world)
    environment, text, told = CLOSING[case]
    if text:
        policy(world, text)
    ended = run_at_terminal("get", REFERENCE, "--yes", environment={**world.environment, **environment})
    shows_nothing(ended, value)
    assert told in ended.flat
    assert QUESTION not in ended.out


def test_a_one_time_code_is_shown_and_never_the_seed(calm: World) -> None:
    """Six digits."""
    vaults = json.loads(run_here("ls", "--json", environment=calm.environment).out)["vaults"]
    items = [
        item["reference"]
        for vault in vaults
        for item in json.loads(run_here("ls", vault["reference"], "--json", environment=calm.environment).out)["items"]
    ]
    fields = [
        field
        for item in items
        for field in json.loads(run_here("ls", item, "--json", environment=calm.environment).out)["fields"]
        if field["type"] == "TOTP"
    ]
    assert fields
    ended = run_here("get", fields[0]["reference"], environment=calm.environment)
    assert ended.status == 0
    assert re.fullmatch(r"[0-9]{6}\n", ended.out)
    assert calm.plaintexts()[fields[0]["id"]] not in ended.out


def test_it_is_in_the_audit_log_and_is_no_exposure(world: World) -> None:
    """By ids, under a name of its own; the ledger and the budget speak of models and stay as they are."""
    policy(world, "[budget]\nper_connection = 0\nper_hour = 0\n")
    assert run_here("get", REFERENCE, environment=world.environment).out == value_of(world) + "\n"
    ((outcome, decision, rule, reference),) = logged(world)
    assert (outcome, decision, rule) == ("ok", "allow", "default: INTERNAL")
    assert reference is not None
    assert reference.startswith(f"r4://{world.vault_id('Engineering')}/")
    exposure = json.loads(run_here("exposure", "--json", environment=world.environment).out)
    assert (exposure["shown"], exposure["used"], exposure["blocked"]) == ([], [], [])
    assert not list((world.home / "state").glob("budget-*.json"))


def test_what_can_not_be_logged_is_not_shown(world: World) -> None:
    """The log is a file where a folder should be."""
    value = value_of(world)
    write_private(world.home / "audit", "")
    shows_nothing(run_here("get", REFERENCE, environment=world.environment), value)


ACTING: Final = ("\x1b]0;title\x07", "before\rafter", "a\x9bb")


@pytest.mark.stdio
@pytest.mark.parametrize("value", ACTING)
def test_a_value_that_acts_on_a_terminal_goes_to_pipes_only(world: World, value: str) -> None:
    """Escape sequences and carriage returns can lie about what is on the screen."""
    world.add_item("Engineering", "Odd", ("Token", FieldType.SECRET, value))
    shown = run_at_terminal("get", "r4://Engineering/Odd/Token", "--yes", environment=world.environment)
    shows_nothing(shown, value)
    assert "control characters" in shown.out
    piped = run_here("get", "r4://Engineering/Odd/Token", environment=world.environment)
    assert (piped.status, piped.out.encode()) == (0, (value + "\n").encode())


@pytest.mark.stdio
def test_several_lines_are_no_danger_to_a_terminal(world: World) -> None:
    """Private keys have them."""
    world.add_item("Engineering", "Lines", ("Token", FieldType.SECRET, "one\n\ttwo\nthree"))
    shown = run_at_terminal("get", "r4://Engineering/Lines/Token", "--yes", environment=world.environment)
    assert (shown.status, shown.out.split()) == (0, ["one", "two", "three"])


def test_what_is_not_there_is_said(calm: World) -> None:
    """Also where the item has several secrets: they are listed."""
    absent = run_here("get", "r4://Engineering/Sentry/Nothing", environment=calm.environment)
    assert (absent.status, absent.out) == (1, "")
    assert "`r4-mcp ls" in absent.err
