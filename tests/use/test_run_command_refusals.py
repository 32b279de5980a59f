"""``run_command`` refuses what the operator didn't list, before anything is started; and what is listed, by rule."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import Classification
from r4_mcp.policy import use_command
from r4_mcp.policy.command_rules import MAX_FREE, Free
from r4_mcp.policy.use_command import MAX_COMMAND
from tests.doors import Person, World, in_memory, text_of, write_private

from .commands import Quay, quay, ref
from .looking import require_absent


@pytest.fixture
def there(world: World, tmp_path: Path) -> Quay:
    """Make the vault; tests list what they run."""
    return quay(world, tmp_path)


ESCAPES: Final = {
    "an option": "-rf",
    "a long option": "--output=/etc/passwd",
    "the end of options": "--",
    "a dash alone": "-",
    "an assignment": "PREFIX=/tmp",
    "a NUL": "a\0b",
    "a line break": "a\nb",
    "a line break at the end": "a\n",
    "a carriage return": "a\rb",
    "an escape sequence": "a\x1b[2Jb",
    "a mark that turns text around": "a\u202eb",
    "a character that shows nothing": "a\u200bb",
    "half a surrogate pair": "a\ud800",
    "too many characters": "a" * (MAX_FREE + 1),
}


@pytest.mark.parametrize("what", ESCAPES)
async def test_no_free_position_is_a_way_out_of_the_template(what: str, there: Quay) -> None:
    """Not even where the operator's pattern takes anything, in no position; what is refused is not repeated."""
    argv = there.program("")
    there.allow(there.template([*argv, "--to", {"pattern": ".*"}, {"pattern": "(?:.|\\\\s)?.*"}]))
    async with in_memory(there.world.environment) as door:
        for given_argv in ([*argv, "--to", ESCAPES[what], "b"], [*argv, "--to", "a", ESCAPES[what]]):
            told = await door.refused("run_command", "denied", argv=given_argv, env={"T": ref("Token")})
            assert told["candidates"][0].startswith("crane: [")
            assert ESCAPES[what] not in told["message"]
        assert there.started == 0
        await door.ok("run_command", argv=[*argv, "--to", "a", "b c;$(d)|*"], env={"T": ref("Token")})
    assert there.started == 1


@given(st.text(st.sampled_from("-= \0\n\r\x1b\x7f\u2028\u202ea") | st.characters(), max_size=12))
def test_what_fills_a_free_position_is_visible_and_no_option(argument: str) -> None:
    """Where the operator's pattern takes anything at all."""
    if Free(re.compile(".*", re.DOTALL)).fits(argument):
        assert not argument.startswith("-")
        assert "=" not in argument
        assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in argument)


def test_an_equals_sign_is_taken_where_the_pattern_writes_one() -> None:
    """As in a selector of labels; and a longest length counts before the pattern."""
    assert Free(re.compile("app=[a-z]+")).fits("app=crane")
    assert Free(re.compile("[a-z]+"), 3).fits("abc")
    assert not Free(re.compile("[a-z]+"), 3).fits("abcd")


NOT_LISTED: Final[dict[str, list[str]]] = {
    "nothing": [],
    "an argument more": ["--stage", "live", "more"],
    "an argument less": ["--stage"],
    "another fixed argument": ["--Stage", "live"],
    "what the pattern does not take": ["--stage", "LIVE"],
    "what the pattern takes with something around": ["--stage", " live"],
    "an empty argument": ["--stage", ""],
    "two arguments in one": ["--stage live"],
}


@pytest.mark.parametrize("what", NOT_LISTED)
async def test_only_what_is_listed_runs(what: str, there: Quay) -> None:
    """Argument by argument; the refusal shows how to call it, and whom to ask."""
    argv = there.program("")
    there.allow(there.template([*argv, "--stage", {"pattern": "test|live"}]))
    async with in_memory(there.world.environment) as door:
        asked = NOT_LISTED[what] and [*argv, *NOT_LISTED[what]]
        told = await door.refused("run_command", "denied", argv=asked, env={"T": ref("Token")})
        form = json.dumps([*argv, "--stage", {"pattern": "test|live"}], separators=(",", ":"))
        assert told["candidates"] == [f"crane: {form} with env T, stdin"]
        assert "ask the operator to list it under [[run_command.allow]]" in told["next_step"]
    assert there.started == 0


