"""The operator's policy file: read anew for each decision, and one rule appended at a time.

What this file does not do: understand the text (``policy_text`` does), or decide (``rules`` does). Nothing that a model can call
reaches its writing.

Rules:
1. The file is a regular one of this user or root, at most 64 KiB, that nobody else can write, in a folder that nobody else can
   write; a symbolic link is not followed. Others may read it: it holds no secret.
2. It is understood whole, or the policy is closed.
3. A file that is absent means the defaults; one that the operator named must be there; one that vanishes while a process lives
   closes its policy, since an editor that saves may make it vanish for a moment.
4. The bytes are read anew for each decision and parsed where they changed, so that a deny bites at once and no stamp of the file
   system has to be believed. (An editor that writes in place can be seen half way: what is there then is judged as it stands.)
5. Appending keeps every byte that is there and replaces the file atomically, with mode 0600. The whole is checked before: neither
   a policy that is closed nor one that would be is written to.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from r4_mcp.errors import ConfigurationError, FileAccessError
from r4_mcp.policy.model import DEFAULTS, Policy, PolicyRule
from r4_mcp.policy.policy_text import parse_policy, rule_block
from r4_mcp.vault.locked_file import LockedFile

MAX_SIZE: Final = 64 * 1024

_OTHERS_WRITE: Final = 0o022
_HEADER: Final = "# What r4-mcp may do. `r4-mcp policy check` prints what this comes to.\n"


class PolicySource:
    """The policy of a process: always that of the file as it is now (rule 4).

    Args:
        path: The file.
        named: Whether the operator named it, so that it must be there.
    """

    def __init__(self, path: Path, *, named: bool) -> None:
        self.path = path
        self.named = named
        # One member, so that threads never see the bytes of one policy with the rules of another.
        self._judged: tuple[bytes, Policy] | None = None

    def current(self) -> Policy:
        """Return the policy; a file that can't be used gives one that is closed, and says why."""
        try:
            raw = _read(self.path)
        except ConfigurationError as error:
            return _closed(error)
        if raw is None and self._judged is not None:
            return replace(DEFAULTS, closed=f"{self.path} vanished while this process ran; put it back, or start again")
        if raw is None:
            return self._judge(raw)
        if self._judged is None or raw != self._judged[0]:
            self._judged = (raw, self._judge(raw))
        return self._judged[1]

    def _judge(self, raw: bytes | None) -> Policy:
        try:
            return _understand(self.path, raw, named=self.named)
        except ConfigurationError as error:
            return _closed(error)


def load_policy(path: Path, *, named: bool) -> Policy:
    """Return the policy of a file as it is now, like ``PolicySource``."""
    return PolicySource(path, named=named).current()


def read_policy(path: Path, *, named: bool) -> Policy:
    """Return the policy of a file, or say what is wrong with it.

    Args:
        path: The file.
        named: Whether the operator named it, so that it must be there (rule 3).

    Raises:
        FileAccessError: Rule 1, unreadable, or absent though named.
        ConfigurationError: It is not understood (rule 2).
    """
    return _understand(path, _read(path), named=named)


def append_rule(path: Path, rule: PolicyRule) -> Policy:
    """Append a rule to the file, which is made where it is absent (rule 5).

    Args:
        path: The file.
        rule: The rule; its number is given by its place.

    Returns:
        The policy that the file holds now; its last rule is the new one.

    Raises:
        FileAccessError: Rule 1, of another user, or it can't be written.
        ConfigurationError: It is not understood as it is, or would not be afterwards. Nothing was written.
        BusyError: Another process holds its lock.
    """
    file = LockedFile(path, MAX_SIZE)
    with file.locked():
        raw = _read(path, root_may_own=False)
        # An empty policy is closed; a rule that is appended must not be what opens it.
        _understand(path, raw, named=False)
        before = _HEADER.encode("utf-8") if raw is None else raw
        ending = b"" if before.endswith(b"\n") else b"\n"
        content = before + ending + rule_block(rule).encode("utf-8")
        new = _understand(path, content, named=False)
        file.replace(content)
    return new


def _read(path: Path, *, root_may_own: bool = True) -> bytes | None:
    """Return the file's bytes, None for no file (rule 1). Replacing root's file would make it this user's."""
    # Not blocking: opening a FIFO would wait for a writer that never comes. For a regular file it changes nothing.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        _check_owner(path.parent, path.parent.stat(), root_may_own=True)
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileAccessError(f"{path} is not a regular file")
            _check_owner(path, status, root_may_own=root_may_own)
            # At once, and without a buffer: every call reads this file.
            raw = os.read(descriptor, MAX_SIZE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise FileAccessError(f"{path} is a symbolic link, which is not followed", next_step="Give the real path.") from None
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        raise FileAccessError(f"{path} can't be used: {reason}") from None
    if len(raw) > MAX_SIZE:
        raise FileAccessError(f"{path} is larger than {MAX_SIZE} bytes, so it is no policy")
    return raw


def _check_owner(path: Path, status: os.stat_result, *, root_may_own: bool) -> None:
    if sys.platform == "win32":
        return  # Modes and owners say nothing there.
    if status.st_uid != os.geteuid() and not (root_may_own and status.st_uid == 0):
        raise FileAccessError(f"{path} belongs to another user", next_step=f"Run: chown {os.geteuid()} {path}")
    if status.st_mode & _OTHERS_WRITE:
        raise FileAccessError(f"{path} can be written by other users", next_step=f"Run: chmod go-w {path}")


def _understand(path: Path, raw: bytes | None, *, named: bool) -> Policy:
    if raw is None and named:
        raise FileAccessError(f"{path} does not exist", next_step="Set R4_POLICY to a policy file, or remove the setting.")
    if raw is None:
        return DEFAULTS
    try:
        return parse_policy(raw)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} is no policy: {error.message}", next_step=error.next_step) from None


def _closed(error: ConfigurationError) -> Policy:
    return replace(DEFAULTS, closed=error.message)
