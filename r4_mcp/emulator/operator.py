"""The operator: a person with a USER_KEY_PAIR who creates, shares, grants, revokes and rotates.

What this file does not do: go through the API. It works on the store in whole transactions, with client-side crypto only: what it
stores is what an R4 client of a person would have sent.

Rules:
1. Nothing stored is signed again before it was verified (``custody``).
2. A grant before the agent's first key registration succeeds, but wraps nothing and admits no signer; grant again afterwards.
3. A revoked agent's signatures verify nothing, so what it signed last is verified and signed again by the operator, first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from r4_mcp.core.encoding import canonical
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import (
    Classification,
    FieldId,
    ItemId,
    ItemType,
    KeyId,
    ProjectId,
    SignedItem,
    SignerType,
    SummaryCheckpoint,
    VaultId,
)
from r4_mcp.core.wrapping import Dek
from r4_mcp.emulator import item_rows, project_rows, sharing, vault_rows
from r4_mcp.emulator.accounts import AgentCredentials, add_agent, add_permission, drop_permission, find_agent
from r4_mcp.emulator.custody import Custodian
from r4_mcp.emulator.directory_log import admit
from r4_mcp.emulator.drafts import CreatedItem, FieldDraft, ItemDraft, seal_item
from r4_mcp.emulator.fresh import new_dek, new_id, timestamp
from r4_mcp.emulator.signing_keys import SigningKey, add_key, key_by_id, user_key
from r4_mcp.emulator.store import Store
from r4_mcp.errors import AlreadyExistsError, NotFoundError
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, Secret, SecretKind


class Operator:
    """A person at work on one store; made with ``create`` or ``open``.

    Args:
        store: The embedded vault.
        custodian: The person's key pair.
        user_id: The person.
    """

    def __init__(self, store: Store, custodian: Custodian, user_id: str) -> None:
        self._store = store
        self._me = custodian
        self.user_id = user_id

    @classmethod
    def create(cls, store: Store, key: PrivateKey, known: KnownSecrets, *, name: str = "Operator") -> Operator:
        """Register a new person with this key.

        Raises:
            AlreadyExistsError: A person has this key.
        """
        user_id, key_id = new_id(), KeyId(new_id())
        with store.write() as db:
            if user_key(db, key.public.fingerprint) is not None:
                raise AlreadyExistsError("an operator with this key exists; open it instead")
            db.execute("INSERT INTO users (id, name, created_at) VALUES (?, ?, ?)", (user_id, name, timestamp()))
            add_key(db, SigningKey(key_id, SignerType.USER, user_id, key.public, SignerStatus.ACTIVE, None, None))
        return cls(store, Custodian(key, key_id, known), user_id)

    @classmethod
    def open(cls, store: Store, key: PrivateKey, known: KnownSecrets) -> Operator:
        """Go on as the person who has this key.

        Raises:
            NotFoundError: Nobody has it in this store.
        """
        with store.read() as db:
            found = user_key(db, key.public.fingerprint)
        if found is None:
            raise NotFoundError("no operator of this store has this key")
        return cls(store, Custodian(key, found.id, known), found.owner_id)

    def create_agent(self, name: str, permissions: Iterable[str] = ()) -> AgentCredentials:
        """Create an agent with an API key."""
        with self._store.write() as db:
            return add_agent(db, name, permissions, self._me.known)

    def grant_permission(self, agent_id: str, permission: str) -> None:
        """Give an agent's API key a permission."""
        with self._store.write() as db:
            _require_agent(db, agent_id)
            add_permission(db, agent_id, permission)

    def revoke_permission(self, agent_id: str, permission: str) -> None:
        """Take a permission from an agent's API key; a group is taken as a group."""
        with self._store.write() as db:
            _require_agent(db, agent_id)
            drop_permission(db, agent_id, permission)

    def create_project(
        self, name: str, *, external_id: str | None = None, description: str | None = None, members: Iterable[str] = ()
    ) -> ProjectId:
        """Create a project; members are agents that see it even while it is empty, and get WRITE on vaults created in it."""
        with self._store.write() as db:
            project_id = project_rows.add_project(db, self.user_id, name, external_id, description)
            for agent_id in members:
                _require_agent(db, agent_id)
                project_rows.add_member(db, project_id, agent_id)
        return project_id

    def create_vault(
        self, name: str, classification: Classification | None = None, project_id: ProjectId | None = None
    ) -> VaultId:
        """Create a vault with this operator as its first signer."""
        vault_id = VaultId(new_id())
        dek = Dek(vault_id, 1, self._me.known.octets(new_dek(), SecretKind.DEK))
        summary = self._me.sign_summary(SummaryCheckpoint(vault_id, 1, name, classification, 1, (), canonical([])))
        with self._store.write() as db:
            vault_rows.add_vault(db, summary)
            key = self._own_key(db)
            admit(db, vault_id, key)
            vault_rows.put_wrapped_key(db, self._me.wrap(dek, key))
            if project_id is not None:
                project_rows.link_vault(db, project_id, vault_id)
        return vault_id

    def create_item(
        self,
        vault_id: VaultId,
        name: str,
        item_type: ItemType,
        websites: Sequence[str],
        fields: Sequence[FieldDraft],
    ) -> CreatedItem:
        """Create one item.

        Raises:
            NotFoundError: No such vault, or its DEK is not wrapped for this operator.
            InvalidArgumentError: A value is missing, too large, or not UTF-8.
            VerificationError: The stored vault does not hold.
        """
        return self.create_items(vault_id, [ItemDraft(name, item_type, websites, fields)])[0]

    def create_items(self, vault_id: VaultId, drafts: Sequence[ItemDraft]) -> tuple[CreatedItem, ...]:
        """Create several items under one new summary.

        Raises:
            NotFoundError: As ``create_item``.
            InvalidArgumentError: As ``create_item``.
            VerificationError: As ``create_item``.
        """
        with self._store.write() as db:
            proven = self._me.prove(db, vault_id)
            dek = self._me.open_dek(db, proven)
            lines = []
            for draft in drafts:
                checkpoint, envelopes = seal_item(dek, draft)
                marks = zip(checkpoint.fields, draft.fields, strict=True)
                exported = {line.id for line, field in marks if field.exported}
                item_rows.add_item(db, self._me.sign_detail(checkpoint), envelopes, exported)
                lines.append(checkpoint)
            added = tuple(SignedItem(line.item_id, line.name, line.type, line.websites, None) for line in lines)
            items = proven.checkpoint.items + added
            vault_rows.replace_summary(db, self._me.sign_next(proven, items, dek.version))
        return tuple(CreatedItem(line.item_id, tuple(field.id for field in line.fields)) for line in lines)

    def archive_item(self, vault_id: VaultId, item_id: ItemId) -> None:
        """Archive an item under a new summary.

        Raises:
            NotFoundError: No such vault or item.
            VerificationError: The stored vault does not hold.
        """
        with self._store.write() as db:
            proven = self._me.prove(db, vault_id)
            items = tuple(item for item in proven.checkpoint.items if item.id != item_id)
            if len(items) == len(proven.checkpoint.items):
                raise NotFoundError(f"there is no item {item_id} in vault {vault_id}")
            vault_rows.replace_summary(db, self._me.sign_next(proven, items, proven.checkpoint.dek_version))
            item_rows.archive_item(db, item_id)

    def archive_vault(self, vault_id: VaultId) -> None:
        """Archive a vault."""
        with self._store.write() as db:
            vault_rows.archive_vault(db, vault_id)

    def grant(self, agent_id: str, vault_id: VaultId, level: Level) -> None:
        """Share a vault with an agent, or change its level (rule 2).

        Raises:
            NotFoundError: No such agent or vault, or its DEK is not wrapped for this operator.
            InvalidArgumentError: The agent's current key was revoked in this vault; it has to register another one.
            VerificationError: The stored vault does not hold.
        """
        with self._store.write() as db:
            _require_agent(db, agent_id)
            sharing.grant(db, self._me, agent_id, vault_id, level)

    def revoke(self, agent_id: str, vault_id: VaultId) -> None:
        """Take an agent's access away and revoke its keys as signers of the vault (rule 3).

        A vault that the agent made and shared with nobody has no one left to sign for it. The DEK stays the same: ``rotate_dek``.

        Raises:
            NotFoundError: No such agent or vault.
            VerificationError: The stored vault does not hold.
        """
        with self._store.write() as db:
            _require_agent(db, agent_id)
            sharing.revoke(db, self._me, agent_id, vault_id)

    def rotate_dek(self, vault_id: VaultId) -> int:
        """Seal every live value again under a new DEK and wrap it for everyone who holds the old one.

        Returns:
            The new DEK version.

        Raises:
            NotFoundError: No such vault, or its DEK is not wrapped for this operator.
            VerificationError: The stored vault does not hold, or a value does not open.
        """
        with self._store.write() as db:
            return sharing.rotate_dek(db, self._me, vault_id)

    def open_values(self, vault_id: VaultId) -> dict[FieldId, Secret[str]]:
        """Return the current value of every field of a vault that has one.

        Raises:
            NotFoundError: No such vault, or its DEK is not wrapped for this operator.
            VerificationError: The stored vault does not hold, or a value does not open.
        """
        with self._store.read() as db:
            dek = self._me.open_dek(db, self._me.prove(db, vault_id))
            # In order of instances, so the last one of a field, the current one, stays.
            return {one.place.field_id: self._me.open_value(dek, one) for one in item_rows.sealed_instances(db, vault_id)}

    def vaults(self) -> dict[str, VaultId]:
        """Return the live vaults that are wrapped for this operator, by name; the newest of a name."""
        with self._store.read() as db:
            return {
                vault.name: vault.id
                for vault in vault_rows.all_vaults(db)
                if vault_rows.find_wrapped_key(db, vault.id, self._me.key_id) is not None
            }

    def _own_key(self, db: sqlite3.Connection) -> SigningKey:
        key = key_by_id(db, self._me.key_id)
        if key is None:
            raise NotFoundError("no operator of this store has this key")
        return key


def _require_agent(db: sqlite3.Connection, agent_id: str) -> None:
    if find_agent(db, agent_id) is None:
        raise NotFoundError(f"there is no agent {agent_id}")
