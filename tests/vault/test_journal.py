"""What stands in a journal that is not what was put there: refused with what to do, never guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from r4_mcp.core.wire import KeyId, VaultId
from r4_mcp.errors import BusyError, FileAccessError
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.rotation_plan import Pin, Plan, State, read_plan

OWNER: Final = ("http://localhost", "rk_tests")
VAULT: Final = VaultId("a" * 24)
PLAN: Final = Plan(KeyId("b" * 24), "1" * 64, KeyId("c" * 24), "2" * 64, State.PREPARED, {VAULT: Pin(3, "3" * 64)})


def test_what_was_prepared_is_read_back(tmp_path: Path) -> None:
    """By another process, until it is settled."""
    creation = Entry(EntryKind.CREATE_ITEM, "d" * 24, VAULT, {"post": {"id": "d" * 24}})
    for entry in (PLAN.entry(), creation):
        Journal(tmp_path, OWNER).prepare(entry)
    journal = Journal(tmp_path, OWNER)
    (kept,) = journal.prepared(EntryKind.ROTATE_KEY)
    assert read_plan(kept) == PLAN
    assert journal.prepared(EntryKind.CREATE_ITEM) == (creation,)
    for entry in journal.prepared():
        journal.settle(entry)
    assert Journal(tmp_path, OWNER).prepared() == ()


def test_nothing_new_is_begun_while_a_key_is_rotated(tmp_path: Path) -> None:
    """What may have been sent already is kept up to date, and the rotation waits for it; what is new is not even kept."""
    journal = Journal(tmp_path, OWNER)
    begun = Entry(EntryKind.CREATE_ITEM, "d" * 24, VAULT, {"attempt": 1})
    journal.prepare_creation(begun)
    journal.prepare(PLAN.entry())
    again = Entry(EntryKind.CREATE_ITEM, "d" * 24, VAULT, {"attempt": 2})
    journal.prepare_creation(again)
    with pytest.raises(BusyError, match="being rotated"):
        journal.prepare_creation(Entry(EntryKind.CREATE_ITEM, "e" * 24, VAULT, {}))
    assert journal.prepared(EntryKind.CREATE_ITEM) == (again,)


def setting(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of one member."""
    return lambda members: members.__setitem__(name, value)


def removing(name: str) -> Callable[[dict[str, Any]], None]:
    """Return the removal of one member."""
    return lambda members: members.__delitem__(name)


DAMAGE: Final = {
    "of a later schema": setting("schema", 2),
    "of an unknown kind": setting("kind", "delete-vault"),
    "without an id": removing("id"),
    "for no vault that could be": setting("vaultId", "../x"),
    "with more than we write": setting("more", 1),
    "whose body is no object": setting("body", []),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize(
    ("kind", "advice"), [(EntryKind.CREATE_ITEM, "list_items"), (EntryKind.ROTATE_KEY, "which key is active")]
)
def test_an_entry_that_we_did_not_write_is_named_and_stays(
    tmp_path: Path, kind: EntryKind, advice: str, change: Callable[[dict[str, Any]], None]
) -> None:
    """Its file is kept, for a person to look at."""
    journal = Journal(tmp_path, OWNER)
    journal.prepare(Entry(kind, "d" * 24, VAULT, {}))
    (path,) = tmp_path.glob("*/*.json")
    members = json.loads(path.read_bytes())
    change(members)
    path.write_text(json.dumps(members))
    with pytest.raises(FileAccessError, match="is damaged") as raised:
        journal.prepared()
    assert str(path) in raised.value.message
    assert advice in str(raised.value.next_step)
    assert path.exists()


PIN: Final = {"dekVersion": 3, "pin": "3" * 64}
SPOILED: Final = {
    "a vault that is no id": setting("pins", {"../x": PIN}),
    "a pin of another form": setting("pins", {VAULT: {**PIN, "pin": "3"}}),
    "a pin with more than we write": setting("pins", {VAULT: {**PIN, "more": 1}}),
    "no pins": removing("pins"),
    "an unknown state": setting("state", "done"),
    "no fingerprint": removing("fingerprint"),
    "no earlier key": setting("previousEncryptionKeyId", None),
}


@pytest.mark.parametrize("change", SPOILED.values(), ids=SPOILED.keys())
def test_a_rotation_that_we_did_not_write_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    """No key is thrown away over a guess."""
    entry = PLAN.entry()
    body: dict[str, Any] = dict(entry.body)
    change(body)
    with pytest.raises(FileAccessError, match="rotation is damaged") as raised:
        read_plan(Entry(entry.kind, entry.id, None, body))
    assert "Keep every key file" in str(raised.value.next_step)
