"""Decisions carried out by the engine: which flow of a phone is tried, and which one after it."""

import pytest

from sipfarm.base.net import HostPort, Listen, Transport
from sipfarm.native import Batch, Engine, EventKind, Hop, Message, Output, PortPool
from sipfarm.node.forwarding import Forwarding, locals_of
from sipfarm.signaling.routing import Forward, Step, Target

KEY = bytes(range(16))
PHONE = "ws:192.0.2.7:40000"
OWN, OTHER, DEAD = 1, 2, 3
"""Numbers of members: this one, one that lives, one that does not."""


LISTENS = [("udp", 5060), ("tcp", 5060), ("ws", 8080)]


def engine_of(member: int) -> Engine:
    engine = Engine(
        PortPool(),
        listens=[(Hop(kind, "127.0.0.1", port), "farm.test", port) for kind, port in LISTENS],
        member=member,
        epoch=1,
        mark_key=KEY,
        transaction_key=KEY,
        media="127.0.0.1",
        now_ms=0,
        claims=False,
    )
    view = [(number, 1, True, 0.0) for number in (OWN, OTHER)]
    engine.set_view(view, 0, Output())
    return engine


class Member:
    """An engine that is sent an INVITE, a forwarding that decides on it, and a second member."""

    def __init__(self) -> None:
        self.out = Output()
        self.engine = engine_of(OWN)
        self.other = engine_of(OTHER)
        self.closed: set[int] = set()
        points = [Listen(Transport(kind), HostPort("127.0.0.1", port)) for kind, port in LISTENS]
        self.forwarding = Forwarding(self.engine, self.out, locals_of(points), self.holder_of)
        self.statuses: list[int] = []
        self.tried: list[tuple[int, int]] = []
        """(member, flow) of each INVITE that was written to a connection."""
        self._sent: dict[int, tuple[int, int, Hop, bytes]] = {}

    def holder_of(self, number: int, epoch: int, flow: int) -> int | None:
        if number == DEAD or flow in self.closed:
            return None
        return 0 if number == OWN else number

    def flow(self, flow: int, member: int = OWN, others: tuple[Target, ...] = ()) -> Target:
        """A binding over a connection of a member."""
        mark = engine_of(member).mint_flow(flow, PHONE)
        return Target("sip:bob@phone.invalid;transport=ws", (), PHONE, mark, others=others)

    def forward(self, *targets: Target, later: tuple[Step, ...] = ()) -> None:
        steps = (Step(targets), *later)
        self.forwarding.carry_out(self._invited(), Forward(steps, media="direct"), 0)
        self._settle()

    def fails(self, flow: int) -> None:
        """The flow proves dead."""
        holder, transaction, _, _ = self._sent[flow]
        if holder == OWN:
            self.engine.transport_failed(transaction, 0, self.out)
        else:
            told = Output()
            self.other.transport_failed(transaction, 0, told)
            for _, payload in told.take_frames():
                self.engine.receive_bus(OTHER, payload, 0, self.out)
        self._settle()

    def answers(self, flow: int, status: int) -> None:
        """The phone answers over a flow of this member."""
        _, _, hop, wire = self._sent[flow]
        request = Message.parse(wire)
        vias = "".join(f"Via: {via}\r\n" for via in request.values("Via"))
        response = (
            f"SIP/2.0 {status} Answer\r\n{vias}From: {request.header('From')}\r\n"
            f"To: {request.header('To')};tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        self._receive(response, hop)
        self._settle()

    def _invited(self) -> int:
        wire = (
            "INVITE sip:bob@example.test SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
            "From: <sip:alice@example.test>;tag=1\r\nTo: <sip:bob@example.test>\r\n"
            "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        self._receive(wire, Hop("udp", "192.0.2.1", 5060))
        (event,) = self.out.take_events()
        return event.id

    def _receive(self, wire: str, hop: Hop) -> None:
        batch = Batch()
        batch.add(wire.encode(), hop)
        self.engine.receive(batch, 0, self.out)

    def _settle(self) -> None:
        while self.out.has_events:
            for event in self.out.take_events():
                if event.kind == EventKind.EXHAUSTED:
                    self.forwarding.exhausted(event.id, event.status, event.text, 0)
                elif event.kind == EventKind.CALL:
                    self.forwarding.settled(event.id)
        self._note(OWN, self.out)
        for number, payload in self.out.take_frames():
            told = Output()
            self.other.receive_bus(OWN, payload, 0, told)
            self._note(number, told)
        self.out.clear()

    def _note(self, holder: int, out: Output) -> None:
        for hop, wire, transaction in out.sends():
            message = Message.parse(wire)
            if message.is_request and message.method == "INVITE":
                self.tried.append((holder, hop.flow))
                self._sent[hop.flow] = (holder, transaction, hop, wire)
            elif not message.is_request and message.status > 100:
                self.statuses.append(message.status)


@pytest.fixture
def member() -> Member:
    return Member()


def test_a_phone_is_reached_by_its_flow_on_whichever_member(member: Member) -> None:
    member.forward(member.flow(7), member.flow(8, OTHER))
    assert member.tried == [(OWN, 7), (OTHER, 8)]


def test_a_flow_that_is_known_to_be_dead_is_passed_over(member: Member) -> None:
    member.closed.add(7)
    member.forward(member.flow(7, others=(member.flow(8, DEAD), member.flow(9, OTHER))))
    assert member.tried == [(OTHER, 9)]


def test_without_a_flow_that_lives_the_caller_gets_480(member: Member) -> None:
    member.forward(member.flow(7, DEAD))
    assert member.statuses == [480]
    assert not member.tried
    assert not member.engine.counters()["calls"]


def test_a_later_step_is_taken_where_the_first_has_no_flow(member: Member) -> None:
    member.forward(member.flow(7, DEAD), later=(Step((member.flow(8),)),))
    assert member.tried == [(OWN, 8)]


def test_the_next_flow_is_tried_when_one_proves_dead(member: Member) -> None:
    member.forward(member.flow(7, OTHER, others=(member.flow(8, OTHER), member.flow(9))))
    member.fails(7)
    member.fails(8)
    assert member.tried == [(OTHER, 7), (OTHER, 8), (OWN, 9)]
    assert not member.statuses
    member.answers(9, 200)
    assert member.statuses == [200]
    assert not member.forwarding.waiting


def test_when_all_flows_have_proved_dead_the_caller_gets_480(member: Member) -> None:
    member.forward(member.flow(7, others=(member.flow(8),)))
    member.fails(7)
    member.fails(8)
    assert member.statuses == [480]
    counters = member.engine.counters()
    assert (counters["calls"], counters["forks"], member.forwarding.waiting) == (0, 0, 0)


def test_a_phone_that_refuses_is_not_tried_by_another_flow(member: Member) -> None:
    member.forward(member.flow(7, others=(member.flow(8),)))
    member.answers(7, 486)
    assert member.tried == [(OWN, 7)]
    assert member.statuses == [486]


def test_the_refusal_of_one_phone_counts_more_than_the_dead_flow_of_another(
    member: Member,
) -> None:
    member.forward(member.flow(7), member.flow(8, OTHER))
    member.fails(8)
    member.answers(7, 486)
    assert member.statuses == [486]


def test_locals_are_told_by_transport_and_family() -> None:
    points = [
        Listen(Transport.TCP, HostPort("127.0.0.1", 5060)),
        Listen(Transport.UDP, HostPort("::1", 5060)),
        Listen(Transport.UDP, HostPort("127.0.0.1", 5060)),
        Listen(Transport.UDP, HostPort("127.0.0.2", 5060)),
    ]
    assert locals_of(points) == {"tcp": 0, "udp6": 1, "udp": 2}
