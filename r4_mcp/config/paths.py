"""Paths that a person gave: told from secrets that were pasted where a path belongs.

What this file does not do: touch the disk.

Rules:
1. A key pasted where its path belongs is a common slip, and errors about files name the path. So such a text is armed, never
   becomes a path, and is reported by its setting's name alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from r4_mcp.errors import ConfigurationError
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import MIN_SUBSTRING

_MAX_PATH: Final = 1024
_R4_KEY_LIKE: Final = re.compile(r"rk_[A-Za-z0-9]{4,}\.\S{8,}", re.ASCII)


def judge_path(text: str, source: str, known: KnownSecrets) -> Path:
    """Return the path that a text names, with ``~`` resolved.

    Args:
        text: What was given.
        source: The setting or option that holds it.
        known: Where a pasted secret is armed (rule 1).

    Raises:
        ConfigurationError: It holds no path.
    """
    pasted = "-----" in text or text.lstrip().startswith("{") or looks_like_api_key(text)
    if not (pasted or len(text) > _MAX_PATH or not text.isprintable()):
        try:
            return Path(text).expanduser()
        except RuntimeError:  # "~somebody" who is not there
            pasted = False
    arm_pasted(text, known)
    raise ConfigurationError(f"{source} does not hold a path", next_step=f"Set {source} to the path of a file.")


def looks_like_api_key(text: str) -> bool:
    """Say whether a text has the shape of an R4 API key."""
    return _R4_KEY_LIKE.fullmatch(text.strip()) is not None


def arm_whole(text: str, known: KnownSecrets) -> None:
    """Make a text known that may be a secret in the wrong place. Its parts may be words of ours, so they are left alone."""
    if len(text) >= MIN_SUBSTRING:
        known.text(text, SecretKind.API_KEY)


def arm_pasted(text: str, known: KnownSecrets) -> None:
    """Make a text known that looks like a key in the wrong place, with its parts."""
    if len(text) < MIN_SUBSTRING:
        return
    known.private_key_pem(text.encode("utf-8", "replace"))
    arm_whole(text, known)
    for part in re.findall(r"[A-Za-z0-9_+/=-]{8,}", text):
        known.text(part, SecretKind.API_KEY)
