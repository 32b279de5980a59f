"""Resources through a client, in both eras: what the tools list, as JSON, and never a value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError
from starlette.responses import Response

from r4_mcp.core.wire import FieldType
from r4_mcp.machine.contract import Level
from tests.doors import ERAS, POLICY, Door, Era, World, compact, in_memory, subprocess, write_private
from tests.switchboard import Exchange

INDEX: Final = "r4-index://vaults"
TEMPLATES: Final = ["r4://{vault}", "r4://{vault}/{item}"]
UNSIGNED: Final = {"dataClassification": None, "summaryCheckpoint": None}
CLOSED: Final = '[defaults]\nlist = "deny"\n'

every_era = pytest.mark.parametrize("era", ERAS)


async def read(door: Door, uri: str) -> dict[str, Any]:
    """Read a resource: one text, compact JSON, under the URI that was asked for."""
    result = await door.client.read_resource(uri)
    (content,) = result.contents
    assert isinstance(content, types.TextResourceContents)
    assert (content.uri, content.mime_type) == (uri, "application/json")
    payload: dict[str, Any] = json.loads(content.text)
    assert content.text == compact(payload)
    door.raw.append(result.model_dump_json(by_alias=True))
    return payload


async def refused(door: Door, uri: str) -> MCPError:
    """Read a resource that must be refused: one sentence, and the same as data with a next step."""
    with pytest.raises(MCPError) as caught:
        await door.client.read_resource(uri)
    told = caught.value.error
    assert told.data["message"] == told.message
    assert set(told.data) - {"candidates", "uri"} == {"code", "message", "next_step"}
    return caught.value


async def every_resource(door: Door) -> list[types.Resource]:
    """Follow the cursors to the end."""
    found: list[types.Resource] = []
    cursor: str | None = None
    while True:
        page = await door.client.list_resources(cursor=cursor)
        found += page.resources
        cursor = page.next_cursor
        if cursor is None:
            return found


def audited(world: World) -> list[dict[str, Any]]:
    """Return the audit log, as it stands in the file."""
    return [json.loads(line) for line in (world.home / "audit" / "audit.jsonl").read_text().splitlines()]


@every_era
async def test_a_resource_is_what_the_tool_of_the_same_listing_gives(era: Era, calm: World) -> None:
    """Vaults, items, fields; spelled by name, in another case, percent-encoded or by id."""
    async with in_memory(calm.environment, era) as door:
        assert await read(door, INDEX) == await door.ok("list_vaults")
        for vault in ("r4://Production", "r4://production", "r4://Public%20Site", f"r4://{calm.vault_id('Engineering')}"):
            assert await read(door, vault) == await door.ok("list_items", vault=vault)
        for item in ("r4://Production/Stripe", "r4://Production/GitHub%20Production", "r4://production/stripe"):
            assert await read(door, item) == await door.ok("describe_item", reference=item)


@every_era
async def test_the_index_comes_first_and_then_each_visible_vault(era: Era, calm: World) -> None:
    """Each can be read; names as signed, URIs as references."""
    async with in_memory(calm.environment, era) as door:
        listed = await every_resource(door)
        vaults = (await door.ok("list_vaults"))["vaults"]
        assert [resource.uri for resource in listed] == [INDEX, *(line["reference"] for line in vaults)]
        assert [resource.name for resource in listed[1:]] == [line["name"] for line in vaults]
        for resource in listed:
            assert resource.mime_type == "application/json"
            assert await read(door, resource.uri)
        templates = (await door.client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == TEMPLATES


@every_era
async def test_many_vaults_are_listed_in_pages(era: Era, world: World) -> None:
    """Fifty vaults a page, the index on the first one only; a cursor of another listing or a changed one is refused."""
    operator, agent = world.seeded.operator, world.agent_members()["agentId"]
    for number in range(60):
        operator.grant(agent, operator.create_vault(f"Vault {number:02}"), Level.READ)
    async with in_memory(world.environment, era) as door:
        first = await door.client.list_resources()
        assert len(first.resources) == 51
        listed = await every_resource(door)
        assert len({resource.uri for resource in listed}) == len(listed) == 65
        assert first.next_cursor is not None
        items = await door.ok("list_items", vault="Production", limit=1)
        for wrong in ("x", first.next_cursor[:-2] + "AA", items["next_cursor"]):
            with pytest.raises(MCPError) as caught:
                await door.client.list_resources(cursor=wrong)
            assert (caught.value.error.code, caught.value.error.data["code"]) == (-32602, "invalid_argument")
        # A resource has no pages: its cursor is the tool's.
        index = await read(door, INDEX)
        more = await door.ok("list_vaults", cursor=index["next_cursor"])
        assert len(index["vaults"]) + len(more["vaults"]) == 64


NOT_THERE: Final = "the code of the era for what is not there"
REFUSED: Final[dict[str, tuple[str, int | str, str]]] = {
    "a vault that nobody has": ("r4://Canary-zebra", NOT_THERE, "not_found"),
    "an item that nobody has": ("r4://Production/Canary-zebra", NOT_THERE, "not_found"),
    "an id that nobody has": (f"r4://{'c' * 24}", NOT_THERE, "not_found"),
    "another scheme": ("file:///canary-zebra", NOT_THERE, "not_found"),
    "our index with something behind": ("r4-index://vaults/canary-zebra", NOT_THERE, "not_found"),
    "our index in another case": ("R4-INDEX://canary-zebra", NOT_THERE, "not_found"),
    "a field": ("r4://Production/Stripe/Canary-zebra", -32602, "invalid_reference"),
    "four parts": ("r4://canary/zebra/a/b", -32602, "invalid_reference"),
    "no part": ("r4://", -32602, "invalid_reference"),
    "an empty part": ("r4://canary-zebra/", -32602, "invalid_reference"),
    "a dot name": ("r4://canary-zebra/..", -32602, "invalid_reference"),
    "a dot name that is encoded": ("r4://canary-zebra/%2e%2e", -32602, "invalid_reference"),
    "half an escape": ("r4://canary-zebra%2", -32602, "invalid_reference"),
    "a query": ("r4://Production?canary-zebra", -32602, "invalid_reference"),
    "too long": ("r4://" + "canary-zebra" * 1000, -32602, "invalid_reference"),
}


@every_era
@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_resource_is_refused(what: str, era: Era, calm: World) -> None:
    """The era's own code, our own code, one sentence; a URI that is not there stands beside it, and nowhere else."""
    uri, number, code = REFUSED[what]
    if number == NOT_THERE:
        number = -32602 if era == "auto" else -32002
    async with in_memory(calm.environment, era) as door:
        error = (await refused(door, uri)).error
        assert (error.code, error.data["code"]) == (number, code)
        assert error.data.pop("uri", None) == (uri if code == "not_found" else None)
        assert "zebra" not in error.model_dump_json().casefold()


