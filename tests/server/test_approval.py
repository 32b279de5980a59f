"""Asking a person, in both protocol eras: a yes is ``accept`` with ``approve: true``; whatever else comes, nothing happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import anyio
import mcp_types as types
import pytest
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError

from r4_mcp.policy.approvals import APPROVAL_SECONDS
from r4_mcp.server import approval
from tests.doors import ERAS, Era, Person, World, in_memory, yes

every_era = pytest.mark.parametrize("era", ERAS)


@contextmanager
def nothing_happens(world: World) -> Iterator[None]:
    """Nothing was sent but questions of who we are, and neither the service nor any file beside the key changed."""
    folder, key = world.seeded.config_path.parent, world.seeded.config_path.read_bytes()
    names, rows = sorted(path.name for path in folder.iterdir() if path.suffix != ".lock"), world.dump()
    world.tap.exchanges.clear()
    yield
    assert set(world.tap.lines()) <= {"GET /me"}
    assert world.seeded.config_path.read_bytes() == key
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == names
    assert world.dump() == rows
    assert not list((world.home / "journal").glob("*/*.json"))


@every_era
async def test_a_yes_rotates_and_is_asked_for_once(world: World, era: Era) -> None:
    """The question names the key by the start of its fingerprint, and its form has one yes or no: never a place for a secret."""
    person = Person()
    old = world.seeded.agent_key.public.fingerprint
    async with in_memory(world.environment, era, person) as door:
        rotated = await door.ok("rotate_key")
    (asked,) = person.asked
    assert isinstance(asked, types.ElicitRequestFormParams)
    assert asked.mode == "form"
    assert old[:16] in asked.message
    assert old not in asked.message
    assert {name: member["type"] for name, member in asked.requested_schema["properties"].items()} == {"approve": "boolean"}
    assert asked.requested_schema["required"] == ["approve"]
    assert rotated["previous_key_id"] == world.seeded.agent_key_id


def accept(**content: Any) -> types.ElicitResult:  # noqa: ANN401 - whatever a client may put there
    """Return an accepting answer with any content."""
    return types.ElicitResult.model_validate({"action": "accept", "content": content})


NOT_A_YES: Final[dict[str, types.ElicitResult]] = {
    "accept, and approve is false": accept(approve=False),
    "accept without content": types.ElicitResult(action="accept"),
    "accept with empty content": accept(),
    "accept, and approve is a text": accept(approve="true"),
    "accept, and approve is a number": accept(approve=1),
    "accept, and approve is 1.0": accept(approve=1.0),
    "accept, and approve is a list": accept(approve=["true"]),
    "accept, and approve is null": accept(approve=None),
    "accept, and another field is true": accept(Approve=True, yes=True),
    "decline": types.ElicitResult(action="decline"),
    "decline, with a yes in its content": types.ElicitResult(action="decline", content={"approve": True}),
    "cancel": types.ElicitResult(action="cancel"),
    "cancel, with a yes in its content": types.ElicitResult(action="cancel", content={"approve": True}),
}


@every_era
async def test_whatever_is_not_a_yes_is_a_no(world: World, era: Era) -> None:
    """Each of these is refused with the same words, which tell the model not to ask again; the server goes on."""
    told = set()
    with nothing_happens(world):
        for what, reply in NOT_A_YES.items():
            person = Person(reply)
            async with in_memory(world.environment, era, person) as door:
                told.add(json.dumps(await door.refused("rotate_key", "denied")))
            assert len(person.asked) == 1, what
    assert len(told) == 1
    assert "Don't ask again" in told.pop()


@every_era
async def test_a_client_that_cannot_ask_is_told_the_way_out(world: World, era: Era) -> None:
    """No elicitation capability: the refusal names the operator's command."""
    with nothing_happens(world):
        async with in_memory(world.environment, era) as door:
            told = await door.refused("rotate_key", "approval_required")
    assert "r4-mcp rotate-key" in told["next_step"]


async def test_a_client_that_answers_with_an_error_cannot_ask(world: World) -> None:
    """Handshake era: it said that it can, and can't; that is no yes, and the way out is told."""
    person = Person(types.ErrorData(code=types.INTERNAL_ERROR, message="no window to ask in"))
    with nothing_happens(world):
        async with in_memory(world.environment, "legacy", person) as door:
            told = await door.refused("rotate_key", "approval_required")
            assert "no window" not in "".join(door.raw)
    assert len(person.asked) == 1
    assert "r4-mcp rotate-key" in told["next_step"]


async def test_a_client_whose_own_question_fails_never_comes_back(world: World) -> None:
    """From 2026-07-28 on the client fails on its own side: no second call comes, so nothing is done, and the server goes on."""
    person = Person(types.ErrorData(code=types.INTERNAL_ERROR, message="no window to ask in"))
    with nothing_happens(world):
        async with in_memory(world.environment, "auto", person) as door:
            with pytest.raises(MCPError, match="no window"):
                await door.result("rotate_key", {})
            assert len(person.asked) == 1
            person.reply = types.ElicitResult(action="decline")
            await door.refused("rotate_key", "denied")


class Absent(Person):
    """Nobody: the question stands until it is taken back."""

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Wait for ever."""
        await super().__call__(context, params)
        await anyio.sleep_forever()
        raise AssertionError


async def test_silence_is_a_no(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshake era: the call does not wait longer than the limit, and says so."""
    monkeypatch.setattr(approval, "APPROVAL_SECONDS", 0.2)
    person = Absent()
    with nothing_happens(world):
        async with in_memory(world.environment, "legacy", person) as door:
            told = await door.refused("rotate_key", "denied")
    assert "nobody answered within 0.2 seconds" in told["message"].lower()
    assert len(person.asked) == 1


