"""One time limit for many waiters, at the cost of one timer for all.

`asyncio.timeout` costs as much as the rest of a store call; here every call has the same limit, so
they run out in the order they began.
"""

import asyncio
from collections import deque
from typing import Any

from sipfarm.cluster.io.cells import StoreUnavailable


class Deadlines:
    """Fails what has not been answered within the limit."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Let it fail with StoreUnavailable if it is not done in time."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        at_s = self._loop.time() + self._limit_s
        waiting.append((at_s, future))
        if self._timer is None:
            self._timer = self._loop.call_at(at_s, self._expire)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        waiting, now_s = self._waiting, self._loop.time()
        while waiting and (waiting[0][0] <= now_s or waiting[0][1].done()):
            _, future = waiting.popleft()
            if not future.done():
                future.set_exception(StoreUnavailable(f"no answer within {self._limit_s} s"))
        if waiting:
            self._timer = self._loop.call_at(waiting[0][0], self._expire)
