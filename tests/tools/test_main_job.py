"""The main job over loopback HTTP: look around, read, create, archive, report."""

from __future__ import annotations

import string
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyotp
import pytest

from r4_mcp.core.wire import FieldType
from r4_mcp.machine.contract import Level
from r4_mcp.sinks.spellings import MIN_SUBSTRING, spellings
from tests.doors import Door, World, in_memory

from .schemas import check_result

FIELDS_OF_THE_SEED: Final = 37
"""Readable and FILE fields together; a number, so that a loop over nothing can't pass."""


async def descriptions(door: Door) -> list[dict[str, Any]]:
    """Describe every item of every vault."""
    found = []
    for vault in (await door.ok("list_vaults"))["vaults"]:
        items = (await door.ok("list_items", vault=vault["reference"]))["items"]
        found += [await door.ok("describe_item", reference=item["reference"]) for item in items]
    return found


async def test_every_vault_of_the_seed_is_listed_and_verified(calm: World) -> None:
    """Four vaults, by their signed names, with their signed classification and count."""
    async with in_memory(calm.environment) as door:
        listed = await door.ok("list_vaults")
    check_result("list_vaults", listed)
    lines = {vault["name"]: vault for vault in listed["vaults"]}
    assert {name: line["id"] for name, line in lines.items()} == dict(calm.seeded.vaults)
    assert all(line["verified"] and line["problem"] is None for line in lines.values())
    told = {name: (line["reference"], line["classification"], line["item_count"]) for name, line in lines.items()}
    assert told == {
        "Production": ("r4://Production", "CONFIDENTIAL", 6),
        "Engineering": ("r4://Engineering", "INTERNAL", 5),
        "Public Site": ("r4://Public%20Site", "PUBLIC", 2),
        "Personal Sandbox": ("r4://Personal%20Sandbox", None, 3),
    }


async def test_a_project_narrows_the_listing(calm: World) -> None:
    """By name, in any case, or by id; an unknown one is not found."""
    async with in_memory(calm.environment) as door:
        for project in ("Website Relaunch", "website relaunch", calm.seeded.project_id):
            names = {vault["name"] for vault in (await door.ok("list_vaults", project=project))["vaults"]}
            assert names == {"Engineering", "Public Site"}
        await door.refused("list_vaults", "not_found", project="No Such Project")
    async with in_memory({**calm.environment, "R4_PROJECT_ID": calm.seeded.project_id}) as door:
        assert len((await door.ok("list_vaults"))["vaults"]) == 2
        await door.refused("list_items", "not_found", vault="Production")


async def test_every_field_of_the_seed_reads_as_the_operator_sealed_it(calm: World) -> None:
    """Every value equals the operator's; a TOTP field gives the code; a FILE field is refused; listings hold none of it."""
    plaintexts = calm.plaintexts()
    seen = 0
    async with in_memory(calm.environment) as door:
        items = await descriptions(door)
        listings = "\n".join([*door.raw, (await door.client.list_tools()).model_dump_json()])
        for item in items:
            check_result("describe_item", item)
            assert item["verified"]
            assert item["signed_by"]["kind"] == "human"
            for field in item["fields"]:
                seen += 1
                if field["type"] == "FILE":
                    await door.refused("read_secret", "not_readable", reference=field["reference"])
                    continue
                revealed = await door.ok("read_secret", reference=field["reference"])
                check_result("read_secret", revealed)
                assert (revealed["item"], revealed["field"], revealed["type"]) == (item["name"], field["name"], field["type"])
                assert revealed["verified"] is True
                assert field["secret"] is (field["type"] in {"PASSWORD", "SECRET", "TOTP"})
                if field["type"] == "TOTP":
                    check_code(revealed, plaintexts[field["id"]])
                    assert plaintexts[field["id"]] not in door.raw[-1]
                else:
                    assert revealed["value"] == plaintexts[field["id"]]
                    assert revealed["remaining_seconds"] is None
    assert seen == FIELDS_OF_THE_SEED
    assert_holds_none(listings, plaintexts.values(), public={"https://github.com/login", "staging", "Alex"})


def check_code(revealed: dict[str, Any], seed: str) -> None:
    """The code is the seed's for now; the step may have turned since."""
    now = time.time()
    assert revealed["value"] in {pyotp.TOTP(seed).at(int(now) - back) for back in (0, 30)}
    assert 1 <= revealed["remaining_seconds"] <= 30


def assert_holds_none(text: str, values: Iterable[str], public: set[str]) -> None:
    """No value stands in the text in any spelling; short ones and public ones (names, websites) are other tests' business."""
    checked = 0
    for value in values:
        if len(value) < MIN_SUBSTRING or value in public:
            continue
        checked += 1
        assert not [needle for needle in spellings(value) if needle in text]
    assert checked >= 20


