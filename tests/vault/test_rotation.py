"""Rotation of the runtime's key through the tool: what it asks of the service, what it leaves on disk, who goes on with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import VaultId
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.faults import find_fault
from r4_mcp.emulator.faults_liar import Liar
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.machine.contract import Level
from r4_mcp.vault.key_file import NEW_BITS
from tests.doors import ERAS, Door, Era, Person, Steps, World, in_memory, inside, subprocess, write_private
from tests.switchboard import Exchange

every_era = pytest.mark.parametrize("era", ERAS)

KEY_PATH: Final = "R4_PRIVATE_KEY_PATH"
REGISTER: Final = "POST /vault/public-key"


def key_of(world: World) -> PrivateKey:
    """Return the key that the runtime JSON holds."""
    return load_private_key(world.agent_members()["privateKey"].encode())


def beside(path: Path) -> set[str]:
    """Return what is in a key file's folder under its name, but for its lock."""
    return {entry.name for entry in path.parent.iterdir() if path.name in entry.name and entry.suffix != ".lock"}


def journal(world: World) -> list[Path]:
    """Return the journal's entries."""
    return list((world.home / "journal").glob("*/*.json"))


def registered(world: World) -> str:
    """Return the fingerprint of the agent's active key at the service."""
    with world.store.read() as db:
        key = active_key(db, world.seeded.credentials.agent_id)
    assert key is not None
    return key.public.fingerprint


def environment_with_pem(world: World, path: Path) -> dict[str, str]:
    """Put the seed's key into a PEM file of its own; returns the environment of its agent."""
    members = world.agent_members()
    write_private(path, members["privateKey"])
    return {
        "R4_API_KEY": f"{members['accessKey']}.{members['accessSecret']}",
        KEY_PATH: str(path),
        "R4_BASE_URL": world.base_url,
        "R4_HOME": str(world.home),
    }


@contextmanager
def the_key_stays(world: World, path: Path) -> Iterator[None]:
    """The file holds the same bytes, nothing is left beside it or in the journal, and the service keeps what it has."""
    content, names, rows = path.read_bytes(), beside(path), world.dump()
    world.tap.exchanges.clear()
    yield
    assert path.read_bytes() == content
    assert beside(path) == names
    assert journal(world) == []
    assert world.dump() == rows
    assert REGISTER not in world.tap.lines()


@every_era
async def test_the_runtime_json_is_switched_in_place(world: World, era: Era) -> None:
    """The new key takes the old one's place among the other members; the old one is kept beside it, and only its owner reads."""
    path = world.seeded.config_path
    members = {**world.agent_members(), "note": "kept — word for word", "nested": {"list": [1, None, True]}}
    write_private(path, json.dumps(members))
    old = world.seeded.agent_key
    async with in_memory(world.environment, era, Person()) as door:
        told = await door.ok("rotate_key")
    new = key_of(world)
    assert {**json.loads(path.read_text()), "privateKey": ""} == {**members, "privateKey": ""}
    assert new.rsa.key_size == NEW_BITS
    assert registered(world) == new.public.fingerprint
    assert told == {
        "key_id": told["key_id"],
        "fingerprint": new.public.fingerprint[:16],
        "previous_key_id": world.seeded.agent_key_id,
        "vaults": len(world.seeded.vaults),
        "not_read_back": [],
        "left_out": [],
        "resumed": False,
        "note": told["note"],
    }
    assert told["key_id"] != told["previous_key_id"]
    retired = path.with_name(f"{path.name}.retired-{old.public.fingerprint[:16]}.pem")
    assert beside(path) == {path.name, retired.name}
    assert load_private_key(retired.read_bytes()).public.fingerprint == old.public.fingerprint
    assert {entry.stat().st_mode & 0o777 for entry in (path, retired)} == {0o600}
    assert journal(world) == []


async def test_a_pem_file_is_switched_in_place(world: World) -> None:
    """A PEM stays a PEM; ``agent.json`` is not touched; a server that starts afterwards reads with the new key."""
    path = world.home / "runtime key.pem"
    environment = environment_with_pem(world, path)
    runtime_json = world.seeded.config_path.read_bytes()
    async with in_memory(environment, answer=Person()) as door:
        told = await door.ok("rotate_key")
    new = load_private_key(path.read_bytes())
    assert new.public.fingerprint.startswith(told["fingerprint"])
    assert registered(world) == new.public.fingerprint
    assert beside(path) == {path.name, f"{path.name}.retired-{world.seeded.agent_key.public.fingerprint[:16]}.pem"}
    assert world.seeded.config_path.read_bytes() == runtime_json
    async with in_memory(environment) as door:
        await use(door)