async def test_the_program_is_the_one_that_is_listed(there: Quay) -> None:
    """By its absolute path: no other spelling of it, and nothing from a PATH or the folder."""
    there.allow(there.template(["/usr/bin/env"], folder="/usr/bin"))
    async with in_memory(there.world.environment) as door:
        for program in ("env", "./env", "/usr/bin/../bin/env", "/usr//bin/env", "/usr/bin/env ", "/bin/env", "/usr/bin/printenv"):
            await door.refused("run_command", "denied", argv=[program], env={"T": ref("Token")})


BAD: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "an unknown vault": ("not_found", {"env": {"T": "r4://Nowhere/Item/Field"}}),
    "an unknown field": ("not_found", {"stdin": ref("Nothing")}),
    "an item that two have the name of": ("ambiguous_reference", {"env": {"T": ref("Token", "Twin")}}),
    "no reference": ("invalid_reference", {"env": {"T": "a word"}}),
    "a reference of a vault": ("invalid_reference", {"env": {"T": "r4://Quay"}}),
    "an item with several secrets": ("ambiguous_reference", {"env": {"T": "r4://Quay/Crane"}}),
    "an attachment": ("not_readable", {"env": {"T": ref("File")}}),
    "one that is right and one that is not": ("not_found", {"env": {"T": ref("Token")}, "stdin": ref("Nothing")}),
    "another item": ("denied", {"env": {"T": ref("Token", "Winch")}}),
    "one of the item and one of another": ("denied", {"env": {"T": ref("Token")}, "stdin": ref("Token", "Winch")}),
    "another vault": ("denied", {"env": {"T": "r4://Engineering/Sentry/Auth%20Token"}}),
    "a name that is not listed": ("denied", {"env": {"U": ref("Token")}}),
    "a name more": ("denied", {"env": {"T": ref("Token"), "U": ref("Token")}}),
    "a name that changes how programs load": ("invalid_argument", {"env": {"LD_PRELOAD": ref("Token")}}),
    "a name that changes it in small letters": ("invalid_argument", {"env": {"ld_preload": ref("Token")}}),
    "PATH": ("invalid_argument", {"env": {"PATH": ref("Token")}}),
    "PYTHONPATH": ("invalid_argument", {"env": {"PYTHONPATH": ref("Token")}}),
    "DYLD_INSERT_LIBRARIES": ("invalid_argument", {"env": {"DYLD_INSERT_LIBRARIES": ref("Token")}}),
    "NODE_OPTIONS": ("invalid_argument", {"env": {"NODE_OPTIONS": ref("Token")}}),
    "BASH_ENV": ("invalid_argument", {"env": {"BASH_ENV": ref("Token")}}),
    "GIT_SSH_COMMAND": ("invalid_argument", {"env": {"GIT_SSH_COMMAND": ref("Token")}}),
    "our own settings": ("invalid_argument", {"env": {"R4_API_KEY": ref("Token")}}),
    "a name with an equals sign": ("invalid_argument", {"env": {"T=1;U": ref("Token")}}),
    "an empty name": ("invalid_argument", {"env": {"": ref("Token")}}),
    "no secret": ("invalid_argument", {}),
    "a value in the place of a list": ("invalid_argument", {"env": ["T"]}),
    "a number for a reference": ("invalid_argument", {"env": {"T": 7}}),
    "no time": ("invalid_argument", {"env": {"T": ref("Token")}, "timeout": 0}),
    "a fraction of time": ("invalid_argument", {"env": {"T": ref("Token")}, "timeout": 0.5}),
    "a shell": ("invalid_argument", {"env": {"T": ref("Token")}, "shell": True}),
    "a folder": ("invalid_argument", {"env": {"T": ref("Token")}, "cwd": "/tmp"}),  # noqa: S108
    "a large command": ("invalid_argument", {"env": {"T": ref("Token")}, "stdin": "r4://a/b/" + "c" * MAX_COMMAND}),
    "a value that no program can be given": ("invalid_argument", {"env": {"T": ref("Odd")}}),
}


async def test_what_is_wrong_is_refused_before_anything_is_started(there: Quay) -> None:
    """Each with its code; nothing is shown, and but for the last nothing is opened or noted as used."""
    argv = there.program("")
    there.allow(there.template(argv))
    async with in_memory(there.world.environment) as door:
        for what, (code, call) in BAD.items():
            told = await door.refused("run_command", code, argv=argv, **call)
            require_absent(json.dumps(told), what)
            assert there.started == 0, what
        assert sum(row["count"] for row in (await door.ok("exposure"))["used"]) == 1
        told = await door.refused("run_command", "denied", argv=argv, env={"T": ref("Token", "Winch")})
        assert f"the command crane use {there.item(other=True)}/" in told["message"]
        assert "`secrets` of crane" in told["next_step"]


