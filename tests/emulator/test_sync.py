"""Sync tells what changed, to whoever may see it, and nothing of anybody else's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from r4_mcp.core.checkpoint import advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.sync import read_sync_page
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import FieldType, ItemType, VaultId
from r4_mcp.core.wrapping import advance_dek
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.fresh import new_id
from r4_mcp.emulator.store import set_fact
from r4_mcp.errors import TransparencyError
from r4_mcp.machine import contract
from r4_mcp.machine.contract import Level, Permission
from r4_mcp.secret import SecretKind

from .client import AgentClient
from .conftest import World
from .item_updates import begin, item, put
from .replica import Replica, fetched_alone, size_of, told

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


@dataclass
class Scene:
    """Two vaults that the agent has and one that it has not, all written by another agent too."""

    world: World
    agent: AgentClient
    other: AgentClient
    one: VaultId
    two: VaultId
    hidden: VaultId
    replica: Replica

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self.agent.credentials.agent_id


@pytest.fixture
async def scene(world: World) -> Scene:
    """Set the scene; the replica has seen everything."""
    one, two, hidden = world.vault("One", items=2), world.vault("Two"), world.vault("Hidden")
    agent = await world.granted(one, Level.WRITE)
    other = await world.registered(1)
    world.operator.grant(agent.credentials.agent_id, two, Level.READ)
    for vault_id in (one, two, hidden):
        world.operator.grant(other.credentials.agent_id, vault_id, Level.ADMIN)
    scene = Scene(world, agent, other, one, two, hidden, Replica(agent))
    await scene.replica.drain()
    return scene


async def test_a_full_sync_is_what_each_endpoint_serves(scene: Scene) -> None:
    """Vault line, wrapped key, directory, summary and items without values: the same bytes of JSON, from one page."""
    (page,) = scene.replica.pages
    assert (page["full"], page["more"], page["removedVaultIds"], page["removedItems"]) == (True, False, [], [])
    assert told(page) == {"One": ["Item 0", "Item 1"], "Two": ["Item 0"]}
    assert scene.replica.held == await fetched_alone(scene.agent)


async def test_a_page_proves_from_directory_to_items(scene: Scene) -> None:
    """Everything in it holds by the rules for what is fetched alone; there is no value in it."""
    served = read_sync_page(await scene.agent.get("/vault/sync"))
    for synced in served.vaults:
        vault_id = synced.vault.id
        state, directory = advance(VaultTrust(), synced.directory, vault_id, TOFU)
        state, summary = advance_summary(state, synced.listing(synced.items), directory)
        assert synced.wrapped_key is not None
        state, _ = advance_dek(state, synced.wrapped_key, directory, summary, scene.agent.key, scene.world.known)
        for found in synced.items:
            state, _, fields = advance_item(state, found, found.line.id, summary, directory)
            assert {field.envelope for field in fields} == {None}


async def test_growth_of_a_log_is_proven_by_the_directory_alone(scene: Scene) -> None:
    """Sync carries no tree size, so a moved head is believed only with the proof that the directory's own endpoint gives."""
    (before,) = [one for one in scene.replica.held.values() if one["vault"]["name"] == "Two"]
    state, _ = advance(VaultTrust(), read_directory(before["directory"]), scene.two, TOFU)
    await scene.world.granted(scene.two, Level.READ, 2)
    (synced,) = read_sync_page(await scene.agent.get(f"/vault/sync?since={scene.replica.cursor}")).vaults
    with pytest.raises(TransparencyError):
        advance(state, synced.directory, scene.two, TOFU)
    assert state.head is not None
    alone = read_directory(await scene.agent.get(f"/vault/{scene.two}/public-keys?sinceTreeSize={state.head.size}"))
    grown, _ = advance(state, alone, scene.two, TOFU)
    assert grown.head == synced.directory.head


Event: TypeAlias = Callable[[Scene], object]


async def play(scene: Scene, event: Event) -> None:
    """Let something happen."""
    happened = event(scene)
    if inspect.isawaitable(happened):
        await happened


def add_item(vault: str) -> Event:
    """Have the operator create an item."""

    def event(scene: Scene) -> None:
        value = scene.world.known.text("demo", SecretKind.FIELD)
        fields = [FieldDraft("Token", FieldType.SECRET, value)]
        scene.world.operator.create_item(getattr(scene, vault), "New", ItemType.CUSTOM, [], fields)

    return event


async def change_item(scene: Scene) -> None:
    """Have the other agent change the second item of a vault."""
    second = (await scene.other.summary(scene.one)).items[1].id
    update = await begin(scene.other, scene.one, second, put(0, "new"), item(name="Renamed"))
    assert (await update.send()).is_success


