"""A phone bound to a member that dies comes back through another; its callers wait (DESIGN §4)."""

import asyncio
from random import Random

import pytest

from sipfarm.testing.bus import BusOptions
from sipfarm.testing.checkers import Checkers
from sipfarm.testing.farm import DOMAIN, FarmOptions, SimFarm
from sipfarm.testing.net import NetOptions
from sipfarm.testing.phone_calls import AnswerPlan, CallPlan, OutgoingCall
from sipfarm.testing.sim_member import MemberOptions
from sipfarm.testing.sim_place import PlaceOptions

SEEDS = range(12)
BOB = f"sip:bob@{DOMAIN}"
SETTLED_MS = 4_000
WAIT_MS = 5_000


class Deserted:
    """Bob has registered, and the member that his flow is bound to has died."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        options = FarmOptions(
            members=3,
            net=NetOptions(duplicate=random.choice((0.0, 0.2)), delay_ms=(1, 40)),
            bus=BusOptions(delay_ms=(0, 3), dial_ms=(1, 5)),
            member=MemberOptions(bound_to_receiver=True, place=PlaceOptions(heartbeats=True)),
        )
        self.farm = SimFarm(seed, options)
        self.alice, self.bob = self.farm.phone("alice"), self.farm.phone("bob")
        self.bob.answer = lambda invite: AnswerPlan(ring_ms=10, answer_ms=300, talk_ms=1_000)
        for name in ("alice", "bob"):
            self.farm.account(name)
        self.checkers = Checkers(self.farm)
        self.farm.begin()
        self.bob.register(BOB, DOMAIN, outbound=True)
        self.farm.run(1_000)
        assert self.bob.registered == [200]
        self.farm.crash(self._holder())
        self.farm.run(SETTLED_MS)

    def call(self, plan: CallPlan) -> OutgoingCall:
        return self.alice.call(OutgoingCall(BOB, DOMAIN, plan, f"call@{self.farm.clock.now_ms()}"))

    def at_rest(self) -> None:
        assert self.farm.run_until_quiet(600_000)
        self.farm.outlive_directories()
        self.checkers.at_rest()
        assert not self.checkers.violations
        for member in self.farm.running:
            assert not len(member.users.forwarding.reconnections)

    def _holder(self) -> str:
        farm = self.farm
        bound = asyncio.run(farm.store.bindings(BOB, farm.clock.wall_ms()))
        opened = farm.members["m1"].engine.open_flow(bound[0].flow, bound[0].received)
        assert opened is not None
        return next(
            name for name, member in farm.members.items() if member.record.number == opened[0]
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_call_goes_on_when_the_phone_registers_in_time(seed: int) -> None:
    deserted = Deserted(seed)
    call = deserted.call(CallPlan())
    deserted.farm.run(3_000)
    assert not call.statuses
    assert not call.dialogs
    deserted.bob.register(BOB, DOMAIN, outbound=True)
    deserted.farm.run(2_500)
    assert len(call.dialogs) == 1
    deserted.at_rest()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_call_is_refused_when_the_phone_stays_away(seed: int) -> None:
    deserted = Deserted(seed)
    call = deserted.call(CallPlan())
    deserted.farm.run(WAIT_MS - 500)
    assert not call.statuses
    deserted.farm.run(2_000)
    assert call.statuses == [480]
    deserted.at_rest()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_caller_who_gives_up_waits_no_longer(seed: int) -> None:
    deserted = Deserted(seed)
    call = deserted.call(CallPlan(patience_ms=1_500))
    deserted.farm.run(3_500)
    assert call.statuses == [487]
    deserted.bob.register(BOB, DOMAIN, outbound=True)
    deserted.farm.run(2_000)
    assert not deserted.bob.incoming
    deserted.at_rest()
