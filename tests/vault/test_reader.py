"""Reading: what is remembered moves forward only, and honest interleaving is not taken for an attack."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.wire import FieldType, ItemId, VaultId
from r4_mcp.errors import (
    DisagreementError,
    MalformedError,
    NotFoundError,
    R4Error,
    RollbackError,
    SignatureError,
    VerificationError,
)
from r4_mcp.machine.contract import API_PREFIX, LIST_VAULTS, MAX_PAGES
from tests.doors import World
from tests.switchboard import START_SECONDS, Exchange, Intercept

from .rooms import runtime

SECRET: Final = FieldType.SECRET


def once_before(path_end: str, act: Callable[[], object]) -> Intercept:
    """Do something once, just before a request whose path ends like this is answered."""
    done = False

    async def intercept(exchange: Exchange) -> Response | None:
        nonlocal done
        if not done and exchange.path.endswith(path_end):
            done = True
            await anyio.to_thread.run_sync(act)
        return None

    return intercept


@pytest.mark.parametrize("between", ["/public-keys", "/items"])
async def test_a_write_between_two_fetches_is_no_attack(world: World, between: str) -> None:
    """Rules 1 and 2: whichever fetch the honest write falls before, the vault is proven in the end."""
    vault_id = world.vault_id("Engineering")
    async with runtime(world) as one:
        first = await one.reader.vault(vault_id)
        world.tap.intercept = once_before(between, lambda: world.add_item("Engineering", "between"))
        second = await one.reader.vault(vault_id)
    # The two fetches run at once, so the listing may be from before the write or from after it; both are honest.
    assert second.summary.checkpoint.version - first.summary.checkpoint.version in {0, 1}


async def test_an_older_answer_that_was_overtaken_by_another_reader_is_no_rollback(world: World) -> None:
    """Rule 1: a slow read holds version 1 while another task proves version 2; the slow one fetches again."""
    vault_id = world.vault_id("Engineering")
    held, release = threading.Event(), threading.Event()

    async def hold(exchange: Exchange) -> Response | None:
        if held.is_set() or not exchange.path.endswith("/items"):
            return None
        old = JSONResponse(await genuine_answer(world, exchange))
        held.set()
        await anyio.to_thread.run_sync(release.wait, START_SECONDS)
        return old

    versions: dict[str, int] = {}
    async with runtime(world) as one:
        before = (await one.reader.vault(vault_id)).summary.checkpoint.version

        async def read(who: str) -> None:
            versions[who] = (await one.reader.vault(vault_id)).summary.checkpoint.version

        world.tap.intercept = hold
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, "slow")
            assert await anyio.to_thread.run_sync(held.wait, START_SECONDS)
            world.add_item("Engineering", "newer")
            await read("quick")
            release.set()
    assert versions == {"slow": before + 1, "quick": before + 1}


async def stored_items(world: World, vault_id: VaultId) -> Response:
    """Return the item listing as it is served now."""
    captured: list[bytes] = []
    async with runtime(world) as one:
        captured.append(await one.reader._machine.items(vault_id))  # noqa: SLF001 - the raw bytes are what is replayed
    return Response(captured[0], media_type="application/json")


async def test_a_rollback_is_refused_and_leaves_the_memory_as_it_was(world: World) -> None:
    """The listing of yesterday, served for ever: refused each time; afterwards the honest one is proven again."""
    vault_id = world.vault_id("Engineering")
    old = await stored_items(world, vault_id)
    world.add_item("Engineering", "newer")

    async def replay(exchange: Exchange) -> Response | None:
        return old if exchange.path.endswith("/items") else None

    async with runtime(world) as one:
        newest = await one.reader.vault(vault_id)
        world.tap.intercept = replay
        for _ in range(2):
            with pytest.raises(RollbackError):
                await one.reader.vault(vault_id)
        world.tap.intercept = None
        assert (await one.reader.vault(vault_id)).summary.checkpoint == newest.summary.checkpoint


def rewrite(path_end: str, change: Callable[[dict[str, Any]], object]) -> Callable[[World], Awaitable[Intercept]]:
    """Serve the genuine answer with one change."""

    async def prepare(world: World) -> Intercept:
        async def intercept(exchange: Exchange) -> Response | None:
            if not exchange.path.endswith(path_end):
                return None
            genuine = await genuine_answer(world, exchange)
            change(genuine)
            return JSONResponse(genuine)

        return intercept

    return prepare


async def genuine_answer(world: World, exchange: Exchange) -> dict[str, Any]:
    """Ask the world's app itself."""
    import httpx  # noqa: PLC0415 - the only use

    transport = httpx.ASGITransport(world.tap.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as http:
        answer = await http.get(exchange.path, params=exchange.query, headers={"X-API-Key": exchange.api_key or ""})
    members: dict[str, Any] = answer.json()
    return members


LIES: Final[dict[str, tuple[str, Callable[[dict[str, Any]], object], type[VerificationError]]]] = {
    "an item is hidden": (
        "/items",
        lambda served: served.update(items=served["items"][1:], count=served["count"] - 1),
        DisagreementError,
    ),
    "an item is renamed": ("/items", lambda served: served["items"][0].update(name="Renamed"), DisagreementError),
    "an item is served twice": ("/items", lambda served: served["items"].append(served["items"][0]), VerificationError),
    "the classification is lowered": ("/items", lambda served: served.update(dataClassification="PUBLIC"), DisagreementError),
    "the signed name is changed": (
        "/items",
        lambda served: served["summaryCheckpoint"]["checkpoint"].update(name="Other"),
        SignatureError,
    ),
    "an unknown member in what was signed": (
        "/items",
        lambda served: served["summaryCheckpoint"]["checkpoint"].update(extra=1),
        MalformedError,
    ),
    "the count is another": ("/items", lambda served: served.update(count=99), MalformedError),
    "a signer's key is swapped": (
        "/public-keys",
        lambda served: served["signers"][0].update(publicKey=served["signers"][1]["publicKey"]),
        VerificationError,
    ),
    "the log's root is another": (
        "/public-keys",
        lambda served: served["head"].update(rootHash="A" * 43 + "="),
        VerificationError,
    ),
    "another vault's directory": ("/public-keys", lambda served: served.update(vaultId="0" * 24), VerificationError),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_with_no_dependent_request(world: World, lie: str) -> None:
    """Each is refused for its own reason; no key and no item is asked for, and nothing is written."""
    path_end, change, expected = LIES[lie]
    world.tap.intercept = await rewrite(path_end, change)(world)
    async with runtime(world) as one:
        await one.registration.ensure()
        world.tap.exchanges.clear()
        with pytest.raises(expected):
            await one.reader.item(world.vault_id("Engineering"), lambda vault: vault.summary.checkpoint.items[0].id)
    assert {exchange.path.rpartition("/")[2] for exchange in world.tap.exchanges} == {"public-keys", "items"}
    assert {exchange.method for exchange in world.tap.exchanges} == {"GET"}


FIELD_LIES: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "another field's ciphertext": lambda served: served.update(value=served["value"].replace('"d":"', '"d":"AAAA', 1)),
    "another instance": lambda served: served.update(fieldInstanceId="0" * 24),
    "another type": lambda served: served.update(type="TEXT"),
    "another item": lambda served: served.update(vaultItemId="0" * 24),
}


@pytest.mark.parametrize("lie", FIELD_LIES)
async def test_a_lie_about_a_field_reveals_nothing(world: World, lie: str) -> None:
    """Ciphertext and metadata of one field only open where they were signed."""
    created = world.add_item("Engineering", "Target", ("Token", SECRET, "the target's value"))
    vault_id, field_id = world.vault_id("Engineering"), created.field_ids[0]
    world.tap.intercept = await rewrite(field_id, FIELD_LIES[lie])(world)
    async with runtime(world) as one:
        with pytest.raises(VerificationError):
            await one.opener.open_field(await one.reader.field(vault_id, field_id))


async def test_a_key_change_between_locating_and_opening_is_survived(world: World) -> None:
    """Rule 2: the operator changes the vault's key after the field was located; the value still opens."""
    created = world.add_item("Engineering", "Target", ("Token", SECRET, "the target's value"))
    vault_id = world.vault_id("Engineering")
    async with runtime(world) as one:
        located = await one.reader.field(vault_id, created.field_ids[0])
        world.seeded.operator.rotate_dek(vault_id)
        assert (await one.opener.open_field(located)).reveal() == "the target's value"


async def test_what_does_not_exist_is_not_found(world: World) -> None:
    """A vault, an item and a field of unknown ids: one class, no guess about others' things."""
    vault_id = world.vault_id("Engineering")
    none = "0" * 24
    async with runtime(world) as one:
        for call in (
            one.reader.vault(VaultId(none)),
            one.reader.item(vault_id, ItemId(none)),
            one.reader.field(vault_id, none),  # type: ignore[arg-type]  # any id will do
        ):
            with pytest.raises(NotFoundError):
                await call


async def listed(world: World) -> list[dict[str, Any]]:
    """Return the lines of the vault list as the service tells them."""
    members = world.agent_members()
    key = f"{members['accessKey']}.{members['accessSecret']}"
    lines: list[dict[str, Any]] = (await genuine_answer(world, Exchange("GET", API_PREFIX + LIST_VAULTS.path, "", key, b"")))[
        "vaults"
    ]
    return lines


async def test_paged_vault_lists_are_read_whole(world: World) -> None:
    """Contract §1: pages are accepted; one that lies about its number, or repeats a vault, is refused."""
    genuine: dict[str, Any] = {}

    async def pages(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith("/vault"):
            return None
        if not genuine:
            genuine.update(await genuine_answer(world, Exchange("GET", exchange.path, "", exchange.api_key, b"")))
        number = int(exchange.query.partition("page=")[2].partition("&")[0] or 1)
        part = genuine["vaults"][2 * (number - 1) : 2 * number]
        return JSONResponse({"data": part, "pagination": {"page": number, "limit": 2, "total": 4, "totalPages": 2}})

    world.tap.intercept = pages
    async with runtime(world) as one:
        assert {vault.id for vault in await one.reader.list_vaults()} == set(world.seeded.vaults.values())
        genuine["vaults"][3] = genuine["vaults"][0]
        with pytest.raises(MalformedError, match="names a vault twice"):
            await one.reader.list_vaults()


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"page": 1, "totalPages": 2}, "another page than the one asked for"),
        ({"page": 0, "totalPages": 1}, "page"),
        ({"page": 1, "totalPages": 1}, None),
        ({"page": 7, "totalPages": 1}, None),
    ],
)
async def test_a_list_that_stands_still_is_refused(world: World, told: dict[str, int], refusal: str | None) -> None:
    """Each answer says which page it is; where there is but one, what it calls itself costs nobody a vault."""
    vaults = await listed(world)

    async def page(exchange: Exchange) -> Response | None:
        pages = {"limit": 50, "total": len(vaults), **told}
        return JSONResponse({"data": vaults, "pagination": pages}) if exchange.path.endswith("/vault") else None

    world.tap.intercept = page
    async with runtime(world) as one:
        if refusal is None:
            assert {vault.id for vault in await one.reader.list_vaults()} == set(world.seeded.vaults.values())
            return
        with pytest.raises(MalformedError, match=refusal):
            await one.reader.list_vaults()


