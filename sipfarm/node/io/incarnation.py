"""A member's life under one epoch: built when it joins, dropped when it is tombstoned."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from typing import Final

from structlog.typing import FilteringBoundLogger

from sipfarm.admin.api import admin_api
from sipfarm.admin.io.server import serving
from sipfarm.base.clock import Clock
from sipfarm.base.farm_view import Load, View, ViewState
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.net import HostPort
from sipfarm.base.roles import Role
from sipfarm.cluster.io.directory_key import directory_key
from sipfarm.cluster.io.farm import Farm
from sipfarm.cluster.io.farm_parts import FarmHandlers, FarmSettings
from sipfarm.cluster.io.store import Store
from sipfarm.cluster.membership_outputs import GoneFor, MemberGone
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.cluster.placement import PlacementSettings, score
from sipfarm.cluster.wire import Invalidate
from sipfarm.config import Config
from sipfarm.media.io.native_plane import OWN_STREAMS_BEGIN, MediaPlane, PlaneEvent
from sipfarm.native import Event, ExpressLane, Output
from sipfarm.node.dispatch import Dispatcher
from sipfarm.node.engine_plan import engine_of, stream_settings
from sipfarm.node.express import Express
from sipfarm.node.face import Face
from sipfarm.node.forwarding import Forwarding, locals_of
from sipfarm.node.inheritance import Inheritance, InheritanceParts
from sipfarm.node.io.duty import Duty
from sipfarm.node.io.edge import Edge
from sipfarm.node.io.free_ports import listening
from sipfarm.node.io.load_probe import LoadProbe, load_probe
from sipfarm.node.io.member_links import MemberLinks
from sipfarm.node.io.upkeep import inherit_calls, keep_calls, purge
from sipfarm.node.kept_calls import CallKeeper
from sipfarm.node.recollection import OtherMembers, recalled
from sipfarm.node.reconnection import ReconnectionSettings
from sipfarm.node.silence import SilentCalls
from sipfarm.node.task_calls import TaskCallParts, TaskCalls
from sipfarm.node.users import TASKS, Deciders, Users, deciders, keys_of
from sipfarm.pbx.task import TaskRunner
from sipfarm.signaling.io.driver import Driver
from sipfarm.signaling.io.packet_log import packet_log
from sipfarm.signaling.io.resolver import Resolver
from sipfarm.signaling.io.streams import Streams
from sipfarm.signaling.io.tls import Certificates, Pair

AOR: Final = "aor"


class Over(Exception):
    """This life has ended: ordered, or by a tombstone."""


class Incarnation:
    """One life. `run` builds it, lives it and takes it down."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        log: FilteringBoundLogger,
        store: Store,
        edge: Edge,
        roles: tuple[Role, ...],
    ) -> None:
        self.config = config
        self.clock = clock
        self.log = log
        self.store = store
        self.edge = edge
        self.duty = Duty(edge, roles, log)
        self.tombstoned = asyncio.Event()
        self._is_built = False
        self._placement = PlacementSettings()

    async def run(
        self, ready: Callable[[], None], live: Callable[["Incarnation"], Awaitable[None]]
    ) -> None:
        """Be there as long as `live` lasts. Raises StartError."""
        try:
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                await self._build(stack, group)
                ready()
                await live(self)
                raise Over
        except* Over:
            pass

    async def _build(self, stack: AsyncExitStack, group: asyncio.TaskGroup) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        self.edge.open_listeners()
        stack.callback(self.duty.close)
        admin = stack.enter_context(closing(listening(config.admin.listen)))
        self.probe: LoadProbe = stack.enter_context(load_probe(loop))
        self.plane = MediaPlane(
            self.clock,
            config.media.address,
            config.media.advertise or "",
            (config.media.ports.first, config.media.ports.last),
            config.media.threads,
            config.media.silence_timeout_s * 1_000,
            self._media_event,
            config.media.sockets,
            config.media.kernel_relay,
        )
        stack.callback(self.plane.close, loop)
        self.farm = self._farm(group, _reached_at(admin, config))
        self.record = await self.farm.join(config.bus.listen)
        stack.callback(self.farm.close)
        listens = self.edge.listens
        others = OtherMembers(self.farm.bus)
        self.deciders: Deciders = deciders(config, self.store, others, self.record.number, listens)
        key = await directory_key(self.store, SystemEntropy(), self.clock.wall_ms())
        now_ms = self.clock.now_ms()
        self.engine = engine_of(config, listens, self.plane, self.record, key, now_ms)
        self.driver = Driver(
            loop, self.clock, self.engine, self._deliver, self.plane.apply, self.farm.may_act
        )
        stack.callback(self.driver.close)
        written = packet_log(config.member.packet_log, config.member.packet_log_mb, listens)
        self.packet_log = stack.enter_context(written)
        self.driver.use_packet_log(self.packet_log)
        self.certificates = await self._certificates(group)
        resolver = Resolver(SystemEntropy(), listens, config.sip.nameservers)
        self.streams = Streams(
            group,
            self.driver.receive_messages,
            self.driver.transport_failed,
            self.log,
            int.from_bytes(SystemEntropy().token_bytes(4)),
            stream_settings(config),
            self.certificates,
            resolver,
        )
        stack.callback(self.streams.close)
        self.driver.use_streams(self.streams)
        self.driver.use_bus(self.farm.bus.send_packets)
        self.driver.use_screen(self._screen)
        self.forwarding = Forwarding(
            self.engine,
            self.driver.out,
            locals_of(listens),
            self._holder_of,
            ReconnectionSettings(wait_ms=config.sip.reconnect_wait_ms),
        )
        self.silent_calls = SilentCalls(
            self.engine,
            self.driver.out,
            self.plane.plane.stats,
            config.media.silence_timeout_s * 1_000,
            self.log,
        )
        incarnation = (self.record.number, self.record.epoch)
        self.keeper = CallKeeper(self.store, incarnation, self.clock)
        self.task_calls = TaskCalls(
            TaskCallParts(
                engine=self.engine,
                out=self.driver.out,
                plane=self.plane,
                entropy=SystemEntropy(),
                keeper=self.keeper,
                tasks=TASKS,
                now_ms=self.driver.now_ms,
                wake=self.driver.wake,
            )
        )
        self.task_calls.use_runner(
            await stack.enter_async_context(TaskRunner(self.task_calls, self.log))
        )
        self.inheritance = Inheritance(
            InheritanceParts(
                store=self.store,
                keeper=self.keeper,
                heir=self.task_calls,
                own=incarnation,
                key=key,
                view=self.view,
                clock=self.clock,
                log=self.log,
            )
        )
        self.dispatcher = Dispatcher(
            self._users(),
            self.driver,
            self.clock,
            group,
            resolver,
            self._binding_changed,
            self.log,
            bound_to_receiver=self.config.sip.reply_via == "receiver",
        )
        self.store.tell_late(self._registered_late)
        stack.callback(self.store.tell_late, _nobody)
        if self.deciders.lane is not None:
            self._open_lane(self.deciders.lane, stack)
        self._is_built = True
        self.driver.add_deadlines(self.forwarding.next_deadline_ms, self.forwarding.expire)
        self.driver.add_deadlines(self.task_calls.next_deadline_ms, self.task_calls.expire)
        self.plane.attach(loop)
        await self.farm.start()
        group.create_task(self._tell_loads())
        group.create_task(purge(self.store, self.clock, self.log))
        self.inheritance.look_back(await self.store.members())
        group.create_task(keep_calls(self.keeper))
        group.create_task(inherit_calls(self.inheritance, self.farm.may_act))
        face = Face(self, MemberLinks(config.admin.token), self.probe)
        await stack.enter_async_context(serving(admin_api(face, config.admin.token), admin))
        await self.farm.meet()
        await self.duty.begin(group, self.farm, self.driver, self.streams)
        carried, why = self.plane.plane.socket_mode
        self.log.info("media_sockets", mode=carried, reason=why)
        where, why = self.plane.plane.kernel_relay
        self.log.info("media_kernel_relay", at=where, reason=why)
        self.log.info("member_started", number=self.record.number, epoch=self.record.epoch)

    # What the admin API asks for.

    def names_changed(self) -> None:
        """This member has changed the farm's names, and heeds it as the others do."""
        self.farm.read_registry()

    def unbound(self, aor: str) -> None:
        self.deciders.locations.forget(aor)
        self._binding_changed(aor)

    def _registered_late(self, aor: str) -> None:
        """A phone has been told 503, and is registered all the same."""
        self.unbound(aor)
        self.dispatcher.bindings_changed(aor)

    def view(self) -> View:
        """The farm as this member sees it."""
        return self.farm.view()

    def is_idle(self) -> bool:
        """Nothing is under way that would be lost."""
        counters = self.engine.counters()
        under_way = counters["server_transactions"] + counters["calls"] + self.task_calls.count
        return not (under_way or self.dispatcher.waiting or self.duty.is_holding_back)

    async def leave(self) -> None:
        """Read what is still queued, tell the others, and go."""
        self.duty.leave_group()
        await self.keeper.flush()
        await self.farm.leave()

    # The farm.

    def _farm(self, group: asyncio.TaskGroup, admin: str) -> Farm:
        config = self.config
        settings = FarmSettings(
            farm=config.farm.name,
            name=config.member.name,
            admin=admin,
            pid=os.getpid(),
            membership=MembershipSettings.of(
                config.farm.suspect_after_ms, config.farm.dead_after_ms
            ),
            roles=self.duty.roles,
            placement=self._placement,
        )
        handlers = FarmHandlers(
            packets=self._packets,
            invalidate=self._invalidate,
            event=lambda number, name, body: None,
            rpc=self._rpc,
            load=self._load,
            view_changed=self._view_changed,
            names_changed=self._heed_names,
            member_gone=self._member_gone,
            link_up=lambda number: None,
            link_down=self._link_down,
            tombstoned=self._was_tombstoned,
            rejoined=lambda record: None,
        )
        keys = [key.bus for key in keys_of(config)]
        return Farm(
            group, self.store, self.clock, SystemEntropy(), self.log, settings, handlers, keys=keys
        )

    def _packets(self, number: int, payloads: Sequence[bytes]) -> None:
        self.driver.receive_bus(number, payloads)

    def _binding_changed(self, aor: str) -> None:
        if self.farm.bus.linked:
            self.farm.bus.broadcast(Invalidate(AOR, aor))

    def _invalidate(self, number: int, what: str, key: str) -> None:
        if what == AOR:
            self.deciders.locations.forget(key)
            self.dispatcher.bindings_changed(key)

    async def _rpc(self, method: str, arguments: bytes, number: int) -> bytes:
        return recalled(self.deciders, method, arguments)

    def _heed_names(self, revision: int) -> None:
        self.deciders.tenants.doubt()
        if self.certificates is not None:
            self.certificates.look_again()
        self.log.info("names_changed", revision=revision)

    def _member_gone(self, gone: MemberGone) -> None:
        if gone.why is not GoneFor.LEFT:  # then it has ended its calls
            self.inheritance.died((gone.number, gone.epoch))

    def _link_down(self, number: int) -> None:
        self.deciders.locations.doubt()
        self.deciders.tenants.doubt()

    def _load(self) -> Load:
        if not self._is_built:
            return Load()
        counters = self.engine.counters()
        pool = self.plane.pool
        ports = len(self.config.media.ports) // 2
        return Load(
            loop_lag_ms=int(self.probe.mean_loop_lag_ms),
            cpu_permille=int(min(self.probe.cpu, 1.0) * 1_000),
            transactions=counters["server_transactions"] + counters["client_transactions"],
            media_permille=min(pool.taken * 1_000 // max(ports, 1), 1_000),
        )

    def _view_changed(self, view: View) -> None:
        self.driver.set_view(
            [
                (
                    member.number,
                    member.epoch,
                    member.takes_work,
                    score(member.load, self._placement),
                    member.is_heard and member.has_role("edge"),
                    member.has_role("pbx"),
                )
                for member in view.live()
            ]
        )

    async def _tell_loads(self) -> None:
        """The engine places new work by the loads of the last heartbeats."""
        while True:
            await asyncio.sleep(MembershipSettings().heartbeat_ms / 1_000)
            self._view_changed(self.farm.view())

    async def _was_tombstoned(self) -> None:
        """Nothing more is done in this life; the member begins another."""
        self.task_calls.abandon_all()
        self.tombstoned.set()
        await asyncio.Event().wait()

    # Streams.

    async def _certificates(self, group: asyncio.TaskGroup) -> Certificates | None:
        sip = self.config.sip
        if sip.certificate is None or sip.key is None:
            return None
        own = Pair(sip.certificate, sip.key)
        certificates = Certificates(own, self.store, group, self.log)
        await certificates.load()
        return certificates

    def _holder_of(self, number: int, epoch: int, flow: int) -> int | None:
        """Through which member a flow is reached: 0 this one, None if it is gone.

        Flow 0 is no connection: whatever that member sends over UDP.
        """
        record = self.record
        if number == record.number:
            there = flow == 0 or self.streams.has(flow)
            return 0 if epoch == record.epoch and there else None
        holder = self.farm.view().member(number)
        if holder is None or holder.epoch != epoch or holder.state is ViewState.DEAD:
            return None
        return number if number in self.farm.bus.linked else None

    def _users(self) -> Users:
        return Users(
            self.deciders.registration,
            self.deciders.router,
            self.store,
            self.deciders.locations,
            self.forwarding,
            self.task_calls,
            TASKS,
            self.inheritance,
        )

    def _open_lane(self, lane: ExpressLane, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        parts = (self.deciders.locations, self.dispatcher, self.driver, self.clock)
        express = Express(lane, *parts, self._registered_late)
        loop.add_reader(lane.descriptor, express.resolve)
        stack.callback(loop.remove_reader, lane.descriptor)
        self.driver.add_deadlines(express.next_deadline_ms, express.expire)

    def _screen(self, out: Output) -> None:
        times = (self.driver.now_ms(), self.clock.wall_ms())
        self.deciders.registration.screen(self.engine, out, *times)

    def _deliver(self, event: Event) -> None:
        self.dispatcher.deliver(event)

    def _media_event(self, event: PlaneEvent) -> None:
        if event["kind"] == "silence" and event["stream"] >= OWN_STREAMS_BEGIN:
            self.task_calls.media_silent(event["stream"])
        elif event["kind"] == "silence":
            self.silent_calls.silent(event["stream"], self.clock.now_ms())
            self.driver.wake()
        elif event["kind"] == "failed":
            self.log.warning("media_failed", stream=event["stream"])
        elif event["kind"] == "ports_short":
            self.log.warning("media_ports_short", reason=event["reason"])


def _nobody(aor: str) -> None:
    """What is told after a life is over is for the caches of none."""


def _reached_at(admin: socket.socket, config: Config) -> str:
    """Where the other members find the admin API of this one."""
    name: tuple[str, int] = admin.getsockname()
    address = HostPort(name[0], name[1])
    host = config.bus.listen.host if address.is_unspecified else address.host
    return str(HostPort(host, address.port))
