"""What a client is told when a list or a resource is not what it was, in both eras: after its own calls, only what changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import mcp
import mcp_types as types
import pytest
from mcp.client.stdio import stdio_client
from mcp.client.subscriptions import Subscription
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.wire import FieldType
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from r4_mcp.server.changes import MAX_WATCHED
from tests.doors import CALL_SECONDS, ERAS, POLICY, Door, Era, World, stdio, write_private

INDEX: Final = "r4-index://vaults"
ENGINEERING: Final = "r4://Engineering"
SENTRY: Final = "r4://Engineering/Sentry"
STRIPE: Final = "r4://Production/Stripe"
WATCHED: Final = (INDEX, ENGINEERING, SENTRY, "r4://Production", STRIPE)

AT_ONCE: Final = {"R4_INDEX_SECONDS": "0"}
"""Nothing is answered from memory."""

every_era = pytest.mark.parametrize("era", ERAS)
# How the handshake era subscribes is deprecated in the SDK, since the next era has another way.
pytestmark = pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")


@dataclass
class Ear:
    """A client that watches resources, and what it was told since it last listened."""

    door: Door
    heard: list[ServerEvent] = field(default_factory=list)
    arrived: anyio.Event = field(default_factory=anyio.Event)

    def hear(self, event: ServerEvent) -> None:
        """Take note of what was told."""
        self.heard.append(event)
        self.arrived.set()

    async def after(self, call: Callable[[], Awaitable[object]]) -> list[ServerEvent]:
        """Make a call to a server of this process, and return what was told up to its answer."""
        self.heard.clear()
        await call()
        # A stream's task delivers what it was handed before the answer was sent; it only has to be run.
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        return sorted(self.heard, key=repr)


def event_of(message: object) -> ServerEvent | None:
    """Return a handshake-era notification as the event that it tells of."""
    if isinstance(message, types.ResourceUpdatedNotification):
        return ResourceUpdated(message.params.uri)
    if isinstance(message, types.ResourceListChangedNotification):
        return ResourcesListChanged()
    return ToolsListChanged() if isinstance(message, types.ToolListChangedNotification) else None


@asynccontextmanager
async def listener(server: Any, era: Era, *uris: str) -> AsyncIterator[Ear]:  # noqa: ANN401 - whatever a client opens
    """Open a client on a server or a transport, and watch resources in the way of its era."""
    ears: list[Ear] = []

    async def note(message: object) -> None:
        event = event_of(message)
        if event is not None and era == "legacy":
            ears[0].hear(event)

    async def follow(stream: Subscription) -> None:
        async for event in stream:
            ears[0].hear(event)

    async with mcp.Client(server, mode=era, message_handler=note) as client:
        ears.append(Ear(Door(client)))
        if era == "legacy":
            for uri in uris:
                await client.subscribe_resource(uri)
            yield ears[0]
            return
        async with (
            client.listen(resources_list_changed=True, tools_list_changed=True, resource_subscriptions=uris) as stream,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(follow, stream)
            yield ears[0]
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def watching(world: World, era: Era, *uris: str) -> AsyncIterator[Ear]:
    """Watch resources of a server in this process that asks the service at each call."""
    known = KnownSecrets()
    settings = read_settings({**world.environment, **AT_ONCE}, known)
    async with (
        open_service(settings, known) as service,
        listener(build_server(service.dispatch, service.asking), era, *uris) as ear,
    ):
        yield ear


def listing(ear: Ear) -> Callable[[], Awaitable[object]]:
    """Return a call that looks at everything."""
    return lambda: ear.door.ok("list_vaults")


@every_era
async def test_only_what_changed_is_told(era: Era, world: World) -> None:
    """A new item: its vault, and the lists that count it; no other vault, and no item that stayed as it was."""
    async with watching(world, era, *WATCHED) as ear:
        assert await ear.after(listing(ear)) == []
        assert await ear.after(listing(ear)) == []
        world.add_item("Engineering", "New", ("a", FieldType.TEXT, "b"))
        told = await ear.after(listing(ear))
        assert told == sorted([ResourcesListChanged(), ResourceUpdated(INDEX), ResourceUpdated(ENGINEERING)], key=repr)
        assert await ear.after(listing(ear)) == []


@every_era
async def test_a_changed_item_is_told_with_its_vault(era: Era, world: World) -> None:
    """By our own write; the list of vaults says nothing of an item's fields, so it did not change."""
    async with watching(world, era, *WATCHED) as ear:
        await ear.after(listing(ear))
        await ear.door.ok("update_item", reference=SENTRY, fields=[{"name": "note", "add": "TEXT", "value": "b"}])
        told = await ear.after(listing(ear))
        assert told == sorted([ResourceUpdated(ENGINEERING), ResourceUpdated(SENTRY)], key=repr)


