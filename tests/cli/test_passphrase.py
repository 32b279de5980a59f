"""Encrypted private keys: where the passphrase comes from, what happens without it, and that it is shown nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.config import Passphrases, read_settings
from r4_mcp.core.keys import PrivateKey
from r4_mcp.errors import ConfigurationError
from r4_mcp.secret import KnownSecrets
from tests.doors import World, in_memory

from .file_keyring import keyring_environment
from .profiles import (
    FINE,
    HELLO,
    PASSPHRASE,
    READ,
    WRONG,
    descriptor,
    encrypted,
    is_open,
    key_path,
    shows_nothing,
)
from .running import SECONDS, Ended, run, run_at_terminal, run_here

REPOSITORY: Final = Path(__file__).parents[2]
PROMPT: Final = "private-key.pem (not shown): "


@pytest.mark.parametrize("content", [b"%s", b"%s\n", b"%s\r\n", b"%s\nthe rest is not read"])
def test_the_first_line_of_the_descriptor_is_the_passphrase(locked: dict[str, str], content: bytes) -> None:
    """To the line break or the end; the descriptor is closed, and the key can be loaded several times."""
    with descriptor(content % PASSPHRASE.encode()) as number:
        known = KnownSecrets()
        settings = read_settings({**locked, "R4_KEY_PASSPHRASE_FD": str(number)}, known)
        assert not is_open(number)
        assert settings.problems == ()
        assert settings.key_source is not None
        first, second = settings.key_source.load(), settings.key_source.load()
        assert first.public.fingerprint == second.public.fingerprint
        assert {PASSPHRASE, PASSPHRASE.encode()} <= set(known.armed())


@pytest.mark.stdio
def test_a_process_takes_the_passphrase_from_its_descriptor(locked: dict[str, str]) -> None:
    """The real program, and no trace of the passphrase in what it says."""
    with descriptor(PASSPHRASE.encode() + b"\n") as number:
        ended = run("doctor", environment={**locked, "R4_KEY_PASSPHRASE_FD": str(number)}, pass_fds=(number,))
    assert ended.status == 0, ended.out
    assert FINE in ended.out
    shows_nothing(ended, PASSPHRASE)


NUMBERS: Final = {
    "0": "is not the number of a descriptor, 3 or higher",
    "2": "is not the number of a descriptor, 3 or higher",
    "-1": "is not the number of a descriptor, 3 or higher",
    "+4": "is not the number of a descriptor, 3 or higher",
    "1234567": "is not the number of a descriptor, 3 or higher",
    PASSPHRASE: "is not the number of a descriptor, 3 or higher",
    "99999": "names a descriptor that can't be read: Bad file descriptor",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_descriptor_that_is_none_is_a_problem(locked: dict[str, str], text: str) -> None:
    """A passphrase where its number belongs is armed, and not repeated; no other source is tried."""
    known = KnownSecrets()
    settings = read_settings({**locked, "R4_KEY_PASSPHRASE_FD": text, "R4_KEY_PASSPHRASE_KEYRING": "1"}, known)
    (problem,) = settings.problems
    assert NUMBERS[text] in problem.message
    assert PASSPHRASE not in f"{problem.message}{problem.next_step}"
    assert (PASSPHRASE in known.armed()) is (text == PASSPHRASE)
    assert settings.key_source is not None
    with pytest.raises(ConfigurationError) as caught:
        settings.key_source.load()
    assert caught.value is problem


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"x" * 1024, b"x" * 100_000])
def test_a_descriptor_without_a_line_is_a_problem(locked: dict[str, str], content: bytes, tmp_path: Path) -> None:
    """Empty, or longer than any passphrase."""
    path = tmp_path / "content"
    path.write_bytes(content)
    number = os.open(path, os.O_RDONLY)
    (problem,) = read_settings({**locked, "R4_KEY_PASSPHRASE_FD": str(number)}, KnownSecrets()).problems
    assert "gave no line of 1 to 1023 bytes" in problem.message
    assert not is_open(number)


def test_a_descriptor_that_gives_nothing_is_not_waited_for_without_end(
    locked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe whose writer keeps still."""
    from r4_mcp.config import passphrase  # noqa: PLC0415 - its deadline is shortened here only

    monkeypatch.setattr(passphrase, "READ_SECONDS", 0.05)
    reading, writing = os.pipe()
    (problem,) = read_settings({**locked, "R4_KEY_PASSPHRASE_FD": str(reading)}, KnownSecrets()).problems
    os.close(writing)
    assert "gave nothing within" in problem.message
    assert not is_open(reading)


