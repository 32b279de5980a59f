"""The gate's side for use without showing: a request that carries secrets which the model never sees.

What this file does not do: send (``sinks.http`` does), compare addresses (``sinks.destination``), or touch the reveal budget.

Rules:
1. A request is for using secrets: one without a placeholder is refused. So this is no way to carry something else out.
2. Every reference is proven to belong to the destination before a value is opened. One that fails fails the whole request.
3. A secret of an item may go to the websites that a person signed or bound on this machine, and to those that the policy opens.
   In a query, form or JSON body it may stand only where the policy opens that place.
4. Texts of a request hold references, never a secret itself: a value that was read a moment ago is not carried out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from r4_mcp.errors import DestinationRefusedError, InvalidArgumentError
from r4_mcp.policy import outcomes
from r4_mcp.policy.invisible import unmistakable
from r4_mcp.policy.model import Action
from r4_mcp.policy.use_request import MAX_DRAFT, RequestDraft, http_answer
from r4_mcp.policy.use_rules import OpenPlace, Sink
from r4_mcp.policy.uses import Uses, Wanted
from r4_mcp.policy.views import display
from r4_mcp.sinks.destination import Covered, cover, parse
from r4_mcp.sinks.request import Place, Request
from r4_mcp.sinks.use import Use
from r4_mcp.vault.references import write_reference
from r4_mcp.vault.runtime import VaultRuntime
from r4_mcp.vault.websites import human_websites

MAX_REFERENCES: Final = 16
"""References of one request."""

_NEVER_CUT: Final = 10 * MAX_DRAFT
"""A limit for ``display`` that no draft reaches, even if each of its characters has to be escaped."""
_OPEN_PLACES: Final[Mapping[Place, OpenPlace]] = {
    Place.QUERY: OpenPlace.QUERY,
    Place.FORM: OpenPlace.FORM,
    Place.JSON: OpenPlace.JSON,
}


class HttpUses(Uses):
    """Requests with secrets."""

    async def http_request(self, draft: RequestDraft) -> outcomes.HttpAnswer:
        """Send one request whose placeholders are filled with secrets.

        Raises:
            InvalidArgumentError: The request is not one that can be sent, or has no placeholder.
            PlaceholderError: A placeholder is malformed, stands where none may, or its value does not fit.
            DestinationRefusedError: The URL can't be compared, or an item has no website that covers it, or not for that place.
            SecretInTextError: A text of the request is, or looks like, a secret.
            DeniedError: The rules deny a use.
            ApprovalRequiredError: A person must say yes to exactly this request.
            AddressRefusedError: The host's address may not be dialled.
            R4Error: Not found, ambiguous, not verified, not readable, not configured, unreachable, or late.
        """
        self._admission.refuse_where_closed(Action.USE)
        openings = self._parts.policy().openings
        request = draft.composed(parse(draft.url, loopback_http=openings.loopback_http))
        if not request.references:
            raise InvalidArgumentError("the request has no {{r4://vault/item/field}}, so it needs no vault; nothing was sent")
        if len(request.references) > MAX_REFERENCES:
            raise InvalidArgumentError(f"the request has more than {MAX_REFERENCES} references")
        await self._admission.screen(draft.texts())
        runtime = await self._admission.ready(Action.USE)
        wanted = await self._want(runtime, request.references, Sink.HTTP_REQUEST, request.destination.host)
        proofs = {one.text: await self._covered(runtime, one, request) for one in wanted}
        # The whole of it: nobody says yes to what is cut off.
        about = f"in this request? {unmistakable(display(draft.whole(), _NEVER_CUT))}"
        self._confirm(wanted, about, draft.whole())
        await self._note(wanted, Sink.HTTP_REQUEST, request.destination.authority)
        uses = {one.text: Use(await self._open(runtime, one), proofs[one.text], is_one_time=one.is_one_time) for one in wanted}
        return http_answer(await self._parts.http(openings.networks).send(request, uses))

    async def _covered(self, runtime: VaultRuntime, one: Wanted, request: Request) -> Covered:
        """Prove that a value may go where the request goes, and stand where it stands there (rule 3)."""
        vault_id, item_id = one.found.located.vault.id, one.found.located.field.item.checkpoint.item_id
        openings, item = self._parts.policy().openings, write_reference(vault_id, item_id)
        bound: Sequence[str] = ()
        if self._parts.bindings is not None:
            bound = await anyio.to_thread.run_sync(self._parts.bindings.websites, vault_id, item_id)
        signed = await human_websites(runtime.store, vault_id, item_id)
        proof = cover(request.destination, item, (*signed, *bound, *openings.websites(vault_id, item_id)))
        places = {_OPEN_PLACES[place] for place, text in request.uses if text == one.text and place in _OPEN_PLACES}
        for place in sorted(places):
            try:
                cover(request.destination, item, openings.websites(vault_id, item_id, place))
            except DestinationRefusedError as error:
                raise DestinationRefusedError(
                    f"the operator's policy does not open {place.value} values of item {item_id} for this URL",
                    next_step=f"Put it into headers or auth, or ask the operator to open {place.value} in [[http_request.open]].",
                    candidates=error.candidates,
                ) from None
        return proof
