"""The service's address: judged before anything is dialled.

What this file does not do: say where an address came from; its callers name the setting in their errors.

Rules:
1. The service is reached by https, or by http on loopback. An address has no user, password, query or fragment.
2. The address that is judged is the one that is dialled: what would have to be cleaned is refused.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

import httpx

from r4_mcp.errors import ConfigurationError
from r4_mcp.machine.contract import DEFAULT_BASE_URL

_PRINTABLE: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)


def judge_address(text: str, source: str) -> str:
    """Return an address as it is dialled, without a slash at its end.

    Args:
        text: The address.
        source: The setting or file that holds it; named in the error, as the address is not.

    Raises:
        ConfigurationError: It breaks a rule.
    """
    try:
        # httpx reads the host on access; an IDNAError of it is a ValueError.
        host = httpx.URL(text).host
        url = urlsplit(text if _PRINTABLE.fullmatch(text) else "")
        port_is_fine = url.port != 0 and bool(url.hostname)
    except (ValueError, httpx.InvalidURL):
        host, port_is_fine, url = "", False, urlsplit("")
    plain = not (url.query or url.fragment or url.username or url.password) and port_is_fine and bool(host)
    if plain and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        return text.rstrip("/")
    raise ConfigurationError(
        f"{source} is not an https address (http is allowed on loopback only; no user, query or fragment)",
        next_step=f"Set {source} to the service's address, such as {DEFAULT_BASE_URL}, and start again.",
    )


def is_loopback(host: str) -> bool:
    """Say whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
