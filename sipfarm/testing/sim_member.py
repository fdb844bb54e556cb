"""One member in virtual time: the shipped engine, routing and membership, without sockets or loop.

It stands where `node` and the driver stand in a real member, and does no more than they do.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from sipfarm.base.farm_view import Incarnation, View, ViewState
from sipfarm.base.secrets import FarmKeys
from sipfarm.cluster.membership_outputs import GoneFor, MemberGone
from sipfarm.native import Batch, Engine, Hop, Output
from sipfarm.node.dispatch import Dispatcher
from sipfarm.pbx.task import TaskTable
from sipfarm.signaling.routing import PolicySettings
from sipfarm.testing.bus import Frame, SimBus
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.fake_plane import FakePlane
from sipfarm.testing.memory_store import MemoryStore
from sipfarm.testing.net import Endpoint
from sipfarm.testing.sim_place import PlaceOptions, SimPlace
from sipfarm.testing.sim_users import Given, NoNames, SimGroup, build_users, silent_log

if TYPE_CHECKING:
    import asyncio

    from sipfarm.testing.clock import Appointment

KEEP_EVERY_MS: Final = 100
SETTLE_EVERY_MS: Final = 250
DOUBT_MS: Final = 20  # timers wait so long while the store is asked, as the driver's do
INBOX_MAX: Final = 2_000  # what waits in the sockets of a stopped process
Send = Callable[["SimMember", Endpoint, bytes], None]


class MemberOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the members of a simulation have in common."""

    policy: PolicySettings = PolicySettings()
    tasks: TaskTable = {}  # a Struct copies it
    place: PlaceOptions = PlaceOptions()
    trusted: tuple[str, ...] = ("10.9.0.0/16",)
    media_pairs: int = 64
    claims: bool = True
    bound_to_receiver: bool = False
    """A phone is reached through the member that its REGISTER came to."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is put into."""

    clock: VirtualClock
    random: Random
    bus: SimBus
    store: MemoryStore
    keys: FarmKeys
    directory_key: bytes
    address: Endpoint
    options: MemberOptions
    send: Send
    restart: Callable[["SimMember"], None]
    see: Callable[["SimMember", View], View]
    see_heirs: Callable[["SimMember", View], View]


