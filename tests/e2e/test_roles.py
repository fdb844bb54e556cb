"""Roles are settings of a running member: it is switched under load, and no call fails."""

from collections.abc import Callable
from typing import Any

import pytest

from sipfarm.admin.bodies import RolesBody
from sipfarm.admin.io.client import Refused
from sipfarm.admin.views import MemberView
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.real_farm import RealFarm

pytestmark = [pytest.mark.early, pytest.mark.timeout(150)]

MEMBERS = 3
ALL = ("edge", "pbx", "media")
EDGE = ("edge",)
PBX = ("pbx", "media")
LOAD_PER_SECOND = 40
LOAD_S = 24
ENOUGH = 150
"""Packets, or calls, that would have come to a member which still takes them."""


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> RealFarm:
    started = start_farm(at_rest=True, members=MEMBERS)
    started.wait_for(dict.fromkeys(started.names, "ready"), 20.0)
    return started


def switch(farm: RealFarm, name: str, roles: tuple[str, ...], asked: str = "m1") -> MemberView:
    """Have a member be something else, asked over another one."""
    path = f"/api/v1/members/{name}/roles"
    return farm.admin(asked).post(path, MemberView, RolesBody(roles=roles))


def count(farm: RealFarm, name: str, what: str) -> float:
    return farm.metrics(name)[f"sipfarm_sip_{what}"]


def wait_grown(farm: RealFarm, name: str, what: str) -> None:
    """Until a member has done much more of something."""
    before = count(farm, name, what)
    eventually(
        lambda: count(farm, name, what) >= before + ENOUGH,
        f"{name} has {what} more",
        20.0,
        lambda: count(farm, name, what) - before,
    )


def wait_without_calls(farm: RealFarm, name: str) -> None:
    """Until the calls that ran on a member have ended."""
    eventually(
        lambda: not count(farm, name, "calls"),
        f"{name} has no call",
        10.0,
        lambda: count(farm, name, "calls"),
    )


def test_a_member_is_switched_under_load_and_no_call_fails(
    farm: RealFarm, peers_of: Callable[[RealFarm], Any]
) -> None:
    PacketBalancer(farm.listen, farm.pids).at_random()
    peers = peers_of(farm)
    calls = LOAD_PER_SECOND * LOAD_S
    called = peers.phone("call_uas", calls=calls, trace=False)
    what = {"calls": calls, "per_second": LOAD_PER_SECOND, "trace": False}
    caller = peers.caller("call_uac", service=called.call.service, **what)
    wait_grown(farm, "m2", "forwarded")

    assert switch(farm, "m2", EDGE).roles == EDGE
    assert {m.name: m.roles for m in farm.members("m3")} == {"m1": ALL, "m2": EDGE, "m3": ALL}
    wait_without_calls(farm, "m2")
    worked, passed = count(farm, "m2", "forwarded"), count(farm, "m2", "passed_on")
    wait_grown(farm, "m2", "received")
    assert count(farm, "m2", "forwarded") == worked, "it gets no new work"
    assert count(farm, "m2", "passed_on") > passed, "but passes on what it receives"

    assert switch(farm, "m2", PBX, asked="m2").roles == PBX
    assert switch(farm, "m1", EDGE).roles == EDGE, "what comes to it is work for the others"
    received = count(farm, "m2", "received")
    wait_grown(farm, "m2", "forwarded")
    assert count(farm, "m2", "received") == received, "its sockets are gone"
    assert farm.admin("m2").exchange("GET", "/readyz").status == 503

    for name in ("m1", "m2"):
        assert switch(farm, name, ALL, asked="m3").roles == ALL
    result = caller.succeed()
    assert result.successful == called.succeed().taken == calls


def test_the_last_member_with_a_role_keeps_it(farm: RealFarm) -> None:
    switch(farm, "m1", EDGE)
    switch(farm, "m2", EDGE)
    with pytest.raises(Refused, match='m3 is the last member with the role "pbx"') as refused:
        switch(farm, "m3", EDGE)
    assert refused.value.status == 409
    for name in ("m1", "m2"):
        switch(farm, name, ALL)
