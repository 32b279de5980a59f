"""What carries a request of the client: to a service by ``pool``, or to an emulator in this process.

What this file does not do: carry one. It holds what both sides of that border have in common, so that a start which needs no
network loads no HTTP library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request that may be sent more than once; never shown, since it holds the API key.

    Attributes:
        method: As in RFC 9110.
        url: Where it goes.
        headers: All of them.
        content: Its body; None for none.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The beginning of an answer, whose body is still to be read.

    Attributes:
        status: HTTP status.
        headers: By names in lower case; those of one name are joined by commas (RFC 9110, section 5.3).
        chunks: The body as it comes, not uncompressed.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Connections(Protocol):
    """Where requests go."""

    def send(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Send a request; the answer is there, to be read or not, until the context ends.

        Raises:
            UnreachableError: On entering, or while the body is read: there is no connection, or it broke. Says which, and nothing
                of the request.
        """
