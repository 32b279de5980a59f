"""The reverse door: the second implementation judges what Python signed, wrapped, sealed and proved."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from r4_mcp.core import merkle
from r4_mcp.core.encoding import JsonIn, b64_encode
from r4_mcp.core.envelope import Place, seal
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.wire import FieldId, FieldInstanceId, ItemId, VaultId
from r4_mcp.core.wrapping import wrap
from r4_mcp.secret import KnownSecrets, SecretKind

from .builders import Parties, Party, detail, identifier, summary

VECTORS: Final = Path(__file__).parent / "vectors"
NODE_MAJOR: Final = 20
DEK: Final = bytes(range(32))
VALUES: Final = {
    "empty": "",
    "plain": "plain",
    "astral and NUL": "\ufeff\x00 \U0001f511 e\u0301",
    "json": '{"v":3}',
    "long": "\u00e9" * 40_000,
}
LEAVES: Final[list[dict[str, JsonIn]]] = [{"id": identifier(str(number)), "number": number} for number in range(9)]


def missing_node() -> str | None:
    """Say why node can't be used here, or None."""
    node = shutil.which("node")
    if node is None:
        return "node is not on PATH"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.match(r"v(\d+)\.", version)
    return None if found and int(found[1]) >= NODE_MAJOR else f"node {NODE_MAJOR} or newer is needed"


REASON = missing_node()
pytestmark = [pytest.mark.node, pytest.mark.skipif(REASON is not None, reason=REASON or "node is usable")]

Case = dict[str, JsonIn]


def judged(cases: list[Case]) -> list[dict[str, Any]]:
    """Let node judge the cases, in one run."""
    found = subprocess.run(
        ["node", str(VECTORS / "open_sealed.mjs")],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    results = json.loads(found.stdout)["results"]
    assert len(results) == len(cases) > 0
    return list(results)


def pkcs8(party: Party) -> str:
    """Write a private key as the other side reads it."""
    raw = party.key.rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return b64encode(raw).decode("ascii")


def signatures(parties: Parties) -> list[Case]:
    """One signature per purpose and party."""
    payloads: dict[Context, dict[str, JsonIn]] = {
        Context.SUMMARY: dict(summary(7).payload()),
        Context.DETAIL: dict(detail(3).payload()),
        Context.WRAPPED_DEK: {"b": 1, "a": "\ufb33", "\U0001f600": None},
        Context.KEY_ROTATION: {"deep": [[{"\r": "\n", "\x7f": True}]], "least": -(2**53 - 1)},
    }
    return [
        {
            "kind": "signature",
            "publicKey": party.key.public.pem,
            "context": context.value,
            "payload": payload,
            "signature": sign(party.key, context, payload),
        }
        for context, payload in payloads.items()
        for party in (parties.human, parties.agent)
    ]


def wraps(parties: Parties) -> list[Case]:
    """A DEK wrapped for each of two keys."""
    dek = KnownSecrets().octets(DEK, SecretKind.DEK)
    return [
        {"kind": "wrap", "privateKey": pkcs8(party), "wrappedDek": wrap(dek, party.key.public), "dekHex": DEK.hex()}
        for party in (parties.agent, parties.successor)
    ]


def envelopes() -> list[Case]:
    """Values of every kind, each in a place of its own."""
    known = KnownSecrets()
    dek = known.octets(DEK, SecretKind.DEK)
    cases: list[Case] = []
    for number, value in enumerate(VALUES.values()):
        ids = [identifier(f"{what} {number}") for what in ("vault", "item", "field", "instance")]
        place = Place(VaultId(ids[0]), ItemId(ids[1]), FieldId(ids[2]), FieldInstanceId(ids[3]))
        cases.append(
            {
                "kind": "envelope",
                "dekHex": DEK.hex(),
                "vaultId": ids[0],
                "vaultItemId": ids[1],
                "fieldId": ids[2],
                "fieldInstanceId": ids[3],
                "envelope": seal(dek, place, known.text(value, SecretKind.FIELD), bytes([number] * 12)),
                "plaintext": value,
            }
        )
    return cases


def proofs() -> list[Case]:
    """All inclusion and consistency proofs of logs up to nine leaves."""
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    roots = [merkle.root_of(hashes[:size]).hex() for size in range(len(LEAVES) + 1)]
    cases: list[Case] = []
    for size in range(1, len(LEAVES) + 1):
        for at in range(size):
            cases.append(
                {
                    "kind": "inclusion",
                    "leaf": LEAVES[at],
                    "leafIndex": at,
                    "treeSize": size,
                    "proof": [b64_encode(entry) for entry in merkle.inclusion_proof(hashes[:size], at)],
                    "rootHash": roots[size],
                }
            )
            cases.append(
                {
                    "kind": "consistency",
                    "fromTreeSize": at + 1,
                    "toTreeSize": size,
                    "proof": [b64_encode(entry) for entry in merkle.consistency_proof(hashes[:size], at + 1)],
                    "fromRootHash": roots[at + 1],
                    "toRootHash": roots[size],
                }
            )
    return cases


def test_node_accepts_all_that_python_made(parties: Parties) -> None:
    """Signatures of every purpose, wraps, envelopes, inclusion and consistency proofs: all verify or open."""
    cases = [*signatures(parties), *wraps(parties), *envelopes(), *proofs()]
    results = judged(cases)
    assert [result for result in results if result != {"ok": True, "why": "ok"}] == []
    assert len(cases) == 8 + 2 + 5 + 90


def flipped(hexadecimal: str) -> str:
    """Return another hash."""
    return ("1" if hexadecimal[0] == "0" else "0") + hexadecimal[1:]


def tampered(case: Case) -> list[tuple[Case, str]]:
    """Return copies of an honest case with one thing wrong, and the class of refusal that each must get."""
    match case["kind"]:
        case "signature":
            other = next(context.value for context in Context if context.value != case["context"])
            payload = case["payload"]
            assert isinstance(payload, dict)
            return [({**case, "context": other}, "signature"), ({**case, "payload": {**payload, "more": 1}}, "signature")]
        case "wrap":
            return [({**case, "dekHex": flipped(str(case["dekHex"]))}, "mismatch"), ({**case, "wrappedDek": "AAAA"}, "damaged")]
        case "envelope":
            moved = ("vaultId", "vaultItemId", "fieldId", "fieldInstanceId")
            return [
                *[({**case, key: identifier("elsewhere")}, "damaged") for key in moved],
                ({**case, "dekHex": flipped(str(case["dekHex"]))}, "damaged"),
                ({**case, "envelope": f"{case['envelope']} "}, "malformed"),
                ({**case, "plaintext": f"{case['plaintext']}x"}, "mismatch"),
            ]
        case "inclusion":
            return [({**case, "rootHash": flipped(str(case["rootHash"]))}, "proof"), ({**case, "leaf": {"a": 1}}, "proof")]
        case _:
            return [({**case, "toRootHash": flipped(str(case["toRootHash"]))}, "proof")]


def test_node_refuses_tampered_copies(parties: Parties) -> None:
    """Each copy with one thing wrong is refused, and for that reason: the other side is no yes-man."""
    cases = [pair for case in [*signatures(parties), *wraps(parties), *envelopes(), *proofs()] for pair in tampered(case)]
    results = judged([case for case, _ in cases])
    assert [result["why"].split(":")[0] for result in results] == [expected for _, expected in cases]
    assert not any(result["ok"] for result in results)


def test_the_vectors_hold_by_their_own_builder() -> None:
    """The builder judges the file as it is and finds nothing."""
    found = subprocess.run(
        ["node", str(VECTORS / "build_vectors.mjs"), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("all held: ")
