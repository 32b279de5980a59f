"""Configuration: who wins, what fails closed, what is reported and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.config import Settings, is_loopback, read_settings, read_switches
from r4_mcp.core.keys import PrivateKey
from r4_mcp.secret import HIDDEN, KnownSecrets
from r4_mcp.vault.key_file import InlineKey, KeyFile
from tests.doors import private_pem, write_private

FILE_KEY: Final = "rk_fromfile0000.secret-of-the-key-file"
JSON_KEY: Final = "rk_fromjson0000.secret-of-the-runtime-json"
ENV_KEY: Final = "rk_fromenv00000.secret-of-the-environment"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write a runtime JSON and an API key file; returns their settings."""
    access_key, _, secret = JSON_KEY.partition(".")
    members = {"agentId": "0" * 24, "accessKey": access_key, "accessSecret": secret, "privateKey": "pem of the runtime json"}
    return {
        "R4_CONFIG": str(write_private(tmp_path / "agent.json", json.dumps(members))),
        "R4_API_KEY_FILE": str(write_private(tmp_path / "key", FILE_KEY + "\n")),
        "R4_API_KEY": ENV_KEY,
    }


@pytest.mark.parametrize(
    ("given", "wins"),
    [
        ({"R4_API_KEY", "R4_API_KEY_FILE", "R4_CONFIG"}, ENV_KEY),
        ({"R4_API_KEY", "R4_CONFIG"}, ENV_KEY),
        ({"R4_API_KEY_FILE", "R4_CONFIG"}, FILE_KEY),
        ({"R4_CONFIG"}, JSON_KEY),
        ({"R4_API_KEY_FILE"}, FILE_KEY),
    ],
)
def test_the_environment_wins_over_the_runtime_file(files: dict[str, str], given: set[str], wins: str) -> None:
    """Rule 1, for the API key."""
    settings = settings_of({name: value for name, value in files.items() if name in given})
    assert settings.api_key is not None
    assert settings.api_key.reveal() == wins
    assert settings.problems == ()


def settings_of(environment: dict[str, str]) -> Settings:
    """Read settings with secrets of their own."""
    return read_settings(environment, KnownSecrets())


@pytest.fixture
def keys(tmp_path: Path, spare_keys: tuple[PrivateKey, ...], files: dict[str, str]) -> dict[str, str]:
    """Write one key to a file and another one to a runtime JSON; returns the settings that name them."""
    members = json.loads(Path(files["R4_CONFIG"]).read_text())
    members["privateKey"] = private_pem(spare_keys[1])
    return {
        "R4_PRIVATE_KEY_PATH": str(write_private(tmp_path / "key.pem", private_pem(spare_keys[0]))),
        "R4_PRIVATE_KEY": private_pem(spare_keys[1]).replace("\n", "\\n"),
        "R4_CONFIG": str(write_private(tmp_path / "agent-with-key.json", json.dumps(members))),
    }


@pytest.mark.parametrize(
    ("given", "kind", "named", "index"),
    [
        ({"R4_PRIVATE_KEY_PATH", "R4_PRIVATE_KEY", "R4_CONFIG"}, KeyFile, "key.pem", 0),
        ({"R4_PRIVATE_KEY_PATH", "R4_CONFIG"}, KeyFile, "key.pem", 0),
        ({"R4_PRIVATE_KEY", "R4_CONFIG"}, InlineKey, None, 1),
        ({"R4_PRIVATE_KEY"}, InlineKey, None, 1),
        ({"R4_CONFIG"}, KeyFile, "agent-with-key.json", 1),
    ],
)
def test_the_private_key_comes_from_one_place(
    keys: dict[str, str],
    spare_keys: tuple[PrivateKey, ...],
    given: set[str],
    kind: type[KeyFile | InlineKey],
    named: str | None,
    index: int,
) -> None:
    """A path, then the PEM itself, then the runtime JSON's; what is loaded is that key."""
    source = settings_of({name: value for name, value in keys.items() if name in given}).key_source
    assert isinstance(source, kind)
    assert (source.path.name if isinstance(source, KeyFile) else None) == named
    assert source.load().public.fingerprint == spare_keys[index].public.fingerprint


