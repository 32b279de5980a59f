"""A new passphrase: chosen by a person, or given on a descriptor.

What this file does not do: find the passphrase of a key that exists; ``config.passphrase`` does.

Rules:
1. It has at least ``MIN_LENGTH`` characters: from there on the egress guard finds it inside longer texts.
2. It is asked for twice; a typing error would lock the key for good.
3. It is no part of the place where the key is kept, which messages name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from r4_mcp.cli.prompts import ask_hidden, at_terminal
from r4_mcp.config import Passphrases
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.sinks.spellings import MIN_SUBSTRING
from r4_mcp.vault.key_file import known_passphrase

MIN_LENGTH: Final = MIN_SUBSTRING
_AGAIN: Final = "Run the command again."


def new_passphrase(passphrases: Passphrases, known: KnownSecrets, place: Path) -> Secret[bytes]:
    """Return the passphrase for a key that is about to be written.

    Args:
        passphrases: What the environment gives.
        known: Where it is made known.
        place: The folder that will hold the key.

    Raises:
        ConfigurationError: The descriptor that was named gives none.
        InvalidArgumentError: None was given, the two differ, or a rule is broken.
    """
    if passphrases.problems:
        raise passphrases.problems[0]
    if passphrases.given is not None:
        # reveal: measured here, and not kept.
        raw = passphrases.given.reveal()
    elif at_terminal():
        raw = _ask_twice().encode("utf-8")
    else:
        raise InvalidArgumentError(
            "there is no terminal to ask for a passphrase on", next_step="Give it through R4_KEY_PASSPHRASE_FD=N."
        )
    if len(raw) < MIN_LENGTH:
        raise InvalidArgumentError(f"a passphrase has at least {MIN_LENGTH} characters", next_step=_AGAIN)
    if raw in str(place).encode("utf-8", "surrogateescape"):
        raise InvalidArgumentError("the passphrase is part of the path of its key, which messages name", next_step=_AGAIN)
    return known_passphrase(known, raw)


def _ask_twice() -> str:
    first = ask_hidden("Passphrase for the new key (not shown): ")
    if first is None:
        raise InvalidArgumentError("no passphrase was entered", next_step=_AGAIN)
    if ask_hidden("The same again: ") != first:
        raise InvalidArgumentError("the two passphrases differ", next_step=_AGAIN)
    return first
