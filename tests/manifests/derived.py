"""What the manifests must say, from the code: versions, tools, environment variables, host configurations, the pictures.

What this file does not do: compare. ``test_manifests`` does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import r4_mcp
from r4_mcp.cli.hosts.entry import starting_command
from r4_mcp.cli.hosts.places import HOSTS, Form, Host
from r4_mcp.config import SETTINGS
from r4_mcp.server.prompt_texts import ALL_PROMPTS, Prompt
from r4_mcp.tools import ALL_TOOLS
from tests.cli.running import run_here

from .documents import README, readme, session, tables
from .icon import drawn
from .picture import picture
from .session import played

REPOSITORY: Final = Path(__file__).parents[2]
FOLDER: Final = REPOSITORY / "manifests"
PROFILE: Final = "default"
"""The name that ``r4-mcp init`` gives."""

SERVER: Final = FOLDER / "server.json"
BUNDLE: Final = FOLDER / "mcpb" / "manifest.json"
ICON: Final = FOLDER / "mcpb" / "icon.png"
PICTURE: Final = FOLDER / "trust.svg"

OFFERED: Final[dict[str, dict[str, object]]] = {
    "R4_PROFILE": {},
    "R4_API_KEY": {"isSecret": True},
    "R4_PRIVATE_KEY_PATH": {"format": "filepath"},
    "R4_READ_ONLY": {"format": "boolean", "default": "false"},
    "R4_NO_REVEAL": {"format": "boolean", "default": "false"},
}
"""Settings that a registry's client asks for; the others have defaults that few people change."""


def files() -> dict[Path, bytes]:
    """Return every derived file with what it must hold."""
    ready = {ready_path(host): ready_configuration(host).encode() for host in HOSTS}
    return {
        SERVER: written(server()),
        BUNDLE: written(bundle()),
        ICON: drawn(ICON.with_suffix(".svg")),
        PICTURE: picture().encode(),
        README: readme({**tables(), **session(played())}).encode(),
        **ready,
    }


def written(document: dict[str, Any]) -> bytes:
    """Return a document as a file holds it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def server() -> dict[str, Any]:
    """Return the registry's entry."""
    document: dict[str, Any] = json.loads(SERVER.read_text())
    document["version"] = r4_mcp.__version__
    for package in document["packages"]:
        package["version"] = r4_mcp.__version__
        package["environmentVariables"] = [
            {"name": name, "description": SETTINGS[name], **more} for name, more in OFFERED.items()
        ]
    return document


def bundle() -> dict[str, Any]:
    """Return the bundle's manifest."""
    document: dict[str, Any] = json.loads(BUNDLE.read_text())
    document["version"] = r4_mcp.__version__
    document["tools"] = [{"name": tool.name, "description": tool.title} for tool in ALL_TOOLS]
    document["prompts"] = [_bundled(prompt) for prompt in ALL_PROMPTS]
    return document


def _bundled(prompt: Prompt) -> dict[str, Any]:
    names = [one.name for one in prompt.arguments]
    # The host puts in what was typed; the server quotes it when the prompt is got from there.
    text = prompt.text({name: f"${{arguments.{name}}}" for name in names}, {tool.name for tool in ALL_TOOLS})
    return {"name": prompt.name, "description": prompt.description, "arguments": names, "text": text}


def ready_path(host: Host) -> Path:
    """Return where a host's ready configuration lies."""
    return FOLDER / "hosts" / f"{host.name}.{'toml' if host.form is Form.TOML else 'json'}"


def ready_configuration(host: Host) -> str:
    """Return what ``install --print`` prints, with the command's bare name for this machine's path of it."""
    ended = run_here("install", host.name, "--print", "--profile", PROFILE, environment={"HOME": "/nonexistent"})
    assert (ended.status, ended.err) == (0, ""), ended.err
    (command,) = starting_command(Path("/"))
    return ended.out.replace(json.dumps(command), '"r4-mcp"')
