"""One TCP link to another member: its handshake, its bounded queue, its frames.

What is sent during one turn of the loop leaves in one write. Packets find no room when the other
side does not read: they are dropped and counted, since their senders retransmit. Other frames have
some room of their own beyond that; when it is full too the link is closed, for a member that
misses an invalidation must know that it does.
"""

import asyncio
import socket
from typing import Final, Protocol, cast

import msgspec

from sipfarm.base.limits import BUS_FRAME_BYTES_MAX
from sipfarm.cluster.handshake import Handshake, Peer, Refused, RefusedFor, Role
from sipfarm.cluster.wire import (
    HANDSHAKE_FRAME_BYTES_MAX,
    HANDSHAKE_VERSION,
    PAYLOAD_BYTES_MAX,
    PAYLOADS_PER_FRAME_MAX,
    Frame,
    FrameReader,
    Hello,
    Packets,
    Proof,
    Received,
    Refusal,
    Unknown,
    WireError,
    append,
    encode,
)

PAYLOAD_OVERHEAD_BYTES: Final = 5


class LinkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What may wait in one link to be sent, and how long is waited for the other side."""

    queue_bytes_max: int = 4 << 20
    reserve_bytes: int = 2 << 20
    """For frames that are no packets."""
    payloads_max: int = 16_384
    """Packets in one turn of the loop."""
    handshake_s: float = 2.0
    """Who has not shown by then who it is has to go."""
    retire_s: float = 2.0
    """A link that is not to be used any more is read so long at most."""

    def __post_init__(self) -> None:
        if self.reserve_bytes < 1 or self.queue_bytes_max < 1 or self.payloads_max < 1:
            raise ValueError("limits of a link must be at least 1")


class LinkCounters(msgspec.Struct):
    """What went over all links of a member."""

    packets_sent: int = 0
    packets_received: int = 0
    packets_dropped: int = 0
    frames_received: int = 0
    frames_unknown: int = 0
    writes: int = 0
    links_made: int = 0
    links_lost: int = 0
    links_overrun: int = 0


class LinkOwner(Protocol):
    """What a link tells: the bus."""

    def opened(self, link: "Link") -> RefusedFor | None: ...

    def admits(self, peer: Peer) -> RefusedFor | None: ...

    def established(self, link: "Link") -> None: ...

    def received(self, link: "Link", frame: Received) -> None: ...

    def refused(self, refused: Refused, remote: str) -> None: ...

    def lost(self, link: "Link") -> None: ...


class Link(asyncio.Protocol):
    """A connection, dialed or accepted; good for frames once `peer` is set."""

    def __init__(
        self,
        owner: LinkOwner,
        role: Role,
        handshake: Handshake,
        limits: LinkLimits,
        counters: LinkCounters,
    ) -> None:
        self.role = role
        self.peer: Peer | None = None
        self.remote = ""
        self.silent_looks = 0
        """How often somebody looked since anything came; for the bus."""
        self.settled = asyncio.Event()
        """The handshake is over, well or not."""
        self._owner = owner
        self._handshake = handshake
        self._limits = limits
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(HANDSHAKE_FRAME_BYTES_MAX)
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._out = bytearray()
        self._payloads: list[bytes] = []
        self._payload_bytes = 0
        self._flush_wanted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, though they have their methods.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        if self._closing:
            transport.abort()
            return
        self.remote = repr(transport.get_extra_info("peername"))
        bound: socket.socket | None = transport.get_extra_info("socket")
        if bound is not None:
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        why = self._owner.opened(self)
        if why is not None:
            self.refuse(Refused(why))
            return
        self._timer = self._loop.call_later(self._limits.handshake_s, self._late)
        for frame in self._handshake.begin():
            transport.write(encode(frame, HANDSHAKE_VERSION))

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self.silent_looks = 0
        self._reader.push(data)
        try:
            while not transport.is_closing() and (frame := self._reader.pop()) is not None:
                self._receive(frame, transport)
        except WireError:
            self.refuse(Refused(RefusedFor.MALFORMED))
        except Refused as refused:
            self.refuse(refused)

    def eof_received(self) -> bool:
        """The other side sends no more: what we still have goes out, then the transport closes."""
        self.flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._transport = None
        self._closing = True
        self._owner.lost(self)
        self.settled.set()

    def send(self, frame: Frame) -> bool:
        """Send a frame that is no packet; False: the link is closed, or is now for want of room."""
        if self._transport is None or self.peer is None or self._closing:
            return False
        self._encode_packets(self.peer.version)
        append(frame, self._out, self.peer.version)
        if self._waiting_bytes() > self._limits.queue_bytes_max + self._limits.reserve_bytes:
            self._counters.links_overrun += 1
            self.abort()
            return False
        self._want_flush()
        return True

    def send_packets(self, payload: bytes) -> bool:
        """Send what the SIP engine made; False: dropped, there is no room."""
        size = len(payload) + PAYLOAD_OVERHEAD_BYTES
        if (
            self._transport is None
            or self._closing
            or size > PAYLOAD_BYTES_MAX
            or len(self._payloads) >= self._limits.payloads_max
            or self._waiting_bytes() + size > self._limits.queue_bytes_max
        ):
            self._counters.packets_dropped += 1
            return False
        self._payloads.append(payload)
        self._payload_bytes += size
        self._want_flush()
        return True

    def flush(self) -> None:
        """Write what was sent during this turn."""
        self._flush_wanted = False
        if self._transport is None or self.peer is None:
            return
        self._encode_packets(self.peer.version)
        if self._out:
            self._transport.write(self._out)
            self._out = bytearray()  # the transport may keep the other one
            self._counters.writes += 1

    def retire(self, *, say_so: bool) -> None:
        """Another link takes its place: send nothing more, but read what is under way.

        The first of the two sides to use the other link is silent about it, or this one would end
        at the other side before that has something in its place.
        """
        if self._transport is None or self._closing:
            return
        self.flush()
        self._closing = True
        self._cancel_timer()
        self._timer = self._loop.call_later(self._limits.retire_s, self.abort)
        if say_so and self._transport.can_write_eof():
            self._transport.write_eof()

    def refuse(self, refused: Refused) -> None:
        """Close it, and tell the other side why, unless that said it first."""
        self._owner.refused(refused, self.remote)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not refused.by_peer and not self._closing:
            transport.write(encode(Refusal(refused.why.value), HANDSHAKE_VERSION))
        self._closing = True
        self._cancel_timer()
        self._timer = self._loop.call_later(self._limits.retire_s, self.abort)
        transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _receive(self, frame: Received, transport: asyncio.Transport) -> None:
        if self.peer is None:
            self._shake_hands(frame, transport)
        elif isinstance(frame, Unknown):
            self._counters.frames_unknown += 1
        elif isinstance(frame, Hello | Proof | Refusal):
            self._handshake.receive(frame)  # refused: it is over
        else:
            self._counters.frames_received += 1
            if isinstance(frame, Packets):
                self._counters.packets_received += len(frame.payloads)
            self._owner.received(self, frame)

    def _shake_hands(self, frame: Received, transport: asyncio.Transport) -> None:
        answers = self._handshake.receive(frame)
        peer = self._handshake.peer
        if peer is not None:
            why = self._owner.admits(peer)
            if why is not None:
                raise Refused(why)
        for answer in answers:
            transport.write(encode(answer, HANDSHAKE_VERSION))
        if peer is not None:
            self.peer = peer
            self._reader.frame_bytes_max = BUS_FRAME_BYTES_MAX
            self._cancel_timer()
            self._owner.established(self)
            self.settled.set()

    def _late(self) -> None:
        self.refuse(Refused(RefusedFor.LATE))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waiting_bytes(self) -> int:
        assert self._transport is not None
        return self._transport.get_write_buffer_size() + len(self._out) + self._payload_bytes

    def _encode_packets(self, version: int) -> None:
        """Packets of this turn become as few frames as hold them."""
        payloads, self._payloads = self._payloads, []
        if self._payload_bytes <= PAYLOAD_BYTES_MAX and len(payloads) <= PAYLOADS_PER_FRAME_MAX:
            if payloads:
                append(Packets(payloads), self._out, version)
        else:
            for some in _in_frames(payloads):
                append(Packets(some), self._out, version)
        self._payload_bytes = 0
        self._counters.packets_sent += len(payloads)

    def _want_flush(self) -> None:
        if not self._flush_wanted:
            self._flush_wanted = True
            self._loop.call_soon(self.flush)


def _in_frames(payloads: list[bytes]) -> list[list[bytes]]:
    """Cut a list of payloads so that each part fits in one frame."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for payload in payloads:
        size += len(payload) + PAYLOAD_OVERHEAD_BYTES
        if size > PAYLOAD_BYTES_MAX or len(parts[-1]) >= PAYLOADS_PER_FRAME_MAX:
            parts.append([])
            size = len(payload) + PAYLOAD_OVERHEAD_BYTES
        parts[-1].append(payload)
    return parts
