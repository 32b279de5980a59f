"""Logs: whatever level a library is set to, no record holds a secret."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from r4_mcp.cli.logs import SecretFilter, set_up_logging
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import spellings
from tests.doors import World, inside

LOUD = ("", "httpx", "httpcore", "mcp", "r4_mcp", "asyncio")


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the logging of the test process back."""
    root = logging.getLogger()
    handlers, raising = list(root.handlers), logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in (*LOUD, "uvicorn")}
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.raiseExceptions = raising


@pytest.mark.usefixtures("restored")
async def test_a_whole_read_at_debug_logs_no_secret(calm: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every library at DEBUG, through the program's own handler: no API key, private key, vault key or value in stderr."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    async with inside(calm.environment) as opened:
        set_up_logging(opened.known)
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.DEBUG)
        value = (await opened.door.ok("read_secret", reference="r4://Engineering/Sentry", reason="a log test"))["value"]
        await opened.door.refused("report_gap", "secret_in_text", summary="s", details=value)
        known = opened.known.armed()
    logged = stderr.getvalue()
    assert "revealed vault=" in logged
    assert "httpcore" in logged
    assert value in known
    assert len(known) > 5
    assert not [secret for secret in known for needle in spellings(secret) if needle in logged]


@pytest.mark.usefixtures("restored")
def test_a_traceback_and_a_secret_never_reach_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracebacks quote values: only the class remains. A record with a secret is replaced whole."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    known = KnownSecrets()
    known.text("canary-zebra-9", SecretKind.FIELD)
    set_up_logging(known)
    log = logging.getLogger("r4_mcp.test")
    try:
        raise ValueError("a text of the exception")  # noqa: TRY301 - a traceback is what is wanted
    except ValueError:
        log.exception("it failed")
    log.info("the value is %s", "canary-zebra-9")
    logging.getLogger("httpx").warning("GET %s", "https://h/?q=canary-zebra-9")
    logged = stderr.getvalue()
    assert "it failed (ValueError)" in logged
    assert "a text of the exception" not in logged
    assert "Traceback" not in logged
    assert "canary" not in logged
    assert logged.count("a log record held a known secret and was blocked") == 2


def test_a_record_without_a_secret_stays_as_it_is() -> None:
    """The filter drops nothing."""
    record = logging.LogRecord("r4_mcp", logging.INFO, __file__, 1, "plain %s", ("text",), None)
    assert SecretFilter(KnownSecrets()).filter(record)
    assert record.getMessage() == "plain text"
