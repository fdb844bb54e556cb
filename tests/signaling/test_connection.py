"""A connection's framing, times and writing, fed by hand."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from sipfarm.native import Hop
from sipfarm.signaling.io.connection import (
    SENT_TRANSACTIONS_MAX,
    WAITING_MESSAGES_MAX,
    Connection,
    ConnectionLimits,
    Framing,
    Kind,
    Place,
    StreamFraming,
)
from sipfarm.signaling.io.websocket import WebSocketFraming

MESSAGE = b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 4\r\n\r\nbody"
LIMITS = ConnectionLimits()


class Wire(asyncio.Transport):
    """What is written, and whether it was closed."""

    def __init__(self, peer: tuple[Any, ...] | None = ("192.0.2.7", 40_000)) -> None:
        super().__init__({"peername": peer})
        self.written: list[bytes] = []
        self.ended = ""
        self.queued = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.queued

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Pool:
    """Notes what a connection tells."""

    limits = LIMITS

    def __init__(self) -> None:
        self.time_s = 100.0
        self.received: list[bytes] = []
        self.not_sent: list[int] = []
        self.reasons: list[str] = []
        self.is_gone = False

    def now_s(self) -> float:
        return self.time_s

    def opened(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        self.is_gone = True

    def refuse(self, connection: Connection, reason: str) -> None:
        self.reasons.append(reason)
        connection.close()

    def receive(self, messages: Iterable[tuple[bytes, Hop]], /) -> None:
        self.received += [message for message, _ in messages]

    def failed(self, transaction: int) -> None:
        self.not_sent.append(transaction)


def make(
    framing: Framing | None = None, *, accepted: bool = True, transport: str = "tcp"
) -> tuple[Connection, Pool, Wire]:
    pool, wire = Pool(), Wire()
    place = Place(transport, 3, 77, accepted)
    return Connection(pool, place, framing or StreamFraming()), pool, wire


def made(framing: Framing | None = None, *, accepted: bool = True) -> tuple[Connection, Pool, Wire]:
    connection, pool, wire = make(framing, accepted=accepted)
    connection.connection_made(wire)
    return connection, pool, wire


def fed(framing: StreamFraming, data: bytes) -> list[Kind]:
    return [kind for kind, _ in framing.feed(data)]


def test_a_stream_is_split_by_content_length() -> None:
    framing = StreamFraming()
    assert fed(framing, MESSAGE[:20]) == []
    assert framing.feed(MESSAGE[20:] + MESSAGE) == [("message", MESSAGE)] * 2


def test_a_double_crlf_is_answered_with_one() -> None:
    framing = StreamFraming()
    assert fed(framing, b"\r\n") == ["alive"]
    assert framing.feed(b"\r\n") == [("alive", b""), ("answer", b"\r\n")]


def test_what_cannot_be_split_is_an_error() -> None:
    assert fed(StreamFraming(), b"OPTIONS sip:a SIP/2.0\r\nTo: b\r\n\r\n") == ["error"]


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_a_message_comes_with_the_transport_and_the_flow(transport: str) -> None:
    connection, _, wire = make(transport=transport)
    connection.connection_made(wire)
    assert connection.hop == Hop(transport, "192.0.2.7", 40_000, 3, 77)


def test_a_link_local_peer_has_no_zone_in_its_hop() -> None:
    connection, _, _ = make()
    connection.connection_made(Wire(("fe80::1%lo", 5060, 0, 1)))
    assert connection.hop == Hop("tcp", "fe80::1", 5060, 3, 77)


def test_a_peer_that_is_gone_already_is_let_go() -> None:
    connection, _, _ = make()
    wire = Wire(None)
    connection.connection_made(wire)
    assert wire.ended == "aborted"


def test_what_waited_for_the_connection_is_written_in_order() -> None:
    connection, _, wire = make(accepted=False)
    connection.send(b"one", 1)
    connection.send(b"two", 0)
    connection.connection_made(wire)
    assert wire.written == [b"one", b"two"]


def test_only_so_much_waits_for_a_connection() -> None:
    connection, pool, _ = make(accepted=False)
    for transaction in range(1, WAITING_MESSAGES_MAX + 3):
        connection.send(MESSAGE, transaction)
    assert pool.not_sent == [WAITING_MESSAGES_MAX + 1, WAITING_MESSAGES_MAX + 2]


def test_what_was_to_be_sent_fails_with_the_connection() -> None:
    connection, pool, _ = make(accepted=False)
    connection.send(MESSAGE, 5)
    connection.give_up()
    assert pool.not_sent == [5]


def test_transactions_under_way_are_told_of_a_lost_connection() -> None:
    connection, pool, _ = made()
    for transaction in range(1, SENT_TRANSACTIONS_MAX + 2):
        connection.send(MESSAGE, transaction)
    connection.connection_lost(None)
    assert pool.is_gone
    assert pool.not_sent == list(range(2, SENT_TRANSACTIONS_MAX + 2))
    connection.send(MESSAGE, 99)
    assert pool.not_sent[-1] == 99


def test_a_peer_that_does_not_read_is_closed() -> None:
    connection, pool, wire = made()
    wire.queued = LIMITS.write_buffer_bytes_max + 1
    connection.send(MESSAGE, 9)
    assert pool.not_sent == [9]
    assert pool.reasons == ["the peer does not read"]
    assert wire.ended == "aborted"


def test_nothing_is_taken_from_a_connection_that_is_being_closed() -> None:
    connection, pool, wire = made()
    connection.data_received(b"garbage\r\n\r\n" + MESSAGE)
    assert pool.reasons
    assert wire.ended == "closed"
    connection.data_received(MESSAGE)
    assert not pool.received


def test_before_its_upgrade_a_websocket_is_sent_nothing() -> None:
    connection, pool, wire = made(WebSocketFraming())
    connection.send(MESSAGE, 1)
    assert not wire.written
    pool.time_s += LIMITS.upgrade_s + 1
    assert connection.overdue(pool.time_s) == "not upgraded in time"


def test_an_accepted_connection_has_to_say_something() -> None:
    connection, pool, _ = made()
    connection.data_received(b"\r\n\r\n")
    assert not connection.overdue(pool.time_s + LIMITS.first_message_s)
    assert connection.overdue(pool.time_s + LIMITS.first_message_s + 1) == "no message in time"
    connection.data_received(MESSAGE)
    assert not connection.overdue(pool.time_s + LIMITS.first_message_s + 1)


def test_a_connection_of_ours_may_wait_for_the_first_word() -> None:
    connection, pool, _ = made(accepted=False)
    assert not connection.overdue(pool.time_s + LIMITS.first_message_s + 1)


def test_a_message_that_trickles_in_has_its_time() -> None:
    connection, pool, _ = made()
    connection.data_received(MESSAGE)
    for byte in MESSAGE[: int(LIMITS.message_s)]:
        connection.data_received(bytes([byte]))
        assert not connection.overdue(pool.time_s)
        pool.time_s += 1.0
    assert connection.overdue(pool.time_s + 1) == "part of a message only"


def test_keep_alives_keep_a_connection_and_silence_does_not() -> None:
    connection, pool, _ = made()
    connection.data_received(MESSAGE)
    pool.time_s += LIMITS.idle_s - 1
    connection.data_received(b"\r\n\r\n")
    assert not connection.overdue(pool.time_s + LIMITS.idle_s - 1)
    assert connection.overdue(pool.time_s + LIMITS.idle_s + 1) == "idle"


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="upgrade_s"):
        ConnectionLimits(upgrade_s=60.0)
