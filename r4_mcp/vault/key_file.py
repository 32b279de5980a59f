"""Where the runtime's private key lives: a PEM file, the runtime JSON, or a setting that can only be read.

What this file does not do: decide when a key is replaced; ``rotation`` does. It makes each step safe to repeat.

Rules (threats, *Crash safety*):
1. A new key is staged beside the old one in a file of its own: written, synced, read again and tested before anybody hears of
   it.
2. Switching keeps the old key in a file named after its fingerprint, then replaces the file in one step, under a lock of its own
   and only while it holds the old key; the staged copy goes last. Repeating any part of it changes nothing.
3. A file that can't be replaced is found out before a key is made: its own bytes are written over it first, under the same lock.
4. A key that was sent is never thrown away, whatever the service says about it: one that was refused is set aside.
5. A passphrase that protects the old key protects the staged, the new and the retired one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from r4_mcp.core.keys import EXPONENT, MAX_PEM_SIZE, PrivateKey, dump_private_key, load_private_key
from r4_mcp.core.signing import Context, sign, verify
from r4_mcp.core.wire import KeyId
from r4_mcp.errors import FileAccessError, PrivateKeyError, RotationUnresolvedError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.locked_file import LockedFile, read_private

NEW_BITS: Final = 3072
"""Size of a key that is made here, in bits."""

_MAX_FILE: Final = 64 * 1024
_NAMED: Final = 16
"""Characters of a fingerprint that name a retired key's file."""

Passphrase = Callable[[], Secret[bytes] | None]


class KeySource(Protocol):
    """Where the private key comes from."""

    def load(self) -> PrivateKey:
        """Read and check the key.

        Raises:
            ConfigurationError: It is missing or can't be used; says what to do.
        """

    def stamp(self) -> object:
        """Return what changes when the key was replaced."""


class KeyForm(Enum):
    """What the file holds around the key."""

    PEM = "pem"
    RUNTIME_JSON = "runtime-json"


class InlineKey:
    """A key that was given in a setting: it can be used, not replaced.

    Args:
        pem: The key.
        passphrase: Gives the passphrase of an encrypted PEM.
    """

    def __init__(self, pem: Secret[bytes], passphrase: Passphrase) -> None:
        self._pem = pem
        self._passphrase = passphrase

    def load(self) -> PrivateKey:
        """Check the key.

        Raises:
            PrivateKeyError: It can't be used.
        """
        return _open(self._pem, self._passphrase)

    def stamp(self) -> object:
        """Return a constant: a setting doesn't change while the process lives."""
        return None


