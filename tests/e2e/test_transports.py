"""TLS, WebSocket and IPv6 against real members: registered over one, called over another."""

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from sipfarm.admin.views import MemberView
from sipfarm.base.net import HostPort
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.sip_link import (
    LinkClosed,
    SipLink,
    StreamLink,
    UdpLink,
    WebSocketLink,
    connected,
    read,
)
from sipfarm.testing.stream_farm import (
    COMMAND,
    DOMAIN,
    OTHER_DOMAIN,
    PAGE_ORIGIN,
    PORTS,
    RECONNECT_WAIT_S,
    SILENCE_S,
    TLS,
    UDP,
    WS,
    WSS,
    StreamFarm,
)
from sipfarm.testing.websocket_phone import SDP, PhoneCall, WebSocketPhone
from sipfarm.testing.wire_text import uri_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

READY_S = 30.0
DONE_S = 15.0
CLOSED_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., StreamFarm]]:
    with ExitStack() as stack:

        def started(*, members: int = 1, apart: bool = False) -> StreamFarm:
            lease = stack.enter_context(lease_ports(PORTS))
            children = stack.enter_context(Children())
            folder = tmp_path_factory.mktemp("farm")
            return StreamFarm(children, lease, folder, members=members, apart=apart)

        yield started


@pytest.fixture(scope="module")
def farm(start: Callable[..., StreamFarm]) -> StreamFarm:
    """Three members that share all ports."""
    return start(members=3)


@pytest.fixture(scope="module")
def pair(start: Callable[..., StreamFarm]) -> StreamFarm:
    """Two members, each at an address of its own."""
    return start(members=2, apart=True)


def link_of(farm: StreamFarm, kind: str, member: int = 1, number: int = 1) -> SipLink:
    local = farm.phone(number)
    match kind:
        case "udp":
            return UdpLink(local, farm.at(UDP, member))
        case "tcp":
            return StreamLink(connected(farm.at(UDP, member), local))
        case "tls":
            return StreamLink(connected(farm.at(TLS, member), local, trust=farm.trust))
        case "ws":
            return WebSocketLink(connected(farm.at(WS, member), local))
        case _:
            return WebSocketLink(connected(farm.at(WSS, member), local, trust=farm.trust))


def phone_on(link: SipLink, user: str) -> WebSocketPhone:
    return WebSocketPhone(link, user, DOMAIN)


