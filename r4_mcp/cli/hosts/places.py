"""Where each MCP host keeps its servers, on Linux, macOS and Windows.

What this file does not do: touch a disk. Everything is a function of platform, environment and home.

Rules:
1. Always the user's own configuration, never a project's: a vault belongs to a person, the entry holds a path of this machine,
   and a project's file is shared. (So Claude Code gets the user scope in ``.claude.json``, not ``.mcp.json``.)
2. A host that may have several places names them in the order in which they count; whoever asks takes the first whose folder is
   there.
3. A variable that relocates a folder counts as the host itself counts it; a relative ``XDG_CONFIG_HOME`` is ignored (XDG Base
   Directory Specification 0.8).

Sources, November 2026: modelcontextprotocol.io (connect local servers), code.claude.com (MCP scopes), cursor.com/docs/mcp,
code.visualstudio.com (MCP configuration reference), docs.windsurf.com (Cascade MCP), developers.openai.com/codex (config
reference), geminicli.com (configuration), and ``crates/paths`` of Zed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Final

from r4_mcp.errors import InvalidArgumentError


class Form(Enum):
    """The language of a configuration file."""

    JSON = "JSON"
    JSONC = "JSON with comments"
    TOML = "TOML"


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a host runs on.

    Attributes:
        platform: ``sys.platform``.
        environment: The environment's variables.
        home: The user's home folder.
    """

    platform: str
    environment: Mapping[str, str]
    home: PurePath

    def named(self, variable: str) -> PurePath | None:
        """Return the folder that a variable names, if it is set."""
        text = self.environment.get(variable, "").strip()
        if not text:
            return None
        return PureWindowsPath(text) if self.platform == "win32" else PurePosixPath(text)

    def config(self) -> PurePath:
        """Return the folder of the user's application settings."""
        if self.platform == "win32":
            return self.named("APPDATA") or self.home / "AppData" / "Roaming"
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self.xdg_config()

    def xdg_config(self) -> PurePath:
        """Return the folder of settings by the XDG specification (rule 3)."""
        named = self.named("XDG_CONFIG_HOME")
        return named if named is not None and named.is_absolute() else self.home / ".config"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host may keep its servers.

    Attributes:
        file: The configuration file.
        folder: A folder that is there where the host is installed.
        may_be_made: Whether that folder may be made for a host that has not run yet.
    """

    file: PurePath
    folder: PurePath
    may_be_made: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """A program that starts MCP servers.

    Attributes:
        name: What people type.
        title: What it calls itself.
        form: The language of its file.
        section: The member of that file that holds its servers.
        typed: Whether an entry says ``"type": "stdio"``.
        reload: What makes it read its file again.
        places: Where the file may be.
    """

    name: str
    title: str
    form: Form
    section: str
    typed: bool
    reload: str
    places: Callable[[Machine], tuple[Place, ...]]


def _in(folder: PurePath, name: str) -> Place:
    return Place(folder / name, folder)


def _claude_desktop(machine: Machine) -> tuple[Place, ...]:
    name = "claude_desktop_config.json"
    classic = _in(machine.config() / "Claude", name)
    if machine.platform != "win32":
        return (classic,)
    # The packaged app (MSIX) sees a private copy of the roaming folder. The suffix is a hash of its publisher, and stays.
    local = machine.named("LOCALAPPDATA") or machine.home / "AppData" / "Local"
    packaged = local / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming" / "Claude"
    return (Place(packaged / name, packaged, may_be_made=False), classic)


def _claude_code(machine: Machine) -> tuple[Place, ...]:
    moved = machine.named("CLAUDE_CONFIG_DIR")
    if moved is not None:
        return (_in(moved, ".claude.json"),)
    return (Place(machine.home / ".claude.json", machine.home / ".claude"),)


def _cursor(machine: Machine) -> tuple[Place, ...]:
    return (_in(machine.home / ".cursor", "mcp.json"),)


def _vscode(machine: Machine) -> tuple[Place, ...]:
    return tuple(_in(machine.config() / name / "User", "mcp.json") for name in ("Code", "Code - Insiders", "VSCodium"))


def _windsurf(machine: Machine) -> tuple[Place, ...]:
    return (_in(machine.home / ".codeium" / "windsurf", "mcp_config.json"),)


def _codex(machine: Machine) -> tuple[Place, ...]:
    return (_in(machine.named("CODEX_HOME") or machine.home / ".codex", "config.toml"),)


def _gemini(machine: Machine) -> tuple[Place, ...]:
    return (_in((machine.named("GEMINI_CLI_HOME") or machine.home) / ".gemini", "settings.json"),)


def _zed(machine: Machine) -> tuple[Place, ...]:
    if machine.platform == "win32":
        return (_in(machine.config() / "Zed", "settings.json"),)
    if machine.platform == "darwin":
        return (_in(machine.home / ".config" / "zed", "settings.json"),)
    return (_in((machine.named("FLATPAK_XDG_CONFIG_HOME") or machine.xdg_config()) / "zed", "settings.json"),)


_SERVERS: Final = "mcpServers"

HOSTS: Final = (
    # These two refuse comments and trailing commas, and then start no server at all, without a word.
    Host(
        "claude-desktop", "Claude Desktop", Form.JSON, _SERVERS, False, "Quit Claude Desktop and open it again", _claude_desktop
    ),
    Host("claude-code", "Claude Code", Form.JSON, _SERVERS, True, "Start a new Claude Code session", _claude_code),
    Host("cursor", "Cursor", Form.JSONC, _SERVERS, False, "Restart Cursor", _cursor),
    Host("vscode", "VS Code", Form.JSONC, "servers", True, "Run `MCP: List Servers` in VS Code and start r4", _vscode),
    Host("windsurf", "Windsurf", Form.JSONC, _SERVERS, False, "Refresh the MCP servers in Windsurf's settings", _windsurf),
    Host("codex", "Codex", Form.TOML, "mcp_servers", False, "Start a new Codex session", _codex),
    Host("gemini", "Gemini CLI", Form.JSONC, _SERVERS, False, "Start Gemini CLI again", _gemini),
    Host("zed", "Zed", Form.JSONC, "context_servers", False, "Zed reads it at once", _zed),
)
"""Every host that ``install`` knows."""


def find_host(name: str) -> Host:
    """Return a host by the name that somebody typed.

    Raises:
        InvalidArgumentError: There is none; the nearest is suggested.
    """
    by_name = {host.name: host for host in HOSTS}
    typed = name.strip().lower()
    if typed in by_name:
        return by_name[typed]
    nearest = difflib.get_close_matches(typed, by_name, n=1, cutoff=0.5)
    meant = f"Did you mean {nearest[0]}? " if nearest else ""
    raise InvalidArgumentError("there is no host of that name", next_step=f"{meant}Hosts: {', '.join(by_name)}.")
