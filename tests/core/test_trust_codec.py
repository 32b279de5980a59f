"""What is remembered of a vault survives its file, exactly; anything else in the file is refused."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.encoding import MAX_INT, Json, parse_json
from r4_mcp.core.trust import (
    LogHead,
    PinnedDek,
    PinnedDetail,
    PinnedSigner,
    PinnedVersion,
    SignerStatus,
    VaultTrust,
)
from r4_mcp.core.trust_codec import dump_trust, read_trust
from r4_mcp.core.wire import ItemId, KeyId, SignerType
from r4_mcp.errors import MalformedError

from .builders import identifier
from .mutate import OF_EVERY_TYPE, Path, at, members, objects, paths, removed, replaced, spelled
from .test_encoding import TEXTS

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
ids = st.binary(min_size=12, max_size=12).map(bytes.hex)
versions = st.integers(1, MAX_INT)
signers = st.builds(
    PinnedSigner,
    st.sampled_from(SignerType),
    digests,
    st.sampled_from(SignerStatus),
    st.none() | ids.map(KeyId),
    st.none() | versions,
    st.none() | versions,
)
states = st.builds(
    VaultTrust,
    st.dictionaries(ids.map(KeyId), signers, max_size=3).map(MappingProxyType),
    st.none() | st.builds(LogHead, st.integers(0, MAX_INT), st.binary(min_size=32, max_size=32)),
    st.none() | st.builds(PinnedVersion, versions, digests),
    st.none() | st.builds(PinnedDek, versions, digests),
    st.dictionaries(
        ids.map(ItemId),
        st.builds(PinnedDetail, versions, digests, st.none() | st.lists(TEXTS, max_size=2).map(tuple), versions),
        max_size=3,
    ).map(MappingProxyType),
)

HONEST: Final[Json] = dump_trust(
    VaultTrust(
        {
            KeyId(identifier("key")): PinnedSigner(
                SignerType.AGENT, "ab" * 32, SignerStatus.RETIRED, KeyId(identifier("previous")), 3, 1
            )
        },
        LogHead(2, bytes(32)),
        PinnedVersion(3, "cd" * 32),
        PinnedDek(1, "ef" * 32),
        {ItemId(identifier("item")): PinnedDetail(1, "01" * 32, ("https://api.example.com",), 1)},
        "Production",
    )
)
MAY_BE_NULL: Final = {"previousId", "retiredSummary", "retiredDek", "head", "summary", "dek", "humanWebsites", "name"}


def keyed_by_id(path: Path) -> bool:
    """Whether a path is an entry of a mapping, whose keys are ids and not members."""
    return len(path) == 2 and path[0] in {"signers", "details"}


def cases(found: list[Path]) -> list[Any]:
    """Name each path."""
    return [pytest.param(path, id=spelled(path)) for path in found]


@given(states)
@settings(max_examples=60)
def test_reading_what_was_dumped_is_identity(state: VaultTrust) -> None:
    """Through JSON bytes and back, nothing is lost: a lost pin is a defence lost."""
    raw = json.dumps(dump_trust(state)).encode()
    assert read_trust(parse_json(raw, what="trust store")) == state


def test_the_empty_state_survives_too() -> None:
    """Before first contact there is nothing, and that is what comes back."""
    assert read_trust(dump_trust(VaultTrust())) == VaultTrust()
    assert read_trust(dump_trust(VaultTrust())).is_first_contact


@pytest.mark.parametrize("path", cases([path for path in members(HONEST) if not keyed_by_id(path)]))
def test_every_member_is_needed(path: Path) -> None:
    """A member that is gone is not a null: the file was damaged."""
    with pytest.raises(MalformedError, match="lacks"):
        read_trust(removed(HONEST, path))


@pytest.mark.parametrize("path", cases(objects(HONEST)))
def test_no_other_member_is_allowed(path: Path) -> None:
    """Unknown members are refused, in mappings by id as well."""
    with pytest.raises(MalformedError):
        read_trust(replaced(HONEST, (*path, "more"), 1))


@pytest.mark.parametrize("path", cases(list(paths(HONEST))))
def test_every_member_has_its_type(path: Path) -> None:
    """Any other JSON type in any place is refused."""
    honest = at(HONEST, path)
    for other in OF_EVERY_TYPE:
        if type(other) is not type(honest) and not (other is None and path[-1] in MAY_BE_NULL):
            with pytest.raises(MalformedError):
                read_trust(replaced(HONEST, path, other))
