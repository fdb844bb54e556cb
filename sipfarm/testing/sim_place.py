"""A simulated member's place in the farm: the shipped membership, over a simulated bus and store.

It does what `cluster.io.farm` does over sockets and tasks, and no more.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

import msgspec

from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation, Load, View
from sipfarm.base.records import MemberRecord
from sipfarm.cluster.membership import Membership
from sipfarm.cluster.membership_outputs import (
    Dial,
    HangUp,
    MemberGone,
    Output,
    ReadRegistry,
    SelfTombstoned,
    TryTombstone,
    ViewChanged,
)
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.cluster.wire import Heartbeat, OwnState
from sipfarm.testing.bus import SimBus
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.memory_store import MemoryStore


class Inhabitant(Protocol):
    """Who is told what becomes of its place."""

    @property
    def is_running(self) -> bool: ...
    def when_running(self, act: Callable[[], None]) -> None:
        """Now, or when the process goes on."""
        ...

    def show(self, view: View) -> None: ...
    def member_gone(self, gone: MemberGone) -> None: ...
    def begin_anew(self) -> None:
        """It is dead to the others."""
        ...


class PlaceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How members keep together."""

    membership: MembershipSettings = MembershipSettings()
    store_delay_ms: tuple[int, int] = (0, 3)
    heartbeats: bool = True
    """Off: the view is what the store says, once and for all."""


class SimPlace:
    """Registry, lease, links, heartbeats and view of one incarnation."""

    def __init__(
        self,
        record: MemberRecord,
        inhabitant: Inhabitant,
        world: tuple[VirtualClock, Random, SimBus, MemoryStore],
        options: PlaceOptions,
    ) -> None:
        self.is_beating = options.heartbeats
        """Off: the view stays as it is, and nothing keeps the agenda busy."""
        self.is_draining = False
        self._record = record
        self._inhabitant = inhabitant
        self._clock, self._random, self._bus, self._store = world
        self._options = options
        self._membership = Membership(record, options.membership, self._clock.now_ms())
        self._ran_ms = self._asked_ms = self._clock.now_ms()
        self._doubted = False
        self._doubts = 0
        self._is_asking = False
        self._asks_again = False

    @property
    def incarnation(self) -> Incarnation:
        return (self._record.number, self._record.epoch)

    def accepts(self, incarnation: Incarnation) -> bool:
        return self._membership.accepts(incarnation)

    def begin(self) -> None:
        """Take part."""
        self.read_registry()
        self._beat()

    def freeze(self) -> None:
        """From now on the view stays as it is."""
        self.is_beating = False
        self._doubted = False

    def may_act(self) -> bool:
        """Whether this member is sure that it lives; see `cluster.io.farm.Farm.may_act`."""
        now_ms = self._clock.now_ms()
        if not self.is_beating:
            return True
        if now_ms - self._ran_ms > self._options.membership.doubt_after_ms:
            self._doubted = True
            self._doubts += 1
            self._ask_registry()
        self._ran_ms = now_ms
        return not self._doubted and not self._membership.cut_off(now_ms)

    # Heartbeats and links.

    def heartbeat(self, sender: Incarnation, packed: bytes) -> None:
        """One that has come."""
        told = msgspec.msgpack.decode(packed, type=Heartbeat)
        self._perform(self._membership.heartbeat(sender, told, self._clock.now_ms()))

    def send_heartbeat(self, number: int) -> None:
        packed = msgspec.msgpack.encode(
            Heartbeat(self._state, Load(), self._membership.view().digest())
        )
        self._bus.send(self.incarnation, number, ("heartbeat", packed))

    def link_lost(self) -> None:
        if self.is_beating:
            self._ask_registry()

    @property
    def _state(self) -> OwnState:
        return OwnState.DRAINING if self.is_draining else OwnState.READY

    def _beat(self) -> None:
        if self._inhabitant.is_running and self.is_beating:
            self._inhabitant.when_running(self._tick)
            self._clock.call_later(self._options.membership.heartbeat_ms, self._beat)

    def _tick(self) -> None:
        """A heartbeat, the registry in its turn, and what the failure detector has to say."""
        now_ms = self._clock.now_ms()
        acting = self.may_act()
        self._perform(self._membership.own(self._state, Load()))
        if acting:
            for member in self._membership.view().live():
                if member.number != self._record.number:
                    self.send_heartbeat(member.number)
        self._perform(self._membership.expire(now_ms))
        self._inhabitant.show(self._membership.view())  # with the latest loads
        if now_ms - self._asked_ms >= self._options.membership.registry_ms:
            self._ask_registry()

    # Registry.

    def read_registry(self) -> None:
        """Look who there is, at once."""
        self._perform(self._membership.registry(self._store.members(), self._clock.now_ms()))
        self._inhabitant.show(self._membership.view())

    def _ask_registry(self) -> None:
        """Prolong the lease and read who there is, as soon as the store answers."""
        if self._is_asking:
            self._asks_again = True
            return
        self._is_asking = True
        self._asked_ms = self._clock.now_ms()
        doubts = self._doubts
        low, high = self._options.store_delay_ms

        def hear() -> None:
            self._inhabitant.when_running(lambda: self._hear_registry(doubts))

        self._clock.call_later(self._random.randint(low, high), hear)

    def _hear_registry(self, doubts: int) -> None:
        self._is_asking = False
        self._renew(doubts)
        if self._asks_again and self._inhabitant.is_running:
            self._asks_again = False
            self._ask_registry()

    def _renew(self, doubts: int) -> None:
        clock, store = self._clock, self._store
        try:
            lives = store.renew(self.incarnation, clock.wall_ms())
            self.may_act()  # were we stopped while the answer was on its way?
            now_ms = clock.now_ms()
            self._perform(self._membership.renewed(lives, now_ms, now_ms))
            if lives and doubts == self._doubts:
                self._doubted = False
            if self._inhabitant.is_running:
                self._perform(self._membership.registry(store.members(), clock.now_ms()))
        except CapacityError:
            self._perform(self._membership.store_failed(clock.now_ms()))

    def _perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case ViewChanged(view):
                    self._inhabitant.show(view)
                case MemberGone():
                    self._inhabitant.member_gone(output)
                case Dial(number, epoch):
                    self._bus.dial(self.incarnation, (number, epoch))
                case HangUp(number, epoch):
                    self._bus.hang_up(self.incarnation, (number, epoch))
                case TryTombstone():
                    self._tombstone(output)
                case ReadRegistry():
                    self._ask_registry()
                case SelfTombstoned():
                    self._inhabitant.begin_anew()
                    return
                case _:
                    pass

    def _tombstone(self, wanted: TryTombstone) -> None:
        incarnation = (wanted.number, wanted.epoch)
        try:
            done: bool | None = self._store.tombstone(incarnation, wanted.lease_until_wall_ms)
        except CapacityError:
            done = None
        now_ms = self._clock.now_ms()
        self._perform(self._membership.tombstone_result(incarnation, done, now_ms))
