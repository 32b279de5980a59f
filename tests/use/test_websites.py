"""Where a secret may go is its owner's word: the websites that a person signed, what a person bound, what the policy opens."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import anyio
import pytest

from r4_mcp.core.wire import Classification
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.faults import FAULTS
from r4_mcp.emulator.faults_contents import ELSEWHERE
from r4_mcp.emulator.faults_liar import Liar
from tests.cli.running import Ended, run_at_terminal, run_here
from tests.doors import Door, World, in_memory
from tests.sinks.services import serving, whole

from .services import Office, echo, office, slot


async def command(there: Office, *arguments: str) -> Ended:
    """Run the program's entry beside this event loop."""
    return await anyio.to_thread.run_sync(partial(run_here, *arguments, environment=there.world.environment))


async def ask(door: Door, url: str) -> dict[str, Any]:
    """Ask for a request to an address with the item's token."""
    return await door.ok("http_request", method="GET", url=url, auth={"bearer": slot("Token")})


async def require_refused(door: Door, url: str) -> dict[str, Any]:
    """Ask for the same where it must be refused."""
    return await door.refused("http_request", "destination_refused", method="GET", url=url, auth={"bearer": slot("Token")})


async def test_a_website_that_an_agent_signed_gains_nothing_and_takes_nothing_away(world: World) -> None:
    """The agent's own detail names another host: it is refused, and the person's website still holds."""
    async with serving(whole(b"theirs")) as other, office(world, echo) as there:
        item = f"r4://{there.vault_id}/{there.item_id}"
        async with in_memory(world.environment) as door:
            await ask(door, there.url())
        changed = await command(there, "edit", item, "--website", other.base_url, "--yes")
        assert changed.status == 0, changed.err
        async with in_memory(world.environment) as door:
            assert (await door.ok("describe_item", reference=item))["websites"] == [other.base_url]
            told = await require_refused(door, other.base_url)
            assert told["candidates"] == [there.url()]
            await ask(door, there.url())
        assert other.received == []


async def test_an_item_that_an_agent_made_has_none(world: World) -> None:
    """Whatever websites it names; a person binds one, and takes it away again."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        fields = [{"name": "Token", "type": "SECRET", "value": "a-token-of-its-own"}]
        made = await door.ok(
            "create_item", vault=f"r4://{there.vault_id}", name="Made", type="API_KEY", websites=[there.url()], fields=fields
        )
        call = {"method": "GET", "url": there.url(), "auth": {"bearer": "{{r4://Harbour/Made/Token}}"}}
        assert "candidates" not in await door.refused("http_request", "destination_refused", **call)
        bound = await command(there, "bind", made["reference"], there.service.base_url, "--yes")
        assert bound.status == 0, bound.err
        assert (await door.ok("http_request", **call))["status"] == 200
        gone = await command(there, "bind", "--remove", made["reference"], there.service.base_url)
        assert gone.status == 0, gone.err
        await door.refused("http_request", "destination_refused", **call)
    assert len(there.service.received) == 1


@pytest.mark.parametrize(
    "name",
    [
        "item-websites-changed-on-get",
        "item-websites-changed-in-listing",
        "new-summary-with-old-detail",
        "detail-stripped",
    ],
)
async def test_a_website_that_the_service_changes_is_refused(name: str, world: World) -> None:
    """Without a valid signature nothing is sent to the attacker, and nothing to anybody while the vault does not verify."""
    async with office(world, echo) as there:
        liar = Liar(world.store, world.seeded.config_path.parent, world.known, keys=world.spare_keys)
        world.tap.app = create_app(world.store, liar.answer)
        liar.tell(FAULTS[name].lie)
        async with in_memory({**world.environment, "R4_INDEX_SECONDS": "0"}) as door:
            refused = await door.result("http_request", {"method": "GET", "url": ELSEWHERE, "auth": {"bearer": slot("Token")}})
            assert refused.is_error
        assert there.service.received == []


@pytest.mark.parametrize(
    ("path", "website", "covered"),
    [
        ("/v1", "{base}/v1", True),
        ("/v1/deep", "{base}/v1", True),
        ("/v2", "{base}/v1", False),
        ("/v1x", "{base}/v1", False),
        ("/v1/../v2", "{base}/v1", False),
        ("/v1", "https://127.0.0.1", False),
        ("/v1", "https://127.0.0.1.example.com", False),
    ],
)
async def test_the_policy_opens_exactly_what_it_says(path: str, website: str, covered: bool, world: World) -> None:  # noqa: FBT001 - a column
    """Host, port, scheme and path prefix; here of an item whose person named no website."""
    async with office(world, echo, websites=()) as there, in_memory(world.environment) as door:
        there.allow(there.opening(website=website.format(base=there.service.base_url)))
        if covered:
            await ask(door, there.url(path))
        else:
            await require_refused(door, there.url(path))
    assert len(there.service.received) == covered


async def test_loopback_and_private_addresses_need_the_operator(world: World) -> None:
    """A website that a person signed is no word about this machine's networks."""
    async with office(world, echo, websites=("http://127.0.0.1:1", "https://127.0.0.1:1", "https://10.0.0.1")) as there:
        there.allow()
        async with in_memory(world.environment) as door:
            for url in ("https://127.0.0.1:1/", "https://10.0.0.1/"):
                await door.refused("http_request", "address_refused", method="GET", url=url, auth={"bearer": slot("Token")})
            there.allow('networks = ["127.0.0.1/32"]')
            told = await door.refused(
                "http_request", "unreachable", method="GET", url="https://127.0.0.1:1/", auth={"bearer": slot("Token")}
            )
            assert "no connection" in told["message"].lower()


