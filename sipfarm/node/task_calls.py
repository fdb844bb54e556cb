"""Calls that tasks of this member run: between the engine's events, the media plane and pbx."""

import heapq
import ipaddress
from collections.abc import Callable, Mapping, Sequence

import msgspec

from sipfarm.base.errors import CapacityError
from sipfarm.base.ids import Entropy
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.media.plan import CloseMedia, Endpoint, LocalMedia, OpenMedia, Stream, UpdateMedia
from sipfarm.native import Engine, Message, Output
from sipfarm.pbx.call import Call, CallSeed, incoming_call
from sipfarm.pbx.leg import LegOutput
from sipfarm.pbx.task import Task, TaskRunner
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import Respond, Retransmit, SendAck, SendRequest

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


class _Running(msgspec.Struct):
    call: Call
    task: str
    tag: str
    port: int
    invite: int  # its server transaction
    started_ms: int
    stream: int = 0
    sent: set[int] = msgspec.field(default_factory=lambda: set[int]())


class TaskCalls:
    """Owns the calls; a `CallPort` of each."""

    def __init__(
        self,
        engine: Engine,
        out: Output,
        plane: MediaPlane,
        entropy: Entropy,
        now_ms: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._out = out
        self._plane = plane
        self._entropy = entropy
        self._now_ms = now_ms
        self._wake = wake
        self._running: dict[DialogKey, _Running] = {}
        self._key_of: dict[Call, DialogKey] = {}
        self._by_invite: dict[int, DialogKey] = {}
        self._by_sent: dict[int, tuple[DialogKey, int]] = {}
        self._by_stream: dict[int, DialogKey] = {}
        self._next_key = 1
        self._deadlines: list[tuple[int, DialogKey]] = []

    @property
    def count(self) -> int:
        return len(self._running)

    def views(self) -> list[TaskCallView]:
        return [
            TaskCallView(
                running.call.view.call_id,
                running.tag,
                running.task,
                running.call.view.caller,
                running.call.view.callee,
                running.call.state >= State.MORATORIUM,
                running.started_ms,
                running.stream,
            )
            for running in self._running.values()
        ]

    # What the engine tells.

    def start(self, invite: Message, name: str, task: Task, runner: TaskRunner) -> None:
        """Begin a call. Raises CapacityError, and nothing was begun."""
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
        )
        media = LocalMedia(self._plane.plane.advertise, port, port + 1)
        call = incoming_call(invite, seed, media, self)
        self._running[key] = _Running(call, name, tag, port, invite.transaction, now_ms)
        self._key_of[call] = key
        self._by_invite[invite.transaction] = key
        self.perform(call, call.receive(invite, now_ms))
        if call.is_over:
            return
        try:
            runner.start(task, call)
        except CapacityError:
            self.perform(call, call.end(now_ms, 503))

    def receive(self, request: Message) -> bool:
        """A request within a dialog; False where no call here has it."""
        running = self._running.get((request.call_id, request.to_tag))
        if running is None:
            return False
        self.perform(running.call, running.call.receive(request, self._now_ms()))
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

    # Timers.

    def next_deadline_ms(self) -> int | None:
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now_ms: int) -> None:
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, key = heapq.heappop(self._deadlines)
            running = self._running.get(key)
            if running is not None:
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
        for output in outputs:
            self._perform_one(key, running, output)
        self._wake()
        if call.is_released:
            self._forget(key)
            return
        deadline_ms = call.next_deadline_ms()
        if deadline_ms is not None:
            heapq.heappush(self._deadlines, (deadline_ms, key))

    def _perform_one(self, key: DialogKey, running: _Running, output: LegOutput) -> None:
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
                    self.response(sent_key, None, 503)
            case SendAck(uri, route, headers, body, hop):
                by, now_ms = ", ".join(route), self._now_ms()
                engine.send_ack(uri, by, headers, body, key[0], hop, now_ms, out)
            case OpenMedia(_, stream):
                running.stream = self._plane.new_stream()
                self._by_stream[running.stream] = key
                rtp, rtcp = _endpoints(stream)
                self._plane.plane.open_echo(
                    running.stream, stream.local.rtp_port, rtp, rtcp, stream.rtcp_mux
                )
            case UpdateMedia(stream):
                rtp, rtcp = _endpoints(stream)
                if not stream.is_sending:
                    rtp = rtcp = None
                self._plane.plane.set_remote(running.stream, rtp, rtcp, stream.rtcp_mux)
                self._plane.plane.set_held(running.stream, not stream.is_receiving)
            case CloseMedia():
                if running.stream:
                    self._plane.plane.close(running.stream)
                    self._by_stream.pop(running.stream, None)
                self._plane.pool.give_back(running.port, self._now_ms())
            case _:
                return

    def _forget(self, key: DialogKey) -> None:
        running = self._running.pop(key)
        del self._key_of[running.call]
        del self._by_invite[running.invite]
        for sent_key in running.sent:
            del self._by_sent[sent_key]


def _endpoints(stream: Stream) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    return _literal(stream.rtp), _literal(stream.rtcp)


def _literal(endpoint: Endpoint | None) -> tuple[str, int] | None:
    """An endpoint that packets can be sent to; one named by a host waits for its first packet."""
    if endpoint is None:
        return None
    try:
        ipaddress.ip_address(endpoint.address)
    except ValueError:
        return None
    return endpoint.address, endpoint.port


TaskTable = Mapping[str, Task]
