"""One HTTP request with secrets in it, to a destination that was proven for each of them.

What this file does not do: choose destinations, follow redirects, retry, keep connections or cookies.

Rules:
1. A value comes with the proof that a website of its item covers the request's destination; without it nothing is sent.
2. The host is resolved once, every address is screened, and a screened address is dialled (``dialing``).
3. Nothing of the environment takes part: no proxy, no ``.netrc``, no key log.
4. A redirect is an answer like any other: its status and masked Location are shown, and nobody goes there.
5. Bytes in, bytes out and time have their caps. The deadline is one for everything, from the resolver to the last byte.
6. The answer is seen through the masker only (``answer``).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Final

import anyio
import httpcore

from r4_mcp.errors import DeadlineExceededError, UnreachableError
from r4_mcp.sinks.addresses import Network
from r4_mcp.sinks.answer import MAX_RECEIVED, Answer, Viewer, Withheld
from r4_mcp.sinks.destination import Destination
from r4_mcp.sinks.dialing import CONNECT_SECONDS, PinnedBackend, Resolve, screened_addresses, system_resolve
from r4_mcp.sinks.masking import Masker
from r4_mcp.sinks.request import Filled, Request, fill
from r4_mcp.sinks.use import Use

DEADLINE_SECONDS: Final = 30.0


class HttpSink:
    """Sends requests that hold secrets.

    Args:
        listed: Networks that are not public, which the operator listed.
        resolve: How names are resolved.
        tls: What certificates are checked with; the public authorities by default.
        seconds: The deadline of a request.
    """

    def __init__(
        self,
        listed: Sequence[Network] = (),
        *,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
        seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._listed = listed
        self._resolve = resolve
        self._tls = tls
        self._seconds = seconds

    async def send(self, request: Request, uses: Mapping[str, Use]) -> Answer:
        """Send a request once and return what may be seen of the answer.

        Args:
            request: The request.
            uses: A value for each of its references, and for no other.

        Raises:
            ValueError: ``uses`` does not fit the request; nothing was sent.
            PlaceholderError: A value does not fit its place; nothing was sent.
            InvalidArgumentError: The request is too large; nothing was sent.
            AddressRefusedError: The host's address may not be dialled; nothing was sent.
            UnreachableError: No connection, no valid certificate, or the connection broke.
            DeadlineExceededError: The deadline passed.
        """
        destination = request.destination
        if set(uses) != request.references or any(use.covered.destination != destination for use in uses.values()):
            message = "each reference of a request needs one value, proven for its destination"
            raise ValueError(message)
        filled = fill(request, {reference: use.secret for reference, use in uses.items()})
        viewer = _viewer(uses)
        try:
            with anyio.fail_after(self._seconds):
                addresses = await screened_addresses(destination, self._listed, self._resolve)
                return await self._exchange(request.method, destination, filled, PinnedBackend(addresses), viewer)
        except TimeoutError:
            raise DeadlineExceededError(f"the request was not answered within {self._seconds:g} seconds") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError) as error:
            # An SSLError as such is a broken record in the middle of an answer.
            # from None: the library's errors hold the connection, and their texts may quote what was sent.
            raise UnreachableError(_problem(error)) from None

    async def _exchange(
        self, method: str, destination: Destination, filled: Filled, backend: PinnedBackend, viewer: Viewer
    ) -> Answer:
        url = httpcore.URL(
            scheme=destination.scheme.encode("ascii"),
            host=destination.host.encode("ascii"),
            port=destination.port,
            target=filled.target,
        )
        if self._tls is None and destination.scheme == "https":
            from r4_mcp.machine.pool import public_authorities  # noqa: PLC0415 - a start without such a request needs no httpx

            self._tls = public_authorities()
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend, max_connections=1) as pool,
            pool.stream(
                method,
                url,
                headers=list(filled.headers),
                content=filled.content or None,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            ) as response,
        ):
            headers = viewer.headers(response.headers)
            if not viewer.shows_bodies:
                return Answer(response.status, headers, Withheld())
            raw = bytearray()
            async for chunk in response.aiter_stream():
                raw += chunk
                if len(raw) > MAX_RECEIVED:
                    break
            is_cut = len(raw) > MAX_RECEIVED
            return Answer(response.status, headers, viewer.body(response.headers, bytes(raw[:MAX_RECEIVED]), is_cut=is_cut))


def _viewer(uses: Mapping[str, Use]) -> Viewer:
    maskable = {reference: use.secret for reference, use in uses.items() if use.is_maskable}
    # reveal: seen by the viewer, which leaves out the headers that hold them.
    return Viewer(Masker(maskable), tuple(use.secret.reveal() for use in uses.values() if not use.is_maskable))


def _problem(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the host's certificate is not valid for its name"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        return "no connection to the host"
    return "the connection to the host broke"
