"""What strangers try: relaying through the farm, passing for an account, filling its tables."""

import pytest

from sipfarm.signaling.digest import CountsSettings, DigestSettings
from sipfarm.signaling.lookup_cache import CacheSettings
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import Forward, HandToTask, Redirect, Reject
from tests.signaling.plain_sip import (
    PHONE,
    WALL_MS,
    Member,
    PlainRequest,
    answered,
    example_records,
    register,
    request,
)

STRANGER = "<sip:stranger@elsewhere.test>;tag=s"
ALICE = "<sip:alice@example.test>;tag=a"
EVIL = "sip:evil@203.0.113.66"


def authorized(member: Member, made: PlainRequest) -> PlainRequest:
    """The request with alice's answer to the farm's challenge."""
    challenge = member.decide(made)
    assert isinstance(challenge, Reject)
    value = answered(made, Reply(407, "", challenge.headers), "alice")
    return made.with_lines(("Proxy-Authorization", value), branch="2")


def refused(decision: object) -> bool:
    return isinstance(decision, Reject) and 400 <= decision.status < 500


@pytest.mark.parametrize("caller", [STRANGER, ALICE, "<sip:127.0.0.1>;tag=x", f"<{EVIL}>;tag=e"])
@pytest.mark.parametrize(
    ("request_uri", "lines"),
    [
        (EVIL, []),
        ("sip:+900123456@gateway.test", []),
        (EVIL, [("Route", "<sip:127.0.0.1:5060;lr>")]),
        (EVIL, [("Route", "<sip:example.test;lr>"), ("Route", "<sip:203.0.113.66;lr>")]),
        ("sip:bob@example.test", [("Route", "<sip:203.0.113.66;lr>")]),
        ("sip:bob@example.test", [("Route", "<sip:127.0.0.1:5060;lr>, <sip:203.0.113.66;lr>")]),
        ("sip:bob@example.test", [("Route", "<sip:127.0.0.1:40000;lr>")]),
        ("sip:bob@example.test;maddr=203.0.113.66", []),
        ("sip:bob@example.test;maddr=127.0.0.1", []),
        ("sip:evil%40203.0.113.66@example.test", []),
        ("sip:bob@203.0.113.66;maddr=127.0.0.1", []),
        ("sip:bob@127.0.0.1:40000", []),
        ("sip:bob@127.0.0.1.203.0.113.66", []),
        ("sip:bob@example.test.evil.test", []),
        ("tel:+900123456", []),
    ],
)
@pytest.mark.parametrize("to", ["<sip:bob@example.test>", f"<{EVIL}>;tag=invented"])
def test_no_header_makes_the_farm_an_open_relay(
    caller: str, request_uri: str, lines: list[tuple[str, str]], to: str
) -> None:
    member = Member(example_records())
    made = request("INVITE", request_uri, *lines, caller=caller, to=to)
    assert refused(member.decide(made))


def test_a_request_uri_with_headers_is_no_message() -> None:
    """RFC 3261 §19.1.1."""
    with pytest.raises(ValueError, match="400"):
        request("INVITE", "sip:bob@example.test?Route=%3Csip:203.0.113.66%3E")


@pytest.mark.parametrize(
    ("request_uri", "lines"),
    [
        (EVIL, []),
        (EVIL, [("Route", "<sip:127.0.0.1:5060;lr>")]),
        ("sip:bob@127.0.0.1:40000", []),
        ("sip:+900123456@gateway.test", []),
    ],
)
def test_an_account_does_not_get_out_either(request_uri: str, lines: list[tuple[str, str]]) -> None:
    member = Member(example_records())
    assert refused(member.decide(authorized(member, request("INVITE", request_uri, *lines))))


def test_a_trusted_source_does_not_get_out_either() -> None:
    member = Member(example_records(), trusted=("192.0.2.0/24",))
    assert member.decide(request("INVITE", EVIL)) == Reject(403, "Relaying Denied")


def test_no_route_of_a_request_is_followed() -> None:
    member = Member(example_records(), trusted=("192.0.2.0/24",))
    made = request(
        "INVITE", "sip:bob@example.test", ("Route", "<sip:mark@127.0.0.1:5060;lr;x=borrowed>")
    )
    decision = member.decide(made)
    assert isinstance(decision, Forward)
    assert [target.route for step in decision.steps for target in step.targets] == [()]


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "NOTIFY", "OPTIONS"])
@pytest.mark.parametrize("to", ["<sip:bob@example.test>", "<sip:bob@example.test>;tag=invented"])
def test_an_invented_to_tag_does_not_spare_the_digest(method: str, to: str) -> None:
    decision = Member(example_records()).decide(request(method, to=to, caller=ALICE))
    assert isinstance(decision, Reject)
    assert decision.status == 407


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INFO", "PRACK"])
def test_an_invented_dialog_goes_nowhere(method: str) -> None:
    made = request(method, EVIL, ("Route", "<sip:127.0.0.1:5060;lr>"), to=f"<{EVIL}>;tag=invented")
    assert Member(example_records()).decide(made) == Reject(481)


def test_a_dead_dialog_with_a_foreign_target_is_481_so_that_phones_end_it() -> None:
    member = Member(example_records())
    made = authorized(member, request("INVITE", EVIL, to=f"<{EVIL}>;tag=t"))
    assert member.decide(made) == Reject(481)


