"""What may be created: names, websites and fields, checked before anything is encrypted or sent.

What this file does not do: repair. A cleaned name is a wrong name and a cleaned password is a wrong password, so bad input
is refused with the argument's name and the limit, and never quoted.
"""

from __future__ import annotations

import secrets
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from r4_mcp.core.envelope import MAX_VALUE_SIZE, encode_value
from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.errors import InvalidArgumentError, NotReadableError
from r4_mcp.machine import contract
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.item_creation import FieldDraft, ItemDraft
from r4_mcp.vault.item_update import FieldChange, ItemChange
from r4_mcp.vault.one_time_code import one_time_code
from r4_mcp.vault.references import MAX_REFERENCE

__all__ = [
    "MAX_FEEDBACK",
    "MAX_FIELDS",
    "MAX_GENERATED",
    "MAX_NAME",
    "MAX_REFERENCE",
    "MAX_VALUE_KIB",
    "MAX_WEBSITE",
    "MAX_WEBSITES",
    "MIN_GENERATED",
    "Alphabet",
    "ChangedField",
    # The tools name these types in their arguments and may not look into core.
    "Classification",
    "FieldType",
    "Generate",
    "ItemEdit",
    "ItemType",
    "NewField",
    "NewItem",
    "check_change",
    "check_edit",
    "check_item",
    "check_name",
    "check_websites",
    "generate",
]

MAX_NAME: Final = contract.MAX_NAME
MAX_FIELDS: Final = contract.MAX_FIELDS
MAX_WEBSITES: Final = contract.MAX_WEBSITES
MAX_FEEDBACK: Final = contract.MAX_FEEDBACK
MAX_WEBSITE: Final = 2048
MAX_VALUE_KIB: Final = MAX_VALUE_SIZE // 1024
MIN_GENERATED: Final = 12
MAX_GENERATED: Final = 256


class Alphabet(StrEnum):
    """Characters that a generated secret is made of."""

    ALPHANUMERIC = "alphanumeric"
    SYMBOLS = "symbols"
    HEX = "hex"
    DIGITS = "digits"


_CHARACTERS: Final = {
    Alphabet.ALPHANUMERIC: string.ascii_letters + string.digits,
    # Without quotes, backslash, backtick and space, which break in shells and configuration files.
    Alphabet.SYMBOLS: string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~",
    Alphabet.HEX: "0123456789abcdef",
    Alphabet.DIGITS: string.digits,
}


@dataclass(frozen=True, slots=True)
class Generate:
    """A wish for a random secret that nobody types."""

    length: int
    alphabet: Alphabet


