"""``bind`` and ``run``: from parsed arguments to what is printed.

What this file does not do: the work of a command.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Final

import anyio

from r4_mcp.cli.bind import bind, bindings_of, listing, payload, unbind
from r4_mcp.cli.printing import say, say_json
from r4_mcp.cli.run import RunWishes
from r4_mcp.cli.run import run as run_with_secrets
from r4_mcp.config import Settings
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import KnownSecrets


def run(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    """Run one of the two; returns the exit status.

    Raises:
        R4Error: As the command says.
    """
    return _RUN[given.command](given, settings, known)


def _run(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    wishes = RunWishes(given.argv, given.env, given.project, given.prefix, given.unmasked, given.yes)
    return anyio.run(partial(run_with_secrets, settings, known, wishes, local=given.local))


def _bind(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    if given.list:
        bindings = bindings_of(settings, known, local=given.local)
        if given.json:
            say_json(payload(bindings), known)
        else:
            say(list(listing(bindings)), known)
        return 0
    if given.reference is None or given.url is None:
        raise InvalidArgumentError("bind takes the reference of an item and a URL", next_step="Run `r4-mcp bind --help`.")
    if given.remove:
        say(anyio.run(partial(unbind, settings, known, given.reference, given.url, local=given.local)), known)
    else:
        say(anyio.run(partial(bind, settings, known, given.reference, given.url, local=given.local, yes=given.yes)), known)
    return 0


_RUN: Final = {"bind": _bind, "run": _run}
