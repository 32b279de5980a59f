"""The command line: reads the outside world, wires the rooms, prints for people.

Exit status: 0 done, 1 refused or failed with an explanation on stderr, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from r4_mcp import __version__
from r4_mcp.errors import R4Error
from r4_mcp.secret import KnownSecrets

if TYPE_CHECKING:
    from r4_mcp.config import Settings

FAILED: Final = 1
INTERRUPTED: Final = 130

_EPILOG: Final = """\
examples:
  r4-mcp demo                                   watch the main job, with no account and no network
  r4-mcp serve --local                          serve the embedded vault in ~/.r4/local
  R4_CONFIG=agent.json r4-mcp serve             serve the R4 vaults of that agent
  r4-mcp put --local r4://Work/GitHub/token     store a value that no model sees

settings (environment):
{settings}

exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = _parser()
    if not arguments:
        if sys.stdin.isatty():
            parser.print_help()
            return 0
        arguments = ["serve"]
    given, extra = parser.parse_known_args(arguments)
    if extra:
        # Not repeated: it may be a value that somebody meant to store.
        parser.error("there are extra arguments; values are asked for or read from stdin, never taken from the command line")
    if given.command == "emulator" and given.data is None and given.fault != "list":
        parser.error("the emulator needs --data DIR")
    # The one instance: every secret of this process is made through it.
    known = KnownSecrets()
    try:
        return _run(given, known)
    except R4Error as error:
        _print_error(error, known)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        # Task groups wrap what ends a server from outside: an interrupt, or a client that closed its end.
        if group.subgroup(KeyboardInterrupt) is not None:
            return INTERRUPTED
        if group.split((OSError, ValueError))[1] is None and group.subgroup(BrokenPipeError) is not None:
            return FAILED
        raise


def _run(given: argparse.Namespace, known: KnownSecrets) -> int:
    # Each command imports what it needs: a framework may start one process per tool call, so start-up is felt.
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.hygiene import seal_process  # noqa: PLC0415
    from r4_mcp.cli.logs import set_up_logging  # noqa: PLC0415
    from r4_mcp.config import read_settings  # noqa: PLC0415

    seal_process()
    set_up_logging(known)
    command: str = given.command
    if command == "emulator":
        return _emulator(given, known)
    if command == "demo":
        from r4_mcp.cli.demo import demo  # noqa: PLC0415

        return anyio.run(demo)
    settings = read_settings(os.environ, known)
    if command == "trust":
        from r4_mcp.cli.trust import trust  # noqa: PLC0415

        _say(trust(settings, known, given.action, given.argument, local=given.local), known)
        return 0
    if command == "doctor":
        return anyio.run(_doctor, settings, known, given.local)
    if command == "put":
        from r4_mcp.cli.put import put  # noqa: PLC0415
        from r4_mcp.policy.drafts import FieldType, ItemType  # noqa: PLC0415

        async def run_put() -> str:
            kinds = (FieldType(given.type), ItemType(given.item_type))
            return await put(settings, known, given.reference, *kinds, local=given.local)

        _say([f"stored {anyio.run(run_put)}"], known)
        return 0
    from r4_mcp.cli.serve import serve  # noqa: PLC0415

    async def run_serve() -> None:
        await serve(settings, known, local=given.local)

    anyio.run(run_serve)
    return 0


def _emulator(given: argparse.Namespace, known: KnownSecrets) -> int:
    if given.fault == "list":
        from r4_mcp.emulator.faults import describe_faults  # noqa: PLC0415

        _say(describe_faults(), known)
        return 0
    from r4_mcp.emulator import serve  # noqa: PLC0415

    serve.run(given.data, given.port, seed=given.seed, known=known, fault=given.fault)
    return 0


async def _doctor(settings: Settings, known: KnownSecrets, local: bool) -> int:  # noqa: FBT001 - called by anyio.run
    from r4_mcp.cli.doctor import doctor  # noqa: PLC0415

    healthy = True
    async for finding in doctor(settings, known, local=local):
        _say(finding.lines(), known)
        healthy = healthy and finding.good is not False
    _say(["", "Everything that was checked works." if healthy else "Correct the first FAIL, then run doctor again."], known)
    return 0 if healthy else FAILED


