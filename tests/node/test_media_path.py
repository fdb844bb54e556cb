"""Mode "auto": who reaches whom without the relay (E10)."""

import pytest

from sipfarm.native import Hop
from sipfarm.node.media_path import media_path, network_of_caller
from sipfarm.signaling.routing import Target


class Invite:
    """An INVITE whose offer names an address, from another."""

    def __init__(self, told: str, source: str, body: bytes | None = None) -> None:
        kind = "IP6" if ":" in told else "IP4"
        self.hop = Hop("udp", source, 5060)
        self.body = (
            (
                f"v=0\r\no=- 1 1 IN {kind} {told}\r\ns=-\r\nc=IN {kind} {told}\r\nt=0 0\r\n"
                "m=audio 4000 RTP/AVP 0\r\n"
            ).encode()
            if body is None
            else body
        )


def phone(contact: str, received: str = "") -> Target:
    return Target(f"sip:bob@{contact}", (), f"udp:{received}:5060" if received else "")


PUBLIC, OTHER_PUBLIC = "8.8.8.8", "9.9.9.9"


@pytest.mark.parametrize(
    ("told", "source", "targets", "path"),
    [
        (PUBLIC, PUBLIC, [phone(OTHER_PUBLIC)], "direct"),
        (PUBLIC, PUBLIC, [phone(OTHER_PUBLIC, OTHER_PUBLIC)], "direct"),
        ("192.168.1.5", PUBLIC, [phone(OTHER_PUBLIC)], "relay"),
        (PUBLIC, PUBLIC, [phone("192.168.1.5", OTHER_PUBLIC)], "relay"),
        ("192.168.1.5", PUBLIC, [phone("192.168.1.6", PUBLIC)], "relay"),
        ("10.0.0.5", "10.0.0.5", [phone("10.0.0.6")], "direct"),
        ("10.0.0.5", "10.0.0.5", [phone("10.0.1.6")], "relay"),
        ("10.0.0.5", "10.0.0.5", [phone(PUBLIC)], "relay"),
        ("127.0.0.5", "127.0.0.5", [phone("127.9.0.6")], "direct"),
        (PUBLIC, PUBLIC, [phone(OTHER_PUBLIC), phone("10.0.0.6")], "relay"),
        (PUBLIC, PUBLIC, [phone("[2001:4860::1]")], "relay"),
        ("2001:4860::5", "2001:4860::5", [phone("[2606:4700::1]")], "direct"),
        ("fd00::5", "fd00::5", [phone("[fd00::6]:5070")], "direct"),
        ("fd00::5", "fd00::5", [phone("[fd00:0:0:1::6]")], "relay"),
        (PUBLIC, PUBLIC, [phone("phone.example.test")], "relay"),
        (PUBLIC, PUBLIC, [phone("x.invalid", OTHER_PUBLIC)], "relay"),
        ("0.0.0.0", PUBLIC, [phone(OTHER_PUBLIC)], "relay"),
    ],
)
def test_media_go_direct_where_both_are_of_one_network(
    told: str, source: str, targets: list[Target], path: str
) -> None:
    assert media_path(network_of_caller(Invite(told, source)), targets) == path


def test_another_flow_counts_too() -> None:
    near, far = phone(OTHER_PUBLIC), phone("10.0.0.6")
    caller = network_of_caller(Invite(PUBLIC, PUBLIC))
    assert media_path(caller, [Target(near.uri, others=(far,))]) == "relay"
    assert media_path(caller, [Target(near.uri, others=(near,))]) == "direct"


@pytest.mark.parametrize("body", [b"", b"v=0\r\nc=\xff\r\n", b"--boundary\r\n"])
def test_an_offer_that_is_not_there_or_not_understood_is_relayed(body: bytes) -> None:
    assert network_of_caller(Invite(PUBLIC, PUBLIC, body)) is None
    assert media_path(None, [phone(OTHER_PUBLIC)]) == "relay"


def test_a_call_behind_a_proxy_of_the_phones_own_is_relayed() -> None:
    behind = Target(f"sip:bob@{OTHER_PUBLIC}", ("<sip:proxy.test;lr>",))
    assert media_path(network_of_caller(Invite(PUBLIC, PUBLIC)), [behind]) == "relay"


def test_each_stream_of_an_offer_counts() -> None:
    body = Invite(PUBLIC, PUBLIC).body + b"m=video 4002 RTP/AVP 99\r\nc=IN IP4 10.0.0.1\r\n"
    targets = [phone(OTHER_PUBLIC)]
    assert media_path(network_of_caller(Invite(PUBLIC, PUBLIC, body)), targets) == "relay"
    refused = body.replace(b"video 4002", b"video 0")
    told = network_of_caller(Invite(PUBLIC, PUBLIC, refused))
    assert media_path(told, targets) == "direct"