def test_a_wrong_passphrase_is_said_and_not_repeated(locked: dict[str, str], world: World) -> None:
    """Nor the right one; nothing but the question who we are was sent."""
    with descriptor(WRONG.encode()) as number:
        ended = run_here("doctor", environment={**locked, "R4_KEY_PASSPHRASE_FD": str(number)})
    assert ended.status == 1
    assert "the passphrase is wrong" in ended.out
    shows_nothing(ended, WRONG, PASSPHRASE)
    assert not [line for line in world.tap.lines() if line.startswith("POST")]


@pytest.mark.stdio
def test_a_person_is_asked_for_the_passphrase(locked: dict[str, str]) -> None:
    """Once, unseen; a wrong one is said."""
    ended = run_at_terminal("doctor", environment=locked, typed=((PROMPT, PASSPHRASE + "\n"),))
    assert ended.status == 0, ended.out
    assert FINE in ended.out
    assert ended.out.count(PROMPT) == 1
    shows_nothing(ended, PASSPHRASE)
    ended = run_at_terminal("doctor", environment=locked, typed=((PROMPT, WRONG + "\n"),))
    assert ended.status == 1
    assert "the passphrase is wrong" in ended.out
    shows_nothing(ended, WRONG)


@pytest.mark.stdio
@pytest.mark.parametrize(("typed", "status"), [("\n", 1), ("\x04", 1), ("\x03", 130)])
def test_a_prompt_that_is_left_empty_ends(locked: dict[str, str], typed: str, status: int) -> None:
    """An empty line, the end of input, and Ctrl-C, which no event loop holds back."""
    ended = run_at_terminal("doctor", environment=locked, typed=((PROMPT, typed),))
    assert ended.status == status
    assert "Traceback" not in ended.out
    assert ("no passphrase was entered" in ended.out.lower()) is (status == 1)


@pytest.mark.stdio
def test_serve_asks_nobody_even_at_a_terminal(locked: dict[str, str]) -> None:
    """Its terminal is the protocol's: the tool says what is missing."""
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    lines = [json.dumps(message) + "\n" for message in (HELLO, ready, READ)]
    typed = (('"method": "initialize"', ""), ('"serverInfo"', lines[1] + lines[2]), ("R4_KEY_PASSPHRASE_FD=N", "\x04"))
    ended = run_at_terminal("serve", environment=locked, typed=(("", lines[0]), *typed))
    assert ended.status == 0, ended.out
    assert "no passphrase was given" in ended.out
    assert "R4_KEY_PASSPHRASE_FD=N" in ended.out
    assert PROMPT not in ended.out


async def test_without_a_passphrase_every_tool_says_how_to_give_one(locked: dict[str, str]) -> None:
    """In memory, as a framework wires it."""
    async with in_memory(locked) as door:
        told = await door.refused("read_secret", "private_key_unusable", reference="r4://Engineering/Sentry")
        assert "no passphrase was given" in told["message"]
        assert "R4_KEY_PASSPHRASE_KEYRING=1" in told["next_step"]


def test_a_command_without_a_terminal_asks_nobody(locked: dict[str, str]) -> None:
    """A pipe is no person."""
    ended = run_here("doctor", environment=locked, stdin=PASSPHRASE.encode())
    assert "no passphrase was given" in ended.out


