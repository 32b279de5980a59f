"""``r4-mcp edit`` as a person runs it: what no tool may change, shown before it is made, and made once."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from typing import Any, Final

import pytest

from r4_mcp.core.wire import FieldType
from tests.doors import World, write_private

from .running import COMMAND, SECONDS, Ended, run_at_terminal, run_here

ITEM: Final = "r4://Engineering/Edited"
VALUE: Final = "before-the-edit-0189"
NEW: Final = "the value that was typed"
QUESTION: Final = "Change it? [y/N] "


@pytest.fixture
def edited(world: World) -> World:
    """Let the operator create the item."""
    world.add_item("Engineering", "Edited", ("Token", FieldType.SECRET, VALUE), ("User", FieldType.TEXT, "somebody"))
    return world


def edit(world: World, *arguments: str, stdin: bytes = b"", item: str = ITEM) -> Ended:
    """Run the command without a terminal, with a yes."""
    return run_here("edit", item, *arguments, "--yes", environment=world.environment, stdin=stdin)


def described(world: World, item: str = ITEM) -> dict[str, Any]:
    """Return what ``ls`` says of the item."""
    found: dict[str, Any] = json.loads(run_here("ls", item, "--json", environment=world.environment).out)
    return found


def got(world: World, reference: str) -> str:
    """Return a value."""
    return run_here("get", reference, environment=world.environment).out.removesuffix("\n")


def unchanged(world: World, ended: Ended, told: str) -> None:
    """Check that it was refused, why, and that the item is as it was."""
    assert ended.status == 1, ended
    assert told in " ".join((ended.out + ended.err).lower().split())
    assert "next: " in ended.out + ended.err
    found = described(world)
    assert (found["checkpoint_version"], len(found["fields"]), found["websites"]) == (1, 2, [])


def test_everything_that_no_tool_may_change(edited: World) -> None:
    """Name, type, websites, a field's type, one more field and one less: in one version, and the other values stay."""
    ended = edit(
        edited,
        *("--name", "After", "--type", "LOGIN", "--website", "https://a.example", "--website", "https://b.example"),
        *("--field-type", "Token=PASSWORD", "--add", "Pin:SECRET", "--remove", "User"),
        stdin=NEW.encode() + b"\n",
    )
    assert (ended.status, ended.err) == (0, ""), ended.err
    assert ended.out.splitlines()[-1] == "changed r4://Engineering/After, now version 2"
    after = described(edited, "r4://Engineering/After")
    assert (after["type"], after["websites"]) == ("LOGIN", ["https://a.example", "https://b.example"])
    assert [(field["name"], field["type"]) for field in after["fields"]] == [("Token", "PASSWORD"), ("Pin", "SECRET")]
    assert after["signed_by"]["kind"] == "agent"
    assert got(edited, "r4://Engineering/After/Token") == VALUE
    assert got(edited, "r4://Engineering/After/Pin") == NEW
    assert not [value for value in (VALUE, NEW) if value in ended.out]


def test_what_would_change_is_shown_line_by_line(edited: World) -> None:
    """Before and after, who signed it so far, and whose signature the websites will have."""
    edit(edited, "--website", "https://old.example")
    shown = edit(edited, "--name", "After", "--website", "https://new.example", "--field-type", "Token=TEXT", "--remove", "User")
    assert "version 2, signed by agent" in shown.flat
    for line in (
        'name "Edited" -> "After"',
        'website - "https://old.example"',
        'website + "https://new.example"',
        'field "Token": SECRET -> TEXT',
        'field - "User" (TEXT)',
        "its websites count as set by the agent, not by a person.",
    ):
        assert line in shown.flat, line


def test_websites_are_taken_away_and_kept(edited: World) -> None:
    """An option of its own takes all of them; a change of something else keeps them."""
    edit(edited, "--website", "https://a.example")
    edit(edited, "--type", "SERVER")
    assert described(edited)["websites"] == ["https://a.example"]
    edit(edited, "--no-websites")
    assert described(edited)["websites"] == []


def test_what_is_so_already_is_no_change(edited: World) -> None:
    """No version is signed for nothing."""
    ended = edit(edited, "--name", "Edited", "--type", "CUSTOM", "--no-websites", "--field-type", "Token=SECRET")
    assert (ended.status, ended.out) == (0, "It is so already; nothing was changed.\n")
    assert described(edited)["checkpoint_version"] == 1


@pytest.mark.stdio
def test_a_person_at_a_terminal_is_asked_and_types_a_value_unseen(edited: World) -> None:
    """The question comes after what would change, the value after the yes."""
    typed = ((QUESTION, "y\n"), ('Value of "Pin" (not shown): ', NEW + "\n"))
    ended = run_at_terminal("edit", ITEM, "--add", "Pin", environment=edited.environment, typed=typed)
    assert ended.status == 0, ended.out
    assert 'field + "Pin" (PASSWORD)' in ended.flat
    assert NEW not in ended.out
    assert got(edited, f"{ITEM}/Pin") == NEW


@pytest.mark.stdio
@pytest.mark.parametrize(("typed", "status"), [("n\n", 1), ("\n", 1), ("\x04", 1), ("\x03", 130)])
def test_anything_but_yes_changes_nothing(edited: World, typed: str, status: int) -> None:
    """Also the end of input; Ctrl-C at once."""
    ended = run_at_terminal("edit", ITEM, "--name", "After", environment=edited.environment, typed=((QUESTION, typed),))
    assert ended.status == status
    assert described(edited)["checkpoint_version"] == 1


def test_without_a_terminal_it_needs_yes(edited: World) -> None:
    """Whatever comes in on stdin."""
    ended = run_here("edit", ITEM, "--name", "After", environment=edited.environment, stdin=b"y\n")
    unchanged(edited, ended, "no terminal to ask on")


