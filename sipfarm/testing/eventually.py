"""Waiting for what another process does in its own time."""

import time
from collections.abc import Callable
from typing import Final

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
