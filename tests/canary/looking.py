"""Looking: what may stand where, and whether anything stands where it may not.

What this file does not do: play, or know encodings.

Rules:
1. In an answer of ``read_secret`` the member ``value`` of the structured content, and of the text beside it, is taken out before
   the rest is looked through. It must be the plaintext of the field that was asked for; of a seed, it is the current code.
2. What a call brings along may stand in what the client said; a gap report's own text in what is sent to the service.
3. Files of keys hold keys. The files that are asked for hold what is asked for.
4. A text that the caller wrote where no plaintext belongs may stand in locals of the functions that it was passed to, and in the
   text of foreign exceptions that are dropped: they are the caller's own words, and nothing of ours prints either. A ``value``
   may not, wherever it came from. In the same way, what the service itself said may stand in the locals where it came in.
5. Nothing else holds anything.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from r4_mcp import errors
from r4_mcp.core.wire import FieldType

from .calls import CARRIED, CONTACT, FILED
from .conditions import Combination
from .scanner import Hit, Scanner
from .vaults import CANARIES, HOSTILE, REJECTED, REJECTED_VALUE, REPORTED, Place, Planted, Scene
from .watch import Seen, Sink, Watch
from .wire import Message, Wire

_SERVED: Final = frozenset({"machine/client.py:_once:received", "machine/client.py:_refuse:body"})
"""Locals that hold what the service said (rule 4)."""

_INCOMING: Final = re.compile(r"server/(app|approval|changes)\.py:\w+:(ctx|params)")
"""Locals that are objects of the SDK, which hold the request as it came; a cancellation passes them."""

_GIVEN: Final = ("supplied ", REJECTED_VALUE)
OPEN: Final[Mapping[str, tuple[str, ...]]] = {
    "machine/client.py:_send:sent": ("API secret",),
    "server/dispatch.py:call:arguments": _GIVEN,
    "server/dispatch.py:run:arguments": _GIVEN,
    "server/dispatch.py:_run:arguments": _GIVEN,
    "server/dispatch.py:_parse:arguments": _GIVEN,
    "core/envelope.py:encode_value:value": (REJECTED_VALUE,),
    "core/envelope.py:open_envelope:plaintext": (f"{CANARIES} {HOSTILE.value} ",),
}
"""Locals that hold a plaintext while an exception passes, by label: known, and to be closed. Nothing of ours prints locals, so
it takes a foreign printer of tracebacks in this process to show them. The whole sweep fails for an entry that is not met."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A canary where none may be."""

    during: str
    sink: Sink
    where: str
    hit: Hit

    @property
    def kind(self) -> str:
        """What it has in common with others."""
        return f"{self.hit.label} ({self.hit.encoding}) in {self.sink.value} {self.where}"

    def __str__(self) -> str:
        return f"{self.kind}, {self.during}"


