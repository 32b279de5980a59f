"""The README's section on installing shows what the program does."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePath

from r4_mcp.cli.hosts.entry import starting_command
from r4_mcp.cli.hosts.places import HOSTS

from .hosts import Home

README = Path(__file__).parents[2] / "README.md"


def section() -> str:
    """Return the section."""
    return README.read_text().partition("\n## Install in your host\n")[2].partition("\n## ")[0]


def test_the_transcript_is_what_the_command_says(home: Home) -> None:
    """The reader's folder and command apart."""
    transcript = re.search(r"```console\n\$ r4-mcp install (.*)\n((?:.|\n)*?)```", section())
    assert transcript is not None
    home.file("cursor")
    said = home.install(*transcript[1].split()).replace(str(home.path), "/home/you")
    (command,) = starting_command(PurePath("/"))
    assert said.replace(json.dumps(command), '"/home/you/.local/bin/r4-mcp"') == transcript[2]


def test_the_table_names_every_host_with_its_command() -> None:
    """By the name that it calls itself."""
    rows = re.findall(r"^\| ([^|]+) \| `r4-mcp install ([a-z-]+)` \|", section(), re.MULTILINE)
    assert rows == [(host.title, host.name) for host in HOSTS]


def test_every_option_is_told() -> None:
    """And none that is not there."""
    told = set(re.findall(r"`(--[a-z-]+)", section()))
    assert told == {"--profile", "--local", "--remove", "--print", "--name", "--replace", "--create"}
