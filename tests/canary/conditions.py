"""The conditions under which every tool is called, and the combinations that a sweep is made of.

What this file does not do: bring a condition about; ``sweep`` does.

Rules:
1. A condition belongs to a family. The whole sweep is every tool under every condition in both eras.
2. The bounded sweep is chosen by counting, not by chance: for each tool, each family and each era, every pair of them occurs.
3. Combinations that share a stage run on one scene; what may leave a lasting change has a stage of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from r4_mcp.emulator import (
    faults_account,
    faults_checkpoints,
    faults_contents,
    faults_keys,
    faults_log,
    faults_names,
    faults_signatures,
    faults_signers,
    faults_wire,
)
from r4_mcp.emulator.faults_liar import Fault
from r4_mcp.tools import ALL_TOOLS

from .breaks import REFUSALS, Moment, Refusal
from .calls import RIGHT, TURNS, turn_of
from .values import VALUES
from .vaults import CANARIES, HOSTILE, Place, Planted
from .wire import ERAS, Person
from .wrong import Way, ways

_THEMES: Final = {
    "contents": faults_contents.FAULTS,
    "checkpoints": faults_checkpoints.FAULTS,
    "signatures": faults_signatures.FAULTS,
    "log": faults_log.FAULTS,
    "signers": faults_signers.FAULTS,
    "keys": faults_keys.FAULTS,
    "account": faults_account.FAULTS,
    "bytes": faults_wire.FAULTS,
    "names": faults_names.FAULTS,
}
_MOMENTS: Final = 8
_REQUESTS: Final = 12
"""Cancelled calls of each tool and era, and the last request at which one is."""

_CHEAP: Final = frozenset({"right", "requests"})
_WAYS: Final = 8
"""Families that the bounded sweep plays whole, and how many ways to get arguments wrong it plays for each tool."""

_WRITERS: Final = frozenset(tool.name for tool in ALL_TOOLS if tool.writes) | {"report_gap"}
MALFORMED: Final = (
    "an unknown tool",
    "arguments that are a text",
    "arguments that are a list",
    "a forged state",
    "an answer to no question",
    "an unknown member",
    "an unknown member of the envelope",
)
"""Requests that are wrong around the arguments."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        family: Its family.
        name: Its name in the family.
        stage: Combinations of one stage and era share a scene.
        turn: Which right arguments are used.
        fault: What the service lies about.
        moment: Which requests meet a break; None where nothing breaks.
        refusal: What they are refused with; None for silence.
        after: How many requests pass before a late break.
        cancelled: Whether the client takes the call back when the break is met.
        way: How the arguments are wrong.
        malformed: How the request around them is wrong.
        person: What the person before the client does.
    """

    family: str
    name: str
    stage: str
    turn: int = 0
    fault: Fault | None = None
    moment: Moment | None = None
    refusal: Refusal | None = None
    after: int = 0
    cancelled: bool = False
    way: Way | None = None
    malformed: str | None = None
    person: Person = Person.AGREES


@dataclass(frozen=True, slots=True)
class Combination:
    """A tool, called under a condition in an era."""

    tool: str
    condition: Condition
    era: str

    def __str__(self) -> str:
        return f"{self.tool} under {self.condition.family}: {self.condition.name} ({self.era} era)"


def every(planted: Planted) -> Iterator[Combination]:
    """Yield the combinations of the whole sweep."""
    for era in ERAS:
        for tool in RIGHT:
            for condition in conditions(tool, planted, era):
                yield Combination(tool, condition, era)


def bounded(planted: Planted) -> Iterator[Combination]:
    """Yield the combinations of the bounded sweep (rule 2), with every turn of the right arguments in one of the eras."""
    for number, tool in enumerate(RIGHT):
        by_era = {era: list(conditions(tool, planted, era)) for era in ERAS}
        for position, family in enumerate(FAMILIES):
            era = ERAS[(number + position) % len(ERAS)]
            found = [one for one in by_era[era] if one.family == family]
            chosen = found if family in _CHEAP else found[:: 1 + len(found) // _WAYS] if family == "arguments" else found[:0]
            # The same condition for all tools, so that they share scenes.
            yield from (Combination(tool, one, era) for one in chosen or found[position % max(1, len(found)) :][:1])


def stages(combinations: Iterable[Combination]) -> dict[tuple[str, str], list[Combination]]:
    """Sort combinations by stage and era; within one, the tools keep their order."""
    order = list(RIGHT)
    found: dict[tuple[str, str], list[Combination]] = {}
    for one in sorted(combinations, key=lambda one: order.index(one.tool)):
        found.setdefault((one.condition.stage, one.era), []).append(one)
    return found


def conditions(tool: str, planted: Planted, era: str) -> Iterator[Condition]:
    """Yield every condition of a tool in an era."""
    for turn in range(TURNS.get(tool, 1)):
        yield Condition("right", f"turn {turn}", "right", turn=turn)
    for theme, faults in _THEMES.items():
        for number, fault in enumerate(faults):
            yield Condition(theme, fault.name, fault.name, turn=number, fault=fault)
    for fault, kind in VALUES:
        yield Condition("values", fault.name, fault.name, turn=turn_of(Place(CANARIES, HOSTILE, kind)), fault=fault)
    yield from _broken(tool, era)
    for way in ways(tool, planted):
        yield Condition("arguments", str(way), "arguments", way=way)
    for what in MALFORMED:
        yield Condition("requests", what, "arguments", malformed=what)
    for person in (Person.DECLINES, Person.ABSENT):
        yield Condition("approval", person.value, person.value, turn=len(RIGHT), person=person)


def _broken(tool: str, era: str) -> Iterator[Condition]:
    place = list(RIGHT).index(tool)
    for number, refusal in enumerate(REFUSALS):
        yield Condition("refused", str(refusal), "refused", turn=number, moment=Moment.FIRST, refusal=refusal)
        after = 1 + (number + place) % _REQUESTS
        late = f"{refusal} late"
        yield Condition("refused late", late, late, turn=number, moment=Moment.LATE, refusal=refusal, after=after)
        if tool in _WRITERS:
            name = f"{refusal} on writing"
            yield Condition("refused on writing", name, "refused on writing", turn=number, moment=Moment.WRITES, refusal=refusal)
    for number, after in enumerate((0, 1 + place % 3, 5 + place % 5)):
        yield Condition("silence", f"after {after} requests", f"silence {number}", moment=Moment.LATE, after=after)
    # Drawn once and the same in every run.
    chance = random.Random(f"{tool} {era}")  # noqa: S311 - not a secret
    for number in range(_MOMENTS):
        after = chance.randrange(_REQUESTS)
        name = f"number {number}"
        yield Condition("cancelled", name, f"cancelled {name}", moment=Moment.LATE, after=after, cancelled=True)


FAMILIES: Final = (
    "right",
    *_THEMES,
    "values",
    "refused",
    "refused late",
    "refused on writing",
    "silence",
    "cancelled",
    "arguments",
    "requests",
    "approval",
)
"""Every family of conditions."""
