"""What is written into a host's configuration: how to start this program for one agent.

What this file does not do: hold a credential. An entry names a profile, so that a host's file, its backups and whatever syncs it
never see a key.

Rules:
1. The command is the absolute path of the installed ``r4-mcp``: hosts don't know a virtual environment's ``PATH``. It is not
   resolved any further, since ``uv tool`` and ``pipx`` keep a stable link to what an upgrade replaces.
2. An environment of ``uvx`` is a cache that may be emptied, so an entry that is made from within one starts ``uvx r4-mcp``.
3. Hosts start their servers without the environment of this shell. Of it only ``R4_HOME`` is carried over, as an absolute path:
   without it the profile would not be found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final

from r4_mcp.cli.hosts.edit import Entry
from r4_mcp.cli.hosts.places import Host
from r4_mcp.config.settings import home_of
from r4_mcp.errors import ConfigurationError, InvalidArgumentError
from r4_mcp.secret import KnownSecrets

_PROGRAM: Final = "r4-mcp"
_OUR_WORDS: Final = frozenset({_PROGRAM, f"{_PROGRAM}.exe", "r4_mcp"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_UV_CACHE: Final = re.compile(r"(archive|environments|builds)-v[0-9]+", re.ASCII)
"""Folders of uv's cache in which environments are made (rule 2)."""


def judge_name(text: str) -> str:
    """Return the name of an entry.

    Raises:
        InvalidArgumentError: It is none that every host takes.
    """
    if _NAME.fullmatch(text):
        return text
    raise InvalidArgumentError(
        "--name does not hold an entry's name", next_step="A name has 1 to 64 letters, digits, underscores and dashes."
    )


def make_entry(host: Host, agent: tuple[str, ...], environment: Mapping[str, str], known: KnownSecrets) -> Entry:
    """Return the entry of one agent.

    Args:
        host: Whose file it is for.
        agent: The options of ``serve`` that say which agent: ``--profile NAME``, ``--local``, or none for the default profile.
        environment: This process's environment (rule 3).
        known: Where a secret is armed that stands in the place of a path.

    Raises:
        ConfigurationError: ``R4_HOME`` holds no path; or a path can't be written as text.
    """
    command, *before = starting_command(PurePath(sys.prefix))
    entry: Entry = {"type": "stdio"} if host.typed else {}
    entry |= {"command": command, "args": [*before, "serve", *agent]}
    if environment.get("R4_HOME"):
        entry["env"] = {"R4_HOME": str(home_of(environment, known).absolute())}
    try:
        json.dumps(entry, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigurationError(
            "the path of r4-mcp or R4_HOME is not UTF-8, and configurations are", next_step="Install it under another path."
        ) from None
    return entry


def starting_command(prefix: PurePath) -> tuple[str, ...]:
    """Return what a host starts, before ``serve`` (rules 1 and 2).

    Args:
        prefix: ``sys.prefix``.
    """
    if is_ephemeral(prefix):
        return shutil.which("uvx") or "uvx", _PROGRAM
    script = _PROGRAM + (".exe" if sys.platform == "win32" else "")
    started = Path(sys.argv[0])
    if started.name == script and started.is_file():
        return (os.path.abspath(started),)  # noqa: PTH100 - resolve() would follow the link (rule 1)
    beside = Path(sysconfig.get_path("scripts")) / script
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "r4_mcp")


def is_ephemeral(prefix: PurePath) -> bool:
    """Say whether an environment lies in uv's cache (rule 2)."""
    return any(_UV_CACHE.fullmatch(part) for part in prefix.parts)


def is_ours(value: object) -> bool:
    """Say whether an entry starts this program, whoever wrote it and with whatever else in it.

    That is so if its command is this program's, or if one of its arguments is its bare name: ``uvx r4-mcp``,
    ``python -m r4_mcp``, ``docker run … r4-mcp``. A path that ends in that name may be anything.
    """
    if not isinstance(value, dict):
        return False
    command, arguments = value.get("command"), value.get("args")
    words = [re.split(r"[/\\]", command)[-1]] if isinstance(command, str) else []
    words += [word.split("@")[0] for word in arguments if isinstance(word, str)] if isinstance(arguments, list) else []
    return not _OUR_WORDS.isdisjoint(words)
