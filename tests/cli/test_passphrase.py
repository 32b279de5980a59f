"""Encrypted private keys: where the passphrase comes from, what happens without it, and that it is shown nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from r4_mcp.config import Passphrases, read_settings
from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.errors import ConfigurationError, PrivateKeyError
from r4_mcp.secret import KnownSecrets
from tests.doors import World, in_memory, write_private

from .profiles import PASSPHRASE, Credentials, files_below, new_agent, shows_nothing, write_profile
from .running import COMMAND, SECONDS, Ended, run, run_at_terminal, run_here

REPOSITORY: Final = Path(__file__).parents[2]
WRONG: Final = "canary-zebra-wrong"
FINE: Final = "Everything that was checked works."
PROMPT: Final = "private-key.pem (not shown): "


def encrypted(key: PrivateKey, passphrase: str = PASSPHRASE) -> str:
    """Return a key as an encrypted PEM."""
    scheme = BestAvailableEncryption(passphrase.encode())
    return key.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme).decode()


@contextmanager
def descriptor(content: bytes) -> Iterator[int]:
    """Open a descriptor that gives these bytes and ends; the program closes it."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        yield reading
    finally:
        if is_open(reading):
            os.close(reading)


def is_open(number: int) -> bool:
    """Say whether a descriptor is open in this process."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest.fixture
def locked(world: World) -> dict[str, str]:
    """Make the seed's agent a profile whose key is encrypted; returns its environment."""
    members = world.agent_members()
    key = load_private_key(members["privateKey"].encode())
    api_key = f"{members['accessKey']}.{members['accessSecret']}"
    write_profile(world.home, "locked", api_key, encrypted(key), baseUrl=world.base_url)
    return {"R4_HOME": str(world.home), "R4_PROFILE": "locked"}


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


HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}},
}
READ: Final = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "read_secret", "arguments": {"reference": "r4://Engineering/Sentry"}},
}


@pytest.mark.stdio
def test_serve_asks_nobody_even_at_a_terminal(locked: dict[str, str]) -> None:
    """Its terminal is the protocol's: the tool says what is missing."""
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    lines = [json.dumps(message) + "\n" for message in (HELLO, ready, READ)]
    typed = (('"method": "initialize"', ""), ('"serverInfo"', lines[1] + lines[2]), ("private_key_unusable", "\x04"))
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


def keyring_environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a keyring that keeps its entries in a file."""
    return {
        "PYTHON_KEYRING_BACKEND": "tests.cli.file_keyring.FileKeyring",
        "PYTHONPATH": str(REPOSITORY),
        "R4_TEST_KEYRING": str(tmp_path / "keyring.json"),
    }


def key_path(world: World, name: str) -> str:
    """Return where a profile's key is."""
    return str(world.home / "profiles" / name / "private-key.pem")


@pytest.mark.stdio
@pytest.mark.parametrize(("setting", "service"), [("1", "r4-mcp"), ("true", "r4-mcp"), ("my-vault", "my-vault")])
def test_the_keyring_gives_the_passphrase(
    locked: dict[str, str], world: World, tmp_path: Path, setting: str, service: str
) -> None:
    """Under its service, by the path of the key's file."""
    environment = {**locked, **keyring_environment(tmp_path), "R4_KEY_PASSPHRASE_KEYRING": setting}
    (tmp_path / "keyring.json").write_text(json.dumps({f"{service} {key_path(world, 'locked')}": PASSPHRASE}))
    ended = run("doctor", environment=environment)
    assert ended.status == 0, ended.out + ended.err
    assert FINE in ended.out
    shows_nothing(ended, PASSPHRASE)


@pytest.mark.stdio
def test_a_keyring_without_the_entry_names_the_command(locked: dict[str, str], world: World, tmp_path: Path) -> None:
    """The exact one; the name of another service is a setting's value, and is not repeated."""
    environment = {**locked, **keyring_environment(tmp_path)}
    ended = run("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": "1"})
    assert ended.status == 1
    assert f"keyring set r4-mcp {key_path(world, 'locked')}" in ended.out
    ended = run("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": PASSPHRASE})
    assert f"keyring set SERVICE {key_path(world, 'locked')}" in ended.out
    shows_nothing(ended, PASSPHRASE)
    (tmp_path / "keyring.locked").touch()
    ended = run("doctor", environment={**environment, "R4_KEY_PASSPHRASE_KEYRING": "1"})
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
    assert "The key is encrypted: `serve` takes the passphrase through R4_KEY_PASSPHRASE_FD=N" in ended.out
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
        served = subprocess.run(
            [*COMMAND, "serve"],
            input="".join(json.dumps(line) + "\n" for line in lines).encode(),
            env={**environment, "R4_KEY_PASSPHRASE_FD": str(number)},
            pass_fds=(number,),
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    # The key opens: what is missing is the operator's step.
    assert b"not_found" in served.stdout
    assert PASSPHRASE.encode() not in served.stdout + served.stderr


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
    assert "R4_KEY_PASSPHRASE_KEYRING=1" in ended.out
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
    assert f"keyring set r4-mcp {key_path(world, 'default')}" in ended.out
    assert set(files_below(world.home / "profiles" / "default")) == {"credentials.json", "private-key.pem"}


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
