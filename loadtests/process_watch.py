"""Memory and descriptors of processes, looked at again and again while a soak runs."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

LOOK_S: Final = 1.0
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")


class Look(NamedTuple):
    """A process at a moment."""

    at_s: float
    pid: int
    memory_mb: float
    descriptors: int


class Growth(NamedTuple):
    """The medians of the first and the last third of what was seen of a process."""

    first_mb: float
    last_mb: float

    @property
    def mb(self) -> float:
        return self.last_mb - self.first_mb


class ProcessWatch:
    """Looks at each process that `pids` names, by name, once a second until the block is left."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids
        self._looks: dict[str, list[Look]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def last(self) -> dict[str, Look]:
        return {name: looks[-1] for name, looks in tuple(self._looks.items())}

    def growth(self, name: str, leave_out_s: float) -> Growth | None:
        """Of the process that has the name now, without the first seconds of its life."""
        looks = list(self._looks.get(name, []))
        if not looks:
            return None
        own = [look for look in looks if look.pid == looks[-1].pid]
        own = [look for look in own if look.at_s - own[0].at_s >= leave_out_s]
        third = len(own) // 3
        if third == 0:
            return None
        first, last = own[:third], own[-third:]
        return Growth(
            statistics.median(look.memory_mb for look in first),
            statistics.median(look.memory_mb for look in last),
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            for name, pid in self._pids().items():
                try:
                    seen = Look(time.monotonic(), pid, memory_mb(pid), descriptors(pid))
                except OSError:  # it has just ended
                    continue
                self._looks.setdefault(name, []).append(seen)


def memory_mb(pid: int) -> float:
    """What it has in memory (RSS). ProcessLookupError once it has ended, waited for or not."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    if not pages:
        raise ProcessLookupError(pid)
    return pages * PAGE_BYTES / (1 << 20)


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
