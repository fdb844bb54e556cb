"""How the work of a farm is shared among its members, and a member that is made slow."""

import os
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from sipfarm.testing.real_farm import RealFarm

FORWARDED: Final = "sipfarm_sip_forwarded"
"""Requests that a member sent on: those of the calls that it owns."""
STOPPED_S: Final = 0.15
RUNNING_S: Final = 0.07
"""Shorter than what a member's probe of its loop waits: else each may just come before the stop."""


class Shares:
    """What each member forwards of all that the farm does, from here on."""

    def __init__(self, farm: RealFarm) -> None:
        self._farm = farm
        self._before = self._counts()

    def now(self) -> Mapping[str, float]:
        """From 0 to 1, by member."""
        after = self._counts()
        grown = {name: after[name] - self._before[name] for name in after}
        total = sum(grown.values())
        return {name: count / total if total else 0.0 for name, count in grown.items()}

    def _counts(self) -> dict[str, float]:
        return {name: self._farm.metrics(name)[FORWARDED] for name in self._farm.names}


@contextmanager
def slowed(pid: int) -> Generator[None, None, None]:
    """A process that stands still again and again, as one does whose CPU others take.

    Each time for much less than what makes a member suspected, or its packets be sent again.
    """
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
            over.wait(RUNNING_S)

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
