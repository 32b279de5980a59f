"""Configuration: the environment, the profiles and the files that they name, read once.

What this room does not do: talk to the service, or wire anything.
"""

from __future__ import annotations

from r4_mcp.config.address import is_loopback
from r4_mcp.config.credentials import read_private_file
from r4_mcp.config.passphrase import Passphrases
from r4_mcp.config.profiles import named_profile
from r4_mcp.config.settings import SETTINGS, Settings, read_settings, read_switches

__all__ = [
    "SETTINGS",
    "Passphrases",
    "Settings",
    "is_loopback",
    "named_profile",
    "read_private_file",
    "read_settings",
    "read_switches",
]