class Talking:
    """A call from one phone to another, who do their parts at the same time."""

    def __init__(self, alice: WebSocketPhone, bob: WebSocketPhone, user: str = "bob") -> None:
        alice.options()  # what a registration has changed reaches her member before her call
        self._of_alice = ThreadPoolExecutor(1)
        placed = self._of_alice.submit(alice.call, f"sip:{user}@{DOMAIN}")
        try:
            self.called = bob.answer_call()
        except TimeoutError:
            placed.result(DONE_S)  # says why no call came
            raise
        """The callee's side."""
        self.calling = placed.result(DONE_S)
        """The caller's side."""

    def alice_hangs_up(self) -> None:
        answered = self._of_alice.submit(self.calling.bye)
        self.called.wait_bye()
        assert answered.result(DONE_S).status == 200

    def bob_hangs_up(self) -> None:
        heard = self._of_alice.submit(self.calling.wait_bye)
        assert self.called.bye().status == 200
        heard.result(DONE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._of_alice.shutdown()


@pytest.mark.parametrize("of_phone", ["tcp", "tls", "ws", "wss"])
@pytest.mark.parametrize("of_caller", ["udp", "tcp", "tls", "ws", "wss"])
def test_a_phone_on_a_stream_is_called_and_hangs_up(
    farm: StreamFarm, of_caller: str, of_phone: str
) -> None:
    with (
        phone_on(link_of(farm, of_phone), "bob") as bob,
        phone_on(link_of(farm, of_caller, number=2), "alice") as alice,
    ):
        assert bob.register().status == 200
        with Talking(alice, bob) as talk:
            assert b"c=IN IP4 " + farm.host.encode() in talk.called.body
            assert b"c=IN IP4 " + farm.host.encode() in talk.calling.body
            assert via_and_route_name(talk.called.routes, of_phone)
            talk.bob_hangs_up()
        assert bob.register(0).status == 200


@pytest.mark.parametrize("kind", ["tcp", "tls", "ws", "wss"])
def test_a_phone_is_called_through_another_member_than_its_own(pair: StreamFarm, kind: str) -> None:
    with (
        phone_on(link_of(pair, kind, member=1), "bob") as bob,
        phone_on(link_of(pair, "udp", member=2, number=2), "alice") as alice,
    ):
        assert bob.register().status == 200
        assert pair.holder_of("bob") == "m1"
        with Talking(alice, bob) as talk:
            talk.bob_hangs_up()
        with Talking(alice, bob) as talk:
            talk.alice_hangs_up()
        assert bob.register(0).status == 200


def test_members_share_the_ports_of_all_transports(farm: StreamFarm) -> None:
    holders: set[str] = set()
    with ExitStack() as stack:

        def registered_once_more() -> bool:
            phone = stack.enter_context(phone_on(link_of(farm, "ws"), "carol"))
            phone.register()
            holders.add(farm.holder_of("carol"))
            assert phone.register(0).status == 200
            return len(holders) == farm.members

        eventually(registered_once_more, "all members hold connections", 30.0, lambda: holders)


def test_a_draining_member_takes_no_connection_and_the_others_lose_none(
    start: Callable[..., StreamFarm],
) -> None:
    farm = start(members=2)
    farm.admin().post("/api/v1/members/m1/drain", MemberView)
    with ExitStack() as stack:
        for kind in ("tcp", "tls", "ws") * 4:
            phone = stack.enter_context(phone_on(link_of(farm, kind), "carol"))
            try:
                assert phone.register().status == 200
            except LinkClosed:  # it had begun to be there when the draining did
                continue
            assert phone.register(0).status == 200
        for _ in range(8):
            phone = stack.enter_context(phone_on(link_of(farm, "tcp"), "carol"))
            assert phone.register().status == 200
            assert farm.holder_of("carol") == "m2"
            assert phone.register(0).status == 200
        farm.admin().post("/api/v1/members/m1/undrain", MemberView)

        def held_by_m1() -> bool:
            phone = stack.enter_context(phone_on(link_of(farm, "tcp"), "carol"))
            assert phone.register().status == 200
            holder = farm.holder_of("carol")
            assert phone.register(0).status == 200
            return holder == "m1"

        eventually(held_by_m1, "the member takes connections again", 30.0, lambda: "")


@pytest.mark.parametrize("kind", ["tcp", "ws"])
@pytest.mark.parametrize("of_caller", [1, 2])
def test_a_call_to_a_connection_that_is_gone_waits_for_it_and_gets_480(
    pair: StreamFarm, kind: str, of_caller: int
) -> None:
    bob = phone_on(link_of(pair, kind), "bob")
    assert bob.register().status == 200
    bob.link.close()
    with phone_on(link_of(pair, "udp", member=of_caller, number=2), "alice") as alice:
        begun_s = time.monotonic()
        assert alice.refused_call(f"sip:bob@{DOMAIN}").status == 480
        assert RECONNECT_WAIT_S <= time.monotonic() - begun_s < RECONNECT_WAIT_S + DONE_S


@pytest.mark.parametrize("of_caller", [1, 2])
@pytest.mark.parametrize("comes_back", [1, 2])
def test_a_phone_whose_connection_was_cut_is_called_when_it_comes_back(
    pair: StreamFarm, of_caller: int, comes_back: int
) -> None:
    bob = phone_on(link_of(pair, "tcp", member=1), "bob")
    assert bob.register().status == 200
    bob.link.close()
    with phone_on(link_of(pair, "udp", member=of_caller, number=2), "alice") as alice:
        ringing = ThreadPoolExecutor(1).submit(alice.call, f"sip:bob@{DOMAIN}")
        eventually(lambda: awaiting_registration(pair) == 1, "the call waits for its phone", DONE_S)
        with phone_on(link_of(pair, "tcp", member=comes_back), "bob") as bob:
            assert bob.register().status == 200
            called = bob.answer_call()
            calling = ringing.result(DONE_S)
            hung_up = ThreadPoolExecutor(1).submit(calling.bye)
            called.wait_bye()
            assert hung_up.result(DONE_S).status == 200
            assert awaiting_registration(pair) == 0
            assert bob.register(0).status == 200


def test_an_invite_that_comes_by_two_ways_is_taken_once(pair: StreamFarm) -> None:
    """RFC 3261 §8.2.2.2: the farm is the user agent, whichever members the ways lead to."""
    uri, call_id = f"sip:echo@{DOMAIN}", f"{os.urandom(8).hex()}@phone.invalid"
    with ExitStack() as stack:
        links = [UdpLink(pair.trusted(member), pair.at(UDP, member)) for member in (1, 2)]
        ways = [stack.enter_context(phone_on(link, "alice")) for link in links]
        lines = (
            ("From", f"<sip:alice@{DOMAIN}>;tag=one"),
            ("To", f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", f"<sip:alice@{links[0].contact}>"),
            ("Content-Type", "application/sdp"),
        )
        first = ways[0].send_request("INVITE", uri, lines, SDP)
        taken = ways[0].wait_final(first)
        assert taken.status == 200
        for way in (ways[1], ways[0]):
            assert way.wait_final(way.send_request("INVITE", uri, lines, SDP)).status == 482
        routes = tuple(reversed(taken.values("Record-Route")))
        call = PhoneCall(
            ways[0],
            call_id,
            ours=taken.value("From"),
            theirs=taken.value("To"),
            target=uri_of(taken.value("Contact")),
            routes=routes,
            body=taken.body,
        )
        call.acknowledge(1)
        assert call.bye().status == 200


def test_a_call_without_media_is_ended_for_both_sides(pair: StreamFarm) -> None:
    """Its phones are on connections of two members."""
    with (
        phone_on(link_of(pair, "tcp", member=1), "bob") as bob,
        phone_on(link_of(pair, "ws", member=2, number=2), "alice") as alice,
    ):
        assert bob.register().status == 200
        with Talking(alice, bob) as talk:
            at_bob = talk.called.wait_bye(SILENCE_S + DONE_S)
            at_alice = talk.calling.wait_bye(DONE_S)
        assert at_bob.value("Reason") == at_alice.value("Reason") == 'SIP;cause=480;text="No media"'
        eventually(lambda: not pair.calls(), "the call is forgotten", DONE_S)
        assert bob.register(0).status == 200


def awaiting_registration(farm: StreamFarm) -> int:
    """Calls of all members that wait for their phone."""
    return sum(
        int(float(line.rpartition(" ")[2]))
        for member in range(farm.members)
        for line in farm.metrics(member + 1).splitlines()
        if line.startswith("sipfarm_calls_awaiting_registration{")
    )


def test_a_phone_with_two_flows_is_called_by_the_one_that_lives(pair: StreamFarm) -> None:
    first, second = (phone_on(link_of(pair, "ws", member=member), "dora") for member in (1, 2))
    instance = "00000000-0000-1000-8000-000a95a0e128"
    with first, second:
        assert first.register(instance=instance, reg_id=1).status == 200
        assert second.register(instance=instance, reg_id=2).status == 200
        second.link.close()
        with (
            phone_on(link_of(pair, "udp", member=1, number=2), "alice") as alice,
            Talking(alice, first, "dora") as talk,
        ):
            talk.bob_hangs_up()
        assert first.register(0, instance=instance, reg_id=1).status == 200


def test_a_phone_comes_back_when_its_member_has_died(start: Callable[..., StreamFarm]) -> None:
    farm = start(members=3)
    with (
        phone_on(link_of(farm, "wss"), "bob") as bob,
        phone_on(link_of(farm, "udp", number=2), "alice") as alice,
    ):
        assert bob.register().status == 200
        holder = farm.holder_of("bob")
        killed = kill(farm, holder)
        with pytest.raises(LinkClosed):
            bob.link.receive(5.0)
        eventually(lambda: is_whole(farm, killed), "the farm has three members again", DONE_S)
        with phone_on(reconnected(farm, "wss"), "bob") as again:
            assert again.register().status == 200
            with Talking(alice, again) as talk:
                talk.bob_hangs_up()


def reconnected(farm: StreamFarm, kind: str) -> SipLink:
    """A link as a phone gets it: tried again where the dying member's socket had taken it."""
    links: list[SipLink] = []

    def is_linked() -> bool:
        try:
            links.append(link_of(farm, kind))
        except ConnectionError:
            return False
        return True

    eventually(is_linked, "a phone reconnects", CLOSED_WITHIN_S)
    return links[0]


def is_whole(farm: StreamFarm, killed: int) -> bool:
    """Whether the dead incarnation is gone: before that, claims at it are dropped."""
    views = [view for view in farm.member_views() if view.pid != killed]
    return [view.state for view in views] == ["ready"] * farm.members


def kill(farm: StreamFarm, name: str) -> int:
    pid = next(view.pid for view in farm.member_views() if view.name == name)
    os.kill(pid, signal.SIGKILL)
    return pid


# TLS


def shown_names(server: HostPort, trust: Path, name: str) -> set[str]:
    """Whom the certificate that is shown to somebody who asks for a name is for."""
    context = ssl.create_default_context(cafile=str(trust))
    context.check_hostname = False
    with (
        socket.create_connection((server.host, server.port), 5.0) as plain,
        context.wrap_socket(plain, server_hostname=name) as stream,
    ):
        certificate = stream.getpeercert() or {}
    return {str(value) for _, value in certificate.get("subjectAltName", ())}


def test_the_name_asked_for_picks_the_certificate(farm: StreamFarm) -> None:
    assert shown_names(farm.at(TLS), farm.trust, OTHER_DOMAIN) == {OTHER_DOMAIN}
    assert shown_names(farm.at(WSS), farm.trust, OTHER_DOMAIN.upper()) == {OTHER_DOMAIN}
    assert farm.host in shown_names(farm.at(TLS), farm.trust, DOMAIN)
    assert farm.host in shown_names(farm.at(TLS), farm.trust, "unknown.test")


def test_old_versions_of_tls_are_refused(farm: StreamFarm) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        connected(farm.at(TLS)) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)version|alert|eof"),
    ):
        context.wrap_socket(plain)