class HeldKey:
    """A key that is in memory already."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def load(self) -> PrivateKey:
        """Return it."""
        return self._key

    def stamp(self) -> object:
        """Return a constant."""
        return None


class KeyFile:
    """A file that holds the runtime's private key.

    Args:
        path: The file.
        form: What is in it.
        known: Where what is read is made known.
        passphrase: Gives the passphrase of an encrypted PEM; asked only when one is met.
    """

    def __init__(self, path: Path, form: KeyForm, known: KnownSecrets, passphrase: Passphrase) -> None:
        self.path = path
        self._form = form
        self._known = known
        self._passphrase = passphrase
        self._file = LockedFile(path, _MAX_FILE)

    def load(self) -> PrivateKey:
        """Read and check the key.

        Raises:
            FileAccessError: Missing, unreadable, a symbolic link, or open to others.
            PrivateKeyError: It can't be used.
        """
        return _open(self._known.private_key_pem(self._pem_of(self._read())), self._passphrase)

    def stamp(self) -> object:
        """Return what changes when the file was replaced.

        Raises:
            FileAccessError: Its folder can't be read.
        """
        return self._file.stamp()

    def require_replaceable(self) -> None:
        """Find out whether a new key could take this one's place (rule 3).

        Raises:
            FileAccessError: It could not: a read-only folder, a full disk, or a mounted file.
            BusyError: Another process holds the file's lock.
        """
        with self._file.locked():
            # The same bytes, so that a crash at any moment leaves what was there.
            self._file.replace(self._read())

    def generate(self) -> PrivateKey:
        """Make a new RSA key pair, known to the egress guard before it is anywhere else."""
        pem = dump_private_key(rsa.generate_private_key(public_exponent=EXPONENT, key_size=NEW_BITS), None)
        # reveal: seen by the PEM parser only.
        return load_private_key(self._known.private_key_pem(pem).reveal())

    def stage(self, key: PrivateKey, key_id: KeyId) -> None:
        """Put a new key on disk beside the old one (rules 1 and 5).

        Raises:
            FileAccessError: It can't be written; nothing may be sent.
            PrivateKeyError: What was read back is not the key that was written.
        """
        path = self.staged(key_id)
        LockedFile(path, _MAX_FILE).replace(dump_private_key(key.rsa, self._secret_for_new()))
        again = self.load_staged(key_id)
        if again.public.fingerprint != key.public.fingerprint:
            raise PrivateKeyError(f"{path} does not hold the key that was written to it")
        probe = {"fingerprint": key.public.fingerprint}
        verify(key.public, Context.KEY_ROTATION, probe, sign(again, Context.KEY_ROTATION, probe))

    def load_staged(self, key_id: KeyId) -> PrivateKey:
        """Read a staged key.

        Raises:
            RotationUnresolvedError: Its file is gone.
            FileAccessError: It can't be read.
            PrivateKeyError: It can't be used.
        """
        path = self.staged(key_id)
        try:
            pem = read_private(path, MAX_PEM_SIZE)
        except FileNotFoundError:
            raise RotationUnresolvedError(
                f"a key rotation was begun, and {path}, which holds its new key, is missing",
                next_step="Put that file back. Only if it is lost for good: r4-mcp rotate-key --abandon.",
            ) from None
        return _open(self._known.private_key_pem(pem), self._passphrase)

    def switch(self, old: PrivateKey, key_id: KeyId) -> None:
        """Make the staged key the current one (rule 2).

        Args:
            old: The key that it replaces; kept.
            key_id: Id of the staged key.

        Raises:
            FileAccessError: It can't be written now; what was written so far is repeated by the next try.
            BusyError: Another process holds the file's lock.
            RotationUnresolvedError: The staged file is gone, or the file holds a third key.
        """
        new = self.load_staged(key_id)
        with self._file.locked():
            if self.load().public.fingerprint != old.public.fingerprint:
                raise RotationUnresolvedError(f"{self.path} was changed by another program while its key was rotated")
            retired = LockedFile(self.retired(old.public.fingerprint), _MAX_FILE)
            if retired.read() is None:
                retired.replace(dump_private_key(old.rsa, self._secret_for_new()))
            self._file.replace(self._with(new))
            if self.load().public.fingerprint != new.public.fingerprint:
                raise RotationUnresolvedError(f"{self.path} does not hold the key that was written to it")
        self.drop_staged(key_id)

    def set_aside(self, key_id: KeyId, fingerprint: str) -> None:
        """Keep a staged key that was sent and refused (rule 4); nothing where there is none.

        Raises:
            FileAccessError: It can't be renamed.
        """
        path = self.staged(key_id)
        try:
            path.replace(self.refused(fingerprint))
        except FileNotFoundError:
            return
        except OSError as error:
            raise FileAccessError(f"{path} can't be renamed: {os.strerror(error.errno or 0)}") from None

    def drop_staged(self, key_id: KeyId) -> None:
        """Remove a staged key that is current now, or that was never sent.

        Raises:
            FileAccessError: It can't be removed.
        """
        path = self.staged(key_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FileAccessError(f"{path} can't be removed: {os.strerror(error.errno or 0)}") from None

    def staged(self, key_id: KeyId) -> Path:
        """Return the path of a staged key."""
        return self.path.with_name(f"{self.path.name}.next-{key_id}.pem")

    def retired(self, fingerprint: str) -> Path:
        """Return the path of a retired key."""
        return self.path.with_name(f"{self.path.name}.retired-{fingerprint[:_NAMED]}.pem")

    def refused(self, fingerprint: str) -> Path:
        """Return the path of a key that was sent and refused."""
        return self.path.with_name(f"{self.path.name}.refused-{fingerprint[:_NAMED]}.pem")

    def kept(self, fingerprint: str) -> Path | None:
        """Return the file that keeps a key which was current here, or was meant to be."""
        return next((path for path in (self.retired(fingerprint), self.refused(fingerprint)) if path.exists()), None)

    def _read(self) -> bytes:
        try:
            return read_private(self.path, _MAX_FILE, root_may_own=True)
        except FileNotFoundError:
            raise FileAccessError(f"{self.path} does not exist") from None

    def _pem_of(self, content: bytes) -> bytes:
        if self._form is KeyForm.PEM:
            return content
        return pem_of_runtime_json(_members(self.path, content).get("privateKey"))

    def _with(self, key: PrivateKey) -> bytes:
        passphrase = self._secret_for_new()
        pem = dump_private_key(key.rsa, passphrase)
        if self._form is KeyForm.PEM:
            return pem
        members = {**_members(self.path, self._read()), "privateKey": pem.decode("ascii")}
        return json.dumps(members, indent=2).encode("utf-8") + b"\n"

    def _secret_for_new(self) -> bytes | None:
        if b"ENCRYPTED" not in self._pem_of(self._read()):
            return None
        passphrase = self._passphrase()
        # reveal: seen by the PEM writer only.
        return None if passphrase is None else passphrase.reveal()


def pem_of_runtime_json(member: object) -> bytes:
    """Return the PEM that a ``privateKey`` member or setting holds.

    Raises:
        PrivateKeyError: There is none.
    """
    if not isinstance(member, str) or not member:
        raise PrivateKeyError("the runtime JSON holds no privateKey")
    # Environment files can't hold line breaks, so PEMs in them are commonly written with \n.
    return (member if "\n" in member else member.replace("\\n", "\n")).encode("utf-8", "replace")


def _members(path: Path, content: bytes) -> dict[str, object]:
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):
        parsed = None  # The parser's own message quotes the document.
    if not isinstance(parsed, dict):
        raise FileAccessError(f"{path} is not a runtime JSON")
    return parsed


def _open(pem: Secret[bytes], passphrase: Passphrase) -> PrivateKey:
    # reveal: seen by the PEM parser only.
    text = pem.reveal()
    given = passphrase() if b"ENCRYPTED" in text else None
    # reveal: as above.
    return load_private_key(text, passphrase=None if given is None else given.reveal())


def known_passphrase(known: KnownSecrets, text: bytes) -> Secret[bytes]:
    """Make a passphrase known, so that no message can carry it."""
    known.text(text.decode("utf-8", "replace"), SecretKind.PRIVATE_KEY)
    return known.octets(text, SecretKind.PRIVATE_KEY)
