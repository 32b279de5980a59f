"""Completion through a client, in both eras: verified names, as a reference or a tool takes them, and never a value."""

from __future__ import annotations

from typing import Final

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.emulator.drafts import ItemDraft
from tests.doors import ERAS, Door, Era, World, in_memory, write_private

VAULTS: Final = types.ResourceTemplateReference(uri="r4://{vault}")
ITEMS: Final = types.ResourceTemplateReference(uri="r4://{vault}/{item}")
FIND: Final = types.PromptReference(name="find-and-use-a-secret")
STORE: Final = types.PromptReference(name="store-a-new-credential")
ROTATE: Final = types.PromptReference(name="rotate-a-credential")

Ref = types.ResourceTemplateReference | types.PromptReference

every_era = pytest.mark.parametrize("era", ERAS)


async def completed(door: Door, ref: Ref, name: str, typed: str, **chosen: str) -> list[str]:
    """Complete one argument; everything that fits must be there."""
    completion = (await door.client.complete(ref, {"name": name, "value": typed}, chosen or None)).completion
    assert (completion.total, completion.has_more) == (len(completion.values), False)
    door.raw.append(completion.model_dump_json())
    return completion.values


SUGGESTED: Final[dict[str, tuple[Ref, str, str, dict[str, str], list[str]]]] = {
    "every vault": (VAULTS, "vault", "", {}, ["Engineering", "Personal%20Sandbox", "Production", "Public%20Site"]),
    "vaults by their beginning, in any case": (VAULTS, "vault", "pER", {}, ["Personal%20Sandbox"]),
    "vaults by what was completed before": (VAULTS, "vault", "Personal%20S", {}, ["Personal%20Sandbox"]),
    "vaults by a raw space": (VAULTS, "vault", "public s", {}, ["Public%20Site"]),
    "no vault of that beginning": (VAULTS, "vault", "ublic", {}, []),
    "no vault by a part with a slash": (VAULTS, "vault", "Prod/x", {}, []),
    "the vault of an item": (ITEMS, "vault", "prod", {}, ["Production"]),
    "items of the chosen vault": (ITEMS, "item", "g", {"vault": "Production"}, ["GitHub%20Production"]),
    "items of a vault with a space, spelled": (ITEMS, "item", "a", {"vault": "Public%20Site"}, ["Analytics"]),
    "items of a vault with a space, raw": (ITEMS, "item", "a", {"vault": "Public Site"}, ["Analytics"]),
    "items before a vault is chosen": (ITEMS, "item", "g", {}, []),
    "items of a vault that nobody has": (ITEMS, "item", "", {"vault": "Nowhere"}, []),
    "a vault as tools take it": (STORE, "vault", "pub", {}, ["Public Site"]),
    "a new name": (STORE, "name", "S", {}, []),
    "what to search for": (FIND, "query", "st", {}, ["Staging DB", "Stripe"]),
    "a reference that has not begun": (ROTATE, "reference", "", {}, [
        "r4://Engineering", "r4://Personal%20Sandbox", "r4://Production", "r4://Public%20Site"
    ]),
    "a reference by its scheme": (ROTATE, "reference", "r4:/", {}, [
        "r4://Engineering", "r4://Personal%20Sandbox", "r4://Production", "r4://Public%20Site"
    ]),
    "a reference by a vault's name": (ROTATE, "reference", "eng", {}, ["r4://Engineering"]),
    "a reference within a vault": (ROTATE, "reference", "r4://Production/st", {}, ["r4://Production/Stripe"]),
    "a reference within an item": (ROTATE, "reference", "r4://Production/Stripe/s", {}, ["r4://Production/Stripe/Secret%20Key"]),
    "a reference that is complete": (ROTATE, "reference", "r4://Production/Stripe/a/b", {}, []),
}  # fmt: skip


@every_era
@pytest.mark.parametrize("what", SUGGESTED)
async def test_names_are_suggested_as_they_are_needed(what: str, era: Era, calm: World) -> None:
    """Sorted, all that fit and nothing else; spelled where they become part of a reference."""
    ref, name, typed, chosen, expected = SUGGESTED[what]
    async with in_memory(calm.environment, era) as door:
        assert await completed(door, ref, name, typed, **chosen) == expected


async def test_what_is_suggested_can_be_read(calm: World) -> None:
    """A template that is filled with suggestions names a resource."""
    async with in_memory(calm.environment) as door:
        for vault in await completed(door, VAULTS, "vault", ""):
            assert (await door.client.read_resource(f"r4://{vault}")).contents
            for item in await completed(door, ITEMS, "item", "", vault=vault):
                assert (await door.client.read_resource(f"r4://{vault}/{item}")).contents


async def test_odd_names_are_suggested_so_that_they_can_be_used(world: World) -> None:
    """Twins, dots, and what can't be seen by id; what a reference reserves, encoded."""
    odd = ["Twin", "twin", ".", "a/b?c#d%41", "Zero\u200bwidth", "Ünïcode"]
    ids = {name: world.add_item("Engineering", name, ("a", FieldType.TEXT, "b")).item_id for name in odd}
    async with in_memory(world.environment) as door:
        assert await completed(door, ITEMS, "item", "TWIN", vault="Engineering") == sorted([ids["Twin"], ids["twin"]])
        assert await completed(door, ITEMS, "item", ".", vault="Engineering") == [ids["."]]
        assert await completed(door, ITEMS, "item", "a/b", vault="Engineering") == ["a%2Fb%3Fc%23d%2541"]
        assert await completed(door, ITEMS, "item", "zero", vault="Engineering") == [ids["Zero\u200bwidth"]]
        assert await completed(door, ITEMS, "item", "ün", vault="Engineering") == ["%C3%9Cn%C3%AFcode"]
        for part in await completed(door, ITEMS, "item", "", vault="Engineering"):
            assert (await door.client.read_resource(f"r4://Engineering/{part}")).contents
        assert await completed(door, FIND, "query", "zero") == []


