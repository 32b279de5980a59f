"""What ``r4-mcp init`` refuses: each with its own sentence, nothing shown, nothing made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from r4_mcp.core.keys import PrivateKey
from tests.doors import World, private_pem, write_private

from .profiles import files_below, new_agent, runtime_json, shows_nothing
from .running import Ended, run_here

CANARY: Final = "canary-zebra-93"
KEY_SIZE: Final = 1024


def refused(world: World, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> str:
    """Run an ``init`` that must be refused; returns what it says. Nothing is made, sent or repeated."""
    before = made_in(world.home)
    around = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url} | (environment or {})
    ended: Ended = run_here("init", *arguments, environment=around, stdin=stdin.encode())
    assert (ended.status, ended.out) == (1, "")
    shows_nothing(ended, CANARY)
    assert made_in(world.home) == before
    assert not [line for line in world.tap.lines() if line.startswith("POST")]
    return ended.err


def made_in(home: Path) -> dict[str, int]:
    """Return what is in a home, but for the lock that is never deleted."""
    return {name: mode for name, mode in files_below(home).items() if name != "config.json.lock"}


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return any private key as PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


BAD_KEYS: Final[dict[str, tuple[Callable[[PrivateKey], str], int, str]]] = {
    "not RSA": (lambda _: pem_of(ec.generate_private_key(ec.SECP256R1())), 0o600, "the private key is not an RSA key"),
    "too small": (lambda _: pem_of(rsa.generate_private_key(65537, KEY_SIZE)), 0o600, "has 1024 bits; 2048 to 4096 are allowed"),
    "a public key": (
        lambda key: key.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        0o600,
        "a public key was given where the private key is needed",
    ),
    "open to others": (private_pem, 0o644, "is open to other users (mode 0644)"),
    "no key": (lambda _: CANARY, 0o600, "is not a readable PEM"),
    "empty": (lambda _: "", 0o600, "is not a readable PEM"),
    "cut": (lambda key: private_pem(key)[:800], 0o600, "is not a readable PEM"),
    "too large": (lambda key: private_pem(key) * 20, 0o600, "is larger than 16384 bytes"),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_a_key_that_is_none_has_its_own_sentence(world: World, what: str) -> None:
    """With the file's path; before anything is asked, so that stdin may be empty."""
    make, mode, says = BAD_KEYS[what]
    text = make(world.spare_keys[0])
    path = write_private(world.home.parent / "key.pem", text, mode)
    told = refused(world, "--key", str(path))
    assert str(path) in told
    assert says in told
    assert ("chmod 600" if mode == 0o644 else "RSA private key in PEM") in told or what == "too large"
    assert world.tap.exchanges == []


def test_a_key_that_is_a_link_or_missing_is_refused(world: World) -> None:
    """As everywhere."""
    path = write_private(world.home.parent / "key.pem", private_pem(world.spare_keys[0]))
    link = world.home.parent / "link.pem"
    link.symlink_to(path)
    assert "is a symbolic link" in refused(world, "--key", str(link))
    assert "does not exist" in refused(world, "--key", str(world.home / "missing.pem"))
    assert "is not a regular file" in refused(world, "--key", str(world.home))


BAD_CONFIGS: Final = {
    "no JSON": CANARY,
    "a list": f'["{CANARY}"]',
    "no secret": f'{{"accessKey": "{CANARY}"}}',
    "no API key": f'{{"accessKey": "a b", "accessSecret": "{CANARY}"}}',
    "a key that is none": f'{{"accessKey": "rk_abcdef", "accessSecret": "{CANARY}", "privateKey": "{CANARY}"}}',
}


@pytest.mark.parametrize("what", BAD_CONFIGS)
def test_a_runtime_json_that_is_none_is_refused(world: World, what: str) -> None:
    """Its content is not repeated."""
    path = write_private(world.home.parent / "agent.json", BAD_CONFIGS[what])
    told = refused(world, "--config", str(path))
    assert str(path) in told or "--config" in told


def test_a_runtime_json_open_to_others_is_refused(world: World) -> None:
    """With its chmod."""
    path = runtime_json(world, new_agent(world), mode=0o640)
    assert f"chmod 600 {path}" in refused(world, "--config", str(path))


@pytest.mark.parametrize("typed", ["", "\n", CANARY, f"rk_abcdef{CANARY}", f"a.b.{CANARY}", f"rk_a b.{CANARY}", "x" * 5000])
def test_an_api_key_that_is_none_is_refused(world: World, typed: str) -> None:
    """Before the service hears of it."""
    told = refused(world, stdin=typed)
    assert "the API key of this command is not of the form accesskey.secret" in told.lower().replace("api key", "API key")
    assert world.tap.exchanges == []


