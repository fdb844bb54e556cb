"""When a member that died is started again."""

from typing import Final

DELAYS_MS: Final = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SETTLED_MS: Final = 60_000
"""A member that ran for so long begins again with the shortest delay."""


class Restarts:
    """Counts the deaths of one member, and makes it wait longer when they follow one another."""

    def __init__(self) -> None:
        self.count = 0
        self._step = 0

    def delay_ms(self, ran_ms: int) -> int:
        """How long to wait, now that it died after `ran_ms`."""
        self.count += 1
        if ran_ms >= SETTLED_MS:
            self._step = 0
        delay_ms = DELAYS_MS[min(self._step, len(DELAYS_MS) - 1)]
        self._step += 1
        return delay_ms
