"""Profiles: agents by name, each in a folder of its own, in R4's layout.

::

    $R4_HOME/config.json                            {"defaultProfile"?: name, "baseUrl"?: address of profiles that name none}
    $R4_HOME/profiles/<name>/credentials.json       {"agentId"?, "accessKey", "accessSecret", "baseUrl"?, "projectId"?}
    $R4_HOME/profiles/<name>/private-key.pem
    $R4_HOME/profiles/<name>/trust-store.json       made at first contact

What this file does not do: write; ``new_profile`` does.

Rules:
1. A name has 1 to 64 letters, digits, dots, dashes and underscores, begins with a letter or digit, and holds no ``..``. It is
   never a path. A text that breaks this, or looks like an API key, is never repeated.
2. A profile's folder is a folder, no symbolic link, of this user or root, closed to others; the one around it can't be written by
   others. The files in it are private files (``credentials``).
3. Members that are not named above are left as they are and not read.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.config.credentials import MAX_FILE, json_members, judge_api_key, read_private_file, text_members
from r4_mcp.config.paths import arm_pasted, arm_whole, looks_like_api_key
from r4_mcp.errors import ConfigurationError, FileAccessError, NotConfiguredError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.locked_file import read_private

CREDENTIALS: Final = "credentials.json"
PRIVATE_KEY: Final = "private-key.pem"
TRUST_STORE: Final = "trust-store.json"

_NAME: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAME_RULE: Final = "1 to 64 letters, digits, dots, dashes and underscores, first a letter or digit, no two dots in a row"
_MAX_LISTED: Final = 20
_OTHERS: Final = 0o077
WRITABLE_BY_OTHERS: Final = 0o022


@dataclass(frozen=True, slots=True)
class NamedProfile:
    """A profile that somebody named, and where: ``--profile`` or ``R4_PROFILE``."""

    name: str
    where: str


@dataclass(frozen=True, slots=True)
class HomeConfig:
    """What ``config.json`` holds: the two members that are read, and all of them for who writes it again."""

    default_profile: str | None
    base_url: str | None
    members: dict[str, object]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as it was read; its key stays in its file.

    Attributes:
        name: Its name.
        folder: Its folder.
        api_key: The API key, ``accessKey.secret``.
        agent_id: The agent's id, where it is noted.
        base_url: The address that it is for, as it is written there, or None.
        project_id: The project that it is narrowed to, as it is written there, or None.
    """

    name: str
    folder: Path
    api_key: Secret[str]
    agent_id: str | None
    base_url: str | None
    project_id: str | None

    @property
    def credentials_path(self) -> Path:
        """The file that errors about its members name."""
        return self.folder / CREDENTIALS


def named_profile(environment: Mapping[str, str], option: str | None, known: KnownSecrets) -> NamedProfile | None:
    """Return the profile that was named, if one was; the option wins over the environment.

    Raises:
        ConfigurationError: What was given is no profile's name (rule 1).
    """
    if option is not None:
        return NamedProfile(judge_name(option, "--profile", known), "--profile")
    if environment.get("R4_PROFILE"):
        return NamedProfile(judge_name(environment["R4_PROFILE"], "R4_PROFILE", known), "R4_PROFILE")
    return None


def judge_name(text: str, source: str, known: KnownSecrets) -> str:
    """Return a profile's name.

    Raises:
        ConfigurationError: Rule 1.
    """
    pasted = looks_like_api_key(text)
    if _NAME.fullmatch(text) and not pasted:
        return text
    (arm_pasted if pasted else arm_whole)(text, known)
    raise ConfigurationError(f"{source} does not hold a profile's name", next_step=f"A name has {_NAME_RULE}.")