async def test_a_list_without_end_is_refused(world: World) -> None:
    """There is always one page more, each with another vault."""
    line = (await listed(world))[0]

    async def page(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith("/vault"):
            return None
        number = int(exchange.query.partition("page=")[2].partition("&")[0] or 1)
        pages = {"page": number, "limit": 1, "total": 10**6, "totalPages": 10**6}
        return JSONResponse({"data": [{**line, "id": f"{number:024x}"}], "pagination": pages})

    world.tap.intercept = page
    async with runtime(world) as one:
        with pytest.raises(MalformedError, match=f"more than {MAX_PAGES} pages"):
            await one.reader.list_vaults()
    assert len(world.tap.exchanges) <= MAX_PAGES + 2


async def test_reading_at_once_is_reading(world: World) -> None:
    """Ten reads of one vault from an empty memory: all succeed, all agree."""
    vault_id = world.vault_id("Engineering")
    seen: list[int] = []
    async with runtime(world) as one:

        async def read() -> None:
            seen.append((await one.reader.vault(vault_id)).summary.checkpoint.version)

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(read)
        except ExceptionGroup as group:
            errors = [error for error in group.exceptions if isinstance(error, R4Error)]
            raise errors[0] from None
    assert len(seen) == 10
    assert len(set(seen)) == 1
