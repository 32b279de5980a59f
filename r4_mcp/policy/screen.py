"""The screen: text that leaves for people or for listings must not hold a secret.

What this file does not do: say which secret was found.

Rules:
1. One sentence and one code for every kind of hit, a known value as much as a mere shape, so that it can't be used to guess.
2. Both looks are taken at every text, whatever the first one found, so that the time of the answer does not tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from r4_mcp.errors import SecretInTextError
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.shapes import has_secret_shape


def refuse_secrets(texts: Mapping[str, str | None], egress: Egress) -> None:
    """Refuse texts that hold a secret known in this process, or anything of the shape of one.

    Args:
        texts: Argument name → text.
        egress: Knows every secret of this process in every spelling.

    Raises:
        SecretInTextError: Names the first such argument, never what was found (rule 1).
    """
    given = {name: text for name, text in texts.items() if text}
    known = [name for name, text in given.items() if egress.holds_secret(text)]
    shaped = [name for name, text in given.items() if has_secret_shape(text)]
    for name in given:
        if name in known or name in shaped:
            raise SecretInTextError(f"the argument {name} holds something that is, or looks like, a secret; nothing was done")
