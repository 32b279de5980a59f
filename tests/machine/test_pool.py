"""The pool: what the environment says plays no part."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from r4_mcp.machine.pool import public_authorities

from .hostile import client, reply, serving


def test_certificates_are_checked_and_no_key_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key log nor an authority of the environment takes part; a name is checked, and a certificate is needed."""
    log, authority = tmp_path / "keys.log", tmp_path / "authority.pem"
    authority.write_text("")
    before = public_authorities()
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    context = public_authorities()
    assert not context.keylog_filename
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.cert_store_stats() == before.cert_store_stats()
    assert context.cert_store_stats()["x509_ca"] > 50


async def test_no_cookie_is_sent_back() -> None:
    """Whatever the service sets, the next request is like the first."""
    async with serving(reply(200, b"{}", "set-cookie: follow=me; Path=/\r\n")) as service, client(service.base_url) as machine:
        for _ in range(2):
            assert await machine.me() == b"{}"
    first, second = service.requests
    assert first == second
    assert "cookie" not in second.lower()