async def use(door: Door, name: str = "After") -> None:
    """Read, create, read it back and archive it."""
    assert (await door.ok("read_secret", reference="r4://Engineering/Sentry/Auth%20Token"))["value"]
    fields = [{"name": "Token", "type": "SECRET", "value": "a value of the test"}]
    made = await door.ok("create_item", vault="Engineering", name=name, type="CUSTOM", fields=fields)
    assert (await door.ok("read_secret", reference=made["fields"][0]["reference"]))["value"] == "a value of the test"
    assert (await door.ok("archive_item", reference=made["reference"]))["id"] == made["id"]


@every_era
async def test_the_same_process_goes_on_with_the_new_key(world: World, era: Era) -> None:
    """Read, create and archive before and after, without a restart, and after a second rotation too."""
    async with in_memory(world.environment, era, Person()) as door:
        await use(door, "Before")
        for number in range(2):
            told = await door.ok("rotate_key")
            await use(door, f"After {number}")
            standing = await door.ok("whoami")
            assert (standing["key"], standing["fingerprint"]) == ("registered", told["fingerprint"])
            assert standing["missing"] == []
    assert len(beside(world.seeded.config_path)) == 3


async def test_a_process_without_a_memory_believes_a_rotated_key(world: World, tmp_path: Path) -> None:
    """A new home: first contact with a directory that shows two rotations; everything is read and written."""
    async with in_memory(world.environment, answer=Person()) as door:
        await door.ok("rotate_key")
        await use(door)
        await door.ok("rotate_key")
    async with in_memory({**world.environment, "R4_HOME": str(tmp_path / "another home")}) as door:
        await use(door)


@pytest.mark.stdio
@every_era
async def test_another_long_lived_process_goes_on(world: World, era: Era, tmp_path: Path) -> None:
    """It has used the old key, and notices by itself that the file was replaced."""
    async with subprocess(world.environment, stderr=tmp_path / "stderr", era=era) as other:
        await use(other, "Before")
        async with in_memory(world.environment, era, Person()) as door:
            told = await door.ok("rotate_key")
        await use(other)
        assert (await other.ok("whoami"))["fingerprint"] == told["fingerprint"]


async def test_a_rotation_through_the_real_server_leaves_no_key_in_its_log(world: World, tmp_path: Path) -> None:
    """Over stdio; its stderr holds neither the old nor the new key, nor a whole fingerprint."""
    stderr = tmp_path / "stderr"
    old = world.agent_members()["privateKey"]
    async with subprocess(world.environment, stderr=stderr, answer=Person()) as door:
        await door.ok("rotate_key")
        await use(door)
        said = "".join(door.raw) + stderr.read_text()
    for pem in (old, world.agent_members()["privateKey"]):
        assert not any(line in said for line in pem.splitlines())
    assert key_of(world).public.fingerprint not in said


@every_era
async def test_progress_grows_to_its_total(world: World, era: Era) -> None:
    """One step a vault to wrap it, one to read it back, and one for the switch; each number is greater than the one before."""
    steps: Steps = []
    async with in_memory(world.environment, era, Person()) as door:
        told = await door.result("rotate_key", {}, steps)
    assert not told.is_error
    total = 2 * len(world.seeded.vaults) + 1
    assert steps == [(done, total) for done in range(1, total + 1)]


WAITING: Final = ("Production", "Public Site")


async def waiting_agent(world: World) -> dict[str, str]:
    """Make an agent with one vault that it opens and two that wait for their grant; returns its environment."""
    agent_id, environment = world.new_agent()
    for name in WAITING:
        world.seeded.operator.grant(agent_id, world.vault_id(name), Level.READ)
    async with in_memory(environment) as door:
        await door.ok("list_vaults")
        world.seeded.operator.grant(agent_id, world.vault_id("Engineering"), Level.WRITE)
        assert len((await door.ok("whoami"))["waiting_for_grant"]) == len(WAITING)
    return environment


