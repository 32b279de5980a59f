"""The sweep can fail: a leak that is planted in any sink, in any encoding, is found; and so is one in the product itself."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import mcp_types as types
import pytest
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.errors import DeniedError, InvalidArgumentError
from r4_mcp.policy import browsing
from r4_mcp.policy.drafts import check_name
from r4_mcp.policy.egress import Egress
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from tests.switchboard import Switchboard

from .canaries import PIECE
from .conditions import bounded
from .encodings import needles
from .looking import Look, without_value
from .scanner import Scanner
from .sweep import Sweep
from .vaults import CANARIES, Place, Planted, Scene, open_scene
from .watch import Sink, Watch
from .wire import ERAS, Wire, wired

Context = ServerRequestContext[dict[str, Any]]
PLACE: Final = Place(CANARIES, ItemType.LOGIN, FieldType.PASSWORD)
"""The field whose canary is leaked: it holds everything that encoders write in another way."""

ENCODINGS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "cut in half": lambda text: text[: len(text) // 2],
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind one byte": lambda text: base64.b64encode(b"\xff" + text.encode()).decode(),
    "base64url behind two bytes": lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()).decode().rstrip("="),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "URL": lambda text: quote(text, safe=""),
    "HTML": html.escape,
    "backwards": lambda text: text[::-1],
    "UTF-16 in hex": lambda text: text.encode("utf-16-le").hex(),
    "UTF-16 in base64": lambda text: base64.b64encode(text.encode("utf-16-be")).decode(),
    "octets, one by one": lambda text: str(list(text.encode())),
}
"""How a leak is written, by hand: neither of the scanner's two lists is asked."""


@dataclass
class Ward:
    """A scene that is looked at, and what is leaked on it."""

    look: Look
    leak: str = ""

    @property
    def scene(self) -> Scene:
        """The scene."""
        return self.look.scene


@pytest.fixture(scope="module")
def scanner(planted: Planted) -> Scanner:
    """Look for all canaries; to encode them takes longer than a look."""
    scanner = Scanner()
    scanner.add(planted.canaries)
    return scanner


@pytest.fixture
def ward(planted: Planted, board: Switchboard, tmp_path: Path, scanner: Scanner) -> Ward:
    """Open a scene to leak on."""
    (tmp_path / "watch").mkdir()
    return Ward(Look(planted, open_scene(planted, tmp_path / "scene", board), Watch(tmp_path / "watch"), scanner))


Leaking = Callable[[Ward, Context], Awaitable[types.CallToolResult | None]]


def _text(text: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=is_error)


async def _result(ward: Ward, _: Context) -> types.CallToolResult:
    return _text(f"a {ward.leak} b")


async def _structured(ward: Ward, _: Context) -> types.CallToolResult:
    empty: list[types.ContentBlock] = [types.TextContent(text="{}")]
    return types.CallToolResult(content=empty, structured_content={"items": [{"name": ward.leak}]}, is_error=False)


async def _member(ward: Ward, _: Context) -> types.CallToolResult:
    return types.CallToolResult(content=[], structured_content={ward.leak: 1}, is_error=False)


async def _error(ward: Ward, _: Context) -> types.CallToolResult:
    return _text(ward.leak, is_error=True)


async def _protocol_error(ward: Ward, _: Context) -> None:
    raise MCPError(-32000, "refused", {"argument": ward.leak})


async def _progress(ward: Ward, ctx: Context) -> None:
    await ctx.session.report_progress(1, 2, f"reading {ward.leak}")


async def _record(ward: Ward, _: Context) -> None:
    logging.getLogger("r4_mcp.anything").debug("read %s", ward.leak)


async def _foreign_record(ward: Ward, _: Context) -> None:
    logging.getLogger("httpcore.anything").debug("sent %r", {"body": ward.leak})


async def _logged_exception(ward: Ward, _: Context) -> None:
    try:
        raise OSError(ward.leak)  # noqa: TRY301 - the leak that the scanner must find
    except OSError:
        logging.getLogger("r4_mcp.anything").exception("failed")


async def _home(ward: Ward, _: Context) -> None:
    (ward.scene.home / "audit").mkdir(exist_ok=True)
    (ward.scene.home / "audit" / "audit.jsonl").write_text(ward.leak)