@every_era
async def test_a_hundred_are_given_and_the_rest_is_counted(era: Era, world: World) -> None:
    """The protocol allows no more."""
    drafts = [ItemDraft(f"Many {number:03}", ItemType.CUSTOM, [], []) for number in range(120)]
    world.seeded.operator.create_items(world.vault_id("Engineering"), drafts)
    async with in_memory(world.environment, era) as door:
        found = await door.client.complete(ITEMS, {"name": "item", "value": "many"}, {"vault": "Engineering"})
        completion = found.completion
        assert (len(completion.values), completion.total, completion.has_more) == (100, 120, True)
        assert completion.values[0] == "Many%20000"
        rest = await completed(door, ITEMS, "item", "many 11", vault="Engineering")
        assert len(rest) == 10


@every_era
async def test_where_listing_is_denied_there_is_nothing_to_suggest(era: Era, world: World) -> None:
    """No error, no name, and the service is not asked."""
    write_private(world.home / "policy.toml", '[defaults]\nlist = "deny"\n')
    async with in_memory(world.environment, era) as door:
        for ref, name, typed, chosen, _ in SUGGESTED.values():
            assert await completed(door, ref, name, typed, **chosen) == []
    assert world.tap.lines() == []


REFUSED: Final[dict[str, tuple[Ref, str, str, dict[str, str], str]]] = {
    "another template": (types.ResourceTemplateReference(uri="file:///{zebra}"), "zebra", "", {}, "invalid_argument"),
    "another prompt": (types.PromptReference(name="zebra"), "query", "", {}, "invalid_argument"),
    "another argument of a template": (VAULTS, "item", "zebra", {}, "invalid_argument"),
    "another argument of a prompt": (FIND, "zebra", "", {}, "invalid_argument"),
    "a vault that is no part": (ITEMS, "item", "", {"vault": "zebra%"}, "invalid_reference"),
    "a vault that is three parts": (ITEMS, "item", "", {"vault": "Production/Stripe/zebra"}, "invalid_reference"),
}


@every_era
@pytest.mark.parametrize("what", REFUSED)
async def test_what_has_no_such_argument_is_refused_and_not_repeated(what: str, era: Era, calm: World) -> None:
    """An invalid parameter, one sentence, and the next step."""
    ref, name, typed, chosen, code = REFUSED[what]
    async with in_memory(calm.environment, era) as door:
        with pytest.raises(MCPError) as caught:
            await door.client.complete(ref, {"name": name, "value": typed}, chosen or None)
    error = caught.value.error
    assert (error.code, error.data["code"], error.data["message"]) == (-32602, code, error.message)
    assert error.data["next_step"]
    assert "zebra" not in error.model_dump_json()


async def test_an_ambiguous_name_before_it_comes_with_candidates(world: World) -> None:
    """Which of the twins is meant is not chosen here."""
    for _ in range(2):
        world.add_item("Engineering", "Twin", ("a", FieldType.TEXT, "b"))
    async with in_memory(world.environment) as door:
        with pytest.raises(MCPError) as caught:
            await completed(door, ROTATE, "reference", "r4://Engineering/Twin/")
        candidates = caught.value.error.data["candidates"]
        assert len(candidates) == 2
        for candidate in candidates:
            assert await completed(door, ROTATE, "reference", candidate + "/") == [candidate + "/a"]


@every_era
async def test_what_was_read_is_not_suggested(era: Era, world: World) -> None:
    """Every prefix of a value that was revealed completes to nothing that holds it; typed whole, it is not repeated."""
    async with in_memory(world.environment, era) as door:
        value = (await door.ok("read_secret", reference="r4://Production/Stripe/Secret%20Key"))["value"]
        door.raw.clear()
        for ref, name, _, chosen, _ in SUGGESTED.values():
            for typed in ("", value[:1], value[:8], value):
                await completed(door, ref, name, typed, **chosen)
    assert value not in "\n".join(door.raw)


async def test_a_value_where_nobody_signed_it_is_kept_from_leaving(world: World) -> None:
    """A secret that equals the id which stands for a twin: once it is known, the suggestion of that id is blocked."""
    twins = [world.add_item("Engineering", "Twin", ("a", FieldType.TEXT, "b")) for _ in range(2)]
    world.add_item("Engineering", "Planted", ("key", FieldType.SECRET, twins[0].item_id))
    async with in_memory(world.environment) as door:
        assert len(await completed(door, ITEMS, "item", "tw", vault="Engineering")) == 2
        await door.ok("read_secret", reference="r4://Engineering/Planted/key")
        with pytest.raises(MCPError) as caught:
            await completed(door, ITEMS, "item", "tw", vault="Engineering")
    assert caught.value.error.data["code"] == "leak_blocked"
    assert twins[0].item_id not in caught.value.error.model_dump_json()


async def test_typing_asks_the_service_once(world: World) -> None:
    """The keystrokes after the first are answered from memory."""
    async with in_memory(world.environment) as door:
        await completed(door, VAULTS, "vault", "")
        world.tap.exchanges.clear()
        for end in range(len("production") + 1):
            assert "Production" in await completed(door, VAULTS, "vault", "production"[:end])
    assert world.tap.lines() == []
