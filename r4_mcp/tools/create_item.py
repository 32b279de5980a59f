"""The tool ``create_item``."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.drafts import (
    MAX_FIELDS,
    MAX_GENERATED,
    MAX_NAME,
    MAX_REFERENCE,
    MAX_WEBSITE,
    MAX_WEBSITES,
    MIN_GENERATED,
    Alphabet,
    FieldType,
    Generate,
    ItemType,
    NewField,
    NewItem,
)
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import CreatedItem
from r4_mcp.tools.tool import Arguments, SecretText, Tool

CREATABLE: Final = [kind.value for kind in FieldType if kind is not FieldType.FILE]
"""Attachments can't be created here."""


class GenerateArguments(Arguments):
    """A wish for a random secret."""

    length: Annotated[int, Field(ge=MIN_GENERATED, le=MAX_GENERATED)] = 32
    alphabet: Annotated[Alphabet, Field(strict=False)] = Alphabet.ALPHANUMERIC


class FieldArguments(Arguments):
    """One field."""

    name: Annotated[str, Field(description="Not secret.", min_length=1, max_length=MAX_NAME)]
    type: Annotated[FieldType, Field(strict=False), WithJsonSchema({"type": "string", "enum": CREATABLE})]
    value: SecretText | None = None
    generate: Annotated[
        GenerateArguments | None, Field(description="Make a random PASSWORD or SECRET that you never see, instead of value.")
    ] = None


class CreateItemArguments(Arguments):
    """The item."""

    vault: Annotated[str, Field(description="r4://vault, or the vault's name or id.", min_length=1, max_length=MAX_REFERENCE)]
    name: Annotated[str, Field(description="Not secret.", min_length=1, max_length=MAX_NAME)]
    type: Annotated[ItemType, Field(strict=False)]
    websites: Annotated[
        list[Annotated[str, Field(max_length=MAX_WEBSITE)]],
        Field(max_length=MAX_WEBSITES, default_factory=list),
    ]
    fields: Annotated[list[FieldArguments], Field(min_length=1, max_length=MAX_FIELDS)]


async def _run(gate: Gate, arguments: CreateItemArguments) -> CreatedItem:
    fields = tuple(
        NewField(
            field.name,
            field.type,
            field.value,
            None if field.generate is None else Generate(field.generate.length, field.generate.alphabet),
        )
        for field in arguments.fields
    )
    wanted = NewItem(arguments.name, arguments.type, tuple(arguments.websites), fields)
    return await gate.create_item(arguments.vault, wanted)


CREATE_ITEM = Tool(
    name="create_item",
    title="Create item",
    description=(
        "Store a new item. Each field has a value, or `generate` for a secret you never see. Values are encrypted on this "
        "machine and never echoed; returns references."
    ),
    arguments=CreateItemArguments,
    result=CreatedItem,
    run=_run,
    read_only=False,
    writes=True,
)
