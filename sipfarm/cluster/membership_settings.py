"""The times of failure detection, and how they depend on each other."""

from typing import Self

import msgspec


class MembershipSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The times of failure detection."""

    heartbeat_ms: int = 200
    suspect_after_ms: int = 1_000
    dead_after_ms: int = 2_000
    registry_ms: int = 500
    """How often a lease is prolonged, and the registry read."""
    retry_ms: int = 500
    """Between two attempts to tombstone one member."""
    dead_shown_ms: int = 600_000
    """So long a dead member stands in the view, for people to see."""

    def __post_init__(self) -> None:
        if not 2 * self.heartbeat_ms < self.suspect_after_ms < self.dead_after_ms:
            raise ValueError(
                f"heartbeat_ms={self.heartbeat_ms}, suspect_after_ms={self.suspect_after_ms},"
                f" dead_after_ms={self.dead_after_ms}: twice the first must be below the second,"
                " and that below the third"
            )
        if not self.registry_ms < self.doubt_after_ms < self.lease_silent_ms:
            raise ValueError(
                f"registry_ms={self.registry_ms}, doubt_after_ms={self.doubt_after_ms},"
                f" lease_silent_ms={self.lease_silent_ms}: each must be below the next"
            )

    @classmethod
    def of(cls, suspect_after_ms: int, dead_after_ms: int) -> Self:
        """With a registry that is read often enough for these times."""
        return cls(
            suspect_after_ms=suspect_after_ms,
            dead_after_ms=dead_after_ms,
            registry_ms=min(dead_after_ms // 4, 500),
        )

    @property
    def lease_silent_ms(self) -> int:
        """A lease that was seen prolonged no longer ago proves life.

        With `registry_ms`, in which nobody looks, it is as long as `dead_after_ms`, so that it does
        not delay the end of a member that is dead.
        """
        return max(self.dead_after_ms - self.registry_ms, 2 * self.registry_ms)

    @property
    def doubt_after_ms(self) -> int:
        """A member that did not run, or was cut off, for so long may be dead to the others, who
        count from its last heartbeat and its last lease: it does nothing until it has heard.
        """
        return min(self.dead_after_ms, self.lease_silent_ms) - 2 * self.heartbeat_ms
