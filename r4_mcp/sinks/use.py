"""A value on its way into a request, with the proof that it may go there.

What this file does not do: send it; ``http`` does. Who only prepares a request loads no HTTP library.
"""

from __future__ import annotations

from dataclasses import dataclass

from r4_mcp.secret import Secret
from r4_mcp.sinks.destination import Covered
from r4_mcp.sinks.masking import is_maskable


@dataclass(frozen=True, slots=True)
class Use:
    """A value, and the proof that it may go where the request goes.

    Args:
        secret: The value that is sent.
        covered: The proof for its item.
        is_one_time: Whether it is a one-time code: six digits that stand in too many texts, and work once.
    """

    secret: Secret[str]
    covered: Covered
    is_one_time: bool = False

    @property
    def is_maskable(self) -> bool:
        """Whether a body that follows this use can be shown."""
        return not self.is_one_time and is_maskable(self.secret)
