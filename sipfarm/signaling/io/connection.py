"""One connection that carries SIP: its bytes, its time, and what is written to it."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final, Literal, Protocol, cast

import msgspec

from sipfarm.native import Hop, StreamFramer

WAITING_MESSAGES_MAX: Final = 64  # of a connection that is being opened, or not yet upgraded
SENT_TRANSACTIONS_MAX: Final = 32  # that are told when the connection is lost
READ_BYTES_PER_TURN: Final = 32_768  # then the others have their turn
PONG: Final = b"\r\n"

Kind = Literal["opened", "message", "alive", "answer", "closed", "error"]
"""`opened`: messages may be written. `alive`: a keep-alive. `answer`: bytes to be written as they
are. `closed`: the peer says good-bye. `error`: it is to be closed, for the reason that follows.
"""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a peer may take, and how much may wait for it."""

    upgrade_s: float = 10.0  # until a WebSocket is open
    first_message_s: float = 30.0  # until an accepted connection has sent a whole message
    message_s: float = 30.0  # from the first bytes of a message to its last
    idle_s: float = 7_500.0  # above the longest registration, which a phone renews over it
    write_buffer_bytes_max: int = 1 << 20

    def __post_init__(self) -> None:
        if not 0 < self.upgrade_s <= self.first_message_s <= self.idle_s:
            raise ValueError("times must be 0 < upgrade_s <= first_message_s <= idle_s")


class Framing(Protocol):
    """Bytes to messages and back. What it is fed may come cut up in any way."""

    @property
    def is_open(self) -> bool:
        """Whether messages may be written."""
        ...

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]: ...
    def wrap(self, message: bytes) -> bytes: ...
    def goodbye(self) -> bytes:
        """What is written before we close."""
        ...


