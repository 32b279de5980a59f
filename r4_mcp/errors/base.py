"""The root of the tree: what every error carries.

What this file does not do: name a case; ``local`` and ``remote`` do.
"""

from __future__ import annotations

from typing import ClassVar


class R4Error(Exception):
    """Base of everything this project raises on purpose.

    Args:
        message: One sentence, secret-free by construction: our own words, ids, sizes, versions, rule numbers.
        next_step: What to do now, when only the raiser can know it; else ``server/explain`` has it by class.
        candidates: References that fit, for errors that ask the caller to choose.
    """

    code: ClassVar[str] = "r4_error"

    def __init__(self, message: str, *, next_step: str | None = None, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.candidates = candidates