def test_a_wrong_certificate_ends_the_start_in_one_sentence(
    start: Callable[..., StreamFarm], children: Children, tmp_path: Path, farm: StreamFarm
) -> None:
    text = (farm.folder / "m1.toml").read_text(encoding="utf-8")
    for wrong, pattern in (
        (farm.other.key, "is not the key of"),
        (farm.own.certificate, "holds no key in PEM form"),
    ):
        file = tmp_path / "m1.toml"
        file.write_text(text.replace(str(farm.own.key), str(wrong)), encoding="utf-8")
        with lease_ports(PORTS) as lease:
            child = children.start(
                [*COMMAND, "member", "--config", relocated(file, farm, lease.first)]
            )
            assert child.wait(READY_S) == 1
        assert pattern in child.lines[-1]
        assert child.lines[-1].startswith("sipfarm: ")


def relocated(file: Path, farm: StreamFarm, first: int) -> Path:
    """The same file with ports that are free."""
    text = file.read_text(encoding="utf-8")
    for step in range(PORTS):
        text = text.replace(f':{farm.at(step).port}"', f':{first + step}"')
    file.write_text(text.replace('"127.0.0.1', f'"{farm.host}'), encoding="utf-8")
    return file


# Softphones


def softphone(farm: StreamFarm, user: str, transport: str, *more: str) -> list[str]:
    server = farm.at(TLS if transport == "tls" else UDP)
    return [
        *COMMAND,
        *("phone", f"sip:{user}@{DOMAIN}", "--password", f"{user}-secret"),
        *("--server", str(server), "--transport", transport, "--bind", farm.phone(9).host),
        *(("--ca-file", str(farm.trust)) if transport == "tls" else ()),
        *("--codec", "G722", *more),
    ]


