"""What a file with secrets holds, and what its readers make of it."""

from __future__ import annotations

import json
import subprocess
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.sinks.formats import Format, render

from .values import PLAIN, VALUE, secret

SOURCED: Final = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.dictionaries(st.sampled_from(["TOKEN", "B", "_C1"]), SOURCED, min_size=1))
def test_what_a_shell_reads_from_an_env_file_is_what_was_written(values: dict[str, str]) -> None:
    """Or the value is refused; none is changed on the way."""
    try:
        content = render("env", {name: secret(value) for name, value in values.items()})
    except InvalidArgumentError:
        return
    script = "set -a; . /dev/stdin; exec /usr/bin/env -0"
    found = subprocess.run(["/bin/sh", "-c", script], input=content, capture_output=True, env={}, check=True).stdout
    read = dict(line.split("=", 1) for line in found.decode().split("\0") if line)
    assert {name: read[name] for name in values} == values


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-Value_0:/@%+=,.", "plain-Value_0:/@%+=,."),
        ("", "''"),
        (" two words ", "' two words '"),
        ('$HOME `id` $(id) "x" #!&|;<>*?~', "'$HOME `id` $(id) \"x\" #!&|;<>*?~'"),
        ("a\\b", "'a\\b'"),
        ("é€", "'é€'"),
    ],
)
def test_an_env_value_is_bare_or_in_single_quotes(value: str, written: str) -> None:
    """So that a shell that sources it runs nothing."""
    assert render("env", {"A": secret(value)}).decode() == f"A={written}\n"


@pytest.mark.parametrize("value", ["it's", "a\nb", "a\rb", "a\0b", "a\\\\b", "a\\", "a${B}c", "\x1b[0m", "a\u2028b", "\ud800"])
def test_an_env_value_that_readers_disagree_about_is_refused(value: str) -> None:
    """And not quoted in the refusal."""
    with pytest.raises(InvalidArgumentError) as caught:
        render("env", {"A": secret(f"secret {value}")})
    assert f"secret {value}" not in caught.value.message


def test_json_holds_every_value() -> None:
    """What an env file can't."""
    values = {"a": VALUE, "LD_PRELOAD": "it's\n\0", "é": ""}
    assert json.loads(render("json", {name: secret(value) for name, value in values.items()})) == values


@pytest.mark.parametrize("form", ["json", "raw"])
def test_half_a_surrogate_pair_is_refused(form: Format) -> None:
    """UTF-8 has no way to write it."""
    with pytest.raises(InvalidArgumentError) as caught:
        render(form, {"A": secret("\ud800")})
    assert caught.value.__context__ is None


def test_raw_is_the_value_and_nothing_else() -> None:
    """No line end."""
    assert render("raw", {"": secret(f"{VALUE}\n")}) == f"{VALUE}\n".encode()


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("env", ()),
        ("json", ()),
        ("raw", ()),
        ("raw", ("A", "B")),
        ("env", ("LD_PRELOAD",)),
        ("env", ("A-B",)),
        ("json", ("",)),
        ("json", ("x" * 129,)),
    ],
)
def test_entries_that_do_not_fit_the_format_are_refused(form: Format, names: tuple[str, ...]) -> None:
    """Nothing, too many, names that change programs."""
    with pytest.raises(InvalidArgumentError):
        render(form, {name: secret(PLAIN) for name in names})
