"""A policy as JSON, for programs: what the file and the defaults come to, in the names of ``policy.model``.

What this file does not do: choose. All of a policy is shown; nothing in one is secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

from r4_mcp.config import Settings
from r4_mcp.policy.policy_file import PolicySource, read_policy

Plain: TypeAlias = "bool | int | str | list[Plain] | dict[str, Plain] | None"


def policy_payload(settings: Settings, source: PolicySource) -> dict[str, Plain]:
    """Check the policy file, and return what it comes to.

    Args:
        settings: The configuration, for the switches.
        source: The policy file.

    Raises:
        ConfigurationError: The file can't be used, so everything is denied.
    """
    policy = read_policy(source.path, named=source.named)
    return {
        "path": str(source.path),
        "exists": source.path.exists(),
        "switches": _plain(settings.switches),
        "policy": _plain(policy),
    }


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, (bool, int)):
        return value
    if is_dataclass(value):
        return {member.name: _plain(getattr(value, member.name)) for member in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, (tuple, frozenset)):
        # A set has no order; a program that compares wants one.
        return [_plain(member) for member in (sorted(value) if isinstance(value, frozenset) else value)]
    # Texts, words of an enumeration, networks: each has one spelling.
    return str(value)
