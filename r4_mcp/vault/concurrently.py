"""Several requests at once, with one plain error.

What this file does not do: try again, or go on after an error: the first one cancels the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio

from r4_mcp.errors import R4Error

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")
InT = TypeVar("InT")
OutT = TypeVar("OutT")


async def gather(first: Callable[[], Awaitable[FirstT]], second: Callable[[], Awaitable[SecondT]]) -> tuple[FirstT, SecondT]:
    """Run two calls at once and return both results.

    Raises:
        R4Error: The first of their errors, as itself and not in a group; the other call is cancelled.
    """
    results: dict[int, Any] = {}

    async def run(index: int, call: Callable[[], Awaitable[Any]]) -> None:
        results[index] = await call()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, 0, first)
            tasks.start_soon(run, 1, second)
    except BaseExceptionGroup as group:
        raise _sole(group) from None
    return results[0], results[1]


async def map_bounded(call: Callable[[InT], Awaitable[OutT]], inputs: Sequence[InT], limit: int) -> list[OutT]:
    """Run a call over inputs, at most ``limit`` at once; results in input order.

    Raises:
        R4Error: The first error, as itself; the other calls are cancelled.
    """
    results: dict[int, OutT] = {}
    slots = anyio.Semaphore(limit)

    async def run(index: int, value: InT) -> None:
        async with slots:
            results[index] = await call(value)

    try:
        async with anyio.create_task_group() as tasks:
            for index, value in enumerate(inputs):
                tasks.start_soon(run, index, value)
    except BaseExceptionGroup as group:
        raise _sole(group) from None
    return [results[index] for index in range(len(inputs))]


def _sole(group: BaseExceptionGroup[BaseException]) -> BaseException:
    # A task group wraps even a single error. Ours come first: a cancelled sibling adds nothing.
    leaves = list(_leaves(group))
    ours = [leaf for leaf in leaves if isinstance(leaf, R4Error)]
    return (ours or leaves)[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]
