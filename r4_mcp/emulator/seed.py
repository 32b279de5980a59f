"""The demo's seed: an operator, four vaults, a project, and an agent whose key is registered before it is granted anything.

What this file does not do: mend a half-made seed. It makes a whole one, finds the same whole one again, or refuses.

Rules:
1. ``operator-key.pem`` is published first and claims the folder: of two processes one seeds, the other is refused.
2. The store notes the seed as complete in the end; a folder with some of it and no note is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import FieldId, KeyId, ProjectId, VaultId
from r4_mcp.emulator.accounts import AgentCredentials
from r4_mcp.emulator.agent_file import FILE_NAME, AgentFile, read_agent_file, require_agent_of, write_agent_file
from r4_mcp.emulator.fresh import DEFAULT_BITS, generate_private_key
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.private_files import publish, read_private
from r4_mcp.emulator.project_rows import accessible_projects
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.seed_contents import demo_vaults
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.emulator.store import Store, fact, set_fact
from r4_mcp.errors import AlreadyExistsError, ConfigurationError, FileAccessError, NotFoundError
from r4_mcp.machine.contract import Permission
from r4_mcp.secret import KnownSecrets, Secret

OPERATOR_KEY_FILE: Final = "operator-key.pem"
PROJECT_NAME: Final = "Website Relaunch"
AGENT_NAME: Final = "Demo agent"
AGENT_PERMISSIONS: Final = (
    Permission.AGENT,
    Permission.VAULT_READ,
    Permission.SECRET_READ,
    Permission.VAULT_WRITE,
    Permission.PROJECT_READ,
    Permission.FEEDBACK_WRITE,
)
_SEED_FACT: Final = "seed"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A complete seed.

    Attributes:
        operator: The person, ready to work.
        credentials: The agent's API key.
        agent_key: The agent's private key.
        agent_key_id: The id under which its public half is registered.
        config_path: ``agent.json``.
        operator_key_path: ``operator-key.pem``.
        vaults: Ids of the vaults by name.
        project_id: The project of two of them.
    """

    operator: Operator
    credentials: AgentCredentials
    agent_key: PrivateKey
    agent_key_id: KeyId
    config_path: Path
    operator_key_path: Path
    vaults: Mapping[str, VaultId]
    project_id: ProjectId

    def values(self) -> dict[FieldId, Secret[str]]:
        """Return every current plaintext of every vault."""
        found: dict[FieldId, Secret[str]] = {}
        for vault_id in self.vaults.values():
            found.update(self.operator.open_values(vault_id))
        return found


def seed(store: Store, directory: Path, known: KnownSecrets, *, bits: int = DEFAULT_BITS) -> Seeded:
    """Seed a store, or find its complete seed.

    Args:
        store: The embedded vault.
        directory: Where ``agent.json`` and ``operator-key.pem`` go.
        known: Where all secrets are made known.
        bits: Size of new RSA keys.

    Raises:
        ConfigurationError: The folder holds another vault's files, or an incomplete seed.
        FileAccessError: A file can't be written or read.
    """
    config_path, operator_key_path = directory / FILE_NAME, directory / OPERATOR_KEY_FILE
    with store.read() as db:
        complete = fact(db, _SEED_FACT) is not None
        fresh = db.execute("SELECT 1 FROM agents").fetchone() is None
    if not complete:
        if not fresh or config_path.exists() or operator_key_path.exists():
            raise _not_ours(directory)
        _make(store, config_path, operator_key_path, known, bits)
    try:
        return _find(store, config_path, operator_key_path, known)
    except (FileAccessError, NotFoundError):
        raise _not_ours(directory) from None


def _make(store: Store, config_path: Path, operator_key_path: Path, known: KnownSecrets, bits: int) -> None:
    operator_pem = generate_private_key(bits)
    known.private_key_pem(operator_pem)
    try:
        publish(operator_key_path, operator_pem)
    except AlreadyExistsError:
        raise _not_ours(operator_key_path.parent) from None
    operator = Operator.create(store, load_private_key(operator_pem), known, name="Alex Example")
    credentials = operator.create_agent(AGENT_NAME, AGENT_PERMISSIONS)
    agent = AgentFile(credentials, known.private_key_pem(generate_private_key(bits)))
    with store.write() as db:
        register(db, credentials.agent_id, KeyRequest(agent.key().public))
    project_id = operator.create_project(
        PROJECT_NAME, external_id="WEB-1", description="New public website", members=[credentials.agent_id]
    )
    for draft in demo_vaults(known):
        vault_id = operator.create_vault(draft.name, draft.classification, project_id if draft.in_project else None)
        operator.create_items(vault_id, draft.items)
        operator.grant(credentials.agent_id, vault_id, draft.level)
    try:
        write_agent_file(config_path, agent)
    except AlreadyExistsError:
        raise _not_ours(config_path.parent) from None
    with store.write() as db:
        set_fact(db, _SEED_FACT, credentials.agent_id)


def _find(store: Store, config_path: Path, operator_key_path: Path, known: KnownSecrets) -> Seeded:
    operator_pem = known.private_key_pem(read_private(operator_key_path))
    # reveal: seen by the key loader only.
    operator = Operator.open(store, load_private_key(operator_pem.reveal()), known)
    agent = read_agent_file(config_path, known)
    require_agent_of(store, agent, config_path)
    agent_id = agent.credentials.agent_id
    with store.read() as db:
        key = active_key(db, agent_id)
        projects = accessible_projects(db, agent_id)
        seeded_agent = fact(db, _SEED_FACT)
    if key is None or not projects or seeded_agent != agent_id:
        raise NotFoundError("the seed is not complete")
    return Seeded(
        operator=operator,
        credentials=agent.credentials,
        agent_key=agent.key(),
        agent_key_id=key.id,
        config_path=config_path,
        operator_key_path=operator_key_path,
        vaults=operator.vaults(),
        project_id=projects[0].id,
    )


def _not_ours(directory: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{directory} holds another vault or an unfinished seed",
        next_step="choose an empty folder, or remove this one if nothing in it is needed",
    )
