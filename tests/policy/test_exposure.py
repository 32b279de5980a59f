"""The exposure ledger: whatever was shown is named until a person clears it, by ids alone."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.cli.exposure import exposure
from r4_mcp.errors import FileAccessError
from r4_mcp.policy import exposure as ledger_module
from r4_mcp.policy.exposure import MAX_ROWS, Exposure, ExposureLedger, Noted, Place
from r4_mcp.vault.journal import owner_hash

from .state_processes import OWNER, place, python

NOW = 1_800_000_000.0
MILLISECONDS = 1_800_000_000_000
SECONDS = 60
VAULT, ITEM, FIELD = "a" * 24, "b" * 24, "c" * 24
TOKEN = Place(VAULT, ITEM, FIELD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a state folder that does not exist yet."""
    return tmp_path / "state"


def open_ledger(folder: Path, *times: float) -> ExposureLedger:
    """Open the ledger with a clock that shows these times, the last one for ever."""
    left = list(times or [NOW])
    return ExposureLedger(folder, OWNER, lambda: left.pop(0) if len(left) > 1 else left[0])


def path_in(folder: Path) -> Path:
    """Return the ledger's file."""
    return folder / f"exposure-{owner_hash(OWNER)}.json"


def test_what_happened_is_read_back(folder: Path) -> None:
    """Shown, used and blocked are counted for each place and way, with their first and last time, also by the next process."""
    ledger = open_ledger(folder, NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4, NOW + 5, NOW + 6)
    assert ledger.read() == Exposure(None, (), (), ())
    ledger.shown(TOKEN)
    ledger.shown(TOKEN)
    ledger.used(TOKEN, "http")
    ledger.used(TOKEN, "process")
    ledger.blocked("egress", TOKEN)
    ledger.blocked("screening", None)
    ledger.blocked("screening", None)
    expected = Exposure(
        cleared_at=None,
        shown=(Noted("shown", TOKEN, MILLISECONDS, MILLISECONDS + 1000, 2),),
        used=(
            Noted("http", TOKEN, MILLISECONDS + 2000, MILLISECONDS + 2000, 1),
            Noted("process", TOKEN, MILLISECONDS + 3000, MILLISECONDS + 3000, 1),
        ),
        blocked=(
            Noted("egress", TOKEN, MILLISECONDS + 4000, MILLISECONDS + 4000, 1),
            Noted("screening", None, MILLISECONDS + 5000, MILLISECONDS + 6000, 2),
        ),
    )
    assert ledger.read() == open_ledger(folder).read() == expected
    assert ExposureLedger(folder, ("http://localhost", "rk_other"), lambda: NOW).read() == Exposure(None, (), (), ())


def test_clearing_forgets_and_returns_what_it_forgot(folder: Path) -> None:
    """After a clear the ledger is empty and says since when."""
    ledger = open_ledger(folder, NOW, NOW + 1)
    ledger.shown(TOKEN)
    assert [row.place for row in ledger.clear().shown] == [TOKEN]
    assert ledger.read() == Exposure(MILLISECONDS + 1000, (), (), ())


def test_a_clock_that_jumps_only_stretches_the_time(folder: Path) -> None:
    """First is the earliest and last the latest time that was ever read; before 1970 is 1970."""
    ledger = open_ledger(folder, NOW, 5.0, -7.0, 1e30, NOW)
    for _ in range(5):
        ledger.shown(TOKEN)
    assert ledger.read().shown == (Noted("shown", TOKEN, 0, 2**53 - 1, 5),)


@pytest.mark.parametrize(
    "ids",
    [("Production",), (VAULT, "x"), (VAULT, ITEM, ""), (None, ITEM), (VAULT, None, FIELD), (VAULT.upper(),), (VAULT + "\n",)],
)
def test_only_ids_have_a_place(ids: tuple[str | None, ...]) -> None:
    """A name, or an id without the one above it, is no place; it is not repeated."""
    with pytest.raises(ValueError, match="not made of the ids") as raised:
        Place(*ids)
    assert "Production" not in str(raised.value)


@pytest.mark.parametrize("word", ["", "Hunter2", "http get", "x" * 33, "a?", "é"])
def test_only_words_of_ours_tell_how(folder: Path, word: str) -> None:
    """Free text has no place in the ledger."""
    ledger = open_ledger(folder)
    with pytest.raises(ValueError, match="not a word"):
        ledger.used(TOKEN, word)
    with pytest.raises(ValueError, match="not a word"):
        ledger.blocked(word, None)
    assert not folder.exists()