class StreamFraming:
    """TCP and TLS: messages by their Content-Length (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

    def __init__(self) -> None:
        self._framer = StreamFramer()

    @property
    def is_open(self) -> bool:
        return True

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        found: list[tuple[Kind, bytes]] = []
        for kind, frame in self._framer.feed(data):
            if kind == "message":
                found.append(("message", frame))
            elif kind == "error":
                found.append(("error", frame))
            else:
                found.append(("alive", b""))
                if kind == "ping":
                    found.append(("answer", PONG))
        return found

    def wrap(self, message: bytes) -> bytes:
        return message

    def goodbye(self) -> bytes:
        return b""


class Place(msgspec.Struct, frozen=True):
    """What a connection is, but for its far end."""

    transport: str
    local: int
    flow: int
    accepted: bool


class Pool(Protocol):
    """Who holds the connections."""

    @property
    def limits(self) -> ConnectionLimits: ...
    def now_s(self) -> float: ...
    def opened(self, connection: "Connection") -> None: ...
    def closed(self, connection: "Connection") -> None: ...
    def refuse(self, connection: "Connection", reason: str) -> None: ...
    def receive(self, messages: Iterable[tuple[bytes, Hop]], /) -> None: ...
    def failed(self, transaction: int) -> None: ...


class Connection(asyncio.Protocol):
    """A connection, accepted or opened by us; `flow` is its name on this member."""

    def __init__(self, pool: Pool, place: Place, framing: Framing) -> None:
        self.place = place
        self.flow = place.flow
        self.hop: Hop | None = None
        self._pool = pool
        self._framing = framing
        self._transport: asyncio.Transport | None = None
        self._is_closing = False
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._sent: deque[int] = deque(maxlen=SENT_TRANSACTIONS_MAX)
        self._has_spoken = not place.accepted
        self._opened_s = self._heard_s = pool.now_s()
        self._part_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, though they have their methods.
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if not peer:  # it was gone before it was taken up
            transport.abort()
            return
        place = self.place
        host = str(peer[0]).partition("%")[0]  # a link-local address comes with its zone
        self.hop = Hop(place.transport, host, peer[1], place.local, place.flow)
        self._opened_s = self._heard_s = self._pool.now_s()
        self._pool.opened(self)
        if self._framing.is_open:
            self._send_waiting()

    def data_received(self, data: bytes) -> None:
        hop = self.hop
        if hop is None or self._is_closing:
            return
        messages: list[tuple[bytes, Hop]] = []
        for kind, frame in self._note(self._framing.feed(data)):
            if kind == "message":
                messages.append((frame, hop))
            elif kind == "answer":
                self._write(frame)
            elif kind == "opened":
                self._send_waiting()
            elif kind == "closed":
                self.close()
            elif kind == "error":
                self._pool.refuse(self, frame.decode(errors="replace"))
        if messages:
            self._pool.receive(messages)
        if len(data) >= READ_BYTES_PER_TURN:
            self._let_others_read()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._pool.closed(self)
        self.give_up()

    def send(self, message: bytes, transaction: int) -> None:
        """Write a message; `failed` is told, now or when the connection is lost."""
        if self._transport is None or not self._framing.is_open:
            if len(self._waiting) < WAITING_MESSAGES_MAX and not self._is_closing:
                self._waiting.append((message, transaction))
            elif transaction:
                self._pool.failed(transaction)
        elif self._write(self._framing.wrap(message)):
            if transaction:
                self._sent.append(transaction)
        elif transaction:
            self._pool.failed(transaction)

    def give_up(self) -> list[bytes]:
        """It could not be opened, or is lost: nothing that was sent over it is answered. Returned
        is what still waits and whose failure nobody is told.
        """
        failed = [transaction for _, transaction in self._waiting if transaction]
        left = [message for message, transaction in self._waiting if not transaction]
        failed += dict.fromkeys(self._sent)
        self._waiting.clear()
        self._sent.clear()
        for transaction in failed:
            self._pool.failed(transaction)
        return left

    def close(self) -> None:
        """Write what is queued, say good-bye, and close."""
        transport = self._transport
        if transport is None or self._is_closing:
            return
        self._is_closing = True
        goodbye = self._framing.goodbye()
        if goodbye and not transport.is_closing():
            transport.write(goodbye)
        transport.close()

    def abort(self) -> None:
        """Close at once, whatever is queued."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def overdue(self, now_s: float) -> str:
        """Why it should be closed now; empty while it keeps to its times."""
        limits = self._pool.limits
        age_s = now_s - self._opened_s
        if not self._framing.is_open and age_s > limits.upgrade_s:
            return "not upgraded in time"
        if not self._has_spoken and age_s > limits.first_message_s:
            return "no message in time"
        if self._part_since_s is not None and now_s - self._part_since_s > limits.message_s:
            return "part of a message only"
        return "idle" if now_s - self._heard_s > limits.idle_s else ""

    def _note(self, found: list[tuple[Kind, bytes]]) -> list[tuple[Kind, bytes]]:
        """Keep the times: bytes that complete nothing are the beginning of something."""
        if found:
            self._heard_s = self._pool.now_s()
            self._part_since_s = None
            self._has_spoken = self._has_spoken or any(kind == "message" for kind, _ in found)
        elif self._part_since_s is None:
            self._part_since_s = self._pool.now_s()
        return found

    def _let_others_read(self) -> None:
        """A peer that sends as fast as it can would be read from until it stops."""
        transport = self._transport
        if transport is None or self._is_closing or not transport.is_reading():
            return
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        transport = self._transport
        if transport is not None and not self._is_closing and not transport.is_closing():
            transport.resume_reading()

    def _send_waiting(self) -> None:
        while self._waiting:
            self.send(*self._waiting.popleft())

    def _write(self, data: bytes) -> bool:
        """False, and the connection is closed, where the peer does not read what it is sent."""
        transport = self._transport
        if transport is None or self._is_closing or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > self._pool.limits.write_buffer_bytes_max:
            self._pool.refuse(self, "the peer does not read")
            self.abort()
            return False
        transport.write(data)
        return True
