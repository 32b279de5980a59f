"""Values as the content of a file: ``.env`` lines, a JSON object, or one value as it is.

What this file does not do: write files.

Rules:
1. An ``.env`` value must mean the same to every reader: POSIX shells that source the file, and the parsers that read it. What
   they disagree about is refused, not escaped: single quotes, line ends, a doubled or last backslash, ``${``.
2. A value that needs no quotes has none, so that readers that know no quotes read it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Literal, assert_never

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import Secret
from r4_mcp.sinks.environment import check_name

Format = Literal["env", "json", "raw"]

MAX_NAME: Final = 128
"""Characters of a member of a JSON object."""

_BARE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_AMBIGUOUS: Final = re.compile(r"""['\x00-\x1f\x7f\x85\u2028\u2029]|\\\\|\\$|\$\{""")


def render(form: Format, entries: Mapping[str, Secret[str]]) -> bytes:
    """Return the content of a file, in UTF-8.

    Args:
        form: The format.
        entries: The values by their names; exactly one for ``raw``, whose name means nothing.

    Raises:
        InvalidArgumentError: No entry, more than one for ``raw``, a name or a value that the format can't represent.
    """
    if not entries:
        raise InvalidArgumentError("entries is empty")
    # reveal: seen by the file's content only.
    values = {name: secret.reveal() for name, secret in entries.items()}
    match form:
        case "env":
            text = "".join(f"{name}={_quoted(name, value)}\n" for name, value in values.items())
        case "json":
            if any(not 0 < len(name) <= MAX_NAME for name in values):
                raise InvalidArgumentError(f"a name in entries is empty or has more than {MAX_NAME} characters")
            text = json.dumps(values, ensure_ascii=False, indent=2) + "\n"
        case "raw":
            if len(values) > 1:
                raise InvalidArgumentError("a raw file holds one value")
            (text,) = values.values()
        case _:
            assert_never(form)
    with suppress(UnicodeEncodeError):
        return text.encode("utf-8")
    # Not where it was caught: the codec's error holds the text, and would be this one's context.
    raise InvalidArgumentError("a name or value in entries holds half a surrogate pair, which UTF-8 does not have")


def _quoted(name: str, value: str) -> str:
    check_name(name)
    if _BARE.fullmatch(value):
        return value
    if _AMBIGUOUS.search(value):
        raise InvalidArgumentError("an env file can't represent a value in entries for every reader; use json or raw")
    return f"'{value}'"
