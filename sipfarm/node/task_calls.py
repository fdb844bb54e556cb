"""Calls that tasks of this member run: between the engine's events, the media plane and pbx."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from sipfarm.base.errors import CapacityError
from sipfarm.base.ids import Entropy
from sipfarm.base.records import SrtpPolicy
from sipfarm.base.secrets import Secret
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.media.plan import CloseMedia, LocalMedia, OpenMedia, UpdateMedia
from sipfarm.native import Engine, Message, Output
from sipfarm.node.kept_calls import (
    CallKeeper,
    Inherited,
    KeptTaskCall,
    incarnation_of,
    inherited_hop,
    kept_hop,
)
from sipfarm.node.task_media import TaskMedia
from sipfarm.pbx.call import Call, CallSeed, incoming_call, inherited_call
from sipfarm.pbx.leg import LegOutput
from sipfarm.pbx.task import Task, TaskTable
from sipfarm.signaling.session_kept import Legacy
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import Respond, Retransmit, SendAck, SendRequest

ENDED_MAX: Final = 1_000

DialogKey = tuple[str, str]
"""Call-ID and our tag."""


class TaskCallView(msgspec.Struct, frozen=True):
    """A task's call, for people to look at."""

    call_id: str
    tag: str
    task: str
    caller: str
    callee: str
    answered: bool
    started_ms: int
    stream: int
    number: int
    """Of the calls of this member's tasks, from the first one."""


class _Running(msgspec.Struct):
    call: Call
    task: str
    tag: str
    media: TaskMedia
    invite: int  # its server transaction; 0 of a call that was inherited
    started_ms: int
    owner: str  # the incarnation that began it
    number: int
    kept: KeptTaskCall | None = None  # as the store has it, or soon will
    is_over: bool = False
    deadline_ms: int | None = None
    sent: set[int] = msgspec.field(default_factory=lambda: set[int]())


class Runner(Protocol):
    """Runs a call by a task. A full one raises CapacityError and leaves the call as it is."""

    def start(self, task: Task, call: Call) -> None: ...


class TaskCallParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of tasks stand on."""

    engine: Engine
    out: Output
    plane: MediaPlane
    entropy: Entropy
    keeper: CallKeeper
    tasks: TaskTable
    now_ms: Callable[[], int]
    wake: Callable[[], None]


class TaskCalls:
    """Owns the calls; a `CallPort` of each, and the heir to those of other members."""

    def __init__(self, parts: TaskCallParts) -> None:
        self._engine = parts.engine
        self._out = parts.out
        self._plane = parts.plane
        self._entropy = parts.entropy
        self._keeper = parts.keeper
        self._tasks = parts.tasks
        self._now_ms = parts.now_ms
        self._wake = parts.wake
        self._runner: Runner | None = None
        self._running: dict[DialogKey, _Running] = {}
        self._key_of: dict[Call, DialogKey] = {}
        self._by_invite: dict[int, DialogKey] = {}
        self._by_sent: dict[int, tuple[DialogKey, int]] = {}
        self._by_stream: dict[int, DialogKey] = {}
        self._ended: dict[str, None] = {}
        """Our tags of inherited calls that are over."""
        self._next_key = 1
        self._numbers = itertools.count(1)
        self._deadlines: list[tuple[int, DialogKey]] = []

    @property
    def count(self) -> int:
        return len(self._running)

    def views(self, limit: int, after: int) -> list[TaskCallView]:
        """Up to `limit` calls behind the one that had the number `after`."""
        behind = (running for running in self._running.values() if running.number > after)
        return [
            TaskCallView(
                running.call.view.call_id,
                running.tag,
                running.task,
                running.call.view.caller,
                running.call.view.callee,
                running.call.state >= State.MORATORIUM,
                running.started_ms,
                running.media.stream,
                running.number,
            )
            for running in itertools.islice(behind, limit)
        ]

    def use_runner(self, runner: Runner) -> None:
        """Let the tasks run there."""
        self._runner = runner

    # What the engine tells.

    def start(self, invite: Message, name: str, srtp: SrtpPolicy = "off") -> None:
        """Begin a call by a task of the table. Raises CapacityError, and nothing was begun."""
        now_ms = self._now_ms()
        port = self._plane.pool.take(now_ms)
        if port is None:
            raise CapacityError("no media port is free")
        tag = self._engine.mint_tag(invite.call_id)
        key = (invite.call_id, tag)
        numbers = self._entropy.token_bytes(16)
        seed = CallSeed(
            tag,
            self._engine.mint_contact(invite.call_id, invite.hop.local),
            int.from_bytes(numbers[:7]),
            int.from_bytes(numbers[8:]),
            self._key_seed(),
        )
        media = LocalMedia(self._plane.plane.advertise, port, port + 1)
        call = incoming_call(invite, seed, media, self, srtp=srtp)
        self._running[key] = _Running(
            call,
            name,
            tag,
            TaskMedia(self._plane, port),
            invite.transaction,
            now_ms,
            self._keeper.own,
            next(self._numbers),
        )
        self._key_of[call] = key
        self._by_invite[invite.transaction] = key
        self.perform(call, call.receive(invite, now_ms))
        if not call.is_over:
            self._run(name, call)

    def receive(self, request: Message) -> bool:
        """A request within a dialog; False where no call here has it."""
        key = (request.call_id, request.to_tag)
        running = self._running.get(key)
        if running is not None:
            self.perform(running.call, running.call.receive(request, self._now_ms()))
            return True
        if request.method != "BYE" or request.to_tag.lower() not in self._ended:
            return False
        self._engine.respond(request.transaction, 200, "OK", (), b"", "", self._now_ms(), self._out)
        return True

    def ack(self, request: Message) -> None:
        running = self._running.get((request.call_id, request.to_tag))
        if running is not None:
            self.perform(running.call, running.call.ack(request, self._now_ms()))

    def cancel(self, transaction: int) -> bool:
        """The INVITE of a server transaction was cancelled; False where no call here has it."""
        key = self._by_invite.get(transaction)
        if key is None:
            return False
        call = self._running[key].call
        self.perform(call, call.cancel(transaction, self._now_ms()))
        return True

    def response(self, key: int, response: Message | None, status: int) -> None:
        known = self._by_sent.get(key)
        if known is None:
            return
        dialog, own_key = known
        running = self._running[dialog]
        if status >= 200:
            del self._by_sent[key]
            running.sent.discard(key)
        outputs = running.call.response(own_key, response, self._now_ms(), status)
        self.perform(running.call, outputs)

    def media_silent(self, stream: int) -> None:
        """Nothing came for so long that the caller is taken to be gone."""
        key = self._by_stream.get(stream)
        if key is not None:
            call = self._running[key].call
            self.perform(call, call.end(self._now_ms(), 480))

    def end_all(self) -> None:
        for running in tuple(self._running.values()):
            self.perform(running.call, running.call.end(self._now_ms(), 480))

    def abandon_all(self) -> None:
        """This member is dead to the others: its heirs have its calls. It says nothing more."""
        for calls in (self._running, self._key_of, self._by_invite, self._by_sent, self._by_stream):
            calls.clear()
        self._deadlines.clear()

    # Heir.

    def _key_seed(self) -> Secret:
        return Secret(self._entropy.token_bytes(32).hex())

    def reserve_port(self) -> int | None:
        return self._plane.pool.take(self._now_ms())

    def release_port(self, port: int) -> None:
        self._plane.pool.give_back(port, self._now_ms())

    def inherit(self, inherited: Inherited) -> None:
        """Go on with a call; a task that cannot resume lets it end. Raises whatever a kept call
        that nothing can be made of causes; then nothing of it is left here.
        """
        key = (inherited.kept.call.view.call_id, inherited.kept.call.tag)
        try:
            self._go_on(key, inherited)
        except Exception:
            running = self._running.get(key)
            if running is None:
                self.release_port(inherited.port)
            else:
                self._close_media(running)
                self._forget(key)
            raise

    def _go_on(self, key: DialogKey, inherited: Inherited) -> None:
        now_ms, kept, port = self._now_ms(), inherited.kept, inherited.port
        call_id, tag = key
        hop = inherited_hop(kept.hop, inherited.dead, incarnation_of(self._keeper.own)[0])
        contact = self._engine.mint_contact(call_id, hop.local if hop else 0)
        media = LocalMedia(self._plane.plane.advertise, port, port + 1)
        legacy = Legacy(contact, hop, inherited.takes)
        call = inherited_call(kept.call, legacy, media, self, self._key_seed())
        self._running[key] = _Running(
            call,
            kept.task,
            tag,
            TaskMedia(self._plane, port),
            0,
            kept.started_ms,
            inherited.owner,
            next(self._numbers),
        )
        self._key_of[call] = key
        known = self._tasks.get(kept.task)
        if known is None or not known.resumes:
            self.perform(call, call.end(now_ms, 480))
            return
        self.perform(call, call.take_over(now_ms))
        if not call.is_over:
            self._run(kept.task, call)

    def remember_ended(self, tag: str) -> None:
        """An heir has ended that call; a BYE that had found nobody gets 200 still."""
        self._ended[tag] = None
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _run(self, name: str, call: Call) -> None:
        assert self._runner is not None, "no calls before there is a runner"
        try:
            self._runner.start(self._tasks[name].task, call)
        except CapacityError:
            self.perform(call, call.end(self._now_ms(), 503))

    # Timers.

    def next_deadline_ms(self) -> int | None:
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._running:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def expire(self, now_ms: int) -> None:
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            at_ms, key = heapq.heappop(self._deadlines)
            running = self._running.get(key)
            if running is not None and running.deadline_ms == at_ms:
                running.deadline_ms = None
                self.perform(running.call, running.call.expire(now_ms))

    # CallPort.

    def now_ms(self) -> int:
        return self._now_ms()

    def perform(self, call: Call, outputs: Sequence[LegOutput]) -> None:
        """Carry out what a call caused, and look at its next deadline."""
        key = self._key_of.get(call)
        if key is None:
            return
        running = self._running[key]
        unsent: list[int] = []
        for output in outputs:
            self._perform_one(key, running, output, unsent)
        self._wake()
        self._keep(running)
        for sent_key in unsent:
            self.response(sent_key, None, 503)
        if running.media.is_broken and not call.is_over:
            self.perform(call, call.end(self._now_ms(), 503))
        if self._key_of.get(call) != key:
            return  # it ended by what could not be sent
        if call.is_released:
            self._forget(key)
            return
        deadline_ms = call.next_deadline_ms()
        due_ms = running.deadline_ms
        if deadline_ms is not None and (due_ms is None or deadline_ms < due_ms):
            running.deadline_ms = deadline_ms
            heapq.heappush(self._deadlines, (deadline_ms, key))

    def _perform_one(
        self, key: DialogKey, running: _Running, output: LegOutput, unsent: list[int]
    ) -> None:
        engine, out = self._engine, self._out
        match output:
            case Respond(transaction, status, reason, to_tag, headers, body):
                engine.respond(
                    transaction, status, reason, headers, body, to_tag, self._now_ms(), out
                )
            case Retransmit(transaction):
                engine.retransmit(transaction, self._now_ms(), out)
            case SendRequest(own_key, method, uri, route, headers, body, hop):
                sent_key = self._next_key
                self._next_key += 1
                self._by_sent[sent_key] = (key, own_key)
                running.sent.add(sent_key)
                by, now_ms = ", ".join(route), self._now_ms()
                sent = engine.request(
                    sent_key, method, uri, by, headers, body, key[0], hop, now_ms, out
                )
                if not sent:
                    unsent.append(sent_key)
            case SendAck(uri, route, headers, body, hop):
                by, now_ms = ", ".join(route), self._now_ms()
                engine.send_ack(uri, by, headers, body, key[0], hop, now_ms, out)
            case OpenMedia(_, stream):
                running.media.open(stream)
                self._by_stream[running.media.stream] = key
            case UpdateMedia(stream):
                running.media.update(stream)
            case CloseMedia():
                self._close_media(running)
            case _:
                return

    def _close_media(self, running: _Running) -> None:
        running.media.close(self._now_ms())
        self._by_stream.pop(running.media.stream, None)

    def _keep(self, running: _Running) -> None:
        """Have the store follow the call."""
        call, name = running.call, (running.owner, running.tag)
        if call.is_over:
            if not running.is_over:
                running.is_over = True
                self._keeper.end(name)
            return
        standing = call.kept()
        if standing is None:
            return
        hop = kept_hop(call.hop)
        kept = KeptTaskCall(running.task, running.started_ms, hop, standing)
        if kept != running.kept:
            running.kept = kept
            self._keeper.keep(name, kept)

    def _forget(self, key: DialogKey) -> None:
        running = self._running.pop(key)
        del self._key_of[running.call]
        self._by_invite.pop(running.invite, None)
        if running.owner != self._keeper.own:
            self.remember_ended(running.tag)
        for sent_key in running.sent:
            del self._by_sent[sent_key]
