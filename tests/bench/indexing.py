"""The first verified index, and the same work done barely."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.keys import load_public_key
from r4_mcp.core.signing import Context, verify
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX
from r4_mcp.secret import KnownSecrets

from .places import Service


async def verified_index(environment: dict[str, str]) -> float:
    """Make an index with a memory that knows nothing; returns seconds."""
    known = KnownSecrets()
    async with open_service(read_settings(environment, known), known) as one:
        assert one.runtime is not None
        await one.runtime.registration.ensure()
        started = time.perf_counter()
        snapshot = await one.runtime.index.snapshot()
        seconds = time.perf_counter() - started
    assert snapshot.complete
    assert all(entry.vault is not None for entry in snapshot.vaults.values())
    return seconds


async def bare_index(known: Service) -> float:
    """Fetch the same pages, parse them, and check each signature, one after the other and with nothing around it.

    The parse gives the same values and checks no form; the checks are those of summaries and details, under keys that are loaded
    once for each vault. Nothing is compared, remembered or written. Returns seconds.
    """
    members = json.loads(known.config.read_text())
    headers = {API_KEY_HEADER: f"{members['accessKey']}.{members['accessSecret']}", "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=known.base_url + API_PREFIX, headers=headers, timeout=60) as http:
        started = time.perf_counter()
        more, cursor, checked = True, None, 0
        while more:
            page: dict[str, Any] = json.loads((await http.get("/vault/sync", params={"since": cursor} if cursor else {})).content)
            more, cursor = page["more"], page["cursor"]
            for one in page["vaults"]:
                keys = {signer["id"]: load_public_key(signer["publicKey"], what="key") for signer in one["directory"]["signers"]}
                signed = [(Context.SUMMARY, one["summaryCheckpoint"])]
                signed += [(Context.DETAIL, item["detailCheckpoint"]) for item in one["items"]]
                for context, envelope in signed:
                    signer = envelope.get("signerUserKeyPairId") or envelope["signerEncryptionKeyId"]
                    verify(keys[signer], context, envelope["checkpoint"], envelope["signature"])
                    checked += 1
        seconds = time.perf_counter() - started
    assert checked > known.items
    return seconds
