"""The passphrase of an encrypted private key: from a descriptor, the system's keyring, or a person.

What this file does not do: take a passphrase from the command line or from the value of an environment variable. Both are seen
by others: ``ps`` shows arguments; the environment goes on to every child process, into crash reports and container inspectors.

Rules:
1. The sources in order: ``R4_KEY_PASSPHRASE_FD``, ``R4_KEY_PASSPHRASE_KEYRING``, a hidden prompt. One that was named and fails is
   an error, never a reason to try the next.
2. The descriptor is read when this is made, before the process opens others (a number names whatever is open under it), up to its
   first line break or its end, within a deadline, and then closed.
3. A passphrase is known to the egress guard before it is used, and remembered for the life of the process.
4. A text that should have been a number or a service's name may be the passphrase itself: it is armed and not repeated.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from r4_mcp.config.paths import arm_whole
from r4_mcp.config.system_keyring import SERVICE, SystemKeyring
from r4_mcp.errors import ConfigurationError, PrivateKeyError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.key_file import Passphrase, known_passphrase

MAX_SIZE: Final = 1023
"""Bytes; the most that a PEM can be encrypted with."""

READ_SECONDS: Final = 10.0

Ask = Callable[[str], str | None]
"""Asks a person with a hidden prompt; None where nothing was entered."""

_FD: Final = "R4_KEY_PASSPHRASE_FD"
_KEYRING: Final = "R4_KEY_PASSPHRASE_KEYRING"
_FIRST_FREE: Final = 3
"""0, 1 and 2 are stdin, stdout and stderr; under ``serve`` they are the protocol's."""

_NUMBER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_ON: Final = frozenset({"1", "true", "yes", "on"})
_OFF: Final = frozenset({"", "0", "false", "no", "off"})
_HOW: Final = f"Give it through {_FD}=N (an open descriptor), or keep it in the keyring and set {_KEYRING}=1."


class Passphrases:
    """The passphrases of this process's private keys.

    Args:
        environment: Read for the two settings.
        known: Where each passphrase is made known.
        ask: Asks a person, or None where nobody may be asked (``serve``).
    """

    def __init__(self, environment: Mapping[str, str], known: KnownSecrets, ask: Ask | None = None) -> None:
        self._known = known
        self._ask = ask
        self._declined: PrivateKeyError | None = None
        self._found: dict[str, Secret[bytes]] = {}
        # Rotation asks from worker threads.
        self._lock = threading.Lock()
        self.given: Secret[bytes] | None = None
        self.keyring: SystemKeyring | None = None
        self.problems: list[ConfigurationError] = []
        for read in (self._read_descriptor, self._read_service):
            try:
                read(environment)
            except ConfigurationError as error:
                self.problems.append(error)

    def source(self, holder: str) -> Passphrase:
        """Return what gives the passphrase of one key, when it is needed.

        Args:
            holder: Absolute path of the key's file, or the name of the setting that holds the key.
        """
        return partial(self._find, holder)

    def remember(self, holder: str, passphrase: Secret[bytes]) -> None:
        """Note the passphrase of a key that was just written."""
        with self._lock:
            self._found[holder] = passphrase

    def _find(self, holder: str) -> Secret[bytes]:
        with self._lock:
            if holder not in self._found:
                self._found[holder] = self._look(holder)
            return self._found[holder]

    def _look(self, holder: str) -> Secret[bytes]:
        if self.problems:
            raise self.problems[0]
        if self.given is not None:
            return self.given
        if self.keyring is not None:
            kept = self.keyring.find(holder)
            if not kept:
                raise PrivateKeyError(
                    f"the keyring holds no passphrase for {holder}",
                    next_step=f"Store it: `{self.keyring.command('set', holder)}`",
                )
            return known_passphrase(self._known, kept.encode("utf-8"))
        if self._ask is None:
            raise PrivateKeyError("the private key is encrypted, and no passphrase was given", next_step=_HOW)
        if self._declined is not None:
            raise self._declined  # Who entered nothing is not asked again for each vault.
        typed = self._ask(f"Passphrase of {holder} (not shown): ")
        if not typed:
            self._declined = PrivateKeyError("no passphrase was entered", next_step="Run the command again.")
            raise self._declined
        return known_passphrase(self._known, typed.encode("utf-8"))

    def _read_descriptor(self, environment: Mapping[str, str]) -> None:
        text = environment.get(_FD, "").strip()
        if not text:
            return
        if not _NUMBER.fullmatch(text) or int(text) < _FIRST_FREE:
            arm_whole(text, self._known)
            raise ConfigurationError(
                f"{_FD} is not the number of a descriptor, {_FIRST_FREE} or higher",
                next_step=f"Open the passphrase's file on a descriptor and set {_FD} to its number, never to the passphrase.",
            )
        self.given = known_passphrase(self._known, _read_line(int(text)))

    def _read_service(self, environment: Mapping[str, str]) -> None:
        text = environment.get(_KEYRING, "").strip()
        if text.lower() in _OFF:
            return
        if not _SERVICE.fullmatch(text):
            arm_whole(text, self._known)
            raise ConfigurationError(f"{_KEYRING} is neither 1 nor the name of a service", next_step=f"Set {_KEYRING}=1.")
        self.keyring = SystemKeyring(SERVICE if text.lower() in _ON else text)


def _read_line(descriptor: int) -> bytes:
    deadline = time.monotonic() + READ_SECONDS
    content = b""
    try:
        try:
            while b"\n" not in content and len(content) <= MAX_SIZE:
                _wait(descriptor, deadline)
                chunk = os.read(descriptor, MAX_SIZE + 1)
                if not chunk:
                    break
                content += chunk
        finally:
            # Not kept open: what else is in there is nobody's business, and a number is used again.
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"{_FD} names a descriptor that can't be read: {os.strerror(error.errno or 0)}",
            next_step=f"Open the passphrase's file for reading on that descriptor, such as {_FD}=3 with 3<FILE in a shell.",
        ) from None
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    if not 0 < len(line) <= MAX_SIZE:
        raise ConfigurationError(f"{_FD} gave no line of 1 to {MAX_SIZE} bytes", next_step=_HOW)
    return line


def _wait(descriptor: int, deadline: float) -> None:
    if not hasattr(select, "poll"):
        return  # Windows can't wait for a descriptor; there a writer that never writes is waited for.
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    remaining = max(0.0, deadline - time.monotonic())
    if not waiting.poll(remaining * 1000):
        raise ConfigurationError(f"{_FD} gave nothing within {READ_SECONDS:g} seconds", next_step=_HOW)
