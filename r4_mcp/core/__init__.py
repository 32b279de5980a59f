"""The pure room: strict parsing, verification, unwrapping, opening, signing, sealing.

No clock, socket, file, log, environment or randomness (but PSS salts and OAEP seeds inside ``cryptography``). Bytes in,
frozen dataclass out, or one of the project's errors. Every decision that R4 has not published lives in this room, under:
"""

from typing import Final

WIRE_PROFILE: Final = "r4-2026-11"
"""Name of the wire profile: the set of our own choices where R4's documentation is silent (contract, marks *ours*)."""
