"""Every lie of a malicious service, by name (threat model, *Malicious server*).

What this file does not do: lie, or decide when; the themes hold the lies and ``faults_liar`` tells them. Lies that no client can
notice alone (SECURITY.md, *What is not promised*) have no name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from r4_mcp.emulator import (
    faults_account,
    faults_checkpoints,
    faults_contents,
    faults_keys,
    faults_log,
    faults_names,
    faults_signatures,
    faults_signers,
    faults_wire,
)
from r4_mcp.emulator.faults_liar import Fault
from r4_mcp.errors import ConfigurationError

_THEMES: Final = (
    faults_contents.FAULTS,
    faults_checkpoints.FAULTS,
    faults_signatures.FAULTS,
    faults_log.FAULTS,
    faults_signers.FAULTS,
    faults_keys.FAULTS,
    faults_account.FAULTS,
    faults_wire.FAULTS,
    faults_names.FAULTS,
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({fault.name: fault for theme in _THEMES for fault in theme})


def find_fault(name: str) -> Fault:
    """Return a fault by name.

    Raises:
        ConfigurationError: There is none of that name.
    """
    try:
        return FAULTS[name]
    except KeyError:
        raise ConfigurationError(
            "the emulator has no fault of that name", next_step="List them with `r4-mcp emulator --fault list`."
        ) from None


def describe_faults() -> list[str]:
    """Return one line per fault: its name and what the service does."""
    width = max(map(len, FAULTS))
    return [f"{fault.name:<{width}}  {fault.description}" for fault in FAULTS.values()]
