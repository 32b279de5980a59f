"""A secret does not show itself: not in a repr, a format, a pickle, a JSON, a traceback."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import threading
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.secret import HIDDEN, MAX_PUBLIC, MIN_KEY_LINE, KnownSecrets, Secret, SecretKind

CANARY = "canary-5b1e"


@dataclasses.dataclass
class Holder:
    """Something that holds a secret."""

    name: str
    value: Secret[str] | Secret[bytes]


def minted() -> list[Secret[str] | Secret[bytes]]:
    """Return a text and a byte string."""
    known = KnownSecrets()
    return [known.text(CANARY, SecretKind.FIELD), known.octets(CANARY.encode(), SecretKind.DEK)]


SHOWN: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda secret: f"{secret}",
    "f-string with a width": lambda secret: f"{secret:>200}",
    "f-string with a precision": lambda secret: f"{secret:.3}",
    "f-string of the repr": lambda secret: f"{secret!r}",
    "f-string of the ASCII": lambda secret: f"{secret!a}",
    "format with a spec": lambda secret: format(secret, "s"),
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - old formatting is one of the ways out
    "in a list": lambda secret: repr([secret]),
    "in a dict": lambda secret: str({"key": secret}),
    "in a dataclass": lambda secret: repr(Holder("x", secret)),  # type: ignore[arg-type]  # it is one of the two
    "as a dictionary": lambda secret: repr(dataclasses.asdict(Holder("x", secret))),  # type: ignore[arg-type]  # as above
    "a copy": lambda secret: repr(copy.copy(secret)),
    "a deep copy": lambda secret: repr(copy.deepcopy([secret])),
    "an error about it": lambda secret: repr(ValueError(secret)),
    "json with a default": lambda secret: json.dumps({"key": secret}, default=str),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN.keys())
def test_a_secret_shows_a_constant(show: Callable[[object], str]) -> None:
    """Every way of making text of it shows the same constant: no value, no length."""
    for secret in minted():
        shown = show(secret)
        assert HIDDEN in shown
        assert CANARY not in shown


def test_a_format_spec_changes_nothing() -> None:
    """Not even padding: the constant is the constant."""
    for secret in minted():
        assert f"{secret:>200}" == f"{secret:.3}" == HIDDEN


REFUSED: dict[str, Callable[[object], object]] = {
    "pickle": pickle.dumps,
    "pickle by its oldest protocol": lambda secret: pickle.dumps(secret, 0),
    "pickle inside something": lambda secret: pickle.dumps({"key": [secret]}),
    "json": json.dumps,
    "vars": vars,
    "hash": hash,
    "a set": lambda secret: {secret},
    "its state": lambda secret: secret.__getstate__(),
    "bytes": bytes,  # type: ignore[dict-item]  # the refusal is the point
    "iteration": list,  # type: ignore[dict-item]  # the refusal is the point
    "length": len,  # type: ignore[dict-item]  # the refusal is the point
}


@pytest.mark.parametrize("take", REFUSED.values(), ids=REFUSED.keys())
def test_what_would_take_a_secret_along_is_refused(take: Callable[[object], object]) -> None:
    """No pickle, no JSON, no attributes, no hash; and the refusal does not quote it."""
    for secret in minted():
        with pytest.raises(TypeError) as refused:
            take(secret)
        assert CANARY not in str(refused.value)


def test_a_traceback_with_locals_shows_a_constant() -> None:
    """Crash reporters print local variables; a secret among them stays one."""

    def crash(secret: Secret[str] | Secret[bytes]) -> None:
        held = {"secret": secret}
        raise RuntimeError(str(held))

    for secret in minted():
        try:
            crash(secret)
        except RuntimeError as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert f"secret = {HIDDEN}" in shown
        assert CANARY not in shown


def test_a_log_line_shows_a_constant() -> None:
    """Lazy formatting in logging included."""
    stream = io.StringIO()
    logger = logging.Logger("test", logging.DEBUG)  # noqa: LOG001 - a logger of its own leaves no global state behind
    logger.addHandler(logging.StreamHandler(stream))
    for secret in minted():
        logger.debug("value %s %r", secret, secret)
    assert CANARY not in stream.getvalue()
    assert stream.getvalue().count(HIDDEN) == 4


@pytest.mark.parametrize("mint", [None, object(), "mint", Secret], ids=["none", "an object", "a text", "the class"])
def test_a_secret_is_made_through_known_secrets_only(mint: object) -> None:
    """Nothing but the module's own object mints one; the refusal does not quote the value."""
    with pytest.raises(TypeError, match="through KnownSecrets only") as refused:
        Secret(CANARY, mint)
    assert CANARY not in str(refused.value)


def test_a_secret_gives_its_value_to_reveal_alone() -> None:
    """Reveal returns what was put in; nothing can be set or added."""
    text, octets = minted()
    assert (text.reveal(), octets.reveal()) == (CANARY, CANARY.encode())
    assert copy.copy(text) is text
    assert copy.deepcopy(octets) is octets
    with pytest.raises(AttributeError):
        text.more = 1  # type: ignore[union-attr]  # the refusal is the point