def covered(rows: tuple[Noted, ...], wanted: Place) -> bool:
    """Say whether a place is named, by itself or by what it is part of."""
    return any(row.place is not None and wanted.ids[: len(row.place.ids)] == row.place.ids for row in rows)


@settings(max_examples=60, deadline=None)
@given(shown=st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=60))
def test_at_the_bound_nothing_that_was_shown_is_lost(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[int, int, int]]
) -> None:
    """Rule 3: rows become wider instead of more; every place stays covered, and every showing stays counted."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger_module, "MAX_ROWS", 5)
        ledger = open_ledger(tmp_path_factory.mktemp("state"))
        places = [Place(*(f"{number:024x}" for number in ids)) for ids in shown]
        for number, one in enumerate(places, 1):
            ledger.shown(one)
            rows = ledger.read().shown
            assert len(rows) <= 5
            assert sum(row.count for row in rows) == number
            assert all(covered(rows, before) for before in places[:number])


def test_the_narrowest_group_is_widened_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields of one item become the item, items of one vault the vault, vaults everything; an unknown place stays unknown."""
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 3)
    ledger = open_ledger(folder)

    def shown(*ids: str) -> list[tuple[str, ...]]:
        ledger.shown(Place(*(part * 24 for part in ids)))
        return sorted(tuple(part[0] for part in row.place.ids) for row in ledger.read().shown if row.place)

    shown("a", "a", "a")
    shown("a", "a", "b")
    assert shown("b", "b", "b") == [("a", "a", "a"), ("a", "a", "b"), ("b", "b", "b")]
    assert shown("a", "b", "a") == [("a", "a"), ("a", "b", "a"), ("b", "b", "b")]
    assert shown("a", "a", "c") == [("a", "a"), ("a", "b", "a"), ("b", "b", "b")]
    assert shown("c", "c", "c") == [("a",), ("b", "b", "b"), ("c", "c", "c")]
    assert shown("d", "d", "d") == [()]
    assert shown("e", "e", "e") == [()]
    for number in range(5):
        ledger.blocked("screening", None)
        ledger.blocked("egress", place(number))
    assert {(row.how, row.place) for row in ledger.read().blocked} >= {("screening", None)}
    assert {row.how: row.count for row in ledger.read().blocked if row.place is None} == {"screening": 5}


def test_a_full_ledger_fits_into_its_file(folder: Path) -> None:
    """All tables full of the longest rows are still read and written."""
    row = [2**53 - 1, 2**53 - 1, 2**53 - 1]
    full = {f"{'x' * 32} {number:024x}/{ITEM}/{FIELD}": row for number in range(MAX_ROWS)}
    open_ledger(folder).clear()
    document = {"schema": 1, "clearedAt": None, "shown": full, "used": full, "blocked": full}
    path_in(folder).write_text(json.dumps(document) + "\n")
    open_ledger(folder).shown(TOKEN)
    found = open_ledger(folder).read()
    assert len(found.shown) <= MAX_ROWS
    assert covered(found.shown, TOKEN)
    assert len(found.used) == len(found.blocked) == MAX_ROWS


