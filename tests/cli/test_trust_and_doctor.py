"""``r4-mcp trust`` and ``r4-mcp doctor`` as people run them, and the two settings that say how much is trusted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.errors import CheckpointMissingError, R4Error
from r4_mcp.machine.contract import Level
from tests.doors import World, inside, local_environment, private_pem, write_private

from .running import Ended, run_here
from .running import run as run_process

Runner = Callable[..., Ended]

FINE = "Everything that was checked works."
NOT_FINE = "Correct the first FAIL, then run doctor again."
NOTHING = "Nothing is remembered yet for this service and agent."


def said(environment: Mapping[str, str], *arguments: str, runner: Runner = run_here) -> list[str]:
    """Run a command that must work; returns its lines."""
    done = runner(*arguments, environment=environment)
    assert (done.status, done.err) == (0, ""), done.out + done.err
    return done.out.splitlines()


def failed(environment: Mapping[str, str], *arguments: str, runner: Runner = run_here) -> str:
    """Run a command that must be refused; returns what it tells on stderr."""
    done = runner(*arguments, environment=environment)
    assert (done.status, done.out) == (1, ""), done.out + done.err
    assert "next: " in done.err
    return done.err


def examined(environment: Mapping[str, str], *arguments: str, healthy: bool, runner: Runner = run_here) -> dict[str, str]:
    """Run doctor; returns what it says by step, the next step included. Exit status and last line agree with the findings."""
    done = runner("doctor", *arguments, environment=environment)
    lines = done.out.splitlines()
    assert done.err == ""
    assert (done.status, lines[-1]) == ((0, FINE) if healthy else (1, NOT_FINE)), done.out
    assert any(line.startswith("FAIL") for line in lines) is not healthy
    whole: list[str] = []
    for line in lines[:-2]:
        if line.startswith("     ") and not line.startswith("     next: "):
            whole[-1] += " " + line.strip()  # What was too wide goes on there.
        else:
            whole.append(line)
    steps: dict[str, str] = {}
    step = ""
    for line in whole:
        if line.startswith("     next: "):
            steps[step] += line
        else:
            step, _, told = line[5:].partition(": ")
            steps[step] = f"{line[:4].strip()} {told}"
    return steps


def operators_fingerprint(world: World) -> str:
    """Return the fingerprint of the person who signed the seed."""
    listed = said(world.environment, "trust", "list")
    return next(line.split()[2] for line in listed if line.startswith("  human"))


def test_nothing_is_remembered_before_first_contact(world: World) -> None:
    """A new agent's list says so, and its export too."""
    assert said(world.environment, "trust", "list") == [NOTHING]
    assert said(world.environment, "trust", "export") == [NOTHING]


def test_what_is_remembered_is_listed(world: World) -> None:
    """After doctor looked, each vault is listed with its signers, and exported with the head of its signer log."""
    steps = examined(world.environment, healthy=True, runner=run_process)
    assert steps["API key"].startswith("ok agent Demo agent")
    assert steps["trust store"] == "ok 0 vault(s) remembered, mode tofu"
    listed, exported = (
        said(world.environment, "trust", "list", runner=run_process),
        said(world.environment, "trust", "export", runner=run_process),
    )
    for vault_id in world.seeded.vaults.values():
        name = next(name for name, known in world.seeded.vaults.items() if known == vault_id)
        assert steps[f"vault {vault_id} directory and summary"].startswith(f"ok {name}: ")
        assert steps[f"vault {vault_id} wrapped key"] == "ok version 1 opens with our key"
        assert listed[listed.index(f"vault {vault_id}  {name}") + 1].startswith("  summary v2, key v1, ")
        assert sum(line.startswith(f"{vault_id}  2-") for line in exported) == 1
    assert sum(line.startswith("  human") for line in listed) == len(world.seeded.vaults)
    again = examined(world.environment, healthy=True, runner=run_process)
    assert again["trust store"] == f"ok {len(world.seeded.vaults)} vault(s) remembered, mode tofu"