class Profiles:
    """The profiles of one home folder.

    Args:
        home: ``$R4_HOME``.
    """

    def __init__(self, home: Path) -> None:
        self.config_path = home / "config.json"
        self.folder = home / "profiles"

    def path(self, name: str) -> Path:
        """Return the folder of a profile, whether or not there is one."""
        return self.folder / name

    def names(self) -> tuple[str, ...]:
        """Return the names of the profiles that are there, whole or not.

        Raises:
            FileAccessError: The folder can't be read.
        """
        try:
            with os.scandir(self.folder) as entries:
                found = [entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise FileAccessError(f"{self.folder} can't be read: {os.strerror(error.errno or 0)}") from None
        return tuple(sorted(found))

    def config(self) -> HomeConfig:
        """Read ``config.json``; an absent one is empty.

        Raises:
            FileAccessError: Not a private file.
            ConfigurationError: Not of its form.
        """
        try:
            raw = read_private(self.config_path, MAX_FILE, root_may_own=True)
        except FileNotFoundError:
            return HomeConfig(None, None, {})
        members = json_members(raw)
        if members is None:
            raise ConfigurationError(
                f"{self.config_path} is not a JSON object",
                next_step='Correct it, or move it away; it may hold {"defaultProfile": NAME}.',
            )
        base_url = _optional_text(members, "baseUrl", self.config_path)
        default = _optional_text(members, "defaultProfile", self.config_path)
        if default is not None and not _NAME.fullmatch(default):
            raise ConfigurationError(
                f"defaultProfile in {self.config_path} is not a profile's name", next_step=f"A name has {_NAME_RULE}."
            )
        return HomeConfig(default, base_url, members)

    def read(self, name: str, known: KnownSecrets) -> Profile:
        """Read a profile's credentials.

        Args:
            name: Its name, judged.
            known: Where its API key is made known.

        Raises:
            NotConfiguredError: There is none of that name.
            FileAccessError: Rule 2.
            ConfigurationError: A file is not of its form.
        """
        folder = self.path(name)
        try:
            require_own_folder(self.folder, WRITABLE_BY_OTHERS)
            require_own_folder(folder)
        except FileNotFoundError:
            raise self._absent(name) from None
        path = folder / CREDENTIALS
        members = json_members(read_private_file(path, MAX_FILE)) or {}
        texts = text_members(members)
        if not {"accessKey", "accessSecret"} <= texts.keys():
            raise ConfigurationError(
                f"{path} does not hold an accessKey and an accessSecret",
                next_step=f"Move {folder} away and make the profile again: `r4-mcp init --profile {name}`",
            )
        api_key = judge_api_key(f"{texts['accessKey']}.{texts['accessSecret']}", str(path), known)
        return Profile(
            name=name,
            folder=folder,
            api_key=api_key,
            agent_id=texts.get("agentId"),
            base_url=_optional_text(members, "baseUrl", path),
            project_id=_optional_text(members, "projectId", path),
        )

    def _absent(self, name: str) -> NotConfiguredError:
        names = self.names()
        others = f"there are {listed(names)}" if names else "there is none yet"
        return NotConfiguredError(
            f"there is no profile {name} in {self.folder}; {others}", next_step=f"Make it: `r4-mcp init --profile {name}`"
        )


def listed(names: tuple[str, ...]) -> str:
    """Return names as a list for an error, of bounded length."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def require_own_folder(path: Path, forbidden: int = _OTHERS) -> None:
    """Check a folder by rule 2.

    Args:
        path: The folder.
        forbidden: Mode bits that it may not have.

    Raises:
        FileNotFoundError: There is none.
        FileAccessError: A symbolic link, no folder, another user's, or open to others.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileAccessError(f"{path} can't be used: {os.strerror(error.errno or 0)}") from None
    if stat.S_ISLNK(status.st_mode):
        raise FileAccessError(
            f"{path} is a symbolic link, which is not followed", next_step="Put the folder itself there, or set R4_HOME."
        )
    if not stat.S_ISDIR(status.st_mode):
        raise FileAccessError(f"{path} is not a folder", next_step="Move it away.")
    if sys.platform == "win32":
        return  # Modes and owners say nothing there.
    if status.st_uid not in {os.geteuid(), 0}:
        raise FileAccessError(f"{path} belongs to another user", next_step=f"Run: chown {os.geteuid()} {path}")
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise FileAccessError(f"{path} is open to other users (mode {mode:04o})", next_step=f"Run: chmod 700 {path}")


def _optional_text(members: Mapping[str, object], key: str, path: Path) -> str | None:
    member = members.get(key)
    if member is not None and not isinstance(member, str):
        raise ConfigurationError(f"{key} in {path} is not a text", next_step=f"Correct {path}, and start again.")
    return member or None