@dataclass(frozen=True, slots=True)
class NewField:
    """A field as asked for: exactly one of value and generate."""

    name: str
    type: FieldType
    value: Secret[str] | None
    generate: Generate | None


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as asked for."""

    name: str
    type: ItemType
    websites: tuple[str, ...]
    fields: tuple[NewField, ...]


@dataclass(frozen=True, slots=True)
class ChangedField:
    """A change of one field as asked for: a value or a wish for one, a new field of a type, or none of it where it goes."""

    name: str
    value: Secret[str] | None
    generate: Generate | None
    add: FieldType | None
    remove: bool


@dataclass(frozen=True, slots=True)
class ItemEdit:
    """A person's change of an item as asked for: also what no tool may change. What is None stays.

    Attributes:
        name: The item's new name.
        type: Its new type.
        websites: All of its websites from now on.
        fields: Fields to add or remove.
        field_types: New types of fields that are there, by name; their values stay.
    """

    name: str | None = None
    type: ItemType | None = None
    websites: tuple[str, ...] | None = None
    fields: tuple[ChangedField, ...] = ()
    field_types: Mapping[str, FieldType] = field(default_factory=dict)


def check_name(name: str, argument: str) -> str:
    """Return a name that may be created.

    Raises:
        InvalidArgumentError: Empty, blank, too long, or holding control characters or half of a surrogate pair.
    """
    if not name.strip():
        raise InvalidArgumentError(f"the argument {argument} is empty")
    if len(name) > MAX_NAME:
        raise InvalidArgumentError(f"the argument {argument} is longer than {MAX_NAME} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise InvalidArgumentError(f"the argument {argument} holds control characters, which a name can't have")
    return name


def check_websites(websites: Sequence[str]) -> tuple[str, ...]:
    """Return websites that may be created.

    Raises:
        InvalidArgumentError: Too many, too long, empty, or holding white space or control characters.
    """
    if len(websites) > MAX_WEBSITES:
        raise InvalidArgumentError(f"the argument websites has more than {MAX_WEBSITES} entries")
    for index, website in enumerate(websites):
        if not website or len(website) > MAX_WEBSITE:
            raise InvalidArgumentError(f"the argument websites[{index}] is empty or longer than {MAX_WEBSITE} characters")
        if any(character.isspace() or unicodedata.category(character) in {"Cc", "Cs"} for character in website):
            raise InvalidArgumentError(f"the argument websites[{index}] holds white space or control characters")
    return tuple(websites)


def check_item(wanted: NewItem, now: float, known: KnownSecrets) -> ItemDraft:
    """Turn an item as asked for into a draft; random values are made here.

    Args:
        wanted: What was asked for.
        now: Seconds since 1970, to try TOTP seeds out.
        known: Where secret values are armed.

    Raises:
        InvalidArgumentError: Any limit or rule; nothing was encrypted or sent.
    """
    if not 1 <= len(wanted.fields) <= MAX_FIELDS:
        raise InvalidArgumentError(f"the argument fields has {len(wanted.fields)} entries; 1 to {MAX_FIELDS} are allowed")
    fields = tuple(_check_field(field, f"fields[{index}]", now, known) for index, field in enumerate(wanted.fields))
    if len({field.name for field in fields}) != len(fields):
        raise InvalidArgumentError("the argument fields has two entries of the same name")
    return ItemDraft(check_name(wanted.name, "name"), wanted.type, check_websites(wanted.websites), fields)


def check_change(
    name: str | None, fields: Sequence[ChangedField], types: Mapping[str, FieldType], now: float, known: KnownSecrets
) -> ItemChange:
    """Turn a change as asked for into what is to be sealed; random values are made here.

    Args:
        name: The item's new name; None for the old one.
        fields: The changes.
        types: The fields that the item has, by name.
        now: Seconds since 1970, to try TOTP seeds out.
        known: Where secret values are armed.

    Raises:
        InvalidArgumentError: Any limit or rule; nothing was encrypted or sent.
    """
    if name is None and not fields:
        raise InvalidArgumentError("nothing to change was given: name, fields, or both")
    if len(fields) > MAX_FIELDS:
        raise InvalidArgumentError(f"the argument fields has {len(fields)} entries; at most {MAX_FIELDS} are allowed")
    if len({field.name for field in fields}) != len(fields):
        raise InvalidArgumentError("the argument fields has two entries of the same name")
    changes = tuple(_check_changed(field, f"fields[{index}]", types, now, known) for index, field in enumerate(fields))
    return ItemChange(None if name is None else check_name(name, "name"), changes)


def check_edit(edit: ItemEdit, types: Mapping[str, FieldType], now: float, known: KnownSecrets) -> ItemChange:
    """Turn a person's change into what is to be sealed and signed.

    Args:
        edit: What was asked for.
        types: The fields that the item has, by name.
        now: Seconds since 1970, to try TOTP seeds out.
        known: Where secret values are armed.

    Raises:
        InvalidArgumentError: Any limit or rule; nothing was encrypted or sent.
    """
    change = ItemChange(None, ())
    if edit.name is not None or edit.fields:
        change = check_change(edit.name, edit.fields, types, now, known)
    retyped = tuple(_check_retyped(name, kind, types) for name, kind in edit.field_types.items())
    if edit.field_types.keys() & {field.name for field in edit.fields}:
        raise InvalidArgumentError("a field that is added or removed takes no other type")
    websites = None if edit.websites is None else check_websites(edit.websites)
    return replace(change, fields=(*change.fields, *retyped), type=edit.type, websites=websites)


def _check_retyped(name: str, kind: FieldType, types: Mapping[str, FieldType]) -> FieldChange:
    if name not in types:
        raise InvalidArgumentError("a field to give another type is no field of the item")
    if FieldType.FILE in {kind, types[name]}:
        raise InvalidArgumentError("a FILE field refers to an attachment: it keeps its type, and no other field becomes one")
    return FieldChange(name, retype=kind)


def _check_changed(
    field: ChangedField, argument: str, types: Mapping[str, FieldType], now: float, known: KnownSecrets
) -> FieldChange:
    if field.remove:
        if field.add is not None or field.value is not None or field.generate is not None:
            raise InvalidArgumentError(f"the argument {argument} removes a field, so it takes no value, generate or add")
        if field.name not in types:
            raise InvalidArgumentError(f"the argument {argument}.name is no field of the item")
        return FieldChange(field.name, remove=True)
    if field.add is None and field.name not in types:
        raise InvalidArgumentError(f"the argument {argument}.name is no field of the item; `add` makes a new one of a type")
    if field.add is not None and field.name in types:
        raise InvalidArgumentError(f"the argument {argument}.add: the item has a field of that name already")
    kind = types[field.name] if field.add is None else field.add
    drafted = _check_field(NewField(field.name, kind, field.value, field.generate), argument, now, known)
    return FieldChange(field.name, value=drafted.value, add=field.add, generated=drafted.generated)


def generate(wish: Generate, argument: str) -> str:
    """Make a random secret.

    Raises:
        InvalidArgumentError: The length is out of bounds.
    """
    if not MIN_GENERATED <= wish.length <= MAX_GENERATED:
        raise InvalidArgumentError(f"the argument {argument}.length is not within {MIN_GENERATED} to {MAX_GENERATED}")
    characters = _CHARACTERS[wish.alphabet]
    return "".join(secrets.choice(characters) for _ in range(wish.length))


def _check_field(field: NewField, argument: str, now: float, known: KnownSecrets) -> FieldDraft:
    name = check_name(field.name, f"{argument}.name")
    if field.type is FieldType.FILE:
        raise InvalidArgumentError(f"the argument {argument}.type is FILE: attachments can't be created here")
    if (field.value is None) == (field.generate is None):
        raise InvalidArgumentError(f"the argument {argument} needs exactly one of value and generate")
    if field.generate is not None:
        if field.type not in {FieldType.PASSWORD, FieldType.SECRET}:
            raise InvalidArgumentError(f"the argument {argument}.generate works for PASSWORD and SECRET fields only")
        value = known.text(generate(field.generate, f"{argument}.generate"), SecretKind.DRAFT)
        return FieldDraft(name, field.type, value, generated=True)
    assert field.value is not None  # noqa: S101 - told to the type checker; the line above has decided it
    value = field.value
    if field.type.is_secret:
        known.arm(value, SecretKind.DRAFT)
    if not value.reveal():  # seen by this comparison only
        raise InvalidArgumentError(f"the argument {argument}.value is empty")
    try:
        encode_value(value.reveal())  # measured by our own codec
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"the argument {argument}.value: {error.message}") from None
    if field.type is FieldType.TOTP:
        try:
            one_time_code(value, now, known)
        except NotReadableError:
            wanted = "a base32 seed or an otpauth://totp URI"
            raise InvalidArgumentError(f"the argument {argument}.value is not {wanted}, as a TOTP field needs") from None
    return FieldDraft(name, field.type, value)
