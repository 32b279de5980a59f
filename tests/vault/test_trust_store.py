"""The trust store: what is remembered comes back as it was, and is replaced only by what was proven from it."""

# Looking at a file between two awaits blocks nobody: each test is alone in its loop.
# ruff: noqa: ASYNC220, ASYNC240

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.encoding import MAX_INT, Json, canonical, parse_json
from r4_mcp.core.trust import (
    LogHead,
    PinnedDek,
    PinnedDetail,
    PinnedSigner,
    PinnedVersion,
    SignerStatus,
    VaultTrust,
)
from r4_mcp.core.trust_codec import dump_trust, read_trust
from r4_mcp.core.wire import ItemId, KeyId, SignerType, VaultId
from r4_mcp.errors import BusyError, FileAccessError, MalformedError, TrustStoreLostError
from r4_mcp.vault import locked_file
from r4_mcp.vault.locked_file import LockedFile
from r4_mcp.vault.trust_store import MAX_SIZE, REFRESH_SECONDS, SCHEMA, TrustStore

from .trust_processes import HOLDING, OWNER, SHARED, at_version, bump, open_store, vault_of

VAULT = vault_of(1)
FINGERPRINT = "ab" * 32
PROCESSES, ROUNDS = 4, 25
SECONDS = 60

IDS = st.text("0123456789abcdef", min_size=24, max_size=24)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
VERSIONS = st.integers(1, MAX_INT)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SIGNERS = st.builds(
    PinnedSigner,
    kind=st.sampled_from(SignerType),
    fingerprint=DIGESTS,
    status=st.sampled_from(SignerStatus),
    previous_id=st.none() | IDS.map(KeyId),
    retired_summary=st.none() | st.integers(0, MAX_INT),
    retired_dek=st.none() | st.integers(0, MAX_INT),
)
DETAILS = st.builds(PinnedDetail, VERSIONS, DIGESTS, st.none() | st.lists(TEXTS, max_size=3).map(tuple), VERSIONS)
STATES = st.builds(
    VaultTrust,
    signers=st.dictionaries(IDS.map(KeyId), SIGNERS, max_size=3).map(MappingProxyType),
    head=st.none() | st.builds(LogHead, st.integers(0, MAX_INT), st.binary(min_size=32, max_size=32)),
    summary=st.none() | st.builds(PinnedVersion, VERSIONS, DIGESTS),
    dek=st.none() | st.builds(PinnedDek, VERSIONS, DIGESTS),
    details=st.dictionaries(IDS.map(ItemId), DETAILS, max_size=3).map(MappingProxyType),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a store in a folder that does not exist yet."""
    return tmp_path / "home" / "trust-store.json"


@pytest.fixture
async def store(path: Path) -> TrustStore:
    """Make a store that remembers one vault at summary version 1."""
    made = open_store(path)
    await bump(made, VAULT)
    return made


@settings(max_examples=200)
@given(STATES)
def test_a_state_is_read_as_it_was_dumped(state: VaultTrust) -> None:
    """The codec loses and adds nothing, through canonical bytes and back."""
    assert read_trust(parse_json(canonical(dump_trust(state)), what="state")) == state


@pytest.mark.parametrize("members", ["signers", "details"])
@pytest.mark.parametrize("name", ["", "A" * 24, "0" * 23, "0" * 25, "0" * 23 + "\n"])
def test_pins_are_named_by_ids(members: str, name: str) -> None:
    """A pin under a name that is no id could never be met again, so it is refused instead of carried along."""
    pin: dict[str, Json] = {"version": 1, "digest": "0" * 64, "humanWebsites": None}
    if members == "signers":
        signer = PinnedSigner(SignerType.USER, FINGERPRINT, SignerStatus.ACTIVE, None)
        dumped = dump_trust(VaultTrust(signers={KeyId("0" * 24): signer}))["signers"]
        assert isinstance(dumped, dict)
        (read_pin,) = dumped.values()
        assert isinstance(read_pin, dict)
        pin = read_pin
    with pytest.raises(MalformedError, match="not an object of ids"):
        read_trust({**dump_trust(VaultTrust()), members: {name: pin}})


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(IDS.map(VaultId), STATES, min_size=1, max_size=3))
async def test_states_survive_a_restart(tmp_path_factory: pytest.TempPathFactory, states: dict[VaultId, VaultTrust]) -> None:
    """What one process swapped in, the next one loads; unknown vaults are at first contact."""
    path = tmp_path_factory.mktemp("store") / "home" / "trust-store.json"
    for vault_id, state in states.items():
        swapped = await open_store(path).swap(vault_id, VaultTrust(), state)
        assert swapped or state == VaultTrust()
    fresh = open_store(path)
    for vault_id, state in states.items():
        assert await fresh.load(vault_id) == state
    assert (await fresh.load(VaultId("e" * 24))).is_first_contact


async def test_everything_is_private(store: TrustStore, path: Path) -> None:
    """Folders are 0700 and files 0600: the store, its lock and the marker."""
    assert (await store.load(VAULT)).summary is not None
    for entry in (path.parent, *path.parent.rglob("*")):
        assert stat.S_IMODE(entry.stat().st_mode) == (0o700 if entry.is_dir() else 0o600), entry


async def test_a_state_is_replaced_only_by_what_was_proven_from_it(store: TrustStore, path: Path) -> None:
    """Rule 1: a swap from a state that another process moved meanwhile is refused, and the file stays as it is."""
    stale = await store.load(VAULT)
    other = open_store(path)
    await bump(other, VAULT)
    before = path.read_bytes()
    assert not await store.swap(VAULT, stale, at_version(stale, 9))
    assert not await store.swap(VAULT, VaultTrust(), at_version(stale, 9))
    assert not await store.swap(VAULT, stale, stale)
    assert path.read_bytes() == before
    now = await store.load(VAULT)
    assert now.summary is not None
    assert now.summary.version == 2
    assert await store.swap(VAULT, now, at_version(now, 3))


async def test_a_proof_without_a_change_notes_the_time_seldom(path: Path) -> None:
    """The time of verification is written with a change, and again only once it is old; nothing else is touched."""
    now = 1_000_000.0
    clocked = TrustStore(path, path.parent / "initialised", OWNER, lambda: now)
    await bump(clocked, VAULT)
    state, written = await clocked.load(VAULT), path.read_bytes()
    now += REFRESH_SECONDS - 1
    assert await clocked.swap(VAULT, state, state)
    assert path.read_bytes() == written
    now += 1
    assert await clocked.swap(VAULT, state, state)
    assert clocked.section().vaults[VAULT].verified_at == now
    assert await clocked.load(VAULT) == state


async def test_agents_and_services_do_not_share_what_they_saw(store: TrustStore, path: Path) -> None:
    """Rule 5: another access key or address has a section of its own in the same file."""
    for owner in (("http://localhost", "rk_other"), ("http://127.0.0.1", OWNER[1])):
        other = TrustStore(path, path.parent / "initialised", owner, lambda: 0.0)
        assert (await other.load(VAULT)).is_first_contact
        await bump(other, VAULT)
        other.reset()
    assert (await store.load(VAULT)).summary is not None


def edited(path: Path, edit: Callable[[dict[str, object]], None]) -> None:
    """Change the parsed file and write it back without mending its checksum."""
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one digit of a pin changed": (
        lambda path: path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2')),
        "checksum",
    ),
    "the checksum changed": (lambda path: edited(path, lambda store: store.update(checksum="0" * 64)), "checksum"),
    "a newer schema": (lambda path: edited(path, lambda store: store.update(schema=SCHEMA + 1)), "use a newer r4-mcp"),
    "an unknown member": (lambda path: edited(path, lambda store: store.update(more=1)), "contract does not name"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not JSON"),
    "empty": (lambda path: path.write_bytes(b""), "not JSON"),
    "another document": (lambda path: path.write_bytes(b"[]"), "not an object"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_store_is_refused_and_kept_aside_on_reset(store: TrustStore, path: Path, damage: str) -> None:
    """Rule 3: nothing is read from or written to a damaged file; only a person's reset starts anew, and keeps the damaged one."""
    spoil, told = DAMAGES[damage]
    spoil(path)
    damaged = path.read_bytes()
    state = VaultTrust()
    for attempt in (store.section, lambda: store.set_anchor(FINGERPRINT, trusted=True), lambda: store.reset(VAULT)):
        with pytest.raises(FileAccessError, match=told) as raised:
            attempt()
        assert "r4-mcp trust reset" in str(raised.value.next_step)
    with pytest.raises(FileAccessError, match=told):
        await store.swap(VAULT, state, at_version(state, 1))
    assert path.read_bytes() == damaged
    store.reset()
    assert [kept.read_bytes() for kept in path.parent.glob("trust-store.json.damaged-*")] == [damaged]
    assert (await open_store(path).load(VAULT)).is_first_contact


async def test_lost_is_not_never_initialised(store: TrustStore, path: Path) -> None:
    """Rule 4: without its file everything is refused until a person resets; a store that never was is first contact."""
    assert open_store(path.with_name("never.json").parent / "elsewhere" / "s.json").section().vaults == {}
    path.unlink()
    for lost in (store, open_store(path)):
        with pytest.raises(TrustStoreLostError) as raised:
            await lost.load(VAULT)
        assert "r4-mcp trust reset" in str(raised.value.next_step)
        with pytest.raises(TrustStoreLostError):
            await lost.swap(VAULT, VaultTrust(), at_version(VaultTrust(), 1))
        with pytest.raises(TrustStoreLostError):
            lost.set_anchor(FINGERPRINT, trusted=True)
    assert not path.exists()
    store.reset()
    assert (await open_store(path).load(VAULT)).is_first_contact


async def test_a_first_write_between_two_looks_is_not_a_loss(path: Path, tmp_path: Path) -> None:
    """Rule 4: another process may make file and marker after we looked for the one and before we look for the other."""

    class Late(type(tmp_path)):  # type: ignore[misc]  # the platform's own class of paths
        """A folder in which somebody else is faster."""

        def exists(self) -> bool:
            """Let the other one finish first."""
            if not path.exists():
                asyncio.run(bump(open_store(path), VAULT))
            return bool(super().exists())

    store = TrustStore(path, Late(path.parent / "initialised"), OWNER, lambda: 0.0)
    section = await asyncio.to_thread(store.section)
    assert set(section.vaults) == {VAULT}


async def test_losing_ones_section_is_losing_the_store(store: TrustStore, path: Path) -> None:
    """Rule 4: a file of others without our section is as lost as no file."""
    other = TrustStore(path, path.parent / "initialised", ("http://localhost", "rk_other"), lambda: 0.0)
    path.unlink()
    await bump(other, VAULT)
    with pytest.raises(TrustStoreLostError):
        await store.load(VAULT)


async def test_resetting_one_vault_keeps_the_others(store: TrustStore) -> None:
    """A reset of a vault forgets it alone; anchors stay. A reset of everything forgets both."""
    await bump(store, SHARED)
    store.set_anchor(FINGERPRINT, trusted=True)
    store.reset(VAULT)
    assert (await store.load(VAULT)).is_first_contact
    assert set(store.section().vaults) == {SHARED}
    assert set(store.section().anchors) == {FINGERPRINT}
    store.set_anchor(FINGERPRINT, trusted=False)
    assert not store.section().anchors
    store.reset()
    assert not store.section().vaults


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["disk full", "read-only folder"])
async def test_a_disk_that_refuses_leaves_the_pins(
    store: TrustStore, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A swap that can't be written is a FileAccessError; the file is byte-identical and the next swap works."""
    state, before = await store.load(VAULT), path.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        # Files are written by io in C, which os.write does not reach: the last case stands for it.
        patched.setattr("os.fdopen" if call == "write" else f"os.{call}", refuse)
        with pytest.raises(FileAccessError, match=os.strerror(code)):
            await store.swap(VAULT, state, at_version(state, 2))
    assert path.read_bytes() == before
    assert await store.load(VAULT) == state
    assert await store.swap(VAULT, state, at_version(state, 2))


async def test_a_store_open_to_others_is_refused(store: TrustStore, path: Path) -> None:
    """A mode that lets others in stops reading and writing, and the chmod is named."""
    state = await store.load(VAULT)
    path.chmod(0o644)
    with pytest.raises(FileAccessError) as raised:
        await open_store(path).swap(VAULT, state, at_version(state, 2))
    assert raised.value.next_step == f"Run: chmod 600 {path}"


async def test_a_store_is_never_without_its_marker(path: Path) -> None:
    """Rule 4 needs the marker: where it can't be made nothing is remembered, or a loss would look like first use."""
    (path.parent).mkdir(mode=0o700)
    (path.parent / "initialised").write_bytes(b"in the way")
    with pytest.raises(FileAccessError):
        await bump(open_store(path), VAULT)
    assert not path.exists()


def test_processes_that_share_a_store_lose_nothing(path: Path) -> None:
    """Four processes raise their own vault and a shared one through swap: every single step is in the end state."""
    commands = [python("bump", str(path), str(number), str(ROUNDS)) for number in range(PROCESSES)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(SECONDS) for process in running] == [0] * PROCESSES
    vaults = open_store(path).section().vaults
    versions = {key: remembered.trust.summary.version for key, remembered in vaults.items() if remembered.trust.summary}
    assert versions == {**{vault_of(number): ROUNDS for number in range(PROCESSES)}, SHARED: PROCESSES * ROUNDS}


async def test_a_killed_process_blocks_nobody(store: TrustStore, path: Path) -> None:
    """The kernel gives the lock back when its holder is killed; the lock file stays and is used again."""
    lock = path.with_name("trust-store.json.lock")
    inode = lock.stat().st_ino
    with subprocess.Popen(python("hold", str(path)), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == HOLDING
        swapped: list[bool] = []

        async def swap() -> None:
            state = await store.load(VAULT)
            swapped.append(await store.swap(VAULT, state, at_version(state, 2)))

        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swap)
                await anyio.wait_all_tasks_blocked()
                assert not swapped
                holder.send_signal(signal.SIGKILL)
        assert holder.wait(SECONDS) == -signal.SIGKILL
    assert swapped == [True]
    assert lock.stat().st_ino == inode


def test_a_store_that_another_process_wrote_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the lock the file itself counts: a recycled inode of the same size within one tick of the clock hides no pin."""
    mine, other = open_store(path), open_store(path)
    anyio.run(bump, mine, VAULT)
    stamp = LockedFile(path, MAX_SIZE).stamp()
    anyio.run(bump, other, VAULT)
    with monkeypatch.context() as patched:
        patched.setattr(LockedFile, "stamp", lambda _: stamp)
        anyio.run(bump, mine, SHARED)
    assert open_store(path).section().vaults[VAULT].trust.summary == at_version(VaultTrust(), 2).summary


def python(*arguments: str) -> list[str]:
    """Return how to start a process of these tests."""
    return [sys.executable, "-m", "tests.vault.trust_processes", *arguments]


async def test_a_reset_waits_for_who_is_writing(store: TrustStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one of the two would be lost."""
    before = await store.load(VAULT)
    monkeypatch.setattr(locked_file, "LOCK_SECONDS", 0.01)
    with LockedFile(path, MAX_SIZE).locked(), pytest.raises(BusyError):
        store.reset(VAULT)
    assert await store.load(VAULT) == before != VaultTrust()
