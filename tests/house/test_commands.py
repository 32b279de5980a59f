"""Every command that the documents tell people to type is typed here, or stands on a short list with the reason why not."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.cli.parser import build_parser
from r4_mcp.sinks.masking import mark
from tests.cli.file_keyring import keyring_environment
from tests.cli.profiles import HELLO, PASSPHRASE, READ
from tests.cli.running import SECONDS
from tests.cli.test_screens import commands
from tests.doors import World, write_private
from tests.switchboard import loopback_socket

from .reader import TOKEN, Reader, encrypt_key, new_reader
from .shell_lines import DOCUMENTS, shell_lines, spoken_of

pytestmark = pytest.mark.stdio

NOT_TYPED: Final = {
    "uv tool install .": "installs; the package that is installed is what every other line here starts",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]'": "as above; `.ci/run` does it in a fresh environment",
    ".venv/bin/pytest": "would run this test again; `.ci/run` does it",
    "docker build -t r4-mcp .": "needs an engine and its registry; `tests/manifests/test_image` checks the recipe without one",
    "docker run -i --rm -v r4-state:/state r4-mcp serve --local": "as above",
    "docker compose -f manifests/compose.yaml run --rm -T r4-mcp": "as above",
}
YES: Final = ("[y/N] ", "y\n")
EMULATOR: Final = "r4-mcp emulator --port 8144 --data ./r4-data --seed"
DOCTOR: Final = "R4_CONFIG=./r4-data/agent.json R4_BASE_URL=http://127.0.0.1:8144 r4-mcp doctor"
BY_DESCRIPTOR: Final = "R4_KEY_PASSPHRASE_FD=3 r4-mcp serve 3< /run/secrets/r4-passphrase"
BY_KEYRING: Final = "R4_KEY_PASSPHRASE_KEYRING=1 r4-mcp serve"

TYPED: Final[dict[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "r4-mcp demo": ("Every step did what it says.", ()),
    "r4-mcp install cursor --local": ("added r4", ()),
    "r4-mcp install cursor --dry-run": ("Nothing was written.", ()),
    "r4-mcp install cursor --profile work --replace": ("added r4", ()),
    "r4-mcp put --local r4://Work/GitHub/token": (
        "stored r4://Work/GitHub/token",
        (("Value (not shown): ", f"{TOKEN}\n"),),
    ),
    "r4-mcp policy check": ("rules: none", ()),
    "r4-mcp policy explain r4://Production/Database": ("class CONFIDENTIAL", ()),
    "r4-mcp policy allow r4://Production/Database/password": ("written to", (YES,)),
    "r4-mcp run --env TOKEN=r4://Work/Example/token -- ./deploy --verbose": (f"TOKEN={mark('r4://Work/Example/token')}", ()),
    "r4-mcp run --project Storefront --prefix APP_ -- ./serve": ("APP_STRIPE_TOKEN=", (YES,)),
    "r4-mcp ls": ("r4://Production", ()),
    "r4-mcp get r4://Work/GitHub/token": (TOKEN, (YES,)),
    "r4-mcp edit r4://Work/GitHub --website https://github.com --add otp:TOTP": (
        "https://github.com",
        (YES, ("(not shown): ", "JBSWY3DPEHPK3PXP\n")),
    ),
}
"""What is said, and what is asked on the way and answered."""


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Reader:
    """Make a reader."""
    return new_reader(world, tmp_path)


@pytest.mark.parametrize("line", TYPED)
def test_a_command_does_what_the_document_says(line: str, reader: Reader) -> None:
    """At a terminal, in a home with a default profile; it ends well, and a value is on the screen only where it is asked for."""
    says, answers = TYPED[line]
    ended = reader.types(line, *answers)
    assert ended.status == 0, ended.out
    assert says in ended.flat
    assert (TOKEN in ended.out) is (says == TOKEN)


def test_a_profile_is_made_and_becomes_usable(reader: Reader) -> None:
    """``init`` asks for the API key; the service is the one that the environment names."""
    line = "r4-mcp init --profile work"
    answers = (("API key, accessKey.secret (not shown): ", f"{reader.fresh.api_key}\n"),)
    ended = reader.types(line, *answers, R4_BASE_URL=reader.world.base_url)
    assert ended.status == 0, ended.out
    assert "Profile work is made" in ended.out
    assert reader.fresh.access_secret not in ended.out
    assert "work" in reader.types("r4-mcp doctor --profile work").flat


def test_the_emulator_serves_until_ctrl_c_and_doctor_is_content(reader: Reader) -> None:
    """Both lines as they stand, but for the port: another program may have that one."""
    listener, address = loopback_socket()
    port = address.rpartition(":")[2]
    listener.close()
    command = ["bash", "-c", f"exec {EMULATOR.replace('8144', port)}"]
    with subprocess.Popen(command, cwd=reader.folder, env=reader.environment, stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        assert json.loads(emulator.stdout.readline()) == {
            "baseUrl": address,
            "dataDir": "r4-data",
            "agentConfig": "r4-data/agent.json",
        }
        ended = reader.types(DOCTOR.replace("8144", port))
        emulator.send_signal(signal.SIGINT)
        assert emulator.wait(SECONDS) == 0
    assert ended.status == 0, ended.out
    assert "Everything that was checked works." in ended.out


def served(reader: Reader, line: str, **variables: str) -> str:
    """Start a server as a host does, and read a value over it; returns the answer."""
    command, environment = ["bash", "-c", line], {**reader.environment, **variables}
    with subprocess.Popen(
        command, cwd=reader.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for message in (HELLO, READ):
            server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        answers = [server.stdout.readline() for _ in (HELLO, READ)]
        server.stdin.close()
        assert server.wait(SECONDS) == 0
    return answers[-1]


def by_descriptor(reader: Reader, folder: Path) -> str:
    """Serve with the passphrase in a file."""
    given = write_private(folder / "passphrase", f"{PASSPHRASE}\n")
    return served(reader, BY_DESCRIPTOR.replace("/run/secrets/r4-passphrase", str(given)))


def by_keyring(reader: Reader, folder: Path) -> str:
    """Serve with the passphrase in a keyring that keeps its entries in a file."""
    held = reader.home / ".r4" / "profiles" / "default" / "private-key.pem"
    (folder / "keyring.json").write_text(json.dumps({f"r4-mcp {held}": PASSPHRASE}))
    return served(reader, BY_KEYRING, **keyring_environment(folder))


@pytest.mark.parametrize("way", [by_descriptor, by_keyring])
def test_an_encrypted_key_is_opened(way: Callable[[Reader, Path], str], reader: Reader, tmp_path: Path) -> None:
    """A value is read, which needs the key."""
    encrypt_key(reader)
    said = way(reader, tmp_path)
    assert json.loads(said)["result"]["isError"] is False
    assert PASSPHRASE not in said


APART: Final = frozenset({"r4-mcp init --profile work", EMULATOR, DOCTOR, BY_DESCRIPTOR, BY_KEYRING})
"""Lines with a test of their own above."""


def test_every_command_of_the_documents_is_typed_or_says_why_not() -> None:
    """A new line fails here until it is; a line that is gone leaves the lists."""
    told = {line for document in DOCUMENTS for line in shell_lines(document)}
    assert told == set(TYPED) | APART | set(NOT_TYPED)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_is_spoken_of_exists(document: str) -> None:
    """In sentences and tables: the command is there, and so are its options."""
    known = dict(commands(build_parser()))
    for line in spoken_of(document):
        _, *words = line.split()
        path: tuple[str, ...] = ()
        while len(path) < len(words) and (*path, words[len(path)]) in known:
            path = (*path, words[len(path)])
        assert path, line
        options = known[path].format_help()
        assert [word for word in words if word.startswith("--") and not re.search(rf"{word}\b", options)] == [], line


def test_the_installed_command_is_the_one_that_is_typed(reader: Reader) -> None:
    """``r4-mcp`` is found on the reader's ``PATH``, beside the Python of these tests."""
    assert Path(reader.types("command -v r4-mcp").out.strip()) == Path(sys.executable).with_name("r4-mcp")