async def test_one_field_is_found_in_every_way_of_naming_it(calm: World) -> None:
    """By names, in any case, by ids, by both, by SCREAMING key, by its item alone: one value."""
    async with in_memory(calm.environment) as door:
        item = await door.ok("describe_item", reference="r4://Engineering/Sentry")
        field = item["fields"][0]
        operator_value = calm.plaintexts()[field["id"]]
        vault_id = calm.vault_id("Engineering")
        for reference in (
            "r4://Engineering/Sentry/Auth%20Token",
            "r4://engineering/SENTRY/auth%20token",
            "r4://Engineering/Sentry/Auth Token",
            f"r4://{vault_id}/{item['id']}/{field['id']}",
            f"r4://{vault_id}/Sentry/{field['id']}",
            f"r4://Engineering/{item['id']}/Auth%20Token",
            f"r4://Engineering/{item['id']}/{field['id']}",
            "SENTRY_AUTH_TOKEN",
            "r4://Engineering/Sentry",
            f"r4://{vault_id}/{item['id']}",
            field["reference"],
        ):
            assert (await door.ok("read_secret", reference=reference))["value"] == operator_value, reference
        assert field["key"] == "SENTRY_AUTH_TOKEN"


async def test_the_documented_screaming_keys_read(calm: World) -> None:
    """The three examples of R4's documentation, as far as the seed has them."""
    async with in_memory(calm.environment) as door:
        assert (await door.ok("read_secret", reference="PRODUCTION_DB_USERNAME"))["value"] == "app"
        assert (await door.ok("read_secret", reference="AWS_CREDENTIALS_ACCESS_KEY"))["field"] == "Access Key"
        cache = await door.ok("read_secret", reference="MY_REDIS_CACHE_CONNECTION_STRING")
        assert cache["value"].startswith("redis://default:")
        await door.refused("read_secret", "not_found", reference="NO_SUCH_KEY")


async def test_an_item_with_several_secrets_names_them(calm: World) -> None:
    """The item alone is ambiguous; each candidate then reads another value."""
    async with in_memory(calm.environment) as door:
        told = await door.refused("read_secret", "ambiguous_reference", reference="r4://Production/Stripe")
        values = {(await door.ok("read_secret", reference=candidate))["value"] for candidate in told["candidates"]}
        assert len(told["candidates"]) == len(values) == 2
        assert values < set(calm.plaintexts().values())
        # No secret field at all: every field is a candidate.
        told = await door.refused("read_secret", "ambiguous_reference", reference="r4://Public%20Site/Analytics")
        assert len(told["candidates"]) == 2


async def test_names_that_fit_several_things_are_never_chosen_between(world: World) -> None:
    """Two items of one name, two fields of one SCREAMING key, two vaults that differ in case: candidates, each of which works."""
    first = world.add_item("Engineering", "Twin", ("Token", FieldType.SECRET, "first twin value"))
    second = world.add_item("Engineering", "twin", ("Token", FieldType.SECRET, "second twin value"))
    operator, agent = world.seeded.operator, world.seeded.credentials.agent_id
    twins = [operator.create_vault("Double"), operator.create_vault("double")]
    for vault_id in twins:
        operator.grant(agent, vault_id, Level.READ)
    async with in_memory(world.environment) as door:
        told = await door.refused("describe_item", "ambiguous_reference", reference="r4://Engineering/TWIN")
        found = {(await door.ok("describe_item", reference=candidate))["id"] for candidate in told["candidates"]}
        assert found == {first.item_id, second.item_id}
        # Exact comes before case-insensitive.
        assert (await door.ok("describe_item", reference="r4://Engineering/Twin"))["id"] == first.item_id
        told = await door.refused("read_secret", "ambiguous_reference", reference="TWIN_TOKEN")
        values = {(await door.ok("read_secret", reference=candidate))["value"] for candidate in told["candidates"]}
        assert values == {"first twin value", "second twin value"}
        told = await door.refused("list_items", "ambiguous_reference", vault="DOUBLE")
        assert {(await door.ok("list_items", vault=candidate))["vault"] for candidate in told["candidates"]} == {
            f"r4://{vault_id}" for vault_id in twins
        }
        # Listings give references that work, so these are by id.
        items = (await door.ok("list_items", vault="Engineering"))["items"]
        assert {line["reference"] for line in items if line["name"].casefold() == "twin"} == {
            f"r4://Engineering/{first.item_id}",
            f"r4://Engineering/{second.item_id}",
        }


