"""What is served parses and proves by the rules of ``core``, and nothing else is served."""

from __future__ import annotations

import httpx
import pytest

from r4_mcp.core.checkpoint import advance_field, advance_item, advance_summary
from r4_mcp.core.directory import advance, read_directory
from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.served import read_field, read_item, read_items, read_me, read_projects, read_vaults
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import read_wrapped_key
from r4_mcp.core.wrapping import advance_dek
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import API_PREFIX, Level

from .client import BASE, error_code
from .conftest import World

TOFU = TrustAnchors(SignerTrust.TOFU, frozenset())


async def test_a_shared_vault_proves_from_directory_to_plaintext(world: World) -> None:
    """An agent that trusts only its own key's proofs gets every value, through item and single field."""
    vault_id = world.vault(items=2)
    agent = await world.granted(vault_id, Level.READ)
    state, directory = advance(VaultTrust(), read_directory(await agent.get(f"/vault/{vault_id}/public-keys")), vault_id, TOFU)
    state, summary = advance_summary(state, read_items(await agent.get(f"/vault/{vault_id}/items")), directory)
    entry = read_wrapped_key(await agent.get(f"/vault/{vault_id}/wrapped-key"), "wrapped key")
    state, dek = advance_dek(state, entry, directory, summary, agent.key, world.known)
    seen = {}
    for line in summary.checkpoint.items:
        served = read_item(await agent.get(f"/vault/{vault_id}/items/{line.id}"))
        state, _, fields = advance_item(state, served, line.id, summary, directory)
        for field in fields:
            alone = read_field(await agent.get(f"/vault/{vault_id}/fields/{field.line.id}"))
            state, same = advance_field(state, alone, field.line.id, summary, directory)
            assert same.envelope == field.envelope
            place = same.item.place(same.line)
            if place is not None and same.envelope is not None:
                value = open_envelope(dek.key, place, same.envelope, world.known, armed=False)
                seen[field.line.id] = value.reveal()
    plain = {field_id: value.reveal() for field_id, value in world.operator.open_values(vault_id).items()}
    assert seen == plain
    assert sorted(plain.values()) == ["demo-token-0", "demo-token-1"]


async def test_the_vault_list_counts_items_and_names_the_wrapping_key(world: World) -> None:
    """Item counts are right, and ``encryptionKeyId`` tells which vaults open for the caller."""
    full, empty = world.vault("Full", items=3), world.vault("Empty", items=0)
    agent = world.agent()
    world.operator.grant(agent.credentials.agent_id, empty, Level.READ)
    await agent.register()
    world.operator.grant(agent.credentials.agent_id, full, Level.READ)
    listed = (await agent.call("GET", "/vault")).json()["vaults"]
    assert {vault["name"]: (vault["itemCount"], vault["encryptionKeyId"]) for vault in listed} == {
        "Full": (3, agent.key_id),
        "Empty": (0, None),
    }
    vaults, page = read_vaults(await agent.get("/vault"))
    assert (len(vaults), page.total_pages) == (2, 1)
    assert (await agent.call("GET", f"/vault/{full}")).json() in listed


