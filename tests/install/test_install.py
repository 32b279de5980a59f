"""``r4-mcp install`` on configurations as people have them: one entry comes and goes, and nothing else is touched or shown."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from r4_mcp.cli.hosts.places import HOSTS, Form, Host
from tests.cli.running import run, run_at_terminal

from .hosts import Home, backups, entry_of, reading, tree
from .samples import FOREIGN, SAMPLES

each_host = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


def is_within(part: bytes, whole: bytes) -> bool:
    """Say whether bytes can be had from others by leaving some out."""
    rest = iter(whole)
    return all(byte in rest for byte in part)


@each_host
def test_an_entry_comes_and_goes_and_nothing_else_changes(home: Home, host: Host) -> None:
    """Every byte and the mode stay; the entry is read by the host's own rules; removing it leaves the folder as it was."""
    path = home.sample(host.name)
    before, sample = tree(home.path), path.read_bytes()
    said = home.install(host.name, "--profile", "work")
    after = path.read_bytes()
    entry = entry_of(host, after.decode())
    assert entry["args"] == ["serve", "--profile", "work"]
    assert Path(str(entry["command"])).is_absolute()
    assert set(entry) == {"command", "args"} | ({"type"} if host.typed else set())
    others = reading(host, sample.decode())
    assert {name: value for name, value in reading(host, after.decode()).items() if name != host.section} == {
        name: value for name, value in others.items() if name != host.section
    }
    assert is_within(sample, after)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (backup,) = backups(path)
    assert (backup.read_bytes(), stat.S_IMODE(backup.stat().st_mode)) == (sample, 0o600)
    assert "added r4, line " in said
    assert "r4-mcp init --profile work" in said
    assert FOREIGN not in said

    again = tree(home.path)
    assert "already there; nothing was changed" in home.install(host.name, "--profile", "work")
    assert tree(home.path) == again

    assert "byte for byte" in home.install(host.name, "--remove")
    assert tree(home.path) == before
    assert "there is no entry named r4" in home.install(host.name, "--remove")
    assert tree(home.path) == before


@each_host
def test_a_dry_run_shows_our_own_lines_and_writes_nothing(home: Home, host: Host) -> None:
    """Whatever stands in the file is not shown, in adding, replacing and removing."""
    path = home.sample(host.name)
    before = tree(home.path)
    said = home.install(host.name, "--dry-run")
    assert tree(home.path) == before
    shown = [line.removeprefix("+ ") for line in said.splitlines() if line.startswith("+ ")]
    home.install(host.name)
    added = path.read_text().replace("\r\n", "\n")
    assert "\n".join(shown) in added
    before = tree(home.path)
    for arguments in (("--local", "--replace"), ("--remove",)):
        told = home.install(host.name, "--dry-run", *arguments)
        assert "- the entry r4 on line" in told
        said += told
    assert tree(home.path) == before
    assert FOREIGN not in said
    assert "files" not in said


@each_host
def test_a_file_that_was_not_there_is_made_private_and_goes_again(home: Home, host: Host) -> None:
    """Mode 0600, no backup of nothing; ``--remove`` deletes what held our entry only."""
    path = home.file(host.name)
    home.install(host.name, "--local")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert entry_of(host, path.read_text())["args"] == ["serve", "--local"]
    assert backups(path) == []
    assert path.read_text() == home.install(host.name, "--local", "--print")
    assert "held nothing else" in home.install(host.name, "--remove")
    assert tree(home.path) == {}


@each_host
def test_an_empty_file_becomes_a_configuration_and_empty_again(home: Home, host: Host) -> None:
    """Hosts make empty files before they have anything to write."""
    path = home.file(host.name)
    path.write_bytes(b"")
    home.install(host.name)
    assert entry_of(host, path.read_text())["args"] == ["serve"]
    home.install(host.name, "--remove")
    assert path.read_bytes() == b""
    assert backups(path) == []


@each_host
def test_another_entry_of_the_name_is_left_unless_it_may_be_replaced(home: Home, host: Host) -> None:
    """Refused with its lines; ``--replace`` replaces it, ``--name`` has both."""
    path = home.sample(host.name)
    home.install(host.name, "--profile", "work")
    before = tree(home.path)
    said = home.refused(host.name, "--profile", "home")
    assert "another entry named r4 on line" in said
    assert "--replace" in said
    assert tree(home.path) == before
    home.install(host.name, "--profile", "home", "--name", "r4-home")
    assert entry_of(host, path.read_text())["args"] == ["serve", "--profile", "work"]
    home.install(host.name, "--profile", "home", "--replace")
    assert entry_of(host, path.read_text())["args"] == ["serve", "--profile", "home"]
    assert entry_of(host, path.read_text(), "r4-home")["args"] == ["serve", "--profile", "home"]


