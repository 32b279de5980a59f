"""Where each host keeps its servers: one table for three systems, on whatever system the test runs."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from r4_mcp.cli.hosts.options import HOST_NAMES
from r4_mcp.cli.hosts.places import HOSTS, Form, Host, Machine, find_host
from r4_mcp.errors import InvalidArgumentError

LINUX = Machine("linux", {}, PurePosixPath("/home/ada"))
MACOS = Machine("darwin", {}, PurePosixPath("/Users/ada"))
ROAMING = r"C:\Users\ada\AppData\Roaming"
LOCAL = r"C:\Users\ada\AppData\Local"
WINDOWS = Machine("win32", {"APPDATA": ROAMING, "LOCALAPPDATA": LOCAL}, PureWindowsPath(r"C:\Users\ada"))
SUPPORT = "/Users/ada/Library/Application Support"

FILES = {
    "claude-desktop": (
        ["/home/ada/.config/Claude/claude_desktop_config.json"],
        [f"{SUPPORT}/Claude/claude_desktop_config.json"],
        [
            rf"{LOCAL}\Packages\Claude_pzs8sxrjxfjjc\LocalCache\Roaming\Claude\claude_desktop_config.json",
            rf"{ROAMING}\Claude\claude_desktop_config.json",
        ],
    ),
    "claude-code": (["/home/ada/.claude.json"], ["/Users/ada/.claude.json"], [r"C:\Users\ada\.claude.json"]),
    "cursor": (["/home/ada/.cursor/mcp.json"], ["/Users/ada/.cursor/mcp.json"], [r"C:\Users\ada\.cursor\mcp.json"]),
    "vscode": (
        [f"/home/ada/.config/{name}/User/mcp.json" for name in ("Code", "Code - Insiders", "VSCodium")],
        [f"{SUPPORT}/{name}/User/mcp.json" for name in ("Code", "Code - Insiders", "VSCodium")],
        [rf"{ROAMING}\{name}\User\mcp.json" for name in ("Code", "Code - Insiders", "VSCodium")],
    ),
    "windsurf": (
        ["/home/ada/.codeium/windsurf/mcp_config.json"],
        ["/Users/ada/.codeium/windsurf/mcp_config.json"],
        [r"C:\Users\ada\.codeium\windsurf\mcp_config.json"],
    ),
    "codex": (["/home/ada/.codex/config.toml"], ["/Users/ada/.codex/config.toml"], [r"C:\Users\ada\.codex\config.toml"]),
    "gemini": (
        ["/home/ada/.gemini/settings.json"],
        ["/Users/ada/.gemini/settings.json"],
        [r"C:\Users\ada\.gemini\settings.json"],
    ),
    "zed": (
        ["/home/ada/.config/zed/settings.json"],
        ["/Users/ada/.config/zed/settings.json"],
        [rf"{ROAMING}\Zed\settings.json"],
    ),
}

MOVED = {
    "XDG_CONFIG_HOME moves settings on Linux": ("zed", LINUX, {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/zed/settings.json"),
    "a relative XDG_CONFIG_HOME is ignored": (
        "zed",
        LINUX,
        {"XDG_CONFIG_HOME": "xdg"},
        "/home/ada/.config/zed/settings.json",
    ),
    "an empty XDG_CONFIG_HOME is ignored": ("zed", LINUX, {"XDG_CONFIG_HOME": ""}, "/home/ada/.config/zed/settings.json"),
    "macOS knows no XDG_CONFIG_HOME": ("zed", MACOS, {"XDG_CONFIG_HOME": "/xdg"}, "/Users/ada/.config/zed/settings.json"),
    "Zed in a Flatpak": (
        "zed",
        LINUX,
        {"XDG_CONFIG_HOME": "/xdg", "FLATPAK_XDG_CONFIG_HOME": "/flat"},
        "/flat/zed/settings.json",
    ),
    "XDG_CONFIG_HOME moves VS Code": ("vscode", LINUX, {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/Code/User/mcp.json"),
    "CLAUDE_CONFIG_DIR": ("claude-code", LINUX, {"CLAUDE_CONFIG_DIR": "/cc"}, "/cc/.claude.json"),
    "CODEX_HOME": ("codex", MACOS, {"CODEX_HOME": "/cx"}, "/cx/config.toml"),
    "CODEX_HOME on Windows": ("codex", WINDOWS, {"CODEX_HOME": r"D:\cx"}, r"D:\cx\config.toml"),
    "GEMINI_CLI_HOME": ("gemini", LINUX, {"GEMINI_CLI_HOME": "/g"}, "/g/.gemini/settings.json"),
    "Windows without its variables": ("zed", WINDOWS, {"APPDATA": ""}, rf"{ROAMING}\Zed\settings.json"),
}


def files(host: Host, machine: Machine) -> list[str]:
    """Return the files of a host as text."""
    return [str(place.file) for place in host.places(machine)]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_each_host_has_its_file_on_each_system(host: Host) -> None:
    """Linux, macOS, Windows; several where the host has several, in the order in which they count."""
    assert tuple(files(host, machine) for machine in (LINUX, MACOS, WINDOWS)) == FILES[host.name]


@pytest.mark.parametrize("case", MOVED.values(), ids=list(MOVED))
def test_a_host_that_was_moved_is_found(case: tuple[str, Machine, dict[str, str], str]) -> None:
    """By the variable that the host itself reads."""
    name, machine, variables, wanted = case
    moved = Machine(machine.platform, {**machine.environment, **variables}, machine.home)
    assert files(find_host(name), moved)[0] == wanted


def test_the_folder_that_shows_a_host_is_there() -> None:
    """It is the file's own, save for Claude Code, whose file lies in the home folder, which everybody has."""
    elsewhere = {host.name: place.folder for host in HOSTS for place in host.places(LINUX) if place.folder != place.file.parent}
    assert elsewhere == {"claude-code": PurePath("/home/ada/.claude")}


