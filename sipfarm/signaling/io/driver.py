"""The driver: feeds the engine, performs what it returns, and keeps its one timer.

It decides nothing. A turn is: a batch in, events to the transaction users, everything out.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from sipfarm.base.clock import Clock
from sipfarm.native import Batch, Engine, Event, Hop, Output, UdpPort
from sipfarm.signaling.io.udp_reader import UdpReader
from sipfarm.signaling.packet_lines import Packet

DOUBT_MS: Final = 20  # timers wait so long while the store is asked whether this member lives
TIMER_GRAIN_MS: Final = 10  # what runs out within it is done together; SIP's timers are long
BATCHES_PER_TURN_MAX: Final = 4  # of one readable socket, before others get their turn
BATCH_FULL: Final = 64  # datagrams; a smaller batch has emptied the socket


MemberSeen = tuple[int, int, bool, float] | tuple[int, int, bool, float, bool, bool]


class Streams(Protocol):
    """Where messages that do not leave over UDP here are written."""

    def send(self, hop: Hop, message: bytes, transaction: int, server: str) -> None: ...


class PacketLog(Protocol):
    """Where it is written down what became of each packet."""

    def write(self, wall_ms: int, packets: list[Packet]) -> None: ...


class Driver:
    """One engine on one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        engine: Engine,
        deliver: Callable[[Event], None],
        apply_media: Callable[[Output], None],
        may_act: Callable[[], bool],
    ) -> None:
        """`may_act`: whether this member is sure that it lives; what comes before that is lost, and
        what it had to say itself waits.
        """
        self.engine = engine
        self.out = Output()
        self._loop = loop
        self._clock = clock
        self._deliver = deliver
        self._apply_media = apply_media
        self._may_act = may_act
        self._send_to_member: Callable[[int, bytes], bool] | None = None
        self.refused_in_doubt = 0
        self._batch = Batch()
        self._ports: dict[UdpPort, UdpReader] = {}
        self._streams: Streams | None = None
        self._packet_log: PacketLog | None = None
        self._screen: Callable[[Output], None] | None = None
        self._now_ms = clock.now_ms()
        self._in_turn = False
        self._flush: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._deadlines: list[tuple[Callable[[], int | None], Callable[[int], None]]] = []

    def now_ms(self) -> int:
        """The time of this turn, or the clock's between turns."""
        return self._now_ms if self._in_turn else self._clock.now_ms()

    def add_port(self, port: UdpPort, descriptor: int) -> None:
        self._ports[port] = UdpReader(
            self._loop, descriptor, partial(self._receive, port), BATCHES_PER_TURN_MAX * BATCH_FULL
        )

    def remove_port(self, port: UdpPort) -> None:
        """Read it no more; the socket stays its owner's."""
        self._ports.pop(port).stop()

    def use_bus(self, send: Callable[[int, bytes], bool]) -> None:
        self._send_to_member = send

    def use_screen(self, screen: Callable[[Output], None]) -> None:
        """Let events that need no decision be answered before the others are delivered."""
        self._screen = screen

    def use_streams(self, streams: Streams) -> None:
        self._streams = streams

    def use_packet_log(self, log: PacketLog | None) -> None:
        self._packet_log = log
        self.out.tracing = log is not None

    def add_deadlines(
        self, next_deadline_ms: Callable[[], int | None], expire: Callable[[int], None]
    ) -> None:
        """Let another engine of this loop be woken by the same timer."""
        self._deadlines.append((next_deadline_ms, expire))

    def receive_messages(self, messages: Iterable[tuple[bytes, Hop]]) -> None:
        """Whole messages of a stream."""
        if not self._may_act():
            self.refused_in_doubt += 1
            return
        self._begin()
        for message, hop in messages:
            self._batch.add(message, hop)
        self.engine.receive(self._batch, self._now_ms, self.out)
        self._batch.clear()
        self._finish()

    def receive_bus(self, number: int, payloads: Iterable[bytes]) -> None:
        """What another member's engine told ours."""
        self._begin()
        for payload in payloads:
            self.engine.receive_bus(number, payload, self._now_ms, self.out)
            self._settle()
        self._finish()

    def set_view(self, members: Iterable[MemberSeen]) -> None:
        """(number, epoch, ready, load, edge, pbx) of each member that is not dead."""
        self._begin()
        self.engine.set_view(members, self._now_ms, self.out)
        self._finish_if_alive()

    def read_out(self) -> None:
        """Work on all that is still queued at sockets that get nothing more."""
        for port in tuple(self._ports):
            while self._receive(port):
                pass

    def transport_failed(self, transaction: int) -> None:
        """What a client transaction sent could not be delivered."""
        self._begin()
        self.engine.transport_failed(transaction, self._now_ms, self.out)
        self._finish_if_alive()

    def _bus_failed(self, payload: bytes) -> None:
        """What was for another member was dropped."""
        self._begin()
        self.engine.bus_failed(payload, self._now_ms, self.out)
        self._finish_if_alive()

    def wake(self) -> None:
        """Outputs were added outside of a turn: they leave soon, all together."""
        if not self._in_turn and self._flush is None:
            self._flush = self._loop.call_soon(self._flush_soon)

    def close(self) -> None:
        """Read no more."""
        for reader in self._ports.values():
            reader.stop()
        self._ports.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    def _receive(self, port: UdpPort) -> int:
        """Work on what a socket has; how many packets there were."""
        batch = self._batch
        if not self._may_act():
            received = port.receive(batch)
            self.refused_in_doubt += received
            port.receive_undelivered(batch)
            batch.clear()
            return received
        self._begin()
        total = 0
        for _ in range(BATCHES_PER_TURN_MAX):
            received = port.receive(batch)
            if received:
                total += received
                self.engine.receive(batch, self._now_ms, self.out)
                batch.clear()
                self._settle()
            if received < BATCH_FULL:
                break
        if port.receive_undelivered(batch):
            self.engine.undelivered(batch, self._now_ms, self.out)
            batch.clear()
        self._finish()
        return total

    def _flush_soon(self) -> None:
        self._flush = None
        self._begin()
        self._finish_if_alive()

    def _begin(self) -> None:
        self._now_ms = self._clock.now_ms()
        self._in_turn = True

    def _finish(self) -> None:
        self._settle()
        self._in_turn = False
        self._rearm()

    def _finish_if_alive(self) -> None:
        """End a turn that no packet began; in doubt everything is kept until the doubt ends."""
        if self._may_act():
            self._finish()
            return
        self._in_turn = False
        if self._flush is None:
            self._flush = self._loop.call_later(DOUBT_MS / 1_000, self._flush_soon)

    def _settle(self) -> None:
        """Events to their users, whose answers may cause more, and everything out."""
        out = self.out
        while out.has_events:
            if self._screen is not None:
                self._screen(out)
            for event in out.take_events():
                self._deliver(event)
        if out.media_commands:
            self._apply_media(out)
        if len(out):
            self._send(out)
        if out.has_frames and self._send_to_member is not None:
            for number, payload in out.take_frames():
                if not self._send_to_member(number, payload):
                    self._loop.call_soon(self._bus_failed, payload)
        if self._packet_log is not None and (packets := out.take_packets()):
            self._packet_log.write(self._clock.wall_ms(), packets)
        out.clear()

    def _send(self, out: Output) -> None:
        refused: list[tuple[int, int]] = []
        for port in self._ports:
            refused += port.send(out)
        if out.has_stream_sends and self._streams is not None:
            for send in out.stream_sends():
                self._streams.send(*send)
        for transaction, _ in refused:
            if transaction:
                self._loop.call_soon(self.transport_failed, transaction)

    def _rearm(self) -> None:
        deadline_ms = self.engine.next_deadline_ms()
        for next_deadline_ms, _ in self._deadlines:
            other_ms = next_deadline_ms()
            if other_ms is not None and (deadline_ms is None or other_ms < deadline_ms):
                deadline_ms = other_ms
        if deadline_ms is None:
            return
        if self._timer is not None:
            if self._timer_at_ms <= max(deadline_ms, self._now_ms + TIMER_GRAIN_MS):
                return
            self._timer.cancel()
        self._timer_at_ms = max(deadline_ms, self._now_ms + TIMER_GRAIN_MS)
        delay_s = (self._timer_at_ms - self._now_ms) / 1_000
        self._timer = self._loop.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._may_act():
            self._timer_at_ms = self._clock.now_ms() + DOUBT_MS
            self._timer = self._loop.call_later(DOUBT_MS / 1_000, self._expire)
            return
        self._begin()
        self.engine.expire(self._now_ms, self.out)
        for _, expire in self._deadlines:
            expire(self._now_ms)
        self._finish()
