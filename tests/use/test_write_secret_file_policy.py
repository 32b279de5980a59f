"""Who decides about ``write_secret_file``: the operator's list of folders, the rules, and where they say so, a person."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import mcp_types as types
import pytest

from r4_mcp.core.wire import Classification
from tests.doors import Door, Person, World, in_memory

from .looking import require_absent
from .services import reference
from .test_write_secret_file import Desk, audited, entries, make_desk, write


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """Make a desk in an INTERNAL vault."""
    return make_desk(world, tmp_path / "web")


async def test_a_person_is_asked_about_the_whole_file(desk: Desk) -> None:
    """Where the rules ask: once, with path, format, names and references; a no writes nothing."""
    desk.allow(desk.root(), '[defaults.use]\nINTERNAL = "ask"\n')
    call = write(entries=entries("Token", "Password"))
    async with in_memory(desk.world.environment, answer=Person(types.ElicitResult(action="decline"))) as door:
        await door.refused("write_secret_file", "denied", **call)
    async with in_memory(desk.world.environment) as door:
        told = await door.refused("write_secret_file", "approval_required", **call)
        assert "--action use" in told["next_step"]
        assert (await door.ok("exposure"))["used"] == []
    assert desk.files() == []
    person = Person()
    async with in_memory(desk.world.environment, answer=person) as door:
        await door.ok("write_secret_file", **call)
    (asked,) = person.asked
    parts = (str(desk.folder / ".env"), '"env"', '"TOKEN"', reference("Password"), "whoever can read it sees them")
    assert all(part in asked.message for part in parts)
    require_absent(asked.message, "the question")
    assert desk.files() == [".env"]


RULES: Final = {
    "a rule forbids the item": ('[[rule]]\naction = "use"\ndecision = "deny"\nvault = "{vault}"\nitem = "{item}"\n', "denied"),
    "a rule forbids the sink": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = "write_secret_file"\n', "denied"),
    "a rule forbids every sink": ('[[rule]]\naction = "use"\ndecision = "deny"\n', "denied"),
    "a rule about other sinks": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = ["http_request", "run"]\n', None),
    "a rule about a host": ('[[rule]]\naction = "use"\ndecision = "deny"\nhost = "example.com"\n', None),
    "a rule about a type": ('[[rule]]\naction = "use"\ndecision = "deny"\nfield_type = "SECRET"\n', "denied"),
    "a default": ('[defaults.use]\nINTERNAL = "deny"\n', "denied"),
    "reveals are another matter": ('[[rule]]\naction = "reveal"\ndecision = "deny"\n', None),
}


@pytest.mark.parametrize("what", RULES)
async def test_each_use_is_decided_by_rule(what: str, desk: Desk) -> None:
    """By item, sink, type and class; that the folder is listed lifts no deny."""
    text, code = RULES[what]
    desk.allow(desk.root(), text.format(vault=desk.vault_id, item=desk.item_id))
    async with in_memory(desk.world.environment) as door:
        if code is None:
            await door.ok("write_secret_file", **write())
        else:
            await door.refused("write_secret_file", code, **write())
            assert [line["outcome"] for line in audited(desk.world)] == [code]
    assert len(desk.files()) == (code is None)


@pytest.mark.parametrize(
    ("kind", "code"), [(None, None), (Classification.CONFIDENTIAL, "approval_required"), (Classification.CUI, "denied")]
)
async def test_the_class_decides_where_no_rule_does(
    kind: Classification | None, code: str | None, world: World, tmp_path: Path
) -> None:
    """As for every use."""
    desk = make_desk(world, tmp_path / "web", kind)
    async with in_memory(world.environment) as door:
        if code is None:
            await door.ok("write_secret_file", **write())
        else:
            await door.refused("write_secret_file", code, **write())
    assert len(desk.files()) == (code is None)


async def visible(door: Door) -> bool:
    """Say whether the tool is listed."""
    return "write_secret_file" in {tool.name for tool in (await door.client.list_tools()).tools}


async def test_it_is_hidden_unless_the_policy_lists_a_folder(desk: Desk) -> None:
    """It comes and goes with the policy; a closed one lists nothing. Read-only is about vaults, and no reveal about answers."""
    async with in_memory(desk.world.environment) as door:
        assert await visible(door)
        for lines in (["[write_secret_file]\nroot = []"], [""], [desk.root(mode="0644")]):
            desk.allow(*lines)
            assert not await visible(door)
            await door.refused("write_secret_file", "unknown_tool", **write())
        standing = await door.ok("whoami")
        assert "write_secret_file" in {line["tool"] for line in standing["unavailable"]}
    desk.allow(desk.root())
    for switch in ("R4_READ_ONLY", "R4_NO_REVEAL"):
        async with in_memory({**desk.world.environment, switch: "1"}) as door:
            assert await visible(door)
            await door.ok("write_secret_file", **write(switch))
    assert desk.files() == ["R4_NO_REVEAL", "R4_READ_ONLY"]
