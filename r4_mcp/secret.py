"""``Secret``, a value that does not show itself, and ``KnownSecrets``, through which every one is made.

What this file does not do: wipe memory. Python copies strings freely; that limit is said in SECURITY.md.

Rules:
1. A ``Secret`` is made by ``KnownSecrets`` only, so that the egress guard knows each value in this process without an
   upward arrow from the rooms that make them.
2. repr, str, format, pickle, copy-to-JSON and tracebacks show the same constant text for every secret: no length, no mask.
3. ``reveal()`` is the only way out; each call has a comment that says who may see the value.
"""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, Generic, NoReturn, TypeVar

HIDDEN: Final = "<secret>"

# Rule 1: the constructor asks for this object, and only this module has it.
_MINT: Final = object()

ValueT = TypeVar("ValueT", str, bytes)


class SecretKind(Enum):
    """What a known secret is. Keys are never forgotten; field values are, oldest first, past the capacity."""

    API_KEY = "api key"
    PRIVATE_KEY = "private key"
    DEK = "vault key"
    FIELD = "field value"
    DRAFT = "value of a draft"


class Secret(Generic[ValueT]):
    """A text or a byte string that is never shown by accident."""

    __slots__ = ("__value",)

    def __init__(self, value: ValueT, mint: object) -> None:
        if mint is not _MINT:
            message = "a Secret is made through KnownSecrets only"
            raise TypeError(message)
        self.__value: ValueT = value

    def reveal(self) -> ValueT:
        """Return the plaintext. Each caller says in a comment who may see it."""
        return self.__value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        # A width or precision in the spec is ignored: padding a constant is harmless, cutting it is not worth a branch.
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = _octets(self.__value), _octets(other.reveal())
        return hmac.compare_digest(mine, theirs)

    # Two reads of one value must compare equal, and hashing it would put a function of it into dict internals.
    __hash__ = None  # type: ignore[assignment]  # the documented way to make a class unhashable

    def __copy__(self) -> Secret[ValueT]:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret[ValueT]:
        # dataclasses.asdict deep-copies; handing back the same opaque object keeps the value where it is.
        return self

    def __reduce__(self) -> NoReturn:
        message = "a Secret is not pickled"
        raise TypeError(message)

    def __getstate__(self) -> NoReturn:
        message = "a Secret has no exportable state"
        raise TypeError(message)


def _octets(value: str | bytes) -> bytes:
    # The first byte keeps a text and a byte string of the same octets apart.
    return b"t" + value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"b" + value


class KnownSecrets:
    """Every secret of this process, remembered so that no outgoing byte can carry one by mistake.

    One instance, created where the process is wired, handed to every room that makes or checks secrets.

    Args:
        capacity: How many field values are remembered; the oldest is forgotten first. Keys are always remembered.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._public: OrderedDict[str, None] = OrderedDict()
        self._keys: dict[str | bytes, Secret[str] | Secret[bytes]] = {}
        self._fields: OrderedDict[str | bytes, Secret[str] | Secret[bytes]] = OrderedDict()
        self._drafts: OrderedDict[str | bytes, Secret[str] | Secret[bytes]] = OrderedDict()
        # DEKs are unwrapped in worker threads, so minting is guarded.
        self._lock = threading.Lock()
        self._generation = 0

    def text(self, value: str, kind: SecretKind, *, armed: bool = True) -> Secret[str]:
        """Make a secret text.

        Args:
            value: The plaintext.
            kind: What it is.
            armed: False for values that are public anyway (fields that are not secret fields, or a value equal to signed
                metadata): they are still never shown by accident, but do not alarm the egress guard.
        """
        minted = Secret(value, _MINT)
        if armed and value:
            self._remember(value, minted, kind)
        return minted

    def arm(self, secret: Secret[str], kind: SecretKind) -> None:
        """Arm a secret that was made unarmed, once it is known to be one that must not show."""
        value = secret.reveal()  # seen by the guard's own memory only
        if value:
            self._remember(value, secret, kind)

    def octets(self, value: bytes, kind: SecretKind) -> Secret[bytes]:
        """Make a secret byte string; always armed."""
        minted = Secret(value, _MINT)
        if value:
            self._remember(value, minted, kind)
        return minted

    def private_key_pem(self, pem: bytes) -> Secret[bytes]:
        """Make a secret of a PEM private key; each full line of its body is known too, since lines leak alone."""
        for line in pem.decode("ascii", "replace").splitlines():
            if len(line) >= MIN_KEY_LINE and not line.startswith("-----"):
                self.text(line, SecretKind.PRIVATE_KEY)
        return self.octets(pem, SecretKind.PRIVATE_KEY)

    def publish(self, texts: Iterable[str]) -> None:
        """Note texts that are public anyway: signed names, labels and websites, which listings show and the service can read.

        A value that stands inside one of them gives nothing away there, and must not alarm the guard.
        """
        with self._lock:
            for text in texts:
                if text and text not in self._public:
                    self._public[text] = None
                    self._generation += 1
            while len(self._public) > MAX_PUBLIC:
                self._public.popitem(last=False)

    def public(self) -> tuple[str, ...]:
        """Return the texts that are public anyway."""
        with self._lock:
            return tuple(self._public)

    def armed(self) -> tuple[str | bytes, ...]:
        """Return the plaintexts to look for, longest first. For the egress guard and the text screen alone."""
        with self._lock:
            values = [*self._keys, *self._fields, *self._drafts]
        return tuple(sorted(values, key=len, reverse=True))

    @property
    def generation(self) -> int:
        """A number that grows whenever ``armed`` or ``public`` changes, so that a matcher knows when to rebuild."""
        return self._generation

    def __iter__(self) -> Iterator[Secret[str] | Secret[bytes]]:
        with self._lock:
            return iter([*self._keys.values(), *self._fields.values(), *self._drafts.values()])

    def __len__(self) -> int:
        return len(self._keys) + len(self._fields) + len(self._drafts)

    def __bool__(self) -> bool:
        # An empty set is still the process's one instance; `known or KnownSecrets()` must not replace it.
        return True

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self)})"

    def _remember(self, value: str | bytes, minted: Secret[str] | Secret[bytes], kind: SecretKind) -> None:
        with self._lock:
            if kind in {SecretKind.FIELD, SecretKind.DRAFT}:
                # Drafts have a memory of their own, so that a flood of them pushes no revealed value out.
                kept = self._fields if kind is SecretKind.FIELD else self._drafts
                if value in kept:
                    kept.move_to_end(value)
                    return
                kept[value] = minted
                while len(kept) > (self._capacity if kind is SecretKind.FIELD else min(self._capacity, MAX_DRAFTS)):
                    kept.popitem(last=False)
            elif value not in self._keys:
                self._keys[value] = minted
            else:
                return
            self._generation += 1


MAX_DRAFTS: Final = 512
"""Values of drafts (of writes, stored or refused) that are remembered; the oldest is forgotten first."""

MAX_PUBLIC: Final = 100_000
"""Public texts that are remembered; the oldest is forgotten first."""

MIN_KEY_LINE: Final = 32
"""Shorter PEM lines (the last one of a body) are too common to be looked for on their own."""
