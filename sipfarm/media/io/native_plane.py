"""The native media plane on this member's event loop: ports bound ahead, events polled."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from sipfarm.base.clock import Clock
from sipfarm.base.errors import StartError
from sipfarm.native import Output, Plane, PortPool

SPARE_PAIRS: Final = 128
REPLENISH_EVERY_S: Final = 0.05
PORTS_PER_TRY: Final = 64  # that one replenishment goes over, where others have them
OWN_STREAMS_BEGIN: Final = 1 << 62  # the engine numbers its own from 1

PlaneEvent = dict[str, Any]


class MediaPlane:
    """The pool of ports, and the plane that binds and carries."""

    def __init__(
        self,
        clock: Clock,
        address: str,
        advertise: str,
        ports: tuple[int, int],
        threads: int,
        silence_timeout_ms: int,
        told: Callable[[PlaneEvent], None],
        sockets: str = "auto",
        kernel_relay: bool = True,
    ) -> None:
        """Raises StartError where the plane cannot start or no port can be bound."""
        self._clock = clock
        self._told = told
        self._next_stream = OWN_STREAMS_BEGIN
        self._timer: asyncio.TimerHandle | None = None
        self._is_short = False
        self.pool = PortPool()
        try:
            self.plane = Plane(
                self.pool,
                address,
                advertise,
                ports[0],
                ports[1],
                threads=threads,
                spare_pairs=SPARE_PAIRS,
                silence_timeout_ms=silence_timeout_ms,
                sockets=sockets,
                kernel_relay=kernel_relay,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise StartError(f"the media plane cannot start on {address}: {error}") from error
        for _ in range((ports[1] - ports[0]) // PORTS_PER_TRY + 2):
            self.plane.replenish(clock.now_ms())
            if self.pool.free:
                break
        else:
            which = f"{address} {ports[0]}-{ports[1]}"
            raise StartError(f"no media port of {which} can be bound: {self._why_short()}")

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self.plane.event_fd, self._poll)
        self._replenish(loop)

    def apply(self, out: Output) -> None:
        self.plane.apply(out)
        self.plane.replenish(self._clock.now_ms())

    def new_stream(self) -> int:
        self._next_stream += 1
        return self._next_stream

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop.remove_reader(self.plane.event_fd)
        self.plane.stop()

    def _why_short(self) -> str:
        error = self.plane.totals()["bind_errno"]
        return os.strerror(error) if error else "all are taken, here or by other programs"

    def _poll(self) -> None:
        for event in self.plane.poll_events():
            self._told(event)

    def _replenish(self, loop: asyncio.AbstractEventLoop) -> None:
        self.plane.replenish(self._clock.now_ms())
        if self._is_short != (self.pool.free == 0):
            self._is_short = not self._is_short
            if self._is_short:
                self._told({"kind": "ports_short", "reason": self._why_short()})
        self._timer = loop.call_later(REPLENISH_EVERY_S, self._replenish, loop)
