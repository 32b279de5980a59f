"""The system's keyring: where the passphrase of a private key may be kept.

What this file does not do: load the ``keyring`` library unless it is asked for; it is an optional extra.

Rules:
1. An entry is named by a service (``r4-mcp`` unless the operator named another) and by the absolute path of the key's file, so
   that two homes never share one.
2. What the library's backends say goes into no error: their words are not ours.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from r4_mcp.errors import AlreadyExistsError, ConfigurationError

SERVICE: Final = "r4-mcp"


class SystemKeyring:
    """The entries of one service.

    Args:
        service: The service's name in the keyring.
    """

    def __init__(self, service: str = SERVICE) -> None:
        self._service = service

    def find(self, holder: str) -> str | None:
        """Return the passphrase of a key file, or None.

        Args:
            holder: Absolute path of the key's file.

        Raises:
            ConfigurationError: The library is not installed, or the keyring can't be used.
        """
        library, failures = _load()
        try:
            found = library.get_password(self._service, holder)
        except failures:
            raise _unusable() from None
        return found if isinstance(found, str) else None

    def require_free(self, holder: str) -> None:
        """Check that no passphrase would be overwritten: it may belong to a key that was moved away.

        Raises:
            AlreadyExistsError: There is one.
            ConfigurationError: As ``find``.
        """
        if self.find(holder) is not None:
            raise AlreadyExistsError(
                f"the keyring holds a passphrase for {holder} already",
                next_step=f"If nothing needs it any more, remove it: `{self.command('del', holder)}`",
            )

    def keep(self, holder: str, passphrase: str) -> None:
        """Store a passphrase and read it back.

        Raises:
            ConfigurationError: It was not stored.
        """
        library, failures = _load()
        try:
            library.set_password(self._service, holder, passphrase)
        except failures:
            raise _unusable() from None
        if self.find(holder) != passphrase:
            raise ConfigurationError("the keyring did not keep the passphrase", next_step=_OTHER_WAYS)

    def command(self, action: str, holder: str) -> str:
        """Return the command of the library for an entry. Another service than ours is not repeated: it is a setting's value."""
        service = self._service if self._service == SERVICE else "SERVICE"
        return f"keyring {action} {service} {holder}"


_OTHER_WAYS: Final = "Unlock or set up the system's keyring, or give the passphrase through R4_KEY_PASSPHRASE_FD."


def _load() -> tuple[ModuleType, tuple[type[Exception], ...]]:
    try:
        import keyring  # noqa: PLC0415 - an optional extra, and slow to load
        import keyring.errors  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "the keyring library is not installed", next_step="Run `pip install 'r4-mcp[keyring]'`."
        ) from None
    # Backends talk to other programs; what they let through of that is of the operating system's family.
    return keyring, (keyring.errors.KeyringError, OSError, RuntimeError)


def _unusable() -> ConfigurationError:
    return ConfigurationError("the system's keyring can't be used here", next_step=_OTHER_WAYS)
