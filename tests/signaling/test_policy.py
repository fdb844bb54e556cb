"""The stock routing policy (RFC 3261 §16.3 to §16.6)."""

import pytest

from sipfarm.signaling.policy import stock_policy
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import (
    Answer,
    Decision,
    Forward,
    HandToTask,
    PolicySettings,
    Reject,
    Step,
    Target,
)
from sipfarm.signaling.standing import Judged, Standing
from tests.signaling.plain_sip import (
    PHONE,
    WALL_MS,
    Member,
    PlainRequest,
    answered,
    binding,
    example_records,
    request,
)

BOB_AOR = "sip:bob@example.test"
BOB = Target("sip:bob@192.0.2.20:5060", aor=BOB_AOR)


def open_member(**more: object) -> Member:
    """A member that trusts these phones, so that what is tested is where a request goes."""
    return Member(example_records(), trusted=("192.0.2.0/24",), **more)


def proven(
    member: Member, made: PlainRequest, user: str = "alice", wall_ms: int = WALL_MS
) -> Decision:
    """What becomes of a request whose sender answers the challenge."""
    challenge = member.decide(made, wall_ms)
    assert isinstance(challenge, Reject)
    assert challenge.status == 407
    value = answered(made, Reply(407, "", challenge.headers), user)
    decision = member.decide(made.with_lines(("Proxy-Authorization", value), branch="2"), wall_ms)
    assert isinstance(decision, Decision)
    return decision


def targets(decision: object) -> list[list[str]]:
    assert isinstance(decision, Forward)
    return [[target.uri for target in step.targets] for step in decision.steps]


def status(decision: object) -> int:
    if isinstance(decision, Answer):
        return decision.reply.status
    assert isinstance(decision, Reject), decision
    return decision.status


def test_a_call_from_an_account_is_challenged_for_its_domain() -> None:
    """RFC 3261 §22.3."""
    decision = Member(example_records()).decide(request())
    assert isinstance(decision, Reject)
    assert decision.status == 407
    assert all('realm="example.test"' in value for _, value in decision.headers)


def test_a_call_with_digest_goes_to_the_binding() -> None:
    decision = proven(Member(example_records()), request())
    assert decision == Forward(
        (Step((BOB,), 180_000),),
        media="relay",
        record_route=True,
        remove_headers=("P-Asserted-Identity", "P-Preferred-Identity", "Proxy-Authorization"),
    )


def test_a_trusted_source_calls_without_digest_and_may_assert() -> None:
    decision = open_member().decide(request())
    assert isinstance(decision, Forward)
    assert decision.remove_headers == ()


def test_an_expired_nonce_is_challenged_as_stale() -> None:
    member = Member(example_records())
    made = request()
    challenge = member.decide(made)
    assert isinstance(challenge, Reject)
    value = answered(made, Reply(407, "", challenge.headers), "alice")
    again = made.with_lines(("Proxy-Authorization", value), branch="2")
    decision = member.decide(again, WALL_MS + 120_000)
    assert isinstance(decision, Reject)
    assert all("stale=true" in value for _, value in decision.headers)


@pytest.mark.parametrize("user", ["alice", "al", "1001"])
def test_from_may_name_the_account_by_alias_or_number(user: str) -> None:
    made = request(caller=f"<sip:{user}@example.test>;tag=1")
    assert targets(proven(Member(example_records()), made)) == [[BOB.uri]]


@pytest.mark.parametrize("user", ["carol", "nobody", "Alice", "1002"])
def test_from_must_be_the_account_that_was_proven(user: str) -> None:
    made = request(caller=f"<sip:{user}@example.test>;tag=1")
    assert proven(Member(example_records()), made) == Reject(403, "From Is Not Yours")


def test_an_anonymous_caller_proves_itself_in_the_domain_it_calls() -> None:
    """RFC 3323 §4.1.1.3."""
    made = request(caller='"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1')
    assert targets(proven(Member(example_records()), made)) == [[BOB.uri]]


def test_a_foreign_from_is_refused_even_with_a_password() -> None:
    made = request(caller="<sip:alice@elsewhere.test>;tag=1")
    assert proven(Member(example_records()), made) == Reject(403, "From Is Not Yours")


