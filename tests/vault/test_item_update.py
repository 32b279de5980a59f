"""Changing an item: exactly once, to the item that was read, with untouched fields untouched."""

from __future__ import annotations

from typing import Any, Final

import pytest
from starlette.responses import Response

from r4_mcp.core.wire import FieldType, ItemId, VaultId
from r4_mcp.errors import (
    DisagreementError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    VersionConflictError,
)
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_update import FieldChange, ItemChange
from r4_mcp.vault.proven import OpenedItem
from r4_mcp.vault.runtime import VaultRuntime
from tests.doors import POLICY, World, in_memory, write_private
from tests.switchboard import Exchange

from .rooms import draft, runtime
from .test_lost_replies import BrokenOff, Loss, journal_files

NEW: Final = "the value after the change"


def is_patch(exchange: Exchange) -> bool:
    """Match the request that changes an item."""
    return exchange.method == "PATCH"


def new_value(name: str = "Token", text: str = NEW) -> ItemChange:
    """Return a change of one value."""
    return ItemChange(None, (FieldChange(name, value=KnownSecrets().text(text, SecretKind.FIELD)),))


async def made(rooms: VaultRuntime, world: World) -> tuple[VaultId, ItemId]:
    """Create the item that is changed."""
    opened = await rooms.writer.create_item(world.vault_id("Engineering"), draft("Changing", "the value before"))
    return opened.vault.id, opened.item.checkpoint.item_id


async def value_of(rooms: VaultRuntime, opened: OpenedItem, name: str = "Token") -> str:
    """Read one value."""
    field = next(field for field in opened.fields if field.line.name == name)
    located = await rooms.reader.field(opened.vault.id, field.line.id)
    return (await rooms.opener.open_field(located)).reveal()


async def test_only_what_was_asked_for_changes(world: World) -> None:
    """A value, a name, a new field, one less: everything else keeps its instance, and one version is added."""
    async with in_memory(world.environment) as door:
        fields = [{"name": name, "type": "SECRET", "value": f"value of {name}"} for name in ("one", "two", "three")]
        made = await door.ok("create_item", vault="Engineering", name="Before", type="LOGIN", fields=fields)
        changes: list[dict[str, Any]] = [
            {"name": "two", "generate": {"length": 24}},
            {"name": "three", "remove": True},
            {"name": "four", "add": "TEXT", "value": "the fourth"},
        ]
        world.tap.exchanges.clear()
        changed = await door.ok("update_item", reference=made["reference"], name="After", fields=changes)
        sent = next(exchange for exchange in world.tap.exchanges if exchange.method == "PATCH").body.decode()
        assert made["fields"][0]["reference"].endswith("one")
        assert changed["checkpoint_version"] == 2
        assert changed["removed"] == ["three"]
        assert [(field["name"], field["generated"]) for field in changed["fields"]] == [("two", True), ("four", False)]
        values = {}
        for name in ("one", "two", "four"):
            values[name] = (await door.ok("read_secret", reference=f"r4://Engineering/After/{name}"))["value"]
        assert (values["one"], values["four"], len(values["two"])) == ("value of one", "the fourth", 24)
        await door.refused("read_secret", "not_found", reference="r4://Engineering/After/three")
        await door.refused("describe_item", "not_found", reference="r4://Engineering/Before")
    for value in values.values():
        assert value not in sent
        assert value not in str(changed)


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_lost_answer_changes_once(world: World, acts: bool) -> None:  # noqa: FBT001 - a case
    """The same call finds out; one version is added, whatever got lost."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)
        loss = Loss(world, is_patch, times=1, acts=acts)
        world.tap.intercept = loss
        opened = await rooms.writer.update_item(*place, new_value())
        assert opened.item.checkpoint.version == 2
        assert await value_of(rooms, opened) == NEW
    assert len(loss.bodies) == (1 if acts else 2)
    assert journal_files(world) == []


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_the_next_start_finishes_a_change(world: World, acts: bool) -> None:  # noqa: FBT001 - a case
    """The entry holds no plaintext; the retry of the same change makes no second one."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)
        loss = Loss(world, is_patch, times=1, acts=acts)

        async def gone(exchange: Exchange) -> Response | None:
            return await loss(exchange) if not loss.bodies else BrokenOff()

        world.tap.intercept = gone
        with pytest.raises(NetworkError):
            await rooms.writer.update_item(*place, new_value())
    (entry,) = journal_files(world)
    assert NEW not in entry.read_text()
    world.tap.intercept = None
    async with runtime(world) as rooms:
        opened = await rooms.writer.update_item(*place, new_value())
        assert opened.item.checkpoint.version == 2
        assert await value_of(rooms, opened) == NEW
        assert journal_files(world) == []
        other = await rooms.writer.update_item(*place, new_value(text="another value, later"))
        assert other.item.checkpoint.version == 3


