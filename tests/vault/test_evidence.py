"""What is kept of two contents of one version: both, side by side, whichever way the first one was remembered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.core.encoding import canonical
from r4_mcp.core.wire import DetailCheckpoint, ItemId, KeyId, Signed, SignedItem, SignerRef, SignerType, VaultId, signed_envelope
from r4_mcp.vault import locked_file
from r4_mcp.vault.evidence import MANY, MANY_NAME, Evidence, SignedCheckpoint
from r4_mcp.vault.locked_file import LockedFile
from tests.core.builders import ITEMS, OTHER_VAULT, VAULT, detail, identifier, summary

SIGNER: Final = SignerRef(SignerType.USER, KeyId(identifier("user")))
SUMMARY: Final = Signed(summary(), SIGNER, "AAAA")


def detail_of(number: int, version: int = 1, signature: str = "AAAA") -> Signed[DetailCheckpoint]:
    """Return the signed detail of one of many items."""
    line = SignedItem(ItemId(identifier(f"item {number}")), f"Ïtem {number}", ITEMS[0].type, (), None)
    return Signed(detail(version, line), SIGNER, signature)


ONE: Final = detail_of(0)
MORE: Final = [detail_of(number) for number in range(1, MANY)]
"""With the summary, or with one more, too many for a file each."""
WAYS: Final[dict[str, list[list[SignedCheckpoint]]]] = {
    "alone": [[ONE]],
    "one of many": [[ONE, SUMMARY, *MORE]],
    "one of many, and others of its vault later": [
        [ONE, SUMMARY, *MORE],
        [SUMMARY, *[detail_of(number, 2) for number in range(1, 50)]],
    ],
    "one of many, after an older version of its own": [[detail_of(0, 1, "BBBB"), SUMMARY, *MORE], [ONE, SUMMARY, *MORE]],
    "alone, and a newer version among many": [[ONE], [detail_of(0, 2), SUMMARY, *MORE]],
    "one of many, and a newer version alone": [[ONE, SUMMARY, *MORE], [detail_of(0, 2)]],
}


def envelope(signed: SignedCheckpoint) -> bytes:
    """Return a checkpoint as it was signed."""
    return canonical(signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)) + b"\n"


def kept(folder: Path) -> dict[str, bytes]:
    """Return the pairs that are kept."""
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


@pytest.mark.parametrize("steps", WAYS.values(), ids=WAYS.keys())
def test_both_contents_of_a_version_are_kept(tmp_path: Path, steps: list[list[SignedCheckpoint]]) -> None:
    """As they were signed, by a process that remembers nothing itself; private like all state."""
    for seen in steps:
        Evidence(tmp_path).remember(seen)
    other = replace(ONE, signature="CCCC")
    Evidence(tmp_path).keep([other, MORE[0]])
    name = f"{VAULT}-{ONE.checkpoint.item_id}-v1"
    assert kept(tmp_path) == {f"{name}-verified-first.json": envelope(ONE), f"{name}-served-later.json": envelope(other)}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))


def test_what_is_not_contradicted_is_no_evidence(tmp_path: Path) -> None:
    """The same again, another version, and what was never seen."""
    Evidence(tmp_path).remember([ONE, SUMMARY, *MORE])
    Evidence(tmp_path).keep([ONE, SUMMARY, replace(MORE[0], checkpoint=replace(MORE[0].checkpoint, version=2)), detail_of(99)])
    assert kept(tmp_path) == {}


def test_a_vault_s_line_leaves_those_of_other_vaults_as_they_are(tmp_path: Path) -> None:
    """What was verified of a vault is still there after another one was."""
    elsewhere = [replace(one, checkpoint=replace(one.checkpoint, vault_id=OTHER_VAULT)) for one in (ONE, *MORE)]
    evidence = Evidence(tmp_path)
    evidence.remember([*elsewhere, *MORE])
    evidence.remember([ONE, SUMMARY, *MORE])
    lines = dict(line.split(" ", 1) for line in (tmp_path / "last" / MANY_NAME).read_text("utf-8").splitlines())
    assert {vault_id: len(json.loads(envelopes)) for vault_id, envelopes in lines.items()} == {OTHER_VAULT: MANY, VAULT: MANY + 1}
    evidence.keep([replace(elsewhere[0], signature="CCCC")])
    assert {name.partition("-")[0] for name in kept(tmp_path)} == {OTHER_VAULT}


def test_what_is_kept_is_not_overwritten(tmp_path: Path) -> None:
    """A third content of the version says nothing that the first two do not."""
    evidence = Evidence(tmp_path)
    evidence.remember([ONE])
    evidence.keep([replace(ONE, signature="CCCC")])
    pair = kept(tmp_path)
    evidence.keep([replace(ONE, signature="DDDD")])
    assert len(pair) == 2
    assert kept(tmp_path) == pair


def test_processes_that_remember_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """They share one file, so each reads and writes it under one lock."""
    vaults = [VaultId(identifier(f"vault {number}")) for number in range(40)]

    def process(mine: list[VaultId]) -> None:
        for vault_id in mine:
            seen = [replace(one, checkpoint=replace(one.checkpoint, vault_id=vault_id)) for one in (ONE, *MORE, detail_of(MANY))]
            Evidence(tmp_path).remember(seen)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(process, (vaults[start::4] for start in range(4))))
    lines = (tmp_path / "last" / MANY_NAME).read_text("utf-8").splitlines()
    assert {line.partition(" ")[0] for line in lines} == set(vaults)


def test_a_lock_that_is_held_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What there is to refuse is refused with or without evidence; the log says that there is none."""
    monkeypatch.setattr(locked_file, "LOCK_SECONDS", 0.01)
    Evidence(tmp_path).remember([ONE])
    with LockedFile(tmp_path / "evidence", 1).locked():
        Evidence(tmp_path).keep([replace(ONE, signature="CCCC")])
    assert kept(tmp_path) == {}
    assert "evidence can't be kept: another process holds the lock" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{} {}\n\n \n", VAULT.encode() + b" []\n", VAULT.encode() + b" {\n"])
def test_what_can_not_be_read_is_no_evidence_and_hides_nothing(tmp_path: Path, damage: bytes) -> None:
    """Damaged files are no reason to fail, and what is verified next is kept."""
    evidence = Evidence(tmp_path)
    evidence.remember([ONE, SUMMARY, *MORE])
    for name in (MANY_NAME, f"{VAULT}-{ONE.checkpoint.item_id}.json"):
        (tmp_path / "last" / name).write_bytes(damage)
        (tmp_path / "last" / name).chmod(0o600)
    other = replace(ONE, signature="CCCC")
    evidence.keep([other])
    assert kept(tmp_path) == {}
    evidence.remember([ONE, SUMMARY, *MORE])
    evidence.keep([other])
    assert len(kept(tmp_path)) == 2
