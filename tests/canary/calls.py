"""What each tool is called with when it is called right.

What this file does not do: call, or get anything wrong; ``wrong`` does.

Rules:
1. A tool without right arguments here fails the inventory test: nobody adds a tool that is not swept.
2. The tools stand in an order in which each still finds what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from r4_mcp.core.wire import FieldType, ItemType

from .elsewhere import elsewhere
from .vaults import CANARIES, DUMP, PLACES, PROJECT, REPORTED, SPARE, VALUED, Place, Planted, name_of

Arguments = dict[str, Any]

_KINDS: Final = tuple(ItemType)
_UNIQUE: Final = frozenset({ItemType.DATABASE, ItemType.SSH_KEY, ItemType.SERVER, ItemType.CREDIT_CARD})
"""Items whose SCREAMING keys mean one field: no other vault has an item of their name."""

FILED: Final = tuple(Place(CANARIES, ItemType.LOGIN, kind) for kind in VALUED if kind is not FieldType.TOTP)
"""Fields whose values go into files: there, and nowhere else, they may stand."""

CONTACT: Final = PLACES[1:6:4]
"""Fields that a process reads before anything goes wrong, so that it holds plaintexts to leak: a password and a seed."""


def read_place(turn: int) -> Place:
    """Return the field that ``read_secret`` reads in a turn."""
    return PLACES[(turn + 1) % len(PLACES)]


def turn_of(place: Place) -> int:
    """Return the turn in which ``read_secret`` reads a field."""
    return PLACES.index(place) - 1 if PLACES.index(place) else len(PLACES) - 1


def _read(turn: int, _: Planted) -> Arguments:
    place = read_place(turn)
    return {"reference": place.key if turn % 2 and place.item in _UNIQUE else place.reference}


def _new_item(turn: int, planted: Planted) -> Arguments:
    fields: list[Arguments] = [
        {"name": name_of(field), "type": field.value, "value": planted.supplied[field.value].text} for field in VALUED
    ]
    fields.append({"name": "Made", "type": "SECRET", "generate": {"length": 40, "alphabet": "symbols"}})
    kind, websites = _KINDS[turn % len(_KINDS)].value, ["https://www.example.com"]
    return {"vault": CANARIES, "name": f"New {turn}", "type": kind, "websites": websites, "fields": fields}


def _change(turn: int, planted: Planted) -> Arguments:
    item = f"r4://{CANARIES}/{name_of(_KINDS[turn % len(_KINDS)])}"
    if turn % 2:
        made: Arguments = {"name": name_of(FieldType.PASSWORD), "generate": {"length": 40}}
        fields: list[Arguments] = [{"name": name_of(FieldType.NUMBER), "remove": True}, made]
        return {"reference": item, "name": f"Renamed {turn}", "fields": fields}
    fields = [{"name": name_of(kind), "value": planted.supplied[kind.value].text} for kind in VALUED]
    fields.append({"name": "Added", "value": planted.supplied[FieldType.SECRET.value].text, "add": FieldType.SECRET.value})
    return {"reference": item, "fields": fields}


def _report(_: int, planted: Planted) -> Arguments:
    # Nobody's secret, so it is sent; but nothing else may show it.
    return {"summary": "A gap", "details": planted.supplied[REPORTED].text, "desired_outcome": "None"}


def _request(turn: int, _: Planted) -> Arguments:
    used = Place(CANARIES, ItemType.LOGIN, FieldType.PASSWORD if turn else FieldType.TOTP)
    # Credentials of the basic scheme carry whatever a password may be.
    auth = {"username": "canary", "password": f"{{{{{used.reference}}}}}"}
    return {"method": "POST", "url": f"{elsewhere()}/login", "auth": auth, "text": "hello"}


def _command(turn: int, _: Planted) -> Arguments:
    used = Place(CANARIES, ItemType.LOGIN, FieldType.PASSWORD if turn else FieldType.TOTP)
    return {
        "argv": list(DUMP),
        "env": {"CANARY": used.reference},
        "stdin": Place(CANARIES, used.item, FieldType.SECRET).reference,
    }


def _file(turn: int, _: Planted) -> Arguments:
    # An env file can't hold what a password may be.
    form, used = (("json", FILED), ("env", FILED[-2:]), ("raw", FILED[1:2]))[turn % 3]
    entries = {name_of(place.field): place.reference for place in used}
    return {"path": f"file.{form}", "format": form, "entries": entries, "replace": True}


RIGHT: Final[Mapping[str, Callable[[int, Planted], Arguments]]] = {
    "whoami": lambda *_: {},
    "list_projects": lambda turn, _: {"project": PROJECT} if turn % 2 else {},
    "list_vaults": lambda turn, _: {"project": PROJECT} if turn % 2 else {},
    "list_items": lambda turn, _: {"vault": CANARIES, "limit": 3} if turn % 2 else {"vault": f"r4://{CANARIES}"},
    "describe_item": lambda turn, _: {"reference": f"r4://{CANARIES}/{name_of(_KINDS[turn % len(_KINDS)])}"},
    "search_items": lambda turn, _: {"query": CANARIES if turn % 2 else name_of(_KINDS[0]), "limit": 3},
    "read_secret": _read,
    "http_request": _request,
    "run_command": _command,
    "write_secret_file": _file,
    "report_gap": _report,
    "exposure": lambda *_: {},
    "create_vault": lambda turn, _: {"name": f"New vault {turn}", "classification": "INTERNAL", "project": PROJECT},
    "create_item": _new_item,
    "update_item": _change,
    "archive_item": lambda *_: {"reference": f"r4://{SPARE}/{name_of(ItemType.CUSTOM)}"},
    "archive_vault": lambda *_: {"reference": f"r4://{SPARE}"},
    "rotate_key": lambda *_: {},
}
"""Tool → turn and plants → right arguments (rule 2)."""

TURNS: Final = {
    "read_secret": len(PLACES),
    "describe_item": len(_KINDS),
    "create_item": len(_KINDS),
    "list_projects": 2,
    "list_vaults": 2,
    "list_items": 2,
    "search_items": 2,
    "http_request": 2,
    "run_command": 2,
    "write_secret_file": 3,
    "update_item": 2,
}
"""Tool → turns in which its right arguments differ; one for every other tool."""

_VALUES: Final = tuple(kind.value for kind in VALUED)
CARRIED: Final = {"create_item": _VALUES, "update_item": _VALUES, "report_gap": (REPORTED,)}
"""Tool → supplied canaries that its right arguments carry."""
