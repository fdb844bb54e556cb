"""What becomes of the REGISTERs that the express lane has taken up (docs/adr/0016)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from sipfarm.base.clock import Clock
from sipfarm.base.records import RegisterUpdate
from sipfarm.cluster.io.cells import StoreUnavailable
from sipfarm.cluster.registration import outcome_of
from sipfarm.native import ExpressLane, Message
from sipfarm.node.dispatch import Dispatcher, EngineDriver
from sipfarm.signaling.location import Locations

_decode_update: Final = msgspec.msgpack.Decoder(RegisterUpdate).decode


class Express:
    """Tells the farm of what went well, and has the dispatcher answer what did not."""

    def __init__(
        self,
        lane: ExpressLane,
        locations: Locations,
        dispatcher: Dispatcher,
        driver: EngineDriver,
        clock: Clock,
        late: Callable[[str], None],
    ) -> None:
        """`late` is told of an address-of-record whose update was done after its 503."""
        self._lane = lane
        self._locations = locations
        self._dispatcher = dispatcher
        self._driver = driver
        self._clock = clock
        self._late = late
        self.next_deadline_ms = lane.next_deadline_ms

    def resolve(self) -> None:
        """The store has answered."""
        driver, now_ms = self._driver, self._clock.now_ms()
        wall_ms = self._clock.wall_ms()
        bound, left, late = self._lane.take(driver.engine, driver.out, now_ms, wall_ms)
        try:
            for aor, bindings in bound:
                self._locations.put(aor, bindings, now_ms)
                self._dispatcher.bound(aor)
            for request, update, status, bindings, error in left:
                self._decide(request, update, (status, bindings), error)
            for aor in late:
                self._late(aor)
        finally:
            driver.wake()

    def expire(self, now_ms: int) -> None:
        """Refuse what the store has not answered in time."""
        for transaction in self._lane.overdue(self._driver.engine, now_ms):
            self._dispatcher.failed(transaction, StoreUnavailable("no answer in time"))

    def _decide(
        self, request: Message, update: bytes, told: tuple[int, bytes | None], error: str
    ) -> None:
        if error:
            self._dispatcher.failed(request.transaction, StoreUnavailable(error))
            return
        asked = _decode_update(update)
        self._dispatcher.told(request, asked, partial(outcome_of, asked, *told))
