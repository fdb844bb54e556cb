"""A member's lease in the registry, and the doubt whether it still lives.

A process that did not run for a while (SIGSTOP, a swapped-out machine) may be dead to the others.
It asks the store before it does anything; until the store has said that it lives, it is in doubt.
"""

from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.cluster.io.farm_parts import FarmCounters, FarmSettings
from sipfarm.cluster.io.store import Members
from sipfarm.cluster.membership import Membership
from sipfarm.cluster.membership_outputs import Output


class Lease:
    """Of one incarnation after another."""

    def __init__(
        self,
        store: Members,
        clock: Clock,
        log: FilteringBoundLogger,
        settings: FarmSettings,
        counters: FarmCounters,
        ask: Callable[[], None],
        perform: Callable[[Sequence[Output]], None],
    ) -> None:
        """`ask` has the registry looked at soon, with a `renew` in it."""
        self.in_doubt = False
        self._store = store
        self._clock = clock
        self._log = log
        self._lease_ms = settings.lease_ms
        self._times = settings.membership
        self._counters = counters
        self._ask = ask
        self._perform = perform
        self._renewed_ms = 0
        self._ran_ms = clock.now_ms()

    @property
    def due_ms(self) -> int:
        """When it is to be renewed."""
        return self._renewed_ms + self._times.registry_ms

    def begin(self) -> None:
        """It was given just now, with a new incarnation."""
        self._renewed_ms = self._clock.now_ms()

    def watch(self) -> int:
        """Be in doubt of a pause from now on, not of one before; what time it is."""
        self._ran_ms = self._clock.now_ms()
        return self._ran_ms

    def run(self) -> int:
        """The process runs, or runs again; what time it is."""
        now_ms = self._clock.now_ms()
        if now_ms - self._ran_ms > self._times.doubt_after_ms:
            self.in_doubt = True
            self._counters.doubts += 1
            self.renew_soon()
            self._log.warning("member_was_stopped", silent_ms=now_ms - self._ran_ms)
        self._ran_ms = now_ms
        return now_ms

    def renew_soon(self) -> None:
        """Somebody takes us for dead, or may: the store knows."""
        self._renewed_ms = self._clock.now_ms() - self._times.registry_ms
        self._ask()

    async def renew(self, membership: Membership) -> bool:
        """Prolong it if it is time, or if we are in doubt; False: this incarnation is over, why is
        in the registry. Raises StoreUnavailable.
        """
        begun_ms = self._clock.now_ms()
        if begun_ms < self.due_ms and not self.in_doubt:
            return True
        self._renewed_ms = begun_ms
        doubts = self._counters.doubts
        number, epoch = membership.incarnation
        lives = await self._store.renew(number, epoch, self._lease_ms, self._clock.wall_ms())
        now_ms = self.run()  # were we stopped while the answer was on its way?
        if not lives:
            self.in_doubt = True
            return False
        self._perform(membership.renewed(True, begun_ms, now_ms))
        if self.in_doubt and doubts == self._counters.doubts:  # asked for after we woke up
            self.in_doubt = False
            self._log.info("member_lives", asked_ms=now_ms - begun_ms)
        return True