def test_pinned_mode_needs_the_signer_to_be_added(world: World) -> None:
    """Under ``pinned`` a vault is refused by the very command that admits its signer; after that command it is accepted."""
    said(world.environment, "doctor")
    fingerprint = operators_fingerprint(world)
    said(world.environment, "trust", "reset")
    pinned = {**world.environment, "R4_SIGNER_TRUST": "pinned"}
    steps = examined(pinned, healthy=False)
    for vault_id in world.seeded.vaults.values():
        told = steps[f"vault {vault_id} directory and summary"]
        assert told.startswith("FAIL")
        assert f"`r4-mcp trust add {fingerprint}`" in told
    assert said(pinned, "trust", "list") == [NOTHING]
    assert said(pinned, "trust", "add", fingerprint.upper())[0] == f"trusted: {fingerprint}"
    assert examined(pinned, healthy=True)["trust store"].endswith("mode pinned")
    listed = said(pinned, "trust", "list")
    assert any(line.startswith("trusted by name") for line in listed)
    assert listed[-1] == f"  {fingerprint}"
    # Removing the name keeps what is pinned; forgetting the pins as well brings the refusal back.
    said(pinned, "trust", "remove", fingerprint)
    examined(pinned, healthy=True)
    vault_id = world.vault_id(next(iter(world.seeded.vaults)))
    said(pinned, "trust", "reset", vault_id)
    steps = examined(pinned, healthy=False)
    assert [step for step, told in steps.items() if told.startswith("FAIL")] == [f"vault {vault_id} directory and summary"]


def test_resetting_forgets_one_vault_or_everything(world: World) -> None:
    """A reset names what it forgot; the other vaults stay until everything is reset."""
    said(world.environment, "doctor")
    vault_id = world.vault_id(next(iter(world.seeded.vaults)))
    assert said(world.environment, "trust", "reset", vault_id)[0] == f"forgotten: vault {vault_id}"
    listed = said(world.environment, "trust", "list")
    assert not any(vault_id in line for line in listed)
    assert sum(line.startswith("vault ") for line in listed) == len(world.seeded.vaults) - 1
    said(world.environment, "trust", "reset")
    assert said(world.environment, "trust", "list") == [NOTHING]


def test_a_lost_store_is_refused_until_it_is_reset(world: World) -> None:
    """A store that vanished after first use is told from one that never was, and the reset is named."""
    said(world.environment, "doctor", runner=run_process)
    (world.home / "trust-store.json").unlink()
    told = failed(world.environment, "trust", "list", runner=run_process)
    assert "has lost what this agent had verified" in told
    assert "`r4-mcp trust reset`" in told
    steps = examined(world.environment, healthy=False, runner=run_process)
    assert "`r4-mcp trust reset`" in steps["trust store"]
    assert not any(step.startswith("vault") for step in steps)
    said(world.environment, "trust", "reset", runner=run_process)
    examined(world.environment, healthy=True, runner=run_process)


def test_a_damaged_store_is_refused_until_it_is_reset(world: World) -> None:
    """A changed byte in the store stops everything, and the reset keeps the damaged file aside."""
    said(world.environment, "doctor")
    store = world.home / "trust-store.json"
    store.write_bytes(store.read_bytes().replace(b'"version":2', b'"version":1', 1))
    damaged = store.read_bytes()
    steps = examined(world.environment, healthy=False)
    assert steps["trust store"].startswith("FAIL")
    assert "checksum" in steps["trust store"]
    assert store.read_bytes() == damaged
    said(world.environment, "trust", "reset")
    assert [kept.read_bytes() for kept in world.home.glob("trust-store.json.damaged-*")] == [damaged]
    examined(world.environment, healthy=True)


WRONG_USES = {
    "a short fingerprint": (("trust", "add", "abcd"), "64 hex characters"),
    "a vault's name": (("trust", "reset", "Work"), "id of a vault"),
}


@pytest.mark.parametrize("use", WRONG_USES)
def test_a_wrong_argument_is_refused(calm: World, use: str) -> None:
    """What is not a fingerprint or vault id changes nothing."""
    arguments, told = WRONG_USES[use]
    assert told in failed(calm.environment, *arguments)


@pytest.mark.parametrize("arguments", [("trust", "believe"), ("trust", "remove")], ids=" ".join)
def test_an_unknown_action_is_wrong_usage(calm: World, arguments: tuple[str, ...]) -> None:
    """Usage errors, a fingerprint left out among them, have their own exit status."""
    assert run_process(*arguments, environment=calm.environment).status == 2


def test_trust_without_configuration_says_what_is_missing(tmp_path: Path) -> None:
    """Without an API key there is no agent to remember for."""
    assert "No API key is configured" in failed({"R4_HOME": str(tmp_path)}, "trust", "list")


def with_key_file(world: World, mode: int, api_key: str | None = None) -> dict[str, str]:
    """Return the seed agent's environment with its key in a file of its own."""
    members = world.agent_members()
    path = write_private(world.home / "key.pem", members["privateKey"], mode)
    key = api_key or f"{members['accessKey']}.{members['accessSecret']}"
    return {"R4_API_KEY": key, "R4_PRIVATE_KEY_PATH": str(path), "R4_BASE_URL": world.base_url, "R4_HOME": str(world.home)}


