"""Failure detection in whole farms: partitions, stops, deaths, a store that is away; by seeds."""

import pytest

from sipfarm.base.farm_view import ViewState
from sipfarm.cluster.wire import OwnState
from tests.cluster.membership_sim import SimFarm

SEEDS = 60


def trouble(farm: SimFarm) -> None:
    """One thing that goes wrong, and ends after a while."""
    draw = farm.random
    name, other = draw.sample(sorted(farm.members), 2)
    member = farm.members[name]
    lasts_ms = draw.choice([100, 700, 1_500, 2_500, 5_000])
    what = draw.randrange(7)
    if what == 0 and member.alive:
        farm.kill(name)
        farm.after(lasts_ms, lambda: farm.start(name))
    elif what == 1 and member.alive and not member.stopped:
        farm.stop(name)
        farm.after(lasts_ms, lambda: farm.wake(name) if farm.members[name] is member else None)
    elif what == 2:
        farm.cut_between(name, other, cut=True)
        farm.after(lasts_ms, lambda: farm.cut_between(name, other, cut=False))
    elif what == 3:
        farm.cut_store(name, cut=True)
        farm.after(lasts_ms, lambda: farm.cut_store(name, cut=False))
    elif what == 4:
        farm.set_store_away(True)
        farm.after(lasts_ms, lambda: farm.set_store_away(False))
    elif what == 5:
        for peer in farm.members:
            if peer != name:
                farm.cut_between(name, peer, cut=True)
                farm.after(lasts_ms, lambda peer=peer: farm.cut_between(name, peer, cut=False))
    else:
        member.state = draw.choice(list(OwnState))
        farm.loss = draw.choice([0.0, 0.05, 0.3])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_goes_wrong_the_views_agree_in_the_end(seed: int) -> None:
    farm = SimFarm(seed, members=2 + seed % 4)
    farm.run(3_000)
    farm.check_at_rest()
    for _ in range(12):
        trouble(farm)
        farm.run(farm.random.choice([50, 500, 1_500, 4_000]))
    farm.run(6_000)
    farm.heal()
    farm.run(8_000)
    farm.check_at_rest()


@pytest.mark.parametrize("phase_ms", range(0, 500, 50))
def test_a_killed_member_is_dead_to_all_within_two_and_a_half_seconds(phase_ms: int) -> None:
    farm = SimFarm(phase_ms, members=3)
    farm.run(4_000 + phase_ms)
    farm.kill("m2")
    number = 2
    farm.run(750)
    states = [m.membership.view().member(number) for m in farm.living() if m.membership]
    assert [seen.state for seen in states if seen] == [ViewState.READY] * 2
    farm.run(550)
    states = [m.membership.view().member(number) for m in farm.living() if m.membership]
    assert [seen.state for seen in states if seen] == [ViewState.SUSPECTED] * 2
    farm.run(1_200)
    states = [m.membership.view().member(number) for m in farm.living() if m.membership]
    assert [seen.state for seen in states if seen] == [ViewState.DEAD] * 2
    farm.start("m2")
    farm.run(1_500)
    farm.check_at_rest()


def test_two_that_do_not_hear_each_other_suspect_each_other_and_no_more() -> None:
    farm = SimFarm(1, members=3)
    farm.run(3_000)
    before = [m.incarnation for m in farm.living()]
    farm.cut_between("m1", "m2", cut=True)
    farm.run(20_000)
    assert not farm.tombstoned
    one = farm.members["m1"].membership
    assert one is not None
    assert [member.state for member in one.view().members] == [
        ViewState.READY,
        ViewState.SUSPECTED,
        ViewState.READY,
    ]
    farm.heal()
    farm.run(1_000)
    farm.check_at_rest()
    assert [m.incarnation for m in farm.living()] == before


def test_nobody_is_tombstoned_while_the_store_is_away() -> None:
    farm = SimFarm(2, members=3)
    farm.run(3_000)
    farm.set_store_away(True)
    farm.run(400)
    farm.kill("m3")
    farm.run(10_000)
    assert not farm.tombstoned
    one = farm.members["m1"].membership
    assert one is not None
    assert [m.state for m in one.view().members][2] is ViewState.SUSPECTED
    farm.set_store_away(False)
    farm.run(3_000)
    assert len(farm.tombstoned) == 1
    farm.check_at_rest()


def test_a_stopped_member_finds_itself_dead_and_comes_back_as_another() -> None:
    farm = SimFarm(3, members=3)
    farm.run(3_000)
    stopped = farm.members["m2"]
    before = stopped.incarnation
    farm.stop("m2")
    farm.run(5_000)
    assert before in farm.tombstoned
    farm.wake("m2")
    farm.run(2_000)
    assert stopped.incarnation == (before[0], before[1] + 1)
    farm.check_at_rest()


def test_a_short_stop_is_forgiven_on_both_sides() -> None:
    farm = SimFarm(4, members=3)
    farm.run(3_000)
    farm.stop("m1")
    farm.run(1_400)
    farm.wake("m1")
    farm.run(1_000)
    assert not farm.tombstoned
    farm.check_at_rest()
