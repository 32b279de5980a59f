"""A home folder in which every host is installed, and the command as people run it there."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from r4_mcp.cli.hosts.jsonc import plain, scan
from r4_mcp.cli.hosts.places import Form, Host, Machine, find_host
from tests.cli.running import Ended, run_here

from .samples import SAMPLES


@dataclass(frozen=True)
class Home:
    """One person's home folder."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the person's shell."""
        return {"HOME": str(self.path), "PATH": "/usr/bin:/bin"}

    def file(self, name: str) -> Path:
        """Return where a host keeps its servers."""
        place = find_host(name).places(Machine(sys.platform, {}, self.path))[0]
        Path(place.folder).mkdir(parents=True, exist_ok=True)
        return Path(place.file)

    def sample(self, name: str) -> Path:
        """Write a host's sample; returns the file."""
        path = self.file(name)
        path.write_bytes(SAMPLES[name].encode())
        path.chmod(0o640)
        return path

    def run(self, *arguments: str, **variables: str) -> Ended:
        """Run ``r4-mcp install``."""
        return run_here("install", *arguments, environment={**self.environment, **variables})

    def install(self, *arguments: str, **variables: str) -> str:
        """Run it where it must work; returns what it says."""
        ended = self.run(*arguments, **variables)
        assert (ended.status, ended.err) == (0, ""), ended.err
        return ended.out

    def refused(self, *arguments: str, **variables: str) -> str:
        """Run it where it must refuse; returns what it says."""
        ended = self.run(*arguments, **variables)
        assert (ended.status, ended.out) == (1, ""), ended.out + ended.err
        assert "next: " in ended.err
        return ended.err


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and bytes of every file under a folder."""
    return {str(path): (path.stat().st_mode, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def backups(path: Path) -> list[Path]:
    """Return the backups beside a file."""
    return sorted(path.parent.glob(f"{path.name}.r4-mcp-*.bak"))


def reading(host: Host, text: str) -> dict[str, object]:
    """Read a configuration as its host does."""
    text = text.removeprefix("\ufeff")
    said = tomllib.loads(text) if host.form is Form.TOML else plain(text, scan(text, comments=host.form is Form.JSONC))
    assert isinstance(said, dict)
    return said


def entry_of(host: Host, text: str, name: str = "r4") -> dict[str, object]:
    """Return our entry, as the host reads it."""
    servers = reading(host, text)[host.section]
    assert isinstance(servers, dict)
    entry = servers[name]
    assert isinstance(entry, dict)
    return entry