async def test_bind_asks_lists_and_refuses(world: World) -> None:
    """A person's yes at a terminal; what is bound is listed for people and programs, by ids."""
    async with office(world, echo, websites=()) as there:
        item = f"r4://{there.vault_id}/{there.item_id}"
        terminal = partial(run_at_terminal, environment=world.environment)
        said_no = await anyio.to_thread.run_sync(
            partial(terminal, "bind", item, "https://*.example.com/v1", typed=(("[y/N]", "n\n"),))
        )
        assert "Nothing was bound" in said_no.out
        assert "In force already: nothing." in " ".join(said_no.out.split())
        alone = await command(there, "bind", item, "https://example.com")
        assert alone.status == 1
        assert "--yes" in alone.err
        said_yes = await anyio.to_thread.run_sync(
            partial(terminal, "bind", item, "https://*.example.com/v1", typed=(("[y/N]", "y\n"),))
        )
        assert f"bound {item}" in " ".join(said_yes.out.split())
        listed = await command(there, "bind", "--list")
        assert f"{item} https://*.example.com/v1 since" in listed.flat
        again = await command(there, "bind", item, "https://*.example.com/v1", "--yes")
        assert again.status == 1
        for wrong in ("ftp://example.com", "https://a:b@example.com", "http://example.com", "https://*.com", "x y"):
            refused = await command(there, "bind", item, wrong, "--yes")
            assert refused.status == 1, wrong
            assert wrong not in refused.err
        missing = await command(there, "bind", "--remove", item, "https://example.com")
        assert missing.status == 1
    (state,) = (world.home / "state").glob("bindings-*.json")
    assert state.stat().st_mode & 0o777 == 0o600


async def test_damaged_bindings_are_told_and_nothing_is_sent(world: World) -> None:
    """A person should know why a request is refused; the website that they signed is not enough then."""
    async with office(world, echo) as there:
        await command(there, "bind", f"r4://{there.vault_id}/{there.item_id}", "https://example.com", "--yes")
        (state,) = (world.home / "state").glob("bindings-*.json")
        state.write_text("{}")
        async with in_memory(world.environment) as door:
            told = await door.refused(
                "http_request", "file_access", method="GET", url=there.url(), auth={"bearer": slot("Token")}
            )
            assert "r4-mcp bind" in told["next_step"]
    assert there.service.received == []


async def test_the_way_out_that_a_refusal_names_works(world: World) -> None:
    """Where a person would be asked and nobody is there, the operator allows the use of this field, and of no other."""
    async with office(world, echo, classification=Classification.CONFIDENTIAL) as there, in_memory(world.environment) as door:
        call = {"method": "GET", "url": there.url(), "auth": {"bearer": slot("Token")}}
        told = await door.refused("http_request", "approval_required", **call)
        line = re.search(r"`r4-mcp (policy allow \S+ --action use)`", told["next_step"])
        assert line is not None
        allowed = await command(there, *line[1].split(), "--yes")
        assert allowed.status == 0, allowed.err
        assert (await door.ok("http_request", **call))["status"] == 200
        other = {**call, "auth": {"bearer": slot("Pin")}}
        await door.refused("http_request", "approval_required", **other)