async def test_a_vault_that_waits_for_its_grant_is_left_out(world: World) -> None:
    """Nothing is wrapped for us there, so nothing is wrapped again; the others are, and a later grant is for the new key."""
    environment = await waiting_agent(world)
    async with in_memory(environment, answer=Person()) as door:
        assert (await door.ok("rotate_key"))["vaults"] == 1
        await use(door)
        standing = await door.ok("whoami")
        assert len(standing["waiting_for_grant"]) == len(WAITING)
        for name in WAITING:
            world.seeded.operator.grant(standing["agent_id"], world.vault_id(name), Level.READ)
        assert (await door.ok("whoami"))["waiting_for_grant"] == []


async def test_an_agent_without_a_vault_rotates_its_key(world: World) -> None:
    """There is nothing to wrap and nothing to read back, and the key is another one."""
    _, environment = world.new_agent()
    async with in_memory(environment, answer=Person()) as door:
        assert (await door.ok("list_vaults"))["vaults"] == []
        told = await door.ok("rotate_key")
        assert told["vaults"] == 0
        assert (await door.ok("whoami"))["fingerprint"] == told["fingerprint"]


async def test_progress_grows_where_a_vault_waits_for_its_grant(world: World) -> None:
    """What is left out makes no number smaller than one before it, and the last is the total."""
    environment = await waiting_agent(world)
    steps: Steps = []
    async with in_memory(environment, answer=Person()) as door:
        assert not (await door.result("rotate_key", {}, steps)).is_error
    numbers = [done for done, _ in steps]
    assert numbers == sorted(set(numbers)), steps
    assert steps[-1][0] == steps[-1][1]


async def test_a_rotation_asks_three_requests_a_vault_each_way(world: World) -> None:
    """Directory, listing and wrapped key before, the same after; who we are, the list and the one write: no more."""
    async with in_memory(world.environment, answer=Person()) as door:
        await door.ok("list_vaults")
        world.tap.exchanges.clear()
        await door.ok("rotate_key")
    expected = Counter({"GET /me": 1, "GET /vault": 1, REGISTER: 1})
    for vault_id in world.seeded.vaults.values():
        expected += Counter({f"GET /vault/{vault_id}/{part}": 2 for part in ("public-keys", "items", "wrapped-key")})
    assert Counter(world.tap.lines()) == expected
    assert sum(expected.values()) == 6 * len(world.seeded.vaults) + 3
    assert all(not exchange.query.startswith("projectId") for exchange in world.tap.exchanges)


async def test_a_filter_does_not_narrow_a_rotation(world: World) -> None:
    """``R4_PROJECT_ID`` hides vaults from listings; their keys are wrapped again all the same."""
    environment = {**world.environment, "R4_PROJECT_ID": world.seeded.project_id}
    async with in_memory(environment, answer=Person()) as door:
        shown = (await door.ok("list_vaults"))["vaults"]
        told = await door.ok("rotate_key")
    assert len(shown) < told["vaults"] == len(world.seeded.vaults)
    async with in_memory(world.environment) as door:
        lines = (await door.ok("list_vaults"))["vaults"]
        assert [line["verified"] for line in lines] == [True] * len(world.seeded.vaults)
        await use(door)


async def test_a_vault_that_was_opened_before_and_is_not_listed_is_named(world: World) -> None:
    """The operator archived it: it is in no batch, so the result names it, and the old key that opens it is kept."""
    vault_id = world.vault_id("Public Site")
    async with in_memory(world.environment, answer=Person()) as door:
        # The first rotation opens every vault.
        assert (await door.ok("rotate_key"))["left_out"] == []
        world.seeded.operator.archive_vault(vault_id)
        told = await door.ok("rotate_key")
    assert told["left_out"] == [f"r4://{vault_id}"]
    assert (told["vaults"], told["not_read_back"]) == (len(world.seeded.vaults) - 1, [])


def flip(text: str) -> str:
    """Return base64 or hex of the same length that says something else."""
    return ("1" if text[0] != "1" else "2") + text[1:]


def other_root(answer: dict[str, Any]) -> None:
    """Let a signer log have another root."""
    answer["head"]["rootHash"] = flip(answer["head"]["rootHash"])


def other_summary(answer: dict[str, Any]) -> None:
    """Let a listing name one item otherwise than its signed summary does."""
    answer["items"][0]["name"] += " "


