"""The command line: reads the outside world, wires the rooms, prints for people.

What this file does not do: the work of a command. Each imports what it needs when it runs: a framework may start one process per
tool call, and start-up is felt.

Rules:
1. Exit status: 0 done, 1 refused or failed with an explanation on stderr, 2 wrong usage, 130 interrupted.
2. The one ``KnownSecrets`` is made here: every secret of this process is made through it.
3. A person is asked for a passphrase by people's commands at a terminal, never under ``serve``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from r4_mcp.errors import ConfigurationError, R4Error
from r4_mcp.secret import KnownSecrets

if TYPE_CHECKING:
    from r4_mcp.config import Passphrases, Settings

FAILED: Final = 1
INTERRUPTED: Final = 130
_MAY_ASK: Final = frozenset({"init", "put", "doctor", "rotate-key"})
"""Commands of people that may need the private key (rule 3)."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    from r4_mcp.cli.parser import build_parser  # noqa: PLC0415 - as every import of a command

    parser = build_parser()
    given, extra = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if extra:
        # Not repeated: it may be a value that somebody meant to store.
        parser.error("there are extra arguments; values are asked for or read from stdin, never taken from the command line")
    if given.command is None:
        if sys.stdin.isatty():
            parser.print_help()
            return 0
        given.command = "serve"
    if given.command == "emulator" and given.data is None and given.fault != "list":
        parser.error("the emulator needs --data DIR")
    known = KnownSecrets()
    try:
        return _run(given, known)
    except R4Error as error:
        from r4_mcp.cli.printing import print_error  # noqa: PLC0415

        print_error(error, known)
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
    from r4_mcp.cli.hygiene import seal_process  # noqa: PLC0415
    from r4_mcp.cli.logs import set_up_logging  # noqa: PLC0415

    seal_process()
    if given.command in _WITHOUT_SETTINGS:
        set_up_logging(known)
        return _WITHOUT_SETTINGS[given.command](given, known)
    from r4_mcp.cli.prompts import ask_hidden, at_terminal  # noqa: PLC0415
    from r4_mcp.config import Passphrases, named_profile, read_settings  # noqa: PLC0415

    # First of all that opens anything: a descriptor's number must still mean what whoever started us meant by it.
    passphrases = Passphrases(os.environ, known, ask_hidden if given.command in _MAY_ASK and at_terminal() else None)
    set_up_logging(known)
    if given.command == "init":
        return _init(given, known, passphrases)
    if given.local:
        named = named_profile(os.environ, given.profile, known)
        if named is not None:
            raise ConfigurationError(
                f"--local means the embedded vault, and {named.where} {named.name} means an agent of R4",
                next_step=f"Leave out --local, or {named.where}.",
            )
    settings = read_settings(os.environ, known, profile=given.profile, local=given.local, passphrases=passphrases)
    return _WITH_SETTINGS[given.command](given, settings, known)


def _emulator(given: argparse.Namespace, known: KnownSecrets) -> int:
    if given.fault == "list":
        from r4_mcp.cli.printing import say  # noqa: PLC0415
        from r4_mcp.emulator.faults import describe_faults  # noqa: PLC0415

        say(describe_faults(), known)
        return 0
    from r4_mcp.emulator import serve  # noqa: PLC0415

    serve.run(given.data, given.port, seed=given.seed, known=known, fault=given.fault)
    return 0


def _demo(given: argparse.Namespace, known: KnownSecrets) -> int:  # noqa: ARG001 - the form of the table
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.demo import demo  # noqa: PLC0415

    return anyio.run(demo)


def _init(given: argparse.Namespace, known: KnownSecrets, passphrases: Passphrases) -> int:
    from r4_mcp.cli.init import init  # noqa: PLC0415
    from r4_mcp.cli.new_agent import Wishes  # noqa: PLC0415

    wishes = Wishes(
        profile=given.profile,
        config=given.config,
        key=given.key,
        bits=given.bits,
        base_url=given.base_url,
        encrypt=given.encrypt,
        keyring=given.keyring,
    )
    return init(wishes, os.environ, known, passphrases)


