"""A service with a canary in every field of every kind of item, made once and copied for each scene.

What this file does not do: lie, break, or look for canaries.

Rules:
1. Each item type has one item with a field of each type. FILE fields have no value, so one item has one, for its line only.
2. A scene is a copy: its own service, keys and home. What happens in it touches no other.
3. The operator of the service is a person of the emulator; nothing of the operator is known to the product.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import Classification, FieldType, ItemType, VaultId
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.custody import Custodian, prove_vault
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.emulator.faults_liar import Liar
from r4_mcp.emulator.fresh import generate_private_key
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.seed import OPERATOR_KEY_FILE
from r4_mcp.emulator.signing_keys import user_key
from r4_mcp.emulator.store import Store
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind
from tests.doors import write_private
from tests.switchboard import Switchboard, Tap

from .canaries import Canary, existing, octets, private_key, value_of, word
from .elsewhere import elsewhere

CANARIES: Final = "Canaries"
GUARDED: Final = "Guarded"
SPARE: Final = "Spare"
PROJECT: Final = "Aviary"
HOSTILE: Final = ItemType.SERVER
"""The item whose values ``values`` makes hostile; only one vault has one."""

DUMP: Final = ("/bin/sh", "-c", "env; cat; env >&2; cat /proc/self/environ")
"""A program that says all that it was given: as bad for a value as ``elsewhere``."""

VALUED: Final = tuple(kind for kind in FieldType if kind is not FieldType.FILE)
_BITS: Final = 2048
_VAULTS: Final = {
    CANARIES: (Classification.INTERNAL, Level.ADMIN, tuple(ItemType)),
    # Reading here asks a person first.
    GUARDED: (Classification.CONFIDENTIAL, Level.WRITE, (ItemType.LOGIN, ItemType.API_KEY)),
    SPARE: (None, Level.ADMIN, (ItemType.CUSTOM, ItemType.SECURE_NOTE)),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A field that holds a canary."""

    vault: str
    item: ItemType
    field: FieldType

    @property
    def label(self) -> str:
        """The canary's label."""
        return f"{self.vault} {self.item.value} {self.field.value}"

    @property
    def reference(self) -> str:
        """The field's reference, by names."""
        return f"r4://{self.vault}/{name_of(self.item)}/{name_of(self.field)}"

    @property
    def key(self) -> str:
        """The field's SCREAMING key."""
        return f"{name_of(self.item)}_{name_of(self.field)}".upper()


PLACES: Final = tuple(Place(vault, item, field) for vault, (_, _, items) in _VAULTS.items() for item in items for field in VALUED)


def name_of(kind: ItemType | FieldType) -> str:
    """Return the name of the item or field of a type."""
    return kind.value.replace("_", "").capitalize()


@dataclass(frozen=True, slots=True)
class Planted:
    """The service as it was made; scenes are copies of it.

    Attributes:
        folder: Holds ``service``, ``keys`` and ``home``, and ``files``, the one folder below which files with values may stand.
        values: The canary of each field.
        supplied: Canaries that calls bring along, by what they are brought for.
        keys: Canaries that files of keys may hold: the API secret and the agent's private key.
        hidden: Canaries that nothing may hold: the vaults' keys.
        spare_keys: Key pairs of a liar.
    """

    folder: Path
    values: Mapping[Place, Canary]
    supplied: Mapping[str, Canary]
    keys: tuple[Canary, ...]
    hidden: tuple[Canary, ...]
    spare_keys: tuple[PrivateKey, ...]

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """All of them."""
        return (*self.values.values(), *self.supplied.values(), *self.keys, *self.hidden)

    @property
    def api_secret(self) -> Canary:
        """The secret half of the API key."""
        return self.keys[0]


REJECTED: Final = "rejected"
REJECTED_VALUE: Final = "rejected value"
REPORTED: Final = "reported"
ECHOED: Final = "echoed"


