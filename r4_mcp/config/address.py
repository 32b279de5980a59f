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

import idna

from r4_mcp.errors import ConfigurationError
from r4_mcp.machine.contract import DEFAULT_BASE_URL

_PRINTABLE: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
_XN: Final = re.compile(r"(?:^|\.)xn--")


def judge_address(text: str, source: str) -> str:
    """Return an address as it is dialled, without a slash at its end.

    Args:
        text: The address.
        source: The setting or file that holds it; named in the error, as the address is not.

    Raises:
        ConfigurationError: It breaks a rule.
    """
    try:
        url = urlsplit(text if _PRINTABLE.fullmatch(text) else "")
        host = _checked(url.hostname or "")
        port_is_fine = url.port != 0
    except ValueError:  # of which idna.IDNAError is one
        host, port_is_fine, url = "", False, urlsplit("")
    # By their marks, since an empty one counts too: what follows an address would become a part of it.
    plain = "@" not in url.netloc and not {"?", "#"} & set(text) and port_is_fine and bool(host)
    if plain and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        return text.rstrip("/")
    raise ConfigurationError(
        f"{source} is not an https address (http is allowed on loopback only; no user, query or fragment)",
        next_step=f"Set {source} to the service's address, such as {DEFAULT_BASE_URL}, and start again.",
    )


def _checked(host: str) -> str:
    """Return a host that is an address, or a name of which each A-label stands for something; else an empty text."""
    if ":" in host:
        address = ipaddress.IPv6Address(host)
        # A zone names an interface of this machine (RFC 6874).
        return "" if address.scope_id else address.compressed
    if _XN.search(host):
        idna.decode(host)
    return host if _NAME.fullmatch(host) else ""


def is_loopback(host: str) -> bool:
    """Say whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
