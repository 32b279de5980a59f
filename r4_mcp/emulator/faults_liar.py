"""A service that lies: what a lie is, who tells it, and with which keys (threat model, *Malicious server*).

What this file does not do: lie. The ``faults_*`` files beside it hold the lies, by theme; ``faults`` holds them all, by name.

Rules:
1. The liar has what a malicious service can have: the store, old honest answers, key pairs of its own, and no key of the agent's.
   The operator's key, in the emulator's folder, plays a signer who works with the service.
2. What the liar signs is signed validly, so that a refusal proves the rule that it is for and not a broken signature.
3. Every lie is told by sync too, as far as a page has a place for it.
4. ``prepare`` and ``change`` are true events in the store; ``prelude`` and ``lie`` are told on the wire only, so that an honest
   service afterwards is one.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Final, TypeAlias

from r4_mcp.core.encoding import Json
from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import KeyId, SignerRef, SignerType, VaultId, signed_envelope
from r4_mcp.emulator.custody import Custodian
from r4_mcp.emulator.directory_log import admit
from r4_mcp.emulator.dispatch import Incoming, RawReply, Route, answer
from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.emulator.faults_sync import singles, tell_by_sync
from r4_mcp.emulator.fresh import generate_private_key, new_id
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.private_files import read_private
from r4_mcp.emulator.refusal import Reply
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.seed import OPERATOR_KEY_FILE
from r4_mcp.emulator.signing_keys import SigningKey, add_key, user_key
from r4_mcp.emulator.store import Store
from r4_mcp.emulator.vault_rows import all_vaults
from r4_mcp.errors import FileAccessError
from r4_mcp.machine.contract import SYNC, Endpoint, Level
from r4_mcp.secret import KnownSecrets

LIAR_BITS: Final = 2048
_REFUSED: Final = 300


@dataclass(frozen=True, slots=True)
class Hand:
    """A key pair and the name that it signs under."""

    key: PrivateKey
    ref: SignerRef

    def signed(self, context: Context, payload: dict[str, Json]) -> Json:
        """Return a signed envelope of a payload."""
        return signed_envelope(payload, self.ref, sign(self.key, context, payload))


@dataclass(slots=True)
class Asked:
    """One request, and what the honest emulator would answer to it."""

    liar: Liar
    store: Store
    route: Route
    incoming: Incoming
    truth: Reply | None = field(default=None, init=False)

    @property
    def endpoint(self) -> Endpoint:
        """What is asked."""
        return self.route.endpoint

    @property
    def vault_id(self) -> VaultId:
        """The vault in the path."""
        return VaultId(self.incoming.path["vault_id"])

    @property
    def since(self) -> int | None:
        """The log size that the client remembers."""
        since = self.incoming.query.get("sinceTreeSize")
        return None if since is None else int(since)

    def honest(self) -> Reply:
        """Answer truthfully, once; a write is done."""
        if self.truth is None:
            self.truth = answer(self.store, self.route, self.incoming)
        return self.truth

    def instead(self, **path: str) -> Reply:
        """Answer truthfully to another path of the same kind."""
        return answer(self.store, self.route, replace(self.incoming, path={**self.incoming.path, **path}))


Answer: TypeAlias = Reply | RawReply
Lie: TypeAlias = Callable[[Asked], Answer]
Edit: TypeAlias = Callable[[Asked, dict[str, Json]], None]
Event: TypeAlias = Callable[["Liar"], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One lie, by name.

    Attributes:
        name: Its name, in kebab-case.
        description: What the service does, in one sentence.
        lie: What is told; None where the harm is in the contents alone.
        prepare: A true event before the first contact.
        change: A true event between the first contact and the lie.
        prelude: What is told between the first contact and the lie, and can't be told from the truth.
        remembered: Whether it takes a client that remembers the vault to notice.
    """

    name: str
    description: str
    lie: Lie | None
    prepare: Event | None = None
    change: Event | None = None
    prelude: Lie | None = None
    remembered: bool = False


