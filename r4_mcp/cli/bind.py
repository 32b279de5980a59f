"""``r4-mcp bind``: a person says where the secrets of an item may go, beside the websites that a person signed.

What this file does not do: change the item. A binding holds on this machine, for this agent, and no tool reaches it.

Rules:
1. The item is found through its verified vault, and bound by its ids.
2. A binding is added only after a person's yes at a terminal, or with ``--yes``; the question names what is in force already.
3. One that is removed needs no vault where ids name the item, so that those of archived items can go.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import anyio

from r4_mcp.cli.noting import noted
from r4_mcp.cli.prompts import require_yes
from r4_mcp.cli.wiring import EMBEDDED_URL, Service, local_settings, open_bindings, open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.encoding import JsonIn
from r4_mcp.core.record import is_id
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.policy.bindings import Binding, Bindings
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets
from r4_mcp.sinks.destination import plain_website
from r4_mcp.vault.locator import FoundItem
from r4_mcp.vault.references import parse_reference, write_reference
from r4_mcp.vault.websites import human_websites


async def bind(settings: Settings, known: KnownSecrets, reference: str, url: str, *, local: bool, yes: bool) -> list[str]:
    """Add a website to an item.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: ``r4://vault/item``.
        url: A host or URL, with ``*.`` where subdomains are meant.
        local: Of the embedded vault.
        yes: Don't ask (rule 2).

    Returns:
        Lines for a person.

    Raises:
        DestinationRefusedError: The URL could cover nothing.
        AlreadyExistsError: It is bound already.
        R4Error: Bad reference, nothing configured, a no, not found, not verified, refused, unreachable.
    """
    website = plain_website(url)
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        async with noted(service, "cli_bind") as call:
            found = await _find(service, settings, reference)
            item = found.opened.item.checkpoint
            call.ids = (item.vault_id, item.item_id)
            bindings = open_bindings(settings, service.runtime.owner)
            before = await human_websites(service.runtime.store, item.vault_id, item.item_id)
            in_force = ", ".join(display(one) for one in (*before, *bindings.websites(item.vault_id, item.item_id)))
            require_yes(
                f"Let secrets of {found.reference} go to {website}? In force already: {in_force or 'nothing'}.",
                yes=yes,
                what="binding a website",
                undone="nothing was bound",
            )
            await anyio.to_thread.run_sync(bindings.add, item.vault_id, item.item_id, website)
    return [f"bound {write_reference(item.vault_id, item.item_id)} to {website}"]


async def unbind(settings: Settings, known: KnownSecrets, reference: str, url: str, *, local: bool) -> list[str]:
    """Take a bound website from an item.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        reference: ``r4://vault/item``.
        url: As it was bound.
        local: Of the embedded vault.

    Returns:
        Lines for a person.

    Raises:
        NotFoundError: It is not bound.
        R4Error: As ``bind``.
    """
    website, parts = plain_website(url), parse_reference(reference)
    if parts.item is not None and parts.field is None and is_id(parts.vault) and is_id(parts.item):
        place = (VaultId(parts.vault), ItemId(parts.item))
    else:
        opened = open_local(settings, known) if local else open_service(settings, known)
        async with opened as service:
            item = (await _find(service, settings, reference)).opened.item.checkpoint
            place = (item.vault_id, item.item_id)
    bindings_of(settings, known, local=local).remove(*place, website)
    return [f"{website} is no longer bound to {write_reference(*place)}"]


def bindings_of(settings: Settings, known: KnownSecrets, *, local: bool) -> Bindings:
    """Return the bindings of the configured agent; asks the service nothing.

    Raises:
        ConfigurationError: No API key is configured, so there is no agent to remember for.
    """
    base_url = settings.base_url
    if local:
        settings, _ = local_settings(settings, known)
        base_url = EMBEDDED_URL
    if settings.access_key is None:
        raise settings.problems[0]
    return open_bindings(settings, (base_url, settings.access_key))


def listing(bindings: Bindings) -> Iterator[str]:
    """Yield the bindings as lines for a person."""
    all_of_them = bindings.all()
    if not all_of_them:
        yield "Nothing is bound: secrets go to the websites that a person signed, and to those that the policy opens."
    for one in all_of_them:
        yield f"{write_reference(one.vault_id, one.item_id)}  {one.website}  since {_when(one)}"


def payload(bindings: Bindings) -> dict[str, JsonIn]:
    """Return the bindings for programs."""
    return {
        "bindings": [
            {"reference": write_reference(one.vault_id, one.item_id), "website": one.website, "since": _when(one)}
            for one in bindings.all()
        ]
    }


async def _find(service: Service, settings: Settings, reference: str) -> FoundItem:
    if service.runtime is None:
        raise service.missing[0]
    await service.runtime.recovery.settle(writes=not settings.switches.read_only, needs_key=False)
    return await service.runtime.locator.item(reference)


def _when(one: Binding) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at))