@every_era
@pytest.mark.parametrize("way", ["resource", "list", "completion", "search"])
async def test_every_call_that_looks_may_bring_a_change_to_light(way: str, era: Era, world: World) -> None:
    """Resources, their list, completion and tools alike."""
    ref = types.ResourceTemplateReference(uri="r4://{vault}")
    async with watching(world, era, ENGINEERING) as ear:
        client = ear.door.client
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "resource": lambda: client.read_resource(INDEX),
            "list": client.list_resources,
            "completion": lambda: client.complete(ref, {"name": "vault", "value": ""}),
            "search": lambda: ear.door.ok("search_items", query="sentry"),
        }
        await ear.after(listing(ear))
        world.add_item("Engineering", "New", ("a", FieldType.TEXT, "b"))
        assert ResourceUpdated(ENGINEERING) in await ear.after(calls[way])


@every_era
async def test_vaults_that_come_and_go_change_the_list(era: Era, world: World) -> None:
    """A grant and its end; a subscription to what was not there is told when it is."""
    operator, agent = world.seeded.operator, world.agent_members()["agentId"]
    async with watching(world, era, "r4://Later") as ear:
        await ear.after(listing(ear))
        vault = operator.create_vault("Later")
        operator.grant(agent, vault, Level.READ)
        assert await ear.after(listing(ear)) == sorted([ResourcesListChanged(), ResourceUpdated("r4://Later")], key=repr)
        operator.revoke(agent, vault)
        assert await ear.after(listing(ear)) == sorted([ResourcesListChanged(), ResourceUpdated("r4://Later")], key=repr)


@every_era
async def test_the_list_of_tools_changes_with_the_policy(era: Era, world: World) -> None:
    """A raw-request tool that the operator opens while a client is connected."""
    async with watching(world, era) as ear:
        await ear.after(listing(ear))
        write_private(world.home / "policy.toml", f'[machine_request]\nallow = ["GET /webhook"]\n{POLICY}')
        assert await ear.after(lambda: ear.door.ok("whoami")) == [ToolsListChanged()]


@every_era
async def test_who_does_not_watch_is_told_of_lists_at_most(era: Era, world: World) -> None:
    """No resource is told of that nobody subscribed to."""
    async with watching(world, era) as ear:
        await ear.after(listing(ear))
        world.add_item("Engineering", "New", ("a", FieldType.TEXT, "b"))
        assert await ear.after(listing(ear)) == [ResourcesListChanged()]


async def test_who_stopped_watching_is_told_no_more(world: World) -> None:
    """Handshake era; twice subscribed is once, and stopping twice is no error."""
    async with watching(world, "legacy", ENGINEERING, ENGINEERING) as ear:
        await ear.after(listing(ear))
        for _ in range(2):
            await ear.door.client.unsubscribe_resource(ENGINEERING)
        world.add_item("Engineering", "New", ("a", FieldType.TEXT, "b"))
        assert await ear.after(listing(ear)) == [ResourcesListChanged()]


@every_era
async def test_watching_asks_the_service_nothing(era: Era, world: World) -> None:
    """Neither to subscribe, nor while nobody calls."""
    async with watching(world, era, *WATCHED):
        await anyio.wait_all_tasks_blocked()
    assert world.tap.lines() == []


UNWATCHABLE: Final = {
    "another scheme": ("file:///canary-zebra", "not_found"),
    "a field": ("r4://canary/zebra/a", "invalid_reference"),
    "no reference": ("r4://canary-zebra/..", "invalid_reference"),
}


@pytest.mark.parametrize("what", UNWATCHABLE)
async def test_what_is_no_resource_is_not_watched(what: str, world: World) -> None:
    """Handshake era: refused, and repeated as the URI of what is not there alone. The next era: acknowledged without it."""
    uri, code = UNWATCHABLE[what]
    async with watching(world, "legacy") as ear:
        with pytest.raises(MCPError) as caught:
            await ear.door.client.subscribe_resource(uri)
        assert caught.value.error.data["code"] == code
        assert caught.value.error.data.pop("uri", None) == (uri if code == "not_found" else None)
        assert "zebra" not in caught.value.error.model_dump_json()
    async with watching(world, "auto") as ear, ear.door.client.listen(resource_subscriptions=[uri, SENTRY]) as stream:
        assert stream.honored.resource_subscriptions == [SENTRY]