def test_doctor_knows_a_wrong_api_key(world: World) -> None:
    """A key that the service does not accept fails the step of that name; the key itself is checked all the same."""
    steps = examined(with_key_file(world, 0o600, "rk_wrong.secret-that-is-wrong"), healthy=False)
    assert steps["private key"].startswith("ok RSA 2048 bits, fingerprint ")
    assert steps["API key"].startswith("FAIL The service did not accept the API key. [unauthorized]")
    assert "secret-that-is-wrong" not in "".join(steps.values())


def test_doctor_knows_a_key_file_that_others_can_read(world: World) -> None:
    """The step of the private key fails and names the chmod; with the right mode all is fine."""
    environment = with_key_file(world, 0o644)
    steps = examined(environment, healthy=False)
    assert steps["private key"].startswith("FAIL")
    assert f"chmod 600 {world.home / 'key.pem'}" in steps["private key"]
    (world.home / "key.pem").chmod(0o600)
    examined(environment, healthy=True)


def test_doctor_knows_an_unregistered_key(world: World) -> None:
    """A new agent's key is not registered, and doctor does not register it."""
    _, environment = world.new_agent()
    steps = examined(environment, healthy=False)
    assert steps["registration"].startswith("FAIL this machine's public key is not registered yet")
    assert examined(environment, healthy=False)["registration"] == steps["registration"]
    assert not any(line.startswith("POST") for line in world.tap.lines())


def test_doctor_knows_that_another_key_is_active(world: World) -> None:
    """The right API key with another private key is told apart from an unregistered one."""
    environment = with_key_file(world, 0o600)
    write_private(world.home / "key.pem", private_pem(world.spare_keys[1]))
    steps = examined(environment, healthy=False)
    assert steps["registration"].startswith("FAIL another key is active: ")


async def test_doctor_knows_a_vault_that_waits_for_its_key(world: World) -> None:
    """A vault that was shared before the key was registered is visible, and no key is wrapped for it: exactly that is said."""
    agent_id, environment = world.new_agent()
    vault_id = world.vault_id(next(iter(world.seeded.vaults)))
    world.seeded.operator.grant(agent_id, vault_id, Level.READ)
    async with inside(environment) as opened:
        assert opened.service.runtime is not None
        await opened.service.runtime.registration.ensure()
    steps = await anyio.to_thread.run_sync(lambda: examined(environment, healthy=False))
    assert steps[f"vault {vault_id} directory and summary"].startswith("ok ")
    assert "[awaiting_grant]" in steps[f"vault {vault_id} wrapped key"]


def test_doctor_knows_that_the_service_is_down(world: World) -> None:
    """Where nobody listens, the network fails and what needs no network is still checked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment = {**world.environment, "R4_BASE_URL": f"http://127.0.0.1:{free.getsockname()[1]}"}
        steps = examined(environment, healthy=False)
    assert steps["private key"].startswith("ok")
    assert "[unreachable]" in steps["API key"]
    assert not any(step.startswith("vault") for step in steps)


def test_doctor_on_the_embedded_vault(world: World) -> None:
    """``--local`` examines the embedded vault, and its memory is a section of its own."""
    environment = local_environment(world)
    steps = examined(environment, "--local", healthy=False)
    assert steps["configuration"] == "ok service is the embedded vault"
    assert steps["registration"].startswith("FAIL this machine's public key is not registered yet")
    stored = run_process("put", "--local", "r4://Notes/Mail/password", environment=environment, stdin=b"a value of no account\n")
    assert (stored.status, stored.err) == (0, "")
    examined(environment, "--local", healthy=True)
    assert sum(line.startswith("vault ") for line in said(environment, "trust", "list", "--local")) == 1
    assert said(world.environment, "trust", "list") == [NOTHING]


BAD_SETTINGS = {
    "R4_SIGNER_TRUST": "R4_SIGNER_TRUST is not one of tofu, pinned",
    "R4_CHECKPOINTS": "R4_CHECKPOINTS is not one of require, when-present",
}


@pytest.mark.parametrize("setting", BAD_SETTINGS)
@pytest.mark.parametrize("text", ["never", "tofu,pinned", "0", "ask", "require when-present"])
async def test_a_misspelt_setting_is_refused(calm: World, setting: str, text: str) -> None:
    """A value that is none of the words keeps the server from serving, and is not repeated."""
    async with inside({**calm.environment, setting: text}) as opened:
        assert opened.service.runtime is None
        with pytest.raises(R4Error, match=BAD_SETTINGS[setting]) as raised:
            await opened.service.gate.list_vaults(None, None)
        assert text not in raised.value.message.removeprefix(BAD_SETTINGS[setting])


def test_doctor_names_a_misspelt_setting(calm: World) -> None:
    """Doctor's first step fails with the setting's name."""
    for setting, told in BAD_SETTINGS.items():
        assert told in examined({**calm.environment, setting: "maybe"}, healthy=False)["configuration"]


class Stripping:
    """The world's app, but listings and items come without their checkpoints while ``on``."""

    def __init__(self, world: World) -> None:
        self._app = world.tap.app
        self.on = True
        world.tap.app = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its answer is held back until it is whole."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        await self._app(scope, receive, hold)
        body = b"".join(message.get("body", b"") for message in held)
        if self.on and held[0]["status"] == 200:
            body = canonical(without_checkpoints(parse_json(body, what="answer")))
        headers = [(name, value) for name, value in held[0]["headers"] if name != b"content-length"]
        await send({**held[0], "headers": [*headers, (b"content-length", str(len(body)).encode("ascii"))]})
        await send({"type": "http.response.body", "body": body})