@pytest.mark.parametrize(
    ("request_uri", "expected"),
    [
        ("sip:bob@example.test", 0),
        ("sip:1002@example.test", 0),
        ("sip:%62ob@EXAMPLE.test.:5060;transport=tcp", 0),
        ("sip:+15551002@example.test;user=phone", 0),
        ("tel:1002", 0),
        ("tel:+1-555-1002", 0),
        ("sip:Bob@example.test", 404),
        ("sip:100@example.test", 404),
        ("tel:999", 404),
        ("sip:nobody@example.test", 404),
        ("sip:bob%40evil.test@example.test", 404),
        ("sip:example.test", 404),
        ("sip:bob@127.0.0.1", 404),
        ("sip:bob@198.51.100.1:5060", 404),
        ("sip:carol@example.test", 480),
        ("sip:dora@127.0.0.1", 480),
        ("sip:dora@127.0.0.1:5061", 480),
        ("sip:dora@127.0.0.1:40000", 403),  # a phone, not the domain (DESIGN §6)
        ("sip:bob@elsewhere.test", 403),
        ("mailto:bob@example.test", 416),
    ],
)
def test_where_a_request_uri_leads(request_uri: str, expected: int) -> None:
    """RFC 3261 §16.5, §21.4."""
    decision = open_member().decide(request("INVITE", request_uri, to="<sip:x@example.test>"))
    if expected:
        assert status(decision) == expected
    else:
        assert targets(decision) == [[BOB.uri]]


def test_a_tel_uri_is_a_number_of_the_callers_domain() -> None:
    made = request("INVITE", "tel:1002", caller="<sip:dora@127.0.0.1>;tag=1")
    assert status(open_member().decide(made)) == 404


def test_a_call_from_domain_to_domain_needs_the_callers_digest() -> None:
    made = request(caller="<sip:dora@127.0.0.1>;tag=1")
    assert targets(proven(Member(example_records()), made, "dora")) == [[BOB.uri]]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("menu", HandToTask("shop.menu:run", "example.test")),
        ("600", HandToTask("shop.menu:run", "example.test")),
        ("echo", HandToTask("echo", "example.test")),
        ("ECHO", HandToTask("echo", "example.test")),
        ("conference-42", HandToTask("conference", "example.test", ("42",))),
        ("conference-", Reject(404)),
        ("conference", Reject(404)),
        ("voicemail", Reject(404)),  # no such task in this farm
        ("music", Reject(404)),
        ("parrot", Reject(404)),  # an application of a stock task that there is not
    ],
)
def test_applications_and_stock_addresses(user: str, expected: Decision) -> None:
    assert open_member().decide(request("INVITE", f"sip:{user}@example.test")) == expected


def test_a_task_takes_calls_and_nothing_else() -> None:
    member = open_member()
    message = member.decide(request("MESSAGE", "sip:echo@example.test"))
    assert isinstance(message, Reject)
    assert (message.status, message.headers[0][0]) == (405, "Allow")
    assert status(member.decide(request("OPTIONS", "sip:echo@example.test"))) == 200


@pytest.mark.parametrize(
    ("method", "record_route", "media"),
    [
        ("INVITE", True, "relay"),
        ("SUBSCRIBE", True, "direct"),
        ("REFER", True, "direct"),
        ("MESSAGE", False, "direct"),
        ("OPTIONS", False, "direct"),
        ("PUBLISH", False, "direct"),
    ],
)
def test_what_forms_no_dialog_is_forwarded_without_a_trace(
    method: str, record_route: bool, media: str
) -> None:
    decision = open_member().decide(request(method))
    assert isinstance(decision, Forward)
    assert (decision.record_route, decision.media) == (record_route, media)


@pytest.mark.parametrize("method", ["BYE", "PRACK", "UPDATE", "INFO"])
def test_a_request_of_no_known_dialog_is_told_so(method: str) -> None:
    """RFC 3261 §12.2.2."""
    made = request(method, to="<sip:bob@example.test>;tag=invented")
    assert Member(example_records()).decide(made) == Reject(481)


def test_equal_q_rings_together_and_lower_q_later() -> None:
    """RFC 3261 §16.6."""
    member = open_member()
    member.records.aors[BOB_AOR] = (
        binding("sip:b@192.0.2.1", q=500),
        binding("sip:b@192.0.2.2"),
        binding("sip:b@192.0.2.3", q=100),
        binding("sip:b@192.0.2.4"),
        binding("sip:b@192.0.2.5", expires_s=0),
    )
    decision = member.decide(request())
    assert targets(decision) == [
        ["sip:b@192.0.2.2", "sip:b@192.0.2.4"],
        ["sip:b@192.0.2.1"],
        ["sip:b@192.0.2.3"],
    ]
    assert isinstance(decision, Forward)
    assert [step.timeout_ms for step in decision.steps] == [30_000, 30_000, 180_000]


def test_what_is_no_invite_goes_to_all_phones_at_once() -> None:
    """RFC 4320: there is no time for a second step."""
    member = open_member()
    member.records.aors[BOB_AOR] = (binding("sip:b@192.0.2.1", q=500), binding("sip:b@192.0.2.2"))
    decision = member.decide(request("MESSAGE"))
    assert targets(decision) == [["sip:b@192.0.2.2", "sip:b@192.0.2.1"]]