async def left_prepared(world: World) -> tuple[VaultId, ItemId]:
    """Leave a change in the journal that never arrived, by a process that is gone."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)

        async def unreachable(exchange: Exchange) -> Response | None:
            return BrokenOff() if is_patch(exchange) else None

        world.tap.intercept = unreachable
        world.tap.exchanges.clear()
        with pytest.raises(NetworkError):
            await rooms.writer.update_item(*place, new_value())
    assert sum(map(is_patch, world.tap.exchanges)) == 2, "a request without an answer is made once more, and not for ever"
    assert len(journal_files(world)) == 1
    world.tap.intercept = None
    return place


async def test_a_change_whose_item_is_gone_is_given_up(world: World) -> None:
    """What can't be made any more does not stay behind."""
    place = await left_prepared(world)
    world.seeded.operator.archive_item(*place)
    async with runtime(world) as rooms:
        with pytest.raises(NotFoundError):
            await rooms.writer.update_item(*place, new_value())
    assert journal_files(world) == []


async def test_a_change_under_an_earlier_key_of_its_vault_is_made_anew(world: World) -> None:
    """The values that were sealed are of no use, and the caller has them still."""
    place = await left_prepared(world)
    world.seeded.operator.rotate_dek(place[0])
    async with runtime(world) as rooms:
        opened = await rooms.writer.update_item(*place, new_value())
        assert opened.item.checkpoint.version == 2
        assert await value_of(rooms, opened) == NEW
    assert journal_files(world) == []


async def test_a_change_that_is_acknowledged_and_not_served_is_no_change(world: World) -> None:
    """Only what is served and proven counts as stored; the entry stays, for the next attempt."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)

        async def nod(exchange: Exchange) -> Response | None:
            return Response(f'{{"id":"{place[1]}"}}'.encode(), status_code=200) if is_patch(exchange) else None

        world.tap.intercept = nod
        with pytest.raises(DisagreementError, match="does not serve it"):
            await rooms.writer.update_item(*place, new_value())
        assert len(journal_files(world)) == 1
        world.tap.intercept = None
        assert await value_of(rooms, await rooms.writer.update_item(*place, new_value())) == NEW
    assert journal_files(world) == []


async def test_a_change_of_somebody_else_is_not_overwritten(world: World) -> None:
    """Between the read and the request somebody changes the item: nothing is stored, and the caller hears of it."""
    elsewhere = {**world.environment, "R4_HOME": str(world.home / "elsewhere")}
    async with runtime(world) as mine, runtime(world, elsewhere) as other:
        place = await made(mine, world)

        async def first(exchange: Exchange) -> Response | None:
            if is_patch(exchange):
                world.tap.intercept = None
                await other.writer.update_item(*place, new_value(text="the value of the other"))
            return None

        world.tap.intercept = first
        with pytest.raises(VersionConflictError):
            await mine.writer.update_item(*place, new_value())
        opened = await mine.reader.item(*place)
        assert await value_of(mine, opened) == "the value of the other"
    assert journal_files(world) == []


async def test_a_change_beside_another_item_is_signed_anew(world: World) -> None:
    """Only the vault moved meanwhile: the same change is made above it, with the same ids."""
    async with runtime(world) as mine, runtime(world) as other:
        place = await made(mine, world)
        bodies: list[bytes] = []

        async def first(exchange: Exchange) -> Response | None:
            if is_patch(exchange):
                bodies.append(exchange.body)
                if len(bodies) == 1:
                    await other.writer.create_item(place[0], draft("Neighbour"))
            return None

        world.tap.intercept = first
        opened = await mine.writer.update_item(*place, new_value())
        assert await value_of(mine, opened) == NEW
        assert len(bodies) == 2


async def test_a_refusal_changes_nothing(world: World) -> None:
    """A clear refusal settles the entry; the item is as it was."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)

        async def refuse(exchange: Exchange) -> Response | None:
            return Response(b'{"error":{"code":"permission_denied"}}', status_code=403) if is_patch(exchange) else None

        world.tap.intercept = refuse
        with pytest.raises(PermissionDeniedError):
            await rooms.writer.update_item(*place, new_value())
        assert await value_of(rooms, await rooms.reader.item(*place)) == "the value before"
    assert journal_files(world) == []


