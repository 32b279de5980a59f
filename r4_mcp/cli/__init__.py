"""The command line: reads the outside world, wires the rooms, prints for people.

What this file does not do: the work of a command. Each imports what it needs when it runs: a framework may start one process per
tool call, and start-up is felt.

Rules:
1. Exit status: as ``help.EXIT_STATUS`` says.
2. The one ``KnownSecrets`` is made here: every secret of this process is made through it.
3. A person is asked for a passphrase by people's commands at a terminal, never under ``serve``.
"""

from __future__ import annotations

import argparse
import gc
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
_MAY_ASK: Final = frozenset({"init", "put", "get", "edit", "run", "doctor", "rotate-key"})
"""Commands of people that may need the private key (rule 3)."""
_OF_A_HOME: Final = frozenset({"trust", "exposure"})
"""Commands that read a home's state whatever else is wrong with the configuration."""


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
    except BrokenPipeError:
        # Who reads has seen enough, such as `head`. What is still buffered goes nowhere, without a word at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except BaseExceptionGroup as group:
        return _ended_from_outside(group)


def _ended_from_outside(group: BaseExceptionGroup[BaseException]) -> int:
    # Task groups wrap what ends a server from outside: an interrupt, or a client that closed its end.
    if group.subgroup(KeyboardInterrupt) is not None:
        return INTERRUPTED
    if group.split((OSError, ValueError))[1] is None and group.subgroup(BrokenPipeError) is not None:
        return FAILED
    raise group


def _run(given: argparse.Namespace, known: KnownSecrets) -> int:
    from r4_mcp.cli.hygiene import seal_process  # noqa: PLC0415
    from r4_mcp.cli.logs import set_up_logging  # noqa: PLC0415

    seal_process()
    if given.command == "serve":
        # What is imported and wired lives as long as the process: the collector would take a tenth of the start to find no
        # garbage among it. ``serve`` sets it going.
        gc.disable()
    if given.command in _WITHOUT_SETTINGS:
        set_up_logging(known)
        return _WITHOUT_SETTINGS[given.command](given, known)
    from r4_mcp.cli.prompts import ask_hidden, at_terminal  # noqa: PLC0415
    from r4_mcp.config import Passphrases, read_settings  # noqa: PLC0415
    from r4_mcp.config.settings import home_of  # noqa: PLC0415

    # First of all that opens anything: a descriptor's number must still mean what whoever started us meant by it.
    passphrases = Passphrases(os.environ, known, ask_hidden if given.command in _MAY_ASK and at_terminal() else None)
    set_up_logging(known)
    if given.command == "init":
        return _init(given, known, passphrases)
    _refuse_two_agents(given, known)
    settings = read_settings(os.environ, known, profile=given.profile, local=given.local, passphrases=passphrases)
    if given.local:
        home_of(os.environ, known)
    if given.command in _OF_A_HOME:
        _refuse_malformed(settings)
    return _WITH_SETTINGS[given.command](given, settings, known)


def _refuse_malformed(settings: Settings) -> None:
    # Where a setting is malformed, its default is read: another home's or service's state must not pass for the one meant.
    # What is merely missing, such as the private key, is not needed.
    for problem in settings.problems:
        if type(problem) is ConfigurationError:
            raise problem


def _refuse_two_agents(given: argparse.Namespace, known: KnownSecrets) -> None:
    from r4_mcp.config import named_profile  # noqa: PLC0415

    named = named_profile(os.environ, given.profile, known) if given.local else None
    if named is not None:
        raise ConfigurationError(
            f"--local means the embedded vault, and {named.where} {named.name} means an agent of R4",
            next_step=f"Leave out --local, or {named.where}.",
        )


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


def _install(given: argparse.Namespace, known: KnownSecrets) -> int:
    from r4_mcp.cli.hosts.install import install  # noqa: PLC0415
    from r4_mcp.cli.hosts.wishes import Wishes  # noqa: PLC0415

    _refuse_two_agents(given, known)
    wishes = Wishes(
        host=given.host,
        profile=given.profile,
        local=given.local,
        name=given.name,
        dry_run=given.dry_run,
        print_only=given.print_only,
        remove=given.remove,
        replace=given.replace,
        create=given.create,
    )
    return install(wishes, os.environ, known)


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


