"""The signer log: a leaf is in the tree, one tree continues another, or nothing is believed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core import merkle
from r4_mcp.errors import TransparencyError

LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(20)]
FORKED = [*LEAVES[:3], hashlib.sha256(b"another").digest(), *LEAVES[4:]]
SIZES = st.integers(1, len(LEAVES))


def root(size: int) -> bytes:
    """Return the root of the first leaves."""
    return merkle.root_of(LEAVES[:size])


def flip(hashed: bytes, bit: int) -> bytes:
    """Return the hash with one bit changed."""
    changed = bytearray(hashed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(SIZES, st.integers(0, len(LEAVES) - 1))
def test_a_leaf_is_proven_at_its_own_index_only(size: int, index: int) -> None:
    """An audit path leads to the root from one index in one tree, and from no other."""
    index %= size
    proof = merkle.inclusion_proof(LEAVES[:size], index)
    merkle.check_inclusion(LEAVES[index], index, size, proof, root(size))
    for other in range(size):
        if other != index:
            with pytest.raises(TransparencyError):
                merkle.check_inclusion(LEAVES[index], other, size, proof, root(size))


@given(SIZES, st.integers(0, len(LEAVES) - 1), st.integers(0, 255))
def test_a_broken_audit_path_is_refused(size: int, index: int, bit: int) -> None:
    """One bit, one hash more, one hash less, in leaf, path or root: all refused."""
    index %= size
    proof = merkle.inclusion_proof(LEAVES[:size], index)
    broken = [[*proof[:at], flip(entry, bit), *proof[at + 1 :]] for at, entry in enumerate(proof)]
    broken += [[*proof, LEAVES[0]], [LEAVES[0], *proof]] + ([proof[:-1], proof[1:]] if proof else [])
    for path in broken:
        with pytest.raises(TransparencyError):
            merkle.check_inclusion(LEAVES[index], index, size, path, root(size))
    for leaf, head in ((flip(LEAVES[index], bit), root(size)), (LEAVES[index], flip(root(size), bit))):
        with pytest.raises(TransparencyError):
            merkle.check_inclusion(leaf, index, size, proof, head)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 5), (2**53, 5), (-1, 5)])
def test_an_index_outside_the_log_is_refused(index: int, size: int) -> None:
    """A leaf index is inside its tree, before any hash is looked at."""
    with pytest.raises(TransparencyError, match="outside a log"):
        merkle.check_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@given(SIZES, SIZES)
def test_a_tree_continues_each_of_its_prefixes(one: int, two: int) -> None:
    """The proof between two sizes of one log holds forwards, and the log never shrinks."""
    earlier, size = sorted((one, two))
    proof = merkle.consistency_proof(LEAVES[:size], earlier)
    merkle.check_consistency(earlier, root(earlier), size, root(size), proof)
    if earlier != size:
        with pytest.raises(TransparencyError, match="shrank"):
            merkle.check_consistency(size, root(size), earlier, root(earlier), proof)


@given(SIZES, SIZES, st.integers(0, 255))
def test_a_broken_consistency_proof_is_refused(one: int, two: int, bit: int) -> None:
    """One bit, one hash more, one hash less, in either root or the proof: all refused."""
    earlier, size = sorted((one, two))
    proof = merkle.consistency_proof(LEAVES[:size], earlier)
    broken = [[*proof[:at], flip(entry, bit), *proof[at + 1 :]] for at, entry in enumerate(proof)]
    broken += [[*proof, LEAVES[0]], [LEAVES[0], *proof]] + ([proof[:-1], proof[1:]] if proof else [])
    for path in broken:
        with pytest.raises(TransparencyError):
            merkle.check_consistency(earlier, root(earlier), size, root(size), path)
    for old, new in ((flip(root(earlier), bit), root(size)), (root(earlier), flip(root(size), bit))):
        with pytest.raises(TransparencyError):
            merkle.check_consistency(earlier, old, size, new, proof)


@pytest.mark.parametrize("earlier", range(4, 20))
def test_a_forked_log_has_no_proof(earlier: int) -> None:
    """A log with one other leaf early on is not a continuation, whichever honest-looking proof comes with it."""
    for proof in (merkle.consistency_proof(FORKED, earlier), merkle.consistency_proof(LEAVES, earlier)):
        with pytest.raises(TransparencyError):
            merkle.check_consistency(earlier, root(earlier), 20, merkle.root_of(FORKED), proof)


def test_every_log_continues_the_empty_one_without_proof() -> None:
    """From an empty log there is nothing to prove, and a proof of it is one entry too many."""
    merkle.check_consistency(0, merkle.root_of([]), 5, root(5), merkle.consistency_proof(LEAVES[:5], 0))
    with pytest.raises(TransparencyError, match="empty log has entries"):
        merkle.check_consistency(0, merkle.root_of([]), 5, root(5), [LEAVES[0]])


def test_a_missing_proof_is_named() -> None:
    """Between sizes that need hashes, none at all is refused."""
    with pytest.raises(TransparencyError, match="proof is missing"):
        merkle.check_consistency(3, root(3), 5, root(5), [])


def test_the_empty_tree_and_the_node_prefix_are_those_of_the_rfc() -> None:
    """SHA-256 of nothing; leaves and nodes are hashed apart (RFC 6962 section 2.1)."""
    assert merkle.root_of([]) == hashlib.sha256(b"").digest()
    assert merkle.root_of(LEAVES[:2]) == hashlib.sha256(b"\x01" + LEAVES[0] + LEAVES[1]).digest()
    assert merkle.leaf_hash({"b": 1, "a": 2}) == hashlib.sha256(b'\x00{"a":2,"b":1}').digest()


def test_a_proof_that_is_too_long_for_its_size_is_refused() -> None:
    """The root of two leaves is no root of one, whatever the proof adds; nor does it stand for four."""
    with pytest.raises(TransparencyError, match="too long"):
        merkle.check_inclusion(LEAVES[0], 0, 1, [LEAVES[1]], root(2))
    with pytest.raises(TransparencyError):
        merkle.check_consistency(1, root(1), 4, root(2), [LEAVES[1]])
