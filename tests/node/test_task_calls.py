"""What a task's call sends finds its way through the engine (RFC 3261 §12.2.1.1, RFC 3263)."""

import asyncio
from typing import Any, cast

import pytest
import structlog

from sipfarm.base.errors import PeerError
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.media.offer_answer import Capabilities
from sipfarm.media.sdp import Direction
from sipfarm.native import Batch, Engine, Event, EventKind, Hop, Output
from sipfarm.node.kept_calls import CallKeeper, Inherited, KeptTaskCall
from sipfarm.node.task_calls import TaskCallParts, TaskCalls
from sipfarm.node.users import TASKS
from sipfarm.pbx.call import CallView, KeptCall
from sipfarm.pbx.leg import KeptLeg
from sipfarm.pbx.task import TaskRunner
from sipfarm.signaling.dialog import Dialog
from sipfarm.signaling.session_kept import KeptSession
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.eventually import turn
from sipfarm.testing.fake_plane import FakePlane
from sipfarm.testing.memory_store import MemoryStore

HERE = "192.0.2.100"
CARRIER = Hop("udp", "192.0.2.1", 5060)
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)


def request(
    method: str, cseq: int, to: str, body: bytes = b"", edge: str = "sip:edge.carrier.test"
) -> bytes:
    typed = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} sip:echo@example.test SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-{method}\r\n"
        f"Record-Route: <{edge};lr>\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:alice@carrier.test>;tag=a\r\n"
        f"To: {to}\r\n"
        f"Call-ID: one\r\nCSeq: {cseq} {method}\r\n"
        "Contact: <sip:alice@10.0.0.1>\r\n"
        f"{typed}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Stage:
    """An engine and the calls of its tasks, moved by hand."""

    def __init__(self) -> None:
        plane = self.plane = FakePlane(HERE, 4)
        self.engine = Engine(
            plane.pool,
            listens=[(Hop("udp", HERE, 5060), HERE, 5060)],
            member=1,
            epoch=1,
            mark_key=bytes(16),
            transaction_key=bytes(16),
            media=HERE,
            now_ms=0,
        )
        self.out = Output()
        self.calls = TaskCalls(
            TaskCallParts(
                engine=self.engine,
                out=self.out,
                plane=cast("Any", plane),
                entropy=SystemEntropy(),
                keeper=CallKeeper(MemoryStore(), (1, 1), VirtualClock()),
                tasks=TASKS,
                now_ms=lambda: 0,
                wake=lambda: None,
            )
        )

    def receive(self, data: bytes) -> list[Event]:
        batch = Batch()
        batch.add(data, CARRIER)
        self.engine.receive(batch, 0, self.out)
        return self.out.take_events()

    def sent(self) -> list[tuple[str, bytes]]:
        """(host, message) of what left since the last time."""
        left = [(hop.host, message) for hop, message, _ in self.out.sends()]
        self.out.clear()
        return left


def test_a_call_whose_bye_can_go_nowhere_is_over_all_the_same() -> None:
    async def play() -> None:
        stage = Stage()
        async with TaskRunner(stage.calls, structlog.get_logger()) as runner:
            nowhere = "sip:edge.carrier.test;transport=sctp"
            invite = request("INVITE", 1, "<sip:echo@example.test>", OFFER, edge=nowhere)
            (event,) = stage.receive(invite)
            assert event.message is not None
            stage.calls.use_runner(runner)
            stage.calls.start(event.message, "echo")
            await turn(10)
            to = stage.sent()[-1][1].decode().split("\r\nTo: ")[1].split("\r\n")[0]
            (event,) = stage.receive(request("ACK", 1, to))
            assert event.message is not None
            stage.calls.ack(event.message)
            stage.calls.end_all()
            assert stage.calls.count == 0
            assert stage.plane.pool.taken == 0

    asyncio.run(play())


def test_a_tasks_bye_goes_where_the_name_in_record_route_leads() -> None:
    async def play() -> None:
        stage = Stage()
        async with TaskRunner(stage.calls, structlog.get_logger()) as runner:
            (event,) = stage.receive(request("INVITE", 1, "<sip:echo@example.test>", OFFER))
            assert event.message is not None
            stage.calls.use_runner(runner)
            stage.calls.start(event.message, "echo")
            await turn(10)
            answer = stage.sent()[-1][1].decode()
            assert answer.startswith("SIP/2.0 200 ")
            to = answer.split("\r\nTo: ")[1].split("\r\n")[0]
            (event,) = stage.receive(request("ACK", 1, to))
            assert event.message is not None
            stage.calls.ack(event.message)
            stage.calls.end_all()
            (event,) = stage.out.take_events()
            assert stage.sent() == []
            assert (event.kind, event.text) == (EventKind.RESOLVE, "edge.carrier.test")
            stage.engine.resolved(event.id, [Hop("udp", "192.0.2.7", 5080)], 0, stage.out)
            ((host, bye),) = stage.sent()
            assert host == "192.0.2.7"
            assert bye.startswith(b"BYE sip:alice@10.0.0.1 SIP/2.0\r\n")
            assert b"\r\nRoute: <sip:edge.carrier.test;lr>\r\n" in bye

    asyncio.run(play())


def test_a_kept_call_that_nothing_can_be_made_of_leaves_nothing_here() -> None:
    stage = Stage()
    too_long = b"v=0\r\n" + b"t=0 0\r\n" * 3_000
    dialog = Dialog("one", "tag", "peer", "to", "from", "sip:us", "sip:peer", (), 3, 4)
    session = KeptSession(dialog, 1, 2, False, True, too_long, None, 90, None, None)
    leg = KeptLeg(session, 9, "echo", Capabilities(), Direction.SENDRECV, None, None)
    kept = KeptTaskCall("echo", 5, None, KeptCall(CallView("one", "a", "b", "b"), leg))
    port = stage.calls.reserve_port()
    assert port is not None
    with pytest.raises(PeerError):
        stage.calls.inherit(Inherited(kept, "9.1", 9, port, 1))
    assert (stage.calls.count, stage.plane.pool.taken) == (0, 0)
