"""The file: private, whole, shared by threads and processes, and free of anything that opens a vault."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from r4_mcp.core.keys import load_private_key
from r4_mcp.core.wire import FieldType, KeyId, VaultId
from r4_mcp.emulator.accounts import AgentCredentials
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.store import FILE_NAME, Store
from r4_mcp.errors import FileAccessError
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind

from .client import AgentClient
from .conftest import World

SPAWN = multiprocessing.get_context("spawn")
WRITES = 6


def mode(path: Path) -> int:
    """Return a path's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    """0700 and 0600, the WAL files too."""
    directory = tmp_path / "vault"
    store = Store.open(directory)
    assert mode(directory) == 0o700
    with store.write() as db:
        db.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
        found = sorted(path.name for path in directory.iterdir())
        assert found == [FILE_NAME, FILE_NAME + "-shm", FILE_NAME + "-wal"]
        assert {mode(path) for path in directory.iterdir()} == {0o600}


def test_a_folder_or_file_that_others_can_open_is_refused(tmp_path: Path) -> None:
    """It is refused with the command that repairs it, never repaired silently."""
    directory = tmp_path / "vault"
    Store.open(directory)
    (directory / FILE_NAME).chmod(0o640)
    with pytest.raises(FileAccessError) as caught:
        Store.open(directory)
    assert caught.value.next_step == f"chmod 600 {directory / FILE_NAME}"
    (directory / FILE_NAME).chmod(0o600)
    directory.chmod(0o750)
    with pytest.raises(FileAccessError) as caught:
        Store.open(directory)
    assert caught.value.next_step == f"chmod 700 {directory}"


def test_what_is_no_embedded_vault_is_refused(tmp_path: Path) -> None:
    """Another file, another schema version, a file in place of the folder."""
    directory = tmp_path / "vault"
    store = Store.open(directory)
    with store.write() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(FileAccessError, match="version 99"):
        Store.open(directory)
    store.path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(FileAccessError, match="not a readable"):
        Store.open(directory)
    with pytest.raises(FileAccessError):
        Store.open(store.path)


def test_a_write_that_raises_leaves_no_trace(tmp_path: Path) -> None:
    """The transaction is rolled back whole."""
    store = Store.open(tmp_path / "vault")

    def interrupted() -> None:
        with store.write() as db:
            db.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    with store.read() as db:
        assert db.execute("SELECT COUNT(*) FROM facts WHERE name = 'a'").fetchone()[0] == 0


def test_foreign_keys_hold(tmp_path: Path) -> None:
    """A grant on nothing is not stored."""
    store = Store.open(tmp_path / "vault")
    with pytest.raises(sqlite3.IntegrityError), store.write() as db:
        db.execute("INSERT INTO grants (vault_id, agent_id, level, created_at) VALUES ('a', 'b', 'READ', 'now')")


def test_a_reader_sees_one_state_while_a_writer_moves_on(tmp_path: Path) -> None:
    """Snapshot isolation: what a request reads belongs together."""
    store = Store.open(tmp_path / "vault")
    count = "SELECT COUNT(*) FROM facts"
    with store.read() as reader:
        before = reader.execute(count).fetchone()[0]
        with store.write() as writer:
            writer.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
        assert reader.execute(count).fetchone()[0] == before
    with store.read() as reader:
        assert reader.execute(count).fetchone()[0] == before + 1


def test_many_threads_at_first_use_meet_one_file(tmp_path: Path) -> None:
    """All of them open the same vault, and no draft is left behind."""
    directory = tmp_path / "vault"

    def tenant(_: int) -> str:
        with Store.open(directory).read() as db:
            return str(db.execute("SELECT value FROM facts WHERE name = 'tenant_id'").fetchone()[0])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(tenant, range(16)))) == 1
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]


async def test_the_file_holds_nothing_that_opens_a_vault(world: World) -> None:
    """Neither plaintext nor DEK nor API secret nor private key stands in any byte of database or WAL."""
    vault_id = world.vault(items=2)
    agent = await world.granted(vault_id, Level.WRITE)
    with world.store.read() as keep:
        # An open connection keeps the WAL on disk, so both files are looked at.
        keep.execute("SELECT 1 FROM facts").fetchone()
        await agent.post_item(vault_id, await agent.item_parts(vault_id, fields=[("Token", FieldType.SECRET, "demo-plaintext")]))
        old = await agent.dek(vault_id)
        world.operator.rotate_dek(vault_id)
        new = await agent.dek(vault_id)
        files = {path.name: path.read_bytes() for path in world.store.path.parent.iterdir()}
    assert FILE_NAME + "-wal" in files
    stored = b"".join(files.values())
    values = [value.reveal().encode() for value in world.operator.open_values(vault_id).values()]
    assert b"demo-plaintext" in values
    secrets = [
        *values,
        agent.credentials.access_secret.reveal().encode(),
        *(encoded for dek in (old, new) for encoded in (dek.key.reveal(), dek.key.reveal().hex().encode())),
    ]
    assert [secret for secret in secrets if secret in stored] == []
    assert b"PRIVATE KEY" not in stored
    assert str(vault_id).encode() in stored


def write_items(directory: str, credentials: tuple[str, str, str], pem: bytes, key_id: str, vault_id: str) -> None:
    """Create items in another process, signing again after each conflict."""
    known = KnownSecrets()
    agent_id, access_key, secret = credentials
    agent = AgentClient(
        create_app(Store.open(Path(directory))),
        AgentCredentials(agent_id, access_key, known.text(secret, SecretKind.API_KEY)),
        load_private_key(pem),
        known,
        KeyId(key_id),
    )

    async def run() -> None:
        for number in range(WRITES):
            for _ in range(100):
                parts = await agent.item_parts(VaultId(vault_id), f"Item {number} of {key_id}")
                response = await agent.post_item(VaultId(vault_id), parts)
                if response.status_code == 201:
                    break
                assert response.status_code == 409, response.text
            else:
                raise AssertionError

    asyncio.run(run())


async def test_two_processes_that_write_at_once_lose_nothing(world: World) -> None:
    """Conflicts are told and retried; in the end every item of both is in the signed summary."""
    vault_id = world.vault(items=0)
    agents = [await world.granted(vault_id, Level.WRITE, number) for number in (0, 1)]
    processes = []
    for agent in agents:
        pem = agent.key.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        credentials = (
            agent.credentials.agent_id,
            agent.credentials.access_key,
            agent.credentials.access_secret.reveal(),
        )
        arguments = (str(world.store.path.parent), credentials, pem, str(agent.key_id), str(vault_id))
        processes.append(SPAWN.Process(target=write_items, args=arguments))
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, 60)
    assert [process.exitcode for process in processes] == [0, 0]
    summary = await agents[0].summary(vault_id)
    assert len(summary.items) == 2 * WRITES
    assert summary.version == 1 + 2 * WRITES
    assert len(world.operator.open_values(vault_id)) == 2 * WRITES
