"""The clock as an argument.

Three kinds of time are never mixed: monotonic, wall, and RTP timestamps.
"""

from typing import Protocol


class Clock(Protocol):
    """Tells the time to a shell; a core gets `now_ms` from its caller."""

    def now_ms(self) -> int:
        """Monotonic milliseconds: for deadlines and durations inside one process."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC: for what other processes or people read."""
        ...
