"""The screen: text that leaves for people or for listings must not hold a secret.

What this file does not do: say which secret was found. One sentence for every kind of hit, so that it can't be used to guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from r4_mcp.errors import SecretInTextError
from r4_mcp.policy.egress import Egress

_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_R4_API_KEY: Final = re.compile(r"rk_[A-Za-z0-9]{6,}\.[A-Za-z0-9_\-]{8,}")


def refuse_secrets(texts: Mapping[str, str | None], egress: Egress) -> None:
    """Refuse texts that hold a secret known in this process, a private key, or an R4 API key.

    Args:
        texts: Argument name → text.
        egress: Knows every secret of this process in every spelling.

    Raises:
        SecretInTextError: Names the argument, never what was found.
    """
    for name, text in texts.items():
        if text and (_PEM.search(text) or _R4_API_KEY.search(text) or egress.holds_secret(text)):
            raise SecretInTextError(f"the argument {name} holds something that is, or looks like, a secret; nothing was sent")
