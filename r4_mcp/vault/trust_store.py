"""The trust store: what is remembered of each vault, across processes and restarts.

What this file does not do: prove. It keeps the frozen ``VaultTrust`` that the pure room returned.

Rules:
1. A state is replaced only by one that was proven from it: ``swap`` compares under the lock and refuses when another process
   moved it meanwhile; the reader then fetches and proves again. So pins never go back, and heads are never merged by maximum.
2. A refusal anywhere on the way leaves the file as it was, since nothing calls ``swap``.
3. The file carries a schema number and a checksum. A newer schema is refused; a damaged file is kept aside and refused.
4. "Lost" is not "never initialised": a marker outside the file says that this agent has had a store. Without the file, or without
   this agent's section, everything is refused until a person resets it.
5. One section per service and access key; the service's own claims about who we are choose nothing.
6. A swap costs its own vault, not all of them: bytes that were parsed are not parsed again while they are the same bytes, and the
   canonical form of an entry that did not change is kept. (A key rotation over 500 vaults makes 1,500 swaps.)
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.record import Record, exact, is_id, open_record
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.trust_codec import dump_trust, read_trust
from r4_mcp.core.wire import VaultId
from r4_mcp.errors import FileAccessError, MalformedError, TrustStoreLostError
from r4_mcp.vault.locked_file import LockedFile

SCHEMA: Final = 1
MAX_SIZE: Final = 64 * 1024 * 1024
REFRESH_SECONDS: Final = 600
"""How old the noted time of verification may get before it is written again without a change of pins."""

_RESET: Final = "If you know why, run `r4-mcp trust reset`: the next contact with each vault is a first contact again."


@dataclass(frozen=True, slots=True)
class Remembered:
    """One vault's pins and when they last held, in seconds since 1970 (0: never)."""

    trust: VaultTrust
    verified_at: int


