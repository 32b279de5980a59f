"""``r4-mcp rotate-key``: asks a person, shows how far it is, says what came of it, and leaves everything where it can't go on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import pytest
from cryptography.hazmat.primitives import serialization as form

from r4_mcp.core.keys import load_private_key
from r4_mcp.emulator.signing_keys import active_key
from tests import doors
from tests.doors import World, local_environment, write_private

from .running import COMMAND, SECONDS, Ended, run, run_at_terminal

pytestmark = pytest.mark.stdio

COMMAND_NAME: Final = "rotate-key"
PASSPHRASE: Final = b"a passphrase of the test"


def registered(world: World) -> str:
    """Return the fingerprint of the agent's active key at the service."""
    with world.store.read() as db:
        key = active_key(db, world.seeded.credentials.agent_id)
    assert key is not None
    return key.public.fingerprint


def key_files(path: Path) -> dict[str, bytes]:
    """Return what is in a key file's folder under its name, but for its lock."""
    found = [entry for entry in path.parent.iterdir() if path.name in entry.name and entry.suffix != ".lock"]
    return {entry.name: entry.read_bytes() for entry in found}


def with_pem(world: World, path: Path, pem: str | None = None) -> dict[str, str]:
    """Put the agent's key into a PEM file; returns the environment."""
    members = world.agent_members()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(path, pem or members["privateKey"])
    return {
        "R4_API_KEY": f"{members['accessKey']}.{members['accessSecret']}",
        "R4_PRIVATE_KEY_PATH": str(path),
        "R4_BASE_URL": world.base_url,
        "R4_HOME": str(world.home),
    }


@contextmanager
def nothing_rotates(world: World, path: Path) -> Iterator[None]:
    """The key's files and the service stay as they are, and no key is sent."""
    files, rows = key_files(path), world.dump()
    world.tap.exchanges.clear()
    yield
    assert key_files(path) == files
    assert world.dump() == rows
    assert {exchange.method for exchange in world.tap.exchanges} <= {"GET"}
    assert not list((world.home / "journal").glob("*/*.json"))


def assert_rotated(world: World, ended: Ended) -> None:
    """The command said what it did, in full, and without a key."""
    assert (ended.status, "The key is rotated." in ended.out) == (0, True), ended
    old, new = world.seeded.agent_key.public.fingerprint, registered(world)
    assert new != old
    assert f"fingerprint {new}" in ended.out
    assert world.seeded.agent_key_id in ended.out
    kept = Path(next(iter(re.findall(r"kept in (.*\S)", ended.out))))
    assert f"{len(world.seeded.vaults)} vault key(s) wrapped again, {len(world.seeded.vaults)} read back" in ended.out
    assert kept.stat().st_mode & 0o777 == 0o600
    assert f".retired-{old[:16]}" in kept.name
    assert "PRIVATE KEY" not in ended.out + ended.err


def test_with_yes_it_rotates_without_a_word_more(world: World) -> None:
    """In a pipe there is no bar; what came of it is on stdout; doctor finds everything in order."""
    ended = run(COMMAND_NAME, "--yes", environment=world.environment)
    assert_rotated(world, ended)
    assert ended.err == ""
    checked = run("doctor", environment=world.environment)
    assert (checked.status, "FAIL" in checked.out) == (0, False), checked.out


def test_at_a_terminal_a_person_is_asked_and_sees_a_bar(world: World) -> None:
    """The question says which key, and over how many vaults; the bar ends full."""
    total = 2 * len(world.seeded.vaults) + 1
    ended = run_at_terminal(COMMAND_NAME, environment=world.environment, typed=(("[y/N]", "y\n"),))
    assert_rotated(world, ended)
    assert f"Replace the key {world.seeded.agent_key.public.fingerprint[:16]}…" in ended.out
    assert f"wrap {len(world.seeded.vaults)} vault key(s) again?" in ended.out
    assert re.findall(r"(\d+)/(\d+)", ended.out.split("[y/N]")[1]) == [(str(done), str(total)) for done in range(1, total + 1)]
    assert f"[{'#' * 30}] {total}/{total}" in ended.out


@pytest.mark.parametrize("typed", ["n\n", "\n", "yess\n", "\x04"])
def test_at_a_terminal_anything_but_yes_is_a_no(world: World, typed: str) -> None:
    """An empty line, another word, or the end of input: nothing is rotated."""
    with nothing_rotates(world, world.seeded.config_path):
        ended = run_at_terminal(COMMAND_NAME, environment=world.environment, typed=(("[y/N]", typed),))
    assert (ended.status, "the answer was no" in ended.out) == (1, True), ended


@pytest.mark.parametrize("stdin", [b"", b"y\n"])
def test_in_a_pipe_nobody_is_asked(world: World, stdin: bytes) -> None:
    """Without a terminal and without --yes it is refused, whatever comes in on stdin."""
    with nothing_rotates(world, world.seeded.config_path):
        ended = run(COMMAND_NAME, environment=world.environment, stdin=stdin)
    assert (ended.status, ended.out) == (1, "")
    assert "Add --yes" in ended.err


def test_where_writing_is_off_it_is_refused(world: World) -> None:
    """The operator's switch holds for people's commands too; nothing at all is sent."""
    with nothing_rotates(world, world.seeded.config_path):
        ended = run(COMMAND_NAME, "--yes", environment={**world.environment, "R4_READ_ONLY": "1"})
    assert (ended.status, world.tap.lines()) == (1, [])
    assert "R4_READ_ONLY" in ended.err


