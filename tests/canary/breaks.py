"""A service that breaks: refusals that echo plaintexts, and silence.

What this file does not do: lie; the emulator's faults do.

Rules:
1. A refusal's body repeats an echo in every place that an error body has, and in some that it has not.
2. It is smaller than what a client reads of an error body: a larger one would not be looked into at all.
3. Intercepts run in the thread of the loopback server, so what is told from one side to the other is told thread-safely.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import anyio
from starlette.responses import JSONResponse, Response

from r4_mcp.core.encoding import JsonIn
from r4_mcp.machine.contract import KIB
from tests.switchboard import Exchange


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status, and the code that the body names; None for a body that names the echo itself as its code."""

    status: int
    code: str | None

    def __str__(self) -> str:
        return f"{self.status} {self.code or 'with the echo as its code'}"


REFUSALS: Final = tuple(
    Refusal(status, code)
    for status, codes in {
        400: (None, "vault_creation_failed", "vault_item_creation_failed", "invalid_request"),
        401: (None, "unauthorized", "missing_api_key", "invalid_api_key"),
        403: (None, "agent_scope_required", "checkpoint_signer_required", "permission_denied"),
        404: (None, "vault_not_found", "vault_item_not_found", "project_not_found", "encryption_key_not_found"),
        409: (
            None,
            "checkpoint_version_conflict",
            "key_rotation_incomplete",
            "key_already_rotated",
            "encryption_key_required",
        ),
        413: (None, "payload_too_large"),
        429: (None,),
        500: (None, "internal_error"),
        502: (None,),
        503: (None,),
    }.items()
    for code in codes
)
"""Every status of the contract, with every code that comes with it."""


class Moment(Enum):
    """Which requests of a call meet a break."""

    FIRST = "from the first request on"
    LATE = "after some requests"
    WRITES = "when it writes"


def body_of(refusal: Refusal, echo: str) -> JsonIn:
    """Return an error body that repeats a text wherever it can (rule 1)."""
    error = {"code": refusal.code or echo, "message": echo, "requiredPermission": echo, "next_step": echo, echo: echo}
    return {"error": error, "message": echo, "value": echo, "instructions": [echo], echo: {echo: echo}}


@dataclass
class Break:
    """What happens to the requests of one call.

    Attributes:
        moment: Which of them.
        after: For ``LATE``, how many are answered honestly first.
        refusal: What they are refused with; None for no answer until ``over``.
        echo: What refusals repeat.
        noticed: Called at each request that meets it.
        over: Set when the call is over: what was not answered is answered honestly then.
    """

    moment: Moment
    after: int
    refusal: Refusal | None
    echo: str
    noticed: Callable[[], None] | None = None
    over: threading.Event = field(default_factory=threading.Event)
    met: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)

    async def intercept(self, exchange: Exchange) -> Response | None:
        """Answer one request, or let the service do it."""
        self._seen += 1
        spared = exchange.method == "GET" if self.moment is Moment.WRITES else self._seen <= self.after
        if spared or self.over.is_set():
            return None
        self.met += 1
        if self.noticed is not None:
            self.noticed()
        if self.refusal is not None:
            body = JSONResponse(body_of(self.refusal, self.echo), self.refusal.status)
            assert len(bytes(body.body)) < 16 * KIB  # Rule 2.
            return body
        await anyio.to_thread.run_sync(self.over.wait)
        return None
