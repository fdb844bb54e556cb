"""Who works: all members alike, a slow one less, one that is not ready not at all (A3, C6)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.real_farm import RealFarm
from sipfarm.testing.shares import Shares, slowed

pytestmark = pytest.mark.timeout(120)

EQUAL = (0.28, 0.38)
SLOW_MOST = 0.2
CALLS_PER_SECOND = 300
KNOWN_AS_SLOW_WITHIN_S = 3.0


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> Iterator[RealFarm]:
    """Three members, each packet at any of them."""
    started = start_farm(members=3)
    started.wait_for(dict.fromkeys(started.names, "ready"), 20.0)
    PacketBalancer(started.listen, started.pids).at_random()
    yield started
    started.wait_calls_over()


@pytest.fixture
def place(farm: RealFarm, peers_of: Callable[[RealFarm], Any]) -> Callable[[int], None]:
    """Place so many calls, none of which may fail."""

    def placed(calls: int) -> None:
        peers = peers_of(farm)
        called = peers.phone("call_uas", calls=calls, trace=False)
        what = {"calls": calls, "per_second": CALLS_PER_SECOND, "hold_ms": 200, "trace": False}
        peers.caller("call_uac", service=called.call.service, **what).succeed()
        called.succeed()

    return placed


def test_equal_members_do_equal_work(farm: RealFarm, place: Callable[[int], None]) -> None:
    shares = Shares(farm)
    place(3_000)
    assert all(EQUAL[0] < share < EQUAL[1] for share in shares.now().values()), shares.now()


def test_a_slow_member_does_less(farm: RealFarm, place: Callable[[int], None]) -> None:
    pid = next(member.pid for member in farm.members() if member.name == "m2")
    with slowed(pid):
        eventually(
            lambda: farm.metrics("m2")["sipfarm_loop_lag_seconds"] > 0.1,
            "m2 knows that it is slow",
            KNOWN_AS_SLOW_WITHIN_S,
        )
        shares = Shares(farm)
        place(1_500)
        share = shares.now()["m2"]
    assert share < SLOW_MOST


def test_a_member_that_is_not_ready_does_nothing(
    farm: RealFarm, place: Callable[[int], None]
) -> None:
    farm.wait_calls_over()
    farm.drain("m3")
    try:
        farm.wait_for({"m1": "ready", "m2": "ready", "m3": "draining"}, 3.0)
        shares = Shares(farm)
        place(900)
        assert shares.now()["m3"] == 0.0
        assert min(shares.now()["m1"], shares.now()["m2"]) > 0.4
    finally:
        farm.undrain("m3")