BAD: Final = {
    "a field that is not there": ItemChange(None, (FieldChange("Nope", remove=True),)),
    "a value for a field that is not there": new_value("Nope"),
    "a new field of a name that is there": ItemChange(
        None, (FieldChange("Token", value=KnownSecrets().text("x", SecretKind.FIELD), add=FieldType.TEXT),)
    ),
    "a type for a field that is not there": ItemChange(None, (FieldChange("Nope", retype=FieldType.TEXT),)),
    "the last field": ItemChange(None, (FieldChange("Token", remove=True),)),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
async def test_what_can_not_be_changed_is_refused_before_anything_is_sent(world: World, change: ItemChange) -> None:
    """Nothing leaves, nothing is in the journal."""
    async with runtime(world) as rooms:
        place = await made(rooms, world)
        world.tap.exchanges.clear()
        with pytest.raises(InvalidArgumentError):
            await rooms.writer.update_item(*place, change)
        assert not any(is_patch(exchange) for exchange in world.tap.exchanges)
    assert journal_files(world) == []


async def test_of_two_fields_of_one_name_none_is_chosen(world: World) -> None:
    """Which one was meant is not for us to guess."""
    twins = world.add_item("Engineering", "Twins", ("Token", FieldType.SECRET, "one"), ("Token", FieldType.SECRET, "other"))
    world.tap.exchanges.clear()
    async with runtime(world) as rooms:
        with pytest.raises(InvalidArgumentError, match="several fields of that name"):
            await rooms.writer.update_item(world.vault_id("Engineering"), twins.item_id, new_value())
    assert not any(map(is_patch, world.tap.exchanges))


CALLS: Final[dict[str, dict[str, Any]]] = {
    "nothing to change": {},
    "both a value and a wish": {"fields": [{"name": "a", "value": "x", "generate": {"length": 20}}]},
    "neither": {"fields": [{"name": "a"}]},
    "removing with a value": {"fields": [{"name": "a", "remove": True, "value": "canary-zebra"}]},
    "one field twice": {"fields": [{"name": "a", "value": "x"}, {"name": "a", "remove": True}]},
    "a type that is none": {"fields": [{"name": "a", "add": "FILE", "value": "x"}]},
    "an empty name": {"name": " "},
}


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
async def test_a_call_that_makes_no_sense_is_refused(world: World, arguments: dict[str, Any]) -> None:
    """The argument is named, its value is not."""
    async with in_memory(world.environment) as door:
        fields = [{"name": "a", "type": "SECRET", "value": "some value"}, {"name": "b", "type": "TEXT", "value": "b"}]
        made = await door.ok("create_item", vault="Engineering", name="Sense", type="LOGIN", fields=fields)
        payload = await door.refused("update_item", "invalid_argument", reference=made["reference"], **arguments)
        assert "zebra" not in str(payload)


RULES: Final = {
    "of its id": 'item = "{item}"\nfield = "{field}"',
    "of its type": 'field_type = ["PASSWORD"]',
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("action", ["reveal", "use"])
async def test_a_field_that_a_rule_holds_is_not_replaced_by_one_that_it_does_not(world: World, rule: str, action: str) -> None:
    """Removed and added again under its name, in one call or in two, it would be free of the rule."""
    vault_id = world.vault_id("Engineering")
    fields = (("Password", FieldType.PASSWORD, "one"), ("Other", FieldType.SECRET, "other"))
    made = world.add_item("Engineering", "Held", *fields)
    held = rule.format(item=made.item_id, field=made.field_ids[0])
    text = f'[[rule]]\naction = ["{action}"]\ndecision = "deny"\nvault = "{vault_id}"\n{held}\n'
    write_private(world.home / "policy.toml", text + POLICY)
    gone = {"name": "Password", "remove": True}
    again = {"name": "Password", "add": "SECRET", "generate": {"length": 20}}
    async with in_memory(world.environment) as door:
        for change in ([gone], [gone, again]):
            told = await door.result("update_item", {"reference": "r4://Engineering/Held", "fields": change})
            assert told.is_error
        await door.refused("update_item", "denied", reference="r4://Engineering/Held", fields=[gone])
        await door.ok("update_item", reference="r4://Engineering/Held", fields=[{"name": "Other", "remove": True}])
        await door.ok("update_item", reference="r4://Engineering/Held", fields=[{"name": "Password", "value": "in place"}])


async def test_a_new_value_is_no_name(world: World) -> None:
    """Names are not encrypted; what was just given as a value is a secret already."""
    value = "a value that nobody is to list"
    async with in_memory(world.environment) as door:
        reference = "r4://Engineering/GitHub"
        one = {"name": "Password", "value": value}
        new = {"name": value, "add": "SECRET", "value": value}
        await door.refused("update_item", "secret_in_text", reference=reference, name=value, fields=[one])
        await door.refused("update_item", "secret_in_text", reference=reference, fields=[new])