@each_host
def test_after_other_changes_only_our_entry_is_taken_out(home: Home, host: Host) -> None:
    """What others wrote since stays, and the file as it was is kept."""
    path = home.sample(host.name)
    home.install(host.name)
    changed = path.read_bytes().replace(b"ada", b"eve").replace(b"true", b"false") + b"\n"
    path.write_bytes(changed)
    home.install(host.name, "--remove")
    said, wanted = path.read_text(), SAMPLES[host.name].replace("ada", "eve").replace("true", "false")
    assert {host.section: {}, **reading(host, wanted)} == {host.section: {}, **reading(host, said)}
    assert is_within(path.read_bytes().strip(), changed)
    assert b"r4-mcp" not in path.read_bytes()
    assert changed in [backup.read_bytes() for backup in backups(path)]


BROKEN = {
    Form.JSON: ('{\n  "mcpServers": {"a": "' + FOREIGN + '" "b"}\n}', "line 2, column "),
    Form.JSONC: ('{\n  // "\n  "x": "' + FOREIGN + "\n}", "line 3, column 8"),
    Form.TOML: (f'a = "{FOREIGN}"\nb = {FOREIGN}\n', "line 2, column 5"),
}


@each_host
@pytest.mark.parametrize("way", [(), ("--remove",), ("--dry-run",), ("--replace",)], ids=lambda way: "".join(way) or "add")
def test_a_broken_configuration_is_refused_and_left_as_it_is(home: Home, host: Host, way: tuple[str, ...]) -> None:
    """The place is named, the content is not."""
    path = home.file(host.name)
    text, place = BROKEN[host.form]
    path.write_text(text)
    before = tree(home.path)
    said = home.refused(host.name, *way)
    assert place in said
    assert "is left as it is" in said
    assert FOREIGN not in said
    assert tree(home.path) == before


@pytest.mark.parametrize("name", ["claude-desktop", "claude-code"])
def test_a_comment_is_an_error_where_the_host_reads_none(home: Home, name: str) -> None:
    """The host would start no server at all, and say nothing."""
    home.file(name).write_text('{\n  "mcpServers": {} // mine\n}')
    assert "line 2, column 20" in home.refused(name)


@each_host
def test_a_host_that_is_not_installed_is_not_made_up(home: Home, host: Host) -> None:
    """Unless that is wished, and then with a private folder."""
    said = home.refused(host.name)
    assert f"{host.title} seems not to be installed" in said
    assert "--create" in said
    assert list(home.path.iterdir()) == []
    home.install(host.name, "--create", "--dry-run")
    assert list(home.path.iterdir()) == []
    home.install(host.name, "--create")
    made = [path for path in home.path.rglob("*") if path.is_dir()]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in made[-1:])
    assert len(tree(home.path)) == 1


def test_an_entry_of_somebody_else_is_not_taken_out(home: Home) -> None:
    """It has our name, and starts something else."""
    path = home.file("cursor")
    path.write_text('{"mcpServers": {"r4": {"command": "resistor-four", "env": {"T": "' + FOREIGN + '"}}}}')
    before = tree(home.path)
    said = home.refused("cursor", "--remove")
    assert "does not start r4-mcp" in said
    assert FOREIGN not in said
    assert tree(home.path) == before
    said = home.install("cursor", "--remove", "--replace")
    assert path.read_text() == '{"mcpServers": {}}'
    assert FOREIGN not in said


@pytest.mark.parametrize(
    "entry",
    [
        '{"command": "uvx", "args": ["r4-mcp", "serve"]}',
        '{"command": "uvx", "args": ["r4-mcp@0.1.0"]}',
        '{"command": "C:\\\\tools\\\\r4-mcp.exe"}',
        '{"command": "python3", "args": ["-m", "r4_mcp", "serve"]}',
        '{"command": "r4-mcp", "args": "odd", "disabled": true}',
    ],
)
def test_whatever_starts_r4_mcp_is_ours_to_take_out(home: Home, entry: str) -> None:
    """Also where a person wrote it."""
    path = home.file("cursor")
    path.write_text('{"mcpServers": {"r4": ' + entry + "}}")
    home.install("cursor", "--remove")
    assert path.read_text() == '{"mcpServers": {}}'


def test_a_read_only_file_is_refused(home: Home) -> None:
    """Though its folder would let us; the command that helps is named."""
    path = home.sample("zed")
    path.chmod(0o440)
    before = tree(home.path)
    for way in ((), ("--dry-run",)):
        said = home.refused("zed", *way)
        assert "is read-only" in said
        assert f"chmod u+w {path}" in said
    assert tree(home.path) == before


