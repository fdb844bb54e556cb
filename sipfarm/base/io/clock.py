"""The clock of the machine."""

import time


class SystemClock:
    """A `Clock` that asks the kernel."""

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