@pytest.mark.parametrize("source", [(PHONE[0], 6_666), ("203.0.113.66", 5_060)])
def test_a_digest_replayed_from_elsewhere_calls_nobody(source: tuple[str, int]) -> None:
    member = Member(example_records())
    seen = authorized(member, request())
    decision = member.decide(seen.from_source(source))
    assert isinstance(decision, Reject)
    assert decision.status == 407


def test_a_digest_replayed_in_another_transaction_calls_nobody() -> None:
    member = Member(example_records())
    seen = authorized(member, request())
    assert isinstance(member.decide(seen), Forward)
    decision = member.decide(seen.with_lines(branch="3"))
    assert isinstance(decision, Reject)
    assert decision.status == 407


def test_a_digest_of_one_request_does_not_fit_another() -> None:
    member = Member(example_records())
    seen = authorized(member, request("INVITE", "sip:carol@example.test"))
    value = seen.header("Proxy-Authorization")
    assert value is not None
    for other in (request("MESSAGE", "sip:carol@example.test"), request("INVITE")):
        decision = member.decide(other.with_lines(("Proxy-Authorization", value)))
        assert isinstance(decision, Reject)
        assert decision.status == 407


def test_the_answer_to_a_registrar_does_not_pass_at_the_proxy() -> None:
    """Method and URI are in the digest (RFC 7616 §3.4.3)."""
    member = Member(example_records())
    made = register(("Contact", "<sip:alice@192.0.2.10>"))
    challenge = member.receive(made)
    assert isinstance(challenge, Reply)
    value = answered(made, challenge, "alice")
    decision = member.decide(request("INVITE").with_lines(("Proxy-Authorization", value)))
    assert isinstance(decision, Reject)
    assert decision.status == 407


def test_an_account_of_one_domain_is_nobody_in_another() -> None:
    member = Member(example_records())
    made = request("INVITE", "sip:dora@127.0.0.1", caller="<sip:dora@127.0.0.1>;tag=1")
    challenge = member.decide(made)
    assert isinstance(challenge, Reject)
    value = answered(made, Reply(407, "", challenge.headers), "alice")
    again = member.decide(made.with_lines(("Proxy-Authorization", value), branch="2"))
    assert isinstance(again, Reject)
    assert again.status == 407


def test_an_unknown_user_is_challenged_like_a_known_one() -> None:
    """Nobody learns who has an account without having one."""
    member = Member(example_records())
    for caller in ("alice", "nobody"):
        made = request("INVITE", caller=f"<sip:{caller}@example.test>;tag=1")
        assert [name for name, _ in member.decide(made).headers] == ["Proxy-Authenticate"] * 2
    for callee in ("bob", "nobody", "echo"):
        decision = member.decide(request("INVITE", f"sip:{callee}@example.test"))
        assert isinstance(decision, Reject)
        assert decision.status == 407


def test_a_stranger_reaches_no_task() -> None:
    member = Member(example_records())
    for user in ("echo", "menu", "600", "conference-1"):
        made = request("INVITE", f"sip:{user}@example.test", caller=STRANGER)
        assert not isinstance(member.decide(made), HandToTask | Forward | Redirect)


def test_a_flood_of_unknown_names_keeps_the_caches_bounded() -> None:
    cache = CacheSettings(entries_max=100)
    member = Member(example_records(), trusted=("192.0.2.0/24",), cache=cache)
    for number in range(1_000):
        member.decide(request("INVITE", f"sip:u{number}@example.test"))
        member.decide(request("INVITE", f"sip:u@d{number}.test"))
    assert len(member.tenants._addressees) <= 100
    assert len(member.tenants._domains) <= 100


def test_a_register_flood_without_passwords_leaves_nothing_behind() -> None:
    member = Member(example_records())
    for number in range(1, 1_001):
        made = register(("Contact", f"<sip:a@192.0.2.10:{number}>"), source=(PHONE[0], number))
        reply = member.receive(made)
        assert isinstance(reply, Reply)
        assert reply.status == 401
    assert member.digest.nonces_known == 0


def test_a_register_flood_with_a_password_keeps_the_nonce_memory_bounded() -> None:
    settings = DigestSettings(counts=CountsSettings(nonces_max=50))
    member = Member(example_records(), digest=settings)
    for number in range(200):
        made = register(("Contact", "<sip:a@192.0.2.10>"), cseq=number + 1)
        challenge = member.receive(made, WALL_MS + number)
        assert isinstance(challenge, Reply)
        value = answered(made, challenge, "alice")
        again = made.with_lines(("Authorization", value), branch=str(number))
        assert not isinstance(member.receive(again, WALL_MS + number), Reply)
    assert member.digest.nonces_known == 50


def test_a_contact_that_sends_calls_back_into_the_farm_is_refused() -> None:
    """RFC 5393 §4: no loops that multiply."""
    member = Member(example_records(), trusted=("192.0.2.0/24",))
    for contact in ("sip:alice@example.test", "sip:bob@127.0.0.1", "sip:x@198.51.100.1:5060"):
        reply = member.receive(register(("Contact", f"<{contact}>")))
        assert isinstance(reply, Reply)
        assert reply.status == 403
