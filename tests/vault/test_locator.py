"""Locating: names count only once signed, and an attack on one vault never steers a search to another."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.wire import FieldType
from r4_mcp.errors import AmbiguousReferenceError, DisagreementError, NotFoundError, ReferenceSyntaxError, VerificationError
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_update import FieldChange, ItemChange
from tests.doors import World
from tests.switchboard import Exchange

from .rooms import runtime
from .test_reader import genuine_answer


async def renamed_list(world: World, renames: dict[str, str]) -> None:
    """Serve the unsigned vault list with other names, alone and in a sync."""

    async def intercept(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith(("/vault", "/vault/sync")):
            return None
        genuine = await genuine_answer(world, exchange)
        lines: list[dict[str, Any]] = [vault.get("vault", vault) for vault in genuine["vaults"]]
        for line in lines:
            line["name"] = renames.get(line["name"], line["name"])
        return JSONResponse(genuine)

    world.tap.intercept = intercept


async def test_a_listed_name_that_is_not_the_signed_one_is_refused(world: World) -> None:
    """Rule 1: the service swaps two names in the unsigned list; nothing is found in the wrong vault."""
    world.add_item("Production", "Sentry", ("Auth Token", FieldType.SECRET, "the look-alike's value"))
    await renamed_list(world, {"Engineering": "Production", "Production": "Engineering"})
    async with runtime(world) as one:
        for reference in ("r4://Engineering/Sentry/Auth%20Token", "r4://Engineering/Sentry"):
            with pytest.raises(DisagreementError):
                await one.locator.field(reference)
        with pytest.raises(DisagreementError):
            await one.locator.vault("Engineering")
        with pytest.raises(DisagreementError):
            await one.locator.listed_item("r4://Engineering/Sentry")
        # By id there is no listed name to be wrong.
        assert (await one.locator.vault(world.vault_id("Engineering"))).vault.summary.checkpoint.name == "Engineering"


async def test_a_listing_that_lies_is_shown_as_unverified(world: World) -> None:
    """``list_vaults`` gives its id, and says that the list disagreed."""
    from tests.doors import in_memory  # noqa: PLC0415 - the only use

    await renamed_list(world, {"Engineering": "Totally Engineering"})
    async with in_memory(world.environment) as door:
        lines = {vault["id"]: vault for vault in (await door.ok("list_vaults"))["vaults"]}
    line = lines[world.vault_id("Engineering")]
    assert (line["verified"], line["problem"]) == (False, "served_differs_from_signed")
    assert line["reference"] == f"r4://{line['id']}"
    assert sum(vault["verified"] for vault in lines.values()) == 3


async def test_one_vault_that_does_not_verify_stops_a_screaming_search(world: World) -> None:
    """Rule 2: skipping it would let a service steer the key to a look-alike elsewhere."""
    world.add_item("Personal Sandbox", "Sentry", ("Auth Token", FieldType.SECRET, "the look-alike's value"))

    async def break_engineering(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith(f"{world.vault_id('Engineering')}/items"):
            return None
        genuine = await genuine_answer(world, exchange)
        genuine.update(items=genuine["items"][1:], count=genuine["count"] - 1)
        return JSONResponse(genuine)

    async with runtime(world) as one:
        with pytest.raises(AmbiguousReferenceError):
            await one.locator.field("SENTRY_AUTH_TOKEN")
        world.tap.intercept = break_engineering
        with pytest.raises(VerificationError):
            await one.locator.field("SENTRY_AUTH_TOKEN")


async def test_a_screaming_key_of_two_splits_is_found_whichever_it_is(world: World) -> None:
    """AWS / CREDENTIALS_ACCESS_KEY and AWS_CREDENTIALS / ACCESS_KEY are one key: an ambiguity, never a choice."""
    world.add_item("Engineering", "AWS", ("Credentials Access Key", FieldType.SECRET, "another split"))
    async with runtime(world) as one:
        with pytest.raises(AmbiguousReferenceError) as caught:
            await one.locator.field("AWS_CREDENTIALS_ACCESS_KEY")
    assert len(caught.value.candidates) == 2


async def test_names_that_can_not_be_parts_are_addressed_by_id(world: World) -> None:
    """``..``, a name that looks like an id, and names with slashes and percents: each listed reference leads back."""
    names = ["..", "0" * 24, "a/b", "50%", "ünïcode ✓", "?#", " padded "]
    ids = {name: world.add_item("Engineering", name, ("Token", FieldType.SECRET, f"value of {name}")).item_id for name in names}
    async with runtime(world) as one:
        for name, item_id in ids.items():
            found = await one.locator.item(f"r4://Engineering/{item_id}")
            again = await one.locator.item(found.reference)
            assert again.opened.item.checkpoint.item_id == item_id, name
            assert (item_id in found.reference) is (name in {"..", "0" * 24})


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        ("r4://Engineering", ReferenceSyntaxError),
        ("r4://Engineering/Sentry/Auth Token/more", ReferenceSyntaxError),
        ("r4://Engineering/Sentry/No Such Field", NotFoundError),
        ("r4://Engineering/No Such Item/x", NotFoundError),
        ("r4://Engineering/" + "0" * 24 + "/" + "0" * 24, NotFoundError),
        ("Engineering", ReferenceSyntaxError),
        ("", ReferenceSyntaxError),
    ],
)
async def test_what_is_no_field_is_refused(calm: World, reference: str, error: type[Exception]) -> None:
    """Each with its class."""
    async with runtime(calm) as one:
        with pytest.raises(error):
            await one.locator.field(reference)


@pytest.mark.parametrize(
    ("find", "references"),
    [
        ("vault", ["r4://Engineering/Sentry", "r4://Engineering/Sentry/Auth%20Token"]),
        ("item", ["r4://Engineering", "r4://Engineering/Sentry/Auth%20Token"]),
        ("listed_item", ["r4://Engineering", "r4://Engineering/Sentry/Auth%20Token"]),
    ],
)
async def test_a_reference_of_another_length_is_refused_before_anything_is_asked(
    calm: World, find: str, references: list[str]
) -> None:
    """Nothing is cut off, and nothing is filled in."""
    async with runtime(calm) as one:
        calm.tap.exchanges.clear()
        for reference in references:
            with pytest.raises(ReferenceSyntaxError, match="reference has"):
                await getattr(one.locator, find)(reference)
    assert calm.tap.lines() == []


async def test_a_field_id_of_another_item_is_not_found(calm: World) -> None:
    """A reference by ids names one item; a field of another one is not read through it."""
    async with runtime(calm) as one:
        sentry = await one.locator.item("r4://Engineering/Sentry")
        github = await one.locator.item("r4://Engineering/GitHub")
        vault_id = calm.vault_id("Engineering")
        item_id, field_id = github.opened.item.checkpoint.item_id, sentry.opened.fields[0].line.id
        with pytest.raises(NotFoundError):
            await one.locator.field(f"r4://{vault_id}/{item_id}/{field_id}")


async def test_a_name_is_found_among_vaults_granted_later(world: World) -> None:
    """Nothing of the unsigned list is remembered between calls."""
    operator = world.seeded.operator
    async with runtime(world) as one:
        await one.registration.ensure()
        with pytest.raises(NotFoundError):
            await one.locator.vault("Later")
        vault_id = operator.create_vault("Later")
        operator.grant(world.seeded.credentials.agent_id, vault_id, Level.READ)
        assert (await one.locator.vault("later")).vault.id == vault_id


async def test_a_swapped_name_is_refused_before_anything_is_looked_up(world: World) -> None:
    """A list that gives one vault the name of another: no item of the wrong one is fetched."""
    await renamed_list(world, {"Engineering": "Production", "Production": "Engineering"})
    async with runtime(world) as one:
        with pytest.raises(DisagreementError):
            await one.locator.item("r4://Engineering/Sentry")
    assert not [line for line in world.tap.lines() if "/items/" in line]


async def test_what_is_not_there_is_looked_for_once(world: World) -> None:
    """Where nothing came from memory, asking again would bring the same."""
    async with runtime(world) as one:
        await one.registration.ensure()
        world.tap.exchanges.clear()
        with pytest.raises(NotFoundError):
            await one.locator.vault("Nope")
        assert world.tap.lines() == ["GET /vault"]
        with pytest.raises(NotFoundError, match="SCREAMING"):
            await one.locator.field("NOT_A_KEY_OF_THIS_WORLD")


async def test_an_item_that_somebody_changed_is_looked_at_as_it_is_now(world: World) -> None:
    """It had one secret field when it was remembered; with a second one, none of them is meant without its name."""
    made = world.add_item("Engineering", "Single", ("Token", FieldType.SECRET, "the first"))
    elsewhere = {**world.environment, "R4_HOME": str(world.home / "elsewhere")}
    value = KnownSecrets().text("the second", SecretKind.FIELD)
    async with runtime(world) as mine, runtime(world, elsewhere) as other:
        await mine.locator.item("r4://Engineering/Single")
        assert (await mine.locator.field("r4://Engineering/Single")).located.field.line.id == made.field_ids[0]
        change = ItemChange(None, (FieldChange("Second", value=value, add=FieldType.SECRET),))
        await other.writer.update_item(world.vault_id("Engineering"), made.item_id, change)
        with pytest.raises(AmbiguousReferenceError, match="2 secret fields"):
            await mine.locator.field("r4://Engineering/Single")
