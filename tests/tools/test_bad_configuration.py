"""A server that is configured wrongly or not at all: it starts, says what is missing, and sends nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from r4_mcp.tools import ALL_TOOLS
from tests.doors import World, in_memory, loopback_nowhere, private_pem, subprocess, write_private

from .test_bad_input import refused_everywhere
from .test_inventory import UNLISTED

CANARY: Final = "canary-zebra-77"
TOO_SMALL: Final = 1024
Environment = dict[str, str]


def with_key_file(world: World, text: str, mode: int = 0o600) -> Environment:
    """Give the agent's API key and another private key file."""
    members = world.agent_members()
    path = write_private(world.home / "key.pem", text, mode)
    return {
        "R4_API_KEY": f"{members['accessKey']}.{members['accessSecret']}",
        "R4_PRIVATE_KEY_PATH": str(path),
        "R4_BASE_URL": world.base_url,
        "R4_HOME": str(world.home),
    }


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    """Return a private key as PKCS#8 PEM."""
    scheme = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, scheme).decode()


KEY_FILES: Final[dict[str, tuple[Callable[[World], str], str]]] = {
    "a text that is no key": (lambda _: f"{CANARY}\n", "private_key_unusable"),
    "an empty file": (lambda _: "", "private_key_unusable"),
    "an elliptic curve key": (lambda _: pem(ec.generate_private_key(ec.SECP256R1())), "private_key_unusable"),
    "an RSA key that is too small": (lambda _: pem(rsa.generate_private_key(65537, TOO_SMALL)), "private_key_unusable"),
    "a public key": (lambda world: world.seeded.agent_key.public.pem, "private_key_unusable"),
    "an encrypted key": (lambda world: pem(world.spare_keys[0].rsa, CANARY.encode()), "private_key_unusable"),
    "a cut key": (lambda world: private_pem(world.spare_keys[0])[:900], "private_key_unusable"),
    "a file of 1 MB": (lambda _: CANARY * 70_000, "file_access"),
}


