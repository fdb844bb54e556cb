"""Links that did not come about: counted by reason, and logged once in a while."""

from collections.abc import Mapping
from typing import Final

from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.cluster.handshake import Refused, RefusedFor

LOG_EVERY_MS: Final = 10_000


class Refusals:
    """What a flood of strangers at the bus's port leaves behind: a few numbers."""

    def __init__(self, clock: Clock, log: FilteringBoundLogger) -> None:
        self._clock = clock
        self._log = log
        self._counts = dict.fromkeys(RefusedFor, 0)
        self._logged_ms: dict[RefusedFor, int] = {}
        self._unsaid = dict.fromkeys(RefusedFor, 0)

    @property
    def counts(self) -> Mapping[RefusedFor, int]:
        return self._counts

    def note(self, refused: Refused, remote: str) -> None:
        """Count one, and log it unless one for the same reason was logged just now."""
        why = refused.why
        self._counts[why] += 1
        now_ms = self._clock.now_ms()
        if now_ms - self._logged_ms.get(why, now_ms - LOG_EVERY_MS) < LOG_EVERY_MS:
            self._unsaid[why] += 1
            return
        log = self._log.info if why is RefusedFor.NOT_READY else self._log.warning
        log(
            "bus_link_refused",
            reason=why.value,
            remote=remote,
            by_peer=refused.by_peer,
            others=self._unsaid[why],
        )
        self._logged_ms[why] = now_ms
        self._unsaid[why] = 0