async def drop_item(scene: Scene) -> None:
    """Have the agent itself archive the first item of a vault."""
    first = (await scene.agent.summary(scene.one)).items[0].id
    body = await scene.agent.archive_body(scene.one, first)
    assert (await scene.agent.call("DELETE", f"/vault/{scene.one}/items/{first}", body)).is_success


async def new_key_of_the_other(scene: Scene) -> None:
    """Have the other agent rotate its key."""
    body = await scene.other.rotation_body(scene.other.successor(scene.world.keys.agents[2]))
    assert (await scene.other.call("POST", "/vault/public-key", body)).is_success


async def own_vault(scene: Scene) -> None:
    """Have the agent make a vault."""
    await scene.agent.create_vault("Own")


def share(scene: Scene) -> None:
    """Share the hidden vault with the agent."""
    scene.world.operator.grant(scene.agent_id, scene.hidden, Level.READ)


def several(*events: Event) -> Event:
    """Let several things happen."""

    async def event(scene: Scene) -> None:
        for one in events:
            await play(scene, one)

    return event


EVENTS: Mapping[str, tuple[Event, dict[str, list[str]], tuple[str, ...], int]] = {
    "nothing happens": (lambda _: None, {}, (), 0),
    "an item is created": (add_item("one"), {"One": ["New"]}, (), 0),
    "an item is changed": (change_item, {"One": ["Renamed"]}, (), 0),
    "an item is archived": (drop_item, {"One": []}, (), 1),
    "a vault is created": (own_vault, {"Own": []}, (), 0),
    "a vault is shared": (share, {"Hidden": ["Item 0"]}, (), 0),
    "an item is archived in a vault that is then shared": (
        several(lambda scene: archive_first(scene, scene.hidden), share),
        {"Hidden": []},
        (),
        0,
    ),
    "a vault is archived": (lambda scene: scene.world.operator.archive_vault(scene.two), {}, ("two",), 0),
    "a vault is shared no more": (lambda scene: scene.world.operator.revoke(scene.agent_id, scene.two), {}, ("two",), 0),
    "a vault is shared and shared no more": (
        several(share, lambda scene: scene.world.operator.revoke(scene.agent_id, scene.hidden)),
        {},
        ("hidden",),
        0,
    ),
    "a level changes": (
        lambda scene: scene.world.operator.grant(scene.agent_id, scene.two, Level.ADMIN),
        {"Two": []},
        (),
        0,
    ),
    "a vault gets a new key": (lambda scene: scene.world.operator.rotate_dek(scene.two), {"Two": []}, (), 0),
    "another signer gets a new key": (new_key_of_the_other, {"One": [], "Two": []}, (), 0),
    "another signer is revoked": (
        lambda scene: scene.world.operator.revoke(scene.other.credentials.agent_id, scene.two),
        {"Two": []},
        (),
        0,
    ),
    "the agent may read no secrets": (
        lambda scene: scene.world.operator.revoke_permission(scene.agent_id, Permission.SECRET_READ),
        {"One": [], "Two": []},
        (),
        0,
    ),
    "an item is created in a vault of others": (add_item("hidden"), {}, (), 0),
    "a vault of others is archived": (lambda scene: scene.world.operator.archive_vault(scene.hidden), {}, (), 0),
}
"""What happens; the vaults that are told with their items; the vaults and the number of items that are named as removed."""


def archive_first(scene: Scene, vault_id: VaultId) -> None:
    """Have the operator archive the first item of a vault."""
    with scene.world.store.read() as db:
        (row, *_) = db.execute("SELECT id FROM items WHERE vault_id = ?", (vault_id,)).fetchall()
    scene.world.operator.archive_item(vault_id, row["id"])


@pytest.mark.parametrize(("event", "vaults", "gone", "items"), EVENTS.values(), ids=EVENTS.keys())
async def test_a_delta_tells_what_happened_and_no_more(
    scene: Scene, event: Event, vaults: dict[str, list[str]], gone: tuple[str, ...], items: int
) -> None:
    """The vault that changed, with the items that changed; then nothing, until something happens again."""
    await play(scene, event)
    (page,) = await scene.replica.drain()
    assert (page["full"], told(page)) == (False, vaults)
    assert page["removedVaultIds"] == [getattr(scene, name) for name in gone]
    assert len(page["removedItems"]) == items
    (again,) = await scene.replica.drain()
    assert (again["full"], told(again), again["removedVaultIds"], again["removedItems"]) == (False, {}, [], [])
    fresh = Replica(scene.agent)
    await fresh.drain()
    assert scene.replica.held == fresh.held


