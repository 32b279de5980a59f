"""What masking costs: 100 MB at 50 MB/s or more, in memory that does not grow with the stream."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Final

import pytest

from .values import PLAIN, VALUE, masker

MB: Final = 1_000_000
SIZE: Final = 100 * MB
VALUES: Final = (VALUE, PLAIN, *(f"value-number-{number:04}-of-many" for number in range(18)))
MARKS: Final = SIZE // MB
"""Copies of a value in the stream: one in each megabyte."""


def stream(chunk_size: int) -> Iterator[bytes]:
    """Yield a log with a value in each megabyte, cut into chunks that end anywhere."""
    line = b'{"level": "info", "path": "/api/v1/things/0123456789abcdef", "took": 17, "value": "of little interest"}\n'
    block = (line * (MB // len(line) + 1))[: MB - len(PLAIN)] + PLAIN.encode()
    rest = b""
    for _ in range(MARKS):
        rest += block
        whole = len(rest) - len(rest) % chunk_size
        for at in range(0, whole, chunk_size):
            yield rest[at : at + chunk_size]
        rest = rest[whole:]
    yield rest


def test_a_long_stream_is_masked_at_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """Processor time, not a clock: the machine may do other things meanwhile."""
    chunks = list(stream(65_521))
    masking = masker(*VALUES).stream()
    start = time.process_time()
    marks = sum(masking.feed(chunk).count(b"r4://v/i/1") for chunk in chunks) + masking.finish().count(b"r4://v/i/1")
    speed = SIZE / MB / (time.process_time() - start)
    with capsys.disabled():
        sys.stdout.write(f"\n  {speed:.0f} MB/s with {len(VALUES)} values")
    assert marks == MARKS
    assert speed >= 50


def test_a_long_stream_is_masked_in_flat_memory() -> None:
    """A few chunks at a time, whatever the length; small chunks too."""
    masking = masker(*VALUES).stream()
    seen = 0
    tracemalloc.start()
    try:
        for number, chunk in enumerate(stream(65_521)):
            if number == 10:
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
            seen += len(masking.feed(chunk))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen > SIZE - MARKS * len(PLAIN)
    # The block of the test itself, and a handful of chunks.
    assert peak - before < 5 * MB


def test_chunks_of_one_byte_cost_time_in_proportion() -> None:
    """A service that sends its answer byte by byte makes nothing quadratic."""
    masking = masker(*VALUES).stream()
    text = (b"of little interest " * 1000 + PLAIN.encode()) * 5
    start = time.process_time()
    out = b"".join(masking.feed(text[at : at + 1]) for at in range(len(text))) + masking.finish()
    assert out.count(b"r4://v/i/1") == 5
    assert time.process_time() - start < 5
