"""The tool ``update_item``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.drafts import MAX_FIELDS, MAX_NAME, MAX_REFERENCE, ChangedField, FieldType, Generate
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import UpdatedItem
from r4_mcp.tools.create_item import CREATABLE, GenerateArguments
from r4_mcp.tools.tool import Arguments, SecretText, Tool


class ChangeArguments(Arguments):
    """A change of one field."""

    name: Annotated[str, Field(description="Name of the field.", min_length=1, max_length=MAX_NAME)]
    value: SecretText | None = None
    generate: Annotated[GenerateArguments | None, Field(description="Make a random value that you never see.")] = None
    add: Annotated[
        FieldType | None,
        Field(description="Type of a field to add.", strict=False),
        WithJsonSchema({"type": ["string", "null"], "enum": [*CREATABLE, None]}),
    ] = None
    remove: bool = False


class UpdateItemArguments(Arguments):
    """The item and its changes."""

    reference: Annotated[str, Field(description="r4://vault/item", min_length=1, max_length=MAX_REFERENCE)]
    name: Annotated[str | None, Field(description="New name; not secret.", max_length=MAX_NAME)] = None
    fields: Annotated[list[ChangeArguments], Field(max_length=MAX_FIELDS, default_factory=list)]


async def _run(gate: Gate, arguments: UpdateItemArguments) -> UpdatedItem:
    changes = [
        ChangedField(
            field.name,
            field.value,
            None if field.generate is None else Generate(field.generate.length, field.generate.alphabet),
            field.add,
            field.remove,
        )
        for field in arguments.fields
    ]
    return await gate.update_item(arguments.reference, arguments.name, changes)


UPDATE_ITEM = Tool(
    name="update_item",
    title="Update item",
    description=(
        "Change an item in place: new values (as when a credential is rotated), its name, fields to add or remove. Other fields "
        "stay as they are. Values are never echoed."
    ),
    arguments=UpdateItemArguments,
    result=UpdatedItem,
    run=_run,
    read_only=False,
    destructive=True,
    writes=True,
)
