"""Which transaction user an event goes to, and what its answer does."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError
from sipfarm.base.records import RegisterOutcome, RegisterUpdate
from sipfarm.native import Engine, Event, EventKind, Hop, Message, Output
from sipfarm.node.forwarding import Forwarding
from sipfarm.node.inheritance import Inheritance
from sipfarm.node.media_path import network_of_caller
from sipfarm.node.task_calls import TaskCalls
from sipfarm.pbx.task import TaskTable
from sipfarm.signaling.location import Locations
from sipfarm.signaling.registration import Enrolment, Registration
from sipfarm.signaling.reply import Reply, unavailable
from sipfarm.signaling.router import Router
from sipfarm.signaling.routing import Decision, Forward, HandToTask
from sipfarm.signaling.standing import FAULTS, Judged, Standing

WAITING_MAX: Final = 20_000  # decisions and store operations under way
ORPHANS_MAX: Final = 1_000  # of those, requests for calls of dead members
# Plain numbers: comparing with a member of the enumeration costs more than all the rest here.
_REQUEST, _CALL, _EXHAUSTED, _RESPONSE, _ACK, _CANCEL, _RESOLVE, _ORPHAN, _BANNED = [
    int(kind)
    for kind in (
        EventKind.REQUEST,
        EventKind.CALL,
        EventKind.EXHAUSTED,
        EventKind.RESPONSE,
        EventKind.ACK,
        EventKind.CANCEL,
        EventKind.RESOLVE,
        EventKind.ORPHAN,
        EventKind.BANNED,
    )
]
_PROVEN = Standing.PROVEN


class BindingStore(Protocol):
    """The atomic operation of the store that a REGISTER comes down to."""

    def register(self, update: RegisterUpdate, wall_ms: int) -> Awaitable[RegisterOutcome]: ...


class Located(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def transport(self) -> str: ...


class NameResolver(Protocol):
    """Finds the addresses of a host (RFC 3263)."""

    async def locate(
        self, host: str, port: int, transport: str, *, chosen: bool = True
    ) -> Sequence[Located]: ...


class EngineDriver(Protocol):
    """Who performs what the engine returns."""

    @property
    def engine(self) -> Engine: ...
    @property
    def out(self) -> Output: ...
    def wake(self) -> None: ...


class TransactionUsers(Protocol):
    """What the dispatcher stands on."""

    @property
    def registration(self) -> Registration: ...
    @property
    def router(self) -> Router: ...
    @property
    def bindings(self) -> BindingStore: ...
    @property
    def locations(self) -> Locations: ...
    @property
    def forwarding(self) -> Forwarding: ...
    @property
    def task_calls(self) -> TaskCalls: ...
    @property
    def tasks(self) -> TaskTable: ...
    @property
    def inheritance(self) -> Inheritance: ...


class Dispatcher:
    """Hands each event of the engine to its user; what must wait becomes a task of the group."""

    def __init__(
        self,
        users: TransactionUsers,
        driver: EngineDriver,
        clock: Clock,
        group: asyncio.TaskGroup,
        resolver: NameResolver,
        binding_changed: Callable[[str], None],
        log: FilteringBoundLogger,
        *,
        bound_to_receiver: bool = False,
    ) -> None:
        """`bound_to_receiver`: a phone is reached through the member that its REGISTER came to."""
        self._users = users
        self._driver = driver
        self._engine = driver.engine
        self._clock = clock
        self._group = group
        self._resolver = resolver
        self._binding_changed = binding_changed
        self._log = log
        self._bound_to_receiver = bound_to_receiver
        self._waiting = 0
        self._orphans = 0
        self._undecided: set[int] = set()
        """Requests on which nothing is decided yet, unless they were cancelled."""

    @property
    def waiting(self) -> int:
        return self._waiting

    def deliver(self, event: Event) -> None:
        users = self._users
        kind = event.kind
        if kind == _REQUEST:
            request = event.message
            assert request is not None
            self._request(request)
        elif kind == _CALL:
            if event.state != "ended":
                users.forwarding.settled(event.id)
        elif kind == _EXHAUSTED:
            now_ms = self._clock.now_ms()
            self._find_again(users.forwarding.exhausted(event.id, event.status, event.text, now_ms))
        elif kind == _RESPONSE:
            users.task_calls.response(event.id, event.message, event.status)
        elif kind == _ACK:
            ack = event.message
            assert ack is not None
            users.task_calls.ack(ack)
        elif kind == _CANCEL:
            self._cancelled(event.id)
        elif kind == _RESOLVE:
            self._later(0, self._resolve(event))
        elif kind == _ORPHAN:
            self._orphaned(event)
        elif kind == _BANNED:
            self._log.warning("source_banned", source=event.hop.host, fault=event.text)

    def _cancelled(self, invite: int) -> None:
        """Answer an INVITE whose caller has given up (RFC 3261 §9.2). Before it was decided on it
        may be a stranger's.
        """
        users = self._users
        users.forwarding.settled(invite)
        if users.task_calls.cancel(invite):
            return
        is_undecided = invite in self._undecided
        self._undecided.discard(invite)
        now_ms = self._clock.now_ms()
        users.forwarding.reply(invite, Reply(487), now_ms, stateless=is_undecided)

    def bindings_changed(self, aor: str) -> None:
        """A phone has registered, here or through another member."""
        if self._users.forwarding.reconnections.awaits(aor):
            self._find_again((aor,))

    def _find_again(self, aors: Iterable[str]) -> None:
        """Look bindings up where calls wait for them."""
        for aor in aors:
            self._later(0, self._look_up(aor))

    async def _look_up(self, aor: str) -> None:
        users = self._users
        times = (self._clock.now_ms(), self._clock.wall_ms())
        try:
            bindings = await users.locations.fetch(aor, *times)
        except CapacityError:  # the store is away, or too much is asked of it: they wait on
            return
        users.forwarding.registered(aor, bindings, self._clock.now_ms())

    async def _resolve(self, event: Event) -> None:
        found = await self._resolver.locate(
            event.text, event.number, event.hop.transport, chosen=event.chosen
        )
        hops = [Hop(server.transport, server.host, server.port) for server in found]
        self._engine.resolved(event.id, hops, self._clock.now_ms(), self._driver.out)

    def _orphaned(self, orphan: Event) -> None:
        """Requests for calls of the dead crowd out no others; what finds no room comes again."""
        if self._orphans < ORPHANS_MAX:
            self._later(0, self._place(orphan))
        else:
            self._users.inheritance.counters.orphans_dropped += 1

    async def _place(self, orphan: Event) -> None:
        """Find who has the call of a dead member; where nobody has it yet, the request comes again
        or waits.
        """
        request = orphan.message
        assert request is not None
        self._orphans += 1
        try:
            member = await self._users.inheritance.member_of(
                request.to_tag, (orphan.number, orphan.id), patient=request.hop.transport != "udp"
            )
        finally:
            self._orphans -= 1
        if member is not None:
            now_ms = self._clock.now_ms()
            self._engine.place_orphan(request, member, now_ms, self._driver.out)

    def _request(self, request: Message) -> None:
        if request.to_tag and self._users.task_calls.receive(request):
            return
        times = (self._clock.now_ms(), self._clock.wall_ms())
        if request.method == "REGISTER":
            flow_mark = self._flow_mark(request)
            enrolment = self._users.registration.receive(request, flow_mark, times)
            if isinstance(enrolment, Judged):
                self._enrol(request, enrolment, times[1])
            else:
                self._later(request.transaction, self._enrol_later(request, enrolment))
            return
        decision = self._users.router.decide(request, times)
        if isinstance(decision, Judged):
            self._carry_out(request, decision)
            return
        self._undecided.add(request.transaction)
        self._later(request.transaction, self._decide_later(request, decision))

    async def _decide_later(self, request: Message, decision: Awaitable[Judged[Decision]]) -> None:
        try:
            judged = await decision
            if request.transaction in self._undecided:
                self._carry_out(request, judged)
            else:
                self._note_sender(request, judged.standing)
        finally:
            self._undecided.discard(request.transaction)

    def _note_sender(self, request: Message, standing: Standing) -> None:
        """Tell the engine what a request has shown of its sender."""
        if standing is _PROVEN:
            self._engine.prove(request.hop, self._clock.now_ms(), self._driver.out)
        elif standing in FAULTS:
            fault, now_ms = FAULTS[standing], self._clock.now_ms()
            self._engine.blame(request.hop, fault, now_ms, self._driver.out)

    def _carry_out(self, request: Message, judged: Judged[Decision]) -> None:
        users, decision = self._users, judged.result
        self._note_sender(request, judged.standing)
        if not isinstance(decision, HandToTask):
            asks = isinstance(decision, Forward) and decision.media == "auto"
            again = users.forwarding.carry_out(
                request.transaction,
                decision,
                self._clock.now_ms(),
                stateless=judged.is_of_stranger,
                caller=network_of_caller(request) if asks else None,
            )
            self._find_again(again)
            return
        if decision.task not in users.tasks:
            self._log.warning("task_unknown", task=decision.task, call_id=request.call_id)
            self._reply(request.transaction, Reply(404))
            return
        if not self._engine.take_as_user_agent(request.transaction):
            self._reply(request.transaction, Reply(482))
            return
        try:
            users.task_calls.start(request, decision.task, decision.srtp)
        except CapacityError as error:
            self._reply(request.transaction, unavailable(error.retry_after_s))

    async def _enrol_later(self, request: Message, enrolment: Awaitable[Enrolment]) -> None:
        self._enrol(request, await enrolment, self._clock.wall_ms())

    def _enrol(self, request: Message, judged: Enrolment, wall_ms: int) -> None:
        self._note_sender(request, judged.standing)
        update = judged.result
        if isinstance(update, RegisterUpdate):
            self._register(request, update, wall_ms)
        else:
            self._users.forwarding.reply(
                request.transaction,
                update,
                self._clock.now_ms(),
                stateless=judged.is_of_stranger,
            )

    def _register(self, request: Message, update: RegisterUpdate, wall_ms: int) -> None:
        """Have the store do it. A future is told of by a callback: a task for each would cost more
        than the rest of a registration.
        """
        if self._waiting >= WAITING_MAX:
            self._reply(request.transaction, unavailable(5))
            return
        try:
            waiting = self._users.bindings.register(update, wall_ms)
        except Exception as error:  # one request fails, no other
            self.failed(request.transaction, error)
            return
        if not isinstance(waiting, asyncio.Future):
            self._later(request.transaction, self._registered_later(request, update, waiting))
            return
        self._waiting += 1
        told: asyncio.Future[RegisterOutcome] = waiting
        told.add_done_callback(partial(self._told, request, update))

    async def _registered_later(
        self, request: Message, update: RegisterUpdate, waiting: Awaitable[RegisterOutcome]
    ) -> None:
        try:
            outcome = await waiting
        except CapacityError as error:
            self._reply(request.transaction, unavailable(error.retry_after_s))
            return
        self._registered(request, update, outcome)

    def _told(
        self, request: Message, update: RegisterUpdate, told: "asyncio.Future[RegisterOutcome]"
    ) -> None:
        self._waiting -= 1
        if told.cancelled():
            return
        self.told(request, update, told.result)
        self._driver.wake()

    def told(
        self, request: Message, update: RegisterUpdate, outcome: Callable[[], RegisterOutcome]
    ) -> None:
        """Answer a REGISTER by what the store has said; `outcome` may raise why it has not."""
        try:
            self._registered(request, update, outcome())
        except Exception as error:  # the store's, or a fault of ours: one request fails, no other
            self.failed(request.transaction, error)

    def failed(self, transaction: int, error: Exception) -> None:
        """The store has not done it."""
        if isinstance(error, CapacityError):
            self._reply(transaction, unavailable(error.retry_after_s))
        else:
            self._log.error("request_failed", exc_info=error)
            self._reply(transaction, Reply(500))

    def _registered(
        self, request: Message, update: RegisterUpdate, outcome: RegisterOutcome
    ) -> None:
        times = (self._clock.now_ms(), self._clock.wall_ms())
        reply = self._users.registration.answer(request, update, outcome, times)
        if outcome.status == "applied":
            self.bound(update.aor)
        self._users.forwarding.reply(request.transaction, reply, times[0])

    def bound(self, aor: str) -> None:
        """A phone has registered here."""
        self._binding_changed(aor)
        self.bindings_changed(aor)

    def _flow_mark(self, request: Message) -> str:
        hop = request.hop
        if not hop.flow and not self._bound_to_receiver:
            return ""
        far = f"{hop.transport}:{hop.host}:{hop.port}"
        return self._engine.mint_flow(hop.flow, far, hop.member)

    def _reply(self, transaction: int, reply: Reply) -> None:
        self._users.forwarding.reply(transaction, reply, self._clock.now_ms())

    def _later(self, transaction: int, work: Coroutine[object, object, None]) -> None:
        if self._waiting >= WAITING_MAX:
            work.close()
            self._undecided.discard(transaction)
            if transaction:
                self._reply(transaction, unavailable(5))
            return
        self._waiting += 1
        self._group.create_task(self._finish(transaction, work))

    async def _finish(self, transaction: int, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:  # a provider's policy, or a fault of ours: one request fails, no other
            self._log.exception("request_failed")
            if transaction:
                now_ms = self._clock.now_ms()
                self._users.forwarding.reply(transaction, Reply(500), now_ms, stateless=True)
        finally:
            self._waiting -= 1
            self._driver.wake()
