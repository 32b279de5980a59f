"""Lost replies and interrupted creations: exactly one item, exactly one vault, whatever got lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from r4_mcp.core.wire import FieldType
from r4_mcp.errors import NetworkError, NotFoundError, R4Error, ServiceError
from r4_mcp.machine.contract import API_PREFIX
from r4_mcp.vault.reader import VaultReader
from tests.doors import World
from tests.switchboard import Exchange

from .rooms import draft, runtime

VALUE = "a value that the journal must not hold"


class BrokenOff(Response):
    """An answer that promises more bytes than it sends: for the client the connection broke."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the form of ASGI
        """Send half of an answer."""
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


@dataclass
class Loss:
    """Loses answers: of which requests, how many, and whether the service acted before."""

    world: World
    matches: Callable[[Exchange], bool]
    times: int
    acts: bool
    answer: Response = field(default_factory=BrokenOff)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, exchange: Exchange) -> Response | None:
        """Answer one request, or let it through."""
        if not self.matches(exchange):
            return None
        self.bodies.append(exchange.body)
        if self.times <= 0:
            return None
        self.times -= 1
        if self.acts:
            await self._act(exchange)
        return self.answer

    async def _act(self, exchange: Exchange) -> None:
        transport = httpx.ASGITransport(self.world.tap.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as inside:
            headers = {"X-API-Key": exchange.api_key or ""}
            await inside.request(exchange.method, exchange.path, content=exchange.body, headers=headers)


def is_post(path: str) -> Callable[[Exchange], bool]:
    """Match a POST whose path ends like this."""
    return lambda exchange: exchange.method == "POST" and exchange.path.endswith(path)


def is_anything(_: Exchange) -> bool:
    """Match every request."""
    return True


def journal_files(world: World) -> list[Path]:
    """Return the journal's entries."""
    return sorted((world.home / "journal").glob("*/*.json"))


async def names(reader: VaultReader, world: World, vault: str = "Engineering") -> list[str]:
    """Return the item names of a vault's verified summary."""
    proven = await reader.vault(world.vault_id(vault))
    return [item.name for item in proven.summary.checkpoint.items]


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_lost_answer_to_a_new_item_leaves_exactly_one(world: World, acts: bool) -> None:  # noqa: FBT001 - a case
    """The same call finds out, and sends the same bytes again only where nothing was stored."""
    loss = Loss(world, is_post("/items"), times=1, acts=acts)
    world.tap.intercept = loss
    async with runtime(world) as rooms:
        opened = await rooms.writer.create_item(world.vault_id("Engineering"), draft("Once", VALUE))
        assert (await names(rooms.reader, world)).count("Once") == 1
    assert opened.item.checkpoint.name == "Once"
    assert len(loss.bodies) == (1 if acts else 2)
    assert len(set(loss.bodies)) == 1
    assert journal_files(world) == []


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_network_that_stays_away_leaves_the_item_to_the_next_start(world: World, acts: bool) -> None:  # noqa: FBT001
    """The entry stays, without a plaintext; another process finishes it before anything else; a retry makes no second one."""
    async with runtime(world) as rooms:
        await rooms.registration.ensure()
        await rooms.reader.vault(world.vault_id("Engineering"))
        loss = Loss(world, is_post("/items"), times=1, acts=acts)

        async def gone(exchange: Exchange) -> Response | None:
            return await loss(exchange) if not loss.bodies else BrokenOff()

        world.tap.intercept = gone
        with pytest.raises(NetworkError):
            await rooms.writer.create_item(world.vault_id("Engineering"), draft("Later", VALUE))
    (entry,) = journal_files(world)
    assert VALUE not in entry.read_text()
    assert entry.stat().st_mode & 0o777 == 0o600
    world.tap.intercept = None
    async with runtime(world) as rooms:
        await rooms.writer.recover()
        assert (await names(rooms.reader, world)).count("Later") == 1
    assert journal_files(world) == []


async def test_a_retry_finishes_the_interrupted_item_instead_of_making_a_second(world: World) -> None:
    """Same name, type, fields and values as the prepared one: the prepared one is the answer."""
    loss = Loss(world, is_post("/items"), times=1, acts=False, answer=Response(status_code=500))
    world.tap.intercept = loss
    vault_id = world.vault_id("Engineering")
    async with runtime(world) as rooms:
        with pytest.raises(ServiceError):
            await rooms.writer.create_item(vault_id, draft("Retried", VALUE))
        assert len(journal_files(world)) == 1
        world.tap.intercept = None
        again = await rooms.writer.create_item(vault_id, draft("Retried", VALUE))
        other = await rooms.writer.create_item(vault_id, draft("Retried", "another value than before"))
        assert (await names(rooms.reader, world)).count("Retried") == 2
    assert again.item.checkpoint.item_id != other.item.checkpoint.item_id


async def test_a_clear_refusal_settles_the_entry(world: World) -> None:
    """A 4xx says that nothing was stored, so nothing is kept to be stored later."""
    world.tap.intercept = Loss(world, is_post("/items"), times=9, acts=False, answer=Response(status_code=400))
    async with runtime(world) as rooms:
        with pytest.raises(ServiceError):
            await rooms.writer.create_item(world.vault_id("Engineering"), draft("Refused", VALUE))
    assert journal_files(world) == []


async def test_an_entry_under_a_key_that_is_gone_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The vault's key changed meanwhile: the sealed values are worthless, which is logged by id, and the journal is clear."""
    vault_id = world.vault_id("Engineering")
    loss = Loss(world, is_post("/items"), times=9, acts=False)
    world.tap.intercept = loss
    async with runtime(world) as rooms:
        with pytest.raises(NetworkError):
            await rooms.writer.create_item(vault_id, draft("Too late", VALUE))
    world.tap.intercept = None
    world.seeded.operator.rotate_dek(vault_id)
    async with runtime(world) as rooms:
        await rooms.writer.recover()
        assert "Too late" not in await names(rooms.reader, world)
    assert journal_files(world) == []
    assert "was not stored: values_lost" in caplog.text


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
@pytest.mark.parametrize("path", [f"{API_PREFIX}/vault", "/wrapped-key"])
async def test_an_interrupted_vault_is_completed_on_the_next_start(world: World, path: str, acts: bool) -> None:  # noqa: FBT001
    """Whichever of its two requests was lost, and whether the service acted: one vault, and it opens."""
    loss = Loss(world, is_post(path), times=9, acts=acts)
    world.tap.intercept = loss
    async with runtime(world) as rooms:
        await rooms.registration.ensure()
        with_error = None
        try:
            await rooms.writer.create_vault("Half done", None, None)
        except R4Error as error:
            with_error = error
    world.tap.intercept = None
    async with runtime(world) as rooms:
        await rooms.writer.recover()
        mine = [vault for vault in await rooms.reader.list_vaults() if vault.name == "Half done"]
        assert len(mine) == 1
        await rooms.reader.dek(await rooms.reader.vault(mine[0].id))
    assert journal_files(world) == []
    # Where the service acted on the first request, the call itself found out and went on.
    assert (with_error is None) == (acts and path.endswith("/vault"))


async def test_a_retry_of_an_interrupted_vault_returns_that_vault(world: World) -> None:
    """The same name and classification: the prepared vault is completed, not doubled."""
    world.tap.intercept = Loss(world, is_post("/wrapped-key"), times=1, acts=False)
    async with runtime(world) as rooms:
        with pytest.raises(NetworkError):
            await rooms.writer.create_vault("Twice asked", None, None)
        world.tap.intercept = None
        vault = await rooms.writer.create_vault("Twice asked", None, None)
        listed = [listed.id for listed in await rooms.reader.list_vaults() if listed.name == "Twice asked"]
    assert listed == [vault.id]


async def test_a_refused_vault_is_not_made_later(world: World) -> None:
    """A 4xx says that nothing was stored."""
    world.tap.intercept = Loss(world, is_post(f"{API_PREFIX}/vault"), times=9, acts=False, answer=Response(status_code=400))
    async with runtime(world) as rooms:
        with pytest.raises(ServiceError):
            await rooms.writer.create_vault("Refused", None, None)
    assert journal_files(world) == []


async def test_an_interrupted_vault_that_moved_on_is_completed(world: World) -> None:
    """Its answer was lost, and somebody has put an item into it before the next start."""
    world.tap.intercept = Loss(world, is_post("/wrapped-key"), times=9, acts=True)
    elsewhere = {**world.environment, "R4_HOME": str(world.home / "elsewhere")}
    async with runtime(world) as rooms:
        with pytest.raises(NetworkError):
            await rooms.writer.create_vault("Moved on", None, None)
    world.tap.intercept = None
    async with runtime(world, elsewhere) as other:
        (vault_id,) = [vault.id for vault in await other.reader.list_vaults() if vault.name == "Moved on"]
        await other.writer.create_item(vault_id, draft("Newcomer", VALUE))
    async with runtime(world) as rooms:
        await rooms.writer.recover()
        assert (await rooms.reader.vault(vault_id)).summary.checkpoint.version == 2
    assert journal_files(world) == []


def is_delete(exchange: Exchange) -> bool:
    """Match what archives."""
    return exchange.method == "DELETE"


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_lost_answer_to_archiving_is_looked_after(world: World, acts: bool) -> None:  # noqa: FBT001 - a case
    """What is gone is archived; what is still there is told with the network's error, and can be archived again."""
    item = world.add_item("Engineering", "Leaving", ("Token", FieldType.SECRET, VALUE))
    vault_id = world.vault_id("Engineering")
    async with runtime(world) as rooms:
        leaving = await rooms.writer.create_vault("Leaving too", None, None)

        async def archive(what: Callable[[], Awaitable[object]]) -> None:
            world.tap.intercept = Loss(world, is_delete, times=1, acts=acts)
            if not acts:
                with pytest.raises(NetworkError):
                    await what()
                await what()
            else:
                await what()
            with pytest.raises(NotFoundError):
                await what()

        await archive(lambda: rooms.writer.archive_item(vault_id, item.item_id))
        await archive(lambda: rooms.writer.archive_vault(leaving.id))
        assert "Leaving" not in await names(rooms.reader, world)