class Liar:
    """A malicious service over an honest store.

    Args:
        store: The honest emulator's store.
        directory: Its folder, with the operator's key.
        known: Where the keys that pass through here are made known.
        keys: Its own two key pairs; made when needed if not given.
        patient: Tell the truth, the prelude and the lie as contacts with a vault go by, without being told to.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        known: KnownSecrets,
        *,
        keys: Sequence[PrivateKey] = (),
        patient: Fault | None = None,
    ) -> None:
        self.store = store
        self.known = known
        self.told = 0
        self.elsewhere = "https://elsewhere.invalid"
        self.insider_id: KeyId | None = None
        self.tape: dict[str, Reply] = {}
        self._directory = directory
        self._keys = tuple(keys)
        self._patient = patient
        self._lie: Lie | None = None
        self._contacts: Counter[str] = Counter()
        self._changed = False
        self._records = patient is not None
        if patient is not None and patient.prepare is not None:
            patient.prepare(self)

    @cached_property
    def attacker(self) -> Hand:
        """The liar's own key, which no vault knows."""
        return Hand(self._key(0), SignerRef(SignerType.USER, KeyId(new_id())))

    @property
    def insider(self) -> Hand:
        """The key of an agent of the vaults who works with the liar; ``prepare`` admitted it."""
        if self.insider_id is None:
            message = "no insider was admitted"
            raise LookupError(message)
        return Hand(self.insider_key, SignerRef(SignerType.AGENT, self.insider_id))

    @cached_property
    def insider_key(self) -> PrivateKey:
        """The insider's key pair."""
        return self._key(1)

    @cached_property
    def operator(self) -> Operator:
        """The person who works with the liar.

        Raises:
            FileAccessError: The folder has no operator's key.
        """
        return Operator.open(self.store, self._operator_key, self.known)

    @cached_property
    def custodian(self) -> Custodian:
        """The same person's key, as it acts on vaults."""
        with self.store.read() as db:
            found = user_key(db, self._operator_key.public.fingerprint)
        if found is None:
            raise FileAccessError(f"{OPERATOR_KEY_FILE} does not belong to the embedded vault beside it")
        return Custodian(self._operator_key, found.id, self.known)

    @property
    def colluder(self) -> Hand:
        """The same person's signature."""
        return Hand(self.custodian.key, self.custodian.ref)

    def vault_ids(self) -> list[VaultId]:
        """Return every live vault."""
        with self.store.read() as db:
            return [vault.id for vault in all_vaults(db)]

    def tell(self, lie: Lie | None) -> None:
        """Tell this lie from now on; None for the truth."""
        self._lie = lie
        self.told = 0

    def record(self) -> None:
        """Start a tape: the first truthful answer to each read is kept, to be replayed later."""
        self.tape = {}
        self._records = True

    def answer(self, store: Store, route: Route, incoming: Incoming) -> Answer:
        """Answer one request; this is the emulator's ``answering`` hook."""
        asked = Asked(self, store, route, incoming)
        lie = self._lie if self._patient is None else self._by_patience(self._patient, asked)
        if lie is None:
            given: Answer = asked.honest()
        else:
            given = tell_by_sync(lie, asked) if route.endpoint is SYNC else lie(asked)
        if given != asked.truth:
            self.told += 1
        elif self._records and route.endpoint is SYNC:
            for single in singles(asked):
                place = place_of(single)
                if place not in self.tape:
                    self.tape[place] = single.honest()
        elif route.endpoint.method == "GET" and asked.truth.status < _REFUSED:
            self.tape.setdefault(place_of(asked), asked.truth)
        return given

    def _by_patience(self, fault: Fault, asked: Asked) -> Lie | None:
        # A client that remembers a vault says so, by the log size it remembers, or by where its sync stands.
        if asked.since is not None:
            self._contacts[asked.vault_id] += 1
        elif asked.endpoint is SYNC and asked.incoming.query.get("since") is not None:
            self._contacts[SYNC.path] += 1
        contacts = max(self._contacts.values(), default=0)
        # A change may fall between two requests of one contact, so a whole truthful one follows it.
        waits = 3 if fault.change is not None else 2 if fault.prelude is not None else int(fault.remembered)
        if contacts and fault.change is not None and not self._changed:
            self._changed = True
            fault.change(self)
        if contacts >= waits:
            return fault.lie
        return fault.prelude if contacts else None

    def _key(self, number: int) -> PrivateKey:
        if number < len(self._keys):
            return self._keys[number]
        return load_private_key(generate_private_key(LIAR_BITS))

    @cached_property
    def _operator_key(self) -> PrivateKey:
        pem = self.known.private_key_pem(read_private(self._directory / OPERATOR_KEY_FILE))
        # reveal: seen by the key loader only.
        return load_private_key(pem.reveal())