async def test_where_listing_is_denied_nothing_is_watched(world: World) -> None:
    """In neither era."""
    write_private(world.home / "policy.toml", '[defaults]\nlist = "deny"\n')
    async with watching(world, "legacy") as ear:
        with pytest.raises(MCPError) as caught:
            await ear.door.client.subscribe_resource(SENTRY)
        assert caught.value.error.data["code"] == "denied"
    async with watching(world, "auto") as ear, ear.door.client.listen(resource_subscriptions=[SENTRY]) as stream:
        assert not stream.honored.resource_subscriptions


async def test_no_more_is_watched_than_there_is_room_for(world: World) -> None:
    """One over the limit is refused; one that is watched already is not; a freed place can be taken."""
    async with watching(world, "legacy", *(f"r4://Vault{number}" for number in range(MAX_WATCHED))) as ear:
        client = ear.door.client
        with pytest.raises(MCPError) as caught:
            await client.subscribe_resource(SENTRY)
        assert caught.value.error.data["code"] == "invalid_argument"
        await client.subscribe_resource("r4://Vault0")
        await client.unsubscribe_resource("r4://Vault1")
        await client.subscribe_resource(SENTRY)


async def test_a_stream_that_ends_watches_no_more(world: World) -> None:
    """Its resources are free again for another stream."""
    uris = [f"r4://Vault{number}" for number in range(MAX_WATCHED)]
    async with watching(world, "auto") as ear:
        for _ in range(2):
            async with ear.door.client.listen(resource_subscriptions=[*uris, SENTRY]) as stream:
                assert stream.honored.resource_subscriptions == uris
                async with ear.door.client.listen(resource_subscriptions=[SENTRY, uris[0]]) as other:
                    assert other.honored.resource_subscriptions == [uris[0]]
            with anyio.fail_after(CALL_SECONDS):
                await ear.door.ok("whoami")


@every_era
async def test_a_secret_in_a_watched_uri_is_not_repeated(era: Era, world: World) -> None:
    """What a client watches may turn out to hold a secret, in a spelling that nobody signed: then it is told without the URI."""
    value = "Canary-Zebra-In-A-Name"
    watched = f"r4://Engineering/{value}"
    world.add_item("Engineering", "Holder", ("key", FieldType.SECRET, value))
    async with watching(world, era, watched, ENGINEERING) as ear:
        await ear.after(listing(ear))
        await ear.door.ok("read_secret", reference="r4://Engineering/Holder/key")
        world.add_item("Engineering", value.lower(), ("a", FieldType.TEXT, "b"))
        assert await ear.after(listing(ear)) == sorted([ResourcesListChanged(), ResourceUpdated(ENGINEERING)], key=repr)


@every_era
async def test_what_is_announced_is_what_is_done(era: Era, calm: World) -> None:
    """Tools and resources change, prompts don't, resources can be subscribed to, arguments are completed."""
    async with watching(calm, era) as ear:
        announced: Any = ear.door.client.server_capabilities
        assert announced.tools.list_changed
        assert announced.resources.list_changed
        assert announced.resources.subscribe
        assert announced.prompts.list_changed is False
        assert announced.completions is not None
        assert announced.logging is None


async def test_a_stream_never_promises_prompts(world: World) -> None:
    """They don't change while a process lives."""
    async with (
        watching(world, "auto") as ear,
        ear.door.client.listen(prompts_list_changed=True, tools_list_changed=True) as stream,
    ):
        assert stream.honored.tools_list_changed
        assert not stream.honored.prompts_list_changed


@pytest.mark.stdio
@every_era
async def test_the_real_process_tells_of_changes(era: Era, world: World, tmp_path: Path) -> None:
    """Over stdio: what a call brought to light is told on the same pipe."""
    with (tmp_path / "stderr").open("w") as log:
        transport = stdio_client(stdio({**world.environment, **AT_ONCE}), errlog=log)
        async with listener(transport, era, ENGINEERING) as ear:
            await ear.door.ok("list_vaults")
            assert ear.heard == []
            world.add_item("Engineering", "New", ("a", FieldType.TEXT, "b"))
            await ear.door.ok("list_vaults")
            with anyio.fail_after(CALL_SECONDS):
                while ResourceUpdated(ENGINEERING) not in ear.heard:
                    await ear.arrived.wait()
                    ear.arrived = anyio.Event()
            assert ear.heard == [ResourcesListChanged(), ResourceUpdated(ENGINEERING)]