async def test_a_vault_that_was_taken_away_is_not_told_of_again(scene: Scene) -> None:
    """What happens in it afterwards is nobody's business here; shared again, it comes whole, with what was archived meanwhile."""
    first = next(iter(scene.replica.held[scene.two]["items"]))
    scene.world.operator.revoke(scene.agent_id, scene.two)
    (page,) = await scene.replica.drain()
    assert page["removedVaultIds"] == [scene.two]
    archive_first(scene, scene.two)
    add_item("two")(scene)
    (page,) = await scene.replica.drain()
    assert scene.two not in str(page)
    assert first not in str(page)
    new = scene.agent.successor(scene.world.keys.agents[2])
    assert (await scene.agent.call("POST", "/vault/public-key", await scene.agent.rotation_body(new))).is_success
    scene.world.operator.grant(scene.agent_id, scene.two, Level.READ)
    (page,) = await scene.replica.drain()
    assert told(page) == {"One": [], "Two": ["New"]}


async def test_wrapped_keys_come_only_with_the_permission_to_read_secrets(scene: Scene) -> None:
    """Null without it, and again there with it."""
    held = scene.replica.held
    assert all(one["wrappedKey"] is not None for one in held.values())
    scene.world.operator.revoke_permission(scene.agent_id, Permission.SECRET_READ)
    await scene.replica.drain()
    assert all(one["wrappedKey"] is None for one in held.values())
    scene.world.operator.grant_permission(scene.agent_id, Permission.SECRET_READ)
    await scene.replica.drain()
    assert held == await fetched_alone(scene.agent)


async def test_a_cursor_that_is_not_good_here_is_answered_in_full(scene: Scene) -> None:
    """Another agent's, one of another store, one that was changed, one of a store that was put back, and what is none."""
    good = str(scene.replica.cursor)
    assert re.fullmatch(r"[0-9]+-[0-9]+-[0-9a-f]{16}", good)
    known, seen, mark = good.split("-")
    theirs = Replica(scene.other)
    await theirs.drain()
    bad = ["", "x", "0", good + "0", f"{known}-{int(seen) + 1}-{mark}", f"0{good}", str(theirs.cursor), new_id(), "%00", "-1"]
    for cursor in bad:
        page: Any = await scene.agent.get(f"/vault/sync?since={cursor}")
        assert (page["full"], set(told(page))) == (True, {"One", "Two"})
    with scene.world.store.write() as db:
        db.execute("DELETE FROM changes WHERE number = (SELECT MAX(number) FROM changes)")
    assert (await scene.replica.page())["full"]
    assert not (await scene.replica.page())["full"]
    with scene.world.store.write() as db:
        set_fact(db, "tenant_id", new_id())
    assert (await scene.replica.page())["full"]


async def test_an_agent_without_any_vault_gets_an_empty_page(world: World) -> None:
    """Full, with nothing in it; what is shared later comes."""
    agent = await world.registered()
    replica = Replica(agent)
    assert told((await replica.drain())[0]) == {}
    world.operator.grant(agent.credentials.agent_id, world.vault(), Level.READ)
    assert told((await replica.drain())[0]) == {"Production": ["Item 0"]}


async def test_sync_is_no_vault(scene: Scene) -> None:
    """The path is not taken for a vault's id, under its alias neither."""
    assert await scene.agent.get("/vaults/sync") == await scene.agent.get("/vault/sync")


async def test_pages_are_bounded_and_a_larger_vault_is_a_page_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page but that one is over the limit, and all pages together are the whole."""
    large = scene.world.vault("Large", items=12)
    for name in ("Three", "Four", "Five"):
        scene.world.operator.grant(scene.agent_id, scene.world.vault(name), Level.READ)
    scene.world.operator.grant(scene.agent_id, large, Level.READ)
    scene.world.operator.grant(scene.agent_id, scene.world.vault("Six"), Level.READ)
    assert contract.MAX_SYNC_PAGE == 4_000_000
    monkeypatch.setattr(contract, "MAX_SYNC_PAGE", 12_000)
    replica = Replica(scene.agent)
    pages = await replica.drain()
    assert [page["more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    assert {page["full"] for page in pages} == {True}
    assert len({page["cursor"] for page in pages}) == len(pages)
    over = [page for page in pages if size_of(page) > contract.MAX_SYNC_PAGE]
    assert [list(told(page)) for page in over] == [["Large"]]
    assert max(len(page["vaults"]) for page in pages) > 1
    assert replica.held == await fetched_alone(scene.agent)


async def test_every_table_that_sync_is_made_of_notes_its_changes(world: World) -> None:
    """A table without a trigger is one that no page shows anything of."""
    unseen = {"agents", "changes", "facts", "feedback", "project_members", "project_vaults", "projects", "users"}
    with world.store.read() as db:
        rows = db.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    noted = {row["tbl_name"] for row in rows if row["type"] == "trigger"}
    assert noted == {row["name"] for row in rows if row["type"] == "table"} - unseen