async def _file_name(ward: Ward, _: Context) -> None:
    (ward.scene.home / f"{ward.leak.replace('/', '')[:200]}.lock").touch()


async def _work(ward: Ward, _: Context) -> None:
    Path("debug.txt").write_text(ward.leak)  # noqa: ASYNC240 - the point is the working directory


async def _temporary(ward: Ward, _: Context) -> None:
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(ward.leak)


async def _user(ward: Ward, _: Context) -> None:
    (Path.home() / ".history").write_text(ward.leak)


async def _errors(ward: Ward, _: Context) -> None:
    sys.stderr.write(ward.leak)


async def _descriptor(ward: Ward, _: Context) -> None:
    os.write(2, ward.leak.encode())


async def _output(ward: Ward, _: Context) -> None:
    sys.stdout.write(ward.leak)


async def _exception(ward: Ward, _: Context) -> None:
    with suppress(DeniedError):
        raise DeniedError(f"not {ward.leak}")


async def _local(ward: Ward, _: Context) -> None:
    # A function of the product with the leak in a local, and an error that does not say it.
    with suppress(InvalidArgumentError):
        check_name(f"{ward.leak}\n", "name")


async def _sent(ward: Ward, _: Context) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{ward.scene.base_url}/api/v1/machine/vault", content=ward.leak.encode())


async def _store(ward: Ward, _: Context) -> None:
    (ward.scene.folder / "service" / "dump").write_text(ward.leak)


async def _keys(ward: Ward, _: Context) -> None:
    (ward.scene.folder / "keys" / "note").write_text(ward.leak)


LEAKS: Final[dict[str, tuple[Sink, Leaking]]] = {
    "a result": (Sink.RESULT, _result),
    "structured content alone": (Sink.RESULT, _structured),
    "the name of a member": (Sink.RESULT, _member),
    "an error's text": (Sink.RESULT, _error),
    "an error of JSON-RPC": (Sink.RESULT, _protocol_error),
    "a progress notification": (Sink.RESULT, _progress),
    "a log line": (Sink.LOG, _record),
    "a log line of a library": (Sink.LOG, _foreign_record),
    "a logged exception": (Sink.EXCEPTION, _logged_exception),
    "a file in the home": (Sink.HOME, _home),
    "the name of a file in the home": (Sink.HOME, _file_name),
    "a file in the working directory": (Sink.WORK, _work),
    "a temporary file": (Sink.TEMPORARY, _temporary),
    "a file in the user's home": (Sink.USER, _user),
    "stderr": (Sink.ERRORS, _errors),
    "the descriptor of stderr": (Sink.ERRORS, _descriptor),
    "stdout": (Sink.OUTPUT, _output),
    "an exception's text": (Sink.EXCEPTION, _exception),
    "an exception's locals": (Sink.LOCALS, _local),
    "a request to the service": (Sink.SERVICE, _sent),
    "a file of the service": (Sink.STORE, _store),
    "a file of keys": (Sink.KEYS, _keys),
}
"""Where → the sink that it is found in, and how it gets there."""


@asynccontextmanager
async def leaking(ward: Ward, leak: Leaking, era: str) -> AsyncIterator[Wire]:
    """Run a server whose one tool leaks."""

    async def on_call_tool(ctx: Context, _: types.CallToolRequestParams) -> types.CallToolResult:
        return await leak(ward, ctx) or _text("{}")

    async def on_list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[])

    server: Server[dict[str, Any]] = Server("leaky", version="0", on_call_tool=on_call_tool, on_list_tools=on_list_tools)
    server.middleware.clear()
    with ward.look.watch.watching():
        ward.look.watch.listen(KnownSecrets())
        async with wired(server, era) as wire:
            yield wire


@pytest.mark.parametrize(
    ("where", "era"), [(where, era) for where in LEAKS for era in ERAS[: 1 + (LEAKS[where][0] is Sink.RESULT)]]
)
async def test_a_leak_is_found_in_every_encoding(where: str, era: str, ward: Ward) -> None:
    """In its own sink; and where nothing leaks, nothing is found."""
    sink, leak = LEAKS[where]
    canary = ward.look.planted.values[PLACE]
    async with leaking(ward, leak, era) as wire:
        for leaked, encode in {"nothing": lambda _: "nothing", **ENCODINGS}.items():
            ward.leak = encode(canary.text)
            await wire.request("tools/call", {"name": "leak", "arguments": {}})
            ward.look.look(leaked, wire)
            found = {(finding.sink, finding.hit.label) for finding in ward.look.findings if finding.during == leaked}
            assert ((sink, canary.label) in found) is (leaked != "nothing"), f"{leaked} in {where}: {found}"
            assert {label for _, label in found} <= {canary.label}