def test_processes_lose_no_showing(folder: Path) -> None:
    """Four processes note a field of their own and a shared one: every single showing is counted."""
    running = [subprocess.Popen(python("show", str(folder), str(number), "15")) for number in range(1, 5)]
    assert [process.wait(SECONDS) for process in running] == [0] * 4
    counts = {row.place: row.count for row in open_ledger(folder).read().shown}
    assert counts == {place(0): 60, **{place(number): 15 for number in range(1, 5)}}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda raw: raw[:-20],
    "another document": lambda _: b"[]",
    "a newer schema": lambda raw: raw.replace(b'"schema":1', b'"schema":2'),
    "an unknown member": lambda raw: raw.replace(b'"used"', b'"more":1,"used"'),
    "a table missing": lambda raw: raw.replace(b'"used":{},', b""),
    "a name for an id": lambda raw: raw.replace(FIELD.encode(), b"Production"),
    "an id too many": lambda raw: raw.replace(FIELD.encode(), f"{FIELD}/{FIELD}".encode()),
    "an id between missing": lambda raw: raw.replace(f"/{ITEM}/".encode(), b"//"),
    "a place of nothing but a slash": lambda raw: raw.replace(f"{VAULT}/{ITEM}/{FIELD}".encode(), b"/"),
    "a word that is none": lambda raw: raw.replace(b'"shown a', b'"Shown a'),
    "a count of zero": lambda raw: raw.replace(b",1]", b",0]"),
    "a number missing": lambda raw: raw.replace(b",1]", b"]"),
    "an event that is none": lambda raw: raw + b"{}\n",
    "an event of no table": lambda raw: raw + f'["hidden","shown {VAULT}",1]\n'.encode(),
    "an event of a place that is none": lambda raw: raw + b'["shown","shown Production",1]\n',
    "an event without its time": lambda raw: raw + f'["shown","shown {VAULT}"]\n'.encode(),
    "an object for a row": lambda raw: raw.replace(b"[", b'{"x":[').replace(b"]", b"]}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_refused_and_kept_aside_when_cleared(folder: Path, damage: str) -> None:
    """Rule 5: nothing is read from it or written over it; a person's clear keeps it and begins anew."""
    ledger = open_ledger(folder)
    ledger.shown(TOKEN)
    path = path_in(folder)
    damaged = DAMAGES[damage](path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    for attempt in (ledger.read, lambda: ledger.shown(TOKEN), lambda: ledger.blocked("egress", None)):
        with pytest.raises(FileAccessError, match="is damaged") as raised:
            attempt()
        assert str(path) in raised.value.message
        assert "Production" not in raised.value.message
        assert "exposure --clear" in str(raised.value.next_step)
    assert path.read_bytes() == damaged
    told = exposure(ledger, clear=True)
    (kept,) = folder.glob("*.damaged-*")
    assert kept.read_bytes() == damaged
    assert told[1] == f"The ledger was damaged: what was shown is not known from it. It is kept as {kept}."
    assert "Nothing was shown, used or blocked." not in told
    assert ledger.read().cleared_at == MILLISECONDS
    ledger.shown(TOKEN)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["disk full", "read-only folder"])
def test_what_can_not_be_noted_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The caller, who is about to reveal, is told; what was noted before stays."""
    ledger = open_ledger(folder)
    ledger.shown(TOKEN)
    before = path_in(folder).read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", refuse)
        with pytest.raises(FileAccessError, match=os.strerror(code)):
            ledger.shown(TOKEN)
    assert path_in(folder).read_bytes() == before


def test_everything_is_private(folder: Path) -> None:
    """Folder 0700, files 0600; a ledger that others can read is refused."""
    ledger = open_ledger(folder)
    ledger.shown(TOKEN)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    path_in(folder).chmod(0o640)
    with pytest.raises(FileAccessError, match="open to other users"):
        ledger.shown(TOKEN)


def test_people_are_told_what_to_rotate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lists what happened by reference and ends with a checklist; clearing tells it once more."""
    ledger = open_ledger(folder)
    assert exposure(ledger, clear=False) == ["since the beginning", "Nothing was shown, used or blocked."]
    ledger.shown(TOKEN)
    ledger.shown(TOKEN)
    ledger.used(place(1), "http")
    ledger.blocked("screening", None)
    at = "2027-01-15T08:00:00.000Z"
    expected = [
        "since the beginning",
        "",
        "shown to the model:",
        f"  r4://{VAULT}/{ITEM}/{FIELD}  2 times, {at} to {at}",
        "",
        "used without showing:",
        f"  r4://{1:024x}/{VAULT}/{ITEM}  http  once, {at}",
        "",
        "blocked on the way out:",
        f"  (field not known)  screening  once, {at}",
        "",
        "to rotate, because a transcript may hold it:",
        f"  [ ] r4://{VAULT}/{ITEM}/{FIELD}",
    ]
    assert exposure(ledger, clear=False) == expected
    assert exposure(ledger, clear=True) == [*expected, "", "Cleared: a new ledger begins now."]
    assert exposure(ledger, clear=False) == [f"since {at}", "Nothing was shown, used or blocked."]
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 1)
    for ids, told in (
        ((VAULT, ITEM, ITEM), f"r4://{VAULT}/{ITEM} (every field of the item)"),
        ((VAULT, FIELD, ITEM), f"r4://{VAULT} (every field of the vault)"),
        ((ITEM, ITEM, ITEM), "r4:// (every field of every vault)"),
    ):
        ledger.shown(TOKEN)
        ledger.shown(Place(*ids))
        assert exposure(ledger, clear=False)[-1] == f"  [ ] {told}"