def test_a_symbolic_link_is_written_through(home: Home, tmp_path: Path) -> None:
    """The file that it points to changes and keeps its mode; the link stays; the backup lies beside the link."""
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    path = home.sample("zed")
    target = path.rename(dotfiles / "zed.json")
    path.symlink_to(target)
    home.install("zed")
    assert path.is_symlink()
    assert entry_of(next(host for host in HOSTS if host.name == "zed"), target.read_text())["args"] == ["serve"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [backup.parent for backup in backups(path)] == [path.parent]
    assert list(dotfiles.iterdir()) == [target]
    home.install("zed", "--remove")
    assert path.is_symlink()
    assert target.read_text() == SAMPLES["zed"]


@pytest.mark.parametrize("points_to", ["nothing", "itself"])
def test_a_link_to_nothing_is_refused(home: Home, points_to: str) -> None:
    """Nothing is made at its end."""
    path = home.file("cursor")
    path.symlink_to(path.name if points_to == "itself" else "elsewhere.json")
    assert "symbolic link to nothing" in home.refused("cursor")
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


def test_a_file_that_is_not_text_is_refused(home: Home) -> None:
    """UTF-16, as an old editor writes it, and a folder in the file's place."""
    path = home.file("cursor")
    path.write_bytes('{"mcpServers": {}}'.encode("utf-16"))
    assert "is not UTF-8 text (byte 0)" in home.refused("cursor")
    path.unlink()
    path.mkdir()
    assert "is not a regular file" in home.refused("cursor")


def test_a_backup_is_never_overwritten(home: Home) -> None:
    """Several in one second have names of their own."""
    path = home.sample("cursor")
    for profile in ("a", "b", "c", "d"):
        home.install("cursor", "--profile", profile, "--replace")
    texts = [backup.read_text() for backup in backups(path)]
    assert len(set(texts)) == len(texts) == 4


def test_two_entries_of_one_name_are_refused(home: Home) -> None:
    """Which of them counts is the host's affair."""
    home.file("cursor").write_text('{\n"mcpServers": {"r4": {},\n"r4": {}}}')
    for way in ((), ("--remove",), ("--replace",)):
        assert "r4 stands there more than once, on lines 2 and 3" in home.refused("cursor", *way)


def test_the_entry_names_home_and_profile_of_this_shell(home: Home) -> None:
    """A host starts its servers without it."""
    said = home.install("cursor", "--print", R4_HOME="state", R4_PROFILE="work")
    cursor = next(host for host in HOSTS if host.name == "cursor")
    entry = entry_of(cursor, said)
    assert entry["args"] == ["serve", "--profile", "work"]
    assert entry["env"] == {"R4_HOME": str(Path.cwd() / "state")}


def test_no_credential_of_this_shell_reaches_the_entry(home: Home) -> None:
    """Nor the screen."""
    said = home.install("cursor", "--print", R4_API_KEY="rk_test0000.not-a-real-secret", R4_NO_REVEAL="1")
    assert "rk_" not in said
    assert "env" not in entry_of(next(host for host in HOSTS if host.name == "cursor"), said)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cursr",), "Did you mean cursor?"),
        (("cursor", "--name", "a.b"), "1 to 64 letters"),
        (("cursor", "--local", "--profile", "x"), "Leave out --local"),
        (("cursor", "--profile", "../x"), "A name has"),
    ],
)
def test_wrong_wishes_are_refused(home: Home, arguments: tuple[str, ...], told: str) -> None:
    """Before anything is looked at."""
    home.sample("cursor")
    before = tree(home.path)
    assert told in home.refused(*arguments)
    assert tree(home.path) == before


def test_printing_looks_at_no_file(home: Home) -> None:
    """It works where the host is not installed, and where its file is broken."""
    said = home.install("zed", "--print")
    home.file("zed").write_text("{")
    assert home.install("zed", "--print") == said


def test_the_screens_fit_and_are_coloured_on_a_terminal_only(home: Home) -> None:
    """80 columns, but for what a person copies; no escape where it is piped, or where NO_COLOR says so."""
    home.sample("zed")
    arguments = ("install", "zed", "--dry-run", "--profile", "work")
    piped = home.run(*arguments[1:]).out
    assert "\x1b" not in piped
    shown = run_at_terminal(*arguments, environment={**home.environment, "TERM": "xterm"}).out
    assert "\x1b[32m+ " in shown
    plain = run_at_terminal(*arguments, environment={**home.environment, "TERM": "xterm", "NO_COLOR": "1"}).out
    assert "\x1b" not in plain
    copied = (str(home.path), '"command": ')
    assert all(len(line) <= 80 for line in piped.splitlines() if not any(part in line for part in copied))


def test_the_help_fits() -> None:
    """80 columns, with every option and examples."""
    said = run("install", "--help", environment={"COLUMNS": "80"}).out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert all(option in said for option in ("--print", "--remove", "--dry-run", "--replace", "--create", "--name", "--local"))
    assert "r4-mcp install cursor --remove" in said


def test_it_runs_as_an_installed_script(home: Home) -> None:
    """The entry names the very script that was run, by the path by which it was found."""
    script = Path(sys.executable).with_name("r4-mcp")
    if not script.exists():
        pytest.skip("the script is not installed beside this interpreter")
    link = home.path / "bin" / "r4-mcp"
    link.parent.mkdir()
    link.symlink_to(script)
    done = subprocess.run(
        [str(link), "install", "cursor", "--print"], env=home.environment, capture_output=True, check=True, text=True
    )
    entry = entry_of(next(host for host in HOSTS if host.name == "cursor"), done.stdout)
    assert entry["command"] == str(link)
    assert os.access(str(entry["command"]), os.X_OK)
