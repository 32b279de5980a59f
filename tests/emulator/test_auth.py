"""The API key proves an agent, or nothing is answered."""

from __future__ import annotations

import httpx
import pytest

from r4_mcp.machine.contract import API_PREFIX, covers

from .client import BASE, error_code
from .conftest import World

WRONG_KEYS = {
    "no secret": ["rk_abcdefghijkl"],
    "an empty secret": ["rk_abcdefghijkl."],
    "an empty access key": [".secret"],
    "an empty header": [""],
    "an unknown access key": ["rk_abcdefghijkl.c2VjcmV0"],
    "a secret that is not ASCII": ["rk_abcdefghijkl.\u00e9"],
}


async def call(world: World, headers: list[tuple[str, str]]) -> httpx.Response:
    """Call ``/me`` with these headers."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url=BASE) as http:
        return await http.get(f"{API_PREFIX}/me", headers=httpx.Headers(encoded))


async def test_a_request_without_api_key_is_refused_as_missing(world: World) -> None:
    """Without the header: 401 ``missing_api_key``."""
    response = await call(world, [("Authorization", "Bearer rk_abcdefghijkl.c2VjcmV0")])
    assert (response.status_code, error_code(response)) == (401, "missing_api_key")


@pytest.mark.parametrize("headers", WRONG_KEYS.values(), ids=WRONG_KEYS.keys())
async def test_an_api_key_that_proves_nobody_is_refused(world: World, headers: list[str]) -> None:
    """Malformed and unknown keys get one answer: 401 ``invalid_api_key``, which quotes nothing."""
    response = await call(world, [("X-API-Key", value) for value in headers])
    assert (response.status_code, error_code(response)) == (401, "invalid_api_key")
    assert "abcdefghijkl" not in response.text


async def test_a_wrong_secret_is_answered_like_an_unknown_key(world: World) -> None:
    """The answer does not tell whether the access key exists."""
    agent = world.agent()
    known = await call(world, [("X-API-Key", agent.credentials.access_key + ".wrong")])
    unknown = await call(world, [("X-API-Key", "rk_nobody000000.wrong")])
    assert known.status_code == unknown.status_code == 401
    assert known.content == unknown.content


async def test_two_api_keys_in_one_request_are_refused(world: World) -> None:
    """A second header is not ignored, even if both are right."""
    agent = world.agent()
    response = await call(world, [("X-API-Key", agent.api_key), ("X-API-Key", agent.api_key)])
    assert (response.status_code, error_code(response)) == (401, "invalid_api_key")


async def test_a_right_api_key_names_its_agent(world: World) -> None:
    """``/me`` answers with the agent, its permissions, and no key before registration."""
    agent = world.agent(permissions=["machine.vault.read"])
    body = (await agent.call("GET", "/me")).json()
    assert body["agentId"] == agent.credentials.agent_id
    assert body["permissions"] == ["machine.vault.read"]
    assert body["activeEncryptionKeyId"] is None
    assert body["activeFingerprint"] is None
    assert body["vaultWrite"] == {"allowed": False, "reason": "the API key lacks the permission machine.vault.write"}


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        ("machine.vault.read", "machine.vault.read", True),
        ("machine.vault.all", "machine.vault.secret.read", True),
        ("machine.all", "machine.feedback.write", True),
        ("machine.vault.read", "machine.vault.secret.read", False),
        ("machine.vault.all", "machine.vaults.read", False),
        ("machine.vault", "machine.vault.read", False),
        ("all", "machine.vault.read", False),
    ],
)
def test_a_permission_group_covers_what_is_under_it(held: str, wanted: str, *, covered: bool) -> None:
    """``x.all`` covers everything under ``x.``; nothing else covers more than itself."""
    assert covers([held], wanted) is covered