async def test_no_argument_holds_a_secret(there: Quay) -> None:
    """Neither a placeholder, nor a value that was read, nor what looks like one: arguments are seen by everybody here."""
    argv = there.program("")
    there.allow(there.template([*argv, {"pattern": ".*"}]))
    async with in_memory(there.world.environment) as door:
        value = (await door.ok("read_secret", reference=ref("Token")))["value"]
        for text, code in (
            ("{{" + ref("Token") + "}}", "invalid_placeholder"),
            ("{{ r4 :", "invalid_placeholder"),
            (f"a {value}", "secret_in_text"),
            (value[::-1], "secret_in_text"),
        ):
            told = await door.refused("run_command", code, argv=[*argv, text], env={"T": ref("Token")})
            assert value not in json.dumps(told)
    assert there.started == 0


async def test_the_first_form_that_may_use_the_reference_is_taken(there: Quay) -> None:
    """In the operator's order: one program, two items, two folders; and what neither may use is refused."""
    argv = there.program("print(os.getcwd())")
    second = there.template(argv, name="winch", folder="/etc", secrets=[there.item(other=True), there.item()])
    there.allow(there.template(argv), second)
    async with in_memory(there.world.environment) as door:
        for item, folder in (("Crane", "/\n"), ("Winch", "/etc\n")):
            answer = await door.ok("run_command", argv=argv, env={"T": ref("Token", item)})
            assert answer["stdout"] == folder
        there.allow(there.template(argv, secrets=[f"r4://{there.vault_id}"]), second)
        assert (await door.ok("run_command", argv=argv, stdin=ref("Token", "Winch")))["stdout"] == "/\n"
        there.allow(there.template(argv, stdin=False))
        told = await door.refused("run_command", "denied", argv=argv, stdin=ref("Token"))
        assert told["candidates"][0].endswith("with env T")


RULES: Final = {
    "a rule forbids the item": ('[[rule]]\naction = "use"\ndecision = "deny"\nvault = "{vault}"\nitem = "{item}"\n', "denied"),
    "a rule forbids the sink": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = "run_command"\n', "denied"),
    "a rule forbids another sink": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = ["run", "http_request"]\n', None),
    "a rule about a host": ('[[rule]]\naction = "use"\ndecision = "deny"\nhost = "example.com"\n', None),
    "a rule about a type": ('[[rule]]\naction = "use"\ndecision = "deny"\nfield_type = "SECRET"\n', "denied"),
    "a default": ('[defaults.use]\nINTERNAL = "deny"\n', "denied"),
    "uses are denied altogether": ('[[rule]]\naction = "use"\ndecision = "deny"\n', "denied"),
    "reveals are another matter": ('[[rule]]\naction = "reveal"\ndecision = "deny"\n', None),
}


@pytest.mark.parametrize("what", RULES)
async def test_each_use_is_decided_by_rule(what: str, there: Quay) -> None:
    """A command that is listed opens nothing that a rule closes, by item, sink, type and class."""
    text, code = RULES[what]
    argv = there.program("")
    there.allow(there.template(argv), more=text.format(vault=there.vault_id, item=there.item_id))
    async with in_memory(there.world.environment) as door:
        result = await door.result("run_command", {"argv": argv, "env": {"T": ref("Token")}})
        assert (json.loads(text_of(result))["code"] if result.is_error else None) == code
    assert there.started == (code is None)


@pytest.mark.parametrize(
    ("classification", "code"),
    [
        (Classification.PUBLIC, None),
        (None, None),
        (Classification.CONFIDENTIAL, "approval_required"),
        (Classification.CUI, "denied"),
    ],
)
async def test_the_class_decides_where_no_rule_does(
    classification: Classification | None, code: str | None, world: World, tmp_path: Path
) -> None:
    """As for other uses."""
    there = quay(world, tmp_path, classification)
    argv = there.program("")
    there.allow(there.template(argv))
    async with in_memory(world.environment) as door:
        result = await door.result("run_command", {"argv": argv, "env": {"T": ref("Token")}})
        assert (json.loads(text_of(result))["code"] if result.is_error else None) == code
    assert there.started == (code is None)


