"""The transparency log under a signer directory: an RFC 6962 Merkle tree.

What this file does not do: say who the signers are. It hashes leaves and proves that a leaf is in a tree, and that one tree
continues another.

Rules:
1. Leaf hash = SHA-256(0x00 || canonical JSON), node hash = SHA-256(0x01 || left || right), empty root = SHA-256("")
   (RFC 6962 section 2.1).
2. Inclusion and consistency proofs are checked as in RFC 9162 sections 2.1.3.2 and 2.1.4.2, which state the algorithms for the
   same tree; a proof with an entry too many or too few is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from r4_mcp.core.encoding import JsonIn, canonical
from r4_mcp.errors import TransparencyError

HASH_SIZE: Final = 32
MAX_PROOF: Final = 64
"""Most hashes of a proof: a tree of 2^53 leaves needs 53."""


def leaf_hash(leaf: JsonIn) -> bytes:
    """Return the hash of a leaf (rule 1)."""
    return hashlib.sha256(b"\x00" + canonical(leaf)).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a tree, given its leaf hashes in order."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    return _node(root_of(hashes[:split]), root_of(hashes[split:]))


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf ``index`` (RFC 6962 section 2.1.1)."""
    if len(hashes) <= 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion_proof(hashes[:split], index), root_of(hashes[split:])]
    return [*inclusion_proof(hashes[split:], index - split), root_of(hashes[:split])]


def consistency_proof(hashes: Sequence[bytes], earlier: int) -> list[bytes]:
    """Return the proof that the first ``earlier`` leaves are a prefix (RFC 6962 section 2.1.2)."""
    if earlier in (0, len(hashes)):
        return []
    return _subproof(hashes, earlier, complete=True)


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Prove that a leaf hash stands at ``index`` in the tree of ``size`` leaves with this root.

    Raises:
        TransparencyError: It does not.
    """
    if not 0 <= index < size:
        raise TransparencyError(f"leaf index {index} is outside a log of {size}")
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise TransparencyError("an inclusion proof is too long")
        if node & 1 or node == last:
            computed = _node(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = _node(computed, sibling)
        node, last = node >> 1, last >> 1
    if last or computed != root:
        raise TransparencyError(f"the inclusion proof of leaf {index} in a log of {size} does not lead to its root")


# One piece, to be read beside RFC 9162 section 2.1.4.2; cut into helpers it could not be compared.
def check_consistency(  # noqa: C901, PLR0912
    earlier: int, earlier_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Prove that the tree of ``size`` leaves continues the tree of ``earlier`` leaves.

    Raises:
        TransparencyError: It does not: the log shrank, forked, or the proof is wrong.
    """
    if size < earlier:
        raise TransparencyError(f"the log shrank from {earlier} to {size} entries")
    if earlier == size:
        if earlier_root != root or proof:
            raise TransparencyError(f"the log of {size} entries changed its root")
        return
    if earlier == 0:
        if proof:
            raise TransparencyError("a consistency proof from an empty log has entries")
        return
    path = list(proof)
    if earlier & (earlier - 1) == 0:
        path.insert(0, earlier_root)
    if not path:
        raise TransparencyError("a consistency proof is missing")
    node, last = earlier - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise TransparencyError("a consistency proof is too long")
        if node & 1 or node == last:
            old, new = _node(sibling, old), _node(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = _node(new, sibling)
        node, last = node >> 1, last >> 1
    if last or old != earlier_root or new != root:
        raise TransparencyError(f"the log of {size} entries does not continue the one of {earlier}")


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    # The largest power of two smaller than count.
    return 1 << ((count - 1).bit_length() - 1)


def _subproof(hashes: Sequence[bytes], earlier: int, *, complete: bool) -> list[bytes]:
    if earlier == len(hashes):
        return [] if complete else [root_of(hashes)]
    split = _split(len(hashes))
    if earlier <= split:
        return [*_subproof(hashes[:split], earlier, complete=complete), root_of(hashes[split:])]
    return [*_subproof(hashes[split:], earlier - split, complete=False), root_of(hashes[:split])]
