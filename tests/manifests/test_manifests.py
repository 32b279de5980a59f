"""The manifests say what the code says, and hold nothing that only this machine knows."""

from __future__ import annotations

import json
import re
import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest

import r4_mcp
from r4_mcp.cli.hosts.places import HOSTS, Form, Host
from r4_mcp.config import SETTINGS
from r4_mcp.server.prompt_texts import ALL_PROMPTS
from r4_mcp.tools import ALL_TOOLS

from .derived import BUNDLE, FOLDER, ICON, REPOSITORY, SERVER, bundle, ready_configuration, ready_path, server, written
from .icon import SIZE, drawn, pixels

HOW = "run: python -m tests.manifests"


def read(path: Path) -> dict[str, Any]:
    """Read a JSON document."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_the_registry_entry_is_the_codes() -> None:
    """Version and environment variables; what is derived is written as it is derived."""
    assert SERVER.read_bytes() == written(server()), HOW
    assert read(SERVER)["version"] == r4_mcp.__version__


def test_the_registry_entry_keeps_the_registrys_rules() -> None:
    """Schema 2025-12-11: the name's form, a short description, no range of versions, only the documented members."""
    entry = read(SERVER)
    assert entry["$schema"] == "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert 1 <= len(entry["description"]) <= 100
    assert 1 <= len(entry["title"]) <= 100
    (package,) = entry["packages"]
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", package["version"])
    assert (package["registryType"], package["identifier"], package["transport"]) == ("pypi", "r4-mcp", {"type": "stdio"})


def test_the_servers_name_is_the_same_wherever_it_is_proven() -> None:
    """The registry looks for it in the README that PyPI shows, and in the image's label."""
    name = read(SERVER)["name"]
    assert f"<!-- mcp-name: {name} -->" in (REPOSITORY / "README.md").read_text()
    assert f'io.modelcontextprotocol.server.name="{name}"' in (REPOSITORY / "Dockerfile").read_text()


def test_the_bundle_is_the_codes() -> None:
    """Version, and every tool with its title."""
    assert BUNDLE.read_bytes() == written(bundle()), HOW
    assert [tool["name"] for tool in read(BUNDLE)["tools"]] == [tool.name for tool in ALL_TOOLS]


def test_the_bundle_lists_every_prompt() -> None:
    """With a text in which each argument has its place: version 0.4 of the bundle's manifest wants both."""
    listed = {prompt["name"]: prompt for prompt in read(BUNDLE)["prompts"]}
    assert list(listed) == [prompt.name for prompt in ALL_PROMPTS]
    for prompt in ALL_PROMPTS:
        entry = listed[prompt.name]
        assert entry["arguments"] == [one.name for one in prompt.arguments]
        assert re.findall(r"\$\{arguments\.(\w+)\}", entry["text"]) == entry["arguments"]


def test_the_bundle_asks_for_settings_that_exist() -> None:
    """Each variable is one of ours; each answer is used; each has a default, since an unanswered one would stay a placeholder."""
    manifest = read(BUNDLE)
    environment: dict[str, str] = manifest["server"]["mcp_config"]["env"]
    asked: dict[str, dict[str, object]] = manifest["user_config"]
    assert set(environment) <= set(SETTINGS)
    assert sorted(environment.values()) == sorted(f"${{user_config.{name}}}" for name in asked)
    assert all("default" in question and question["required"] is False for question in asked.values())


def test_the_bundle_keeps_the_secret_in_the_keychain() -> None:
    """The API key alone is a secret: the private key is given as a file."""
    asked: dict[str, dict[str, object]] = read(BUNDLE)["user_config"]
    assert [name for name, question in asked.items() if question.get("sensitive")] == ["api_key"]
    assert asked["private_key_path"]["type"] == "file"


def test_the_bundle_starts_the_package() -> None:
    """By a script that the package has, on a Python that it takes."""
    manifest = read(BUNDLE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    script, command = manifest["server"]["mcp_config"]["args"][-2:]
    assert script in project["scripts"]
    assert command == "serve"
    assert manifest["compatibility"]["runtimes"]["python"] == project["requires-python"]
    assert manifest["license"] == project["license"]
    assert (REPOSITORY / manifest["server"]["entry_point"]).is_file()


def test_the_icon_is_drawn_from_its_source() -> None:
    """Pixel by pixel; small enough to travel."""
    png = ICON.read_bytes()
    assert pixels(png) == pixels(drawn(ICON.with_suffix(".svg"))), HOW
    assert struct.unpack(">II", png[16:24]) == (SIZE, SIZE)
    assert len(png) < 4096


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_ready_configuration_is_what_install_prints(host: Host) -> None:
    """The command's bare name apart; it starts the profile that ``init`` makes, and holds no key."""
    text = ready_path(host).read_text()
    assert text == ready_configuration(host), HOW
    document = tomllib.loads(text) if host.form is Form.TOML else json.loads(text)
    (entry,) = document[host.section].values()
    assert entry["command"] == "r4-mcp"
    assert entry["args"] == ["serve", "--profile", "default"]
    assert set(entry) <= {"type", "command", "args"}


def test_there_is_a_ready_configuration_for_each_host_and_no_other() -> None:
    """A host that goes takes its file along."""
    assert set((FOLDER / "hosts").iterdir()) == {ready_path(host) for host in HOSTS}


def test_no_manifest_names_a_variable_that_is_not_read() -> None:
    """In JSON, YAML, TOML and prose."""
    texts = [path.read_text() for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".png"]
    named = {name for text in [*texts, (REPOSITORY / "Dockerfile").read_text()] for name in re.findall(r"\bR4_[A-Z_]+", text)}
    assert named <= set(SETTINGS)
    assert named
