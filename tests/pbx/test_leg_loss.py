"""A whole call with every single datagram lost in turn, and with silence from every point on."""

import heapq
from collections.abc import Callable, Sequence
from itertools import count

import msgspec
import pytest

from sipfarm.media.plan import CloseMedia, OpenMedia
from sipfarm.pbx.leg import Leg
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import (
    Ended,
    Released,
    Respond,
    Retransmit,
    SendAck,
    SendRequest,
)
from sipfarm.testing.scripted_ua import Ladder, PlainRequest

Offer = Callable[..., bytes]
Idle = Callable[[], Ladder[Leg]]
DELAY_MS = 20
QUIET_MS = 8_000_000


class LossyWire:
    """A leg and a peer joined by datagrams, with the retransmissions of transactions at both ends.

    `lost` says by its number whether a datagram is lost.
    """

    def __init__(self, ladder: Ladder[Leg], offer: bytes, lost: Callable[[int], bool]) -> None:
        self.ladder = ladder
        self.leg = ladder.endpoint
        self.offer = offer
        self.lost = lost
        self.sent = 0
        self.now_ms = 0
        self._order = count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._answers: dict[int, Respond] = {}  # of the farm, by transaction
        self._asked: dict[int, PlainRequest] = {}
        self._finished: set[int] = set()  # transactions of the peer
        self._replied: set[int] = set()  # keys of the farm

    def at(self, delay_ms: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_ms + delay_ms, next(self._order), act))

    def run(self) -> None:
        """Go from event to event until nothing is left."""
        while True:
            deadline_ms = self.leg.next_deadline_ms()
            nearest = min((self._due[0][0] if self._due else QUIET_MS), deadline_ms or QUIET_MS)
            if nearest >= QUIET_MS:
                return
            self.now_ms = self.ladder.now_ms = max(self.now_ms, nearest)
            if self._due and self._due[0][0] <= self.now_ms:
                heapq.heappop(self._due)[2]()
            else:
                self.carry(self.leg.expire(self.now_ms))

    def datagram(self, arrive: Callable[[], None]) -> None:
        self.sent += 1
        if not self.lost(self.sent):
            self.at(DELAY_MS, arrive)

    def ask(self, request: PlainRequest, interval_ms: int = 500, waited_ms: int = 0) -> None:
        """The peer's client transaction: repeat until a final response, or 32 s."""
        if request.transaction in self._finished or waited_ms >= 32_000:
            return
        self._asked[request.transaction] = request
        self.datagram(lambda: self.arrive(request))
        self.at(interval_ms, lambda: self.ask(request, 2 * interval_ms, waited_ms + interval_ms))

    def ask_within(self, method: str, body: bytes = b"") -> None:
        """A request within the dialog, once the peer has one."""
        if self.ladder.peer.farm_tag:
            self.ask(self.ladder.peer.request(method, body))

    def arrive(self, request: PlainRequest) -> None:
        """The farm's server transaction absorbs what it saw already."""
        answer = self._answers.get(request.transaction)
        if answer is not None:
            self.respond(answer)
        elif request.transaction not in self._answers:
            self.carry(self.leg.receive(request, self.now_ms))

    def respond(self, respond: Respond) -> None:
        self._answers[respond.transaction] = respond
        self.datagram(lambda: self.responded(respond))

    def responded(self, respond: Respond) -> None:
        """The peer learns of a final response, and acknowledges each 2xx to an INVITE."""
        request = self._asked[respond.transaction]
        self._finished.add(respond.transaction)
        if request.method == "INVITE" and respond.status < 300:
            self.ladder.peer.hear(respond)
            ack = self.ladder.peer.request("ACK", cseq=request.cseq)
            self.datagram(lambda: self.carry(self.leg.ack(ack, self.now_ms)))

    def request(self, sent: SendRequest, interval_ms: int = 500, waited_ms: int = 0) -> None:
        """The farm's client transaction."""
        if sent.key in self._replied:
            return
        if waited_ms >= 32_000:
            self._replied.add(sent.key)
            self.carry(self.leg.response(sent.key, None, self.now_ms))
            return
        self.datagram(lambda: self.reply(sent))
        again_ms = min(2 * interval_ms, 4_000)
        self.at(interval_ms, lambda: self.request(sent, again_ms, waited_ms + interval_ms))

    def reply(self, sent: SendRequest) -> None:
        body = self.offer if sent.body else b""
        headers = (("Session-Expires", "1800;refresher=uac"),)
        response = self.ladder.peer.response(sent, 200, body, headers)

        def replied() -> None:
            if sent.key not in self._replied:
                self._replied.add(sent.key)
                self.carry(self.leg.response(sent.key, response, self.now_ms))

        self.datagram(replied)

    def carry(self, outputs: Sequence[object]) -> None:
        for output in outputs:
            match output:
                case Respond():
                    self.respond(output)
                case Retransmit(transaction):
                    self.respond(self._answers[transaction])
                case SendRequest():
                    self.request(output)
                case SendAck():
                    self.datagram(lambda: None)
                case _:
                    assert isinstance(output, msgspec.Struct)
                    self.ladder.outputs.append(output)  # pyright: ignore[reportArgumentType]