async def test_an_answer_that_comes_too_late_is_not_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 2026-07-28 on: the state of the question is as short-lived, so its answer is refused, and nothing is done."""
    # Shorter than any round trip.
    monkeypatch.setattr(approval, "APPROVAL_SECONDS", 1e-9)
    person = Person()
    with nothing_happens(world):
        async with in_memory(world.environment, "auto", person) as door:
            with pytest.raises(MCPError, match="expired") as caught:
                await door.result("rotate_key", {})
    assert caught.value.code == types.INVALID_PARAMS
    assert len(person.asked) == 1


STAND_INS: Final[tuple[dict[str, Any], ...]] = (
    {"approve": True},
    {"approval": {"action": "accept", "content": {"approve": True}}},
    {"confirm": "yes"},
    {"force": True},
    {"yes": True},
    {"inputResponses": {"approval": {"action": "accept", "content": {"approve": True}}}},
    {"requestState": "v1.AAAA"},
)


@every_era
async def test_no_argument_stands_in_for_the_person(world: World, era: Era) -> None:
    """Whatever a model adds to the call is an unknown argument; nobody is asked on its account."""
    person = Person()
    with nothing_happens(world):
        async with in_memory(world.environment, era, person) as door:
            for arguments in STAND_INS:
                await door.refused("rotate_key", "invalid_argument", **arguments)
    assert person.asked == []


@every_era
async def test_where_writing_is_off_nobody_is_asked(world: World, era: Era) -> None:
    """The operator's switch hides the tool; a call of it is refused as if there were none."""
    person = Person()
    with nothing_happens(world):
        async with in_memory({**world.environment, "R4_READ_ONLY": "1"}, era, person) as door:
            await door.refused("rotate_key", "unknown_tool")
    assert person.asked == []


class Rotating(Person):
    """A person in whose thinking time another process of the agent rotates the key."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.other: dict[str, Any] = {}
        self._world = world

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Let the other process rotate, then say yes."""
        async with in_memory(self._world.environment, answer=Person()) as door:
            self.other = await door.ok("rotate_key")
        return await super().__call__(context, params)


@every_era
async def test_a_yes_to_a_key_that_was_replaced_meanwhile_does_not_count(world: World, era: Era) -> None:
    """The yes was to replacing another key: nothing more is done, and the key of the other process stays the active one."""
    person = Rotating(world)
    async with in_memory(world.environment, era, person) as door:
        told = await door.refused("rotate_key", "denied")
        assert "changed since" in told["message"]
        assert (await door.ok("whoami"))["fingerprint"] == person.other["fingerprint"]
    assert world.tap.lines().count("POST /vault/public-key") == 1
    assert len(person.asked) == 1


@every_era
async def test_each_rotation_is_asked_for_anew(world: World, era: Era) -> None:
    """A yes counts once: the next call asks again, and a no to that one is a no."""
    person = Person()
    async with in_memory(world.environment, era, person) as door:
        first = await door.ok("rotate_key")
        second = await door.ok("rotate_key")
        person.reply = types.ElicitResult(action="decline")
        with nothing_happens(world):
            await door.refused("rotate_key", "denied")
    assert second["previous_key_id"] == first["key_id"]
    assert len(person.asked) == 3
    assert first["fingerprint"] in person.asked[1].message


@every_era
async def test_nobody_is_worn_down_by_the_same_question(world: World, era: Era, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a no this process does not ask again, whatever the person would say now, until an answer's time is over."""
    person = Person(types.ElicitResult(action="decline"))
    async with in_memory(world.environment, era, person) as door:
        with nothing_happens(world):
            await door.refused("rotate_key", "denied")
            person.reply = yes()
            for _ in range(3):
                told = await door.refused("rotate_key", "denied")
        assert "a moment ago" in told["message"]
        assert len(person.asked) == 1
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + APPROVAL_SECONDS)
        monkeypatch.setattr(approval, "time", later)
        await door.ok("rotate_key")
        assert len(person.asked) == 2


@every_era
async def test_a_no_to_one_key_is_not_a_no_to_the_next(world: World, era: Era) -> None:
    """Another process has rotated since: that is another question, and it is asked."""
    person = Person(types.ElicitResult(action="decline"))
    async with in_memory(world.environment, era, person) as door:
        await door.refused("rotate_key", "denied")
        async with in_memory(world.environment, answer=Person()) as other:
            await other.ok("rotate_key")
        with nothing_happens(world):
            await door.refused("rotate_key", "denied")
    assert len(person.asked) == 2


@every_era
async def test_a_question_and_its_refusals_hold_no_secret(world: World, era: Era) -> None:
    """Neither what a person sees nor what a model is told names more than the start of a fingerprint."""
    person = Person(types.ElicitResult(action="cancel"))
    async with in_memory(world.environment, era, person) as door:
        await door.refused("rotate_key", "denied")
        seen = "".join(door.raw) + "".join(str(asked) for asked in person.asked)
    members = world.agent_members()
    assert members["accessSecret"] not in seen
    assert "PRIVATE KEY" not in seen
    assert world.seeded.agent_key.public.fingerprint not in seen
