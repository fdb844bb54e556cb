"""Next hops by DNS (RFC 3263), asked of a name server of the test."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from sipfarm.base.net import Listen
from sipfarm.signaling.io.resolver import ADDRESSES_MAX, Candidate, Resolver
from sipfarm.testing.dns_server import DnsServer
from sipfarm.testing.sim_users import DrawnBytes

ZONE = """
naptr.test NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.naptr.test.
naptr.test NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.naptr.test.
naptr.test NAPTR 90 10 "s" "sip+d2u" "" _sip._udp.elsewhere.test.
naptr.test NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:info@naptr.test!" .
naptr.test NAPTR 10 10 "s" "SIP+D2S" "" _sip._sctp.naptr.test.
_sips._tcp.naptr.test SRV 0 0 5061 secure.test.
_sip._tcp.naptr.test SRV 0 0 5070 plain.test.
_sip._udp.elsewhere.test SRV 0 0 5080 plain.test.
_sip._udp.naptr.test SRV 0 0 5099 unused.test.
secure.test A 192.0.2.1
plain.test A 192.0.2.2
plain.test AAAA 2001:db8::2
unused.test A 192.0.2.99
_sip._udp.srv.test SRV 20 0 5060 second.test.
_sip._udp.srv.test SRV 10 0 5062 first.test.
_sip._tcp.srv.test SRV 10 0 5063 first.test.
_sip._udp.gone.test SRV 0 0 5060 nowhere.test.
_sip._udp.gone.test SRV 1 0 5060 second.test.
first.test A 192.0.2.11
second.test A 192.0.2.12
bare.test A 192.0.2.20
"""


LISTENS = (
    "udp:192.0.2.200:5060",
    "tcp:192.0.2.200:5060",
    "tls:192.0.2.200:5061",
    "ws:192.0.2.200:80",
)


def located(
    zone: str,
    host: str,
    port: int = 0,
    transport: str = "udp",
    *,
    chosen: bool = False,
    listens: Sequence[str] = LISTENS,
    seed: int = 1,
) -> tuple[Sequence[Candidate], list[tuple[str, str]]]:
    """The candidates, and what was asked for them."""

    async def run(server: DnsServer) -> Sequence[Candidate]:
        resolver = Resolver(DrawnBytes(Random(seed)), map(Listen.parse, listens), [server.address])
        return await resolver.locate(host, port, transport, chosen=chosen)

    with DnsServer(zone) as server:
        return asyncio.run(run(server)), server.asked


def texts(candidates: Sequence[Candidate]) -> list[str]:
    return [f"{found.transport} {found.host} {found.port}" for found in candidates]


def test_naptr_tells_transports_in_the_order_of_the_domain() -> None:
    found, _ = located(ZONE, "naptr.test")
    assert texts(found) == [
        "tls 192.0.2.1 5061",
        "udp 192.0.2.2 5080",
        "tcp 192.0.2.2 5070",
    ]


def test_a_member_that_listens_on_ipv6_sends_there_too() -> None:
    found, _ = located(ZONE, "naptr.test", listens=(*LISTENS, "udp:[2001:db8::1]:5060"))
    assert texts(found) == [
        "tls 192.0.2.1 5061",
        "udp 2001:db8::2 5080",
        "udp 192.0.2.2 5080",
        "tcp 192.0.2.2 5070",
    ]


def test_what_this_member_cannot_send_by_is_left_out() -> None:
    found, _ = located(ZONE, "naptr.test", listens=("udp:192.0.2.200:5060",))
    assert {candidate.transport for candidate in found} == {"udp"}


def test_a_sips_uri_never_leaves_tls() -> None:
    found, _ = located(ZONE, "naptr.test", transport="tls")
    assert texts(found) == ["tls 192.0.2.1 5061"]
    found, _ = located(ZONE, "srv.test", transport="tls")
    assert found == [], "it has no service by TLS, and no address"
    found, _ = located(ZONE, "bare.test", transport="tls")
    assert texts(found) == ["tls 192.0.2.20 5061"]


def test_a_transport_that_the_uri_names_is_kept() -> None:
    found, asked = located(ZONE, "naptr.test", transport="tcp", chosen=True)
    assert texts(found) == ["tcp 192.0.2.2 5070"]
    assert "NAPTR" not in {kind for _, kind in asked}


def test_without_naptr_each_transport_is_asked_for_and_priority_counts() -> None:
    found, _ = located(ZONE, "srv.test")
    assert texts(found) == ["udp 192.0.2.11 5062", "udp 192.0.2.12 5060", "tcp 192.0.2.11 5063"]


def test_a_port_in_the_uri_needs_addresses_alone() -> None:
    found, asked = located(ZONE, "bare.test", 5090)
    assert texts(found) == ["udp 192.0.2.20 5090"]
    assert {kind for _, kind in asked} == {"A", "AAAA"}


def test_a_name_without_services_has_the_default_port() -> None:
    assert texts(located(ZONE, "bare.test")[0]) == ["udp 192.0.2.20 5060"]
    assert texts(located(ZONE, "bare.test", transport="ws")[0]) == ["ws 192.0.2.20 80"]


def test_a_server_without_address_is_passed_over_and_an_unknown_name_has_none() -> None:
    assert texts(located(ZONE, "gone.test")[0]) == ["udp 192.0.2.12 5060"]
    assert located(ZONE, "unknown.test")[0] == []


def test_servers_of_one_priority_share_by_weight() -> None:
    zone = """
        _sip._udp.w.test SRV 1 3 5060 heavy.test.
        _sip._udp.w.test SRV 1 1 5060 light.test.
        heavy.test A 192.0.2.1
        light.test A 192.0.2.2
    """
    first = [located(zone, "w.test", seed=seed)[0][0].host for seed in range(60)]
    assert 30 < first.count("192.0.2.1") < 58


@pytest.mark.parametrize("count", [40])
def test_a_domain_with_many_servers_has_a_bound(count: int) -> None:
    zone = "\n".join(
        [f"_sip._udp.many.test SRV {index} 0 5060 s{index}.test." for index in range(count)]
        + [f"s{index}.test A 192.0.2.{index + 1}" for index in range(count)]
    )
    found, asked = located(zone, "many.test")
    assert len(found) == ADDRESSES_MAX
    assert len(asked) < 3 * count


def test_a_name_server_that_is_not_there_gives_nothing() -> None:
    with DnsServer("") as server:
        address = server.address

    async def run() -> Sequence[Candidate]:
        resolver = Resolver(DrawnBytes(Random(1)), map(Listen.parse, LISTENS), [address])
        return await resolver.locate("bare.test", 0, "udp", chosen=True)

    assert asyncio.run(run()) == []
