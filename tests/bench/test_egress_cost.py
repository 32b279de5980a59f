"""What the last look costs: time per message, per new value and per process, and memory.

Processor time is compared, never a clock, and only with a floor of the same run. The figures are printed.
"""

from __future__ import annotations

import json
import random
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from r4_mcp.policy.egress import Egress
from r4_mcp.policy.shapes import has_secret_shape
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import spellings

KIB: Final = 1024
SIZE: Final = 16 * KIB
WORDS: Final = ("lantern", "harbour", "r4://Dry%20Dock/Crane", "0123456789abcdef01234567", "LOGIN", "crane no. 4")
Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print a figure past pytest's capture."""

    def print_line(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")

    return print_line


def cost(work: Callable[[], object], times: int = 9) -> float:
    """Return the least processor time of some runs, in milliseconds."""
    least = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least * 1000


def made(count: int, length: int = 32) -> list[str]:
    """Return random values, the same in each run."""
    source = random.Random(3)  # noqa: S311 - test values, repeatable
    return ["".join(source.choices(string.ascii_letters + string.digits + "-+/", k=length)) for _ in range(count)]


def guard(values: list[str]) -> tuple[KnownSecrets, Egress]:
    """Return a guard that knows the values and has looked once."""
    known = KnownSecrets(capacity=100_000)
    for value in values:
        known.text(value, SecretKind.FIELD)
    egress = Egress(known)
    egress.holds_secret("")
    return known, egress


def text(size: int) -> str:
    """Return words without a secret."""
    return " ".join(random.Random(4).choices(WORDS, k=size // 6))[:size]  # noqa: S311 - repeatable


def listing(size: int) -> dict[str, Any]:
    """Return a listing that is about so long as JSON."""
    line = {
        "reference": "r4://Dry%20Dock/Crane%20No%204",
        "id": "0123456789abcdef01234567",
        "name": "Crane No 4",
        "type": "LOGIN",
        "websites": ["https://crane.example/login"],
        "field_count": 3,
    }
    return {"vault": "r4://Dry%20Dock", "items": [line] * (size // len(json.dumps(line))), "verified": True}


def test_a_message_of_16_kib_against_60_values(say: Say) -> None:
    """A few times what encoding it costs, and a fraction of a search for each needle."""
    values = made(60)
    _, egress = guard(values)
    payload, words = listing(SIZE), text(SIZE)
    needles = [needle for value in values for needle in spellings(value)]
    look, check = cost(lambda: egress.holds_secret(words)), cost(lambda: egress.check(payload))
    floor, linear = cost(lambda: json.dumps(payload)), cost(lambda: any(needle in words for needle in needles))
    say(f"16 KiB, 60 values, {len(needles)} needles: text {look:.3f} ms, listing {check:.3f} ms")
    say(f"floors: json.dumps of the listing {floor:.3f} ms, one search for each needle {linear:.3f} ms")
    assert check < 20 * floor
    assert look * 4 < linear


def test_the_cost_grows_with_the_text_and_hardly_with_the_values(say: Say) -> None:
    """Linear in the text; sixty times the values cost a few times as much, where one search for each would cost sixty times."""
    few, many = guard(made(60))[1], guard(made(3600))[1]
    short, long = text(SIZE), text(16 * SIZE)
    costs = [cost(partial(egress.holds_secret, words)) for egress in (few, many) for words in (short, long)]
    say(f"60 values: {costs[0]:.3f} ms for 16 KiB, {costs[1]:.3f} ms for 256 KiB; 3,600: {costs[2]:.3f} and {costs[3]:.3f} ms")
    assert costs[1] < 48 * costs[0]
    assert costs[3] < 48 * costs[2]
    assert costs[2] < 30 * costs[0]


def test_one_new_value_among_4000_is_not_felt(say: Say) -> None:
    """A call that reveals one more value pays a small part of what building everything would cost."""
    values = made(4200)
    start = time.process_time()
    known, egress = guard(values[:4000])
    whole = (time.process_time() - start) * 1000
    costs = []
    for value in values[4000:]:
        known.text(value, SecretKind.FIELD)
        costs.append(cost(lambda: egress.holds_secret(""), times=1))
    middle, mean, most = statistics.median(costs), statistics.mean(costs), max(costs)
    say(f"all 4,000: {whole:.0f} ms; one more: median {middle:.2f}, mean {mean:.2f}, at most {most:.1f} ms of {len(costs)}")
    assert mean * 30 < whole
    assert most * 3 < whole


MEMORY: Final = """
import json, sys
from r4_mcp.policy.egress import Egress
from r4_mcp.secret import KnownSecrets, SecretKind
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
capacity, step, values = json.load(sys.stdin)
known = KnownSecrets(capacity)
egress = Egress(known)
egress.holds_secret("")
before = resident()
for start in range(0, len(values), step):
    for value in values[start : start + step]:
        known.text(value, SecretKind.FIELD)
    egress.holds_secret("")
sys.stdout.write(f"{before} {resident()}")
"""


def grown(count: int, length: int, capacity: int = 4096, step: int = 4096) -> tuple[int, int]:
    """Return the memory of a process, in bytes, before and after so many values of one length were learnt, ``step`` at a time."""
    told = json.dumps((capacity, step, made(count, length)))
    found = subprocess.run([sys.executable, "-c", MEMORY], input=told, capture_output=True, text=True, check=True)
    before, after = map(int, found.stdout.split())
    return before, after - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded_by_the_number_of_values_and_not_their_length(say: Say) -> None:
    """A full memory of values takes no more than the process has anyway, a few times; long values take little more than short."""
    (before, full), (_, short), (_, long) = grown(4096, 32), grown(1000, 32), grown(1000, 2000)
    say(f"4,096 values of 32: {full / 2**20:.1f} MiB on {before / 2**20:.1f} MiB")
    say(f"1,000 values of 32: {short / 2**20:.1f} MiB; of 2,000: {long / 2**20:.1f} MiB, the values included")
    assert full < 4 * before
    assert long < 3 * short


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_forgotten_takes_no_memory_for_long(say: Say) -> None:
    """Twelve times as many values as are remembered go through the guard; it keeps what it needs for those that are."""
    (_, once), (_, through) = grown(500, 32, capacity=500), grown(6000, 32, capacity=500, step=25)
    say(f"500 values: {once / 2**20:.1f} MiB; 6,000 through a memory of 500: {through / 2**20:.1f} MiB")
    assert through < 5 * once


IMPORT: Final = "import sys, time; start = time.process_time(); import {}; sys.stdout.write(str(time.process_time() - start))"


def importing(modules: str) -> float:
    """Return the least processor time of an import in a new process, in milliseconds."""
    runs = [[sys.executable, "-c", IMPORT.format(modules)] for _ in range(3)]
    return min(float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) for run in runs) * 1000


def test_importing_the_guard_is_cheap(say: Say) -> None:
    """A process may live for one call: the matcher costs a fraction of what every room imports. The shapes' library waits."""
    floor = importing("dataclasses, json, threading, urllib.parse, rfc8785, r4_mcp.secret, r4_mcp.errors")
    own, later = importing("r4_mcp.policy.egress, r4_mcp.policy.screen"), importing("detect_secrets.plugins.aws")
    say(f"import of egress and screen {own:.0f} ms, of what all rooms share {floor:.0f} ms; at the first look {later:.0f} ms")
    assert own < 2.5 * floor


HOSTILE: Final = ("/", "sk-", "eyJ", "://a:", "//a/:_authToke", "password", "key=", "a1B", "1", "xoxb-1-", "AKIA")


def test_a_look_for_shapes_stays_linear_under_hostile_texts(say: Say) -> None:
    """Several of the library's expressions are quadratic in a line; windows keep a text from showing it, however long."""
    prose = text(8000)
    plain = cost(partial(has_secret_shape, prose), times=3)
    worst = 0.0
    for unit in HOSTILE:
        hostile = (unit * 8000)[:8000]
        once, four = (cost(partial(has_secret_shape, hostile * repeat), times=1) for repeat in (1, 4))
        assert four < 10 * once + plain, unit
        worst = max(worst, once)
    say(f"shapes in 8,000 characters: prose {plain:.2f} ms, the worst of {len(HOSTILE)} hostile ones {worst:.2f} ms")
    assert worst < 100 * plain