def other_signature(answer: dict[str, Any]) -> None:
    """Let a wrapped key have another signature."""
    answer["wrappedDekSignature"] = flip(answer["wrappedDekSignature"])


LIES: Final[dict[str, tuple[Callable[[dict[str, Any]], None], str]]] = {
    "public-keys": (other_root, "transparency_failed"),
    "items": (other_summary, "served_differs_from_signed"),
    "wrapped-key": (other_signature, "signature_invalid"),
}


def lying(world: World, vault_id: VaultId, part: str) -> Callable[[Exchange], Any]:
    """Return an intercept that alters one answer about one vault."""
    edit, _ = LIES[part]

    async def intercept(exchange: Exchange) -> Response | None:
        if not exchange.line.endswith(f"/{vault_id}/{part}"):
            return None
        transport = httpx.ASGITransport(world.tap.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as service:
            headers = {"X-API-Key": exchange.api_key or ""}
            honest = await service.get(f"{exchange.path}?{exchange.query}", headers=headers)
        answer = honest.json()
        edit(answer)
        return JSONResponse(answer)

    return intercept


@pytest.mark.parametrize("part", LIES)
async def test_a_vault_that_does_not_verify_stops_the_rotation(world: World, part: str) -> None:
    """One lie about one vault of several: it is named, nothing is sent, nothing is left; the next honest run succeeds."""
    vault_id = world.vault_id("Engineering")
    async with in_memory(world.environment, answer=Person()) as door:
        await door.ok("list_vaults")
        world.tap.intercept = lying(world, vault_id, part)
        with the_key_stays(world, world.seeded.config_path):
            told = await door.refused("rotate_key", LIES[part][1])
        assert vault_id in told["message"]
        assert "not rotated" in told["message"]
        world.tap.intercept = None
        assert (await door.ok("rotate_key"))["vaults"] == len(world.seeded.vaults)
        await use(door)


async def test_a_signer_that_stops_the_rotation_comes_with_the_command_that_trusts_it(world: World) -> None:
    """A stranger signed a vault: the refusal names the vault, and says what a person can do, as it does everywhere else."""
    fault = find_fault("attacker-signer-added")
    assert fault.lie is not None
    liar = Liar(world.store, world.seeded.config_path.parent, world.known, keys=world.spare_keys)
    async with in_memory(world.environment, answer=Person()) as door:
        await door.ok("list_vaults")
        world.tap.app = create_app(world.store, liar.answer)
        liar.tell(fault.lie)
        with the_key_stays(world, world.seeded.config_path):
            told = await door.refused("rotate_key", "signer_not_trusted")
    assert any(vault_id in told["message"] for vault_id in world.seeded.vaults.values())
    assert "r4-mcp trust add" in told["next_step"]


async def test_a_key_in_a_setting_is_refused_with_the_way_out(world: World) -> None:
    """``R4_PRIVATE_KEY`` can't be replaced: said before anything is sent, and nothing is written."""
    members = world.agent_members()
    environment = {
        "R4_API_KEY": f"{members['accessKey']}.{members['accessSecret']}",
        "R4_PRIVATE_KEY": members["privateKey"],
        "R4_BASE_URL": world.base_url,
        "R4_HOME": str(world.home),
    }
    async with in_memory(environment, answer=Person()) as door:
        await door.ok("list_vaults")
        with the_key_stays(world, world.seeded.config_path):
            told = await door.refused("rotate_key", "configuration_invalid")
        assert world.tap.lines() == []
        await use(door)
    assert "R4_PRIVATE_KEY" in told["message"]
    assert "R4_PRIVATE_KEY_PATH" in told["next_step"]


async def test_a_key_file_that_cannot_be_replaced_is_found_out_before_a_key_is_made(world: World) -> None:
    """Its name is as long as names may be, so no file can be written beside it: no new secret exists, and nothing was sent."""
    path = world.home / f"{'k' * 251}.pem"
    async with inside(environment_with_pem(world, path), answer=Person()) as opened:
        await opened.door.ok("list_vaults")
        secrets = len(opened.known)
        with the_key_stays(world, path):
            told = await opened.door.refused("rotate_key", "file_access")
        assert len(opened.known) == secrets
        assert world.tap.lines() == []
        await use(opened.door)
    assert str(path) in told["message"]