def play(
    idle: Idle, offer: Offer, lost: Callable[[int], bool], *, farm_hangs_up: bool
) -> LossyWire:
    """Invite, answer, hold by the peer, hang up by one side; returns at rest."""
    wire = LossyWire(idle(), offer(), lost)
    peer = wire.ladder.peer
    wire.ask(peer.request("INVITE", offer()))
    wire.at(10_000, lambda: wire.carry(wire.leg.answer(wire.now_ms, 4 * 3_600_000)))
    wire.at(60_000, lambda: wire.ask_within("INVITE", offer("a=sendonly", version=2)))
    if farm_hangs_up:
        wire.at(120_000, lambda: wire.carry(wire.leg.hang_up(wire.now_ms)))
    else:
        wire.at(120_000, lambda: wire.ask_within("BYE"))
    wire.run()
    return wire


def check_at_rest(wire: LossyWire) -> None:
    kinds = [type(output) for output in wire.ladder.outputs]
    assert wire.leg.state is State.TERMINATED
    assert wire.leg.next_deadline_ms() is None
    assert kinds.count(Ended) == kinds.count(Released) == kinds.count(CloseMedia) == 1
    assert kinds.count(OpenMedia) <= 1


def ended(wire: LossyWire) -> str:
    return next(o.reason.value for o in wire.ladder.outputs if isinstance(o, Ended))


@pytest.mark.parametrize("farm_hangs_up", [False, True])
def test_one_lost_datagram_harms_no_call(farm_hangs_up: bool, idle: Idle, offer: Offer) -> None:
    whole = play(idle, offer, lambda _: False, farm_hangs_up=farm_hangs_up)
    check_at_rest(whole)
    reason = "bye_sent" if farm_hangs_up else "bye_received"
    assert ended(whole) == reason
    for lost in range(1, whole.sent + 1):
        wire = play(idle, offer, lambda n, k=lost: n == k, farm_hangs_up=farm_hangs_up)
        check_at_rest(wire)
        assert ended(wire) == reason, f"datagram {lost}"


@pytest.mark.parametrize("farm_hangs_up", [False, True])
def test_silence_from_any_point_on_still_ends_the_call(
    farm_hangs_up: bool, idle: Idle, offer: Offer
) -> None:
    whole = play(idle, offer, lambda _: False, farm_hangs_up=farm_hangs_up)
    for last in range(1, whole.sent + 1):
        wire = play(idle, offer, lambda n, k=last: n > k, farm_hangs_up=farm_hangs_up)
        if wire.leg.state is not State.IDLE:
            check_at_rest(wire)