def test_an_api_key_that_the_service_does_not_accept_makes_no_profile(world: World) -> None:
    """It is asked first."""
    told = refused(world, "--bits", "2048", stdin=f"rk_abcdefabcdef.{CANARY}")
    assert "did not accept the API key" in told
    assert world.tap.lines() == ["GET /me"]


def test_an_address_that_is_no_r4_makes_no_profile(world: World) -> None:
    """404 is an answer, and not R4's."""
    told = refused(
        world,
        "--bits",
        "2048",
        stdin=new_agent(world).api_key,
        environment={"R4_BASE_URL": f"{world.base_url}/elsewhere"},
    )
    assert "does not answer as R4" in told


@pytest.mark.parametrize("url", ["http://example.com", f"https://u:{CANARY}@r4.dev", "ftp://r4.dev", CANARY])
def test_an_address_that_is_none_is_refused(world: World, url: str) -> None:
    """Named, not repeated."""
    assert "--base-url is not an https address" in refused(world, "--base-url", url, environment={"R4_BASE_URL": ""})


def test_two_addresses_contradict_each_other(world: World) -> None:
    """Rather than a profile that its own environment refuses."""
    assert "--base-url and R4_BASE_URL differ" in refused(world, "--base-url", "https://other.example")


@pytest.mark.parametrize("setting", ["R4_API_KEY", "R4_API_KEY_FILE", "R4_CONFIG", "R4_PRIVATE_KEY_PATH", "R4_PRIVATE_KEY"])
def test_credentials_in_the_environment_are_refused(world: World, setting: str) -> None:
    """They would win over the profile that is made."""
    told = refused(world, environment={setting: CANARY}, stdin=new_agent(world).api_key)
    assert f"{setting} in the environment would win over the profile" in told


def test_wishes_that_contradict_each_other_are_refused(world: World) -> None:
    """Each names both sides."""
    key = write_private(world.home.parent / "key.pem", private_pem(world.spare_keys[0]))
    config = runtime_json(world, new_agent(world), world.spare_keys[1])
    assert "--config brings a private key, and --key names another" in refused(world, "--config", str(config), "--key", str(key))
    assert "--bits is the size of a new key" in refused(world, "--bits", "4096", "--key", str(key))
    assert "--keyring keeps the passphrase of --encrypt" in refused(world, "--keyring")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".x", CANARY + "/x"])
def test_a_name_that_is_none_is_refused(world: World, name: str) -> None:
    """A profile is made under its folder and nowhere else."""
    assert "--profile does not hold a profile's name" in refused(world, "--profile", name)


@pytest.mark.parametrize("option", ["--config", "--key"])
def test_a_secret_pasted_where_its_path_belongs_is_not_repeated(world: World, option: str) -> None:
    """The option is named."""
    for pasted in (private_pem(world.spare_keys[0]), f"rk_abcdefabcdef.{CANARY}"):
        told = refused(world, option, pasted)
        assert f"{option} does not hold a path" in told
        assert CANARY not in told


def test_a_home_that_others_can_change_is_refused(world: World) -> None:
    """Where profiles would not be this person's alone."""
    profiles = world.home / "profiles"
    profiles.mkdir()
    profiles.chmod(0o777)
    assert f"chmod 700 {profiles}" in refused(world, "--bits", "2048", stdin=new_agent(world).api_key)
    assert world.tap.exchanges == []
    profiles.rmdir()
    (world.home.parent / "elsewhere").mkdir()
    profiles.symlink_to(world.home.parent / "elsewhere")
    told = refused(world, "--bits", "2048", stdin=new_agent(world).api_key)
    assert f"{profiles} is a symbolic link" in told
    assert not any((world.home.parent / "elsewhere").iterdir())


def test_a_broken_config_is_refused_and_kept(world: World) -> None:
    """It is somebody's."""
    path = write_private(world.home / "config.json", "{")
    assert f"{path} is not a JSON object" in refused(world, "--bits", "2048", stdin=new_agent(world).api_key)
    assert path.read_text() == "{"


def test_nothing_but_the_profile_is_written(world: World) -> None:
    """No copy of the API key or of the private key anywhere else under the home."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    ended = run_here("init", "--bits", "2048", environment=environment, stdin=agent.api_key.encode())
    assert ended.status == 0, ended.err
    holders = [path for path in world.home.rglob("*") if path.is_file() and agent.access_secret.encode() in path.read_bytes()]
    assert holders == [world.home / "profiles" / "default" / "credentials.json"]
    pem = (world.home / "profiles" / "default" / "private-key.pem").read_text().splitlines()[2]
    keys = [path.name for path in world.home.rglob("*") if path.is_file() and pem.encode() in path.read_bytes()]
    assert keys == ["private-key.pem"]
    modes = files_below(world.home)
    assert all(not mode & 0o077 for mode in modes.values()), json.dumps(modes)
