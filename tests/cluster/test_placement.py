"""Where new work goes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.farm_view import Load, MemberInView, View, ViewState
from sipfarm.cluster.placement import PlacementSettings, choose, score

SETTINGS = PlacementSettings()
IDLE, BUSY = Load(), Load(cpu_permille=900)
draws = st.integers(0, 2**64 - 1)
loads = st.builds(Load, *[st.integers(-10, 10**7)] * 4)


def member(number: int, load: Load, state: ViewState = ViewState.READY) -> MemberInView:
    return MemberInView(number, 1, f"m{number}", state, load)


def chosen(*members: MemberInView, draw: int = 0) -> int:
    return choose(members[0], View(members), draw, SETTINGS)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (IDLE, 0.0),
        (Load(50, 100, 0, 0), 0.5),
        (Load(0, 100, 0, 300), 0.3),
        (Load(0, 0, 70_000, 0), 0.7),
        (Load(10_000, 0, 0, 0), 1.0),
        (Load(-5, -5, -5, -5), 0.0),
    ],
)
def test_the_score_is_that_of_the_scarcest(load: Load, expected: float) -> None:
    assert score(load, SETTINGS) == expected


@given(loads)
def test_a_score_is_between_idle_and_full(load: Load) -> None:
    assert 0 <= score(load, SETTINGS) <= 1


@given(draws)
def test_work_stays_unless_another_is_clearly_less_busy(draw: int) -> None:
    slightly, clearly = Load(cpu_permille=150), Load(cpu_permille=151)
    assert chosen(member(1, slightly), member(2, IDLE), draw=draw) == 1
    assert chosen(member(1, clearly), member(2, IDLE), draw=draw) == 2


@given(draws, st.sampled_from([ViewState.DRAINING, ViewState.SUSPECTED]))
def test_a_member_that_is_not_ready_passes_it_on_even_to_a_busy_one(
    draw: int, state: ViewState
) -> None:
    assert chosen(member(1, IDLE, state), member(2, BUSY), draw=draw) == 2


@given(draws, st.sampled_from([ViewState.DRAINING, ViewState.SUSPECTED, ViewState.DEAD]))
def test_only_ready_members_get_new_work(draw: int, state: ViewState) -> None:
    assert chosen(member(1, BUSY), member(2, IDLE, state), draw=draw) == 1
    assert chosen(member(1, BUSY, ViewState.DRAINING), member(2, IDLE, state), draw=draw) == 1


@given(draws, st.lists(st.sampled_from([IDLE, BUSY]), min_size=2, max_size=6))
def test_two_different_others_are_sampled_and_the_less_busy_gets_it(
    draw: int, others: list[Load]
) -> None:
    members = [member(number, load) for number, load in enumerate(others, start=2)]
    got = chosen(member(1, BUSY), *members, draw=draw)
    if others.count(BUSY) < 2:
        assert got != 1, "of any two others one is idle"
    assert got == 1 or others[got - 2] == IDLE


def test_the_draw_spreads_the_work() -> None:
    source = random.Random(5)
    counts = dict.fromkeys(range(1, 6), 0)
    members = [member(1, BUSY), *(member(number, IDLE) for number in range(2, 6))]
    for _ in range(2_000):
        counts[chosen(*members, draw=source.getrandbits(64))] += 1
    assert counts[1] == 0
    assert all(abs(counts[number] - 500) < 100 for number in range(2, 6)), counts
