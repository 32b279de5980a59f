"""Every parser of what others wrote, as a function of bytes that raises nothing but the errors promised for it.

What this file does not do: choose bytes. ``test_fuzz`` and ``atheris_target`` do.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

import anyio

from r4_mcp.core import served
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.envelope import DEK_SIZE, Place, open_envelope
from r4_mcp.core.keys import load_public_key
from r4_mcp.core.sync import read_search, read_sync_page
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.trust_codec import dump_trust, read_trust
from r4_mcp.core.wire import FieldInstanceId, read_wrapped_key
from r4_mcp.errors import (
    EnvelopeError,
    FileAccessError,
    MalformedError,
    ReferenceSyntaxError,
    ServiceError,
    TrustStoreLostError,
    VerificationError,
)
from r4_mcp.machine.client import MachineClient
from r4_mcp.machine.connections import Answer, Request
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.references import parse_field_reference
from r4_mcp.vault.trust_store import SCHEMA, TrustStore
from tests.core.builders import ITEM, SECRET_FIELD, TOFU, VAULT, identifier

Target = Callable[[bytes], None]

STATUSES: Final = (400, 401, 403, 404, 408, 409, 413, 418, 429, 500, 503)
PLACE: Final = Place(VAULT, ITEM, SECRET_FIELD, FieldInstanceId(identifier("token 2")))


def _reader(read: Callable[[Json], object]) -> Target:
    def target(raw: bytes) -> None:
        read(parse_json(raw, what="answer"))

    return target


def _prove_directory(raw: bytes) -> None:
    advance(VaultTrust(), read_directory(parse_json(raw, what="directory")), VAULT, TOFU)


def _any_json(raw: bytes) -> None:
    value = parse_json(raw, what="document")
    # What is accepted has one meaning: its canonical form is read back as the same value.
    assert parse_json(canonical(value), what="canonical form") == value


def _pins(raw: bytes) -> None:
    state = read_trust(parse_json(raw, what="pins"))
    assert read_trust(dump_trust(state)) == state


def _envelope(raw: bytes) -> None:
    known = KnownSecrets()
    # surrogateescape: a served text can hold anything that a str can.
    open_envelope(known.octets(bytes(DEK_SIZE), SecretKind.DEK), PLACE, raw.decode("utf-8", "surrogateescape"), known, armed=True)


def _public_key(raw: bytes) -> None:
    load_public_key(raw.decode("utf-8", "surrogateescape"), what="key")


def _reference(raw: bytes) -> None:
    parse_field_reference(raw.decode("utf-8", "surrogateescape"))


def _error_answer(raw: bytes) -> None:
    status = STATUSES[len(raw) % len(STATUSES)]
    headers = {"retry-after": raw[:6].strip().decode("latin-1") if raw[:6].isalnum() else "soon"}

    async def body() -> AsyncIterator[bytes]:
        yield raw

    class Answering:
        @asynccontextmanager
        async def send(self, request: Request) -> AsyncIterator[Answer]:
            assert request.method == "POST"
            yield Answer(status, headers, body())

    async def call() -> None:
        api_key = KnownSecrets().text("rk_tests.not-a-secret", SecretKind.API_KEY)
        # A POST is not tried again, so nothing waits.
        await MachineClient(Answering(), "http://localhost", api_key).feedback({})

    anyio.run(call)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.chmod(0o700)
    return folder


def _trust_store(raw: bytes) -> None:
    path = _folder() / "trust-store.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    TrustStore(path, _folder() / "none", ("http://localhost", "rk_tests"), lambda: 0.0).section()


def _trust_store_body(raw: bytes) -> None:
    # The checksum is mended, so that what it covers is reached.
    try:
        body = parse_json(raw, what="body")
        checksum = hashlib.sha256(canonical(body)).hexdigest()
    except MalformedError:
        return
    _trust_store(canonical({"schema": SCHEMA, "checksum": checksum, "body": body}))


TARGETS: Final[dict[str, tuple[Target, tuple[type[Exception], ...]]]] = {
    "any JSON": (_any_json, (MalformedError,)),
    "vault list": (_reader(served.read_vaults), (MalformedError,)),
    "vault list, paged": (_reader(served.read_vaults), (MalformedError,)),
    "item listing": (_reader(served.read_items), (MalformedError,)),
    "item": (_reader(served.read_item), (MalformedError,)),
    "field": (_reader(served.read_field), (MalformedError,)),
    "environment fields": (_reader(served.read_environment_fields), (MalformedError,)),
    "sync page": (_reader(read_sync_page), (MalformedError,)),
    "search": (_reader(read_search), (MalformedError,)),
    "me": (_reader(served.read_me), (MalformedError,)),
    "key registration": (_reader(served.read_registration), (MalformedError,)),
    "creation": (_reader(served.read_created), (MalformedError,)),
    "feedback": (_reader(served.read_feedback), (MalformedError,)),
    "project list": (_reader(served.read_projects), (MalformedError,)),
    "signer directory": (_reader(read_directory), (MalformedError,)),
    "signer directory, proven": (_prove_directory, (VerificationError,)),
    "wrapped key": (_reader(lambda value: read_wrapped_key(value, "wrapped key")), (MalformedError,)),
    "pins": (_pins, (MalformedError,)),
    "envelope": (_envelope, (EnvelopeError,)),
    "public key": (_public_key, (MalformedError,)),
    "reference": (_reference, (ReferenceSyntaxError,)),
    "error answer": (_error_answer, (ServiceError,)),
    "trust store": (_trust_store, (FileAccessError, TrustStoreLostError)),
    "trust store, no checksum": (_trust_store_body, (FileAccessError, TrustStoreLostError)),
}
"""Name → parser, and the errors that it may raise."""


def feed(name: str, raw: bytes) -> None:
    """Give bytes to a parser; anything but the errors promised for it gets through."""
    target, promised = TARGETS[name]
    try:
        target(raw)
    except promised as refusal:
        message = str(refusal)
    else:
        return
    # A refusal is told to people and models, so it quotes nothing.
    assert message.isprintable()
