"""Search tells where a text occurs in names, labels and websites of the vaults that the agent may read, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from r4_mcp.core.sync import MAX_RESULTS, Matched, SearchResult, read_search
from r4_mcp.core.wire import FieldType, ItemType, VaultId
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.machine.contract import MAX_QUERY, MAX_SEARCH_LIMIT, SEARCH_LIMIT, Level, Permission
from r4_mcp.secret import SecretKind

from .client import AgentClient, error_code
from .conftest import World
from .item_updates import begin, delete

VALUE = "the-value-itself"


def draft(world: World, name: str, websites: list[str], *labels: str) -> ItemDraft:
    """Draft an item with one value in each of its fields."""
    value = world.known.text(VALUE, SecretKind.FIELD)
    return ItemDraft(name, ItemType.LOGIN, websites, [FieldDraft(label, FieldType.SECRET, value) for label in labels])


@pytest.fixture
async def vault_id(world: World) -> VaultId:
    """Make a vault in which the word occurs in every kind of place."""
    vault_id = world.operator.create_vault("Payments Needle")
    world.operator.create_items(
        vault_id,
        [
            draft(world, "NEEDLE and thread", ["https://example.com"], "User"),
            draft(world, "Bank", ["https://needle.example.com", "https://example.com/NEEDLE"], "Password"),
            draft(world, "Straße", ["https://example.org"], "needle's eye", "Other"),
        ],
    )
    return vault_id


@pytest.fixture
async def agent(world: World, vault_id: VaultId) -> AgentClient:
    """Make an agent that may read it."""
    return await world.granted(vault_id, Level.READ)


async def search(agent: AgentClient, query: str, **members: object) -> tuple[SearchResult, ...]:
    """Search, and read the answer strictly."""
    response = await agent.call("POST", "/search", {"query": query, **members})
    assert response.status_code == 200, response.text
    return read_search(response.json())


async def named(agent: AgentClient, results: tuple[SearchResult, ...]) -> list[tuple[str, str | None, str | None]]:
    """Look the results up: the kind of match, the item's name, the field's name."""
    found: list[tuple[str, str | None, str | None]] = []
    for result in results:
        shown: Any = {} if result.item_id is None else await agent.get(f"/vault/{result.vault_id}/items/{result.item_id}")
        labels = {field["id"]: field["name"] for field in shown.get("fields", [])}
        label = None if result.field_id is None else labels[result.field_id]
        found.append((result.matched, shown.get("name"), label))
    return found


@pytest.mark.parametrize("query", ["needle", "NEEDLE", "eedl", "nEEdlE"])
async def test_a_text_is_found_in_every_kind_of_place(agent: AgentClient, query: str) -> None:
    """The vault's name, items' names, websites, field labels, in this order within an item, whatever the case."""
    assert await named(agent, await search(agent, query)) == [
        ("vault", None, None),
        ("item", "NEEDLE and thread", None),
        ("website", "Bank", None),
        ("field", "Straße", "needle's eye"),
    ]


@pytest.mark.parametrize(
    ("query", "kinds"), [("STRASSE", ["item"]), ("strasse", ["item"]), ("no such thing", []), ("%", []), ("_", [])]
)
async def test_a_text_is_a_text(agent: AgentClient, query: str, kinds: list[str]) -> None:
    """Case is folded as Unicode says, and no character is a wildcard."""
    assert [result.matched for result in await search(agent, query)] == kinds


async def test_no_value_is_searched(world: World, agent: AgentClient, vault_id: VaultId) -> None:
    """A value is found in no way: whole, in part, or as the ciphertext that is stored."""
    (value,) = {value.reveal() for value in world.operator.open_values(vault_id).values()}
    assert value == VALUE
    with world.store.read() as db:
        (row, *_) = db.execute("SELECT envelope FROM field_instances").fetchall()
    for query in (VALUE, VALUE[:5], row["envelope"][:60], row["envelope"][20:30]):
        assert await search(agent, query) == ()


async def test_only_what_the_agent_may_read_is_searched(world: World, agent: AgentClient, vault_id: VaultId) -> None:
    """Vaults of others, archived vaults, items and fields, and what is shared no more: nothing of them is found."""
    hidden = world.operator.create_vault("Needle of others")
    world.operator.create_items(hidden, [draft(world, "Needle", ["https://needle.example.com"], "Needle")])
    archived = world.operator.create_vault("Archived needle")
    world.operator.grant(agent.credentials.agent_id, archived, Level.READ)
    world.operator.archive_vault(archived)
    lines = (await agent.summary(vault_id)).items
    world.operator.archive_item(vault_id, lines[0].id)
    writer = await world.granted(vault_id, Level.WRITE, 1)
    assert (await (await begin(writer, vault_id, lines[2].id, delete(0))).send()).is_success
    assert [result.matched for result in await search(agent, "needle")] == [Matched.VAULT, Matched.WEBSITE]
    world.operator.revoke(agent.credentials.agent_id, vault_id)
    assert await search(agent, "needle") == ()


async def test_results_are_limited(world: World, agent: AgentClient, vault_id: VaultId) -> None:
    """50 by default, as many as asked up to 200; the first ones in their order."""
    assert (SEARCH_LIMIT, MAX_SEARCH_LIMIT) == (50, MAX_RESULTS)
    many = [draft(world, f"Needle {number}", [], *(f"Needle {field}" for field in range(20))) for number in range(10)]
    world.operator.create_items(vault_id, many)
    every = await search(agent, "needle", limit=MAX_SEARCH_LIMIT)
    assert len(every) == MAX_SEARCH_LIMIT
    assert await search(agent, "needle") == every[:SEARCH_LIMIT]
    assert await search(agent, "needle", limit=1) == every[:1]


REFUSED: dict[str, object] = {
    "no query": {},
    "an empty query": {"query": ""},
    "a blank query": {"query": " \t"},
    "a query that is too long": {"query": "x" * (MAX_QUERY + 1)},
    "a query that is no text": {"query": ["needle"]},
    "a limit of none": {"query": "needle", "limit": 0},
    "a limit that is too high": {"query": "needle", "limit": MAX_SEARCH_LIMIT + 1},
    "a limit that is a text": {"query": "needle", "limit": "7"},
    "a limit that is null": {"query": "needle", "limit": None},
    "an unknown member": {"query": "needle", "fields": ["value"]},
    "a list": ["needle"],
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
async def test_a_search_that_is_none_is_refused(agent: AgentClient, body: object) -> None:
    """400 that quotes nothing."""
    response = await agent.call("POST", "/search", body)
    assert (response.status_code, error_code(response)) == (400, "invalid_request")
    assert "needle" not in response.text


async def test_a_search_writes_nothing_and_waits_for_no_writer(world: World, agent: AgentClient) -> None:
    """It is answered while somebody holds the write lock."""
    before = world.dump()
    with world.store.write() as db:
        db.execute("SELECT 1")
        assert len(await search(agent, "needle")) == 4
    assert world.dump() == before


async def test_searching_needs_its_own_permission_alone(world: World, vault_id: VaultId) -> None:
    """403 that names it; with it alone, names are found."""
    agent = world.agent(1, permissions=[Permission.VAULT_READ, Permission.SECRET_READ])
    world.operator.grant(agent.credentials.agent_id, vault_id, Level.READ)
    response = await agent.call("POST", "/search", {"query": "needle"})
    assert (response.status_code, response.json()["error"]["requiredPermission"]) == (403, Permission.SEARCH)
    seeker = world.agent(2, permissions=[Permission.SEARCH])
    world.operator.grant(seeker.credentials.agent_id, vault_id, Level.READ)
    assert len(await search(seeker, "needle")) == 4