async def test_a_file_field_is_a_reference_without_a_value(world: World) -> None:
    """FILE fields name an asset and have neither instance nor ciphertext."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    (item,) = (await agent.summary(vault_id)).items
    fields = (await agent.call("GET", f"/vault/{vault_id}/items/{item.id}")).json()["fields"]
    file = next(field for field in fields if field["type"] == "FILE")
    alone = (await agent.call("GET", f"/vault/{vault_id}/fields/{file['id']}")).json()
    assert (file["value"], file["fieldInstanceIds"], len(file["assetIds"])) == (None, [], 1)
    assert (alone["value"], alone["fieldInstanceId"], alone["assetId"]) == (None, None, file["assetIds"][0])


async def test_what_is_archived_leaves_listings_and_answers_404(world: World) -> None:
    """Archived items and vaults are not served, but their rows stay for audit."""
    vault_id = world.vault(items=2)
    agent = await world.granted(vault_id, Level.ADMIN)
    first, second = (await agent.summary(vault_id)).items
    item = (await agent.call("GET", f"/vault/{vault_id}/items/{first.id}")).json()
    archived = await agent.call("DELETE", f"/vault/{vault_id}/items/{first.id}", await agent.archive_body(vault_id, first.id))
    assert (archived.status_code, archived.content) == (204, b"")
    assert [line.id for line in (await agent.summary(vault_id)).items] == [second.id]
    for path in (f"items/{first.id}", f"fields/{item['fields'][0]['id']}"):
        response = await agent.call("GET", f"/vault/{vault_id}/{path}")
        assert (response.status_code, error_code(response)) == (404, "vault_item_not_found")
    assert (await agent.call("DELETE", f"/vault/{vault_id}")).status_code == 204
    assert (await agent.call("GET", "/vault")).json() == {"vaults": []}
    assert first.id in world.dump()


async def test_me_parses_and_names_the_registered_key(world: World) -> None:
    """``/me`` follows the contract, before and after registration."""
    agent = world.agent()
    assert read_me(await agent.get("/me")).active_key_id is None
    await agent.register()
    me = read_me(await agent.get("/me"))
    assert (me.active_key_id, me.active_fingerprint) == (agent.key_id, agent.key.public.fingerprint)
    assert (me.vault_write_allowed, me.vault_write_reason) == (True, None)


async def test_a_project_shows_the_vaults_that_the_agent_may_see(world: World) -> None:
    """Members and holders of a vault in it see a project, with their own vaults alone; others get 404."""
    member, holder, stranger = world.agent(0), world.agent(1), world.agent(2)
    project_id = world.operator.create_project("Relaunch", members=[member.credentials.agent_id])
    vault_id = world.operator.create_vault("Site", None, project_id)
    world.operator.create_vault("Other", None, project_id)
    world.operator.grant(holder.credentials.agent_id, vault_id, Level.READ)
    seen = (await holder.call("GET", f"/project/{project_id}")).json()
    assert [vault["name"] for vault in seen["vaults"]] == ["Site"]
    (listed,) = read_projects(await member.get("/project"))
    assert (listed.id, listed.vaults_count) == (project_id, 0)
    filtered = (await holder.call("GET", f"/vault?projectId={project_id}")).json()["vaults"]
    assert [vault["id"] for vault in filtered] == [vault_id]
    for path in (f"/project/{project_id}", f"/vault?projectId={project_id}", f"/project/{new_id()}"):
        response = await stranger.call("GET", path)
        assert (response.status_code, error_code(response)) == (404, "project_not_found")


async def test_feedback_is_kept_and_answered_with_an_id(world: World) -> None:
    """A report within its limits is stored; one beyond them is refused and leaves nothing."""
    agent = world.agent()
    body = {"surface": "MCP", "summary": "No attachments", "details": "Their content can't be read."}
    answered = await agent.call("POST", "/feedback", body)
    assert answered.status_code == 201
    assert set(answered.json()) == {"id", "submittedAt", "notified"}
    before = world.dump()
    refused: list[object] = [
        {**body, "surface": "FAX"},
        {**body, "summary": " "},
        {**body, "details": "x" * 8_001},
        {"surface": "MCP"},
        [],
    ]
    for wrong in refused:
        response = await agent.call("POST", "/feedback", wrong)
        assert (response.status_code, error_code(response)) == (400, "invalid_request")
    assert world.dump() == before


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/machine", f"{API_PREFIX}/vault/", f"{API_PREFIX}/webhooks", f"{API_PREFIX}/vaults/x/y"]
)
async def test_an_unknown_path_is_a_404_in_json(world: World, path: str) -> None:
    """No path answers in HTML or with a redirect."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url=BASE) as http:
        response = await http.get(path)
    assert (response.status_code, error_code(response)) == (404, "not_found")


async def test_vaults_is_an_alias_for_reading_only(world: World) -> None:
    """GET works under ``vaults``; anything else does not."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.ADMIN)
    for path in ("", f"/{vault_id}", f"/{vault_id}/items", f"/{vault_id}/public-keys"):
        assert (await agent.call("GET", f"/vaults{path}")).content == (await agent.call("GET", f"/vault{path}")).content
    for method, path in (("POST", ""), ("DELETE", f"/{vault_id}"), ("POST", f"/{vault_id}/items")):
        response = await agent.call(method, f"/vaults{path}", {})
        assert (response.status_code, error_code(response)) == (405, "method_not_allowed")


async def test_a_body_over_its_cap_is_a_413(world: World) -> None:
    """The cap is the endpoint's own; nothing is stored."""
    agent = await world.registered()
    before = world.dump()
    response = await agent.call("POST", "/vault", {"id": "0" * 70_000})
    assert (response.status_code, error_code(response)) == (413, "payload_too_large")
    assert world.dump() == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b'{"a":1,"a":2}', b'{"a":1.5}', b'{"a":NaN}', b"\xff"])
async def test_a_body_that_is_not_strict_json_is_refused(world: World, body: bytes) -> None:
    """Duplicate keys, floats and NaN are refused like broken JSON."""
    agent = await world.registered()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url=BASE) as http:
        response = await http.post(f"{API_PREFIX}/vault", content=body, headers={"X-API-Key": agent.api_key})
    assert (response.status_code, error_code(response)) == (400, "vault_creation_failed")


@pytest.mark.parametrize("since", ["", "-1", "01", "1.0", "x", "9" * 17, "%D9%A1"])
async def test_a_tree_size_that_is_no_number_is_refused(world: World, since: str) -> None:
    """One spelling per size."""
    vault_id = world.vault()
    agent = await world.granted(vault_id, Level.READ)
    response = await agent.call("GET", f"/vault/{vault_id}/public-keys?sinceTreeSize={since}")
    assert (response.status_code, error_code(response)) == (400, "invalid_request")


async def test_a_failure_inside_is_a_500_that_tells_nothing(world: World) -> None:
    """A store that vanished is not made again, and its path is not told."""
    agent = world.agent()
    world.store.path.unlink()
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        response = await http.get(f"{API_PREFIX}/me", headers={"X-API-Key": agent.api_key})
    assert (response.status_code, error_code(response)) == (500, "internal_error")
    assert "sqlite" not in response.text
    assert not world.store.path.exists()


async def test_responses_carry_no_header_that_was_not_asked_for(world: World) -> None:
    """Content type, length and no-store; nothing about the server."""
    response = await world.agent().call("GET", "/me")
    assert set(response.headers) == {"content-type", "content-length", "cache-control"}
