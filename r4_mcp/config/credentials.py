"""The agent's credentials: read from private files, known as secrets before they are judged.

What this file does not do: choose between sources; ``settings`` does.

Rules:
1. A file with a secret is a regular file, no symbolic link, of this user or root, closed to group and others; else the error
   names the ``chmod``.
2. A malformed key is still somebody's secret: it is armed first, and no error quotes it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from r4_mcp.errors import ApiKeyFormatError, ConfigurationError, FileAccessError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.locked_file import read_private

MAX_FILE: Final = 64 * 1024
"""Bytes; a runtime JSON has about 4,000."""

_API_KEY: Final = re.compile(r"[!-\-/-~]{3,128}\.[!-\-/-~]{8,512}", re.ASCII)
_EXPORT_AGAIN: Final = "Export the agent's runtime configuration from R4 again, or set R4_API_KEY and R4_PRIVATE_KEY_PATH."


def read_private_file(path: Path, max_size: int) -> bytes:
    """Read a file that holds a secret (rule 1).

    Raises:
        FileAccessError: Missing, unreadable, a symbolic link, too large, of another user, or open to others.
    """
    try:
        return read_private(path, max_size, root_may_own=True)
    except FileNotFoundError:
        raise FileAccessError(f"{path} does not exist") from None


def json_members(raw: bytes) -> dict[str, object] | None:
    """Return the members of a JSON object, or None where there is none."""
    try:
        parsed: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None  # The parser's own message quotes the document.
    return parsed if isinstance(parsed, dict) else None


def text_members(members: dict[str, object]) -> dict[str, str]:
    """Return the members that are texts; others are not ours to read."""
    return {key: member for key, member in members.items() if isinstance(member, str)}


def read_runtime_json(path: Path, next_step: str = _EXPORT_AGAIN) -> dict[str, str]:
    """Read the runtime JSON that R4 exports once: agentId, accessKey, accessSecret, privateKey.

    Args:
        path: The file.
        next_step: What to do where it is none.

    Returns:
        Its text members; accessKey and accessSecret are among them.

    Raises:
        FileAccessError: Rule 1.
        ConfigurationError: Not of its form.
    """
    members = text_members(json_members(read_private_file(path, MAX_FILE)) or {})
    if not {"accessKey", "accessSecret"} <= members.keys():
        raise ConfigurationError(f"{path} is not a runtime JSON with accessKey, accessSecret and privateKey", next_step=next_step)
    return members


def judge_api_key(text: str, source: str, known: KnownSecrets, next_step: str | None = None) -> Secret[str]:
    """Return an API key as a secret (rule 2).

    Args:
        text: The key, ``accessKey.secret``.
        source: Where it came from, for the error.
        known: Where it is made known.
        next_step: What to do where it is none.

    Raises:
        ApiKeyFormatError: Not of that form.
    """
    secret = known.text(text, SecretKind.API_KEY)
    known.text(text.rpartition(".")[2], SecretKind.API_KEY)
    if not _API_KEY.fullmatch(text):
        raise ApiKeyFormatError(f"the API key of {source} is not of the form accessKey.secret", next_step=next_step)
    return secret


def access_key_of(api_key: Secret[str]) -> str:
    """Return the part of an API key that names it and is no secret."""
    # reveal: only the part before the dot leaves this line.
    return api_key.reveal().partition(".")[0]