def admit_insider(liar: Liar) -> None:
    """Let an agent whose key the liar has join every vault, in the open."""
    credentials = liar.operator.create_agent("Insider", PERMISSIONS)
    with liar.store.write() as db:
        liar.insider_id = register(db, credentials.agent_id, KeyRequest(liar.insider_key.public)).id
    for vault_id in liar.vault_ids():
        liar.operator.grant(credentials.agent_id, vault_id, Level.WRITE)


def admit_attacker(liar: Liar) -> None:
    """Add the attacker's key to every vault's log, as a service can without asking anybody."""
    hand = liar.attacker
    key = SigningKey(hand.ref.id, hand.ref.kind, new_id(), hand.key.public, SignerStatus.ACTIVE, None, None)
    with liar.store.write() as db:
        add_key(db, key)
        for vault_id in liar.vault_ids():
            admit(db, vault_id, key)


def place_of(asked: Asked) -> str:
    """Name what is read, without its query."""
    return asked.endpoint.path.format(**asked.incoming.path)


def editing(edits: Mapping[Endpoint, Edit]) -> Lie:
    """Make a lie that changes the bodies of some endpoints' truthful answers."""

    def lie(asked: Asked) -> Reply:
        reply = asked.honest()
        edit = edits.get(asked.endpoint)
        if edit is None or reply.status >= _REFUSED or not isinstance(reply.body, dict):
            return reply
        body = copy.deepcopy(reply.body)
        edit(asked, body)
        return Reply(reply.status, body)

    return lie


def edit_of(edit: Edit, *endpoints: Endpoint) -> Lie:
    """Make a lie that changes the bodies of these endpoints in one way."""
    return editing(dict.fromkeys(endpoints, edit))


def both(*lies: Lie) -> Lie:
    """Combine lies about different endpoints: the first that differs from the truth is told."""

    def lie(asked: Asked) -> Answer:
        given: Answer | None = None
        for one in lies:
            given = one(asked)
            if given != asked.truth:
                return given
        return asked.honest() if given is None else given

    return lie


def raw_reply(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> RawReply:
    """Return bytes as an answer."""

    async def chunks(content: bytes) -> AsyncIterator[bytes]:
        yield content

    named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return RawReply(status, named, partial(chunks, body))


def part(value: Json) -> dict[str, Json]:
    """Return an object as one."""
    if not isinstance(value, dict):
        message = "not an object"
        raise TypeError(message)
    return value


def rows(value: Json) -> list[Json]:
    """Return a list as one."""
    if not isinstance(value, list):
        message = "not a list"
        raise TypeError(message)
    return value


def number(value: Json) -> int:
    """Return an integer as one."""
    if not isinstance(value, int):
        message = "not an integer"
        raise TypeError(message)
    return value


def text(value: Json) -> str:
    """Return a text as one."""
    if not isinstance(value, str):
        message = "not a text"
        raise TypeError(message)
    return value
