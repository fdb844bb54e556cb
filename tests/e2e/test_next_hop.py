"""Where calls go: to names by NAPTR and SRV (RFC 3263), and media from phone to phone."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipfarm.testing.carrier_policy import CARRIER
from sipfarm.testing.dns_server import DnsServer
from sipfarm.testing.real_farm import RealFarm

pytestmark = pytest.mark.timeout(60)

CALLS = 3
TIMER_B_S = 32


@pytest.fixture(scope="module")
def names() -> Iterator[DnsServer]:
    with DnsServer("") as server:
        yield server


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm], names: DnsServer) -> RealFarm:
    policy = "sipfarm.testing.carrier_policy:carrier_policy"
    return start_farm(members=2, routing=policy, nameservers=(names.address,), media_mode="auto")


@pytest.fixture
def peers(farm: RealFarm, peers_of: Callable[[RealFarm], Any]) -> Iterator[Any]:
    yield peers_of(farm)
    farm.wait_calls_over()


def test_naptr_leads_to_a_server_over_tcp(farm: RealFarm, peers: Any, names: DnsServer) -> None:
    server = peers.server("call_uas", transport="t1", calls=CALLS)
    at = server.call.local
    names.say(f"""
        tcp.{CARRIER} NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.tcp.{CARRIER}.
        tcp.{CARRIER} NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.tcp.{CARRIER}.
        _sip._tcp.tcp.{CARRIER} SRV 0 0 {at.port} one.{CARRIER}.
        one.{CARRIER} A {at.host}
    """)
    peers.caller("call_uac", domain=f"tcp.{CARRIER}", calls=CALLS).succeed()
    server.succeed()


def test_the_server_of_the_next_priority_takes_the_calls_of_one_that_is_not_there(
    farm: RealFarm, peers: Any, names: DnsServer
) -> None:
    server = peers.server("call_uas", calls=CALLS)
    at = server.call.local
    names.say(f"""
        two.{CARRIER} NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.two.{CARRIER}.
        two.{CARRIER} NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.two.{CARRIER}.
        _sip._tcp.two.{CARRIER} SRV 0 0 {at.port} gone.{CARRIER}.
        _sip._tcp.two.{CARRIER} SRV 5 0 {at.port + 1} there.{CARRIER}.
        _sip._udp.two.{CARRIER} SRV 9 0 {at.port} there.{CARRIER}.
        gone.{CARRIER} A {farm.trusted(9).host}
        there.{CARRIER} A {at.host}
    """)
    peers.caller("call_uac", domain=f"two.{CARRIER}", calls=CALLS).succeed()
    server.succeed()


def test_servers_over_udp_that_are_not_there_are_passed_over_long_before_a_timer_ends(
    farm: RealFarm, peers: Any, names: DnsServer
) -> None:
    server = peers.server("call_uas", calls=CALLS)
    at = server.call.local
    names.say(f"""
        _sip._udp.gone.{CARRIER} SRV 0 0 {at.port} first.{CARRIER}.
        _sip._udp.gone.{CARRIER} SRV 1 0 {at.port} second.{CARRIER}.
        _sip._udp.gone.{CARRIER} SRV 2 0 {at.port} third.{CARRIER}.
        first.{CARRIER} A {farm.trusted(9).host}
        second.{CARRIER} A {farm.trusted(8).host}
        third.{CARRIER} A {at.host}
    """)
    begun_s = time.monotonic()
    peers.caller("call_uac", domain=f"gone.{CARRIER}", calls=CALLS).succeed()
    server.succeed()
    assert time.monotonic() - begun_s < TIMER_B_S / 2


def test_media_go_direct_where_both_phones_reach_each_other(farm: RealFarm, peers: Any) -> None:
    phone = peers.phone("busy_uas")
    caller = peers.caller("busy_uac", service=phone.call.service)
    caller.succeed()
    phone.succeed()
    offers = [text for received, text in phone.messages if received and text[:7] == "INVITE "]
    assert offers
    assert all(f"c=IN IP4 {caller.call.local.host}" in offer for offer in offers)


def test_a_name_that_dns_does_not_know_fails_the_call_at_once(
    farm: RealFarm, peers: Any, names: DnsServer
) -> None:
    names.say("")
    result = peers.caller("call_uac", domain=f"nowhere.{CARRIER}", timeout_s=10).finish()
    assert (result.failed, result.successful) == (1, 0)
