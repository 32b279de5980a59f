"""The grammar of ``bind`` and ``run``: where people say how secrets are used.

What this file does not do: run anything.
"""

from __future__ import annotations

import argparse

from r4_mcp.cli.people_options import add_json


def add_uses(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> tuple[argparse.ArgumentParser, ...]:
    """Add the commands that need a vault; returns their parsers, for the options that every command has."""
    bind = commands.add_parser(
        "bind",
        help="let secrets of an item go to a website, on this machine",
        description=(
            "Let secrets of an item go to a website, beside those that a person signed in R4. It holds on this machine, for this "
            "agent. It asks first."
        ),
    )
    bind.add_argument("reference", nargs="?", metavar="REF", help="r4://vault/item")
    bind.add_argument("url", nargs="?", metavar="URL", help="https://host, with a path to cover only that; *.host for subdomains")
    ways = bind.add_mutually_exclusive_group()
    ways.add_argument("--list", action="store_true", help="list what is bound")
    ways.add_argument("--remove", action="store_true", help="take a website away that was bound")
    bind.add_argument("--yes", action="store_true", help="don't ask")
    add_json(bind)
    return bind, _add_run(commands)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    run = commands.add_parser(
        "run",
        help="run a program with secrets in its environment, masked in what it prints",
        description=(
            "Run a program with secrets in its environment. What it prints is masked: a value becomes its reference. The exit "
            "status is the program's own; Ctrl-C ends it and all that it started."
        ),
    )
    run.add_argument("--env", action="append", default=[], metavar="NAME=REF", help="a variable and its r4://vault/item/field")
    run.add_argument("--project", metavar="ID", help="give it all that a project's owner marked as environment variables")
    run.add_argument("--prefix", default="", metavar="P", help="begin the names of these variables with P")
    run.add_argument("--unmasked", action="store_true", help="pass on what it prints as it is, values and all")
    run.add_argument("--yes", action="store_true", help="don't ask where the policy asks")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- program ...", help="the program and its arguments")
    return run