class SimMember:
    """One incarnation of one member."""

    def __init__(self, name: str, around: Surroundings) -> None:
        clock, options = around.clock, around.options
        self.name = name
        self.around = around
        self.is_running = True
        self.is_paused = False
        self._is_waiting = self._is_keeping = self._is_inheriting = False
        self.view = View()
        self.sent_to: Callable[[SimMember, int, bytes], None] = lambda member, number, payload: None
        """Told of each frame of the engine, and to whom."""
        self._inbox: deque[Callable[[], None]] = deque()
        self._timer: Appointment | None = None
        self._work: list[Coroutine[Any, Any, None]] = []
        self.record = around.store.join(name, clock.wall_ms())
        self._random = Random(f"{name} {self.record.epoch}")
        self.plane = FakePlane(around.address[0], options.media_pairs)
        self.out = Output()
        self._batch = Batch()
        host, port = around.address
        self.engine = Engine(
            ports=self.plane.pool,
            listens=[(Hop("udp", host, port), host, port)],
            member=self.record.number,
            epoch=self.record.epoch,
            mark_key=around.keys.mark,
            transaction_key=around.directory_key,
            media=host,
            now_ms=clock.now_ms(),
            claims=options.claims,
            reply_via_receiver=options.bound_to_receiver,
        )
        self.users = build_users(self._given())
        # The cast: the dispatcher only starts tasks.
        group = cast("asyncio.TaskGroup", SimGroup(self.run_later))
        self._dispatcher = Dispatcher(
            self.users,
            self,
            clock,
            group,
            NoNames(),
            self._binding_changed,
            silent_log(),
            bound_to_receiver=options.bound_to_receiver,
        )
        world = (clock, around.random, around.bus, around.store)
        self.place = SimPlace(self.record, self, world, options.place)
        around.bus.connect(self.incarnation, self)
        self.users.inheritance.look_back(around.store.members())

    @property
    def incarnation(self) -> Incarnation:
        return (self.record.number, self.record.epoch)

    @property
    def waiting_work(self) -> int:
        """Decisions and store operations under way."""
        return len(self._work)

    def _given(self) -> Given:
        around = self.around
        return Given(
            incarnation=self.incarnation,
            directory_key=around.directory_key,
            engine=self.engine,
            out=self.out,
            plane=self.plane,
            clock=around.clock,
            random=around.random,
            store=around.store,
            nonce_key=around.keys.nonce,
            address=around.address,
            trusted=around.options.trusted,
            policy=around.options.policy,
            tasks=around.options.tasks,
            wake=self.wake,
            view=lambda: around.see_heirs(self, self.view),
            holder_of=self._holder_of,
        )

    # What comes.

    def receive(self, data: bytes, source: Endpoint) -> None:
        """A datagram at this member's socket."""
        self.when_running(lambda: self._receive(data, source))

    def _receive(self, data: bytes, source: Endpoint) -> None:
        if not self.place.may_act():
            return
        self._batch.add(data, Hop("udp", *source))
        self.engine.receive(self._batch, self.around.clock.now_ms(), self.out)
        self._batch.clear()
        self._settle()

    def receive_frame(self, sender: Incarnation, frame: Frame) -> None:
        self.when_running(lambda: self._receive_frame(sender, frame))

    def _receive_frame(self, sender: Incarnation, frame: Frame) -> None:
        kind, payload = frame
        if kind == "heartbeat":
            self.place.heartbeat(sender, payload)
        elif kind == "binding":
            aor = payload.decode()
            self.users.locations.forget(aor)
            self._dispatcher.bindings_changed(aor)
        elif self.place.may_act():
            now_ms = self.around.clock.now_ms()
            self.engine.receive_bus(sender[0], payload, now_ms, self.out)
            self._settle()

    def accepts(self, incarnation: Incarnation) -> bool:
        """Whether a link with it may be made now."""
        return not self.is_paused and self.place.accepts(incarnation)

    def link_up(self, other: Incarnation) -> None:
        self.when_running(lambda: self.place.send_heartbeat(other[0]))

    def link_down(self, other: Incarnation) -> None:
        self.when_running(self._lose_link)

    def _lose_link(self) -> None:
        self.users.locations.doubt()  # invalidations may have been missed
        self.place.link_lost()

    def when_running(self, act: Callable[[], None]) -> None:
        """Now, or when the process goes on."""
        if not self.is_running:
            return
        if not self.is_paused:
            act()
        elif len(self._inbox) < INBOX_MAX:
            self._inbox.append(act)

    # The turn.

    def _settle(self) -> None:
        out = self.out
        while out.has_events:
            for event in out.take_events():
                self._dispatcher.deliver(event)
        if len(out):
            for hop, data, _ in out.sends():
                self.around.send(self, (hop.host, hop.port), data)
        if out.has_frames:
            for number, payload in out.take_frames():
                self.sent_to(self, number, payload)
                self.around.bus.send(self.incarnation, number, ("engine", payload))
        out.clear()
        self._rearm()
        self._keep_calls()

    def _keep_calls(self) -> None:
        """Write the calls behind them, and look after those of the dead, both by and by."""
        users, later = self.users, self.around.clock.call_later
        if users.keeper.waiting and not self._is_keeping:
            self._is_keeping = True
            later(KEEP_EVERY_MS, lambda: self.when_running(self._flush))
        if not users.inheritance.is_settled and not self._is_inheriting:
            self._is_inheriting = True
            later(SETTLE_EVERY_MS, lambda: self.when_running(self._inherit))

    def _flush(self) -> None:
        self._is_keeping = False
        self.run_later(self.users.keeper.flush(), self._random)

    def _inherit(self) -> None:
        self._is_inheriting = False
        self.run_later(self.users.inheritance.settle(), self._random)

    def member_gone(self, gone: MemberGone) -> None:
        if gone.why is not GoneFor.LEFT:
            self.users.inheritance.died((gone.number, gone.epoch))
            self._keep_calls()

    def _settle_if_alive(self) -> None:
        """As the driver does it: in doubt everything is kept until the doubt ends."""
        if self.place.may_act():
            self._settle()
        elif not self._is_waiting:
            self._is_waiting = True
            self.around.clock.call_later(DOUBT_MS, lambda: self.when_running(self._try_again))

    def _try_again(self) -> None:
        self._is_waiting = False
        self._settle_if_alive()

    def wake(self) -> None:
        """Outputs were added outside of a turn."""
        self.around.clock.call_later(0, lambda: self.when_running(self._settle_if_alive))

    def _rearm(self) -> None:
        users = self.users
        deadlines = (
            self.engine.next_deadline_ms(),
            users.forwarding.next_deadline_ms(),
            users.task_calls.next_deadline_ms(),
        )
        known = [deadline for deadline in deadlines if deadline is not None]
        if not known:
            return
        deadline_ms = min(known)
        timer = self._timer
        if timer is not None and timer.act is not None:
            if timer.at_ms <= deadline_ms:
                return
            timer.cancel()
        self._timer = self.around.clock.call_at(deadline_ms, self.expire)

    def expire(self) -> None:
        """Let the engine look at the time, as it does whenever a timer is due."""
        if not self.is_running or self.is_paused:
            return
        if not self.place.may_act():
            self._timer = self.around.clock.call_later(DOUBT_MS, self.expire)
            return
        now_ms = self.around.clock.now_ms()
        self.engine.expire(now_ms, self.out)
        self.users.forwarding.expire(now_ms)
        self.users.task_calls.expire(now_ms)
        self._settle()

    def run_later(self, work: Coroutine[Any, Any, None], random: Random | None = None) -> None:
        """Do what asks the store, once the store has answered."""
        low, high = self.around.options.place.store_delay_ms
        self._work.append(work)

        def run() -> None:
            self._work.remove(work)
            _run(work)
            self._settle_if_alive()

        delay_ms = (random or self.around.random).randint(low, high)
        self.around.clock.call_later(delay_ms, lambda: self.when_running(run))

    def _binding_changed(self, aor: str) -> None:
        for member in self.view.live():
            if member.number != self.record.number:
                self.around.bus.send(self.incarnation, member.number, ("binding", aor.encode()))

    def _holder_of(self, number: int, epoch: int, flow: int) -> int | None:
        """Flow 0 is no connection: whatever that member sends over UDP."""
        if (number, epoch) == self.incarnation:
            return 0
        holder = self.view.member(number)
        if holder is None or holder.epoch != epoch or holder.state is ViewState.DEAD:
            return None
        return number

    def show(self, view: View) -> None:
        """Give the engine the view it works by."""
        view = self.view = self.around.see(self, view)
        is_static = not self.around.options.place.heartbeats
        shown = [
            (member.number, member.epoch, is_static or member.state is ViewState.READY, 0.0)
            for member in view.live()
        ]
        self.engine.set_view(shown, self.around.clock.now_ms(), self.out)
        self._settle_if_alive()

    # Life and death.

    def begin_anew(self) -> None:
        """It is dead to the others: it drops everything and joins anew."""
        self.around.restart(self)

    def end_calls(self, by: str) -> int:
        """End every forwarded call that is still kept; how many there were."""
        calls = self.engine.calls()
        for call in calls:
            self.engine.hang_up(call["handle"], by, self.around.clock.now_ms(), self.out)
        self._settle()
        return len(calls)

    def crash(self) -> None:
        """The process is gone, with all it knew. What the store was asked to do is done there."""
        self.is_running = False
        for work in self._work:
            _run(work)
        self._work.clear()
        self.out.clear()
        self._inbox.clear()
        self.around.bus.disconnect(self.incarnation)
        if self._timer is not None:
            self._timer.cancel()

    def pause(self) -> None:
        """SIGSTOP: what comes waits in the sockets."""
        self.is_paused = True

    def resume(self) -> None:
        """SIGCONT: what waited comes now, the timers somewhere between."""
        if not self.is_running or not self.is_paused:
            return
        self.is_paused = False
        waited = list(self._inbox)
        self._inbox.clear()
        waited.insert(self.around.random.randint(0, len(waited)), self.expire)
        for act in waited:
            if self.is_running:
                act()


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something else than the store")
