"""The demo's seed is complete, realistic, random, and made once."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.emulator.seed import OPERATOR_KEY_FILE, Seeded, seed
from r4_mcp.emulator.store import Store
from r4_mcp.errors import ConfigurationError
from r4_mcp.secret import KnownSecrets

from .client import AgentClient
from .conftest import BITS

PROVIDER_SHAPES = re.compile(
    r"gh[pousr]_|github_pat|AKIA|ASIA|sk_live|sk_test|rk_live|xox[bpas]|-----BEGIN|eyJ|AIza|glpat|SG\.|sk-"
)


def seeded(directory: Path, known: KnownSecrets) -> tuple[Seeded, AgentClient]:
    """Seed a folder; returns the seed and a client of its agent."""
    store = Store.open(directory)
    made = seed(store, directory, known, bits=BITS)
    return made, AgentClient(create_app(store), made.credentials, made.agent_key, known, made.agent_key_id)


async def test_the_seed_covers_every_kind_of_item_and_field(tmp_path: Path, known: KnownSecrets) -> None:
    """Four vaults of four classes, at least fourteen items, all types, and each item proves enough to be served."""
    made, agent = seeded(tmp_path / "demo", known)
    listed = (await agent.call("GET", "/vault")).json()["vaults"]
    assert {vault["name"]: vault["dataClassification"] for vault in listed} == {
        "Production": "CONFIDENTIAL",
        "Engineering": "INTERNAL",
        "Public Site": "PUBLIC",
        "Personal Sandbox": None,
    }
    assert {vault["encryptionKeyId"] for vault in listed} == {made.agent_key_id}
    items: list[dict[str, Any]] = [
        (await agent.call("GET", f"/vault/{vault_id}/items/{line.id}")).json()
        for vault_id in made.vaults.values()
        for line in (await agent.summary(vault_id)).items
    ]
    assert len(items) >= 14
    assert {item["type"] for item in items} == set(ItemType)
    assert {field["type"] for item in items for field in item["fields"]} == set(FieldType)
    assert ("GitHub Production", "Token") in {(item["name"], field["name"]) for item in items for field in item["fields"]}


async def test_the_agent_gets_a_level_of_each_kind(tmp_path: Path, known: KnownSecrets) -> None:
    """READ on two vaults, WRITE on one, ADMIN on one, and a project with two of them."""
    made, agent = seeded(tmp_path / "demo", known)
    with Store.open(made.config_path.parent).read() as db:
        levels = sorted(row["level"] for row in db.execute("SELECT level FROM grants"))
    assert levels == ["ADMIN", "READ", "READ", "WRITE"]
    (project,) = (await agent.call("GET", "/project")).json()["projects"]
    assert (project["id"], project["vaultsCount"]) == (made.project_id, 2)
    assert (await agent.call("GET", "/me")).json()["vaultWrite"]["allowed"] is True
    written = await agent.post_item(made.vaults["Engineering"], await agent.item_parts(made.vaults["Engineering"]))
    assert written.status_code == 201


async def test_secret_values_are_random_and_of_no_providers_shape(tmp_path: Path, known: KnownSecrets) -> None:
    """Two seeds share no secret; none looks like a live credential; the TOTP seed is base32."""
    texts = []
    for name in ("one", "two"):
        made, agent = seeded(tmp_path / name, known)
        values = made.values()
        secret_ids = {
            field["id"]: field["type"]
            for vault_id in made.vaults.values()
            for line in (await agent.summary(vault_id)).items
            for field in (await agent.call("GET", f"/vault/{vault_id}/items/{line.id}")).json()["fields"]
            if FieldType(field["type"]).is_secret
        }
        secrets = {field_id: value.reveal() for field_id, value in values.items() if field_id in secret_ids}
        assert not [value for value in secrets.values() if PROVIDER_SHAPES.search(value)]
        totp = [value for field_id, value in secrets.items() if secret_ids[field_id] == "TOTP"]
        assert [len(base64.b32decode(value)) for value in totp] == [20]
        assert all(value in known.armed() for value in secrets.values())
        texts.append(set(secrets.values()))
    assert not texts[0] & texts[1]


def test_the_seed_is_found_again_by_another_process(tmp_path: Path, known: KnownSecrets) -> None:
    """The very same seed: same agent, same vaults, same values, nothing new in the store."""
    first, _ = seeded(tmp_path / "demo", known)
    files = {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir() if path.suffix in {".json", ".pem"}}
    second, _ = seeded(tmp_path / "demo", KnownSecrets())
    assert second.vaults == first.vaults
    assert second.credentials == first.credentials
    assert second.agent_key_id == first.agent_key_id
    assert {key: value.reveal() for key, value in second.values().items()} == {
        key: value.reveal() for key, value in first.values().items()
    }
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir() if path.suffix in {".json", ".pem"}}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "demo").iterdir()} == {0o600}


def embedded_vault(directory: Path) -> None:
    """Use the folder as an embedded vault."""
    open_embedded(directory, KnownSecrets(), bits=BITS)


def operator_key_alone(directory: Path) -> None:
    """Leave what a process leaves that stopped at once."""
    Store.open(directory)
    (directory / OPERATOR_KEY_FILE).write_text("key")


def seed_without(name: str) -> Callable[[Path], None]:
    """Seed the folder and lose a file of it."""

    def lose(directory: Path) -> None:
        seeded(directory, KnownSecrets())
        (directory / name).unlink()

    return lose


OBSTACLES: dict[str, Callable[[Path], None]] = {
    "an embedded vault": embedded_vault,
    "an operator key without a seed": operator_key_alone,
    "a seed that lost its agent file": seed_without("agent.json"),
    "a seed that lost its operator key": seed_without(OPERATOR_KEY_FILE),
    "a seed that lost its store": seed_without("vault.sqlite3"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_a_folder_that_holds_something_else_is_not_seeded(
    tmp_path: Path, known: KnownSecrets, obstacle: Callable[[Path], None]
) -> None:
    """A clear error, and no file is replaced."""
    directory = tmp_path / "demo"
    obstacle(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in {".json", ".pem"}}
    with pytest.raises(ConfigurationError, match="holds another vault or an unfinished seed"):
        seeded(directory, known)
    assert before == {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in {".json", ".pem"}}
