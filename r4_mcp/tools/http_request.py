"""The tool ``http_request``: secrets are used in it, and none is shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import HttpAnswer
from r4_mcp.policy.use_request import MAX_DRAFT, RequestDraft
from r4_mcp.tools.tool import Arguments, Tool


class HttpMethod(StrEnum):
    """The methods of a request."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


Text = Annotated[str, Field(max_length=MAX_DRAFT)]
# The names are the service's own; the gate bounds the whole.
Texts = Annotated[dict[str, str] | None, WithJsonSchema({"type": ["object", "null"]})]


class HttpAuth(Arguments):
    """Credentials of one scheme."""

    bearer: Text | None = None
    username: Text | None = None
    password: Text | None = None


class HttpRequestArguments(Arguments):
    """The request."""

    method: Annotated[HttpMethod, Field(strict=False)]
    url: Annotated[str, Field(max_length=8000)]
    headers: Texts = None
    query: Texts = None
    # Spelled out in words: the schema of three texts would be a fifth of this tool's listing.
    auth: Annotated[
        HttpAuth | None, WithJsonSchema({"type": ["object", "null"], "description": "bearer; or username and password"})
    ] = None
    # Any JSON: its shape is the service's.
    json_body: Annotated[
        dict[str, Any] | list[Any] | None, Field(alias="json"), WithJsonSchema({"type": ["object", "array", "null"]})
    ] = None
    form: Texts = None
    text: Text | None = None


async def _run(gate: Gate, arguments: HttpRequestArguments) -> HttpAnswer:
    auth = arguments.auth or HttpAuth()
    return await gate.http_request(
        RequestDraft(
            method=arguments.method.value,
            url=arguments.url,
            headers=arguments.headers or {},
            query=arguments.query or {},
            bearer=auth.bearer,
            username=auth.username,
            password=auth.password,
            json=arguments.json_body,
            form=arguments.form,
            text=arguments.text,
        )
    )


HTTP_REQUEST = Tool(
    name="http_request",
    title="HTTP request with secrets",
    description=(
        "Call an item's website with secrets that you never see: write {{r4://vault/item/field}} in `headers` or `auth`; "
        "elsewhere only where the policy opens it."
    ),
    arguments=HttpRequestArguments,
    result=HttpAnswer,
    run=_run,
    read_only=False,
    destructive=True,
)