def test_a_key_in_the_environment_may_hold_its_line_breaks_as_text(spare_keys: tuple[PrivateKey, ...]) -> None:
    """Both spellings are one key; where there are real line breaks, nothing is replaced."""
    pem = private_pem(spare_keys[0])
    for spelled in (pem, pem.replace("\n", "\\n")):
        source = settings_of({"R4_PRIVATE_KEY": spelled}).key_source
        assert source is not None
        assert source.load().public.fingerprint == spare_keys[0].public.fingerprint


def test_no_key_is_configured_without_a_setting(files: dict[str, str]) -> None:
    """An API key alone brings none."""
    assert settings_of({"R4_API_KEY": files["R4_API_KEY"]}).key_source is None


SWITCHES: Final = {
    **dict.fromkeys(["", "0", "false", "FALSE", "no", "off", " Off "], False),
    **dict.fromkeys(["1", "true", "yes", "on", "ture", "2", "-", "enabled", "y"], True),
}


@pytest.mark.parametrize("text", SWITCHES)
def test_a_switch_fails_closed(text: str) -> None:
    """Rule 3: only the words for off are off; a typing error closes."""
    switches = read_switches({"R4_READ_ONLY": text, "R4_NO_REVEAL": text})
    assert (switches.read_only, switches.no_reveal) == (SWITCHES[text], SWITCHES[text])


def test_switches_that_are_not_set_are_off() -> None:
    """The default shows every tool."""
    switches = read_switches({})
    assert (switches.read_only, switches.no_reveal) == (False, False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://r4.example/", "https://r4.example"),
        ("https://r4.example/prefix", "https://r4.example/prefix"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("", "https://r4.dev"),
        ("  ", "https://r4.dev"),
    ],
)
def test_good_addresses_are_taken(files: dict[str, str], text: str, wanted: str) -> None:
    """Https anywhere, http on loopback."""
    settings = settings_of({"R4_CONFIG": files["R4_CONFIG"], "R4_BASE_URL": text})
    assert (settings.base_url, settings.problems) == (wanted, ())


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "127.0.0.1.example.com", "0.0.0.1", "::", "10.0.0.1", "", "LOCALHOST."]
)
def test_other_hosts_are_not_this_machine(host: str) -> None:
    """Names that only look like loopback are elsewhere."""
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["x", "0" * 23, "A" * 24])
def test_a_project_that_is_no_id_is_a_problem(text: str) -> None:
    """It is named, not quoted."""
    settings = settings_of({"R4_API_KEY": ENV_KEY, "R4_PROJECT_ID": text})
    assert settings.project_id is None
    assert [problem.message for problem in settings.problems] == ["R4_PROJECT_ID is not an id of 24 lowercase hex characters"]


def test_settings_do_not_show_their_secrets(files: dict[str, str]) -> None:
    """Neither repr nor str of the settings holds a value."""
    text = repr(settings_of(files)) + str(settings_of(files))
    assert HIDDEN in text
    for key in (ENV_KEY, JSON_KEY, FILE_KEY):
        assert key.partition(".")[2] not in text
    assert "pem of the runtime json" not in text


def test_every_secret_of_the_configuration_is_known_to_the_guard(files: dict[str, str]) -> None:
    """The API key, its secret half and the private key; a malformed key too."""
    known = KnownSecrets()
    read_settings({**files, "R4_PRIVATE_KEY": "an inline key, not a real one"}, known)
    assert {ENV_KEY, ENV_KEY.partition(".")[2], b"an inline key, not a real one"} <= set(known.armed())
    known = KnownSecrets()
    read_settings({"R4_API_KEY": "malformed-key-without-a-point"}, known)
    assert "malformed-key-without-a-point" in known.armed()
