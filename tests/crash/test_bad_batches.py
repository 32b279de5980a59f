"""Batches that break a rule, made from what the real client sends: refused whole, and the old key still reads everything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.responses import Response

from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.wire import KeyId, KeyRotation, SignerRef, SignerType, VaultId
from r4_mcp.core.wrapping import Dek, wrapped_entry
from r4_mcp.errors import BusyError, RequestRejectedError, RotationUnresolvedError, VerificationError
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX, Level
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.server.explain import explain
from r4_mcp.vault.rotation import TRIES
from tests.switchboard import Exchange

from .invariants import leftovers, remembered_on_disk, require_whole
from .losses import ROTATE, Lossy, forward, quietly, rotate
from .small_world import SmallWorld, read_everything


@dataclass(frozen=True)
class Sent:
    """A rotation request of the real client, with the keys that made it."""

    body: dict[str, Any]
    old: PrivateKey
    new: PrivateKey
    stranger: PrivateKey

    @property
    def batch(self) -> list[dict[str, Any]]:
        """The wrapped vault keys."""
        entries: list[dict[str, Any]] = self.body["rewrappedVaultKeys"]
        return entries

    def with_batch(self, *entries: dict[str, Any]) -> dict[str, Any]:
        """Return the request with other entries."""
        return {**self.body, "rewrappedVaultKeys": list(entries)}

    def claim(self, signer: PrivateKey, **changed: str) -> dict[str, Any]:
        """Return the request with another continuity signature."""
        parts = {"key_id": self.body["encryptionKeyId"], "fingerprint": self.new.public.fingerprint, **changed}
        payload = KeyRotation(KeyId(parts["key_id"]), parts["fingerprint"], KeyId(self.body["previousEncryptionKeyId"])).payload()
        return {**self.body, "rotationSignature": sign(signer, Context.KEY_ROTATION, payload)}

    def entry(
        self, first: dict[str, Any], *, version: int = 1, recipient: str = "", key: PrivateKey | None = None, signer: str = "new"
    ) -> dict[str, Any]:
        """Return an entry of some vault key for the same vault, changed in one respect."""
        dek = Dek(VaultId(first["vaultId"]), version, KnownSecrets().octets(os.urandom(32), SecretKind.DEK))
        new_id = KeyId(self.body["encryptionKeyId"])
        signing = self.new if signer == "new" else self.old
        return dict(
            wrapped_entry(
                dek, KeyId(recipient) or new_id, (key or self.new).public, SignerRef(SignerType.AGENT, new_id), signing
            ).payload()
        )


Spoil = Callable[[Sent], dict[str, Any]]
INVALID, INCOMPLETE = (400, "invalid_request"), (409, "key_rotation_incomplete")

BAD: Final[Mapping[str, tuple[Spoil, tuple[int, str]]]] = {
    "it misses a vault": (lambda sent: sent.with_batch(*sent.batch[1:]), INCOMPLETE),
    "it is empty": (lambda sent: sent.with_batch(), INCOMPLETE),
    "it repeats a vault": (lambda sent: sent.with_batch(*sent.batch, sent.batch[0]), INVALID),
    "it repeats one vault instead of another": (lambda sent: sent.with_batch(sent.batch[0], sent.batch[0]), INVALID),
    "it names a vault that is not held": (
        lambda sent: sent.with_batch(*sent.batch, sent.entry({"vaultId": "f" * 24})),
        INCOMPLETE,
    ),
    "it names a later DEK version": (
        lambda sent: sent.with_batch(sent.batch[0], sent.entry(sent.batch[1], version=2)),
        INCOMPLETE,
    ),
    "it wraps for the old key": (
        lambda sent: sent.with_batch(
            sent.batch[0], sent.entry(sent.batch[1], recipient=sent.body["previousEncryptionKeyId"], key=sent.old)
        ),
        INVALID,
    ),
    "an entry is signed with the old key": (
        lambda sent: sent.with_batch(sent.batch[0], sent.entry(sent.batch[1], signer="old")),
        INVALID,
    ),
    "two entries have each other's wrapped key": (
        lambda sent: sent.with_batch(
            {**sent.batch[0], "wrappedDek": sent.batch[1]["wrappedDek"]},
            {**sent.batch[1], "wrappedDek": sent.batch[0]["wrappedDek"]},
        ),
        INVALID,
    ),
    "the continuity signature is missing": (
        lambda sent: {name: value for name, value in sent.body.items() if name != "rotationSignature"},
        INVALID,
    ),
    "the continuity signature is the new key's": (lambda sent: sent.claim(sent.new), INVALID),
    "the continuity signature is a stranger's": (lambda sent: sent.claim(sent.stranger), INVALID),
    "the continuity signature is for another id": (lambda sent: sent.claim(sent.old, key_id="e" * 24), INVALID),
    "the continuity signature is for another key": (
        lambda sent: sent.claim(sent.old, fingerprint=sent.stranger.public.fingerprint),
        INVALID,
    ),
    "the public key was exchanged": (lambda sent: {**sent.body, "publicKey": sent.stranger.public.pem}, INVALID),
}
every_bad_batch = pytest.mark.parametrize(("spoil", "refusal"), BAD.values(), ids=BAD.keys())


def parts_of(world: SmallWorld, body: bytes) -> Sent:
    """Return a request with the keys that made it."""
    return Sent(json.loads(body), world.key_on_disk(), world.spare_keys[world.drawn - 1], world.spare_keys[-1])


async def post(world: SmallWorld, body: Mapping[str, Any]) -> httpx.Response:
    """Send a registration over HTTP, as this agent."""
    members = json.loads(world.key_file.read_text())
    async with httpx.AsyncClient(trust_env=False) as http:
        headers = {API_KEY_HEADER: f"{members['accessKey']}.{members['accessSecret']}"}
        return await http.post(f"{world.base_url}{API_PREFIX}/vault/public-key", json=dict(body), headers=headers)


def dump(world: SmallWorld) -> str:
    """Return every row of the service."""
    with world.store.read() as db:
        return "\n".join(db.iterdump())


async def test_the_service_refuses_every_bad_batch_whole(small: SmallWorld) -> None:
    """Sent straight to it: the documented refusal, not a row is changed, the old key reads on; the good one is accepted after."""
    network = small.tap.intercept = Lossy(small, dropped=1, silent=1)
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError):
            await rotate(rooms)
    sent = parts_of(small, network.bodies[0])
    before = dump(small)
    for name, (spoil, refusal) in BAD.items():
        answer = await post(small, spoil(sent))
        assert (answer.status_code, answer.json()["error"]["code"]) == refusal, name
    assert dump(small) == before
    async with small.runtime({"R4_READ_ONLY": "1"}) as rooms:
        await rooms.recovery.settle(writes=False, needs_key=True)
        assert await read_everything(rooms.reader) == small.values
    assert (await post(small, sent.body)).status_code == 201
    again = await post(small, {**sent.body, "encryptionKeyId": "d" * 24, "publicKey": sent.stranger.public.pem})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "key_already_rotated")
    await require_whole(small, await remembered_on_disk(small))
    assert small.active_fingerprint() == sent.new.public.fingerprint


@every_bad_batch
async def test_a_batch_that_was_spoiled_on_its_way_costs_nothing(
    small: SmallWorld, spoil: Spoil, refusal: tuple[int, str]
) -> None:
    """The client hears the refusal, sets the new key aside, and goes on with the old one."""
    statuses: list[int] = []

    async def on_its_way(exchange: Exchange) -> Response | None:
        if exchange.line != ROTATE:
            return None
        answer = await forward(small, exchange, json.dumps(spoil(parts_of(small, exchange.body))).encode())
        statuses.append(answer.status_code)
        return Response(answer.content, answer.status_code)

    small.tap.intercept = on_its_way
    before = small.active_fingerprint()
    expected = BusyError if refusal == INCOMPLETE else RequestRejectedError
    async with small.runtime() as rooms:
        with pytest.raises(expected) as caught:
            await rotate(rooms)
        assert explain(caught.value).next_step
        assert await read_everything(rooms.reader) == small.values
    # A batch that is incomplete is built again; any other refusal is final.
    assert statuses == [refusal[0]] * (TRIES if refusal == INCOMPLETE else 1)
    assert small.drawn == 1
    assert small.journal() == ()
    # It was sent, so it is kept aside whatever the service says.
    assert leftovers(small) == {"refused key": 1}
    small.tap.intercept = None
    assert await require_whole(small, {}) == small.values
    assert small.active_fingerprint() == before


@pytest.mark.parametrize("wrapped_wrong", [1, 2])
async def test_a_key_that_was_wrapped_for_a_stranger_is_found_when_it_is_read_back(small: SmallWorld, wrapped_wrong: int) -> None:
    """The service can't see it. One such vault is named; where it is every vault, the rotation stays open until it is granted."""

    async def on_its_way(exchange: Exchange) -> Response | None:
        if exchange.line != ROTATE:
            return None
        sent = parts_of(small, exchange.body)
        wrong = [sent.entry(entry, key=sent.stranger) for entry in sent.batch[:wrapped_wrong]]
        body = sent.with_batch(*wrong, *sent.batch[wrapped_wrong:])
        return Response((await forward(small, exchange, json.dumps(body).encode())).content, 201)

    small.tap.intercept = on_its_way
    async with small.runtime() as rooms:
        if wrapped_wrong == 1:
            done = await rotate(rooms)
            (unread,) = done.unread
            assert done.vaults == 2
            for vault_id in small.operator.vaults().values():
                opening = rooms.reader.dek(await rooms.reader.vault(vault_id))
                if vault_id == unread:
                    with pytest.raises(VerificationError):
                        await opening
                else:
                    await opening
        else:
            with pytest.raises(RotationUnresolvedError) as caught:
                await rotate(rooms)
            assert "did not read back" in caught.value.message
            assert len(small.journal()) == 1
            assert leftovers(small) == {"staged key": 1}
    small.tap.intercept = None
    for vault_id in small.operator.vaults().values():
        small.operator.grant(small.agent_id, vault_id, Level.ADMIN)
    await require_whole(small, {})
    assert leftovers(small) == {"retired key": 1}