def test_a_key_in_the_environment_may_be_encrypted_too(spare_keys: tuple[PrivateKey, ...]) -> None:
    """The passphrase comes the same way."""
    with descriptor(PASSPHRASE.encode()) as number:
        environment = {"R4_PRIVATE_KEY": encrypted(spare_keys[0]), "R4_KEY_PASSPHRASE_FD": str(number)}
        source = read_settings(environment, KnownSecrets()).key_source
        assert source is not None
        assert source.load().public.fingerprint == spare_keys[0].public.fingerprint


@pytest.mark.usefixtures("keyring_here")
@pytest.mark.parametrize(("setting", "service"), [("1", "r4-mcp"), ("true", "r4-mcp"), ("my-vault", "my-vault")])
def test_the_keyring_gives_the_passphrase(
    locked: dict[str, str], world: World, tmp_path: Path, setting: str, service: str
) -> None:
    """Under its service, by the path of the key's file."""
    environment = {**locked, **keyring_environment(tmp_path), "R4_KEY_PASSPHRASE_KEYRING": setting}
    (tmp_path / "keyring.json").write_text(json.dumps({f"{service} {key_path(world, 'locked')}": PASSPHRASE}))
    ended = run_here("doctor", environment=environment)
    assert ended.status == 0, ended.out + ended.err
    assert FINE in ended.out
    shows_nothing(ended, PASSPHRASE)


@pytest.mark.usefixtures("keyring_here")
def test_a_keyring_without_the_entry_names_the_command(locked: dict[str, str], world: World, tmp_path: Path) -> None:
    """The exact one; the name of another service is a setting's value, and is not repeated."""
    environment = {**locked, **keyring_environment(tmp_path)}
    ended = run_here("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": "1"})
    assert ended.status == 1
    assert f"keyring set r4-mcp {key_path(world, 'locked')}" in ended.flat
    ended = run_here("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": PASSPHRASE})
    assert f"keyring set SERVICE {key_path(world, 'locked')}" in ended.flat
    shows_nothing(ended, PASSPHRASE)
    (tmp_path / "keyring.locked").touch()
    ended = run_here("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": "1"})
    assert "the system's keyring can't be used here" in ended.out.replace("The system", "the system")


def test_a_keyring_setting_that_is_no_service_is_a_problem(locked: dict[str, str]) -> None:
    """It may be the passphrase itself."""
    known = KnownSecrets()
    (problem,) = read_settings({**locked, "R4_KEY_PASSPHRASE_KEYRING": f"{PASSPHRASE}!"}, known).problems
    assert problem.message == "R4_KEY_PASSPHRASE_KEYRING is neither 1 nor the name of a service"
    assert f"{PASSPHRASE}!" in known.armed()
    assert read_settings({**locked, "R4_KEY_PASSPHRASE_KEYRING": "off"}, known).problems == ()


@pytest.mark.stdio
def test_a_library_that_is_not_installed_names_the_extra(locked: dict[str, str]) -> None:
    """Lazily loaded, so that nothing else needs it."""
    script = "import sys; sys.modules['keyring'] = None; from r4_mcp.cli import main; sys.exit(main(['doctor']))"
    for setting, says in (("1", "pip install 'r4-mcp[keyring]'"), ("0", "no passphrase was given")):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**locked, "R4_KEY_PASSPHRASE_KEYRING": setting},
            cwd=REPOSITORY,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert ended.status == 1
        assert says in ended.out
        shows_nothing(ended, PASSPHRASE)


def test_what_was_asked_once_is_not_asked_again() -> None:
    """By key: another key may have another passphrase."""
    asked: list[str] = []

    def ask(prompt: str) -> str | None:
        asked.append(prompt)
        return PASSPHRASE

    passphrases = Passphrases({}, KnownSecrets(), ask)
    for holder in ("/a.pem", "/b.pem", "/a.pem", "/b.pem"):
        given = passphrases.source(holder)()
        assert given is not None
        assert given.reveal() == PASSPHRASE.encode()
    assert asked == ["Passphrase of /a.pem (not shown): ", "Passphrase of /b.pem (not shown): "]