@dataclass(frozen=True, slots=True)
class Section:
    """What is remembered for one service and access key: vaults, and fingerprints that the operator added (with their time)."""

    vaults: Mapping[VaultId, Remembered]
    anchors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The file as it was last read or written."""

    stamp: tuple[int, int, int] | None
    raw: bytes | None
    sections: Mapping[str, Section]


_NEW: Final = Section(MappingProxyType({}), MappingProxyType({}))


class TrustStore:
    """Pins per vault, for one service and agent.

    Args:
        path: The store's file.
        marker_folder: Where the marker of rule 4 is kept.
        owner: Service address and access key.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, marker_folder: Path, owner: tuple[str, str], clock: Callable[[], float]) -> None:
        self._file = LockedFile(path, MAX_SIZE)
        self._owner = " ".join(owner)
        self._marker = marker_folder / hashlib.sha256(self._owner.encode("utf-8")).hexdigest()[:32]
        self._clock = clock
        self._cached: _Parsed | None = None
        # Worker threads share what was parsed; without this, one that looks between a replacement and its note parses it all.
        self._noting = threading.Lock()
        self._lines: dict[tuple[str, VaultId], tuple[Remembered, bytes]] = {}
        """The canonical form of each entry (rule 6)."""

    async def load(self, vault_id: VaultId) -> VaultTrust:
        """Return what is remembered of a vault; an empty state before first contact.

        Raises:
            TrustStoreLostError: Rule 4.
            FileAccessError: Rule 3, or the file can't be used.
        """
        held = self._held()
        return _trust_of(await anyio.to_thread.run_sync(self.section) if held is None else held, vault_id)

    async def swap(self, vault_id: VaultId, expected: VaultTrust, proven: VaultTrust) -> bool:
        """Replace ``expected`` by ``proven`` and note the time; False if the current state is another (rule 1).

        Raises:
            TrustStoreLostError: Rule 4.
            FileAccessError: Rule 3, or the file can't be written.
            BusyError: Another process holds the lock.
        """
        return not await self.swap_all({vault_id: (expected, proven)})

    async def swap_all(self, moves: Mapping[VaultId, tuple[VaultTrust, VaultTrust]]) -> frozenset[VaultId]:
        """Do many swaps with one write.

        Args:
            moves: For each vault the state that was proven from, and the proven one.

        Returns:
            The vaults whose current state is another one; the rest is swapped.

        Raises:
            R4Error: As ``swap``; then nothing was written.
        """
        held = self._held()
        if held is not None:
            waiting, refused = self._settled(held, moves)
            if not waiting:
                return refused
        return await anyio.to_thread.run_sync(self._swap_all, moves)

    def section(self) -> Section:
        """Return everything that is remembered for this service and agent.

        Raises:
            TrustStoreLostError: Rule 4.
            FileAccessError: Rule 3, or the file can't be used.
        """
        found = self._sections().get(self._owner)
        if found is None and self._marker.exists():
            # The marker comes after the file: whoever made both between our two looks left a section there.
            found = self._sections().get(self._owner)
        elif found is None:
            return _NEW
        if found is None:
            raise TrustStoreLostError(f"{self._file.path} has lost what this agent had verified", next_step=_RESET)
        return found

    def set_anchor(self, fingerprint: str, *, trusted: bool) -> None:
        """Add or remove a fingerprint that the operator trusts. For people's commands; no tool calls this."""

        def change(section: Section) -> Section:
            anchors = {key: at for key, at in section.anchors.items() if key != fingerprint}
            if trusted:
                anchors[fingerprint] = int(self._clock())
            return replace(section, anchors=MappingProxyType(anchors))

        self._change(change)

    def reset(self, vault_id: VaultId | None = None) -> None:
        """Forget one vault, or everything of this service and agent. For people's commands; no tool calls this."""
        with self._file.locked():
            sections = dict(self._sections(tolerant=vault_id is None))
            if vault_id is None:
                sections.pop(self._owner, None)
                self._marker.unlink(missing_ok=True)
            elif self._owner in sections:
                section = sections[self._owner]
                kept = {key: remembered for key, remembered in section.vaults.items() if key != vault_id}
                sections[self._owner] = replace(section, vaults=MappingProxyType(kept))
            self._write(sections)

    def _held(self) -> Section | None:
        """Return the section that was parsed, if the file is still the same: one look at its stamp, fit for the event loop."""
        cached = self._cached
        return cached.sections.get(self._owner) if cached is not None and cached.stamp == self._file.stamp() else None

    def _settled(
        self, section: Section, moves: Mapping[VaultId, tuple[VaultTrust, VaultTrust]]
    ) -> tuple[dict[VaultId, tuple[VaultTrust, VaultTrust]], frozenset[VaultId]]:
        """Tell the moves that need a write from those that don't, and name the refused ones among these."""
        now = int(self._clock())
        waiting, refused = {}, set()
        for vault_id, (expected, proven) in moves.items():
            remembered = section.vaults.get(vault_id)
            if expected != proven:
                waiting[vault_id] = (expected, proven)
            elif _trust_of(section, vault_id) != expected:
                refused.add(vault_id)
            elif remembered is not None and not 0 <= now - remembered.verified_at < REFRESH_SECONDS:
                waiting[vault_id] = (expected, proven)
        return waiting, frozenset(refused)

    def _swap_all(self, moves: Mapping[VaultId, tuple[VaultTrust, VaultTrust]]) -> frozenset[VaultId]:
        waiting, refused = self._settled(self.section(), moves)
        if not waiting:
            return refused
        late: set[VaultId] = set()

        def change(section: Section) -> Section:
            now = int(self._clock())
            late.update(vault_id for vault_id, (expected, _) in waiting.items() if _trust_of(section, vault_id) != expected)
            swapped = {vault_id: Remembered(proven, now) for vault_id, (_, proven) in waiting.items() if vault_id not in late}
            return replace(section, vaults=MappingProxyType({**section.vaults, **swapped})) if swapped else section

        self._change(change)
        return refused | late

    def _change(self, change: Callable[[Section], Section]) -> None:
        with self._file.locked():
            # Under the lock the file itself counts: a stamp can look the same after two quick replacements.
            sections = dict(self._sections(whole=True))
            before = self.section()
            after = change(before)
            if after is before:
                if self._owner in sections:
                    self._mark()  # A crash after the file and before its marker is mended here.
                return
            sections[self._owner] = after
            # The marker comes after the file, so that a crash in between loses nothing; that it can come is settled before.
            self._make_marker_folder()
            self._write(sections)
            self._mark()

    def _write(self, sections: Mapping[str, Section]) -> None:
        body = _object({"sections": _object({owner: self._dump(owner, section) for owner, section in sections.items()})})
        checksum = hashlib.sha256(body).hexdigest()
        raw = _object({"schema": canonical(SCHEMA), "checksum": canonical(checksum), "body": body}) + b"\n"
        with self._noting:
            self._file.replace(raw)
            self._cached = _Parsed(self._file.stamp(), raw, dict(sections))

    def _dump(self, owner: str, section: Section) -> bytes:
        vaults = {str(vault_id): self._line(owner, vault_id, remembered) for vault_id, remembered in section.vaults.items()}
        return _object({"vaults": _object(vaults), "anchors": canonical(dict(section.anchors))})

    def _line(self, owner: str, vault_id: VaultId, remembered: Remembered) -> bytes:
        kept = self._lines.get((owner, vault_id))
        if kept is None or (kept[0] is not remembered and kept[0] != remembered):
            line = canonical({"trust": dump_trust(remembered.trust), "verifiedAt": remembered.verified_at})
            kept = self._lines[owner, vault_id] = (remembered, line)
        return kept[1]

    def _make_marker_folder(self) -> None:
        try:
            self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FileAccessError(f"{self._marker.parent} can't be made: {os.strerror(error.errno or 0)}") from None

    def _mark(self) -> None:
        if self._marker.exists():
            return
        try:
            os.close(os.open(self._marker, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise FileAccessError(f"{self._marker} can't be made: {os.strerror(error.errno or 0)}") from None

    def _sections(self, *, tolerant: bool = False, whole: bool = False) -> Mapping[str, Section]:
        with self._noting:
            stamp, cached = self._file.stamp(), self._cached
            if cached is not None and cached.stamp == stamp and not whole:
                return cached.sections
            raw = self._file.read()
            if cached is not None and cached.raw == raw:
                sections = cached.sections
            else:
                sections = {} if raw is None else self._parse(raw, tolerant=tolerant)
            self._cached = _Parsed(stamp, raw, sections)
            return sections

    def _parse(self, raw: bytes, *, tolerant: bool) -> dict[str, Section]:
        try:
            return _read_file(raw)
        except MalformedError as error:
            if tolerant:
                self._file.set_aside("damaged")
                return {}
            raise FileAccessError(f"{self._file.path} is damaged: {error.message}", next_step=_RESET) from None


def _trust_of(section: Section, vault_id: VaultId) -> VaultTrust:
    remembered = section.vaults.get(vault_id)
    return VaultTrust() if remembered is None else remembered.trust


def _read_file(raw: bytes) -> dict[str, Section]:
    what = "trust store"
    record = open_record(parse_json(raw, what=what), what)
    schema = record.integer("schema")
    if schema > SCHEMA:
        raise MalformedError(f"it has schema {schema}, and this version reads up to {SCHEMA}: use a newer r4-mcp")
    record = exact(record.members, what, frozenset({"schema", "checksum", "body"}))
    body = record.members["body"]
    if record.hex_digest("checksum") != hashlib.sha256(canonical(body)).hexdigest():
        raise MalformedError("its checksum does not hold")
    sections = exact(body, what, frozenset({"sections"})).members["sections"]
    return {owner: _read_section(section) for owner, section in open_record(sections, what).members.items()}


def _object(members: Mapping[str, bytes]) -> bytes:
    """Return the RFC 8785 object whose members are in that form already."""
    ordered = sorted(members, key=lambda key: key.encode("utf-16-be"))
    return b"{" + b",".join(canonical(key) + b":" + members[key] for key in ordered) + b"}"


def _read_section(value: Json) -> Section:
    record = exact(value, "trust store section", frozenset({"vaults", "anchors"}))
    vaults = open_record(record.members["vaults"], "trust store vaults").members
    anchors = Record("trust store anchors", open_record(record.members["anchors"], "trust store anchors").members)
    if not all(is_id(vault_id) for vault_id in vaults):
        raise MalformedError("trust store vaults are not named by ids")
    return Section(
        MappingProxyType({VaultId(vault_id): _read_remembered(entry) for vault_id, entry in vaults.items()}),
        MappingProxyType({fingerprint: anchors.integer(fingerprint) for fingerprint in anchors.members}),
    )


def _read_remembered(value: Json) -> Remembered:
    record = exact(value, "trust store vault", frozenset({"trust", "verifiedAt"}))
    return Remembered(read_trust(record.members["trust"]), record.integer("verifiedAt"))