WRONG: Final[dict[str, tuple[tuple[str, ...], bytes, str]]] = {
    "nothing": ((), b"", "nothing to change was given"),
    "a field to remove that is not there": (("--remove", "Nothing"), b"", "--remove: the item has no field of that name"),
    "a field to retype that is not there": (("--field-type", "Nothing=TEXT"), b"", "--field-type: the item has no field"),
    "a field to add that is there": (("--add", "Token"), b"x", "--add: the item has a field of that name already"),
    "a field named twice": (("--remove", "Token", "--field-type", "Token=TEXT"), b"", "a field is named twice"),
    "a type that there is not": (("--field-type", "Token=NONSENSE"), b"", "not of the form name=type"),
    "a type that there is not, to add": (("--add", "Pin:NONSENSE"), b"x", "not of the form name:type"),
    "no equals sign": (("--field-type", "Token"), b"", "empty"),
    "an attachment": (("--add", "Pin:FILE"), b"x", "not of the form name:type"),
    "an empty name": (("--name", ""), b"", "is empty"),
    "a blank website": (("--website", "a b"), b"", "white space"),
    "a name that is taken": (("--name", "sentry"), b"", "the name is taken"),
    "a seed that is none": (("--field-type", "Token=TOTP"), b"", "no base32 seed"),
    "a new seed that is none": (("--add", "Code:TOTP"), b"!!!", "totp"),
    "an empty value": (("--add", "Pin"), b"", "empty"),
    "no text": (("--add", "Pin"), b"\xff", "utf-8"),
    "two values from one stdin": (("--add", "Pin", "--add", "Pan"), b"x", "stdin gives one value"),
    "all fields gone": (("--remove", "Token", "--remove", "User"), b"", "fields"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_changes_nothing(edited: World, case: str) -> None:
    """Said by option, never with the value."""
    arguments, stdin, told = WRONG[case]
    unchanged(edited, edit(edited, *arguments, stdin=stdin), told)


def test_a_known_secret_in_a_website_is_refused(edited: World) -> None:
    """Here the agent's own."""
    secret = edited.agent_members()["accessSecret"]
    ended = edit(edited, "--website", f"https://a.example/?key={secret}")
    unchanged(edited, ended, "the argument --website (1) holds something that is, or looks like, a secret")
    assert secret not in ended.out + ended.err


def test_a_value_that_is_also_typed_as_a_name_is_refused(edited: World) -> None:
    """A slip of the hand must not put a secret into a listing."""
    ended = edit(edited, "--name", f"new {NEW}", "--add", "Pin:SECRET", stdin=NEW.encode())
    unchanged(edited, ended, "the argument --name holds something that is, or looks like, a secret")
    assert NEW not in ended.err


def test_the_policy_holds(edited: World) -> None:
    """A deny denies, with its rule; what asks is answered by the person's yes."""
    write_private(edited.home / "policy.toml", '[[rule]]\naction = "update"\ndecision = "deny"\n')
    unchanged(edited, edit(edited, "--name", "After"), "policy rule 1")
    write_private(edited.home / "policy.toml", '[[rule]]\naction = "update"\ndecision = "ask"\n')
    assert edit(edited, "--type", "LOGIN").status == 0
    denied = run_here("edit", ITEM, "--type", "CUSTOM", "--yes", environment={**edited.environment, "R4_READ_ONLY": "1"})
    assert (denied.status, "R4_READ_ONLY" in denied.err) == (1, True)


@pytest.mark.stdio
def test_a_change_that_opens_a_field_to_models_needs_a_typed_yes(edited: World) -> None:
    """A rule that speaks of types stops to match when the type changes: that is said, and ``--yes`` does not stand for it."""
    rule = '[[rule]]\naction = "reveal"\ndecision = "deny"\nfield_type = "SECRET"\n'
    write_private(edited.home / "policy.toml", rule)
    change = ("--field-type", "Token=PASSWORD")
    unchanged(edited, edit(edited, *change), "opening a field to models needs a person's yes")
    asked = (("edit", ITEM, *change, "--yes"), ((QUESTION, "y\n"),))
    ended = run_at_terminal(*asked[0], environment=edited.environment, typed=asked[1])
    assert ended.status == 0, ended.out
    assert 'models that want to read "Token": deny -> allow' in ended.flat
    closing = edit(edited, "--field-type", "Token=SECRET")
    assert (closing.status, "allow -> deny" in closing.flat) == (0, True)


def test_it_is_in_the_audit_log(edited: World) -> None:
    """By ids, under a name of its own."""
    edit(edited, "--name", "After")
    lines = [json.loads(line) for line in run_here("audit", "--json", environment=edited.environment).out.splitlines()]
    (line,) = [line for line in lines if line["tool"] == "cli_edit"]
    assert (line["outcome"], line["decision"]) == ("ok", "allow")
    assert line["reference"].startswith(f"r4://{edited.vault_id('Engineering')}/")


@pytest.mark.stdio
def test_an_item_that_changed_while_a_person_thought_is_not_overwritten(edited: World) -> None:
    """The yes was to what was shown."""
    master, slave = pty.openpty()
    command = [*COMMAND, "edit", ITEM, "--name", "Mine"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=edited.environment) as process:
        os.close(slave)
        seen, deadline = b"", time.monotonic() + SECONDS
        while QUESTION.encode() not in seen and time.monotonic() < deadline:
            seen += os.read(master, 65_536)
        assert edit(edited, "--type", "LOGIN").status == 0
        os.write(master, b"y\n")
        assert process.wait(SECONDS) == 1
        assert b"changed by somebody else meanwhile" in os.read(master, 65_536)
    os.close(master)
    assert described(edited)["checkpoint_version"] == 2