@pytest.mark.parametrize(("caller", "phone"), [("udp", "tls"), ("tls", "udp"), ("tls", "tls")])
def test_softphones_hear_each_other_over_tls(
    farm: StreamFarm, children: Children, caller: str, phone: str
) -> None:
    called = children.start(
        softphone(farm, "bob", phone, "--answer", "--calls", "1", "--code", "7"),
        ready="is registered",
        timeout_s=READY_S,
    )
    calling = children.start(
        softphone(
            farm, "alice", caller, "--call", f"sip:bob@{DOMAIN}", "--code", "5", "--seconds", "4"
        )
    )
    for child in (calling, called):
        status = child.wait(READY_S)
        told = json.loads(next(line for line in child.lines if line.startswith("{")))
        assert status == 0, (told, child.tail())
        assert told["codec"].startswith("G722")


# IPv6


@pytest.mark.parametrize("kind", ["udp", "tcp", "ws", "tls"])
def test_phones_on_ipv6_register_and_call(farm: StreamFarm, kind: str) -> None:
    def link() -> SipLink:
        if kind == "udp":
            return UdpLink(HostPort("::1", 0), farm.at_v6(UDP))
        if kind == "ws":
            return WebSocketLink(connected(farm.at_v6(WS)))
        if kind == "tls":
            return StreamLink(connected(farm.at_v6(TLS), trust=farm.trust))
        return StreamLink(connected(farm.at_v6(UDP)))

    with phone_on(link(), "bob") as bob, phone_on(link(), "alice") as alice:
        assert alice.options().status == 200
        assert bob.register().status == 200
        with Talking(alice, bob) as talk:
            talk.bob_hangs_up()
        with phone_on(link_of(farm, "udp"), "carol") as carol, Talking(carol, bob) as talk:
            talk.alice_hangs_up()
        assert bob.register(0).status == 200


