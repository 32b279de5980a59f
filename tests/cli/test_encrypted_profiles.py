"""Profiles whose key is encrypted: made, imported, served and rotated."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.core.keys import load_private_key
from r4_mcp.errors import PrivateKeyError
from tests.doors import World, write_private

from .file_keyring import keyring_environment
from .profiles import (
    FINE,
    HELLO,
    PASSPHRASE,
    READ,
    WRONG,
    Credentials,
    descriptor,
    encrypted,
    files_below,
    key_path,
    new_agent,
    shows_nothing,
)
from .running import COMMAND, SECONDS, Ended, run, run_at_terminal, run_here


def made_encrypted(world: World, agent: Credentials, *arguments: str, typed: tuple[tuple[str, str], ...]) -> Ended:
    """Make the profile ``safe`` at a terminal, with a passphrase."""
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    asked = (("(not shown): ", agent.api_key + "\n"), *typed)
    ended = run_at_terminal(
        "init", "--profile", "safe", "--encrypt", "--bits", "2048", *arguments, environment=environment, typed=asked
    )
    shows_nothing(ended, agent.access_secret, PASSPHRASE, WRONG)
    return ended


NEW: Final = "Passphrase for the new key (not shown): "
AGAIN: Final = "The same again: "


@pytest.mark.stdio
def test_a_person_protects_a_new_key(world: World) -> None:
    """Asked twice, unseen; the key on disk opens with it alone, and doctor asks for nothing more."""
    agent = new_agent(world)
    ended = made_encrypted(world, agent, typed=((NEW, PASSPHRASE + "\n"), (AGAIN, PASSPHRASE + "\n")))
    assert ended.status == 0, ended.out
    assert FINE in ended.out
    assert "The key is encrypted: `serve` takes the passphrase through R4_KEY_PASSPHRASE_FD=N" in ended.flat
    pem = Path(key_path(world, "safe")).read_bytes()
    assert b"ENCRYPTED" in pem
    assert load_private_key(pem, passphrase=PASSPHRASE.encode()).public.fingerprint in ended.out
    with pytest.raises(PrivateKeyError):
        load_private_key(pem)
    holders = [path.name for path in world.home.rglob("*") if path.is_file() and PASSPHRASE.encode() in path.read_bytes()]
    assert holders == []


@pytest.mark.stdio
@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (PASSPHRASE, WRONG, "the two passphrases differ"),
        ("", "", "no passphrase was entered"),
        ("seven77", "seven77", "at least 8 characters"),
        ("private-", "private-", ""),
        ("profiles", "profiles", "is part of the path of its key"),
    ],
)
def test_a_passphrase_that_is_none_makes_no_profile(world: World, first: str, second: str, says: str) -> None:
    """Each with its own sentence."""
    ended = made_encrypted(world, new_agent(world), typed=((NEW, first + "\n"), (AGAIN, second + "\n")))
    assert (ended.status == 0) is (says == ""), ended.out
    assert says in ended.out.lower()
    assert (world.home / "profiles").exists() is (says == "")


@pytest.mark.stdio
def test_a_script_protects_a_new_key_and_serves_it(world: World) -> None:
    """From the descriptor, for the making and for every later start."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    with descriptor(PASSPHRASE.encode() + b"\n") as number:
        ended = run(
            "init",
            "--encrypt",
            "--bits",
            "2048",
            environment={**environment, "R4_KEY_PASSPHRASE_FD": str(number)},
            stdin=agent.api_key.encode(),
            pass_fds=(number,),
        )
    assert (ended.status, ended.err) == (0, ""), ended.out
    shows_nothing(ended, PASSPHRASE, agent.access_secret)
    with descriptor(PASSPHRASE.encode()) as number:
        lines = [HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"}, READ]
        with subprocess.Popen(
            [*COMMAND, "serve"],
            env={**environment, "R4_KEY_PASSPHRASE_FD": str(number)},
            pass_fds=(number,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            process.stdin.flush()
            answers = [process.stdout.readline() for _ in range(2)]
            rest, errors = process.communicate(timeout=SECONDS)
    # The key opens: what is missing is the operator's step.
    assert b"not_found" in answers[1]
    assert PASSPHRASE.encode() not in b"".join(answers) + rest + errors


def test_a_passphrase_without_a_terminal_or_descriptor_is_refused(world: World) -> None:
    """Before anything is made; one on stdin would be the API key's second line."""
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    ended = run_here("init", "--encrypt", environment=environment, stdin=new_agent(world).api_key.encode())
    assert ended.status == 1
    assert "R4_KEY_PASSPHRASE_FD=N" in ended.err
    assert not (world.home / "profiles").exists()


@pytest.mark.stdio
def test_the_keyring_keeps_the_passphrase_of_a_new_key(world: World, tmp_path: Path) -> None:
    """By the path of the key's file; from then on nothing is asked."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url, **keyring_environment(tmp_path)}
    typed = (("(not shown): ", agent.api_key + "\n"), (NEW, PASSPHRASE + "\n"), (AGAIN, PASSPHRASE + "\n"))
    arguments = ("init", "--profile", "safe", "--encrypt", "--keyring", "--bits", "2048")
    ended = run_at_terminal(*arguments, environment=environment, typed=typed)
    assert ended.status == 0, ended.out
    shows_nothing(ended, PASSPHRASE)
    assert "R4_KEY_PASSPHRASE_KEYRING=1" in ended.flat
    assert json.loads((tmp_path / "keyring.json").read_text()) == {f"r4-mcp {key_path(world, 'safe')}": PASSPHRASE}
    assert run("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": "1"}).status == 0
    # The key was moved away; its passphrase is still the only way into it.
    (world.home / "profiles" / "safe").rename(tmp_path / "moved")
    ended = run(*arguments, environment=environment)
    assert ended.status == 1
    assert "the keyring holds a passphrase for" in ended.err.lower()
    assert json.loads((tmp_path / "keyring.json").read_text()) == {f"r4-mcp {key_path(world, 'safe')}": PASSPHRASE}


@pytest.mark.stdio
def test_a_keyring_that_does_not_keep_it_leaves_the_profile_and_says_so(world: World, tmp_path: Path) -> None:
    """The person knows the passphrase; nothing is lost."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url, **keyring_environment(tmp_path)}
    (tmp_path / "keyring.full").touch()
    typed = (("(not shown): ", agent.api_key + "\n"), (NEW, PASSPHRASE + "\n"), (AGAIN, PASSPHRASE + "\n"))
    ended = run_at_terminal("init", "--encrypt", "--keyring", "--bits", "2048", environment=environment, typed=typed)
    assert ended.status == 1
    assert f"keyring set r4-mcp {key_path(world, 'default')}" in ended.flat
    assert set(files_below(world.home / "profiles" / "default")) == {"credentials.json", "private-key.pem"}


@pytest.mark.stdio
def test_an_encrypted_key_is_rotated_in_place(locked: dict[str, str], world: World) -> None:
    """The new key and the retired one have the passphrase of the old; nothing of either is shown."""
    path = Path(key_path(world, "locked"))
    old = load_private_key(path.read_bytes(), passphrase=PASSPHRASE.encode())
    with descriptor(PASSPHRASE.encode()) as number:
        around = {**locked, "R4_KEY_PASSPHRASE_FD": str(number)}
        ended = run("rotate-key", "--yes", environment=around, pass_fds=(number,))
    assert ended.status == 0, ended.err
    shows_nothing(ended, PASSPHRASE)
    new = load_private_key(path.read_bytes(), passphrase=PASSPHRASE.encode())
    assert new.public.fingerprint != old.public.fingerprint
    assert new.public.fingerprint in ended.out
    pems = [other for other in path.parent.iterdir() if other.suffix == ".pem"]
    assert len(pems) == 2
    assert all(b"ENCRYPTED" in other.read_bytes() for other in pems)


def test_an_imported_key_stays_encrypted_with_its_passphrase(world: World) -> None:
    """Nothing new is asked for; a wrong passphrase is said with the file."""
    agent = new_agent(world)
    key = write_private(world.home.parent / "key.pem", encrypted(world.spare_keys[0]))
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    for passphrase, status in ((WRONG, 1), (PASSPHRASE, 0)):
        with descriptor(passphrase.encode()) as number:
            around = {**environment, "R4_KEY_PASSPHRASE_FD": str(number)}
            ended = run_here("init", "--key", str(key), environment=around, stdin=agent.api_key.encode())
        assert ended.status == status, ended.err
        shows_nothing(ended, passphrase, agent.access_secret)
        assert (f"{key}: the private key is not a readable PEM" in ended.err) is (status == 1)
    pem = Path(key_path(world, "default")).read_bytes()
    assert load_private_key(pem, passphrase=PASSPHRASE.encode()).public.fingerprint == world.spare_keys[0].public.fingerprint
    with pytest.raises(PrivateKeyError):
        load_private_key(pem)