def test_the_private_folder_of_a_packaged_app_is_never_made() -> None:
    """Windows makes it; of every host some place may be made."""
    forbidden = [place for host in HOSTS for place in host.places(WINDOWS) if not place.may_be_made]
    assert [str(place.folder) for place in forbidden] == [rf"{LOCAL}\Packages\Claude_pzs8sxrjxfjjc\LocalCache\Roaming\Claude"]
    assert all(any(place.may_be_made for place in host.places(WINDOWS)) for host in HOSTS)


@pytest.mark.parametrize(
    ("typed", "meant"), [("cursr", "cursor"), ("claude", "claude-code"), ("VSCode ", None), ("vs-code", "vscode")]
)
def test_an_unknown_host_is_answered_with_the_nearest(typed: str, meant: str | None) -> None:
    """Case and spaces don't matter; what was typed is not repeated."""
    if meant is None:
        assert find_host(typed).name == typed.strip().lower()
        return
    with pytest.raises(InvalidArgumentError) as caught:
        find_host(typed)
    assert (caught.value.next_step or "").startswith(f"Did you mean {meant}? ")


def test_a_host_like_no_other_gets_the_whole_list() -> None:
    """And no guess."""
    with pytest.raises(InvalidArgumentError) as caught:
        find_host("r4kKk0000.qqqq")
    assert caught.value.next_step == f"Hosts: {', '.join(FILES)}."
    assert "qqqq" not in str(caught.value)


def test_the_help_lists_every_host() -> None:
    """The help is written by hand, since the table would cost every start-up its imports."""
    assert ", ".join(host.name for host in HOSTS) == HOST_NAMES


def test_only_json_without_comments_is_for_hosts_that_refuse_them() -> None:
    """Each of the three languages is used."""
    assert {host.name for host in HOSTS if host.form is Form.JSON} == {"claude-desktop", "claude-code"}
    assert {host.name for host in HOSTS if host.form is Form.TOML} == {"codex"}
