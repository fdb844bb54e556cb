"""SIPp against one real member: every flow, over UDP, TCP and from one to the other."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipfarm.testing.plain_phone import PlainAnswer, PlainPhone, authorization
from sipfarm.testing.real_farm import DOMAIN, RealFarm

pytestmark = [pytest.mark.early, pytest.mark.timeout(120)]

FLOWS = (
    ("call_uac", "call_uas"),
    ("cancel_uac", "cancel_uas"),
    ("busy_uac", "busy_uas"),
    ("reinvite_uac", "reinvite_uas"),
    ("prack_update_uac", "prack_update_uas"),
    ("bye_from_callee_uac", "bye_from_callee_uas"),
)
CALLS = 3
ANSWER_S = 10.0
ENDLESS_BYTES = 10_000_000
ALICE = f"alice@{DOMAIN}"


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> RealFarm:
    return start_farm(at_rest=True, members=1)


@pytest.fixture
def peers(farm: RealFarm, peers_of: Callable[[RealFarm], Any]) -> Iterator[Any]:
    yield peers_of(farm)
    farm.wait_calls_over()


def challenge_of(answer: PlainAnswer, header: str, algorithm: str) -> str:
    return next(value for value in answer.headers(header) if f"algorithm={algorithm}" in value)


@pytest.mark.parametrize("transports", ["u1-u1", "t1-t1", "u1-t1", "t1-u1"])
@pytest.mark.parametrize(("caller", "phone"), FLOWS)
def test_a_flow_goes_through(peers: Any, caller: str, phone: str, transports: str) -> None:
    of_caller, of_phone = transports.split("-")
    called = peers.phone(phone, calls=CALLS, transport=of_phone)
    to = called.call.service
    peers.caller(caller, service=to, calls=CALLS, transport=of_caller).succeed()
    called.succeed()


def test_a_retransmitted_200_is_acknowledged_again(peers: Any) -> None:
    called = peers.phone("retransmitted_200_uas", calls=CALLS)
    peers.caller("call_uac", service=called.call.service, calls=CALLS, hold_ms=1_000).succeed()
    called.succeed()
    acks = [text for received, text in called.messages if received and text.startswith("ACK ")]
    assert len(acks) >= 2 * CALLS


def test_a_retransmitted_invite_makes_one_call(peers: Any) -> None:
    called = peers.phone("ring_late_uas", calls=CALLS)
    to = called.call.service
    peers.caller("retransmitted_invite_uac", service=to, calls=CALLS).succeed()
    assert called.succeed().taken == CALLS
    invites = {text for received, text in called.messages if received and text[:7] == "INVITE "}
    assert len(invites) == CALLS


def test_a_call_without_an_answer_is_given_up(peers: Any) -> None:
    called = peers.phone("cancel_uas", service="tardy", calls=CALLS)
    peers.caller("no_answer_uac", service="tardy", calls=CALLS).succeed()
    called.succeed()


def test_registrations_are_listed_page_by_page(farm: RealFarm, peers: Any) -> None:
    users = [farm.unused_user() for _ in range(3)]
    for number, user in enumerate(users, start=2):
        peers.register(user, farm.trusted(number))
    whole = [(found.aor, found.contact) for found in farm.registrations()]
    assert {f"sip:{user}@{DOMAIN}" for user in users} <= {aor for aor, _ in whole}
    for together in (1, 2):
        by_pages = farm.registrations(together=together)
        assert [(found.aor, found.contact) for found in by_pages] == whole


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_a_call_rings_at_all_bindings_and_one_answers(
    farm: RealFarm, peers: Any, transport: str
) -> None:
    first = peers.phone("fork_winner_uas", calls=CALLS, transport=transport)
    to = first.call.service
    second = peers.phone("cancel_uas", service=to, local=farm.trusted(3), calls=CALLS)
    peers.caller("call_uac", service=to, calls=CALLS, transport=transport).succeed()
    first.succeed()
    second.succeed()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest_is_asked_of_a_stranger_who_registers_and_calls(
    farm: RealFarm, peers: Any, algorithm: str
) -> None:
    called = peers.phone("busy_uas")
    uri = f"sip:{called.call.service}@{DOMAIN}"
    with PlainPhone(farm.untrusted(1), farm.listen) as stranger:
        registrar = f"sip:{DOMAIN}"
        first = stranger.ask(stranger.request("REGISTER", registrar, ALICE, to=ALICE))
        assert first.status == 401
        challenge = challenge_of(first, "WWW-Authenticate", algorithm)
        line = authorization(challenge, "REGISTER", registrar, "alice", "alice-secret")
        second = stranger.ask(stranger.request("REGISTER", registrar, ALICE, line, to=ALICE))
        assert second.status == 200
        assert str(stranger.local) in second.headers("Contact")[0]
        first = stranger.ask(stranger.request("INVITE", uri, ALICE))
        assert first.status == 407
        challenge = challenge_of(first, "Proxy-Authenticate", algorithm)
        line = authorization(challenge, "INVITE", uri, "alice", "alice-secret", proxy=True)
        assert stranger.ask(stranger.request("INVITE", uri, ALICE, line)).status == 486
    called.succeed()


def test_a_wrong_password_is_refused(farm: RealFarm, peers: Any) -> None:
    with PlainPhone(farm.untrusted(1), farm.listen) as stranger:
        for method, uri, header, status in (
            ("REGISTER", f"sip:{DOMAIN}", "WWW-Authenticate", 401),
            ("INVITE", f"sip:bob@{DOMAIN}", "Proxy-Authenticate", 407),
        ):
            first = stranger.ask(stranger.request(method, uri, ALICE, to=ALICE))
            challenge = challenge_of(first, header, "SHA-256")
            proxy = status == 407
            line = authorization(challenge, method, uri, "alice", "wrong", proxy=proxy)
            assert (
                stranger.ask(stranger.request(method, uri, ALICE, line, to=ALICE)).status == status
            )


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        (f"sip:nobody@{DOMAIN}", 404),
        (f"sip:p99@{DOMAIN}", 480),
        ("sip:bob@elsewhere.test", 403),
        ("sip:bob@127.0.0.99:5060", 403),
    ],
)
def test_a_call_that_leads_nowhere_is_refused(
    farm: RealFarm, peers: Any, uri: str, status: int
) -> None:
    with PlainPhone(farm.trusted(5), farm.listen) as phone:
        assert phone.ask(phone.request("INVITE", uri, ALICE)).status == status


@pytest.mark.parametrize(
    "line",
    ["Route: <sip:127.0.0.99;lr>", "Route: <sip:{farm};lr>, <sip:127.0.0.99;lr>"],
)
def test_a_stranger_finds_no_open_relay(farm: RealFarm, peers: Any, line: str) -> None:
    with PlainPhone(farm.untrusted(5), farm.listen) as phone:
        route = line.format(farm=farm.listen)
        invite = phone.request("INVITE", "sip:bob@elsewhere.test", "me@elsewhere.test", route)
        assert phone.ask(invite).status == 403


def test_a_malformed_request_is_answered_with_400(farm: RealFarm, peers: Any) -> None:
    with PlainPhone(farm.trusted(5), farm.listen) as phone:
        for wrong, right in (("CSeq: x", "CSeq: 1"), ("From: <<<", "From: <sip:a@b>")):
            whole = phone.request("OPTIONS", f"sip:{DOMAIN}", ALICE)
            name = right.partition(":")[0]
            broken = "\r\n".join(
                wrong + line[len(right) :] if line.startswith(f"{name}:") else line
                for line in whole.split("\r\n")
            )
            assert phone.ask(broken).status == 400
            assert phone.ask(whole.replace("z9hG4bK", "z9hG4bKw")).status == 200


def test_a_stream_without_an_end_is_closed(farm: RealFarm) -> None:
    with socket.create_connection((farm.listen.host, farm.listen.port), ANSWER_S) as stream:
        stream.settimeout(ANSWER_S)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            stream.sendall(b"X-Endless: " + b"x" * ENDLESS_BYTES)