def test_a_key_in_a_setting_is_refused_with_the_way_out(world: World) -> None:
    """What can't be replaced is not replaced; the next step names a file."""
    environment = with_pem(world, world.home / "unused" / "key.pem")
    environment["R4_PRIVATE_KEY"] = Path(environment.pop("R4_PRIVATE_KEY_PATH")).read_text()
    with nothing_rotates(world, world.seeded.config_path):
        ended = run(COMMAND_NAME, "--yes", environment=environment)
    assert ended.status == 1
    assert "R4_PRIVATE_KEY_PATH" in ended.err
    assert "PRIVATE KEY" not in ended.err.replace("R4_PRIVATE_KEY", "")


def test_nothing_to_abandon_is_said(world: World) -> None:
    """Without an unfinished rotation there is nothing to give up."""
    with nothing_rotates(world, world.seeded.config_path):
        ended = run(COMMAND_NAME, "--abandon", "--yes", environment=world.environment)
    assert (ended.status, "no key rotation is unfinished" in ended.err.lower()) == (1, True)


def test_the_embedded_vault_rotates_too(world: World) -> None:
    """``--local``: the key in its agent.json is replaced, and doctor finds everything in order."""
    environment = local_environment(world)
    path = world.home / "local" / "agent.json"
    before = path.read_bytes()
    ended = run(COMMAND_NAME, "--local", "--yes", environment=environment)
    assert (ended.status, "The key is rotated." in ended.out) == (0, True), ended
    assert path.read_bytes() != before
    assert len(key_files(path)) == 2
    checked = run("doctor", "--local", environment=environment)
    assert (checked.status, "FAIL" in checked.out) == (0, False), checked.out


def passphrase_run(environment: dict[str, str]) -> Ended:
    """Run the command with the passphrase on a descriptor."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE + b"\n")
    os.close(writing)
    try:
        settings = {**environment, "R4_KEY_PASSPHRASE_FD": str(reading)}
        return run(COMMAND_NAME, "--yes", environment=settings, pass_fds=(reading,))
    finally:
        os.close(reading)


def test_a_passphrase_protects_the_new_and_the_kept_key(world: World) -> None:
    """An encrypted key stays encrypted, with the same passphrase, and so does the old one beside it."""
    path = world.home / "keys" / "key.pem"
    encrypted = world.seeded.agent_key.rsa.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(PASSPHRASE)
    )
    ended = passphrase_run(with_pem(world, path, encrypted.decode()))
    assert_rotated(world, ended)
    found = {load_private_key(pem, passphrase=PASSPHRASE).public.fingerprint for pem in key_files(path).values()}
    assert found == {world.seeded.agent_key.public.fingerprint, registered(world)}
    assert all(b"ENCRYPTED" in pem for pem in key_files(path).values())
    assert PASSPHRASE.decode() not in ended.out + ended.err


async def test_a_running_server_goes_on_after_the_command(world: World, tmp_path: Path) -> None:
    """What an operator does: rotates on the command line while an agent's server lives."""
    async with doors.subprocess(world.environment, stderr=tmp_path / "stderr") as door:
        read = partial(door.ok, "read_secret", reference="r4://Engineering/Sentry/Auth%20Token")
        before = await read()
        ended = await anyio.to_thread.run_sync(partial(run, COMMAND_NAME, "--yes", environment=world.environment))
        assert_rotated(world, ended)
        assert (await read())["value"] == before["value"]
        assert registered(world).startswith((await door.ok("whoami"))["fingerprint"])
        await door.ok("create_vault", name="After the command")


def prefixed(*prefix: str, environment: dict[str, str]) -> Ended:
    """Run the command behind another one that takes something from it."""
    done = subprocess.run(
        [*prefix, *COMMAND, COMMAND_NAME, "--yes"], env=environment, capture_output=True, timeout=SECONDS, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_read_only_folder_is_found_out_before_a_key_is_made(world: World) -> None:
    """The key can be read, and nothing can be written beside it."""
    # Root writes everywhere, unless that power is taken from it.
    prefix = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root writes everywhere, and there is no setpriv to prevent it")
    path = world.home / "keys" / "key.pem"
    environment = with_pem(world, path)
    path.parent.chmod(0o500)
    try:
        with nothing_rotates(world, path):
            ended = prefixed(*prefix, environment=environment)
    finally:
        path.parent.chmod(0o700)
    assert_unusable(ended, path)


@pytest.mark.parametrize("mount", ["mount --bind", "mount -o ro,bind"])
def test_a_mounted_key_is_found_out_before_a_key_is_made(world: World, mount: str) -> None:
    """A file that was mounted into place, as containers do with secrets, can't be replaced, read-only or not."""
    prefix = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
    path = world.home / "keys" / "key.pem"
    environment = with_pem(world, path)
    inside = (*prefix, "sh", "-c", f'{mount} "$0" "$0" && exec "$@"', str(path))
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let the tests mount")
    with nothing_rotates(world, path):
        ended = prefixed(*inside, environment=environment)
    assert_unusable(ended, path)


def assert_unusable(ended: Ended, path: Path) -> None:
    """The refusal names the file."""
    assert (ended.status, ended.out) == (1, ""), ended
    assert f"{path} can't be used" in ended.err
