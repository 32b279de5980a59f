"""The sweep: every combination is played on the whole product, and afterwards every sink is looked through.

What this file does not do: choose combinations, know encodings, or decide what may stand where; ``conditions``, ``scanner`` and
``looking`` do.

Rules:
1. The product runs as the command line wires it, over real HTTP on loopback, with the numbers of ``setting``.
2. A process holds plaintexts before anything goes wrong: it has read some. Where the lie is about who the agent is, each call is
   the first of a process that remembers nothing but the operator's policy.
3. After each combination the journal is emptied, so that each one meets its own condition and not the last one's remains.
4. What the server says of itself, and its list of tools, are the same bytes on every scene, before and after.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from tests.switchboard import Switchboard

from .breaks import Break
from .calls import CONTACT, read_place
from .conditions import Combination, Condition, stages
from .looking import Finding, Look
from .requests import play
from .scanner import Scanner
from .setting import Clock, hurried, set_up
from .vaults import ECHOED, VALUED, Planted, Scene, open_scene
from .watch import Watch
from .wire import Message, Person, Wire, wired

_STEP: Final = 61.0
"""Seconds between two combinations."""

_SLOW: Final = frozenset({"slow-drip", "silence"})


@dataclass
class Sweep:
    """One sweep, and what came of it.

    Attributes:
        findings: Canaries where none may be.
        played: How many combinations of each family were played.
        met: How many of each family met their condition: a lie was told, a request was broken.
        outcomes: Codes of errors, and how often each was answered.
        excused: How often a place that is known to be open was met.
        listings: What servers said of themselves, by era.
    """

    planted: Planted
    board: Switchboard
    folder: Path
    scanner: Scanner = field(default_factory=Scanner)
    findings: list[Finding] = field(default_factory=list)
    played: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    listings: dict[str, set[str]] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    _scenes: int = 0

    async def run(self, combinations: Iterable[Combination]) -> None:
        """Play combinations and look after each one."""
        self.scanner.add(self.planted.canaries)
        watch = Watch(self.folder)
        with watch.watching(), set_up(self.clock):
            for (_, era), group in stages(combinations).items():
                await self._play_stage(watch, era, group)

    def report(self) -> str:
        """Say what was done, in a few lines."""
        tally, played = self.scanner.tally, self.played.total()
        lines = [
            f"{played} combinations, {tally.scans} scans, {tally.octets} bytes scanned, {len(self.findings)} findings",
            f"{self.met.total()} met their condition; families: {_counted(self.played)}",
            f"outcomes: {_counted(self.outcomes)}",
            f"open places: {_counted(self.excused)}",
        ]
        alike = Counter(one.kind for one in self.findings)
        first = {one.kind: one.during for one in reversed(self.findings)}
        return "\n".join([*lines, *(f"{count} times {kind}, first {first[kind]}" for kind, count in alike.most_common())])

    async def _play_stage(self, watch: Watch, era: str, group: Sequence[Combination]) -> None:
        self._scenes += 1
        scene = open_scene(self.planted, self.folder / f"scene-{self._scenes}", self.board)
        condition = group[0].condition
        look = Look(self.planted, scene, watch, self.scanner, self.findings, self.excused)
        try:
            with hurried() if condition.family == "silence" or condition.name in _SLOW else ExitStack():
                if condition.fault is not None and condition.fault.prepare is not None:
                    condition.fault.prepare(scene.liar)
                if _is_about_the_agent(condition):
                    for one in group:
                        shutil.rmtree(scene.home)
                        shutil.copytree(self.planted.folder / "home", scene.home)
                        async with self._process(look, era, condition.person) as wire:
                            await self._play(look, wire, one)
                    return
                async with self._process(look, era, condition.person) as wire:
                    await self._lead_up(look, wire, condition)
                    for one in group:
                        await self._play(look, wire, one)
        finally:
            shutil.rmtree(scene.folder)

    @asynccontextmanager
    async def _process(self, look: Look, era: str, person: Person) -> AsyncIterator[Wire]:
        known = KnownSecrets()
        look.watch.listen(known)
        async with (
            open_service(read_settings(look.scene.environment, known), known) as service,
            wired(build_server(service.dispatch, service.asking), era, person) as wire,
        ):
            await self._note_listing(look, wire)
            yield wire
            await self._note_listing(look, wire)

    async def _note_listing(self, look: Look, wire: Wire) -> None:
        listed = await wire.request("tools/list", {})
        said = json.dumps([wire.opening, listed["result"]])
        self.listings.setdefault(wire.era, set()).add(said)
        look.look("opening", wire)

    async def _lead_up(self, look: Look, wire: Wire, condition: Condition) -> None:
        scene, fault = look.scene, condition.fault
        scene.liar.record()
        await self._contact(look, wire)
        if fault is not None and fault.change is not None:
            fault.change(scene.liar)
            await self._contact(look, wire)
        if fault is not None and fault.prelude is not None:
            scene.liar.tell(fault.prelude)
            await self._contact(look, wire)

    async def _contact(self, look: Look, wire: Wire) -> None:
        await wire.call("list_vaults", {})
        look.look("contact", wire)
        for place in CONTACT:
            message = await wire.call("read_secret", {"reference": place.reference})
            look.look(f"contact with {place.label}", wire, read=place, answer=message)

    async def _play(self, look: Look, wire: Wire, one: Combination) -> None:
        self.clock.now += _STEP
        condition = one.condition
        with self._brought_about(look.scene, condition) as broken:
            message = await play(wire, one, self.planted, broken)
            told = look.scene.liar.told
        lies = condition.fault is not None and condition.fault.lie is not None
        self.played[condition.family] += 1
        self.met[condition.family] += told > 0 if lies else broken is None or broken.met > 0
        self.outcomes[_outcome(message)] += 1
        read = read_place(condition.turn) if one.tool == "read_secret" else None
        look.look(str(one), wire, read=read, answer=message, carried=look.carried(one))
        assert condition.family != "right" or _outcome(message) == "ok", f"{one}: {_outcome(message)}"
        shutil.rmtree(look.scene.home / "journal", ignore_errors=True)

    @contextmanager
    def _brought_about(self, scene: Scene, condition: Condition) -> Iterator[Break | None]:
        broken = None
        scene.liar.tell(None if condition.fault is None else condition.fault.lie)
        if condition.moment is not None:
            broken = Break(condition.moment, condition.after, condition.refusal, self._echo())
            scene.tap.intercept = broken.intercept
        try:
            yield broken
        finally:
            scene.tap.intercept = None
            scene.liar.tell(None)
            if broken is not None:
                broken.over.set()

    def _echo(self) -> str:
        """Return what a hostile service repeats: its own canary, the API secret, and a value of each type."""
        values = [canary.text for place, canary in self.planted.values.items() if place.item is CONTACT[0].item]
        return " ".join([self.planted.supplied[ECHOED].text, self.planted.api_secret.text, *values[: len(VALUED)]])


def _outcome(message: Message | None) -> str:
    """Return the code of an answer: of a tool's refusal, or of JSON-RPC's."""
    if message is None:
        return "taken back"
    if "error" in message:
        return f"JSON-RPC {message['error']['code']}"
    result = message["result"]
    if result.get("resultType") == "input_required":
        return "asks"
    if not result["isError"]:
        return "ok"
    code: str = json.loads(result["content"][0]["text"])["code"]
    return code


def _is_about_the_agent(condition: Condition) -> bool:
    """Say whether a lie is told where a process asks who it is (rule 2)."""
    fault = condition.fault
    return fault is not None and (fault.name.startswith(("redirect-", "not-modified", "me-", "registration-")))


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
