"""Making a profile: whole or not at all, and never over another.

What this file does not do: talk to the service, or ask anybody.

Rules:
1. A profile is built in ``profiles/.<name>.<random>`` (0700, files 0600, each synced), read back, and renamed. A crash or an
   error before that leaves no profile; after it, a whole one.
2. Building is done under the lock of ``config.json``, so of two makers of one name exactly one wins, and what is found half-built
   was left by a crash: it holds keys, so it is removed.
3. The first profile of a home becomes its default. Later ones do not: choosing another agent is a person's decision.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.config.credentials import MAX_FILE
from r4_mcp.config.profiles import CREDENTIALS, PRIVATE_KEY, WRITABLE_BY_OTHERS, HomeConfig, Profiles, require_own_folder
from r4_mcp.core.keys import PrivateKey, dump_private_key
from r4_mcp.errors import AlreadyExistsError, FileAccessError, PrivateKeyError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.key_file import KeyFile, KeyForm
from r4_mcp.vault.locked_file import LockedFile

_BUILDING: Final = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewProfile:
    """What a profile is made of.

    Attributes:
        name: Its name, judged.
        agent_id: The agent's id, where it is known.
        api_key: The API key, ``accessKey.secret``.
        base_url: The address that the key is for, judged.
        key: The private key.
        passphrase: What protects it, or None.
    """

    name: str
    agent_id: str | None
    api_key: Secret[str]
    base_url: str
    key: PrivateKey
    passphrase: Secret[bytes] | None


@dataclass(frozen=True, slots=True)
class Made:
    """A profile that is there now, and the home's default profile."""

    folder: Path
    default_profile: str | None


def require_possible(profiles: Profiles, name: str) -> HomeConfig:
    """Find out whether a profile could be made, before anybody types a secret for it.

    Returns:
        What ``config.json`` holds.

    Raises:
        AlreadyExistsError: Something has the name.
        FileAccessError: The folder of profiles, or ``config.json``, is a symbolic link, another user's, or open to others.
        ConfigurationError: ``config.json`` is damaged.
    """
    config = profiles.config()
    with suppress(FileNotFoundError):  # It is made with the first profile.
        # Not writable by others: who can rename a profile can put another one in its place.
        require_own_folder(profiles.folder, WRITABLE_BY_OTHERS)
    folder = profiles.path(name)
    # lexists: a dangling link takes the name too.
    if os.path.lexists(folder):
        raise AlreadyExistsError(
            f"the profile {name} exists already, and a profile is never overwritten",
            next_step=f"Choose another name with --profile, or move {folder} away. `r4-mcp doctor --profile {name}` checks it.",
        )
    return config


def make_profile(profiles: Profiles, new: NewProfile, known: KnownSecrets) -> Made:
    """Write a profile.

    Args:
        profiles: The home's profiles.
        new: What it is made of.
        known: Where what is read back is made known.

    Raises:
        AlreadyExistsError: The name is taken, perhaps since a moment ago.
        FileAccessError: A folder or file can't be written, or is open to others; nothing was made.
        ConfigurationError: ``config.json`` is damaged; nothing was made.
        BusyError: Another process holds the lock.
    """
    lock = LockedFile(profiles.config_path, MAX_FILE)
    with lock.locked():
        config = require_possible(profiles, new.name)
        _make_folder(profiles.folder)
        _sweep(profiles.folder)
        first = not profiles.names()
        folder = profiles.path(new.name)
        building = profiles.folder / f".{new.name}.{secrets.token_hex(6)}"
        try:
            _build(building, new, known)
            building.rename(folder)
            _sync(profiles.folder)
        except OSError as error:
            raise FileAccessError(f"{folder} can't be made: {os.strerror(error.errno or 0)}") from None
        finally:
            # After the rename there is nothing of this name.
            shutil.rmtree(building, ignore_errors=True)
        if first and config.default_profile is None:
            lock.replace(_with_default(config, new.name))
            return Made(folder, new.name)
    return Made(folder, config.default_profile)


def _build(building: Path, new: NewProfile, known: KnownSecrets) -> None:
    building.mkdir(mode=0o700)
    # reveal: written to the owner's private file, which is what it is for.
    access_key, _, access_secret = new.api_key.reveal().partition(".")
    members = {"accessKey": access_key, "accessSecret": access_secret, "baseUrl": new.base_url}
    if new.agent_id is not None:
        members = {"agentId": new.agent_id, **members}
    _write(building / CREDENTIALS, _json(members))
    # reveal: seen by the PEM writer only.
    passphrase = None if new.passphrase is None else new.passphrase.reveal()
    path = building / PRIVATE_KEY
    _write(path, dump_private_key(new.key.rsa, passphrase))
    again = KeyFile(path, KeyForm.PEM, known, lambda: new.passphrase).load()
    if again.public.fingerprint != new.key.public.fingerprint:
        raise PrivateKeyError(f"{path} does not hold the key that was written to it")
    _sync(building)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _with_default(config: HomeConfig, name: str) -> bytes:
    return _json({**config.members, "defaultProfile": name})


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, indent=2).encode("utf-8") + b"\n"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
        _sync(folder.parent)
    except FileExistsError:
        return  # Looked at before.
    except OSError as error:
        raise FileAccessError(f"{folder} can't be made: {os.strerror(error.errno or 0)}") from None


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if _BUILDING.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return  # Folders can't be opened there.
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
