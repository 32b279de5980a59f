"""The file of the runtime's private key: what is in it, who may replace it, and what is found out before a key is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.wire import KeyId
from r4_mcp.errors import BusyError, FileAccessError, PrivateKeyError, RotationUnresolvedError
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault import locked_file
from r4_mcp.vault.key_file import KeyFile, KeyForm
from r4_mcp.vault.locked_file import LockedFile
from tests.doors import private_pem, write_private

KEY_ID: Final = KeyId("a" * 24)


def make(path: Path, content: str, form: KeyForm = KeyForm.PEM) -> KeyFile:
    """Write a key's file."""
    return KeyFile(write_private(path, content), form, KnownSecrets(), lambda: None)


@pytest.fixture
def file(tmp_path: Path, spare_keys: tuple[PrivateKey, ...]) -> KeyFile:
    """Make a PEM file with the first spare key."""
    return make(tmp_path / "agent.pem", private_pem(spare_keys[0]))


def spoiling(monkeypatch: pytest.MonkeyPatch, target: Path, content: str) -> None:
    """Have the disk hold something else than what was moved to a place."""
    real = os.replace

    def replace(source: str | Path, place: str | Path) -> None:
        real(source, place)
        if Path(place) == target:
            target.write_text(content)

    monkeypatch.setattr(os, "replace", replace)


def test_a_key_is_staged_switched_to_and_the_old_one_kept(file: KeyFile, spare_keys: tuple[PrivateKey, ...]) -> None:
    """Three files of one folder, each whole and private."""
    old, new = spare_keys[:2]
    file.stage(new, KEY_ID)
    assert file.load().public.fingerprint == old.public.fingerprint
    assert file.load_staged(KEY_ID).public.fingerprint == new.public.fingerprint
    file.switch(old, KEY_ID)
    assert file.load().public.fingerprint == new.public.fingerprint
    retired = file.kept(old.public.fingerprint)
    assert retired is not None
    assert retired.read_text() == private_pem(old)
    assert not file.staged(KEY_ID).exists()
    assert {path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()} == {0o600}


def test_a_staged_key_that_reads_back_as_another_one_is_not_sent(
    file: KeyFile, spare_keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be registered, and then be nowhere."""
    spoiling(monkeypatch, file.staged(KEY_ID), private_pem(spare_keys[0]))
    with pytest.raises(PrivateKeyError, match="does not hold the key that was written to it"):
        file.stage(spare_keys[1], KEY_ID)


def test_a_file_that_another_program_changed_is_left_as_it_is(file: KeyFile, spare_keys: tuple[PrivateKey, ...]) -> None:
    """A third key is no key of ours to replace."""
    old, new = spare_keys[:2]
    file.stage(new, KEY_ID)
    third = private_pem(file.generate())
    file.path.write_text(third)
    with pytest.raises(RotationUnresolvedError, match="changed by another program"):
        file.switch(old, KEY_ID)
    assert file.path.read_text() == third
    assert file.load_staged(KEY_ID).public.fingerprint == new.public.fingerprint


def test_the_staged_key_stays_until_the_file_holds_it(
    file: KeyFile, spare_keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that holds something else than what was moved there loses no key."""
    old, new = spare_keys[:2]
    file.stage(new, KEY_ID)
    with monkeypatch.context() as patched:
        spoiling(patched, file.path, private_pem(old))
        with pytest.raises(RotationUnresolvedError, match="does not hold the key that was written to it"):
            file.switch(old, KEY_ID)
    assert file.load_staged(KEY_ID).public.fingerprint == new.public.fingerprint
    file.switch(old, KEY_ID)
    assert file.load().public.fingerprint == new.public.fingerprint


def test_who_holds_the_lock_is_waited_for(
    file: KeyFile, spare_keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the look whether it can be replaced nor the switch writes under another holder."""
    old, new = spare_keys[:2]
    file.stage(new, KEY_ID)
    monkeypatch.setattr(locked_file, "LOCK_SECONDS", 0.01)
    before = file.stamp()
    with LockedFile(file.path, 1).locked():
        with pytest.raises(BusyError):
            file.require_replaceable()
        with pytest.raises(BusyError):
            file.switch(old, KEY_ID)
    assert file.stamp() == before


def test_other_members_of_a_runtime_json_stay(tmp_path: Path, spare_keys: tuple[PrivateKey, ...]) -> None:
    """Also those that nobody here knows."""
    old, new = spare_keys[:2]
    members = {"agentId": "x", "of somebody else": [1, None], "privateKey": private_pem(old)}
    file = make(tmp_path / "agent.json", json.dumps(members), KeyForm.RUNTIME_JSON)
    file.stage(new, KEY_ID)
    file.switch(old, KEY_ID)
    assert json.loads(file.path.read_text()) == {**members, "privateKey": private_pem(new)}


NO_KEY: Final = {
    "no member": ("{}", PrivateKeyError, "holds no privateKey"),
    "an empty one": ('{"privateKey": ""}', PrivateKeyError, "holds no privateKey"),
    "a number": ('{"privateKey": 5}', PrivateKeyError, "holds no privateKey"),
    "nothing of it": ('{"privateKey": null}', PrivateKeyError, "holds no privateKey"),
    "a list": ("[]", FileAccessError, "is not a runtime JSON"),
    "no JSON": ('{"privateKey": "-----BEGIN', FileAccessError, "is not a runtime JSON"),
    "too deep": ("[" * 60_000, FileAccessError, "is not a runtime JSON"),
}


@pytest.mark.parametrize(("content", "refusal", "said"), NO_KEY.values(), ids=NO_KEY.keys())
def test_a_runtime_json_without_a_key_is_said_to_have_none(
    tmp_path: Path, content: str, refusal: type[Exception], said: str
) -> None:
    """Nothing of the file is in the message."""
    file = make(tmp_path / "agent.json", content, KeyForm.RUNTIME_JSON)
    with pytest.raises(refusal, match=said) as raised:
        file.load()
    assert "BEGIN" not in str(raised.value)


@pytest.mark.parametrize("written", [lambda pem: pem, lambda pem: pem.replace("\n", "\\n")], ids=["line breaks", "escaped twice"])
def test_a_key_is_found_however_its_lines_are_broken(
    tmp_path: Path, spare_keys: tuple[PrivateKey, ...], written: Callable[[str], str]
) -> None:
    """Environment files can't hold line breaks."""
    content = json.dumps({"privateKey": written(private_pem(spare_keys[0]))})
    file = make(tmp_path / "agent.json", content, KeyForm.RUNTIME_JSON)
    assert file.load().public.fingerprint == spare_keys[0].public.fingerprint