def plant(folder: Path) -> Planted:
    """Make the service, its agent and its canaries."""
    for part in ("keys", "home", "files"):
        (folder / part).mkdir(mode=0o700, parents=True)
    known, (operator_pem, agent_pem, *spare) = KnownSecrets(), [generate_private_key(_BITS) for _ in range(4)]
    store, agent_key = Store.open(folder / "service"), load_private_key(agent_pem)
    write_private(folder / "service" / OPERATOR_KEY_FILE, operator_pem.decode("ascii"))
    operator = Operator.create(store, load_private_key(operator_pem), known)
    credentials = operator.create_agent("Canary agent", PERMISSIONS)
    with store.write() as db:
        register(db, credentials.agent_id, KeyRequest(agent_key.public))
    operator.create_project(PROJECT, members=[credentials.agent_id])
    values = {place: value_of(place.field, place.label) for place in PLACES}
    for vault, (classification, level, items) in _VAULTS.items():
        vault_id = operator.create_vault(vault, classification)
        operator.create_items(vault_id, [_item(vault, item, values, known) for item in items])
        operator.grant(credentials.agent_id, vault_id, level)
    listed = f'[[run_command.allow]]\nname = "dump"\nargv = {json.dumps(DUMP)}\nfolder = "/usr"\nstdin = true\nenv = ["CANARY"]\n'
    listed += f'secrets = ["r4://{operator.vaults()[CANARIES]}"]\n'
    listed += f'[[write_secret_file.root]]\npath = "{folder / "files"}"\nvault = "{operator.vaults()[CANARIES]}"\n'
    write_private(folder / "home" / "policy.toml", f"[http_request]\nloopback_http = true\n{listed}")
    # reveal: goes to the agent's private file, which is what it is for.
    secret = credentials.access_secret.reveal()
    members = {"agentId": credentials.agent_id, "accessKey": credentials.access_key, "accessSecret": secret}
    write_private(folder / "keys" / "agent.json", json.dumps({**members, "privateKey": agent_pem.decode("ascii")}))
    supplied = {kind.value: value_of(kind, f"supplied {kind.value}") for kind in VALUED}
    supplied |= {name: word(name) for name in (REJECTED, REJECTED_VALUE, REPORTED, ECHOED)}
    keys = (existing("API secret", secret), private_key("agent key", agent_key, agent_pem.decode("ascii")))
    hidden = tuple(_vault_keys(store, load_private_key(operator_pem), known, operator.vaults()))
    return Planted(folder, values, supplied, keys, hidden, tuple(load_private_key(pem) for pem in spare))


def _item(vault: str, item: ItemType, values: Mapping[Place, Canary], known: KnownSecrets) -> ItemDraft:
    fields = [
        FieldDraft(name_of(kind), kind, known.text(values[Place(vault, item, kind)].text, SecretKind.FIELD)) for kind in VALUED
    ]
    if item is ItemType.SSH_KEY:
        fields.append(FieldDraft(name_of(FieldType.FILE), FieldType.FILE, None))
    return ItemDraft(name_of(item), item, ["https://www.example.com", elsewhere()], fields)


def _vault_keys(store: Store, key: PrivateKey, known: KnownSecrets, vaults: Mapping[str, VaultId]) -> list[Canary]:
    with store.read() as db:
        found = user_key(db, key.public.fingerprint)
        assert found is not None
        custodian = Custodian(key, found.id, known)
        deks = {name: custodian.open_dek(db, prove_vault(db, vault_id)) for name, vault_id in vaults.items()}
    # reveal: seen by the scanner, which looks for it everywhere.
    return [octets(f"vault key of {name}", dek.key.reveal()) for name, dek in deks.items()]


@dataclass
class Scene:
    """One copy of the planted service, with a liar before its store."""

    planted: Planted
    folder: Path
    store: Store
    liar: Liar
    base_url: str
    tap: Tap

    @property
    def home(self) -> Path:
        """The agent's ``R4_HOME``."""
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """The agent's environment."""
        agent = self.folder / "keys" / "agent.json"
        # Without a memory, so that each call meets what the service does.
        return {"R4_CONFIG": str(agent), "R4_BASE_URL": self.base_url, "R4_HOME": str(self.home), "R4_INDEX_SECONDS": "0"}

    def new_keys(self) -> list[Canary]:
        """Return the private keys in the agent's folder: a rotation makes new ones, and nothing else may hold them."""
        found = []
        for path in sorted((self.folder / "keys").iterdir()):
            text = path.read_text()
            if path.name == "agent.json":
                text = json.loads(text)["privateKey"]
            if "PRIVATE KEY" in text:
                found.append(_canary_of(text))
        return found


@cache
def _canary_of(pem: str) -> Canary:
    # Loading a key checks it, which takes longer than the rest of a look.
    key = load_private_key(pem.encode("ascii"))
    return private_key(f"key {key.public.fingerprint[:16]}", key, pem)


def open_scene(planted: Planted, folder: Path, board: Switchboard) -> Scene:
    """Copy the planted service (rule 2) and plug it in."""
    for part in ("service", "keys", "home"):
        shutil.copytree(planted.folder / part, folder / part)
    store = Store.open(folder / "service")
    liar = Liar(store, folder / "service", KnownSecrets(), keys=planted.spare_keys)
    base_url, tap = board.plug(create_app(store, liar.answer))
    return Scene(planted, folder, store, liar, base_url, tap)