UNREPEATED: Final = {
    "no URI at all": "canary-zebra",
    "a line break": "file:///canary\nzebra",
    "a character that can't be seen": "file:///canary-zebra\u202e",
    "too long": "file:///" + "canary-zebra/" * 1000,
    "the shape of a secret": f"https://canary-zebra/{'Xk9vQ2mT7wPz4RbN8sLd3HfJ'}",
}


@every_era
@pytest.mark.parametrize("what", UNREPEATED)
async def test_what_is_no_uri_or_may_be_a_secret_is_not_given_back(what: str, era: Era, calm: World) -> None:
    """It is not there all the same."""
    async with in_memory(calm.environment, era) as door:
        error = (await refused(door, UNREPEATED[what])).error
        assert error.data["code"] == "not_found"
        assert "uri" not in error.data
        assert "zebra" not in error.model_dump_json().casefold()


async def test_a_uri_that_holds_a_value_is_not_given_back(calm: World) -> None:
    """One that was read before, in any case of a mistake."""
    async with in_memory(calm.environment) as door:
        value = (await door.ok("read_secret", reference="r4://Engineering/GitHub/Password"))["value"]
        error = (await refused(door, f"https://example.com/{value}")).error
        assert (error.data["code"], "uri" in error.data) == ("not_found", False)
        assert value not in error.model_dump_json()


