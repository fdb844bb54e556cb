"""Decisions carried out by the engine: which flow of a phone is tried, and which one after it."""

import re

import pytest

from sipfarm.base.net import HostPort, Listen, Transport
from sipfarm.base.records import Binding
from sipfarm.native import Batch, Engine, EventKind, Hop, Message, Output, PortPool
from sipfarm.node.forwarding import Forwarding, locals_of
from sipfarm.node.media_path import network_of_caller
from sipfarm.node.reconnection import ReconnectionSettings
from sipfarm.signaling.routing import Forward, MediaMode, Step, Target

KEY = bytes(range(16))
BOB = "sip:bob@example.test"
WAIT_MS = 5_000
WAITING_MAX = 2
PHONE = "ws:192.0.2.7:40000"
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0\r\n"
)
RELAY = "127.0.0.1"
OWN, OTHER, DEAD = 1, 2, 3
"""Numbers of members: this one, one that lives, one that does not."""


LISTENS = [("udp", 5060), ("tcp", 5060), ("ws", 8080)]


def engine_of(member: int) -> Engine:
    ports = PortPool()
    for port in range(20_000, 20_020, 2):
        ports.add(port)
    engine = Engine(
        ports,
        listens=[(Hop(kind, "127.0.0.1", port), "farm.test", port) for kind, port in LISTENS],
        member=member,
        epoch=1,
        mark_key=KEY,
        transaction_key=KEY,
        media=RELAY,
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
        settings = ReconnectionSettings(wait_ms=WAIT_MS, waiting_max=WAITING_MAX)
        self.forwarding = Forwarding(
            self.engine, self.out, locals_of(points), self.holder_of, settings
        )
        self.now_ms = 0
        self.looked_up: list[str] = []
        self._calls = 0
        self.statuses: list[int] = []
        self.tried: list[tuple[int, int]] = []
        """(member, flow) of each INVITE that was written to a connection."""
        self.offered: list[str] = []
        """The address for media in each of them."""
        self._sent: dict[int, tuple[int, int, Hop, bytes]] = {}

    def holder_of(self, number: int, epoch: int, flow: int) -> int | None:
        if number == DEAD or flow in self.closed:
            return None
        return 0 if number == OWN else number

    def flow(self, flow: int, member: int = OWN, others: tuple[Target, ...] = ()) -> Target:
        """A binding over a connection of a member."""
        mark = engine_of(member).mint_flow(flow, PHONE)
        uri = "sip:bob@192.0.2.7;transport=ws"
        return Target(uri, (), PHONE, mark, others=others, aor=BOB)

    def forward(
        self, *targets: Target, later: tuple[Step, ...] = (), media: MediaMode = "direct"
    ) -> int:
        """Alice calls; the transaction of her INVITE."""
        steps = (Step(targets), *later)
        invite = self._invited()
        decision = Forward(steps, media=media)
        self.looked_up += self.forwarding.carry_out(
            invite.transaction, decision, self.now_ms, caller=network_of_caller(invite)
        )
        self._settle()
        return invite.transaction

    def registers(self, *flows: tuple[int, int], phone: str = PHONE) -> None:
        """Bob's phone has these bindings now: (flow, member)."""
        host = phone.split(":")[1]
        bindings = [
            Binding(
                *(BOB, f"sip:bob@{host}:{5060 + flow}", f"{flow}", "reg", 1, 3_600_000),
                received=phone,
                flow=engine_of(member).mint_flow(flow, phone),
            )
            for flow, member in flows
        ]
        self.forwarding.registered(BOB, bindings, self.now_ms)
        self._settle()

    def waits(self, wait_ms: int) -> None:
        self.now_ms += wait_ms
        self.forwarding.expire(self.now_ms)
        self.engine.expire(self.now_ms, self.out)
        self._settle()

    def cancels(self) -> None:
        """Alice gives her last call up."""
        self._receive(self._request("CANCEL"), Hop("udp", "192.0.2.1", 5060))
        self._settle()

    def fails(self, flow: int) -> None:
        """The flow proves dead."""
        holder, transaction, _, _ = self._sent[flow]
        if holder == OWN:
            self.engine.transport_failed(transaction, self.now_ms, self.out)
        else:
            told = Output()
            self.other.transport_failed(transaction, 0, told)
            for _, payload in told.take_frames():
                self.engine.receive_bus(OTHER, payload, self.now_ms, self.out)
        self._settle()

    def answers(self, flow: int, status: int) -> None:
        """The phone answers over a flow of this member."""
        _, _, hop, wire = self._sent[flow]
        request = Message.parse(wire)
        vias = "".join(f"Via: {via}\r\n" for via in request.values("Via"))
        response = (
            f"SIP/2.0 {status} Answer\r\n{vias}From: {request.header('From')}\r\n"
            f"To: {request.header('To')};tag=2\r\nCall-ID: {request.call_id}\r\n"
            "CSeq: 1 INVITE\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        self._receive(response, hop)
        self._settle()

    def _invited(self) -> Message:
        self._calls += 1
        self._receive(self._request("INVITE", OFFER), Hop("udp", "192.0.2.1", 5060))
        (event,) = self.out.take_events()
        assert event.message is not None
        return event.message

    def _request(self, method: str, body: str = "") -> str:
        return (
            f"{method} sip:bob@example.test SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{self._calls}\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag=1\r\n"
            f"To: <sip:bob@example.test>\r\nCall-ID: {self._calls}\r\nCSeq: 1 {method}\r\n"
            "Contact: <sip:alice@192.0.2.1>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def _receive(self, wire: str, hop: Hop) -> None:
        batch = Batch()
        batch.add(wire.encode(), hop)
        self.engine.receive(batch, self.now_ms, self.out)

    def _settle(self) -> None:
        while self.out.has_events:
            for event in self.out.take_events():
                if event.kind == EventKind.EXHAUSTED:
                    self.looked_up += self.forwarding.exhausted(
                        event.id, event.status, event.text, self.now_ms
                    )
                elif event.kind == EventKind.CANCEL:
                    self.forwarding.settled(event.id)
                    self.engine.respond(event.id, 487, "", (), b"", "", self.now_ms, self.out)
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
                (connection,) = re.findall(r"(?m)^c=IN IP4 (\S+)\r$", message.body.decode())
                self.offered.append(connection)
                self._sent[hop.flow] = (holder, transaction, hop, wire)
            elif not message.is_request and message.status > 100 and message.method == "INVITE":
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


def test_without_a_flow_that_lives_the_caller_gets_480_when_nobody_registers(
    member: Member,
) -> None:
    member.forward(member.flow(7, DEAD))
    assert member.looked_up == [BOB]
    member.waits(WAIT_MS - 1)
    assert not member.statuses
    member.waits(1)
    assert member.statuses == [480]
    assert not member.tried
    assert not member.engine.counters()["calls"]
    assert not len(member.forwarding.reconnections)


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


def test_when_all_flows_have_proved_dead_the_caller_gets_480_in_the_end(member: Member) -> None:
    member.forward(member.flow(7, others=(member.flow(8),)))
    member.fails(7)
    member.fails(8)
    member.waits(WAIT_MS)
    assert member.statuses == [480]
    counters = member.engine.counters()
    assert (counters["calls"], counters["forks"], member.forwarding.waiting) == (0, 0, 0)


@pytest.mark.parametrize("proves_dead", [True, False])
def test_a_call_goes_on_to_the_flow_of_a_new_registration(
    member: Member, proves_dead: bool
) -> None:
    """RFC 5626 §5.3: the flow that is gone is known as such, or found out."""
    if not proves_dead:
        member.closed.add(7)
    member.forward(member.flow(7))
    if proves_dead:
        member.fails(7)
    member.waits(WAIT_MS - 1)
    member.registers((7, OWN), (8, OTHER))
    assert member.tried[-1] == (OTHER, 8)
    member.waits(WAIT_MS)
    assert not member.statuses  # its phone may ring as long as any
    member.fails(8)
    member.registers((8, OTHER), (9, OWN))
    member.answers(9, 200)
    assert member.statuses == [200]
    assert not len(member.forwarding.reconnections)


@pytest.mark.parametrize(
    ("phone", "offered"), [("ws:192.0.2.8:40000", "192.0.2.1"), ("ws:203.0.113.7:40000", RELAY)]
)
def test_media_go_by_the_relay_when_the_phone_comes_back_from_another_network(
    member: Member, phone: str, offered: str
) -> None:
    member.forward(member.flow(7), media="auto")
    assert member.offered == ["192.0.2.1"]
    member.fails(7)
    member.registers((8, OWN), phone=phone)
    assert member.offered == ["192.0.2.1", offered]


def test_media_that_are_to_go_direct_do_so_wherever_the_phone_is(member: Member) -> None:
    member.forward(member.flow(7), media="direct")
    member.fails(7)
    member.registers((8, OWN), phone="ws:203.0.113.7:40000")
    assert member.offered == ["192.0.2.1"] * 2


def test_the_media_of_all_steps_go_the_way_that_one_of_them_needs(member: Member) -> None:
    elsewhere = Target("sip:bob@203.0.113.7", (), "udp:203.0.113.7:5060")
    member.forward(member.flow(7), later=(Step((elsewhere,)),), media="auto")
    assert member.offered == [RELAY]


def test_a_flow_that_has_proved_dead_is_not_tried_again(member: Member) -> None:
    member.forward(member.flow(7, OTHER))
    member.fails(7)
    member.registers((7, OTHER))
    assert member.tried == [(OTHER, 7)]
    assert member.looked_up == [BOB]
    member.waits(WAIT_MS)
    assert member.statuses == [480]


def test_a_flow_that_is_lost_again_is_waited_for_in_the_time_that_is_left(member: Member) -> None:
    member.forward(member.flow(7))
    member.fails(7)
    member.waits(WAIT_MS - 2)
    member.registers((8, OWN))
    member.fails(8)
    member.waits(1)
    assert not member.statuses
    member.waits(1)
    assert member.statuses == [480]


@pytest.mark.parametrize("proves_dead", [True, False])
def test_a_cancel_ends_the_waiting(member: Member, proves_dead: bool) -> None:
    """RFC 3261 §9.2, §16.10."""
    if not proves_dead:
        member.closed.add(7)
    member.forward(member.flow(7))
    if proves_dead:
        member.fails(7)
    member.cancels()
    assert member.statuses == [487]
    assert not len(member.forwarding.reconnections)
    tried = len(member.tried)
    member.registers((8, OWN))
    assert len(member.tried) == tried


def test_only_so_many_calls_wait(member: Member) -> None:
    for _ in range(WAITING_MAX + 1):
        member.forward(member.flow(7, DEAD))
    assert member.statuses == [480]
    assert member.forwarding.reconnections.refused == 1


def test_what_nobody_registers_is_not_waited_for(member: Member) -> None:
    mark = engine_of(DEAD).mint_flow(7, PHONE)
    member.forward(Target("sip:gateway@phone.invalid", (), PHONE, mark))
    assert member.statuses == [480]


def test_what_was_lost_by_sips_is_taken_up_by_sips_alone(member: Member) -> None:
    """RFC 3261 §16.5: security is kept to the end."""
    mark = engine_of(DEAD).mint_flow(7, PHONE)
    member.forward(Target("sips:bob@phone.invalid", (), PHONE, mark, aor=BOB))
    member.registers((8, OWN))
    assert not member.tried


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