def test_two_flows_of_one_phone_are_one_target() -> None:
    """RFC 5626 §5.3."""
    member = open_member()
    member.records.aors[BOB_AOR] = (
        binding("sip:b@h1.invalid", instance_id="i", reg_id=1, flow="f1", received="tcp:1.2.3.4:5"),
        binding("sip:b@h2.invalid", instance_id="i", reg_id=2, flow="f2", expires_s=700),
        binding("sip:b@192.0.2.2", instance_id="j", path=("<sip:edge.test;lr>",)),
    )
    decision = member.decide(request())
    assert isinstance(decision, Forward)
    assert decision.steps[0].targets == (
        Target(
            "sip:b@h2.invalid",
            flow="f2",
            others=(Target("sip:b@h1.invalid", flow="f1", received="tcp:1.2.3.4:5", aor=BOB_AOR),),
            aor=BOB_AOR,
        ),
        Target("sip:b@192.0.2.2", ("<sip:edge.test;lr>",), aor=BOB_AOR),
    )


def test_the_branches_of_a_fork_are_bounded() -> None:
    member = open_member()
    member.records.aors[BOB_AOR] = tuple(binding(f"sip:b@192.0.2.{n}") for n in range(1, 17))
    assert len(targets(member.decide(request()))[0]) == 10


def test_a_secure_request_goes_to_secure_contacts_only() -> None:
    """RFC 3261 §16.5, §26.2.2."""
    member = open_member()
    made = request("INVITE", "sips:bob@example.test")
    assert status(member.decide(made)) == 480
    member.records.aors[BOB_AOR] = (binding("sips:b@192.0.2.1"), binding("sip:b@192.0.2.2"))
    member.locations.forget(BOB_AOR)
    assert targets(member.decide(made)) == [["sips:b@192.0.2.1"]]


@pytest.mark.parametrize(
    "request_uri",
    ["sip:example.test", "sip:127.0.0.1:5060", "sip:198.51.100.1", "sip:127.0.0.1:5061;lr"],
)
def test_options_to_the_farm_is_answered(request_uri: str) -> None:
    """RFC 3261 §11.2."""
    decision = Member(example_records()).decide(
        request("OPTIONS", request_uri, caller="<sip:probe@elsewhere.test>;tag=1")
    )
    assert isinstance(decision, Answer)
    assert decision.reply.status == 200
    assert {"Allow", "Accept", "Supported"} <= {name for name, _ in decision.reply.headers}


def test_options_that_requires_the_unknown_is_refused() -> None:
    made = request("OPTIONS", "sip:example.test", ("Require", "x-new"))
    assert status(Member(example_records()).decide(made)) == 420


def test_proxy_require_is_refused_by_name() -> None:
    """RFC 3261 §16.3 step 5."""
    made = request("INVITE", BOB_AOR, ("Proxy-Require", "sec-agree, x-new"))
    assert open_member().decide(made) == Reject(420, "", (("Unsupported", "sec-agree, x-new"),))


def test_a_malformed_route_is_a_bad_request() -> None:
    assert status(open_member().decide(request("INVITE", BOB_AOR, ("Route", "<sip:open")))) == 400


def test_accounts_call_the_foreign_domains_of_the_policy() -> None:
    settings = PolicySettings(foreign_domains=frozenset({"partner.test"}))
    member = Member(example_records(), settings=settings)
    made = request("INVITE", "sip:zoe@partner.test")
    assert targets(proven(member, made)) == [["sip:zoe@partner.test"]]
    stranger = request("INVITE", "sip:zoe@partner.test", caller="<sip:x@elsewhere.test>;tag=1")
    assert status(member.decide(stranger)) == 403


def test_records_at_hand_are_not_asked_for_again() -> None:
    member = open_member()
    first = member.decide(request())
    asked = len(member.records.asked)
    assert member.router.decide(request(), (1_000_000, WALL_MS)) == Judged(first, Standing.TRUSTED)
    assert len(member.records.asked) == asked


def test_a_store_that_is_away_is_a_503() -> None:
    member = open_member()
    member.records.is_away = True
    assert member.decide(request()) == Reject(503, "", (("Retry-After", "5"),))


def test_known_phones_are_called_while_the_store_is_away() -> None:
    member = open_member()
    member.decide(request())
    member.records.is_away = True
    assert targets(member.decide(request(), WALL_MS + 300_000)) == [[BOB.uri]]


def test_the_digest_is_judged_once_though_records_are_looked_up_between() -> None:
    """The nonce count is used up by the transaction, not by each look at it."""
    member = Member(example_records())
    made = request()
    challenge = member.decide(made)
    assert isinstance(challenge, Reject)
    value = answered(made, Reply(407, "", challenge.headers), "alice")
    again = made.with_lines(("Proxy-Authorization", value), branch="2")
    member.tenants.doubt()
    member.locations.doubt()
    assert targets(member.decide(again)) == [[BOB.uri]]
    assert targets(member.decide(again)) == [[BOB.uri]]


def test_the_stock_policy_is_what_a_provider_may_fall_back_on() -> None:
    member = Member(example_records(), policy=lambda inquiry: stock_policy(inquiry))
    assert targets(proven(member, request(source=PHONE))) == [[BOB.uri]]