# Peers that misbehave


def test_a_websocket_without_the_subprotocol_is_refused(farm: StreamFarm) -> None:
    link = WebSocketLink(connected(farm.at(WS)), ("chat",))
    assert link.refused_with == 400
    link.close()


def test_a_page_of_another_origin_is_refused(farm: StreamFarm) -> None:
    stranger = WebSocketLink(connected(farm.at(WS)), origin="https://evil.test")
    assert stranger.refused_with == 403
    stranger.close()
    page = WebSocketLink(connected(farm.at(WS)), origin=PAGE_ORIGIN)
    assert phone_on(page, "alice").options().status == 200
    page.close()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"426"),
        (b"POST / HTTP/1.1", b"405"),
        (b"OPTIONS sip:example.test SIP/2.0", b"400"),
    ],
)
def test_what_is_no_websocket_is_told_so(
    farm: StreamFarm, request_line: bytes, status: bytes
) -> None:
    with connected(farm.at(WS)) as stream:
        stream.sendall(request_line + b"\r\nHost: example.test\r\n\r\n")
        answer = read_all(stream)
    assert answer.split(b" ")[:2] == [b"HTTP/1.1", status]


def read_all(stream: socket.socket) -> bytes:
    data = b""
    until_s = time.monotonic() + CLOSED_WITHIN_S
    while True:
        try:
            data += read(stream, until_s)
        except LinkClosed:
            return data


@pytest.mark.parametrize("step", [UDP, WS, TLS, WSS])
def test_garbage_is_closed(farm: StreamFarm, step: int) -> None:
    with connected(farm.at(step)) as stream:
        stream.sendall(bytes(range(1, 200)) + b"\r\n\r\n" * 3)
        read_all(stream)


def is_closed_by_sending(send: Callable[[], object], times: int) -> bool:
    """Whether the farm closes while something is sent to it again and again."""
    for _ in range(times):
        try:
            send()
        except ConnectionError:
            return True
    return False


@pytest.mark.parametrize("step", [UDP, WS])
def test_an_endless_header_is_closed(farm: StreamFarm, step: int) -> None:
    with connected(farm.at(step)) as stream:
        part = b"X-Endless: " + b"x" * 10_000 + b"\r\n"
        assert is_closed_by_sending(lambda: stream.sendall(part), 1_000)


def test_an_endless_websocket_message_is_closed(farm: StreamFarm) -> None:
    link = WebSocketLink(connected(farm.at(WS)))
    link.send_raw(b"\x02\xff" + (1 << 40).to_bytes(8) + b"\0\0\0\0")
    assert is_closed_by_sending(lambda: link.send_raw(b"x" * 10_000), 1_000)
    link.close()


def test_a_peer_that_never_reads_is_closed(farm: StreamFarm) -> None:
    """What it is answered is thrown away with it, whatever it goes on asking."""
    with connected(farm.at(UDP), farm.phone(3)) as stream:
        stream.settimeout(20.0)
        phone = phone_on(StreamLink(stream), "alice")
        uri = f"sip:{DOMAIN}"
        lines = (
            ("From", f"<{phone.aor}>;tag=1"),
            ("To", f"<{uri}>"),
            ("Call-ID", "never-read@phone.invalid"),
            ("CSeq", "1 OPTIONS"),
            ("X-Long", "x" * 500),
        )
        assert is_closed_by_sending(lambda: phone.send_request("OPTIONS", uri, lines), 200_000)
    assert not any("member_silent" in line for line in farm.processes[0].lines)


def via_and_route_name(routes: tuple[str, ...], kind: str) -> bool:
    """Whether our Record-Route tells the transport that the phone is on."""
    return any(f"transport={kind}" in route for route in routes)
