"""Whether a URL lies where the websites of an item say that its secrets may go. Pure.

What this file does not do: resolve a name (``addresses`` screens what it resolves to), or know which websites are proven.

Rules:
1. A URL is absolute and https, has a host, and has neither user information nor a fragment. http is for loopback, where told.
2. Hosts are compared as A-labels (IDNA 2008 after the mapping of UTS 46), without a trailing dot. So letters that look like
   others never match, whatever scripts they mix; a host that does not encode is refused. An IP address is covered by itself
   alone, and has one spelling.
3. Schemes and ports are equal; a port that is not written is the scheme's.
4. A website with a path covers that path and what lies below it. Dot segments are refused in every spelling; encoded separators
   are never covered by a website with a path, since servers differ about what they mean.
5. A subdomain, at any depth, is covered only by a website that says ``*.``; that one does not cover the host behind it, and needs
   two labels there.
6. A website that is no such URL covers nothing. One without a scheme means https; its query and fragment mean nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import idna

from r4_mcp.errors import DestinationRefusedError

MAX_URL: Final = 8_000
"""Characters; the length that RFC 9110, section 4.1, recommends everybody to support."""

MAX_HOST: Final = 253
"""Characters of a host name (RFC 1035, section 2.3.4, in text). Longer ones are not given to the IDNA code at all."""

MAX_CANDIDATES: Final = 20
"""Websites that a refusal lists."""

_PORTS: Final = {"https": 443, "http": 80}
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_MAX_PORT: Final = 65_535
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""A last label that makes the WHATWG host parser read the whole as IPv4, in whatever base."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that satisfies rules 1 and 2, in parts. Made by ``parse``.

    Args:
        scheme: ``https`` or ``http``.
        host: A-labels, or an IP address without brackets.
        port: Written or implied.
        path: As written; begins with a slash.
        query: As written, without its question mark; empty for none.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host header; the port only where it is not the scheme's."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Covered:
    """The proof that a website of an item covers a destination. Made by ``cover``."""

    destination: Destination
    website: str


@dataclass(frozen=True, slots=True)
class _Website:
    place: Destination
    has_subdomains: bool

    def covers(self, destination: Destination) -> bool:
        place = self.place
        if (place.scheme, place.port) != (destination.scheme, destination.port):
            return False
        if self.has_subdomains:
            is_host = not is_address(destination.host) and destination.host.endswith("." + place.host)
        else:
            is_host = destination.host == place.host
        path = place.path.rstrip("/")
        if not is_host or not path:
            return is_host
        # Rule 4.
        is_below = destination.path == path or destination.path.startswith(path + "/")
        return is_below and not any(_separators(segment) for segment in destination.path.split("/"))

    def __str__(self) -> str:
        return f"{self.place.scheme}://{'*.' * self.has_subdomains}{self.place.authority}{self.place.path}"


def parse(url: str, *, loopback_http: bool = False) -> Destination:
    """Parse the URL of a request.

    Args:
        url: What the caller wrote. It is never quoted: it may hold a pasted secret.
        loopback_http: Whether http is told to be right for loopback hosts.

    Raises:
        DestinationRefusedError: Rule 1, 2 or 4.
    """
    if len(url) > MAX_URL:
        raise DestinationRefusedError(f"a URL has at most {MAX_URL} characters")
    found = _URL.fullmatch(url)
    if found is None:
        raise DestinationRefusedError("the URL is not absolute, or has a fragment; it has the form https://host/path?query")
    scheme, authority, path, query = found[1].lower(), found[2], found[3] or "/", found[4] or ""
    if scheme not in _PORTS:
        raise DestinationRefusedError("the URL's scheme is not https")
    if "@" in authority:
        raise DestinationRefusedError("the URL carries user information; credentials go into auth")
    host, port = _host_and_port(authority)
    if scheme == "http" and not (loopback_http and _is_loopback(host)):
        raise DestinationRefusedError("the URL is not https; http is for loopback, where the operator says so")
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise DestinationRefusedError("the URL holds a character that must be percent-encoded, or a broken percent-encoding")
    if any(_is_dot(segment) for segment in path.split("/")):
        raise DestinationRefusedError("the URL's path holds a dot segment")
    return Destination(scheme, host, port or _PORTS[scheme], path, query)


def cover(destination: Destination, item: str, websites: Sequence[str]) -> Covered:
    """Prove that a secret of an item may go to a destination.

    Args:
        destination: Where it would go.
        item: The item's reference, for the refusal's next step.
        websites: Those of the item that are proven, and the operator's for it.

    Raises:
        DestinationRefusedError: None of them covers it; ``candidates`` lists those that could cover something.
    """
    readable = [website for website in map(_website, websites) if website is not None]
    for website in readable:
        if website.covers(destination):
            return Covered(destination, str(website))
    raise DestinationRefusedError(
        "no website of the item covers this URL",
        next_step=f"Use a URL that a candidate covers, or ask a person to run: r4-mcp bind {item} URL",
        candidates=tuple(str(website) for website in readable[:MAX_CANDIDATES]),
    )


def plain_website(text: str) -> str:
    """Return the plain spelling of a website that a person adds.

    Args:
        text: A host or URL, with ``*.`` where subdomains are meant. It is never quoted.

    Raises:
        DestinationRefusedError: Rule 6: it would cover nothing.
    """
    website = _website(text)
    if website is None:
        raise DestinationRefusedError(
            "that is no website that could cover a URL",
            next_step="Write it like https://api.example.com or https://*.example.com/v1.",
        )
    return str(website)


def is_address(host: str) -> bool:
    """Say whether the host of a destination is an IP address."""
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _website(text: str) -> _Website | None:
    url = re.split(r"[?#]", text if "://" in text else f"https://{text}", maxsplit=1)[0]
    scheme, _, rest = url.partition("://")
    has_subdomains = rest.startswith("*.")
    try:
        place = parse(f"{scheme}://{rest.removeprefix('*.')}", loopback_http=True)
    except DestinationRefusedError:
        return None
    if has_subdomains and (is_address(place.host) or "." not in place.host):
        return None
    return _Website(place, has_subdomains)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        inside, closed, rest = authority[1:].partition("]")
        host = _ipv6(inside) if closed else None
        colon, digits = rest[:1], rest[1:]
    else:
        name, colon, digits = authority.partition(":")
        host = _name(name)
    if host is None:
        raise DestinationRefusedError("the URL's host is missing, or is no name or address in its plain spelling")
    if colon not in {"", ":"} or (colon and not (_PORT.fullmatch(digits) and 1 <= int(digits) <= _MAX_PORT)):
        raise DestinationRefusedError(f"the URL's port is not a number from 1 to {_MAX_PORT}")
    return host, int(digits) if digits else None


def _ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    # A zone names an interface of this machine (RFC 6874); no website can mean one.
    return None if address.scope_id else address.compressed


def _name(text: str) -> str | None:
    if len(text) > MAX_HOST + 1:
        return None
    try:
        host = idna.encode(text, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
        if is_address(host):
            # One spelling: neither 127.1 nor 0x7f.0.0.1, nor digits of other scripts that map to these.
            return host if ipaddress.IPv4Address(host).compressed == text.removesuffix(".") else None
    except ValueError:  # of which idna.IDNAError is one
        return None
    return host


def _is_loopback(host: str) -> bool:
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    # RFC 6761, section 6.3. What the name resolves to is screened all the same.
    return host == "localhost" or host.endswith(".localhost")


def _decoded(segment: str) -> str:
    # To the end: a server may decode twice.
    while (once := unquote(segment)) != segment:
        segment = once
    return segment


def _separators(segment: str) -> bool:
    return bool(re.search(r"[/\\]", _decoded(segment)))


def _is_dot(segment: str) -> bool:
    # Some servers cut parameters off before they resolve dots: /api/..;/admin.
    return any(part.partition(";")[0] in {".", ".."} for part in re.split(r"[/\\]", _decoded(segment)))