async def test_a_vault_and_an_item_are_created_read_and_archived(world: World) -> None:
    """What was given reads back; what was generated has its length and alphabet; neither is echoed."""
    alphabets = {
        "alphanumeric": set(string.ascii_letters + string.digits),
        "hex": set("0123456789abcdef"),
        "digits": set(string.digits),
        "symbols": set(string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~"),
    }
    given = "  spaces kept, ünïcode kept\n"
    fields: list[dict[str, Any]] = [{"name": "given", "type": "SECRET", "value": given}]
    fields += [
        {"name": word, "type": "PASSWORD", "generate": {"length": 40 + number, "alphabet": word}}
        for number, word in enumerate(alphabets)
    ]
    fields.append({"name": "default", "type": "SECRET", "generate": {}})
    async with in_memory(world.environment) as door:
        vault = await door.ok("create_vault", name="New Vault", classification="CUI", project="Website Relaunch")
        assert vault["classification"] == "CUI"
        assert vault["reference"] == "r4://New%20Vault"
        item = await door.ok(
            "create_item", vault="New Vault", name="New Item", type="API_KEY", websites=["https://a.example"], fields=fields
        )
        check_result("create_item", item)
        created = door.raw[-1]
        assert [field["generated"] for field in item["fields"]] == [False, *[True] * 5]
        described = await door.ok("describe_item", reference=item["reference"])
        assert described["signed_by"]["kind"] == "agent"
        assert described["websites"] == ["https://a.example"]
        values = {}
        for field in item["fields"]:
            values[field["name"]] = (await door.ok("read_secret", reference=field["reference"]))["value"]
        assert values["given"] == given
        for number, (word, characters) in enumerate(alphabets.items()):
            assert len(values[word]) == 40 + number
            assert set(values[word]) <= characters
        assert len(values["default"]) == 32
        assert len(set(values.values())) == len(values)
        assert not [value for value in values.values() for needle in spellings(value) if needle in created]
        archived = await door.ok("archive_item", reference=item["reference"])
        assert (archived["kind"], archived["id"]) == ("item", item["id"])
        assert (await door.ok("list_items", vault="New Vault"))["items"] == []
        await door.refused("read_secret", "not_found", reference=item["fields"][0]["reference"])
        archived = await door.ok("archive_vault", reference="r4://New%20Vault")
        assert (archived["kind"], archived["id"]) == ("vault", vault["id"])
        assert "New Vault" not in {line["name"] for line in (await door.ok("list_vaults"))["vaults"]}
        await door.refused("list_items", "not_found", vault="New Vault")


async def test_a_report_reaches_the_service_word_for_word(world: World) -> None:
    """Surface MCP, the three texts, and the id that the service gave."""
    async with in_memory(world.environment) as door:
        told = await door.ok("report_gap", summary="Bulk — rotation", details="One\ncall per item.", desired_outcome="Fewer.")
    with world.store.read() as db:
        row = db.execute("SELECT id, surface, summary, details, desired_outcome FROM feedback").fetchone()
    assert tuple(row) == (told["feedback_id"], "MCP", "Bulk — rotation", "One\ncall per item.", "Fewer.")


@pytest.mark.parametrize(("by", "most"), [("names", 5), ("ids", 4)])
async def test_one_read_takes_few_requests(calm: World, by: str, most: int, tmp_path: Path) -> None:
    """Five by names, four by ids; the first call of a home, and of no process after it, adds one ``GET /me``."""
    environment = {**calm.environment, "R4_HOME": str(tmp_path / "home")}
    for number in range(2):
        calm.tap.exchanges.clear()
        async with in_memory(environment) as door:
            item = await door.ok("describe_item", reference="r4://Engineering/Sentry")
        assert calm.tap.lines().count("GET /me") == 1 - number
    async with in_memory(environment) as door:
        ids = f"r4://{calm.vault_id('Engineering')}/{item['id']}/{item['fields'][0]['id']}"
        for _ in range(2):
            calm.tap.exchanges.clear()
            await door.ok("read_secret", reference=ids if by == "ids" else item["fields"][0]["reference"])
            assert len(calm.tap.exchanges) <= most
            assert all(exchange.method == "GET" for exchange in calm.tap.exchanges)
            assert "GET /me" not in calm.tap.lines()


async def test_paging_gives_every_item_once(world: World) -> None:
    """Pages of two through one vault: all items, in order, none twice; the cursor holds in another process of the agent."""
    async with in_memory(world.environment) as door:
        whole = [line["id"] for line in (await door.ok("list_items", vault="Production"))["items"]]
    found: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        async with in_memory(world.environment) as door:
            more = {} if cursor is None else {"cursor": cursor}
            page = await door.ok("list_items", vault="Production", limit=2, **more)
        assert page["total"] == 6
        found += [line["id"] for line in page["items"]]
        cursor = page["next_cursor"]
        pages += 1
    assert (found, pages) == (whole, 3)