@pytest.mark.parametrize("what", KEY_FILES)
async def test_a_private_key_that_is_none_is_named(world: World, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every tool says so, whoami too; nothing of the file is repeated."""
    make, code = KEY_FILES[what]
    before = world.dump()
    async with in_memory(with_key_file(world, make(world))) as door:
        await refused_everywhere(door, code)
        standing = await door.ok("whoami")
        assert standing["missing"]
        assert standing["key"] == "unknown"
        assert CANARY not in "".join(door.raw) + caplog.text
    assert world.dump() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
async def test_a_key_file_open_to_others_names_the_chmod(world: World, mode: int) -> None:
    """The exact command, for this very file."""
    environment = with_key_file(world, private_pem(world.seeded.agent_key), mode)
    path = environment["R4_PRIVATE_KEY_PATH"]
    async with in_memory(environment) as door:
        told = await door.refused("list_vaults", "file_access")
        assert f"chmod 600 {path}" in told["next_step"]
        assert f"chmod 600 {path}" in (await door.ok("whoami"))["next_step"]
    with_key_file(world, private_pem(world.seeded.agent_key))
    async with in_memory(environment) as door:
        assert (await door.ok("list_vaults"))["vaults"]


async def test_a_runtime_file_open_to_others_names_the_chmod(world: World) -> None:
    """The same for ``R4_CONFIG``: nothing is sent."""
    path = world.seeded.config_path
    path.chmod(0o644)
    async with in_memory(world.environment) as door:
        told = await door.refused("list_vaults", "file_access")
        assert f"chmod 600 {path}" in told["next_step"]
    assert world.tap.exchanges == []


async def test_a_symlinked_key_file_is_refused(world: World) -> None:
    """A link is not followed; a missing file is no key either."""
    environment = with_key_file(world, private_pem(world.seeded.agent_key))
    link = world.home / "link.pem"
    link.symlink_to(environment["R4_PRIVATE_KEY_PATH"])
    for path in (link, world.home / "missing.pem"):
        async with in_memory({**environment, "R4_PRIVATE_KEY_PATH": str(path)}) as door:
            told = await door.refused("read_secret", "file_access", reference="r4://a/b/c")
            assert str(path) in told["message"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_an_unreadable_key_file_is_refused(world: World) -> None:
    """Mode 000: the operating system's reason is told."""
    async with in_memory(with_key_file(world, "x", 0o000)) as door:
        assert "Permission denied" in (await door.refused("list_vaults", "file_access"))["message"]


async def test_a_private_key_that_is_not_set_stops_everything_but_listings(world: World) -> None:
    """With an API key alone, listings and reports work; the rest says what is missing."""
    environment = with_key_file(world, "unused")
    del environment["R4_PRIVATE_KEY_PATH"]
    async with in_memory(environment) as door:
        assert len((await door.ok("list_vaults"))["vaults"]) == 4
        told = await door.refused("read_secret", "not_configured", reference="r4://Engineering/Sentry")
        assert "R4_PRIVATE_KEY_PATH" in told["next_step"]
        standing = await door.ok("whoami")
        assert standing["configured"] is False
        assert "R4_PRIVATE_KEY_PATH" in standing["next_step"]


WRONG_KEYS: Final = {
    "a wrong secret": ("rk_aaaaaaaaaaaa." + CANARY, "unauthorized"),
    "a key without a dot": ("rk-nodot-" + CANARY, "api_key_malformed"),
    "a key with a space": (f"rk_a b.{CANARY}", "api_key_malformed"),
    "a key with half of nothing": (f"rk_aaaaaaaaaaaa.{CANARY}\u00e9", "api_key_malformed"),
    "a secret without an access key": ("." + CANARY, "api_key_malformed"),
}


@pytest.mark.parametrize("what", WRONG_KEYS)
async def test_a_wrong_api_key_is_refused_and_not_repeated(world: World, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """401 as unauthorized, a malformed one before anything is sent."""
    api_key, code = WRONG_KEYS[what]
    environment = {**with_key_file(world, private_pem(world.seeded.agent_key)), "R4_API_KEY": api_key}
    async with in_memory(environment) as door:
        await refused_everywhere(door, code)
        standing = await door.ok("whoami")
        assert standing["missing"]
        assert standing["next_step"]
        assert CANARY not in "".join(door.raw) + caplog.text
    assert (world.tap.exchanges == []) is (code == "api_key_malformed")


BAD_URLS: Final = (
    "http://example.com",
    "http://r4.dev",
    "http://127.0.0.1.example.com",
    "http://10.0.0.1:8080",
    f"https://{CANARY}:secret@r4.dev",
    f"https://{CANARY}@r4.dev",
    f"https://r4.dev/?{CANARY}",
    f"https://r4.dev/#{CANARY}",
    f"ftp://{CANARY}",
    f"file:///{CANARY}",
    CANARY,
    "https://",
    "https://r4.dev:99999",
    "https://[::1",
)


@pytest.mark.parametrize("url", BAD_URLS)
async def test_an_address_that_is_no_service_is_refused(world: World, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """https, or http on loopback; the refusal names the setting and repeats nothing of it; nothing is sent."""
    async with in_memory({**world.environment, "R4_BASE_URL": url}) as door:
        told = await door.refused("list_vaults", "configuration_invalid")
        assert "R4_BASE_URL" in told["message"]
        assert "R4_BASE_URL" in told["next_step"]
        assert (await door.ok("whoami"))["configured"] is False
        assert CANARY not in "".join(door.raw) + caplog.text
    assert world.tap.exchanges == []


async def test_a_service_that_is_down_is_unreachable(world: World) -> None:
    """The code says so; whoami says so too, and does not fail."""
    async with in_memory({**world.environment, "R4_BASE_URL": loopback_nowhere()}) as door:
        await door.refused("list_vaults", "unreachable")
        await door.refused("read_secret", "unreachable", reference="r4://Engineering/Sentry")
        standing = await door.ok("whoami")
        assert standing["missing"]
        assert "address" in standing["next_step"]


async def test_nothing_configured_is_explained(tmp_path: Path) -> None:
    """All tools that need no policy are listed; whoami names what is missing and how to set it; others say not_configured."""
    async with in_memory({"R4_HOME": str(tmp_path)}) as door:
        assert {tool.name for tool in (await door.client.list_tools()).tools} == {
            tool.name for tool in ALL_TOOLS if tool.name not in UNLISTED
        }
        standing = await door.ok("whoami")
        assert standing["configured"] is False
        assert "API key" in standing["missing"][0]
        assert "R4_CONFIG" in standing["next_step"]
        assert "serve --local" in standing["next_step"]
        await refused_everywhere(door, "not_configured")
    assert is_empty(tmp_path)


def is_empty(folder: Path) -> bool:
    """Say whether nothing was left in a folder."""
    return not any(folder.iterdir())


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"', "{}", '{"accessKey":1,"accessSecret":"x"}', "[" * 9000])
async def test_a_runtime_file_that_is_none_is_named(world: World, text: str) -> None:
    """Broken JSON, another shape, or endless nesting: one sentence with the path, nothing of the content."""
    path = write_private(world.home / "runtime.json", text.replace("text", CANARY))
    async with in_memory({**world.environment, "R4_CONFIG": str(path)}) as door:
        told = await door.refused("list_vaults", "configuration_invalid")
        assert str(path) in told["message"]
        assert CANARY not in json.dumps(told)


@pytest.mark.stdio
async def test_the_real_server_starts_with_a_wrong_configuration_and_logs_no_value(world: World, tmp_path: Path) -> None:
    """Malformed API key, bad address, another's key file: the server starts, explains, and its stderr holds none of it."""
    environment = {
        **with_key_file(world, f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"),
        "R4_API_KEY": f"no-dot-{CANARY}",
        "R4_BASE_URL": f"https://u:{CANARY}@r4.dev",
    }
    stderr = tmp_path / "stderr"
    async with subprocess(environment, stderr=stderr) as door:
        assert (await door.ok("whoami"))["configured"] is False
        await refused_everywhere(door, "api_key_malformed")
        assert CANARY not in "".join(door.raw)
    logged = stderr.read_text()
    assert "not ready" in logged
    assert CANARY not in logged
    assert "Traceback" not in logged
