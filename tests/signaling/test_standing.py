"""What a request shows of its sender."""

from collections.abc import Callable

import pytest

from sipfarm.base.records import RegisterUpdate
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import Answer, Forward, Reject
from sipfarm.signaling.standing import Standing
from tests.signaling.plain_sip import (
    Member,
    PlainRequest,
    answered,
    example_records,
    register,
    request,
)

CONTACT = ("Contact", "<sip:alice@192.0.2.10>")
Make = Callable[[], PlainRequest]


def invite() -> PlainRequest:
    return request()


def enrolment() -> PlainRequest:
    return register(CONTACT)


def with_credentials(member: Member, made: PlainRequest, **changes: str) -> PlainRequest:
    """The request with an answer to the challenge that it gets."""
    challenge = member.judge(made).result
    assert isinstance(challenge, Reject | Reply)
    name = "Authorization" if challenge.status == 401 else "Proxy-Authorization"
    value = answered(made, Reply(407, "", challenge.headers), "alice", **changes)
    return made.with_lines((name, value), branch="2")


@pytest.mark.parametrize("make", [invite, enrolment])
def test_whoever_shows_nothing_is_unproven(make: Make) -> None:
    assert Member(example_records()).judge(make()).standing is Standing.UNPROVEN


@pytest.mark.parametrize(("make", "kind"), [(invite, Forward), (enrolment, RegisterUpdate)])
def test_a_password_proves_a_sender_and_a_network_is_trusted(
    make: Make, kind: type[object]
) -> None:
    made = make()
    member = Member(example_records())
    proven = member.judge(with_credentials(member, made))
    assert isinstance(proven.result, kind)
    assert proven.standing is Standing.PROVEN
    trusting = Member(example_records(), trusted=("192.0.2.0/24",))
    assert trusting.judge(made).standing is Standing.TRUSTED


@pytest.mark.parametrize("make", [invite, enrolment])
def test_a_wrong_password_over_our_nonce_is_held_against_its_source(make: Make) -> None:
    member = Member(example_records())
    guess = with_credentials(member, make(), password="guess")
    assert member.judge(guess).standing is Standing.REFUSED


@pytest.mark.parametrize("make", [invite, enrolment])
@pytest.mark.parametrize("password", ["guess", "alice-pw"])
def test_what_another_source_got_a_nonce_for_tells_nothing(make: Make, password: str) -> None:
    """A datagram's source may be forged, and a guess must not be told from the password."""
    member = Member(example_records())
    replayed = with_credentials(member, make(), password=password).from_source(
        ("203.0.113.9", 5_060)
    )
    judged = member.judge(replayed)
    assert judged.standing is Standing.UNPROVEN
    assert isinstance(judged.result, Reject | Reply)
    assert "stale=true" in judged.result.headers[0][1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: request("INVITE", "sip:evil@203.0.113.66", caller="<sip:me@elsewhere.test>;tag=1"),
        lambda: request("INVITE", "sip:bob@example.test", ("Route", "<sip:203.0.113.66;lr>")),
        lambda: register(CONTACT, aor="sip:x@elsewhere.test", request_uri="sip:elsewhere.test"),
    ],
)
def test_who_asks_for_what_is_not_ours_is_foreign_unless_trusted(make: Make) -> None:
    assert Member(example_records()).judge(make()).standing is Standing.FOREIGN
    trusting = Member(example_records(), trusted=("192.0.2.0/24",))
    assert trusting.judge(make()).standing is Standing.TRUSTED


def test_the_end_of_a_call_that_nobody_knows_is_no_fault() -> None:
    """Phones end their calls after a restart of the farm, too."""
    made = request("BYE", to="<sip:bob@example.test>;tag=gone")
    assert Member(example_records()).judge(made).standing is Standing.UNPROVEN


def test_options_of_a_stranger_are_answered() -> None:
    judged = Member(example_records()).judge(request("OPTIONS", "sip:example.test"))
    assert isinstance(judged.result, Answer)
    assert judged.is_of_stranger
