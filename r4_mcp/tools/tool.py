"""What a tool is: arguments, text, view, hints, and a few lines of body.

What this file does not do: run anything, or know a vault. A tool gets the gate and returns a view.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, TypeAdapter, ValidationInfo, WithJsonSchema

from r4_mcp.policy.gate import Gate
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

KNOWN: Final = "known"
"""Key of the ``KnownSecrets`` in the validation context."""

JsonSchema = dict[str, Any]


class Arguments(BaseModel):
    """Base of every tool's arguments: strict, closed, and silent about what it refused."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def _mint(value: object, info: ValidationInfo) -> Secret[str]:
    known = (info.context or {})[KNOWN]
    if not isinstance(value, str) or not isinstance(known, KnownSecrets):
        raise ValueError("a string")  # noqa: TRY004 - pydantic collects ValueError; TypeError would pass through as a crash
    # Unarmed until its field's type is known: a user name may stand in listings, a password may not.
    return known.text(value, SecretKind.FIELD, armed=False)


SecretText = Annotated[
    Secret[str],
    PlainValidator(_mint),
    WithJsonSchema({"type": "string", "maxLength": 262144, "description": "Plaintext, at most 256 KiB; never echoed."}),
]
"""A value that is a ``Secret`` from the door on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Generic[ArgumentsT]):
    """One tool.

    Attributes:
        name: What the model calls.
        title: What a person sees.
        description: Interface: when to use it, and what it never returns.
        arguments: Its arguments.
        result: Its view.
        run: Its body.
        read_only: Hint that it changes nothing. False for the read tool too, so that no host confirms it silently.
        destructive: Hint that it removes something.
        idempotent: Hint that a second call changes nothing more.
        writes: Hidden under ``R4_READ_ONLY``.
        reveals: Hidden under ``R4_NO_REVEAL``.
        requests: Hidden unless the policy lists raw requests.
        runs: Hidden unless the policy lists commands.
        files: Hidden unless the policy lists folders for files.
        plaintext_at: Locations of the result that may hold a plaintext.
    """

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    result: type[object]
    run: Callable[[Gate, ArgumentsT], Awaitable[object]]
    read_only: bool
    destructive: bool = False
    idempotent: bool = False
    writes: bool = False
    reveals: bool = False
    requests: bool = False
    runs: bool = False
    files: bool = False
    plaintext_at: frozenset[tuple[str | int, ...]] = frozenset()

    def input_schema(self) -> JsonSchema:
        """Return the JSON Schema of the arguments, self-contained."""
        return _plain(self.arguments.model_json_schema())

    def output_schema(self) -> JsonSchema:
        """Return the JSON Schema of the result, self-contained.

        Every member of a view is always there. To say so by ``required`` for each object would cost a tenth of the listing.
        """
        return _plain(_adapter(self.result).json_schema(mode="serialization"), frozenset({"title", "required"}))

    def encode(self, view: object) -> JsonSchema:
        """Return a view as JSON; only the members that its type names."""
        encoded: JsonSchema = _adapter(self.result).dump_python(view, mode="json")
        return encoded


_ADAPTERS: Final[dict[type[object], TypeAdapter[Any]]] = {}


def _adapter(result: type[object]) -> TypeAdapter[Any]:
    # Building one takes milliseconds, and each call needs its own tool's.
    found = _ADAPTERS.get(result)
    if found is None:
        found = _ADAPTERS[result] = TypeAdapter(result)
    return found


def _plain(schema: JsonSchema, dropped: frozenset[str] = frozenset({"title"})) -> JsonSchema:
    """Inline ``$ref`` and drop generated titles and class docstrings: some hosts follow neither, and a model reads each byte.

    For the same reason an object that stands in several places is spelled out in the first.
    """
    definitions, spelled = schema.pop("$defs", {}), set[str]()

    def walk(node: Any, *, is_properties: bool = False) -> Any:  # noqa: ANN401 - a JSON Schema is any JSON
        if isinstance(node, list):
            return [walk(member) for member in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in spelled and "properties" in definitions[name]:
                return {"type": "object", "description": "As above."}
            spelled.add(name)
            # A definition's own description is its class docstring; what stands beside the reference was written for the model.
            return {**_without_docstring(walk(definitions[name])), **_rest(node, walk)}
        walked = {
            key: walk(member, is_properties=key == "properties" and not is_properties)
            for key, member in node.items()
            if is_properties or not (key in dropped or (key == "default" and member is None))
        }
        return walked if is_properties else _nullable(walked)

    return _without_docstring(walk(schema))


def _without_docstring(schema: JsonSchema) -> JsonSchema:
    return {key: member for key, member in schema.items() if key != "description"}


def _nullable(node: JsonSchema) -> JsonSchema:
    """Write ``anyOf: [X, null]`` as ``type: [x, "null"]`` where X is a plain type: the same meaning in half the bytes."""
    options = node.get("anyOf", [])
    if len(options) == 2 and options[1] == {"type": "null"} and isinstance(options[0].get("type"), str):  # noqa: PLR2004
        if "enum" in options[0]:
            options[0]["enum"] = [*options[0]["enum"], None]
        merged = {**options[0], **{key: member for key, member in node.items() if key != "anyOf"}}
        return {**merged, "type": [options[0]["type"], "null"]}
    return node


def _rest(node: JsonSchema, walk: Callable[[Any], Any]) -> JsonSchema:
    return {key: walk(member) for key, member in node.items() if key != "$ref"}