async def test_the_plaintext_in_its_own_place_is_no_leak_and_beside_it_is_one(ward: Ward) -> None:
    """The member ``value`` of a read is taken out, in content and structured content; a second copy is not."""
    canary = ward.look.planted.values[PLACE]

    async def read(ward: Ward, _: Context) -> types.CallToolResult:
        payload = {"reference": PLACE.reference, "value": canary.text, **({"note": canary.text} if ward.leak else {})}
        beside = {**payload, "note": ""} if ward.leak == "structured" else payload
        content: list[types.ContentBlock] = [types.TextContent(text=json.dumps(beside))]
        return types.CallToolResult(content=content, structured_content=payload, is_error=False)

    async with leaking(ward, read, "modern") as wire:
        for ward.leak in ("", "both", "structured"):
            answer = await wire.request("tools/call", {"name": "leak", "arguments": {}})
            ward.look.look(ward.leak, wire, read=PLACE, answer=answer)
            found = [finding for finding in ward.look.findings if finding.during == ward.leak]
            assert bool(found) is bool(ward.leak)


def test_a_value_in_a_refusal_is_not_taken_out() -> None:
    """Only what was read may be shown; an error has no place for it."""
    text = json.dumps({"code": "denied", "value": "x"})
    for result in (
        {"content": [{"type": "text", "text": text}], "structuredContent": {"value": "x"}, "isError": True},
        {"content": [{"type": "text", "text": text}], "isError": False},
    ):
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        assert without_value(line) == line


@pytest.mark.parametrize("piece", ["Abc123xyzDEF456uvw", bytes(range(200, 220))], ids=["text", "octets"])
def test_every_encoding_of_ours_is_one(piece: str | bytes) -> None:
    """Each is long enough not to be met by chance, and base64 and base32 are found at every alignment."""
    found = needles(piece)
    assert len(set(found.values())) == len(found) > 20
    raw = piece.encode() if isinstance(piece, str) else piece
    for before in range(10):
        for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
            encoded = encode(b"\xfe" * before + raw + b"\xfd" * 3)
            assert any(needle in encoded for needle in found), (encode, before)


async def test_a_product_that_logs_what_it_opens_fails_the_sweep(
    planted: Planted, board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of logging before a value is made known, so that the product's own filter can't stop it: the sweep finds it."""
    honest = KnownSecrets.text

    def text(known: KnownSecrets, value: str, kind: SecretKind, *, armed: bool = True) -> Secret[str]:
        logging.getLogger("r4_mcp.secret").debug("made a secret of %s", value)
        return honest(known, value, kind, armed=armed)

    monkeypatch.setattr(KnownSecrets, "text", text)
    sweep = Sweep(planted, board, tmp_path)
    await sweep.run([one for one in bounded(planted) if one.tool == "describe_item" and one.condition.family == "approval"])
    assert {finding.sink for finding in sweep.findings} >= {Sink.LOG, Sink.ERRORS}
    assert "API secret" in {finding.hit.label for finding in sweep.findings}


async def test_a_product_that_shows_what_it_opened_fails_the_sweep(
    planted: Planted, board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that shows the last value that was opened as a name, and no egress guard: the sweep finds it in the result."""
    opened: list[str] = []
    honest = KnownSecrets.text

    def text(known: KnownSecrets, value: str, kind: SecretKind, *, armed: bool = True) -> Secret[str]:
        if kind is SecretKind.FIELD and armed and len(value) > PIECE:
            opened.append(value)
        return honest(known, value, kind, armed=armed)

    monkeypatch.setattr(KnownSecrets, "text", text)
    monkeypatch.setattr(browsing, "display", lambda shown: f"{shown} {opened[-1:]}")
    monkeypatch.setattr(Egress, "check", lambda *_, **__: None)
    sweep = Sweep(planted, board, tmp_path)
    await sweep.run([one for one in bounded(planted) if one.tool == "describe_item" and one.condition.family == "approval"])
    assert Sink.RESULT in {finding.sink for finding in sweep.findings}
