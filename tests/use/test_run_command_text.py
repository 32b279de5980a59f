"""What the policy's text may say of programs with secrets, what it comes to, and what is refused and how that is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.cli.policy import policy_check
from r4_mcp.config import read_settings
from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.command_rules import MAX_FREE, CommandTemplate, Free, ShownOutput
from r4_mcp.policy.command_text import MAX_ARGUMENTS, MAX_COMMANDS, MAX_SECONDS, MAX_SECRETS
from r4_mcp.policy.model import DEFAULTS
from r4_mcp.policy.policy_file import PolicySource
from r4_mcp.policy.policy_text import parse_policy
from r4_mcp.secret import KnownSecrets
from tests.doors import write_private

VAULT, ITEM, FIELD = "a" * 24, "b" * 24, "c" * 24
RIGHT: Final = {
    "name": '"deploy"',
    "argv": '["/srv/bin/deploy", "--stage", { pattern = "test|live" }]',
    "folder": '"/srv"',
    "secrets": f'["r4://{VAULT}/{ITEM}"]',
    "env": '["TOKEN"]',
}


def written(**members: str | None) -> str:
    """Return the text of one command: a right one, with these members instead; None leaves one out."""
    return "[[run_command.allow]]\n" + "".join(
        f"{key} = {value}\n" for key, value in {**RIGHT, **members}.items() if value is not None
    )


def test_every_key_is_understood() -> None:
    """Positions that are fixed and free, what may be used at each depth, and what is shown."""
    secrets = f'["r4://{VAULT}", "r4://{VAULT}/{ITEM}", "r4://{VAULT}/{ITEM}/{FIELD}"]'
    argv = '["/srv/bin/deploy", "-v", { pattern = "(?:test|live)-?[0-9]{1,3}", max_length = 8 }]'
    text = written(argv=argv, secrets=secrets, env='["A", "b_2"]', stdin="true", seconds="5", output='"exit_code"')
    assert parse_policy(text.encode()).commands == (
        CommandTemplate(
            name="deploy",
            argv=("/srv/bin/deploy", "-v", Free(re.compile("(?:test|live)-?[0-9]{1,3}", re.ASCII), 8)),
            folder="/srv",
            secrets=((VAULT,), (VAULT, ITEM), (VAULT, ITEM, FIELD)),
            env=frozenset({"A", "b_2"}),
            stdin=True,
            seconds=5,
            output=ShownOutput.EXIT_CODE,
        ),
    )


def test_what_is_not_said_is_the_careful_choice() -> None:
    """No input, a minute, masked output, ASCII; an empty table lists nothing."""
    (template,) = parse_policy(written(argv='["/srv/bin/deploy", { pattern = "\\\\w+" }]').encode()).commands
    assert (template.stdin, template.seconds, template.output) == (False, 60, ShownOutput.MASKED)
    assert template.fits(["/srv/bin/deploy", "abc"], {"TOKEN"}, stdin=False)
    assert not template.fits(["/srv/bin/deploy", "\u00e4bc"], {"TOKEN"}, stdin=False)
    assert parse_policy(b"[run_command]\n") == DEFAULTS
    assert parse_policy(b"[run_command]\nallow = []\n") == DEFAULTS


def free(pattern: str) -> str:
    """Return an argv with a pattern."""
    return f"[\"/srv/bin/deploy\", {{ pattern = '{pattern}' }}]"


REFUSED: Final = {
    "another key beside the list": ('[run_command]\ndeny = ["a"]\n', "run_command has an unknown key deny; known are allow"),
    "a list of texts": ('[run_command]\nallow = ["/bin/true"]\n', "entry 1 is not written as [[run_command.allow]]"),
    "an unknown key": (written(cwd="true"), "entry 1 has an unknown key cwd; known are argv, env"),
    "no name": (written(name=None), "name is not a word"),
    "a name with a space": (written(name='"a b"'), "name is not a word"),
    "a long name": (written(name=f'"{"a" * 41}"'), "name is not a word"),
    "a name twice": (written() + written(), "run_command.allow has a name twice"),
    "many commands": ("".join(written(name=f'"a{n}"') for n in range(MAX_COMMANDS + 1)), "is not a list of at most 32"),
    "no argv": (written(argv=None), "argv, the program is not one line"),
    "an empty argv": (written(argv="[]"), "argv, the program is not one line"),
    "a text for argv": (written(argv='"/bin/true now"'), "argv is not a list"),
    "many arguments": (written(argv=f'["/a"{", 1" * MAX_ARGUMENTS}]'), "argv is not a list of at most 64"),
    "a program to be looked up": (written(argv='["deploy"]'), "the program is not an absolute path"),
    "a program by a way up": (written(argv='["/srv/../bin/sh"]'), "the program is not an absolute path"),
    "a program with a doubled slash": (written(argv='["//srv/bin"]'), "the program is not an absolute path"),
    "a program that the caller chooses": (written(argv='[{ pattern = "/bin/.*" }]'), "the program is not one line"),
    "an argument that is a number": (written(argv='["/a", 1]'), "argv, argument 1 is not one line"),
    "an argument with a line break": (written(argv='["/a", "b\\nc"]'), "argv, argument 1 is not one line"),
    "an argument that shows nothing": (written(argv='["/a", "\\u200b"]'), "argv, argument 1 is not one line"),
    "a free position without a pattern": (written(argv='["/a", {}]'), "argument 1: pattern is not one line"),
    "another key of a free position": (written(argv='["/a", { regex = "b" }]'), "has an unknown key regex; known are max_length"),
    "a pattern that is none": (written(argv=free("[a-")), "pattern is no regular expression"),
    "a repeated group": (written(argv=free("([a-z]+)*")), "pattern has a group that is repeated"),
    "a group a number of times": (written(argv=free("(a|aa){99}")), "pattern has a group that is repeated"),
    "a look ahead": (written(argv=free("(?=a).*")), "pattern has a group that is repeated, or begins with (?"),
    "a flag": (written(argv=free("(?i)a")), "pattern has a group that is repeated, or begins with (?"),
    "a long length": (
        written(argv=f'["/a", {{ pattern = "b", max_length = {MAX_FREE + 1} }}]'),
        "max_length is not a whole number",
    ),
    "no length": (written(argv='["/a", { pattern = "b", max_length = 0 }]'), "max_length is not a whole number"),
    "a word for a length": (written(argv='["/a", { pattern = "b", max_length = true }]'), "max_length is not a whole number"),
    "no folder": (written(folder=None), "folder is not one line"),
    "a relative folder": (written(folder='"srv"'), "folder is not an absolute path"),
    "no secrets": (written(secrets=None), "secrets is missing"),
    "an empty list of secrets": (written(secrets="[]"), "secrets is missing, an empty list"),
    "a secret twice": (written(secrets=f'["r4://{VAULT}", "r4://{VAULT}"]'), "or has one twice"),
    "a secret by name": (written(secrets='["r4://Work/Example"]'), "secrets is not a list of references made of ids"),
    "an id alone": (written(secrets=f'["{VAULT}"]'), "secrets is not a list of references made of ids"),
    "four ids": (written(secrets=f'["r4://{VAULT}/{ITEM}/{FIELD}/{FIELD}"]'), "secrets is not a list of references"),
    "many secrets": (written(secrets=f"[{', '.join(['1'] * (MAX_SECRETS + 1))}]"), "secrets is not a list of at most 64"),
    "no way to give a secret": (written(env=None), "has neither env nor stdin"),
    "a name that changes how programs load": (written(env='["LD_PRELOAD"]'), "env: the environment name LD_PRELOAD changes"),
    "a name that is none": (written(env='["A B"]'), "env: an environment name has letters"),
    "a name that is a number": (written(env="[1]"), "env: an environment name has letters"),
    "a variable that every program has": (written(env='["LANG"]'), "env: LANG is set for every program"),
    "a variable twice": (written(env='["A", "A"]'), "env has a name twice"),
    "a word for true": (written(stdin='"yes"'), "stdin is not true or false"),
    "no time": (written(seconds="0"), "seconds is not a whole number from 1"),
    "much time": (written(seconds=str(MAX_SECONDS + 1)), "seconds is not a whole number from 1"),
    "a word for a time": (written(seconds="true"), "seconds is not a whole number from 1"),
    "another output": (written(output='"raw"'), "output is not one of masked, exit_code"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_understood_closes_the_policy(what: str) -> None:
    """The message names entry and key; values, which may be those of another file, are not repeated."""
    text, told = REFUSED[what]
    with pytest.raises(ConfigurationError) as raised:
        parse_policy(text.encode())
    assert told in raised.value.message
    assert raised.value.__cause__ is None
    assert not any(value in raised.value.message for value in ("deploy", "/srv", VAULT, "Work"))


def test_check_prints_what_may_run(tmp_path: Path) -> None:
    """The whole form, by whom it may be given what, where, how long, and what is shown."""
    path = write_private(tmp_path / "policy.toml", written(stdin="true"))
    known = KnownSecrets()
    lines = policy_check(read_settings({"R4_HOME": str(tmp_path)}, known), PolicySource(path, named=False))
    assert (
        'command deploy: ["/srv/bin/deploy","--stage",{"pattern":"test|live"}] with env TOKEN, stdin, '
        f"of r4://{VAULT}/{ITEM}, in /srv, at most 60 seconds, output masked"
    ) in lines
