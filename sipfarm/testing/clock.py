"""Virtual time: what is to happen, in order, and no waiting in between."""

import heapq
from collections.abc import Callable
from typing import Final

WALL_START_MS: Final = 1_700_000_000_000
EVENTS_PER_MS_MAX: Final = 20_000  # more at one moment is a loop that time does not end


class Appointment:
    """Something that is to happen; it may be cancelled until then."""

    __slots__ = ("act", "at_ms")

    def __init__(self, at_ms: int, act: Callable[[], None]) -> None:
        self.at_ms = at_ms
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class VirtualClock:
    """The clock of a simulation, and its agenda; it satisfies `sipfarm.base.clock.Clock`."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._sequence = 0
        self._agenda: list[tuple[int, int, Appointment]] = []
        self._at_this_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return WALL_START_MS + self._now_ms

    def call_at(self, at_ms: int, act: Callable[[], None]) -> Appointment:
        """Do it then; what is late is done as soon as may be, in the order of asking."""
        appointment = Appointment(max(at_ms, self._now_ms), act)
        self._sequence += 1
        heapq.heappush(self._agenda, (appointment.at_ms, self._sequence, appointment))
        return appointment

    def call_later(self, delay_ms: int, act: Callable[[], None]) -> Appointment:
        return self.call_at(self._now_ms + delay_ms, act)

    def next_ms(self) -> int | None:
        """When the next appointment is; nothing when there is none."""
        agenda = self._agenda
        while agenda and agenda[0][2].act is None:
            heapq.heappop(agenda)
        return agenda[0][0] if agenda else None

    def run_until(self, until_ms: int) -> None:
        """Keep all appointments up to and at that time."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_ms:
            at_ms, _, appointment = heapq.heappop(agenda)
            act, appointment.act = appointment.act, None
            if act is None:
                continue
            if at_ms > self._now_ms:
                self._now_ms = at_ms
                self._at_this_ms = 0
            self._at_this_ms += 1
            if self._at_this_ms > EVENTS_PER_MS_MAX:
                raise RuntimeError(f"time stands still at {at_ms} ms")
            act()
        self._now_ms = max(self._now_ms, until_ms)

    def run_until_quiet(self, limit_ms: int) -> bool:
        """Keep appointments until there is none; False when some are left at the limit."""
        while (next_ms := self.next_ms()) is not None:
            if next_ms > limit_ms:
                return False
            self.run_until(next_ms)
        return True
