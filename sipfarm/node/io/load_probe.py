"""How busy this process is: how late its loop turns, and how many cores it uses."""

import asyncio
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

PROBE_S: Final = 0.1
PROBES: Final = 10  # what is told is of the last second


class LoadProbe:
    """Looks ten times a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lags_s: deque[float] = deque([0.0], maxlen=PROBES)
        self._cpu: deque[tuple[float, float]] = deque(maxlen=PROBES + 1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def loop_lag_ms(self) -> float:
        """The worst lag of the last second."""
        return max(self._lags_s) * 1_000

    @property
    def mean_loop_lag_ms(self) -> float:
        """The mean lag of the last second, which one long turn does not make."""
        return sum(self._lags_s) / len(self._lags_s) * 1_000

    @property
    def cpu(self) -> float:
        """Cores in use, the media threads' included."""
        if len(self._cpu) < 2:
            return 0.0
        (began_s, used_s), (ended_s, used_then_s) = self._cpu[0], self._cpu[-1]
        return max((used_then_s - used_s) / (ended_s - began_s), 0.0) if ended_s > began_s else 0.0

    @property
    def cpu_s(self) -> float:
        """CPU time used since the process began."""
        return time.process_time()

    def start(self) -> None:
        self._probe(self._loop.time())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _probe(self, due_s: float) -> None:
        now_s = self._loop.time()
        self._lags_s.append(max(now_s - due_s, 0.0))
        self._cpu.append((now_s, time.process_time()))
        due_s = now_s + PROBE_S
        self._timer = self._loop.call_at(due_s, self._probe, due_s)


@contextmanager
def load_probe(loop: asyncio.AbstractEventLoop) -> Generator[LoadProbe]:
    """Look at this loop until the block is left."""
    probe = LoadProbe(loop)
    probe.start()
    try:
        yield probe
    finally:
        probe.stop()