def without_checkpoints(answer: Json) -> Json:
    """Return an answer without the members that hold signed checkpoints, wherever they stand."""
    if isinstance(answer, list):
        return [without_checkpoints(member) for member in answer]
    if not isinstance(answer, dict):
        return answer
    left_out = {"summaryCheckpoint", "detailCheckpoint"}
    return {key: without_checkpoints(member) for key, member in answer.items() if key not in left_out}


async def test_unsigned_vaults_are_listed_as_unverified_where_that_is_allowed(world: World) -> None:
    """Under when-present a vault that never had a checkpoint is listed and marked; no value is revealed, nothing is pinned."""
    Stripping(world)
    vault_id = world.vault_id(next(iter(world.seeded.vaults)))
    async with inside({**world.environment, "R4_CHECKPOINTS": "when-present"}) as opened:
        gate = opened.service.gate
        lines = (await gate.list_vaults(None, None)).vaults
        assert [line.verified for line in lines] == [False] * len(world.seeded.vaults)
        assert all(line.classification is None for line in lines)
        items = await gate.list_items(f"r4://{vault_id}", None, None)
        assert (items.verified, items.signed_by, items.checkpoint_version) == (False, None, None)
        assert items.total == len(items.items) > 0
        for item in items.items:
            assert item.reference.startswith(f"r4://{vault_id}/")
            with pytest.raises(CheckpointMissingError):
                await gate.describe_item(item.reference)
            with pytest.raises(CheckpointMissingError):
                await gate.read_secret(item.reference, None)
        assert opened.service.runtime is not None
        assert not opened.service.runtime.store.section().vaults
    assert not any(line.endswith("/wrapped-key") for line in world.tap.lines())


async def test_a_vault_that_was_verified_needs_its_checkpoint_for_ever(world: World) -> None:
    """Under when-present too, a vault once verified is refused without its checkpoint, by another process as well."""
    stripping = Stripping(world)
    stripping.on = False
    vault_id = world.vault_id(next(iter(world.seeded.vaults)))
    environment = {**world.environment, "R4_CHECKPOINTS": "when-present"}
    async with inside(environment) as opened:
        assert (await opened.service.gate.list_items(vault_id, None, None)).verified
    stripping.on = True
    store = (world.home / "trust-store.json").read_bytes()
    async with inside(environment) as opened:
        with pytest.raises(CheckpointMissingError):
            await opened.service.gate.list_items(vault_id, None, None)
        listed = {line.id: line for line in (await opened.service.gate.list_vaults(None, None)).vaults}
        assert (listed[vault_id].verified, listed[vault_id].problem) == (False, "checkpoint_missing")
    assert (world.home / "trust-store.json").read_bytes() == store
    stripping.on = False
    async with inside(environment) as opened:
        assert (await opened.service.gate.list_items(vault_id, None, None)).verified


async def test_unsigned_vaults_are_refused_by_default(world: World) -> None:
    """Without the setting, a listing that comes without its checkpoint is refused."""
    Stripping(world)
    async with inside(world.environment) as opened:
        with pytest.raises(CheckpointMissingError):
            await opened.service.gate.list_items(world.vault_id(next(iter(world.seeded.vaults))), None, None)
