"""Waiting for a condition with a deadline: the only way in which a test waits."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_S = 0.02


@overload
async def eventually(condition: Callable[[], Awaitable[T]], timeout_s: float = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], timeout_s: float = ...) -> T: ...
async def eventually(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Return the first truthy result of ``condition``; fail when there is none in ``timeout_s`` seconds.

    ``condition`` may be a coroutine function. While it raises AssertionError it counts as false,
    and the last such error is what the failure shows.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result, error = await _attempt(condition)
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(_complaint(condition, result, timeout_s)) from error
        await asyncio.sleep(POLL_S)


def eventually_sync(condition: Callable[[], T], timeout_s: float = 10.0) -> T:
    """Do what ``eventually`` does, for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        error: AssertionError | None = None
        result: T | None = None
        try:
            result = condition()
        except AssertionError as failure:
            error = failure
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(_complaint(condition, result, timeout_s)) from error
        time.sleep(POLL_S)


async def _attempt(condition: Callable[[], Any]) -> tuple[Any, AssertionError | None]:
    """Evaluate a condition once."""
    try:
        result = condition()
        return (await result if inspect.isawaitable(result) else result), None
    except AssertionError as failure:
        return None, failure


def _complaint(condition: Callable[[], object], last: object, timeout_s: float) -> str:
    """Say what was waited for in vain."""
    name = getattr(condition, "__qualname__", repr(condition))
    return f"{name} was not true within {timeout_s} s; its last result was {last!r}"
