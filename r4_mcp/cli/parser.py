"""The command line's grammar: commands, options, help.

What this file does not do: run anything.

Rules:
1. Values and passphrases are never options: ``ps`` shows them to everybody on the machine.
2. ``--profile`` stands before or after the command; the later one counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from r4_mcp import __version__
from r4_mcp.cli.help import describe_commands, new_parser
from r4_mcp.cli.hosts.options import add_install
from r4_mcp.cli.people_options import ITEM_TYPES, add_completion, add_json, add_people
from r4_mcp.cli.use_options import add_uses


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of everything."""
    parser = new_parser(
        "r4-mcp", "An MCP server that gives AI agents the use of an R4 vault. Without a command it serves over stdio."
    )
    parser.add_argument("--version", action="version", version=f"r4-mcp {__version__}")
    _add_profile(parser, default=None)
    parser.set_defaults(local=False)
    commands = parser.add_subparsers(dest="command", metavar="command")
    _add_serving(commands)
    _add_setting_up(commands)
    _add_looking(commands)
    describe_commands(parser)
    return parser


def _add_serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="serve MCP over stdio (the default)")
    _add_local(serve)
    put = commands.add_parser("put", help="store one value from a hidden prompt or stdin")
    put.add_argument("reference", help="r4://vault/item/field; what is not there is made")
    types = ("TEXT", "PASSWORD", "SECRET", "URL", "NUMBER", "TOTP")
    put.add_argument(
        "--type", default="PASSWORD", choices=types, metavar="TYPE", help=f"of a new field: {', '.join(types)}; default PASSWORD"
    )
    put.add_argument(
        "--item-type",
        default="CUSTOM",
        choices=ITEM_TYPES,
        metavar="TYPE",
        help=f"of a new item: {', '.join(ITEM_TYPES)}; default CUSTOM",
    )
    _add_local(put)
    for command in (*add_people(commands), *add_uses(commands)):
        _add_local(command)
    emulator = commands.add_parser("emulator", help="run the R4 emulator on loopback; prints one JSON line with its address")
    emulator.add_argument("--data", type=Path, default=None, metavar="DIR", help="folder of its data; made at first use")
    emulator.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; default 0 takes a free one")
    emulator.add_argument("--seed", action="store_true", help="fill it with demo vaults and write DIR/agent.json")
    emulator.add_argument("--fault", metavar="NAME", help="be a malicious service with this lie; `list` prints them all")
    _add_profile(emulator)
    demo = commands.add_parser("demo", help="watch the main job: emulator, server and client, on this machine only")
    _add_profile(demo)


def _add_setting_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = commands.add_parser(
        "init",
        help="make a profile: credentials and private key of one R4 agent, registered",
        description="Make a profile. The API key comes from --config, a hidden prompt, or stdin.",
    )
    init.add_argument("--config", metavar="FILE", help="import the runtime JSON that R4 exports once (mode 0600)")
    init.add_argument("--key", metavar="FILE", help="import this RSA private key (PEM, mode 0600) instead of making one")
    init.add_argument("--bits", type=int, choices=[2048, 3072, 4096], help="size of a new key; default 3072")
    init.add_argument("--base-url", metavar="URL", help="address of the service; default R4_BASE_URL, then R4's")
    init.add_argument("--encrypt", action="store_true", help="protect the private key with a passphrase, which is asked for")
    init.add_argument("--keyring", action="store_true", help="with --encrypt: keep the passphrase in the system's keyring")
    _add_profile(init)
    _add_local(add_install(commands))
    rotate = commands.add_parser("rotate-key", help="replace this machine's key and wrap every vault key again")
    rotate.add_argument("--yes", action="store_true", help="don't ask")
    rotate.add_argument("--abandon", action="store_true", help="give up a rotation that the service never accepted")
    _add_local(rotate)
    trust = commands.add_parser("trust", help="what is remembered of each vault: list, add, remove, reset, export")
    _add_profile(trust)
    _add_trust_actions(trust)


def _add_looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser("doctor", help="check key, permissions, registration, clock, network and each vault")
    add_json(doctor)
    _add_local(doctor)
    audit = commands.add_parser("audit", help="what agents did, one line a call, whatever profile they used")
    ways = audit.add_mutually_exclusive_group()
    ways.add_argument("--follow", action="store_true", help="go on with each new entry until Ctrl-C")
    ways.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="HEAD",
        help="check the chain of hashes; with a head from --head, also that nothing is missing at its end",
    )
    ways.add_argument("--head", action="store_true", help="print the end of the chain, to be kept elsewhere")
    add_json(audit)
    _add_profile(audit)
    exposure = commands.add_parser("exposure", help="what agents were shown since it was last cleared, and what to rotate")
    exposure.add_argument("--clear", action="store_true", help="begin a new ledger after printing this one")
    add_json(exposure)
    _add_local(exposure)
    _add_profile(add_completion(commands))
    policy = commands.add_parser("policy", help="what agents may do: check the file, explain a decision, write a rule")
    _add_profile(policy)
    asks = policy.add_subparsers(dest="ask", required=True, metavar="action")
    check = asks.add_parser("check", help="check the policy file, and print what it comes to")
    add_json(check)
    _add_local(check)
    explain = asks.add_parser("explain", help="say which rule decides about a vault, an item or a field, and why")
    explain.add_argument("reference", help="r4://vault, r4://vault/item or r4://vault/item/field; or a request: 'GET /webhook'")
    _add_local(explain)
    allow = asks.add_parser("allow", help="write a rule about what a reference names; it is stored by id")
    allow.add_argument("reference", help="r4://vault, r4://vault/item or r4://vault/item/field")
    allow.add_argument("--action", default="reveal", choices=["reveal", "use", "create", "update", "archive"])
    allow.add_argument("--decision", default="allow", choices=["allow", "ask", "deny"], help="default allow")
    allow.add_argument("--yes", action="store_true", help="don't ask")
    _add_local(allow)


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
        if name in {"list", "export"}:
            add_json(action)
        _add_local(action)


def _add_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local", action="store_true", help="use the embedded vault in $R4_HOME/local instead of R4")
    _add_profile(parser)


def _add_profile(parser: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    # Suppressed after the command: a default there would overwrite what stood before it.
    parser.add_argument("--profile", metavar="NAME", default=default, help="use this profile, made by `r4-mcp init`")
