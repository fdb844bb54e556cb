"""SIPp against three real members, each packet at another one; and members that die or drain."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.packet_logs import Arrivals, PacketLogs
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.rewriting_balancer import RewritingBalancer
from sipfarm.testing.sipp import Sipp, SippResult

pytestmark = [pytest.mark.early, pytest.mark.timeout(150)]

MEMBERS = 3
FLOWS = (
    ("call_uac", "call_uas"),
    ("cancel_uac", "cancel_uas"),
    ("busy_uac", "busy_uas"),
    ("reinvite_uac", "reinvite_uas"),
    ("prack_update_uac", "prack_update_uas"),
    ("bye_from_callee_uac", "bye_from_callee_uas"),
)
FLOWS_UNDER_LOSS = (
    ("call_uac", "call_uas", True),
    ("busy_uac", "busy_uas", False),
)
"""Those in which SIPp waits for nothing that is sent once only; whether the phone stays a while."""
LINGER_MS = 5_000
OFTEN_AGAIN = ("-T2", "500", "-max_retrans", "20")
"""Else one call of a thousand has no ACK while it lasts: SIPp takes its BYE for a fault then."""
CALLS = 10
CALLS_UNDER_LOSS = 60
LOSS = 0.05
LOAD_PER_SECOND = 100
LOAD_S = 20
REGISTRATIONS = 30
SEED = 20_241
VIEW_RIGHT_WITHIN_S = 2.5
FEW = 3
"""Calls whose INVITE was unfinished on a member when it died: it is for some milliseconds only."""
ALL_READY = {"m1": "ready", "m2": "ready", "m3": "ready"}


class SharedFarm:
    """Three members at one address, and the balancer that gives each packet to any of them."""

    def __init__(self, farm: RealFarm) -> None:
        self.farm = farm
        self.balancer = PacketBalancer(farm.listen, farm.pids)
        farm.wait_for(ALL_READY, 20.0)
        self.balancer.at_random()


@pytest.fixture(scope="module")
def shared(start_farm: Callable[..., RealFarm]) -> SharedFarm:
    return SharedFarm(start_farm(at_rest=True, members=MEMBERS, packet_log=True))


@pytest.fixture
def farm(shared: SharedFarm) -> Iterator[RealFarm]:
    yield shared.farm
    shared.farm.wait_calls_over()


@pytest.fixture
def peers(farm: RealFarm, peers_of: Callable[[RealFarm], Any]) -> Any:
    return peers_of(farm)


@pytest.fixture(scope="module")
def apart(start_farm: Callable[..., RealFarm]) -> Iterator[tuple[RealFarm, RewritingBalancer]]:
    """Three members at addresses of their own behind a balancer that rewrites addresses."""
    started = start_farm(members=MEMBERS, apart=True)
    started.wait_for(ALL_READY, 20.0)
    with RewritingBalancer(started.listen, started.addresses, SEED) as balancer:
        yield started, balancer


def test_each_packet_goes_to_another_member(shared: SharedFarm) -> None:
    assert shared.balancer.size == MEMBERS


@pytest.mark.parametrize(("caller", "phone"), FLOWS)
def test_a_flow_goes_through_whoever_gets_its_packets(peers: Any, caller: str, phone: str) -> None:
    called = peers.phone(phone, calls=CALLS)
    peers.caller(caller, service=called.call.service, calls=CALLS).succeed()
    called.succeed()


@pytest.mark.parametrize("transports", ["t1-t1", "u1-t1", "t1-u1"])
def test_a_call_goes_through_over_streams_of_several_members(peers: Any, transports: str) -> None:
    of_caller, of_phone = transports.split("-")
    called = peers.phone("call_uas", calls=CALLS, transport=of_phone)
    to = called.call.service
    peers.caller("call_uac", service=to, calls=CALLS, transport=of_caller).succeed()
    called.succeed()


@pytest.fixture(params=["random", "rewriting"])
def anywhere(
    request: pytest.FixtureRequest, peers_of: Callable[[RealFarm], Any]
) -> Iterator[tuple[RealFarm, Any]]:
    """A farm behind each kind of balancer."""
    is_random = request.param == "random"
    farm: RealFarm = (
        request.getfixturevalue("shared").farm if is_random else request.getfixturevalue("apart")[0]
    )
    yield farm, peers_of(farm)
    farm.wait_calls_over()


@pytest.fixture(scope="module", params=["random", "rewriting"])
def strict(
    request: pytest.FixtureRequest, start_farm: Callable[..., RealFarm]
) -> Iterator[RealFarm]:
    """A farm behind each kind of balancer that trusts nobody who comes through it."""
    apart = request.param == "rewriting"
    started = start_farm(
        members=MEMBERS, apart=apart, balancer_is_trusted=False, digest=("MD5", "SHA-256")
    )
    started.wait_for(ALL_READY, 20.0)
    if not apart:
        PacketBalancer(started.listen, started.pids).at_random()
        yield started
        return
    with RewritingBalancer(started.listen, started.addresses, SEED):
        yield started


def test_phones_register_with_digest(
    strict: RealFarm, peers_of: Callable[[RealFarm], Any], tmp_path: Path
) -> None:
    users = [strict.unused_user() for _ in range(REGISTRATIONS)]
    file = tmp_path / "users.csv"
    credentials = "[authentication username={0} password={0}-secret]"
    lines = [f"{user};{credentials.format(user)}" for user in users]
    file.write_text("\n".join(["SEQUENTIAL", *lines]) + "\n", encoding="utf-8")
    what = {"calls": REGISTRATIONS, "per_second": 50, "options": ("-inf", str(file))}
    phones = peers_of(strict).caller("register_digest", local=strict.untrusted(1), **what)
    phones.succeed()
    answers = [text for received, text in phones.messages if received]
    assert sum(text.startswith("SIP/2.0 401 ") for text in answers) >= REGISTRATIONS
    registered = {found.aor for found in strict.registrations()}
    assert {f"sip:{user}@{DOMAIN}" for user in users} <= registered


def test_a_retransmitted_invite_makes_one_call(anywhere: tuple[RealFarm, Any]) -> None:
    _, peers = anywhere
    called = peers.phone("ring_late_uas", calls=CALLS)
    to = called.call.service
    peers.caller("retransmitted_invite_uac", service=to, calls=CALLS).succeed()
    called.succeed()
    assert len(branches_by_call(called)) == CALLS
    assert not calls_made_twice(called)


def test_a_retransmitted_200_is_acknowledged_again(peers: Any) -> None:
    """Not behind a balancer that rewrites: SIPp takes an ACK with another Via for another ACK."""
    called = peers.phone("retransmitted_200_uas", calls=CALLS)
    peers.caller("call_uac", service=called.call.service, calls=CALLS, hold_ms=1_000).succeed()
    called.succeed()
    acks = [text for received, text in called.messages if received and text.startswith("ACK ")]
    assert len(acks) >= 2 * CALLS


def test_a_call_without_an_answer_is_given_up(anywhere: tuple[RealFarm, Any]) -> None:
    _, peers = anywhere
    called = peers.phone("cancel_uas", service="tardy", calls=CALLS)
    peers.caller("no_answer_uac", service="tardy", calls=CALLS).succeed()
    called.succeed()


def test_a_call_rings_at_all_bindings_and_one_answers(anywhere: tuple[RealFarm, Any]) -> None:
    farm, peers = anywhere
    first = peers.phone("fork_winner_uas", calls=CALLS)
    to = first.call.service
    second = peers.phone("cancel_uas", service=to, local=farm.trusted(3), calls=CALLS)
    peers.caller("call_uac", service=to, calls=CALLS).succeed()
    first.succeed()
    second.succeed()


def test_the_load_is_carried_wherever_its_packets_go(farm: RealFarm, peers: Any) -> None:
    """Much is said in each dialog, so that the one packet which nobody owns yet counts for little:
    most packets come to a member that does not own them.
    """
    called = peers.phone("talkative_uas", calls=LOAD_PER_SECOND * LOAD_S)
    caller = load(peers, called, scenario="talkative_uac", trace=True)
    arrivals = carried(farm, caller, called)
    assert arrivals.elsewhere >= 0.6 * arrivals.all, arrivals


def test_a_load_of_plain_calls_is_carried_wherever_its_packets_go(
    farm: RealFarm, peers: Any
) -> None:
    called = peers.phone("call_uas", calls=LOAD_PER_SECOND * LOAD_S // 2)
    arrivals = carried(farm, load(peers, called, trace=True), called)
    assert arrivals.owned_elsewhere >= 0.6 * arrivals.owned, arrivals


def test_the_load_is_carried_behind_a_balancer_that_rewrites_addresses(
    apart: tuple[RealFarm, RewritingBalancer], peers_of: Callable[[RealFarm], Any]
) -> None:
    farm, balancer = apart
    peers = peers_of(farm)
    called = peers.phone("call_uas", calls=LOAD_PER_SECOND * 5)
    result = load(peers, called).succeed()
    taken = called.succeed()
    assert result.successful == taken.taken == LOAD_PER_SECOND * 5
    assert not calls_made_twice(called)
    assert min(balancer.to_members) > 0.25 * sum(balancer.to_members)
    farm.wait_calls_over()


@pytest.mark.parametrize(("caller", "phone"), FLOWS)
def test_a_flow_goes_through_behind_a_balancer_that_rewrites_addresses(
    apart: tuple[RealFarm, RewritingBalancer],
    peers_of: Callable[[RealFarm], Any],
    caller: str,
    phone: str,
) -> None:
    farm, _ = apart
    peers = peers_of(farm)
    called = peers.phone(phone, calls=CALLS)
    peers.caller(caller, service=called.call.service, calls=CALLS).succeed()
    called.succeed()
    farm.wait_calls_over()


@pytest.mark.parametrize(("caller", "phone", "lingers"), FLOWS_UNDER_LOSS)
def test_a_flow_goes_through_although_packets_are_lost(
    apart: tuple[RealFarm, RewritingBalancer],
    peers_of: Callable[[RealFarm], Any],
    caller: str,
    phone: str,
    lingers: bool,
) -> None:
    farm, balancer = apart
    peers = peers_of(farm)
    called = peers.phone(
        phone,
        calls=CALLS_UNDER_LOSS,
        hold_ms=LINGER_MS if lingers else 0,
        options=OFTEN_AGAIN,
    )
    what = {"calls": CALLS_UNDER_LOSS, "per_second": 20, "hold_ms": LINGER_MS}
    with losing(balancer, LOSS):
        peers.caller(caller, service=called.call.service, **what).succeed()
        called.succeed()
    assert not calls_made_twice(called)


@pytest.fixture
def mortal(start_farm: Callable[..., RealFarm]) -> Iterator[RealFarm]:
    """A farm of its own for a test in which members die."""
    yield from farm_of_its_own(start_farm(members=MEMBERS))


@pytest.fixture
def unsupervised(start_farm: Callable[..., RealFarm]) -> Iterator[RealFarm]:
    """Members that nobody kills or starts again."""
    yield from farm_of_its_own(start_farm(members=MEMBERS, supervised=False))


def farm_of_its_own(farm: RealFarm) -> Iterator[RealFarm]:
    farm.wait_for(ALL_READY, 20.0)
    PacketBalancer(farm.listen, farm.pids).at_random()
    yield farm
    farm.end()


def busy(farm: RealFarm) -> None:
    """Until each member has calls."""
    eventually(
        lambda: all(farm.metrics(name)["sipfarm_sip_calls"] > 20 for name in farm.names),
        "each member has calls",
        20.0,
        lambda: [farm.metrics(name)["sipfarm_sip_calls"] for name in farm.names],
    )


def calls_under_load(peers: Any) -> tuple[Sipp, Sipp]:
    """50 calls a second, each held for 5 s: the phone and the caller."""
    called = peers.phone("call_uas", calls=0)
    what = {"per_second": 50, "calls": 600, "hold_ms": 5_000}
    return called, load(peers, called, **what)


def test_the_death_of_a_member_costs_unanswered_calls_only(
    mortal: RealFarm, peers_of: Callable[[RealFarm], Any]
) -> None:
    peers = peers_of(mortal)
    called, caller = calls_under_load(peers)
    busy(mortal)
    mortal.kill("m2", signal.SIGKILL)
    mortal.wait_view_without("m2", VIEW_RIGHT_WITHIN_S)
    result = caller.finish()
    assert result.successful + result.failed == result.placed
    assert result.failed <= FEW, caller.told()
    assert called.stop().failed <= FEW, called.told()
    mortal.wait_for(ALL_READY, 20.0)


def test_a_silent_member_is_replaced_by_its_supervisor(
    mortal: RealFarm, peers_of: Callable[[RealFarm], Any]
) -> None:
    peers = peers_of(mortal)
    called, caller = calls_under_load(peers)
    busy(mortal)
    mortal.kill("m3", signal.SIGSTOP)
    mortal.wait_view_without("m3", 2 * VIEW_RIGHT_WITHIN_S)
    assert caller.finish().failed <= FEW, caller.told()
    assert called.stop().failed <= FEW, called.told()
    mortal.wait_for(ALL_READY, 20.0)


def test_a_stopped_member_that_wakes_finds_itself_dead_and_harms_nothing(
    unsupervised: RealFarm, peers_of: Callable[[RealFarm], Any]
) -> None:
    farm = unsupervised
    peers = peers_of(farm)
    called, caller = calls_under_load(peers)
    busy(farm)
    before = {member.name: member.incarnation for member in farm.members()}
    farm.kill("m3", signal.SIGSTOP)
    farm.wait_for({**ALL_READY, "m3": "dead"}, VIEW_RIGHT_WITHIN_S, asked="m1")
    farm.kill("m3", signal.SIGCONT)
    farm.wait_for(ALL_READY, 10.0, asked="m1")
    after = {member.name: member.incarnation for member in farm.members("m1")}
    assert after["m3"] > before["m3"]
    assert (after["m1"], after["m2"]) == (before["m1"], before["m2"])
    assert caller.finish().failed <= FEW, caller.told()
    assert called.stop().failed <= FEW, called.told()
    assert not calls_made_twice(called)


def test_each_member_drains_under_load_and_no_call_fails(
    mortal: RealFarm, peers_of: Callable[[RealFarm], Any]
) -> None:
    peers = peers_of(mortal)
    called, caller = calls_under_load(peers)
    busy(mortal)
    for name in mortal.names:
        mortal.drain(name)
        others = {other: "ready" for other in mortal.names if other != name}
        mortal.wait_for({**others, name: "draining"}, VIEW_RIGHT_WITHIN_S)
        eventually(
            lambda name=name: mortal.metrics(name)["sipfarm_sip_calls"] < 20,
            f"{name} is left by its calls",
            10.0,
        )
        assert mortal.admin(name).exchange("GET", "/readyz").status == 503
        mortal.undrain(name)
        mortal.wait_for(ALL_READY, VIEW_RIGHT_WITHIN_S)
    caller.succeed()
    assert called.stop().failed == 0


@contextlib.contextmanager
def losing(balancer: RewritingBalancer, loss: float) -> Iterator[None]:
    balancer.loss = loss
    try:
        yield
    finally:
        balancer.loss = 0.0


def load(peers: Any, called: Sipp, scenario: str = "call_uac", **what: Any) -> Sipp:
    """Calls to a phone, a hundred a second, as many as it waits for."""
    usual = {"per_second": LOAD_PER_SECOND, "calls": called.call.calls, "trace": False}
    return peers.caller(scenario, service=called.call.service, **{**usual, **what})


def carried(farm: RealFarm, caller: Sipp, called: Sipp) -> Arrivals:
    """No call fails or is made twice, and each packet is worked on by its owner alone."""
    result, taken = caller.succeed(), called.succeed()
    assert result.successful == taken.taken == called.call.calls
    assert not calls_made_twice(called)
    assert retransmitted_share(result, taken) < 0.1
    return PacketLogs(farm, (caller, called)).check()


def branches_by_call(called: Sipp) -> dict[str, set[str]]:
    """The branches of the first INVITEs that a phone got, by Call-ID: two are two calls of one."""
    found: dict[str, set[str]] = {}
    for received, text in called.messages:
        lines = text.splitlines()
        is_first = not any(line.startswith("To:") and ";tag=" in line for line in lines)
        if received and is_first and text.startswith("INVITE "):
            call_id = next(line for line in lines if line.startswith("Call-ID:"))
            via = next(line for line in lines if line.startswith("Via:"))
            found.setdefault(call_id, set()).add(via.partition("branch=")[2])
    return found


def calls_made_twice(called: Sipp) -> dict[str, set[str]]:
    return {call: seen for call, seen in branches_by_call(called).items() if len(seen) > 1}


def retransmitted_share(*results: SippResult) -> float:
    """Messages sent again, for each call."""
    return sum(result.retransmissions for result in results) / results[0].placed
