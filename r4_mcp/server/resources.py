"""Resources: the list of vaults, a vault's items and an item's make-up, as the same JSON that the tools give.

What this file does not do: show a value, or anything that a tool would not show. A field is no resource.

Rules:
1. A URI is ``r4-index://vaults`` or a reference of one or two parts, in our own grammar; no URL library normalises it.
2. Reads and lists are logged and looked through as tool calls are, and denied where listing is denied. They cost no reveal.
3. A resource is verified: a listing that came without a checkpoint is refused here, even where ``list_items`` shows it.
4. A long listing is its first page; its ``next_cursor`` is one of the tool that gives the same listing.
5. Nothing is to be cached by a client: what is in memory here is as old as it may be, and each read is to be logged.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import mcp_types as types

from r4_mcp.errors import CheckpointMissingError, NotConfiguredError, NotFoundError, ReferenceSyntaxError
from r4_mcp.policy.browsing import MAX_ITEMS
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.shapes import has_secret_shape
from r4_mcp.policy.views import VaultLine
from r4_mcp.server.approval import Context
from r4_mcp.server.dispatch import Dispatch, compact
from r4_mcp.server.protocol import answered, answered_about_resource, is_uri, require_first_page
from r4_mcp.tools.describe_item import DESCRIBE_ITEM
from r4_mcp.tools.list_items import LIST_ITEMS
from r4_mcp.tools.list_vaults import LIST_VAULTS
from r4_mcp.tools.read_secret import READ_SECRET

INDEX: Final = "r4-index://vaults"
VAULT_TEMPLATE: Final = "r4://{vault}"
ITEM_TEMPLATE: Final = "r4://{vault}/{item}"

_SCHEME: Final = "r4://"
_JSON: Final = "application/json"
_ITEM_DEPTH: Final = 1
_FIELD_DEPTH: Final = 2
_INDEX_RESOURCE: Final = types.Resource(
    uri=INDEX, name="vaults", title="Vaults", description="The vaults that this agent can see. Never values.", mime_type=_JSON
)
_TEMPLATES: Final = types.ListResourceTemplatesResult(
    resource_templates=[
        types.ResourceTemplate(
            uri_template=VAULT_TEMPLATE,
            name="vault",
            title="Items of a vault",
            description="Names, types, websites and references of a vault's items, and who signed them. Never values.",
            mime_type=_JSON,
        ),
        types.ResourceTemplate(
            uri_template=ITEM_TEMPLATE,
            name="item",
            title="Fields of an item",
            description="Names, types and references of an item's fields, and who signed them. Never values.",
            mime_type=_JSON,
        ),
    ]
)


class Resources:
    """Lists and reads resources.

    Args:
        dispatch: Runs what is asked, guarded and logged.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def list_resources(self, _: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """List the index, then the visible vaults, page by page.

        Raises:
            MCPError: As ``list_vaults`` refuses.
        """
        cursor = None if params is None else params.cursor
        outcome = await self._dispatch.ask("resource_list", partial(_page, cursor))
        return types.ListResourcesResult.model_validate(answered(outcome))

    async def list_templates(self, _: Context, params: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        """List the templates: the same two, always.

        Raises:
            MCPError: A cursor.
        """
        require_first_page(params)
        return _TEMPLATES

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Read one resource.

        Raises:
            MCPError: No resource, or as the tool of the same listing refuses.
        """
        outcome = await self._dispatch.ask("resource_read", partial(self._read, params.uri))
        payload = answered_about_resource(outcome, ctx, partial(self.repeatable, params.uri))
        content = types.TextResourceContents(uri=payload["uri"], mime_type=_JSON, text=compact(payload["content"]))
        return types.ReadResourceResult(contents=[content])

    def repeatable(self, uri: str) -> str | None:
        """Return a URI that was asked for, where an error may name it: not where it holds, or looks like, a secret."""
        return uri if is_uri(uri) and not has_secret_shape(uri) and self._dispatch.may_leave({"uri": uri}) else None

    async def _read(self, uri: str, gate: Gate) -> dict[str, Any]:
        # The URI leaves again, beside the content: it is looked through as well.
        return {"uri": uri, "content": await self._content(uri, gate)}

    async def _content(self, uri: str, gate: Gate) -> dict[str, Any]:
        reference = self.reference_of(uri)
        if reference is None:
            return LIST_VAULTS.encode(await gate.list_vaults(None, None))
        if _depth(reference) >= _ITEM_DEPTH:
            return DESCRIBE_ITEM.encode(await gate.describe_item(reference))
        listed = await gate.list_items(reference, None, MAX_ITEMS)
        if not listed.verified:
            raise CheckpointMissingError(
                "the vault came without a signed checkpoint, and resources are verified",
                next_step="The tool list_items shows it, marked as not verified.",
            )
        return LIST_ITEMS.encode(listed)

    def reference_of(self, uri: str) -> str | None:
        """Return the reference that a URI of ours is; None for the index.

        Raises:
            NotFoundError: Not a URI of ours.
            ReferenceSyntaxError: A field's reference: values are read, never listed.
        """
        if uri == INDEX:
            return None
        if not uri.startswith(_SCHEME):
            raise NotFoundError(
                "no resource has that URI", next_step=f"List the resources, or fill {VAULT_TEMPLATE} or {ITEM_TEMPLATE}."
            )
        if _depth(uri) == _FIELD_DEPTH:
            reads = READ_SECRET in self._dispatch.tools
            raise ReferenceSyntaxError(
                "a field is no resource: resources never hold values",
                next_step=(
                    "Call read_secret with this reference, if the value is needed now."
                    if reads
                    else f"Read the item's own resource, {ITEM_TEMPLATE}; this server shows no values."
                ),
            )
        return uri


def _depth(reference: str) -> int:
    return reference.count("/", len(_SCHEME))


async def _page(cursor: str | None, gate: Gate) -> dict[str, Any]:
    try:
        vaults = await gate.list_vaults(None, cursor)
    except NotConfiguredError:
        if cursor is not None:
            raise
        # Hosts list resources as they start. Reading the index says what is missing, as the tools do.
        return {"resources": [_dumped(_INDEX_RESOURCE)]}
    first = [] if cursor is not None else [_INDEX_RESOURCE]
    return {
        "resources": [_dumped(resource) for resource in (*first, *map(_vault_resource, vaults.vaults))],
        "nextCursor": vaults.next_cursor,
    }


def _vault_resource(line: VaultLine) -> types.Resource:
    if not line.verified:
        # Rule 3: its name is nobody's word.
        told = "This vault does not verify on this machine; list_vaults says why."
        return types.Resource(uri=f"{_SCHEME}{line.id}", name=line.id, description=told, mime_type=_JSON)
    classification = "" if line.classification is None else f", {line.classification}"
    told = f"A vault of {line.item_count} item(s){classification}."
    return types.Resource(uri=line.reference, name=line.name, description=told, mime_type=_JSON)


def _dumped(resource: types.Resource) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude_none=True)