def _serve(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.serve import serve  # noqa: PLC0415

    async def run() -> None:
        await serve(settings, known, local=given.local)

    anyio.run(run)
    return 0


def _put(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.printing import say  # noqa: PLC0415
    from r4_mcp.cli.put import put  # noqa: PLC0415
    from r4_mcp.policy.drafts import FieldType, ItemType  # noqa: PLC0415

    async def run() -> str:
        kinds = (FieldType(given.type), ItemType(given.item_type))
        return await put(settings, known, given.reference, *kinds, local=given.local)

    say([f"stored {anyio.run(run)}"], known)
    return 0


def _rotate_key(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.rotate_key import rotate_key  # noqa: PLC0415

    async def run() -> int:
        return await rotate_key(settings, known, local=given.local, yes=given.yes, abandon=given.abandon)

    return anyio.run(run)


def _trust(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.printing import say  # noqa: PLC0415
    from r4_mcp.cli.trust import trust  # noqa: PLC0415

    say(trust(settings, known, given.action, given.argument, local=given.local), known)
    return 0


def _doctor(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.doctor import doctor  # noqa: PLC0415
    from r4_mcp.cli.printing import say_findings  # noqa: PLC0415

    async def run() -> bool:
        return await say_findings(doctor(settings, known, local=given.local), known)

    return 0 if anyio.run(run) else FAILED


def _audit(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:  # noqa: ARG001 - the form of the table
    from r4_mcp.cli.audit import Report, entries, follow, head, verification  # noqa: PLC0415
    from r4_mcp.cli.printing import say  # noqa: PLC0415
    from r4_mcp.config.settings import home_of  # noqa: PLC0415

    # Not the settings' own: where R4_HOME holds no path, another home's log must not pass for it.
    folder = home_of(os.environ, known) / "audit"
    if given.follow:
        import anyio  # noqa: PLC0415

        async def run() -> None:
            async for line in follow(folder):
                say([line], known)

        anyio.run(run)
        return 0
    if given.head:
        report = head(folder)
    elif given.verify is not None:
        report = verification(folder, given.verify or None)
    else:
        report = Report(entries(folder), good=True)
    say(report.lines, known)
    return 0 if report.good else FAILED


def _exposure(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.exposure import exposure  # noqa: PLC0415
    from r4_mcp.cli.printing import say  # noqa: PLC0415
    from r4_mcp.cli.wiring import EMBEDDED_URL, local_settings, open_oversight  # noqa: PLC0415

    base_url = settings.base_url
    if given.local:
        settings, _ = local_settings(settings, known)
        base_url = EMBEDDED_URL
    if settings.access_key is None:
        raise settings.problems[0]
    say(exposure(open_oversight(settings, (base_url, settings.access_key)).ledger, clear=given.clear), known)
    return 0


def _policy(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.policy import policy_allow, policy_check, policy_explain  # noqa: PLC0415
    from r4_mcp.cli.printing import say  # noqa: PLC0415
    from r4_mcp.policy.policy_file import PolicySource  # noqa: PLC0415
    from r4_mcp.policy.rules import Action, Verdict  # noqa: PLC0415

    source = PolicySource(settings.policy, named=settings.policy_named)

    async def run() -> list[str]:
        if given.ask == "explain":
            return await policy_explain(settings, known, source, given.reference, local=given.local)
        choice = (Verdict(given.decision), Action(given.action))
        return await policy_allow(
            settings, known, source, given.reference, decision=choice[0], action=choice[1], local=given.local
        )

    say(policy_check(settings, source) if given.ask == "check" else anyio.run(run), known)
    return 0


_WITHOUT_SETTINGS: Final[dict[str, Callable[[argparse.Namespace, KnownSecrets], int]]] = {"emulator": _emulator, "demo": _demo}
_WITH_SETTINGS: Final[dict[str, Callable[[argparse.Namespace, Settings, KnownSecrets], int]]] = {
    "serve": _serve,
    "put": _put,
    "rotate-key": _rotate_key,
    "trust": _trust,
    "doctor": _doctor,
    "audit": _audit,
    "exposure": _exposure,
    "policy": _policy,
}
