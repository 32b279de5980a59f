"""Many calls at once and many after another: right answers, while the key is rotated too, and no growth."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator
from typing import Any, Final

import anyio
import pytest

from r4_mcp.core.wire import FieldType
from tests.doors import Door, Person, World, in_memory

READERS: Final = 64
CALLS: Final = int(os.environ.get("R4_SOAK_CALLS", "160"))
"""Calls of the soak; ``R4_SOAK_CALLS=10000`` is the whole of it."""

GROWTH: Final = 1_000_000
"""Bytes that the second half may add: caches have their bounds, and nothing is kept for each call."""


async def test_reads_go_on_while_the_key_is_rotated(world: World) -> None:
    """64 readers before, during and after: each answer is the right value, or says that the key is being changed."""
    world.add_item("Engineering", "Busy", ("Token", FieldType.SECRET, "the value of the test"))
    read: list[dict[str, Any]] = []
    async with in_memory(world.environment, answer=Person()) as door:
        reference = "r4://Engineering/Busy/Token"
        await door.ok("read_secret", reference=reference)

        async def reader() -> None:
            for _ in range(3):
                result = await door.result("read_secret", {"reference": reference})
                read.append(result.structured_content or {"code": "refused"})
                if result.is_error:
                    assert '"code":"busy"' in door.raw[-1].replace("\\", "") or '"code":"key_' in door.raw[-1].replace("\\", "")

        async with anyio.create_task_group() as tasks:
            for _ in range(READERS):
                tasks.start_soon(reader)
            tasks.start_soon(_rotate, door)
        values = {answer["value"] for answer in read if "value" in answer}
        assert values == {"the value of the test"}
        assert sum("value" in answer for answer in read) >= READERS
        assert (await door.ok("read_secret", reference=reference))["value"] == "the value of the test"


async def _rotate(door: Door) -> None:
    rotated = await door.ok("rotate_key")
    assert rotated["not_read_back"] == []


@pytest.fixture
def traced() -> Iterator[None]:
    """Count memory from before anything is fetched: else what is fetched anew counts, and what it takes the place of does not."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
async def test_memory_stays_flat_over_many_calls(world: World) -> None:
    """Mixed calls, right and wrong: the second half adds next to nothing to the first."""
    made = world.add_item("Engineering", "Soaked", ("Token", FieldType.SECRET, "the value of the soak"))
    by_id = f"r4://{world.vault_id('Engineering')}/{made.item_id}/{made.field_ids[0]}"
    async with in_memory(world.environment) as door:
        turns: tuple[tuple[str, dict[str, object]], ...] = (
            ("list_vaults", {}),
            ("list_items", {"vault": "Engineering"}),
            ("search_items", {"query": "soaked"}),
            ("describe_item", {"reference": "r4://Engineering/Soaked"}),
            ("whoami", {}),
            ("describe_item", {"reference": "r4://Engineering/Nothing"}),
            ("list_items", {"vault": "Engineering", "cursor": "tampered"}),
            ("read_secret", {"reference": by_id}),
        )

        async def some(calls: int) -> int:
            for number in range(calls):
                tool, arguments = turns[number % len(turns)]
                if tool == "read_secret" and number > CALLS // 4:
                    continue  # The reveal budget has a size of its own.
                result = await door.result(tool, arguments)
                assert result.is_error is (arguments.get("reference") == "r4://Engineering/Nothing" or "cursor" in arguments)
                door.raw.clear()
            world.tap.exchanges.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        first = await some(CALLS // 2)
        second = await some(CALLS // 2)
    assert second - first < GROWTH, f"{second - first} bytes over {CALLS // 2} calls"
