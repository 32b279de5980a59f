"""Whatever is written, in whatever order: what the deltas told is what a full sync tells, and what each endpoint serves."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import FieldType, ItemId, ItemType, VaultId
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.fresh import generate_private_key
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.store import Store
from r4_mcp.errors import InvalidArgumentError, NotFoundError, SignerError
from r4_mcp.machine import contract
from r4_mcp.machine.contract import Level, Permission
from r4_mcp.secret import KnownSecrets, SecretKind

from .client import AgentClient
from .conftest import BITS, Keys, World
from .item_updates import add, begin, delete, item, put
from .replica import Replica, fetched_alone, told

EXAMPLES: Final = int(os.environ.get("R4_SYNC_EXAMPLES", "20"))
LEVELS: Final = tuple(Level)


@dataclass
class Story:
    """A world in which things happen, with an agent that syncs now and then and another one that writes too."""

    world: World
    agent: AgentClient
    other: AgentClient
    spare: list[PrivateKey]
    replica: Replica
    vaults: list[VaultId] = field(default_factory=list)

    @property
    def agent_id(self) -> str:
        """The syncing agent's id."""
        return self.agent.credentials.agent_id

    async def held_item(self, who: AgentClient, vault_id: VaultId, number: int) -> ItemId | None:
        """Choose an item that an agent sees; None where it sees none."""
        listed = await who.call("GET", f"/vault/{vault_id}/items")
        items = listed.json()["items"] if listed.is_success else []
        opens = (await who.call("GET", f"/vault/{vault_id}/wrapped-key")).is_success
        return ItemId(items[number % len(items)]["id"]) if items and opens else None


Step: TypeAlias = Callable[[Story, VaultId, int], Any]


def make_vault(story: Story, items: int) -> VaultId:
    """Make a vault that the other agent has."""
    vault_id = story.world.vault(f"Vault {len(story.vaults)}", items=items)
    story.world.operator.grant(story.other.credentials.agent_id, vault_id, Level.WRITE)
    story.vaults.append(vault_id)
    return vault_id


def new_vault(story: Story, _: VaultId, number: int) -> None:
    """Make a vault, and share every second one."""
    vault_id = make_vault(story, number % 3)
    if number % 2:
        share(story, vault_id, number)


async def own_vault(story: Story, _: VaultId, __: int) -> None:
    """Have the agent make a vault."""
    story.vaults.append(await story.agent.create_vault(f"Own {len(story.vaults)}"))


def share(story: Story, vault_id: VaultId, number: int) -> None:
    """Share a vault, again or at another level."""
    story.world.operator.grant(story.agent_id, vault_id, LEVELS[number % 3])


def unshare(story: Story, vault_id: VaultId, _: int) -> None:
    """Take a vault away."""
    story.world.operator.revoke(story.agent_id, vault_id)


def add_item(story: Story, vault_id: VaultId, number: int) -> None:
    """Have the operator create an item."""
    draft = FieldDraft("Token", FieldType.SECRET, story.world.known.text("demo", SecretKind.FIELD))
    story.world.operator.create_item(vault_id, f"Item {number}", ItemType.CUSTOM, [], [draft])


def drop_item(story: Story, vault_id: VaultId, number: int) -> None:
    """Have the operator archive an item."""
    with story.world.store.read() as db:
        found = db.execute("SELECT id FROM items WHERE vault_id = ? AND archived_at IS NULL", (vault_id,)).fetchall()
    if found:
        story.world.operator.archive_item(vault_id, found[number % len(found)]["id"])


def archive_vault(story: Story, vault_id: VaultId, _: int) -> None:
    """Archive a vault."""
    story.world.operator.archive_vault(vault_id)


def new_dek(story: Story, vault_id: VaultId, _: int) -> None:
    """Give a vault a new key."""
    story.world.operator.rotate_dek(vault_id)


def secrets(story: Story, _: VaultId, number: int) -> None:
    """Give or take the permission to read secrets."""
    change = story.world.operator.revoke_permission if number % 3 == 0 else story.world.operator.grant_permission
    change(story.agent_id, Permission.SECRET_READ)


async def change_item(story: Story, vault_id: VaultId, number: int) -> None:
    """Have one of the agents change an item, if it may."""
    who = (story.agent, story.other)[number % 2]
    item_id = await story.held_item(who, vault_id, number)
    if item_id is None:
        return
    changes = ((put(0, "new"),), (item(name="Renamed"),), (add("More", FieldType.TEXT, "x"),), (delete(-1),))[number % 4]
    with suppress(IndexError, ValueError):  # An item whose fields were deleted one by one.
        await (await begin(who, vault_id, item_id, *changes)).send()


async def new_key(story: Story, _: VaultId, number: int) -> None:
    """Have one of the agents rotate its key."""
    if not story.spare or Permission.SECRET_READ not in str(await story.agent.get("/me")):
        return
    name = ("agent", "other")[number % 2]
    who: AgentClient = getattr(story, name)
    new = who.successor(story.spare.pop())
    body = await who.rotation_body(new)
    assert (await who.call("POST", "/vault/public-key", body)).is_success
    setattr(story, name, new)