@given(st.text(), st.text())
def test_secrets_are_equal_by_value(one: str, other: str) -> None:
    """Two reads of one value are equal; a text never equals a byte string or a plain string."""
    known = KnownSecrets()
    first = known.text(one, SecretKind.FIELD, armed=False)
    assert first == known.text(one, SecretKind.FIELD, armed=False)
    assert (first == known.text(other, SecretKind.FIELD, armed=False)) == (one == other)
    assert first != known.octets(one.encode("utf-8", "surrogatepass"), SecretKind.DEK)
    assert first != one


def test_only_armed_values_are_looked_for() -> None:
    """Unarmed and empty values are secrets that nobody looks for; arming one later makes it known."""
    known = KnownSecrets()
    secret = known.text(CANARY, SecretKind.FIELD, armed=False)
    empty = known.text("", SecretKind.FIELD)
    known.octets(b"", SecretKind.DEK)
    known.arm(empty, SecretKind.FIELD)
    assert (known.armed(), len(known), known.generation) == ((), 0, 0)
    known.arm(secret, SecretKind.FIELD)
    assert (known.armed(), len(known), known.generation) == ((CANARY,), 1, 1)
    known.arm(secret, SecretKind.FIELD)
    assert (known.armed(), len(known), known.generation) == ((CANARY,), 1, 1)


def test_armed_values_come_longest_first() -> None:
    """So that a value inside another is not what is found first."""
    known = KnownSecrets()
    for value in ("bb", "dddd", "a", "ccc"):
        known.text(value, SecretKind.FIELD)
    assert known.armed() == ("dddd", "ccc", "bb", "a")
    assert sorted(secret.reveal() for secret in known) == ["a", "bb", "ccc", "dddd"]


def test_past_the_capacity_field_values_are_forgotten_and_keys_are_not() -> None:
    """The oldest field value goes first; a value read again is young again; keys stay."""
    known = KnownSecrets(capacity=2)
    known.text("api-key", SecretKind.API_KEY)
    known.octets(b"dek", SecretKind.DEK)
    for value in ("one", "two", "one", "three"):
        known.text(value, SecretKind.FIELD)
    assert set(known.armed()) == {"api-key", b"dek", "one", "three"}
    before = known.generation
    known.text("api-key", SecretKind.API_KEY)
    assert (len(known), known.generation) == (4, before)


def test_a_value_that_is_also_a_key_is_not_forgotten() -> None:
    """Field values that push each other out never push out a key of the same text."""
    known = KnownSecrets(capacity=1)
    known.text("same", SecretKind.FIELD)
    known.text("same", SecretKind.API_KEY)
    known.text("other", SecretKind.FIELD)
    assert set(known.armed()) == {"same", "other"}


def test_each_full_line_of_a_private_key_is_known() -> None:
    """A line of the body leaks alone; armour and short ends are too common to look for."""
    lines = ["-----BEGIN PRIVATE KEY-----", "A" * 64, "B" * MIN_KEY_LINE, "C" * (MIN_KEY_LINE - 1), "-----END PRIVATE KEY-----"]
    pem = "\n".join(lines).encode()
    known = KnownSecrets()
    assert known.private_key_pem(pem).reveal() == pem
    assert set(known.armed()) == {pem, lines[1], lines[2]}


def test_public_texts_are_noted_apart() -> None:
    """They are looked up, never looked for; a repeated or empty one is no news; past the limit the oldest is forgotten."""
    known = KnownSecrets()
    known.publish(["Production", "", "Token", "Production"])
    assert (known.public(), known.armed(), len(known), known.generation) == (("Production", "Token"), (), 0, 2)
    known.publish(["Token"])
    assert known.generation == 2
    known.publish(str(number) for number in range(MAX_PUBLIC - 1))
    assert len(known.public()) == MAX_PUBLIC
    assert known.public()[0] == "Token"


def test_known_secrets_show_their_number_only() -> None:
    """The collection is printable, too."""
    known = KnownSecrets()
    known.text(CANARY, SecretKind.FIELD)
    assert repr(known) == "KnownSecrets(1)"


def test_secrets_are_minted_from_many_threads() -> None:
    """DEKs are unwrapped in worker threads: nothing is lost, and the capacity holds."""
    known, ready = KnownSecrets(capacity=50), threading.Barrier(8)

    def mint(worker: int) -> None:
        ready.wait(timeout=10)
        for number in range(200):
            known.octets(f"key {worker} {number}".encode(), SecretKind.DEK)
            known.text(f"value {worker} {number}", SecretKind.FIELD)
            known.armed()

    workers = [threading.Thread(target=mint, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    armed = known.armed()
    assert sum(isinstance(value, bytes) for value in armed) == 8 * 200
    assert sum(isinstance(value, str) for value in armed) == 50
    assert known.generation == 2 * 8 * 200
