"""What it costs, beside floors of the same run: ``python -m tests.bench`` prints a table, and JSON as the last line.

Every target is a size, or a ratio to a floor that is measured in turns with it: machines change their speed while this runs, so
that few and long measurements are compared each with its neighbour, and the median is that of the ratios. Requests are counted in
``tests/vault``.
Nothing fails here: figures are for reading, since machines are noisy.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import anyio
import httpx

from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX
from r4_mcp.secret import KnownSecrets
from r4_mcp.tools import ALL_TOOLS

from .indexing import bare_index, verified_index
from .places import BITS, Service, echo, resident, server, service

SPAWNS: Final = 15
READS: Final = 200
AT_ONCE: Final = 64
ROUNDS: Final = 3
SEARCHES: Final = ("github", "service 101-17", "password", "https://service-7-4.example", "zzz", "service 1", "001", "vault 150")
KIB: Final = 1024


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    measured: float
    target: float
    unit: str
    beside: str

    @property
    def holds(self) -> bool:
        """Whether the target is reached."""
        return self.measured >= self.target if self.unit == "of floor, at least" else self.measured <= self.target


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Return how long it took, in seconds."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def compared(mine: Sequence[float], floor: Sequence[float]) -> float:
    """Return the median ratio of neighbours."""
    return statistics.median(one / other for one, other in zip(mine, floor, strict=True))


async def spawn_to_first(folder: Path) -> list[Figure]:
    """From the start of a process to its first result."""
    home = folder / "local"
    open_embedded(home / "local", KnownSecrets(), bits=BITS)
    environment = {"R4_HOME": str(home)}

    async def ours() -> None:
        async with server(environment, "--local") as one:
            await one.begin()
            await one.call("list_vaults")

    async def bare() -> None:
        async with echo() as one:
            await one.begin()
            await one.call("echo", text="x")

    await ours()
    await bare()
    pairs = [(await timed(ours), await timed(bare)) for _ in range(SPAWNS)]
    mine, floor = zip(*pairs, strict=True)
    beside = f"{statistics.median(mine):.3f} s, echo server {statistics.median(floor):.3f} s"
    return [Figure("spawn to first list_vaults", compared(mine, floor), 1.35, "x floor", beside)]


async def warm_reads(folder: Path, small: Service) -> list[Figure]:
    """A field that is read again, alone and with many outstanding; the floor is an echo call and a GET of the same bytes."""
    members = json.loads(small.config.read_text())
    headers = {API_KEY_HEADER: f"{members['accessKey']}.{members['accessSecret']}", "Accept-Encoding": "identity"}
    reference = "r4://Engineering/Sentry/Auth%20Token"
    async with (
        server(small.environment(folder / "reads")) as one,
        echo() as floor,
        httpx.AsyncClient(base_url=small.base_url + API_PREFIX, headers=headers, limits=httpx.Limits(max_connections=32)) as http,
    ):
        await one.begin()
        await floor.begin()
        described = (await one.call("describe_item", reference="r4://Engineering/Sentry"))["structuredContent"]
        field = next(line["id"] for line in described["fields"] if line["name"] == "Auth Token")
        path = f"/vault/{small.seeded.vaults['Engineering']}/fields/{field}"
        value = (await one.call("read_secret", reference=reference))["structuredContent"]["value"]

        async def get() -> None:
            (await http.get(path)).raise_for_status()

        reads, echoes, gets = [], [], []
        for _ in range(READS):
            reads.append(await timed(lambda: one.call("read_secret", reference=reference)))
            echoes.append(await timed(lambda: floor.call("echo", text=value)))
            gets.append(await timed(get))
        mine, bare = statistics.median(reads), statistics.median(echoes) + statistics.median(gets)

        async def many_reads() -> None:
            numbers = [await one.ask("read_secret", reference=reference) for _ in range(AT_ONCE * 2)]
            for number in numbers:
                assert not (await one.answer(number))["result"].get("isError")

        async def many_gets() -> None:
            left = iter(range(AT_ONCE * 2))

            async def some() -> None:
                for _ in left:
                    await get()

            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(some)

        rates = [(await timed(many_reads), await timed(many_gets)) for _ in range(5)]
        ours, theirs = (AT_ONCE * 2 / statistics.median(column) for column in zip(*rates, strict=True))
    return [
        Figure("warm read_secret, p50", mine / bare, 1.5, "x floor", f"{mine * 1e3:.2f} ms, echo + GET {bare * 1e3:.2f} ms"),
        Figure("warm read_secret, 64 at once", ours / theirs, 0.5, "of floor, at least", f"{ours:.0f}/s, GETs {theirs:.0f}/s"),
    ]


async def indexes(folder: Path, medium: Service, large: Service) -> list[Figure]:
    """The first verified index; the floor fetches and parses the same pages and makes the same signature checks."""
    some, mine, floor = [], [], []
    for number in range(ROUNDS):
        some.append(await verified_index(medium.environment(folder / f"medium-{number}")))
        mine.append(await verified_index(large.environment(folder / f"large-{number}")))
        floor.append(await bare_index(large))
    few, many, bare = (f"{statistics.median(column):.2f} s" for column in (some, mine, floor))
    return [
        Figure(f"index of {large.items} items", compared(mine, floor), 1.5, "x floor", f"{many}, bare {bare}"),
        Figure(f"growth from {medium.items}", compared(mine, some), 11.0, "x", f"{few} to {many}"),
    ]


async def searches(folder: Path, large: Service) -> list[Figure]:
    """Search in a server that has the index, and what it occupies."""
    async with server(large.environment(folder / "searches")) as one, echo() as floor:
        await one.begin()
        await floor.begin()
        await one.call("search_items", query="first")
        found, echoes = [], []
        for number in range(READS):
            query = SEARCHES[number % len(SEARCHES)]
            found.append(await timed(lambda: one.call("search_items", query=query)))  # noqa: B023 - awaited at once
            echoes.append(await timed(lambda: floor.call("echo", text=query)))  # noqa: B023
        occupied = resident(one.pid) / KIB**2
    mine, bare = statistics.median(found) * 1e3, statistics.median(echoes) * 1e3
    return [
        Figure(f"search in {large.items} items, p50", mine, 5.0, "ms", f"an echo {bare:.2f} ms"),
        Figure("resident memory with it", occupied, 200.0, "MiB", f"after {READS} searches"),
    ]


def listing() -> list[Figure]:
    """What a model reads of the tools."""
    shown = [
        {"name": tool.name, "title": tool.title, "description": tool.description, "inputSchema": tool.input_schema()}
        | {"outputSchema": tool.output_schema()}
        for tool in ALL_TOOLS
    ]
    size = len(json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode())
    return [
        Figure("tools/list", size / KIB, 20.0, "KiB", f"{len(ALL_TOOLS)} tools, without hints"),
        Figure("a tool of it", size / KIB / len(ALL_TOOLS), 1.1, "KiB", "mean"),
    ]


async def main() -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = listing() + await spawn_to_first(folder)
        with service(folder / "small", 0) as small:
            figures += await warm_reads(folder, small)
        with service(folder / "medium", 20) as medium, service(folder / "large", 200) as large:
            figures += await indexes(folder, medium, large)
            figures += await searches(folder, large)
    for figure in figures:
        mark = "ok  " if figure.holds else "over"
        sys.stdout.write(
            f"{mark} {figure.name:<32} {figure.measured:8.2f} {figure.unit:<20} {figure.target:g}   ({figure.beside})\n"
        )
    sys.stdout.write(json.dumps([asdict(figure) for figure in figures]) + "\n")


if __name__ == "__main__":
    anyio.run(main)
