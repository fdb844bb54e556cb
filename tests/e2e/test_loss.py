"""Five packets of a hundred are lost each way: no call fails, and none is made twice."""

from collections.abc import Callable, Iterator

import pytest

from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.phone import Phone
from sipfarm.testing.phone_calls import AnswerPlan, CallPlan, OutgoingCall
from sipfarm.testing.phone_dialogs import Dialog
from sipfarm.testing.phone_sockets import SocketNet
from sipfarm.testing.plain_phone import PlainPhone
from sipfarm.testing.real_farm import DOMAIN, RealFarm

pytestmark = pytest.mark.timeout(120)

MEMBERS = 3
CALLS = 60
GAP_MS = 20
LOSS = 0.05
SEED = 20_241
WITHIN_S = 40.0
REGISTRATIONS = 20


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> Iterator[RealFarm]:
    started = start_farm(members=MEMBERS)
    started.wait_for({"m1": "ready", "m2": "ready", "m3": "ready"}, 20.0)
    PacketBalancer(started.listen, started.pids).at_random()
    yield started
    started.wait_calls_over()
    started.end()


class Flow:
    """Calls of one phone to an account that some phones are registered for."""

    def __init__(
        self, farm: RealFarm, net: SocketNet, number: int, answers: list[AnswerPlan]
    ) -> None:
        self.user = farm.unused_user()
        self._farm = farm
        self._net = net
        self.caller = self._phone(f"{self.user}-caller", 10 * number)
        self.called = [
            self._phone(f"{self.user}-{index}", 10 * number + 1 + index)
            for index in range(len(answers))
        ]
        for phone, answer in zip(self.called, answers, strict=True):
            phone.answer = lambda invite, answer=answer: answer
            phone.register(f"sip:{self.user}@{DOMAIN}", DOMAIN)
        self.calls: list[OutgoingCall] = []

    @property
    def is_registered(self) -> bool:
        return all(phone.registered == [200] for phone in self.called)

    @property
    def is_settled(self) -> bool:
        """Every call has its answer, and is over at both ends; nothing of it waits for one."""
        ringing = any(not call.status for phone in self.called for call in phone.incoming)
        return (
            not ringing
            and all(call.is_settled for call in self.calls)
            and all(early.updates for call in self.calls for early in call.early.values())
            and all(dialog.byes or dialog.bye_received for dialog in self.dialogs)
        )

    @property
    def dialogs(self) -> list[Dialog]:
        return [
            dialog for phone in (self.caller, *self.called) for dialog in phone.dialogs.values()
        ]

    @property
    def early(self) -> int:
        """How many re-INVITEs the called phones refused since an ACK had not come."""
        return sum(dialog.refused for phone in self.called for dialog in phone.dialogs.values())

    def start(self, plan: CallPlan) -> None:
        for number in range(CALLS):
            call = OutgoingCall(f"sip:{self.user}@{DOMAIN}", DOMAIN, plan, f"{self.user}-{number}")
            self.calls.append(call)
            self._net.clock.call_later(GAP_MS * number, lambda call=call: self.caller.call(call))

    def check(self, *statuses: int) -> None:
        """Each call came to this status, and rang once at each phone, which answered so."""
        assert [call.statuses for call in self.calls] == [[statuses[0]]] * CALLS
        for phone, status in zip(self.called, statuses[1:], strict=True):
            assert [call.status for call in phone.incoming] == [status] * CALLS
            assert len({call.server.request.call_id for call in phone.incoming}) == CALLS
        hung_up = [dialog.byes for dialog in self.dialogs if dialog.byes]
        assert hung_up == [[200]] * (CALLS if statuses[0] == 200 else 0)

    def _phone(self, name: str, host: int) -> Phone:
        address = self._farm.trusted(host)
        listen = self._farm.listen
        return Phone(
            name,
            (address.host, address.port),
            (listen.host, listen.port),
            self._net,
            self._net.clock,
        )


def test_flows_go_through_although_packets_are_lost(farm: RealFarm) -> None:
    """All at once: most of the time they wait for what is sent again."""
    with SocketNet(SEED, LOSS) as net:
        cancelled = Flow(farm, net, 0, [AnswerPlan(ring_ms=1, status=0)])
        held = Flow(farm, net, 1, [AnswerPlan(answer_ms=50)])
        holding = Flow(farm, net, 2, [AnswerPlan(answer_ms=50, reinvite_ms=300, talk_ms=1_500)])
        forked = Flow(
            farm, net, 3, [AnswerPlan(ring_ms=1, answer_ms=2_000), AnswerPlan(ring_ms=1, status=0)]
        )
        reliable = Flow(farm, net, 4, [AnswerPlan(reliable=True)])
        busy = Flow(farm, net, 5, [AnswerPlan(status=486)])
        flows = (cancelled, held, holding, forked, reliable, busy)
        assert net.run_until(lambda: all(flow.is_registered for flow in flows), WITHIN_S)
        cancelled.start(CallPlan(patience_ms=500))
        held.start(CallPlan(reinvite_ms=300, talk_ms=1_500))
        holding.start(CallPlan())
        forked.start(CallPlan(talk_ms=200))
        reliable.start(CallPlan(reliable=True, talk_ms=200))
        busy.start(CallPlan())
        assert net.run_until(lambda: all(flow.is_settled for flow in flows), WITHIN_S), flows
        assert net.run_until(lambda: farm.total("sipfarm_sip_calls") == 0, WITHIN_S)
        assert net.lost > 100
    cancelled.check(487, 487)
    assert [call.cancel_status for call in cancelled.calls] == [200] * CALLS
    held.check(200, 200)
    # 500 is the called phone's own: the ACK that it waits for was lost (RFC 3261 §14.2).
    assert sorted(reinvites(held.caller)) == [[200]] * (CALLS - held.early) + [[500]] * held.early
    assert held.early <= CALLS // 3
    holding.check(200, 200)
    assert reinvites(holding.called[0]) == [[200]] * CALLS
    forked.check(200, 200, 487)
    reliable.check(200, 200)
    early = [dialog for call in reliable.calls for dialog in call.early.values()]
    assert [(one.pracks, one.updates) for one in early] == [([200], [200])] * CALLS
    busy.check(486, 486)


def test_phones_register_with_digest_although_packets_are_lost(farm: RealFarm) -> None:
    with PlainPhone(farm.untrusted(1), farm.listen, LOSS, SEED) as phone:
        users = [farm.unused_user() for _ in range(REGISTRATIONS)]
        answers = [phone.register(user, DOMAIN).status for user in users]
    assert answers == [200] * REGISTRATIONS
    assert {f"sip:{user}@{DOMAIN}" for user in users} <= {
        found.aor for found in farm.registrations()
    }


def reinvites(phone: Phone) -> list[list[int]]:
    """The final answers that a phone got to its re-INVITEs, for each call."""
    return [dialog.reinvites for dialog in phone.dialogs.values()]
