"""The grammar of ``install``: its options and their help.

What this file does not do: run anything. The hosts are not ``choices``: a wrong one is answered with the nearest.
"""

from __future__ import annotations

import argparse
from typing import Final

from r4_mcp.cli.hosts.wishes import DEFAULT_NAME

HOST_NAMES: Final = "claude-desktop, claude-code, cursor, vscode, windsurf, codex, gemini, zed"

_EPILOG: Final = """\
examples:
  r4-mcp install cursor --dry-run       show what would change, write nothing
  r4-mcp install claude-desktop         start the default profile's agent there
  r4-mcp install vscode --profile work  start another one
  r4-mcp install codex --local          start the embedded vault
  r4-mcp install zed --print            print the entry, to paste it yourself
  r4-mcp install cursor --remove        take the entry out again

The entry names a profile, so no key is written into the host's file. What else
is in that file stays as it is, and a copy of it (mode 0600) is kept beside it.
"""


def add_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command; returns its parser, for the options that every command has."""
    install = commands.add_parser(
        "install",
        help="put r4-mcp into the configuration of an MCP host, or take it out",
        description="Put r4-mcp into the configuration of an MCP host, or take it out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    install.add_argument("host", metavar="HOST", help=HOST_NAMES)
    ways = install.add_mutually_exclusive_group()
    ways.add_argument("--print", dest="print_only", action="store_true", help="print the entry, and look at no file")
    ways.add_argument("--remove", action="store_true", help="take the entry out")
    install.add_argument("--dry-run", action="store_true", help="show what would change, and write nothing")
    install.add_argument("--replace", action="store_true", help="touch an entry of that name that says something else")
    install.add_argument("--create", action="store_true", help="make the host's folder where it is not there")
    install.add_argument("--name", metavar="NAME", default=DEFAULT_NAME, help=f"the entry's name; default {DEFAULT_NAME}")
    return install
