"""The gate's side for use without showing: a request that carries secrets which the model never sees.

What this file does not do: send (``sinks.http`` does), compare addresses (``sinks.destination``), or touch the reveal budget.

Rules:
1. A request is for using secrets: one without a placeholder is refused. So this is no way to carry something else out.
2. Every reference is resolved, decided, and proven to belong to the destination, before a value is opened. One that fails fails
   the whole request; of the decisions, the strictest counts for all.
3. A secret of an item may go to the websites that a person signed or bound on this machine, and to those that the policy opens.
   In a query, form or JSON body it may stand only where the policy opens that place.
4. Each use is noted as used before its value is opened.
5. A yes is bound to the whole request, by a digest of it, and to the versions of the items.
6. Texts of a request hold references, never a secret itself: a value that was read a moment ago is not carried out by hand.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from r4_mcp.core.wire import FieldType
from r4_mcp.errors import DeniedError, DestinationRefusedError, InvalidArgumentError, NotConfiguredError, NotReadableError
from r4_mcp.policy import outcomes
from r4_mcp.policy.admission import Doorway
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.rules import Decision
from r4_mcp.policy.use_request import MAX_DRAFT, RequestDraft, http_answer
from r4_mcp.policy.use_rules import OpenPlace, Sink
from r4_mcp.policy.views import display
from r4_mcp.sinks.destination import Covered, cover, parse
from r4_mcp.sinks.http import Use
from r4_mcp.sinks.request import Place, Request
from r4_mcp.vault.locator import FoundField
from r4_mcp.vault.one_time_code import one_time_code
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
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One reference of a request, resolved and decided."""

    text: str
    found: FoundField
    decision: Decision

    @property
    def ids(self) -> tuple[str, str, str]:
        """Ids of vault, item and field."""
        field = self.found.located.field
        return self.found.located.vault.id, field.item.checkpoint.item_id, field.line.id


class Using(Doorway):
    """Uses of secrets that show nothing of them."""

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
        wanted = [await self._resolve(runtime, text, request) for text in sorted(request.references)]
        strictest = max((one.decision for one in wanted), key=lambda decision: decision.verdict.strictness)
        self._call.decision, self._call.ids = strictest, wanted[0].ids
        self._call.further = tuple(one.ids for one in wanted[1:])
        if strictest.verdict is Verdict.DENY:
            raise DeniedError(strictest.reason)
        proofs = {one.text: await self._covered(runtime, one, request) for one in wanted}
        subject = tuple(part for one in wanted for part in one.ids)
        self._admission.enforce(strictest, _question(draft, wanted), subject, _mark(draft, wanted))
        await self._note(wanted, request)
        uses = {one.text: await self._open(runtime, one, proofs[one.text]) for one in wanted}
        return http_answer(await self._parts.http(openings.networks).send(request, uses))

    async def _resolve(self, runtime: VaultRuntime, text: str, request: Request) -> _Wanted:
        found = await runtime.locator.field(text)
        vault, field = found.located.vault.summary.checkpoint, found.located.field
        if field.line.type is FieldType.FILE:
            raise NotReadableError("a field is of type FILE: it refers to an attachment, and attachments can't be used here")
        target = Target(
            vault.vault_id,
            vault.classification,
            field.line.type,
            item_id=field.item.checkpoint.item_id,
            field_id=field.line.id,
            sink=Sink.HTTP_REQUEST,
            host=request.destination.host,
        )
        return _Wanted(text, found, self._admission.decide(Action.USE, target))

    async def _covered(self, runtime: VaultRuntime, one: _Wanted, request: Request) -> Covered:
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

    async def _note(self, wanted: Sequence[_Wanted], request: Request) -> None:
        if self._parts.oversight is None:
            raise NotConfiguredError("uses can't be noted, because nothing is configured")
        for one in wanted:
            await self._parts.oversight.used(one.ids, Sink.HTTP_REQUEST.value)
            _log.info("used vault=%s item=%s field=%s host=%s", *one.ids, request.destination.authority)

    async def _open(self, runtime: VaultRuntime, one: _Wanted, proof: Covered) -> Use:
        value = await runtime.opener.open_field(one.found.located)
        if one.found.located.field.line.type is not FieldType.TOTP:
            return Use(value, proof)
        code = one_time_code(value, self._parts.clock(), self._parts.known)
        return Use(code.code, proof, is_one_time=True)


def _question(draft: RequestDraft, wanted: Sequence[_Wanted]) -> str:
    named = ", ".join(display(one.found.reference) for one in wanted)
    # The whole of it: nobody says yes to what is cut off.
    return f"Use {named}, without showing the model, in this request? {display(draft.whole(), _NEVER_CUT)}"


def _mark(draft: RequestDraft, wanted: Sequence[_Wanted]) -> str:
    versions = [one.found.located.field.item.checkpoint.version for one in wanted]
    return hashlib.sha256(f"{draft.whole()}\n{versions}".encode("utf-8", "surrogatepass")).hexdigest()
