"""Waiting for what another process does in its own time, and letting the loop have its turn."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_S: Final = 0.02
LOOK_MOST_S: Final = 0.2


def eventually(
    holds: Callable[[], object], what: str, within_s: float, told: Callable[[], object] = str
) -> None:
    """Look again and again until it holds; AssertionError, with what is told, if it never does."""
    until_s = time.monotonic() + within_s
    pause_s = LOOK_S
    while not holds():
        if time.monotonic() > until_s:
            raise AssertionError(f"not within {within_s:g} s: {what} {told()}".strip())
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_MOST_S)


async def eventually_told(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], what: str, within_s: float
) -> T:
    """Ask again and again until the answer is as wanted; AssertionError if it never is."""
    until_s = time.monotonic() + within_s
    while not holds(told := await ask()):
        if time.monotonic() > until_s:
            raise AssertionError(f"not within {within_s:g} s: {what} {told}")
        await asyncio.sleep(LOOK_S)
    return told


async def turn(times: int = 1) -> None:
    """Let every task that can run do so."""
    for _ in range(times):
        await asyncio.sleep(0)
