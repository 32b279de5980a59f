"""First use makes one vault with one agent, however many processes start at once."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from r4_mcp.emulator.agent_file import AgentFile, read_agent_file
from r4_mcp.emulator.embedded import Embedded, open_embedded
from r4_mcp.errors import FileAccessError
from r4_mcp.machine.contract import ALL_ENDPOINTS
from r4_mcp.secret import KnownSecrets

from .client import AgentClient
from .conftest import BITS

SPAWN = multiprocessing.get_context("spawn")


def client(embedded: Embedded, known: KnownSecrets) -> AgentClient:
    """Make a client of what ``agent.json`` holds."""
    agent: AgentFile = read_agent_file(embedded.config_path, known)
    return AgentClient(embedded.app, agent.credentials, agent.key(), known)


async def test_first_use_makes_an_agent_that_can_do_everything(tmp_path: Path, known: KnownSecrets) -> None:
    """It registers its key itself, creates a vault and an item, and opens it again."""
    embedded = open_embedded(tmp_path / "home", known, bits=BITS)
    agent = client(embedded, known)
    me = (await agent.call("GET", "/me")).json()
    assert me["activeEncryptionKeyId"] is None
    assert me["vaultWrite"]["allowed"] is True
    assert all(any(needed in me["permissions"] for needed in end.permissions) for end in ALL_ENDPOINTS if end.permissions)
    assert (await agent.register()).status_code == 201
    vault_id = await agent.create_vault()
    assert (await agent.post_item(vault_id, await agent.item_parts(vault_id))).status_code == 201


def test_the_files_are_private_and_of_the_documented_form(tmp_path: Path, known: KnownSecrets) -> None:
    """0600 with exactly four members, of the shapes that R4's keys have."""
    embedded = open_embedded(tmp_path / "home", known, bits=BITS)
    assert stat.S_IMODE(embedded.config_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(embedded.config_path.parent.stat().st_mode) == 0o700
    members = json.loads(embedded.config_path.read_text("ascii"))
    assert set(members) == {"agentId", "accessKey", "accessSecret", "privateKey"}
    assert (len(members["accessKey"]), members["accessKey"][:3]) == (15, "rk_")
    assert len(members["accessSecret"]) == 43
    assert members["privateKey"].startswith("-----BEGIN PRIVATE KEY-----\n")
    assert members["accessSecret"] in known.armed()


def test_the_second_use_finds_the_same_agent(tmp_path: Path, known: KnownSecrets) -> None:
    """Nothing is made again."""
    first = open_embedded(tmp_path / "home", known, bits=BITS)
    written = first.config_path.read_bytes()
    second = open_embedded(tmp_path / "home", known, bits=BITS)
    assert second.config_path.read_bytes() == written
    with second.store.read() as db:
        assert db.execute("SELECT COUNT(*) FROM agents").fetchone()[0] == 1


DAMAGES: Mapping[str, Callable[[str], str]] = {
    "is of another store": lambda text: text.replace('"accessKey": "rk_', '"accessKey": "rk_x'),
    "lacks a member": lambda text: json.dumps({**json.loads(text), "agentId": None}),
    "has an unknown member": lambda text: json.dumps({**json.loads(text), "more": 1}),
    "is no JSON": lambda text: text[:-5],
}


@pytest.mark.parametrize("what", DAMAGES)
def test_an_agent_file_that_does_not_fit_is_refused_unchanged(tmp_path: Path, known: KnownSecrets, what: str) -> None:
    """It is never replaced: the key in it may be the only one that opens something."""
    path = open_embedded(tmp_path / "home", known, bits=BITS).config_path
    damaged = DAMAGES[what](path.read_text("ascii"))
    path.write_text(damaged, "ascii")
    with pytest.raises(FileAccessError) as caught:
        open_embedded(tmp_path / "home", known, bits=BITS)
    assert "PRIVATE" not in str(caught.value)
    assert path.read_text("ascii") == damaged


def test_an_agent_file_that_others_can_read_is_refused(tmp_path: Path, known: KnownSecrets) -> None:
    """With the command that repairs it."""
    path = open_embedded(tmp_path / "home", known, bits=BITS).config_path
    path.chmod(0o644)
    with pytest.raises(FileAccessError) as caught:
        open_embedded(tmp_path / "home", known, bits=BITS)
    assert caught.value.next_step == f"chmod 600 {path}"


def first_use(directory: str) -> None:
    """Open the embedded vault in another process."""
    open_embedded(Path(directory), KnownSecrets(), bits=BITS)


async def test_processes_at_first_use_agree_on_one_agent(tmp_path: Path, known: KnownSecrets) -> None:
    """Exactly one ``agent.json``, one agent in the store, and they match."""
    directory = tmp_path / "home"
    processes = [SPAWN.Process(target=first_use, args=(str(directory),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    embedded = open_embedded(directory, known, bits=BITS)
    assert sorted(path.name for path in directory.iterdir()) == ["agent.json", "vault.sqlite3"]
    with embedded.store.read() as db:
        assert db.execute("SELECT COUNT(*) FROM agents").fetchone()[0] == 1
    assert (await client(embedded, known).register()).status_code == 201
