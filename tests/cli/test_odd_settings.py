"""Settings that a person or a tool gets slightly wrong: a problem that says so, never a crash or a hang."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from r4_mcp.config import read_settings
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import KnownSecrets
from tests.cli.test_put_values import stored_in_process
from tests.doors import World, in_memory
from tests.tools.test_bad_configuration import with_key_file

API_KEY = "rk_test00000000.not-a-real-secret"
LIMIT = 262_144


@pytest.mark.parametrize(
    "url",
    [
        "https://r4.\tdev",
        "https://r4.de\nv",
        "https://\u202er4.dev",
        "https://r4.dev/\x00",
        "https://xn--.dev",
        "https://r4 .dev",
        "https://r4.dev\\x",
        "https://r4.dev%2e",
        "https://[::1%25eth0]",
        "https://@r4.dev",
        "https://r4.dev/?",
        "https://r4.dev/#",
    ],
)
def test_an_address_that_would_be_cleaned_is_a_problem(url: str) -> None:
    """What is judged is what is dialled: nothing is stripped from an address."""
    assert read_settings({"R4_API_KEY": API_KEY, "R4_BASE_URL": url}, KnownSecrets()).problems


@pytest.mark.parametrize("setting", ["R4_CONFIG", "R4_API_KEY_FILE", "R4_PRIVATE_KEY_PATH"])
async def test_a_folder_is_no_key_file(world: World, setting: str) -> None:
    """The server starts, and says what is wrong with the path."""
    environment = with_key_file(world, "x")
    if setting == "R4_API_KEY_FILE":
        del environment["R4_API_KEY"]
    environment[setting] = str(world.home)
    async with in_memory(environment) as door:
        await door.refused("list_vaults", "file_access")


def test_a_fifo_is_no_key_file(world: World) -> None:
    """Opening it would wait for a writer; the server starts all the same."""
    os.mkfifo(world.home / "fifo", 0o600)
    done = subprocess.run(
        [sys.executable, "-m", "r4_mcp", "serve"],
        env={**world.environment, "R4_CONFIG": str(world.home / "fifo")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.parametrize("piped", [b"x" * LIMIT + b"\r\nthe rest", b"x" * (LIMIT + 1) + "é".encode()])
def test_put_never_stores_a_part(piped: bytes) -> None:
    """A longer input is refused whole, wherever a line break or a character is cut."""
    with pytest.raises(InvalidArgumentError, match="256 KiB"):
        stored_in_process(piped)


def test_put_keeps_a_lone_carriage_return() -> None:
    """Only a whole line break is taken off the end."""
    assert stored_in_process(b"a demo value\r") == "a demo value\r"


@pytest.mark.parametrize("setting", ["R4_CONFIG", "R4_API_KEY_FILE", "R4_PRIVATE_KEY_PATH", "R4_TRUST_STORE_PATH", "R4_HOME"])
@pytest.mark.parametrize("pasted", ["pem", "api key", "json"])
async def test_a_secret_pasted_where_its_path_belongs_is_not_repeated(world: World, setting: str, pasted: str) -> None:
    """The setting is named; the text is neither shown, nor logged, nor tried as a path."""
    members = world.agent_members()
    text = {
        "pem": members["privateKey"],
        "api key": f"{members['accessKey']}.{members['accessSecret']}",
        "json": world.seeded.config_path.read_text(),
    }[pasted]
    environment = {**world.environment, setting: text}
    known = KnownSecrets()
    problems = [problem.message for problem in read_settings(environment, known).problems]
    assert f"{setting} does not hold a path" in problems
    async with in_memory(environment) as door:
        await door.ok("whoami")
        await door.refused("list_vaults", "configuration_invalid")
    shown = "\n".join([*problems, *door.raw])
    assert not any(line in shown for line in [*text.splitlines(), members["accessSecret"]] if len(line) > 8)
