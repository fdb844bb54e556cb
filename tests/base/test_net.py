from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.net import HostPort, Listen, PortRange, Transport, parse_port


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5060", "127.0.0.1", 5060),
        ("[::1]:5061", "::1", 5061),
        ("[2001:DB8::0:1]:5061", "2001:db8::1", 5061),
        ("sip.example.test:0", "sip.example.test", 0),
    ],
)
def test_host_and_port_are_read(text: str, host: str, port: int) -> None:
    assert HostPort.parse(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:5060:1",
        "127.0.0.256:5060",
        "::1:5060",
        "[::1]5060",
        "[::1",
        "[127.0.0.1]:5060",
        "[fe80::1%eth0]:5060",
        "-a.test:5060",
        "a..test:5060",
        "a b:5060",
        ":5060",
        "127.0.0.1:\N{ARABIC-INDIC DIGIT FIVE}",
    ],
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        HostPort.parse(text)


def test_a_missing_port_is_the_default() -> None:
    assert HostPort.parse("example.test", 5060).port == 5060
    assert HostPort.parse("[::1]", 5060) == HostPort("::1", 5060)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_what_is_written_is_read_back(ip: object, port: int) -> None:
    address = HostPort(str(ip), port)
    assert HostPort.parse(str(address)) == address


def test_listen_names_a_transport_and_an_address() -> None:
    assert Listen.parse("udp:127.0.0.1:5061") == Listen(Transport.UDP, HostPort("127.0.0.1", 5061))
    assert str(Listen.parse("WSS:[::1]")) == "wss:[::1]:443"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tcq:127.0.0.1:5060", "one of udp, tcp, tls, ws, wss"),
        ("127.0.0.1:5060", "does not begin with a transport"),
        ("udp:example.test:5060", "listens on a name"),
    ],
)
def test_a_wrong_listen_says_what_is_allowed(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Listen.parse(text)


@pytest.mark.parametrize("text", ["20000", "30000-20000", "0-10", "1-65536", "5-5", "a-b"])
def test_what_is_no_range_of_ports_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PortRange.parse(text)


@given(st.integers(1, 60_000), st.integers(64, 5_000), st.integers(1, 16))
def test_shares_of_a_range_are_even_equal_and_apart(first: int, length: int, count: int) -> None:
    whole = PortRange(first, first + length)
    shares = [whole.share(index, count) for index in range(count)]
    assert len({len(share) for share in shares}) == 1
    assert all(share.first % 2 == 0 and share.last % 2 == 1 for share in shares)
    assert all(one.last < other.first for one, other in pairwise(shares))
    assert whole.first <= shares[0].first
    assert shares[-1].last <= whole.last


def test_a_range_too_small_for_its_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="part 0 of 4"):
        PortRange(20_000, 20_005).share(0, 4)


def test_a_port_has_no_sign_and_no_blank() -> None:
    for text in ("+1", " 1", "1 ", "1_0", ""):
        with pytest.raises(ValueError, match="is no port"):
            parse_port(text)
