"""The tool ``read_secret``: the only one that ever returns a plaintext."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_REFERENCE
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import RevealedField
from r4_mcp.tools.tool import Arguments, Tool


class ReadSecretArguments(Arguments):
    """The field, and why it is needed."""

    reference: Annotated[
        str,
        Field(
            description="r4://vault/item/field, r4://vault/item with one secret field, or a key like GITHUB_PRODUCTION_TOKEN.",
            min_length=1,
            max_length=MAX_REFERENCE,
        ),
    ]
    reason: Annotated[str | None, Field(description="Why it is needed, for the operator's log; not secret.", max_length=500)] = (
        None
    )


async def _run(gate: Gate, arguments: ReadSecretArguments) -> RevealedField:
    return await gate.read_secret(arguments.reference, arguments.reason)


READ_SECRET = Tool(
    name="read_secret",
    title="Read one secret",
    description=(
        "Decrypt exactly one field and return its plaintext. Use it only when the value is needed now, and do not repeat the "
        "value. A TOTP field gives the current code, never the seed."
    ),
    arguments=ReadSecretArguments,
    result=RevealedField,
    run=_run,
    # It changes nothing, but says false: hosts confirm read-only tools silently, and a reveal should be seen.
    read_only=False,
    idempotent=True,
    reveals=True,
    plaintext_at=frozenset({("value",)}),
)
