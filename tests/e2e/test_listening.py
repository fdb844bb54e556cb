"""A load test that listens: real calls, of which it hears what is wrong and nothing that is not."""

from collections.abc import Iterator

import pytest

from loadtests.call_ends import EndHeard, code_of, judge
from loadtests.listened_calls import ListenedCalls
from loadtests.tone_ends import Planted
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import FarmOptions, RealFarm

pytestmark = pytest.mark.timeout(300)

CALLS = 20
BROKEN, CONFUSED, STRANGER = 13, 7, 8


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFarm]:
    with lease_ports(10) as lease, Children() as children:
        folder = tmp_path_factory.mktemp("farm")
        yield RealFarm(children, lease, folder, FarmOptions(members=3))


def directions(ends: list[EndHeard]) -> dict[tuple[int, str], EndHeard]:
    return {(end.call, end.direction): end for end in ends}


@pytest.mark.parametrize("codec", ["PCMU", "G722", "opus"])
def test_good_calls_raise_no_alarm(farm: RealFarm, codec: str) -> None:
    calls = ListenedCalls(calls=CALLS, rate=10, seconds=4, codec=codec)
    ended = calls.run(farm)
    assert ended.failed == 0
    assert len(ended.ends) == 2 * CALLS
    assert not judge(ended.ends, range(1, CALLS + 1), calls.listen_ms)


def test_a_broken_leg_and_a_wrong_voice_are_named(farm: RealFarm) -> None:
    """Call, direction and second of each; of no other call anything."""
    planted = (
        Planted(BROKEN, "b", 3_000),
        Planted(CONFUSED, "a", 2_000, code_of(STRANGER, "a")),
    )
    calls = ListenedCalls(calls=CALLS, rate=10, seconds=4, planted=planted)
    ended = calls.run(farm)
    faults = judge(ended.ends, range(1, CALLS + 1), calls.listen_ms)
    assert [(fault.call, fault.direction, fault.kind) for fault in faults] == [
        (CONFUSED, "a→b", "cross-talk"),
        (BROKEN, "b→a", "silence"),
    ]
    confused, broken = faults
    assert broken.second == pytest.approx(3.0, abs=0.3)
    assert confused.second == pytest.approx(2.0, abs=0.5)
    heard = directions(ended.ends)[CONFUSED, "a→b"].strangers
    assert [(code.call, code.side) for code in heard] == [(STRANGER, "a")]