async def test_a_person_is_asked_about_the_whole_command(there: Quay) -> None:
    """Once, with argv, names, references, folder and deadline; a no, or nobody to ask, starts nothing."""
    argv = there.program("")
    there.allow(there.template([*argv, {"pattern": "[a-z ]+"}], folder="/etc"), more='[defaults.use]\nINTERNAL = "ask"\n')
    call = {"argv": [*argv, "all of it"], "env": {"T": ref("Token")}, "stdin": ref("Password"), "timeout": 9}
    async with in_memory(there.world.environment, answer=Person(types.ElicitResult(action="decline"))) as door:
        await door.refused("run_command", "denied", **call)
    async with in_memory(there.world.environment) as door:
        await door.refused("run_command", "approval_required", **call)
    assert there.started == 0
    person = Person()
    async with in_memory(there.world.environment, answer=person) as door:
        assert (await door.ok("run_command", **call))["exit_code"] == 0
    (asked,) = person.asked
    for part in (*argv, "all of it", '"T":', ref("Token"), ref("Password"), "in /etc", "9 seconds"):
        assert part in asked.message, part
    require_absent(asked.message, "the question")
    assert there.started == 1


async def test_the_tool_is_there_while_the_policy_lists_a_command(there: Quay) -> None:
    """Hidden by default and under a closed policy; the switches for reading and writing leave it."""
    switched = {**there.world.environment, "R4_NO_REVEAL": "1", "R4_READ_ONLY": "1"}
    argv = there.program("")
    call = {"argv": argv, "env": {"T": ref("Token")}}
    async with in_memory(switched) as door:

        async def is_listed() -> bool:
            return "run_command" in {tool.name for tool in (await door.client.list_tools()).tools}

        assert not await is_listed()
        await door.refused("run_command", "unknown_tool", **call)
        told = {line["tool"]: line["reason"] for line in (await door.ok("whoami"))["unavailable"]}
        assert "lists no command" in told["run_command"]
        there.allow(there.template(argv))
        assert await is_listed()
        assert (await door.ok("run_command", **call))["exit_code"] == 0
        assert "run_command" not in {line["tool"] for line in (await door.ok("whoami"))["unavailable"]}
        write_private(there.world.home / "policy.toml", there.template(argv, seconds="a minute"))
        assert not await is_listed()
        await door.refused("run_command", "unknown_tool", **call)
    assert there.started == 1


async def test_windows_is_told_that_it_has_no_programs(there: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool says so, and what works there."""
    argv = there.program("")
    there.allow(there.template(argv))
    monkeypatch.setattr(use_command, "sys", SimpleNamespace(platform="win32"))
    async with in_memory(there.world.environment) as door:
        told = await door.refused("run_command", "program_not_started", argv=argv, env={"T": ref("Token")})
    assert "Windows" in told["message"]
    assert there.started == 0


@pytest.mark.parametrize("broken", ["ledger", "trust store"])
async def test_what_can_not_be_noted_or_judged_is_not_used(broken: str, there: Quay) -> None:
    """A damaged ledger or memory: nothing is started."""
    argv = there.program("")
    there.allow(there.template(argv))
    call = {"argv": argv, "env": {"T": ref("Token")}}
    async with in_memory(there.world.environment) as door:
        await door.ok("run_command", **call)
        (path,) = there.world.home.rglob("exposure-*.json" if broken == "ledger" else "*trust*.json")
        path.write_text("{}")
        await door.refused("run_command", "file_access", **call)
    assert there.started == 1


async def test_a_program_that_can_not_be_started_is_said(there: Quay) -> None:
    """It is gone, is no program, or its folder is gone; the environment that it would have had is not told."""
    (there.folder / "no-program").write_text("")
    listed = (["/nowhere/program"], [str(there.folder / "no-program")], [str(there.folder)])
    for number, argv in enumerate(listed):
        there.allow(there.template(argv, name=f"p{number}"), there.template(["/bin/true"], folder=str(there.folder / "none")))
        async with in_memory(there.world.environment) as door:
            for run in (argv, ["/bin/true"]):
                told = await door.refused("run_command", "program_not_started", argv=run, env={"T": ref("Token")})
                assert told["next_step"].startswith("Tell the operator that the command ")
                require_absent(json.dumps(told), "the refusal")
