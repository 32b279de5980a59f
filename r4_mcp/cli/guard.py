"""The egress guard of this process: one, for everything that it prints, logs or serves.

What this file does not do: look; ``policy.egress`` does.
"""

from __future__ import annotations

from functools import lru_cache

from r4_mcp.policy.egress import Egress
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.explain import our_sentences


# The guard is made from what it guards, and a process has one KnownSecrets: so it is remembered, not passed along everywhere.
# Each further one would build the same automata again.
@lru_cache(maxsize=1)
def guard(known: KnownSecrets) -> Egress:
    """Return the guard over the secrets of this process.

    Args:
        known: The one that ``main`` made.
    """
    return Egress(known, our_sentences())
