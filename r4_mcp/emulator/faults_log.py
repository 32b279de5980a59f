"""Lies about the signer log: shrunk, rewritten, unproven, replayed; and the tools that grow it with valid proofs.

What this file does not do: sign anything with the keys that it adds; ``faults_signers`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from r4_mcp.core import merkle
from r4_mcp.core.directory import leaf
from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.wire import KeyId, SignerType, VaultId
from r4_mcp.emulator.faults_checkpoints import replaying
from r4_mcp.emulator.faults_liar import Asked, Edit, Fault, Hand, admit_insider, edit_of, number, part, rows, text
from r4_mcp.machine.contract import GET_DIRECTORY


def entry_of(hand: Hand, previous_id: Json = None, rotation_signature: Json = None) -> dict[str, Json]:
    """Return a directory entry without its proof."""
    return {
        "id": hand.ref.id,
        "signerType": hand.ref.kind.value,
        "publicKey": hand.key.public.pem,
        "fingerprint": hand.key.public.fingerprint,
        "status": "ACTIVE",
        "previousId": previous_id,
        "rotationSignature": rotation_signature,
    }


def leaf_hashes(asked: Asked, vault_id: str) -> list[bytes]:
    """Return the leaves of a vault's true log."""
    with asked.store.read() as db:
        found = db.execute("SELECT leaf_hash FROM log_leaves WHERE vault_id = ? ORDER BY leaf_index", (vault_id,))
        return [row["leaf_hash"] for row in found]


def leaf_of(vault_id: VaultId, entry: dict[str, Json]) -> bytes:
    """Return the leaf of a directory entry."""
    previous = entry["previousId"]
    key_id, kind = KeyId(text(entry["id"])), SignerType(text(entry["signerType"]))
    return merkle.leaf_hash(
        leaf(vault_id, key_id, kind, text(entry["fingerprint"]), None if previous is None else KeyId(text(previous)))
    )


def prove(body: dict[str, Json], hashes: Sequence[bytes], since: int | None) -> None:
    """Write the proofs of a log into a directory."""
    for row in rows(body["signers"]):
        entry = part(row)
        proof = merkle.inclusion_proof(hashes, number(entry["leafIndex"]))
        entry["inclusionProof"] = [b64_encode(sibling) for sibling in proof]
    body["head"] = {"treeSize": len(hashes), "rootHash": merkle.root_of(hashes).hex()}
    body["consistencyProof"] = None
    if since is not None and 1 <= since <= len(hashes):
        proven = [b64_encode(node) for node in merkle.consistency_proof(hashes, since)]
        body["consistencyProof"] = {"fromTreeSize": since, "hashes": [*proven]}


def growing(entries: Callable[[Asked, dict[str, Json]], Sequence[dict[str, Json]]]) -> Edit:
    """Make an edit that adds entries to a directory and its log, with valid proofs."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        hashes = leaf_hashes(asked, asked.vault_id)
        for entry in entries(asked, body):
            rows(body["signers"]).append({**entry, "leafIndex": len(hashes)})
            hashes.append(leaf_of(asked.vault_id, entry))
        prove(body, hashes, asked.since)

    return edit


def attacker_listed(asked: Asked, _: dict[str, Json]) -> list[dict[str, Json]]:
    """Return the attacker's entry."""
    return [entry_of(asked.liar.attacker)]


def _shrink(asked: Asked, body: dict[str, Json]) -> None:
    # The newest entry is forgotten, and the log before it is served whole.
    rows(body["signers"]).pop()
    prove(body, leaf_hashes(asked, asked.vault_id)[:-1], asked.since)


def _hide_signer(_: Asked, body: dict[str, Json]) -> None:
    rows(body["signers"]).pop()


def _repeat_signer(_: Asked, body: dict[str, Json]) -> None:
    rows(body["signers"]).append(rows(body["signers"])[0])


def _rewrite(asked: Asked, body: dict[str, Json]) -> None:
    # A log of the same size with another past: a leaf of nobody's stands first, and the true ones follow.
    hashes = [merkle.leaf_hash("nobody"), *leaf_hashes(asked, asked.vault_id)]
    for row in rows(body["signers"]):
        part(row)["leafIndex"] = number(part(row)["leafIndex"]) + 1
    prove(body, hashes, asked.since)


def _bad_inclusion(_: Asked, body: dict[str, Json]) -> None:
    for row in rows(body["signers"]):
        part(row)["inclusionProof"] = [b64_encode(bytes(32)), *rows(part(row)["inclusionProof"])[1:]]


def _bad_consistency(_: Asked, body: dict[str, Json]) -> None:
    if body["consistencyProof"] is not None:
        part(body["consistencyProof"])["hashes"] = [b64_encode(bytes(32))]


def _no_consistency(_: Asked, body: dict[str, Json]) -> None:
    body["consistencyProof"] = None


def _other_start(_: Asked, body: dict[str, Json]) -> None:
    if body["consistencyProof"] is not None:
        part(body["consistencyProof"])["fromTreeSize"] = number(part(body["consistencyProof"])["fromTreeSize"]) + 1


def _lie_about_fingerprint(_: Asked, body: dict[str, Json]) -> None:
    part(rows(body["signers"])[0])["fingerprint"] = "0" * 64


def _then(*edits: Edit) -> Edit:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        for one in edits:
            one(asked, body)

    return edit


GROWN: Final = growing(attacker_listed)
"""Adds the attacker's key to a directory, proven."""


def _log(name: str, description: str, *edits: Edit, remembered: bool = True) -> Fault:
    return Fault(name, description, edit_of(_then(*edits), GET_DIRECTORY), remembered=remembered)


FAULTS: Final = (
    _log("log-shrunk", "The signer log forgets its newest entry.", _shrink),
    _log("log-rewritten", "The signer log gets another past, consistent with itself.", _rewrite),
    _log("log-inclusion-proof-bad", "The inclusion proofs do not lead to the log's root.", _bad_inclusion, remembered=False),
    _log("log-consistency-proof-bad", "A grown log's consistency proof proves nothing.", GROWN, _bad_consistency),
    _log("log-consistency-proof-missing", "A grown log shows no consistency proof.", GROWN, _no_consistency),
    _log("log-consistency-proof-shifted", "A grown log is proven from another size.", GROWN, _other_start),
    _log("signer-hidden", "A known signer is left out of the directory.", _hide_signer),
    _log("signer-duplicated", "A signer is listed twice.", _repeat_signer, remembered=False),
    _log("signer-fingerprint-lied", "A signer's fingerprint is not that of its key.", _lie_about_fingerprint, remembered=False),
    Fault(
        "directory-replayed",
        "The signer directory is the one from before an agent joined.",
        replaying(GET_DIRECTORY),
        change=admit_insider,
        remembered=True,
    ),
)