@pytest.mark.parametrize("times", [1, TRIES - 1, TRIES])
async def test_a_batch_that_became_incomplete_is_built_again_at_most_three_times(
    small: SmallWorld, elsewhere: Path, times: int
) -> None:
    """The agent makes a vault from another home while the batch is on its way; the next batch has it too."""
    made: list[str] = []

    async def meanwhile(exchange: Exchange) -> Response | None:
        if exchange.line == ROTATE and len(made) < times:
            made.append(f"Made meanwhile {len(made)}")
            async with small.runtime({"R4_HOME": str(elsewhere)}) as other:
                await other.writer.create_vault(made[-1], None, None)
        return None

    small.tap.intercept = meanwhile
    async with small.runtime() as rooms:
        if times < TRIES:
            assert (await rotate(rooms)).vaults == 2 + times
        else:
            with pytest.raises(BusyError) as caught:
                await rotate(rooms)
            assert "old key stays" in caught.value.message
            assert leftovers(small) == {"refused key": 1}
        assert await read_everything(rooms.reader) == {**small.values, **{f"{name}/": "" for name in made}}
    assert small.tap.lines().count(ROTATE) == min(times + 1, TRIES)
    assert small.drawn == 1
    await require_whole(small, {})


async def test_a_vault_key_that_changed_meanwhile_is_wrapped_in_its_new_version(small: SmallWorld) -> None:
    """The owner changes a vault's key while the batch is on its way: the stale version is refused, and the new one is sent."""
    changed: list[int] = []

    async def meanwhile(exchange: Exchange) -> Response | None:
        if exchange.line == ROTATE and not changed:
            changed.append(small.operator.rotate_dek(small.vault_id()))
        return None

    small.tap.intercept = meanwhile
    async with small.runtime() as rooms:
        await rooms.rotation.rotate(quietly)
    assert changed == [2]
    bodies = [json.loads(sent.body) for sent in small.tap.exchanges if sent.line == ROTATE]
    versions = [sorted(entry["dekVersion"] for entry in body["rewrappedVaultKeys"]) for body in bodies]
    assert versions == [[1, 1], [1, 2]]
    await require_whole(small, {})
