"""Changes: telling a client that a list or a resource is not what it was.

What this file does not do: ask the service. After each call that may have refreshed what is in memory, it looks there; a change
that no call brought to light is told by nobody.

Rules:
1. The first look only takes note: what a client has not been shown has not changed for it.
2. Handshake era: lists that changed are told to everybody, resources to who subscribed. From 2026-07-28 on both go to open
   ``subscriptions/listen`` streams, and only what a stream asked for.
3. Only URIs of ours are watched, and each is looked through before it is repeated in a notification.
4. Prompts never change while a process lives, and no capability says so.
5. One object serves one client, as stdio has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import event_to_notification

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.marks import Mark
from r4_mcp.server.approval import STATELESS_ERA, Context
from r4_mcp.server.dispatch import Dispatch, Outcome
from r4_mcp.server.protocol import answered_about_resource
from r4_mcp.server.resources import Resources

MAX_WATCHED: Final = 256
"""Resources that one client may watch."""

MAX_STREAMS: Final = 16
TELL_SECONDS: Final = 5.0
"""How long a client that does not read is waited for."""

REFRESHING: Final = frozenset({"tools/call", "resources/list", "resources/read", "completion/complete"})
"""Requests after which memory may hold something else."""


class Changes:
    """What one client watches, and what it was last told.

    Args:
        dispatch: Its gate has the memory; its guard looks at what leaves.
        resources: Knows which URIs are ours.
    """

    def __init__(self, dispatch: Dispatch, resources: Resources) -> None:
        self._dispatch = dispatch
        self._resources = resources
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus, max_subscriptions=MAX_STREAMS)
        self._tools = dispatch.tools
        self._generation: int | None = None
        self._vaults: Mark | None = None
        self._subscribed: set[str] = set()
        self._watchers: Counter[str] = Counter()
        self._marks: dict[str, Mark | None] = {}

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Look after each request that may have refreshed memory: a middleware of the server."""
        if ctx.request_id is None or ctx.method not in REFRESHING:
            return await call_next(ctx)
        try:
            result = await call_next(ctx)
        except MCPError:
            await self._look(ctx)
            raise
        await self._look(ctx)
        return result

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Watch a resource for a handshake-era client.

        Raises:
            MCPError: Not a resource, listing is denied, or too many are watched.
        """
        answered_about_resource(await self._admitted(params.uri), ctx, partial(self._resources.repeatable, params.uri))
        if params.uri not in self._subscribed:
            self._subscribed.add(params.uri)
            self._watch(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, _: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Stop watching; of what was not watched, there is nothing to stop."""
        if params.uri in self._subscribed:
            self._subscribed.remove(params.uri)
            self._unwatch(params.uri)
        return types.EmptyResult()

    async def listen(self, ctx: Context, params: types.SubscriptionsListenRequestParams) -> types.SubscriptionsListenResult:
        """Serve one stream of changes; it acknowledges what can ever be told of what was asked for (rules 3 and 4)."""
        asked = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))[:MAX_WATCHED]
        watched: list[str] = []
        try:
            for uri in asked:
                if not (await self._admitted(uri)).is_error:
                    self._watch(uri)
                    watched.append(uri)
            honoured = {"resource_subscriptions": watched, "prompts_list_changed": None}
            kept = params.notifications.model_copy(update=honoured)
            return await self._streams(ctx, params.model_copy(update={"notifications": kept}))
        finally:
            for uri in watched:
                self._unwatch(uri)

    async def _admitted(self, uri: str) -> Outcome:
        return await self._dispatch.ask("resource_subscribe", partial(self._admit, uri))

    async def _admit(self, uri: str, gate: Gate) -> dict[str, Any]:
        gate.refuse_unwatchable(self._resources.reference_of(uri))
        if len(self._marks) >= MAX_WATCHED and uri not in self._marks:
            raise InvalidArgumentError(
                f"at most {MAX_WATCHED} resources can be watched at once", next_step="Stop watching another one first."
            )
        return {"uri": uri}

    def _watch(self, uri: str) -> None:
        self._watchers[uri] += 1
        if uri not in self._marks:
            gate = self._dispatch.gate
            self._marks[uri] = None if gate.generation is None else gate.mark(self._resources.reference_of(uri))

    def _unwatch(self, uri: str) -> None:
        self._watchers[uri] -= 1
        if not self._watchers[uri]:
            del self._watchers[uri], self._marks[uri]

    async def _look(self, ctx: Context) -> None:
        events = list(self._changed())
        # What was noted as told is told, even where the call was taken back meanwhile.
        with anyio.move_on_after(TELL_SECONDS, shield=True):
            for event in events:
                await self._tell(ctx, event)

    def _changed(self) -> Iterator[ServerEvent]:
        tools = self._dispatch.tools
        if tools != self._tools:
            self._tools = tools
            yield ToolsListChanged()
        gate = self._dispatch.gate
        if gate.generation == self._generation:
            return
        self._generation = gate.generation
        vaults, before = gate.mark(None), self._vaults
        self._vaults = vaults
        if before is not None and vaults != before:
            yield ResourcesListChanged()
        for uri, mark in list(self._marks.items()):
            now = self._marks[uri] = gate.mark(self._resources.reference_of(uri))
            if mark is not None and now != mark:
                yield ResourceUpdated(uri)

    async def _tell(self, ctx: Context, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and not self._dispatch.may_leave({"uri": event.uri}):
            return
        if ctx.protocol_version >= STATELESS_ERA:
            await self._bus.publish(event)
        elif not isinstance(event, ResourceUpdated) or event.uri in self._subscribed:
            await ctx.session.send_notification(event_to_notification(event, {}))