@every_era
async def test_an_ambiguous_name_comes_with_candidates(era: Era, world: World) -> None:
    """Each candidate can be read."""
    for _ in range(2):
        world.add_item("Engineering", "Twin", ("a", FieldType.TEXT, "b"))
    async with in_memory(world.environment, era) as door:
        error = (await refused(door, "r4://Engineering/Twin")).error
        assert (error.code, error.data["code"]) == (-32602, "ambiguous_reference")
        assert len(error.data["candidates"]) == 2
        for candidate in error.data["candidates"]:
            assert (await read(door, candidate))["name"] == "Twin"


async def test_a_field_says_how_values_are_read(calm: World) -> None:
    """By read_secret; where the operator hid it, nothing leads there."""
    uri = "r4://Production/Stripe/Secret%20Key"
    async with in_memory(calm.environment) as door:
        assert "read_secret" in (await refused(door, uri)).error.data["next_step"]
    async with in_memory({**calm.environment, "R4_NO_REVEAL": "1"}) as door:
        assert "read_secret" not in (await refused(door, uri)).error.data["next_step"]


@every_era
async def test_where_listing_is_denied_nothing_is_listed_here_either(era: Era, world: World) -> None:
    """List, index, vault, item: denied by the same rule, and the service is not asked."""
    write_private(world.home / "policy.toml", CLOSED)
    async with in_memory(world.environment, era) as door:
        for uri in (INDEX, "r4://Production", "r4://Production/Stripe"):
            error = (await refused(door, uri)).error
            assert (error.code, error.data["code"]) == (-32603, "denied")
        with pytest.raises(MCPError) as caught:
            await door.client.list_resources()
        assert caught.value.error.data["code"] == "denied"
    assert world.tap.lines() == []


async def test_reads_are_in_the_audit_log_and_cost_no_reveal(world: World) -> None:
    """By our own names and ids, never by URI; with a budget of one field, the field can still be read after many reads."""
    write_private(world.home / "policy.toml", POLICY.replace("1000", "1"))
    async with in_memory(world.environment) as door:
        for _ in range(5):
            item = await read(door, "r4://Production/Stripe")
        await door.client.list_resources()
        await refused(door, "r4://Production/canary-zebra")
        await door.ok("read_secret", reference="r4://Production/Stripe/Secret%20Key")
    log = audited(world)
    assert [(line["tool"], line["outcome"]) for line in log] == [
        *[("resource_read", "ok")] * 5,
        ("resource_list", "ok"),
        ("resource_read", "not_found"),
        ("read_secret", "ok"),
    ]
    assert (log[0]["vault"], log[0]["item"]) == (world.vault_id("Production"), item["id"])
    assert "zebra" not in json.dumps(log)


@every_era
async def test_what_was_read_stands_in_no_listing(era: Era, world: World) -> None:
    """Every secret of a vault is revealed first; then everything that lists is looked through for each of them."""
    secrets = [value for value in world.plaintexts().values() if len(value) >= 8]
    async with in_memory(world.environment, era) as door:
        vault = await read(door, "r4://Production")
        items = [await read(door, line["reference"]) for line in vault["items"]]
        secret = [field["reference"] for item in items for field in item["fields"] if field["secret"]]
        shown = [(await door.ok("read_secret", reference=reference))["value"] for reference in secret]
        assert set(shown) & set(secrets)
        door.raw.clear()
        for resource in await every_resource(door):
            door.raw.append(resource.model_dump_json())
            listed = await read(door, resource.uri)
            for line in listed.get("items", []):
                await read(door, line["reference"])
    said = "\n".join(door.raw)
    assert len(door.raw) > 20
    assert [value for value in {*shown, *secrets} if value in said] == []


@every_era
async def test_a_value_where_nobody_signed_it_is_kept_from_leaving(era: Era, world: World) -> None:
    """A secret that equals the id of a vault: once it is known, what shows that id is blocked, and the index says only that."""
    world.add_item("Engineering", "Planted", ("key", FieldType.SECRET, world.vault_id("Production")))
    async with in_memory(world.environment, era) as door:
        assert (await read(door, INDEX))["vaults"]
        await door.ok("read_secret", reference="r4://Engineering/Planted/key")
        error = (await refused(door, INDEX)).error
        assert (error.code, error.data["code"]) == (-32603, "leak_blocked")
        assert world.vault_id("Production") not in error.model_dump_json()
        # The URI is repeated in the answer, so it is looked at too.
        assert (await refused(door, f"r4://{world.vault_id('Production')}")).error.data["code"] == "leak_blocked"