def _people(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.people import run  # noqa: PLC0415

    return run(given, settings, known)


def _uses(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.uses import run  # noqa: PLC0415

    return run(given, settings, known)


def _completion(given: argparse.Namespace, known: KnownSecrets) -> int:  # noqa: ARG001 - the form of the table
    from r4_mcp.cli.completion import completion  # noqa: PLC0415
    from r4_mcp.cli.parser import build_parser  # noqa: PLC0415

    sys.stdout.write(completion(build_parser(), given.shell) + "\n")
    return 0


def _rotate_key(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.rotate_key import rotate_key  # noqa: PLC0415

    async def run() -> int:
        return await rotate_key(settings, known, local=given.local, yes=given.yes, abandon=given.abandon)

    return anyio.run(run)


def _trust(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.printing import say, say_json  # noqa: PLC0415
    from r4_mcp.cli.trust import trust, trust_payload  # noqa: PLC0415

    if getattr(given, "json", False):
        say_json(trust_payload(settings, known, given.action, local=given.local), known)
    else:
        say(trust(settings, known, given.action, given.argument, local=given.local), known, hanging=2)
    return 0


def _doctor(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.doctor import doctor  # noqa: PLC0415
    from r4_mcp.cli.printing import say_findings  # noqa: PLC0415

    async def run() -> bool:
        return await say_findings(doctor(settings, known, local=given.local), known, as_json=given.json)

    return 0 if anyio.run(run) else FAILED


def _audit(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:  # noqa: ARG001 - the form of the table
    from r4_mcp.cli.audit import entries, follow, head, verification  # noqa: PLC0415
    from r4_mcp.cli.printing import say, say_json  # noqa: PLC0415
    from r4_mcp.config.settings import home_of  # noqa: PLC0415

    # Not the settings' own: where R4_HOME holds no path, another home's log must not pass for it.
    folder = home_of(os.environ, known) / "audit"
    if given.follow:
        import anyio  # noqa: PLC0415

        async def run() -> None:
            async for line in follow(folder, as_json=given.json):
                say([line], known)

        anyio.run(run)
        return 0
    if given.head:
        report = head(folder)
    elif given.verify is not None:
        report = verification(folder, given.verify or None)
    else:
        say(entries(folder, as_json=given.json), known)
        return 0
    if given.json:
        say_json({"good": report.good, "told": report.lines}, known)
    else:
        say(report.lines, known)
    return 0 if report.good else FAILED


def _exposure(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    from r4_mcp.cli.exposure import exposure, exposure_payload  # noqa: PLC0415
    from r4_mcp.cli.printing import say, say_json  # noqa: PLC0415
    from r4_mcp.cli.wiring import EMBEDDED_URL, local_settings, open_oversight  # noqa: PLC0415

    base_url = settings.base_url
    if given.local:
        settings, _ = local_settings(settings, known)
        base_url = EMBEDDED_URL
    if settings.access_key is None:
        raise settings.problems[0]
    ledger = open_oversight(settings, (base_url, settings.access_key)).ledger
    if given.json:
        say_json(exposure_payload(ledger, clear=given.clear), known)
    else:
        say(exposure(ledger, clear=given.clear), known)
    return 0


def _policy(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    import anyio  # noqa: PLC0415

    from r4_mcp.cli.policy import policy_allow, policy_check, policy_explain  # noqa: PLC0415
    from r4_mcp.cli.policy_payload import policy_payload  # noqa: PLC0415
    from r4_mcp.cli.printing import say, say_json  # noqa: PLC0415
    from r4_mcp.policy.model import Action, Verdict  # noqa: PLC0415
    from r4_mcp.policy.policy_file import PolicySource  # noqa: PLC0415

    source = PolicySource(settings.policy, named=settings.policy_named)
    if given.ask == "check":
        if given.json:
            say_json(policy_payload(settings, source), known)
        else:
            say(policy_check(settings, source), known)
        return 0

    async def run() -> list[str]:
        if given.ask == "explain":
            return await policy_explain(settings, known, source, given.reference, local=given.local)
        choice = (Verdict(given.decision), Action(given.action))
        return await policy_allow(
            settings, known, source, given.reference, decision=choice[0], action=choice[1], local=given.local, yes=given.yes
        )

    say(anyio.run(run), known)
    return 0


_WITHOUT_SETTINGS: Final[dict[str, Callable[[argparse.Namespace, KnownSecrets], int]]] = {
    "emulator": _emulator,
    "demo": _demo,
    "completion": _completion,
    "install": _install,
}
_WITH_SETTINGS: Final[dict[str, Callable[[argparse.Namespace, Settings, KnownSecrets], int]]] = {
    "serve": _serve,
    "put": _put,
    "ls": _people,
    "get": _people,
    "edit": _people,
    "bind": _uses,
    "run": _uses,
    "rotate-key": _rotate_key,
    "trust": _trust,
    "doctor": _doctor,
    "audit": _audit,
    "exposure": _exposure,
    "policy": _policy,
}
