"""What a key rotation is about to do, as the journal keeps it.

What this file does not do: hold a key. The new one is in a file of its own, named by its id; vault keys are named by their pins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.record import Record, exact, is_id, open_record
from r4_mcp.core.wire import KeyId, VaultId
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.journal import Entry, EntryKind

_KEYS: Final = frozenset({"state", "fingerprint", "previousEncryptionKeyId", "previousFingerprint", "pins"})
_PIN_KEYS: Final = frozenset({"dekVersion", "pin"})


class State(StrEnum):
    """How far a rotation is. ``STAGED`` is never on disk: its key is, but nobody heard of it."""

    STAGED = "staged"
    PREPARED = "prepared"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Pin:
    """A vault key's version, and the pin that names it (contract §4)."""

    version: int
    value: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One rotation.

    Attributes:
        key_id: Id of the new key.
        fingerprint: Its fingerprint.
        previous_id: Id of the key that it replaces.
        previous_fingerprint: That key's fingerprint.
        state: How far it is.
        pins: The vault keys of the batch.
    """

    key_id: KeyId
    fingerprint: str
    previous_id: KeyId
    previous_fingerprint: str
    state: State
    pins: Mapping[VaultId, Pin]

    def prepared(self, pins: Mapping[VaultId, Pin]) -> Plan:
        """Return the plan with its batch, ready to be sent."""
        return replace(self, state=State.PREPARED, pins=MappingProxyType(dict(pins)))

    def committed(self) -> Plan:
        """Return the plan after it was read back."""
        return replace(self, state=State.COMMITTED)

    def entry(self) -> Entry:
        """Return the journal's form."""
        pins: dict[str, Json] = {vault_id: {"dekVersion": pin.version, "pin": pin.value} for vault_id, pin in self.pins.items()}
        body: dict[str, Json] = {
            "state": self.state.value,
            "fingerprint": self.fingerprint,
            "previousEncryptionKeyId": self.previous_id,
            "previousFingerprint": self.previous_fingerprint,
            "pins": pins,
        }
        return Entry(EntryKind.ROTATE_KEY, self.key_id, None, body)


def read_plan(entry: Entry) -> Plan:
    """Read a journal entry of a rotation.

    Raises:
        FileAccessError: It is damaged.
    """
    try:
        record = exact(dict(entry.body), "rotation", _KEYS)
        return Plan(
            key_id=KeyId(entry.id),
            fingerprint=record.hex_digest("fingerprint"),
            previous_id=KeyId(record.identifier("previousEncryptionKeyId")),
            previous_fingerprint=record.hex_digest("previousFingerprint"),
            state=record.choice("state", State),
            pins=MappingProxyType(_read_pins(open_record(record.members["pins"], "rotation pins"))),
        )
    except MalformedError as error:
        raise FileAccessError(
            f"the journal of a key rotation is damaged: {error.message}",
            next_step="Keep every key file, and ask the operator of R4 which key is active before anything else is done.",
        ) from None


def _read_pins(record: Record) -> dict[VaultId, Pin]:
    if not all(is_id(vault_id) for vault_id in record.members):
        raise MalformedError("rotation pins are not named by ids")
    pins = {VaultId(vault_id): exact(pin, "rotation pin", _PIN_KEYS) for vault_id, pin in record.members.items()}
    return {vault_id: Pin(pin.integer("dekVersion"), pin.hex_digest("pin")) for vault_id, pin in pins.items()}