async def take_away_and_back(story: Story, vault_id: VaultId, number: int) -> None:
    """Take a vault away, let the agent have another key, and share the vault again."""
    unshare(story, vault_id, number)
    if number % 2:
        await one_page(story, vault_id, number)
    await new_key(story, vault_id, 0)
    share(story, vault_id, number)


async def one_page(story: Story, _: VaultId, __: int) -> None:
    """Take in one page, with the others still to come."""
    await story.replica.page()


async def all_pages(story: Story, _: VaultId, __: int) -> None:
    """Take in everything."""
    await story.replica.drain()


RARE: Final[tuple[Step, ...]] = (new_vault, own_vault, archive_vault, new_dek, secrets, new_key, unshare, all_pages)
OFTEN: Final[tuple[Step, ...]] = (add_item, drop_item, change_item, share, take_away_and_back, one_page)


@pytest.fixture(scope="module")
def spare() -> tuple[PrivateKey, ...]:
    """Make keys to rotate to."""
    return tuple(load_private_key(generate_private_key(BITS)) for _ in range(6))


Steps: TypeAlias = list[tuple[Step, int, int]]


async def tell(directory: Path, keys: Keys, spare: tuple[PrivateKey, ...], steps: Steps) -> None:
    """Play a story, then compare."""
    known, store = KnownSecrets(), Store.open(directory)
    world = World(store, create_app(store), Operator.create(store, keys.operator, known), known, keys)
    agent, other = await world.registered(0), await world.registered(1)
    story = Story(world, agent, other, list(spare), Replica(agent))
    for level in LEVELS:
        world.operator.grant(story.agent_id, make_vault(story, 2), level)
    make_vault(story, 1)
    await story.replica.drain()
    for step, chosen, number in steps:
        # What can't be done at this point of the story is refused, and nothing happened.
        with suppress(NotFoundError, SignerError, InvalidArgumentError):
            happened = step(story, story.vaults[chosen % len(story.vaults)], number)
            if asyncio.iscoroutine(happened):
                await happened
    await story.replica.drain()
    fresh = Replica(agent)
    await fresh.drain()
    assert story.replica.held == fresh.held
    world.operator.grant_permission(story.agent_id, Permission.SECRET_READ)
    await story.replica.drain()
    assert story.replica.held == await fetched_alone(agent)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(st.sampled_from(OFTEN * 3 + RARE), st.integers(0, 4), st.integers(0, 11)), min_size=6, max_size=25),
    limit=st.sampled_from([1, 1, 8_000, 4_000_000]),
)
def test_what_the_deltas_told_is_what_a_full_sync_tells(
    keys: Keys, spare: tuple[PrivateKey, ...], steps: Steps, limit: int
) -> None:
    """Operator and agents write, pages are taken in between: in the end both clients hold what the endpoints serve."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "MAX_SYNC_PAGE", limit)
        asyncio.run(tell(Path(folder) / "vault", keys, spare, steps))


@pytest.fixture
async def story(world: World, spare: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch) -> Story:
    """Begin a story of three vaults, two of them shared, told one vault a page; everything so far is known."""
    monkeypatch.setattr(contract, "MAX_SYNC_PAGE", 1)
    agent, other = await world.registered(0), await world.registered(1)
    story = Story(world, agent, other, list(spare), Replica(agent))
    for _ in range(3):
        make_vault(story, 2)
    for vault_id in story.vaults[:2]:
        share(story, vault_id, 0)
    await story.replica.drain()
    return story


async def test_what_changed_before_the_first_page_is_not_lost_on_the_second(story: Story) -> None:
    """An item changed, another vault changed, then the first vault once more: its page still has the item."""
    first, second, _ = story.vaults
    add_item(story, first, 7)
    add_item(story, second, 8)
    story.world.operator.rotate_dek(first)
    pages = await story.replica.drain()
    assert [[item["name"] for told in page["vaults"] for item in told["items"]] for page in pages] == [["Item 8"], ["Item 7"]]


@pytest.mark.parametrize("event", [drop_item, unshare])
async def test_what_is_gone_between_two_pages_is_named(story: Story, event: Step) -> None:
    """A vault came on the first page, and lost something before a change that the second page tells; the third page says so."""
    first, second, new = story.vaults
    share(story, new, 0)
    add_item(story, first, 7)
    assert list(told(await story.replica.page())) == ["Vault 2"]
    event(story, new, 0)
    add_item(story, second, 8)
    # Whatever happens in the vault afterwards moves what is told of it behind the other one.
    story.world.operator.rotate_dek(new)
    assert [list(told(page)) for page in [await story.replica.page(), await story.replica.page()]] == [["Vault 0"], ["Vault 1"]]
    await story.replica.drain()
    assert story.replica.held == await fetched_alone(story.agent)


async def test_a_vault_that_was_away_between_two_pages_comes_whole(story: Story) -> None:
    """It was named as removed, so that the client dropped it, and is shared again before the last page."""
    first, second, _ = story.vaults
    unshare(story, first, 0)
    add_item(story, second, 8)
    assert (await story.replica.page())["removedVaultIds"] == [first]
    await new_key(story, first, 0)
    share(story, first, 0)
    pages = await story.replica.drain()
    (came,) = [vault for page in pages for vault in page["vaults"] if vault["vault"]["id"] == first]
    assert len(came["items"]) == 2
    assert story.replica.held == await fetched_alone(story.agent)
