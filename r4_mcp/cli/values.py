"""A value from a person: typed without an echo, or piped.

What this file does not do: take one from the command line, which ``ps`` shows to everybody, or from a file that stays behind.
"""

from __future__ import annotations

import sys
from typing import Final

from r4_mcp.cli.prompts import ask_hidden, at_terminal
from r4_mcp.core.envelope import MAX_VALUE_SIZE
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

PROMPT: Final = "Value (not shown): "


def read_value(known: KnownSecrets, prompt: str = PROMPT) -> Secret[str]:
    """Read one value; it is not armed, since its field may be no secret one.

    Args:
        known: The secrets of this process.
        prompt: What a person at a terminal is shown.

    Raises:
        InvalidArgumentError: Nothing was entered, or it is too large, or no text.
        KeyboardInterrupt: Ctrl-C.
    """
    return known.text(_typed(prompt) if at_terminal() else _piped(), SecretKind.FIELD, armed=False)


def _typed(prompt: str) -> str:
    entered = ask_hidden(prompt)
    if entered is None:
        raise InvalidArgumentError("nothing was entered, so nothing was stored", next_step="Run the command again.")
    return entered


def _piped() -> str:
    # Three bytes more than the largest value: room for the line break, and one that shows that there is too much.
    raw = sys.stdin.buffer.read(MAX_VALUE_SIZE + 3)
    # One line break at the end belongs to `echo` and editors, not to the value; everything else is kept as it is.
    raw = raw.removesuffix(b"\r\n") if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")
    if len(raw) > MAX_VALUE_SIZE:
        raise InvalidArgumentError(f"the value on stdin is larger than {MAX_VALUE_SIZE // 1024} KiB; nothing was stored")
    text = _utf8(raw)
    if text is None:
        raise InvalidArgumentError("the value on stdin is not UTF-8 text")
    return text


def _utf8(raw: bytes) -> str | None:
    # Returned, not raised from inside: the decoding error quotes what it could not read.
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