@dataclass
class Look:
    """Looks at one scene.

    Attributes:
        findings: Where findings are added.
        excused: How often each open place was met.
    """

    planted: Planted
    scene: Scene
    watch: Watch
    scanner: Scanner
    findings: list[Finding] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)

    def look(
        self,
        during: str,
        wire: Wire,
        *,
        read: Place | None = None,
        answer: Message | None = None,
        carried: Collection[str] = (),
    ) -> None:
        """Look through everything that is new.

        Args:
            during: What was going on, for reports.
            wire: The conversation.
            read: The field that was asked for, where one was.
            answer: The answer to that.
            carried: Labels of canaries that the call brought along.
        """
        self.scanner.add(self.scene.new_keys())
        for error in wire.escaped:
            self.watch.raised.note(error)
        wire.escaped.clear()
        code = self._require_value(answer, read)
        for seen in self._everything(wire, read):
            self._look_through(during, seen, self._allowed(seen, carried))
            if code is not None:
                self._look_for_code(during, seen, code)

    def carried(self, one: Combination) -> tuple[str, ...]:
        """Return the labels of what a combination's call brings along."""
        carried = tuple(self.planted.supplied[name].label for name in CARRIED.get(one.tool, ()))
        if one.condition.way is None and one.condition.malformed is None:
            return carried
        return (*carried, REJECTED, REJECTED_VALUE, CONTACT[0].label)

    def _look_through(self, during: str, seen: Seen, allowed: Collection[str]) -> None:
        # Together first: what is clean is most of it, and looking is cheapest in one piece. No needle holds a line break.
        if self.scanner.find(b"\n".join(content for _, content in seen.parts), allowed):
            for where, content in seen.parts:
                for hit in self.scanner.find(content, allowed):
                    if seen.sink is Sink.LOCALS and (where in _SERVED or _INCOMING.fullmatch(where)):
                        continue
                    if seen.sink is Sink.LOCALS and hit.label.startswith(OPEN.get(where, ())):
                        self.excused[where] += 1
                    else:
                        self.findings.append(Finding(during, seen.sink, where, hit))

    def _look_for_code(self, during: str, seen: Seen, code: bytes) -> None:
        for where, content in seen.parts:
            if any(quote + code + quote in content for quote in (b'"', b'\\"')):
                self.findings.append(Finding(during, seen.sink, where, Hit("current code", "whole text", content.index(code))))

    def _everything(self, wire: Wire, read: Place | None) -> Iterator[Seen]:
        said, heard = wire.taken()
        yield Seen(Sink.REQUEST, "", tuple(("", line) for line in said))
        yield Seen(Sink.RESULT, "", tuple(("", without_value(line) if read else line) for line in heard))
        for exchange in self.scene.tap.exchanges:
            sent = f"{exchange.path}?{exchange.query}\n".encode() + exchange.body
            yield Seen.one(Sink.SERVICE, exchange.line, sent)
        self.scene.tap.exchanges.clear()
        folders = {Sink.HOME: "home", Sink.KEYS: "keys", Sink.STORE: "service"}
        yield from self.watch.taken(
            [*((sink, self.scene.folder / part) for sink, part in folders.items()), (Sink.FILED, self.planted.folder / "files")]
        )

    def _allowed(self, seen: Seen, carried: Collection[str]) -> Collection[str]:
        if seen.sink is Sink.REQUEST:
            return carried
        if seen.sink is Sink.STORE or (seen.sink is Sink.SERVICE and seen.place == "POST /feedback"):
            return (REPORTED,)
        if seen.sink is Sink.LOCALS or (seen.sink is Sink.EXCEPTION and not hasattr(errors, seen.place)):
            return [label for label in carried if label in {REJECTED, REPORTED, CONTACT[0].label}]
        if seen.sink is Sink.FILED:
            return [place.label for place in FILED]
        if seen.sink is Sink.KEYS:
            return [canary.label for canary in (*self.planted.keys, *self.scene.new_keys())]
        return ()

    def _require_value(self, answer: Message | None, read: Place | None) -> bytes | None:
        """Check that what was read is what was asked for (rule 1); returns the current code of a seed."""
        result = (answer or {}).get("result", {})
        content = result.get("structuredContent")
        if read is None or content is None or result["isError"]:
            return None
        value = content["value"]
        if read.field is FieldType.TOTP:
            assert value.isdigit(), "a seed was shown instead of its code"
            return bytes(value, "ascii")
        assert value == self.planted.values[read].text, "another value than the one that was asked for"
        return None


def without_value(line: bytes) -> bytes:
    """Return a message of the server without the one place that may hold a plaintext (rule 1)."""
    message = json.loads(line, object_pairs_hook=_unrepeated)
    result = message.get("result")
    if not isinstance(result, dict) or "structuredContent" not in result or result.get("isError") is not False:
        return line
    content: list[dict[str, Any]] = result["content"]
    beside = json.loads(content[0]["text"], object_pairs_hook=_unrepeated)
    assert beside.pop("value") == result["structuredContent"].pop("value"), "text and structured content differ"
    content[0]["text"] = json.dumps(beside, ensure_ascii=False)
    return json.dumps(message, ensure_ascii=False).encode()


def _unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    # A member that is there twice would be looked through once.
    members = dict(pairs)
    assert len(members) == len(pairs), "a member is there twice"
    return members
