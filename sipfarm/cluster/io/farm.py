"""A member's place in the farm: registry, lease, links, heartbeats and view, on one event loop.

It decides little: the membership does. While this member may be dead to the others (`lease`),
`may_act` is False; so it is while neither the store nor any other member is heard. If it is dead it
drops everything and joins anew.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation, Standing, View
from sipfarm.base.ids import Entropy
from sipfarm.base.net import HostPort
from sipfarm.base.records import MemberRecord
from sipfarm.cluster.handshake import Identity, Refused, RefusedFor
from sipfarm.cluster.io.bus import Bus, BusHandlers, BusTls
from sipfarm.cluster.io.farm_parts import (
    FarmCounters,
    FarmHandlers,
    FarmSettings,
    FarmStore,
    Superseded,
)
from sipfarm.cluster.io.lease import Lease
from sipfarm.cluster.io.store import StoreUnavailable
from sipfarm.cluster.membership import Membership
from sipfarm.cluster.membership_outputs import (
    Dial,
    GoneFor,
    HangUp,
    MemberGone,
    Output,
    ReadRegistry,
    TryTombstone,
    ViewChanged,
)
from sipfarm.cluster.placement import choose
from sipfarm.cluster.wire import Heartbeat, OwnState

REGISTRY_PAUSE_S: Final = 0.02
"""Between two readings of the registry, however many ask for one."""
DRAW_BYTES: Final = 8


class Farm:
    """One member in its farm: `join`, `start`, and `leave`."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        store: FarmStore,
        clock: Clock,
        entropy: Entropy,
        log: FilteringBoundLogger,
        settings: FarmSettings,
        handlers: FarmHandlers,
        *,
        keys: Sequence[bytes],
        tls: BusTls | None = None,
    ) -> None:
        """`keys`: FarmKeys.bus of the farm's secret, and of the previous one if there is one."""
        self.counters = FarmCounters()
        self._group = group
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._settings = settings
        self._handlers = handlers
        self._times = settings.membership
        self._state = OwnState.READY
        self._standing = Standing(roles=settings.roles)
        self._bus_address = ""
        self._membership: Membership | None = None
        self._record: MemberRecord | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tick_at_ms = 0
        self._read_wanted = asyncio.Event()
        self._met = asyncio.Event()
        self._lease = Lease(
            store, clock, log, settings, self.counters, self.read_registry, self._perform
        )
        self._ended: GoneFor | None = None
        bus_handlers = BusHandlers(
            packets=self._packets,
            heartbeat=self._heartbeat,
            invalidate=handlers.invalidate,
            event=handlers.event,
            rpc=self._rpc,
            accepts=self._accepts,
            link_up=self._link_up,
            link_down=self._link_down,
            refused=self._refused,
        )
        self.bus = Bus(group, clock, entropy, log, keys, bus_handlers, tls=tls)

    @property
    def record(self) -> MemberRecord:
        """This incarnation."""
        assert self._record is not None, "join first"
        return self._record

    @property
    def membership(self) -> Membership:
        assert self._membership is not None, "join first"
        return self._membership

    def view(self) -> View:
        """The farm now, with the latest loads."""
        return self.membership.view()

    def may_act(self) -> bool:
        """Whether this member may do anything now: to be asked before packets are worked on.

        False after a time in which the process did not run, until the store has answered that this
        incarnation still lives; while it is cut off from the store and from all others, who may
        have declared it dead; and while it is being replaced by a new one.
        """
        now_ms = self._lease.run()
        return not (self._lease.in_doubt or self._ended or self.membership.cut_off(now_ms))

    def place(self) -> int:
        """The number of the member that gets new work which was received here."""
        view = self.view()
        own = view.member(self.record.number)
        assert own is not None
        draw = int.from_bytes(self._entropy.token_bytes(DRAW_BYTES), "little")
        return choose(own, view, draw, self._settings.placement)

    def set_state(self, state: OwnState) -> None:
        """Ready or draining; the others know at once."""
        self._state = state
        self._tell_self()
        self.bus.broadcast(self._own_heartbeat())

    async def set_roles(self, roles: tuple[str, ...]) -> None:
        """Have other roles; the others know at once. Raises LastWithRole, StoreUnavailable."""
        number, epoch = self.membership.incarnation
        wall_ms = self._clock.wall_ms()
        if await self._store.set_roles(number, epoch, roles, wall_ms):
            self._standing = msgspec.structs.replace(self._standing, roles=roles)
            self._tell_self()
            self.bus.broadcast(self._own_heartbeat())
        self.read_registry()

    def read_registry(self) -> None:
        """Read now what others may have written, not only at the next turn."""
        self._read_wanted.set()

    async def join(self, bus_listen: HostPort, advertise: HostPort | None = None) -> MemberRecord:
        """Listen for other members and begin an incarnation; `start` must follow within a second.

        Raises StartError, StoreUnavailable.
        """
        bound = await self.bus.listen(bus_listen)
        self._bus_address = str(advertise or bound)
        return await self._begin()

    async def start(self) -> None:
        """Look who there is, let the others in, and let them hear from us. Before this no handler
        is called but `load`. Raises StoreUnavailable.
        """
        records = await self._store.members()
        self._tick_at_ms = self._lease.watch()
        self._appear(records)
        tasks = (self._keep_registry(), self._keep_time())
        self._tasks += [self._group.create_task(task) for task in tasks]

    async def meet(self) -> bool:
        """Wait until each member in view is linked, was heard, and has the same view, a short time
        at most; whether so. What is placed on one of us from now on, all know where to find.
        """
        try:
            async with asyncio.timeout(self._settings.meeting_ms / 1_000):
                while not (self._is_linked() and self.membership.is_agreed()):
                    self._met.clear()
                    await self._met.wait()
        except TimeoutError:
            self._log.warning("member_not_linked", linked=len(self.bus.linked))
            return False
        return True

    async def leave(self) -> None:
        """End this incarnation of our own will, and all links."""
        record = self.record
        self._stop_tasks()
        try:
            await self._store.leave(record.number, record.epoch, self._clock.wall_ms())
        except StoreUnavailable:
            self._log.warning("member_left_unsaid")
        self.bus.close()

    def close(self) -> None:
        """Stop at once; to the others this is a death."""
        self._stop_tasks()
        self.bus.close()

    def _stop_tasks(self) -> None:
        while self._tasks:
            self._tasks.pop().cancel()

    async def _begin(self) -> MemberRecord:
        settings = self._settings
        record = await self._store.join(
            settings.name,
            bus=self._bus_address,
            admin=settings.admin,
            pid=settings.pid,
            lease_ms=settings.lease_ms,
            wall_ms=self._clock.wall_ms(),
            roles=self._standing.roles,
        )
        self._record = record
        self._membership = Membership(record, self._times, self._clock.now_ms())
        self._membership.own(self._state, self._handlers.load(), self._standing)
        self._lease.begin()
        return record

    def _appear(self, records: Sequence[MemberRecord]) -> None:
        """Begin with the registry's view: a member that takes itself for alone claims nothing."""
        farm, record = self._settings.farm, self.record
        self.bus.identify(Identity(farm, record.number, record.epoch, record.name))
        self._perform(self.membership.registry(records, self._clock.now_ms()))
        self._handlers.view_changed(self.view())

    def _is_linked(self) -> bool:
        others = {member.number for member in self.view().live()} - {self.record.number}
        return others <= self.bus.linked.keys()

    async def _keep_time(self) -> None:
        """Beat, and let the membership do what is due."""
        while True:
            now_ms = self._clock.now_ms()
            acting = self.may_act()
            if now_ms >= self._tick_at_ms:
                self._tick(now_ms, acting)
            membership = self.membership
            self._perform(membership.expire(now_ms))
            due_ms = min(self._tick_at_ms, max(membership.next_deadline_ms(), now_ms + 1))
            await asyncio.sleep((due_ms - now_ms) / 1_000)

    def _tick(self, now_ms: int, acting: bool) -> None:
        self._tick_at_ms = now_ms + self._times.heartbeat_ms
        self._tell_self()
        if acting:
            self.bus.broadcast(self._own_heartbeat())
        self.bus.close_silent(self._times.dead_after_ms // self._times.heartbeat_ms)

    async def _keep_registry(self) -> None:
        """Prolong the lease and read who there is, at intervals and when asked; begin anew."""
        while True:
            self._read_wanted.clear()
            await self._registry_turn(self.membership)
            await self._read_names()
            if self._ended is not None:
                await self._rejoin(self._ended)
            try:
                due_in_ms = self._lease.due_ms - self._clock.now_ms()
                async with asyncio.timeout(max(due_in_ms, 1) / 1_000):
                    await self._read_wanted.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(REGISTRY_PAUSE_S)

    async def _registry_turn(self, membership: Membership) -> None:
        clock = self._clock
        try:
            lives = await self._lease.renew(membership)
            records = await self._store.members()
            self._perform(membership.registry(records, clock.now_ms()))
            if not lives:
                self._perform(membership.renewed(False, 0, clock.now_ms()))
        except StoreUnavailable:
            self.counters.store_failures += 1
            self._perform(membership.store_failed(clock.now_ms()))

    async def _read_names(self) -> None:
        """Whatever became of the registry's turn: what is known of names is good by this alone."""
        try:
            self._heed_names(await self._store.names_revision())
        except StoreUnavailable:
            self.counters.store_failures += 1

    def _heed_names(self, revision: int) -> None:
        """Say that it is heeded only once it is."""
        if revision == self._standing.names_revision:
            return
        self._handlers.names_changed(revision)
        self._standing = msgspec.structs.replace(self._standing, names_revision=revision)
        self._tell_self()

    async def _rejoin(self, why: GoneFor) -> None:
        self._log.warning("member_tombstoned", epoch=self.record.epoch, reason=why.value)
        self.bus.hang_up_all()
        if why is GoneFor.SUPERSEDED:
            raise Superseded(f"another process has joined the farm as {self._settings.name}")
        await self._handlers.tombstoned()
        while True:
            try:
                record = await self._begin()
                records = await self._store.members()
                break
            except StoreUnavailable:
                await asyncio.sleep(self._times.retry_ms / 1_000)
        self.counters.rejoins += 1
        self._ended = None
        self._lease.in_doubt = False
        self._lease.watch()
        self._log.info("member_rejoined", epoch=record.epoch)
        self._handlers.rejoined(record)
        self._appear(records)
        self._read_wanted.set()

    def _perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, ViewChanged):
                self._met.set()
                self._handlers.view_changed(output.view)
            elif isinstance(output, MemberGone):
                self._log.warning("member_gone", name=output.name, reason=output.why.value)
                self._handlers.member_gone(output)
            elif isinstance(output, TryTombstone):
                self._group.create_task(self._tombstone(output))
            elif isinstance(output, Dial):
                self._dial(output)
            elif isinstance(output, HangUp):
                self.bus.hang_up((output.number, output.epoch))
            elif isinstance(output, ReadRegistry):
                self._read_wanted.set()
            else:
                self._ended = output.why
                self._read_wanted.set()

    def _dial(self, dial: Dial) -> None:
        try:
            address = HostPort.parse(dial.address)
        except ValueError:
            self._log.error("member_without_address", number=dial.number, address=dial.address)
            return
        self.bus.dial((dial.number, dial.epoch), address)

    async def _tombstone(self, wanted: TryTombstone) -> None:
        membership = self.membership
        incarnation = (wanted.number, wanted.epoch)
        done: bool | None = None
        try:
            done = await self._store.tombstone(*incarnation, wanted.lease_until_wall_ms)
        except StoreUnavailable:
            self.counters.store_failures += 1
        self.counters.tombstones += bool(done)
        if membership is self._membership:
            self._perform(membership.tombstone_result(incarnation, done, self._clock.now_ms()))

    def _tell_self(self) -> None:
        load = self._handlers.load()
        self._perform(self.membership.own(self._state, load, self._standing))

    def _own_heartbeat(self) -> Heartbeat:
        view = self.view()
        own = view.member(self.record.number)
        assert own is not None
        return Heartbeat(self._state, own.load, view.digest(), self._standing)

    # What the bus tells.

    def _packets(self, number: int, payloads: Sequence[bytes]) -> None:
        if self.may_act():
            self._handlers.packets(number, payloads)
        else:
            self.counters.packets_in_doubt += len(payloads)

    async def _rpc(self, method: str, arguments: bytes, number: int) -> bytes:
        if not self.may_act():
            raise CapacityError("this member is not sure that it lives")
        return await self._handlers.rpc(method, arguments, number)

    def _heartbeat(self, incarnation: Incarnation, frame: Heartbeat) -> None:
        now_ms = self._clock.now_ms()
        self._perform(self.membership.heartbeat(incarnation, frame, now_ms))
        self._met.set()

    def _accepts(self, incarnation: Incarnation) -> bool:
        return self._membership is not None and self._membership.accepts(incarnation)

    def _link_up(self, incarnation: Incarnation) -> None:
        if self.may_act():
            self.bus.send(incarnation[0], self._own_heartbeat())
        self._met.set()
        self._handlers.link_up(incarnation[0])

    def _link_down(self, incarnation: Incarnation) -> None:
        self._read_wanted.set()  # has it left?
        self._handlers.link_down(incarnation[0])

    def _refused(self, refused: Refused) -> None:
        """Somebody takes us for dead: the store knows."""
        if refused.by_peer and refused.why is RefusedFor.DEAD_INCARNATION:
            self._lease.renew_soon()
