"""The part of a policy's text that is about using secrets: ``[http_request]``, and the hosts that a rule names.

What this file does not do: read the file, or the rest of its text (``policy_text`` does).

Rules:
1. As in ``policy_text``: unknown keys, wrong types and doubles are errors; messages name keys, never values.
2. A website is written so that it covers something; a host is a whole one, as it would stand in a URL.
3. A network is written as it is: without bits beside its mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final

from r4_mcp.core.record import is_id
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import DestinationRefusedError
from r4_mcp.policy.policy_keys import only_keys, read_list, read_name, wrong
from r4_mcp.policy.use_rules import Network, Opening, Openings, OpenPlace
from r4_mcp.sinks.destination import parse, plain_website

MAX_OPENINGS: Final = 256
MAX_NETWORKS: Final = 64
MAX_HOSTS: Final = 64

_TABLE: Final = "http_request"


def read_openings(table: Mapping[str, object]) -> Openings:
    """Read the table ``[http_request]``.

    Raises:
        ConfigurationError: It is not understood.
    """
    only_keys(table, {"open", "networks", "loopback_http"}, _TABLE)
    entries = read_list(table, "open", MAX_OPENINGS, _TABLE)
    networks = read_list(table, "networks", MAX_NETWORKS, _TABLE)
    loopback = table.get("loopback_http", False)
    if not isinstance(loopback, bool):
        raise wrong(f"{_TABLE}.loopback_http is not true or false")
    return Openings(
        items=tuple(_opening(entry, f"{_TABLE}.open, entry {number}") for number, entry in enumerate(entries, 1)),
        networks=tuple(_network(entry, f"{_TABLE}.networks, entry {number}") for number, entry in enumerate(networks, 1)),
        loopback_http=loopback,
    )


def read_hosts(entry: Mapping[str, object], where: str) -> frozenset[str]:
    """Read the hosts that a rule names; no key means none, which a rule takes for any.

    Raises:
        ConfigurationError: One of them is no host, or the list is empty, too long, or has one twice.
    """
    if "host" not in entry:
        return frozenset()
    value = entry["host"]
    given = value if isinstance(value, list) else [value]
    hosts = [_host(one, f"{where}: host") for one in given[: MAX_HOSTS + 1]]
    if not 1 <= len(hosts) <= MAX_HOSTS or len(set(hosts)) != len(hosts):
        raise wrong(f"{where}: host is an empty list, has a host twice, or more than {MAX_HOSTS}")
    return frozenset(hosts)


def _opening(entry: object, where: str) -> Opening:
    if not isinstance(entry, dict):
        raise wrong(f"{where} is not written as [[{_TABLE}.open]]")
    only_keys(entry, {"vault", "item", "website", "places", "name"}, where)
    vault_id, item_id, website = (entry.get(key, "") for key in ("vault", "item", "website"))
    for key, found in (("vault", vault_id), ("item", item_id)):
        if not isinstance(found, str) or not is_id(found):
            raise wrong(f"{where}: {key} is not an id of 24 lowercase hex characters")
    try:
        plain = plain_website(website if isinstance(website, str) else "")
    except DestinationRefusedError:
        raise wrong(f"{where}: website is none that could cover a URL") from None
    return Opening(VaultId(str(vault_id)), ItemId(str(item_id)), plain, _places(entry, where), read_name(entry, where))


def _places(entry: Mapping[str, object], where: str) -> frozenset[OpenPlace]:
    words = read_list(entry, "places", len(OpenPlace), where)
    if not all(isinstance(word, str) and word in tuple(OpenPlace) for word in words) or len(set(map(str, words))) != len(words):
        raise wrong(f"{where}.places is not a list of {', '.join(OpenPlace)}, each once")
    return frozenset(OpenPlace(str(word)) for word in words)


def _network(entry: object, where: str) -> Network:
    try:
        return ip_network(entry if isinstance(entry, str) else "")
    except ValueError:
        raise wrong(f"{where} is not a network, such as 10.1.2.0/24, without bits beside its mask") from None


def _host(value: object, where: str) -> str:
    try:
        found = parse(f"https://{value if isinstance(value, str) else ''}")
    except DestinationRefusedError:
        raise wrong(f"{where} is not the name or address of a host") from None
    if (found.authority, found.path, found.query) != (found.host, "/", "") and ":" not in found.host:
        raise wrong(f"{where} is not the name or address of a host alone")
    return found.host
