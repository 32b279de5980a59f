"""What ``r4-mcp edit`` was asked for: its options, read and checked, and the lines that show what would change.

What this file does not do: ask, sign, or hold a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from r4_mcp.core.wire import DetailCheckpoint, FieldType, ItemType
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.drafts import ChangedField, ItemEdit, check_name
from r4_mcp.policy.views import quoted

KindT = TypeVar("KindT", FieldType, ItemType)

_OPTIONS: Final = "Give at least one of --name, --type, --website, --no-websites, --field-type, --add, --remove."


@dataclass(frozen=True, slots=True)
class EditWishes:
    """The command line, as it was typed."""

    name: str | None = None
    type: str | None = None
    websites: tuple[str, ...] | None = None
    field_types: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for, read.

    Attributes:
        edit: All but the fields to add, which have no value yet.
        added: Types of the fields to add, by name.
    """

    edit: ItemEdit
    added: Mapping[str, FieldType]

    @property
    def texts(self) -> dict[str, str | None]:
        """What becomes readable to the service and in listings, by option."""
        texts = {"--name": self.edit.name}
        texts |= {f"--website ({number})": website for number, website in enumerate(self.edit.websites or (), 1)}
        return texts | {f"--add ({number})": name for number, name in enumerate(self.added, 1)}


def read_wishes(wishes: EditWishes) -> Plan:
    """Read the options.

    Raises:
        InvalidArgumentError: None was given, one is not of its form, or a field is named twice.
    """
    if wishes == EditWishes():
        raise InvalidArgumentError("nothing to change was given", next_step=_OPTIONS)
    added = dict(_read_added(text) for text in wishes.add)
    types = dict(_read_type(text) for text in wishes.field_types)
    if len({*added, *types, *wishes.remove}) != len(wishes.add) + len(wishes.field_types) + len(wishes.remove):
        raise InvalidArgumentError("a field is named twice", next_step="Change a field in one way at a time.")
    edit = ItemEdit(
        name=wishes.name,
        type=None if wishes.type is None else ItemType(wishes.type),
        websites=wishes.websites,
        fields=tuple(ChangedField(name, None, None, None, remove=True) for name in wishes.remove),
        field_types=types,
    )
    return Plan(edit, added)


def refuse_misplaced(plan: Plan, before: DetailCheckpoint) -> None:
    """Refuse fields that are not there, or are there already.

    Raises:
        InvalidArgumentError: One is.
    """
    names = [field.name for field in before.fields]
    for option, wanted in (("--remove", [field.name for field in plan.edit.fields]), ("--field-type", plan.edit.field_types)):
        for name in wanted:
            if names.count(name) != 1:
                many = "several fields" if name in names else "no field"
                raise InvalidArgumentError(f"{option}: the item has {many} of that name", next_step=_LOOK)
    if any(name in names for name in plan.added):
        raise InvalidArgumentError("--add: the item has a field of that name already", next_step=_LOOK)


_LOOK: Final = "`r4-mcp ls r4://vault/item` lists its fields; `r4-mcp put` changes the value of one."


def differences(plan: Plan, before: DetailCheckpoint) -> Iterator[str]:
    """Yield what would change, one line each; nothing where it is so already."""
    edit = plan.edit
    if edit.name is not None and edit.name != before.name:
        yield f"  name     {quoted(before.name)} -> {quoted(edit.name)}"
    if edit.type is not None and edit.type is not before.type:
        yield f"  type     {before.type.value} -> {edit.type.value}"
    if edit.websites is not None and edit.websites != before.websites:
        yield from (f"  website  - {quoted(site)}" for site in before.websites if site not in edit.websites)
        yield from (f"  website  + {quoted(site)}" for site in edit.websites if site not in before.websites)
        if set(edit.websites) == set(before.websites):
            yield "  website  in another order, or less often"
    types = {field.name: field.type for field in before.fields}
    for name, kind in edit.field_types.items():
        if types[name] is not kind:
            yield f"  field    {quoted(name)}: {types[name].value} -> {kind.value}"
    yield from (f"  field    + {quoted(name)} ({kind.value})" for name, kind in plan.added.items())
    yield from (f"  field    - {quoted(field.name)} ({types[field.name].value})" for field in edit.fields)


def _read_added(text: str) -> tuple[str, FieldType]:
    name, colon, kind = text.rpartition(":")
    if not colon:
        return check_name(text, "--add"), FieldType.PASSWORD
    return check_name(name, "--add"), _kind(kind, "--add", "NAME:TYPE")


def _read_type(text: str) -> tuple[str, FieldType]:
    name, equals, kind = text.rpartition("=")
    return check_name(name, "--field-type"), _kind(kind if equals else "", "--field-type", "NAME=TYPE")


def _kind(text: str, option: str, form: str) -> FieldType:
    known = [kind.value for kind in FieldType if kind is not FieldType.FILE]
    if text.upper() not in known:
        raise InvalidArgumentError(f"{option} is not of the form {form}", next_step=f"TYPE is one of {', '.join(known)}.")
    return FieldType(text.upper())