async def test_a_vault_that_does_not_verify_is_listed_by_its_id(world: World) -> None:
    """Its name is nobody's word; reading it says what is wrong, and the others are there."""
    broken = world.vault_id("Engineering")

    async def refuse(exchange: Exchange) -> Response | None:
        if exchange.path.endswith("/vault/sync"):
            return Response(status_code=404)
        body = json.dumps({"error": {"code": "permission_denied", "message": "no"}})
        return Response(body, 403) if exchange.path.endswith(f"{broken}/items") else None

    world.tap.intercept = refuse
    async with in_memory(world.environment) as door:
        listed = {resource.uri: resource for resource in await every_resource(door)}
        assert "Engineering" not in json.dumps([resource.model_dump() for resource in listed.values()])
        assert listed[f"r4://{broken}"].name == broken
        assert (await refused(door, f"r4://{broken}")).error.data["code"] == "permission_denied"
        assert (await read(door, "r4://Production"))["verified"]


async def test_an_unsigned_listing_is_no_resource(world: World) -> None:
    """Where the operator lets the tool show it, marked, the resource still refuses it: resources are verified."""
    write_private(world.home / "policy.toml", POLICY)
    vault = world.vault_id("Engineering")

    async def strip(exchange: Exchange) -> Response | None:
        if exchange.path.endswith("/vault/sync"):
            return Response(status_code=404)
        if not exchange.path.endswith(f"{vault}/items"):
            return None
        body: dict[str, Any] = {
            "vaultId": vault,
            "vaultName": "Engineering",
            "currentDekVersion": 1,
            "items": [],
            "count": 0,
            **UNSIGNED,
        }
        return Response(json.dumps(body), media_type="application/json")

    world.tap.intercept = strip
    async with in_memory({**world.environment, "R4_CHECKPOINTS": "when-present"}) as door:
        assert (await door.ok("list_items", vault=vault))["verified"] is False
        assert (await refused(door, f"r4://{vault}")).error.data["code"] == "checkpoint_missing"


@every_era
async def test_an_unconfigured_server_lists_its_index_and_says_what_is_missing(era: Era, tmp_path: Path) -> None:
    """Hosts list resources as they start; that must not fail, and reading says the next step."""
    async with in_memory({"R4_HOME": str(tmp_path)}, era) as door:
        assert [resource.uri for resource in (await door.client.list_resources()).resources] == [INDEX]
        error = (await refused(door, INDEX)).error
        assert (error.code, error.data["code"]) == (-32603, "not_configured")


@pytest.mark.stdio
@every_era
async def test_the_real_process_serves_resources(era: Era, world: World, tmp_path: Path) -> None:
    """Over stdio: listed, read, refused; stderr holds nothing of what was asked."""
    stderr = tmp_path / "stderr"
    async with subprocess(world.environment, stderr=stderr, era=era) as door:
        assert len(await every_resource(door)) == 5
        assert (await read(door, "r4://Production/Stripe"))["name"] == "Stripe"
        await refused(door, "r4://Production/canary-zebra")
    assert "zebra" not in stderr.read_text()


async def test_nothing_is_to_be_kept_by_clients_but_what_never_changes(calm: World) -> None:
    """The modern era's cache hints: private all of them."""
    async with in_memory(calm.environment, "auto") as door:
        client = door.client
        kept: list[types.CacheableResult] = [await client.list_resource_templates(), await client.list_prompts()]
        fresh: list[types.CacheableResult] = [await client.list_resources(), await client.read_resource(INDEX)]
    assert {result.cache_scope for result in (*kept, *fresh)} == {"private"}
    assert {result.ttl_ms for result in kept} == {3_600_000}
    assert {result.ttl_ms for result in fresh} == {0}


async def test_resources_survive_a_trust_store_that_is_gone(world: World) -> None:
    """What the operator must mend is said, with the next step, and not as an unknown resource."""
    async with in_memory(world.environment) as door:
        await read(door, "r4://Production")
    for store in world.home.glob("trust*"):
        shutil.rmtree(store) if store.is_dir() else store.unlink()
    async with in_memory(world.environment) as door:
        error = (await refused(door, "r4://Production")).error
    assert (error.code, error.data["code"]) == (-32603, "trust_store_lost")