def _say(lines: list[str], known: KnownSecrets) -> None:
    from r4_mcp.policy.egress import Egress  # noqa: PLC0415

    # The last look holds for people's commands too.
    Egress(known).check(lines)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    from r4_mcp.config import SETTINGS  # noqa: PLC0415

    width = max(len(name) for name in SETTINGS)
    settings = "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in SETTINGS.items())
    parser = argparse.ArgumentParser(
        prog="r4-mcp",
        description="An MCP server that gives AI agents the use of an R4 vault. Without a command it serves over stdio.",
        epilog=_EPILOG.format(settings=settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"r4-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serve = commands.add_parser("serve", help="serve MCP over stdio (the default)")
    _add_local(serve)
    put = commands.add_parser("put", help="store one value from a hidden prompt or stdin, as a new item")
    put.add_argument("reference", help="r4://vault/item/field; vault and item are created where needed")
    put.add_argument("--type", default="PASSWORD", choices=["TEXT", "PASSWORD", "SECRET", "URL", "NUMBER", "TOTP"])
    put.add_argument(
        "--item-type",
        default="CUSTOM",
        choices=["LOGIN", "API_KEY", "DATABASE", "SSH_KEY", "SERVER", "SECURE_NOTE", "CREDIT_CARD", "CUSTOM"],
    )
    _add_local(put)
    emulator = commands.add_parser("emulator", help="run the R4 emulator on loopback; prints one JSON line with its address")
    emulator.add_argument("--data", type=Path, default=None, metavar="DIR", help="folder of its data; made at first use")
    emulator.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; default 0 takes a free one")
    emulator.add_argument("--seed", action="store_true", help="fill it with demo vaults and write DIR/agent.json")
    emulator.add_argument("--fault", metavar="NAME", help="be a malicious service with this lie; `list` prints them all")
    trust = commands.add_parser("trust", help="what is remembered of each vault: list, add, remove, reset, export")
    _add_trust_actions(trust)
    doctor = commands.add_parser("doctor", help="check key, permissions, registration, clock, network and each vault")
    _add_local(doctor)
    commands.add_parser("demo", help="watch the main job: emulator, server and client, on this machine only")
    return parser


def _add_trust_actions(trust: argparse.ArgumentParser) -> None:
    actions = trust.add_subparsers(dest="action", required=True, metavar="action")
    for name, told, wanted in (
        ("list", "vaults, signers, versions, and fingerprints that you added", None),
        ("add", "accept signers with this key, in any vault that shows one", "fingerprint"),
        ("remove", "take that back; vaults that pinned it already keep it", "fingerprint"),
        ("reset", "forget one vault, or everything: the next contact is a first contact", "vault"),
        ("export", "short log fingerprints, to compare with another holder", None),
    ):
        action = actions.add_parser(name, help=told, description=told)
        action.set_defaults(argument=None)
        if wanted == "fingerprint":
            action.add_argument("argument", metavar="fingerprint", help="SHA-256 of the signer's public key, 64 hex characters")
        elif wanted == "vault":
            action.add_argument("argument", metavar="vault", nargs="?", help="id of one vault; without it everything")
        _add_local(action)


def _add_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local", action="store_true", help="use the embedded vault in $R4_HOME/local instead of R4")


def _print_error(error: R4Error, known: KnownSecrets) -> None:
    from r4_mcp.policy.egress import Egress  # noqa: PLC0415
    from r4_mcp.server.explain import explain  # noqa: PLC0415

    told = explain(error)
    lines = [f"r4-mcp: {told.message}", *(f"  {candidate}" for candidate in told.candidates), f"next: {told.next_step}"]
    text = "\n".join(lines)
    if Egress(known).holds_secret(text):
        text = f"r4-mcp: an error message ({told.code}) held a known secret and was blocked."
    sys.stderr.write(text + "\n")
