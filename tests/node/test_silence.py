"""A forwarded call is ended when the last of its streams has fallen silent, not one before."""

from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from sipfarm.native import Batch, Engine, EventKind, Hop, Message, Output, PortPool
from sipfarm.node.silence import SilentCalls

KEY = bytes(range(16))
ALICE, BOB = Hop("udp", "192.0.2.1", 5060), Hop("udp", "192.0.2.2", 5060)
TIMEOUT_MS = 60_000
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 9\r\nm=video 4002 RTP/AVP 31\r\n"
)


class Call:
    """Alice and Bob talk and see each other through the relay."""

    def __init__(self) -> None:
        pool = PortPool()
        for port in range(20_000, 20_020, 2):
            pool.add(port)
        self.out = Output()
        self.engine = Engine(
            pool,
            listens=[(Hop("udp", "192.0.2.100", 5060), "192.0.2.100", 5060)],
            member=1,
            epoch=1,
            mark_key=KEY,
            transaction_key=KEY,
            media="192.0.2.100",
            now_ms=0,
        )
        self.last_in_ms: dict[int, int] = {}
        self.silent_calls = SilentCalls(
            self.engine, self.out, self._stats, TIMEOUT_MS, structlog.get_logger()
        )
        self._talk()
        self.streams: list[int] = self.engine.calls()[0]["streams"]
        self.out.clear()

    def silent(self, stream: int, now_ms: int) -> list[str]:
        """Where BYEs go to when this is told."""
        self.silent_calls.silent(stream, now_ms)
        found = [hop.host for hop, wire, _ in self.out.sends() if wire.startswith(b"BYE ")]
        self.out.clear()
        return found

    def _stats(self, stream: int) -> tuple[dict[str, int], dict[str, int]] | None:
        heard_ms = self.last_in_ms.get(stream)
        return None if heard_ms is None else ({"last_in_ms": 0}, {"last_in_ms": heard_ms})

    def _talk(self) -> None:
        body = SDP.format("192.0.2.1")
        self._receive(
            "INVITE sip:bob@x.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:alice@x.test>;tag=1\r\nTo: <sip:bob@x.test>\r\n"
            "Call-ID: one\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}",
            ALICE,
        )
        (asked,) = self.out.take_events()
        assert asked.kind == EventKind.REQUEST
        targets = [("sip:bob@192.0.2.2", "", BOB)]
        self.engine.forward(asked.id, targets, True, True, False, 0, (), (), 0, self.out)
        sent = [Message.parse(wire) for _, wire, _ in self.out.sends()]
        invite = next(message for message in sent if message.is_request)
        lines = "".join(
            f"{name}: {value}\r\n"
            for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq")
            for value in invite.values(name)
        )
        body = SDP.format("192.0.2.2")
        self._receive(
            f"SIP/2.0 200 OK\r\n{lines}To: <sip:bob@x.test>;tag=2\r\n"
            "Contact: <sip:bob@192.0.2.2>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}",
            BOB,
        )

    def _receive(self, wire: str, hop: Hop) -> None:
        batch = Batch()
        batch.add(wire.encode(), hop)
        self.engine.receive(batch, 0, self.out)


@pytest.fixture
def call() -> Iterator[Call]:
    with capture_logs():
        yield Call()


def test_a_call_lives_while_one_of_its_streams_does(call: Call) -> None:
    audio, video = call.streams
    call.last_in_ms = {audio: 70_000, video: 10_000}
    assert call.silent(video, 70_000) == []
    assert call.engine.counters()["calls"] == 1


def test_the_last_stream_ends_the_call_for_both_sides(call: Call) -> None:
    audio, video = call.streams
    call.last_in_ms = {audio: 10_001, video: 10_000}
    assert call.silent(video, 70_000) == []
    assert call.silent(audio, 70_001) == ["192.0.2.2", "192.0.2.1"]
    assert call.engine.counters()["calls"] == 0
    assert call.silent(audio, 130_001) == []


def test_a_stream_that_the_plane_has_lost_keeps_no_call(call: Call) -> None:
    assert call.silent(call.streams[0], 60_000) == ["192.0.2.2", "192.0.2.1"]


def test_streams_of_no_call_end_nothing(call: Call) -> None:
    assert call.silent(12_345, 60_000) == []
    assert call.engine.counters()["calls"] == 1
