"""The REGISTER transaction user (RFC 3261 §10.3, RFC 3327, RFC 3608, RFC 5626)."""

import pytest

from sipfarm.base.records import Binding, RegisterOutcome, RegisterUpdate
from sipfarm.native import Batch, Engine, Hop, Output, PortPool
from sipfarm.signaling.registrar import RegistrarSettings
from sipfarm.signaling.registration import SCREENED_MS
from sipfarm.signaling.reply import Reply
from tests.signaling.plain_sip import (
    NOW_MS,
    PHONE,
    WALL_MS,
    Member,
    PlainRequest,
    answered,
    binding,
    example_records,
    register,
)

ALICE = "sip:alice@example.test"
CONTACT = ("Contact", "<sip:alice@192.0.2.10:5060>")
OUTBOUND = '+sip.instance="<urn:uuid:1>";reg-id=1'


def trusting(registrar: RegistrarSettings | None = None) -> Member:
    """A member that asks these phones for no digest."""
    return Member(example_records(), trusted=("192.0.2.0/24",), registrar=registrar)


def update_of(made: PlainRequest, flow_mark: str = "") -> RegisterUpdate:
    update = trusting().receive(made, flow_mark=flow_mark)
    assert isinstance(update, RegisterUpdate)
    return update


def one_contact(made: PlainRequest, flow_mark: str = "") -> Binding:
    (contact,) = update_of(made, flow_mark).contacts
    return contact


def values(reply: Reply, name: str) -> list[str]:
    return [value for header, value in reply.headers if header == name]


def test_a_register_without_digest_is_challenged() -> None:
    reply = Member(example_records()).receive(register(CONTACT))
    assert isinstance(reply, Reply)
    assert (reply.status, len(values(reply, "WWW-Authenticate"))) == (401, 2)


def test_a_register_with_digest_becomes_an_update() -> None:
    member = Member(example_records())
    made = register(CONTACT)
    challenge = member.receive(made)
    assert isinstance(challenge, Reply)
    again = made.with_lines(("Authorization", answered(made, challenge, "alice")), branch="2")
    update = member.receive(again)
    assert isinstance(update, RegisterUpdate)
    assert (update.aor, update.call_id, update.cseq) == (ALICE, "reg-1", 1)
    assert [c.contact for c in update.contacts] == ["sip:alice@192.0.2.10:5060"]


def test_the_challenge_of_one_member_is_answered_at_another() -> None:
    records = example_records()
    made = register(CONTACT)
    challenge = Member(records, number=1).receive(made)
    assert isinstance(challenge, Reply)
    again = made.with_lines(("Authorization", answered(made, challenge, "alice")), branch="2")
    assert isinstance(Member(records, number=2).receive(again), RegisterUpdate)


def test_a_wrong_password_is_challenged_anew_and_not_called_stale() -> None:
    member = Member(example_records())
    made = register(CONTACT)
    challenge = member.receive(made)
    assert isinstance(challenge, Reply)
    value = answered(made, challenge, "alice", password="guess")
    reply = member.receive(made.with_lines(("Authorization", value), branch="2"))
    assert isinstance(reply, Reply)
    assert reply.status == 401
    assert not any("stale" in value for value in values(reply, "WWW-Authenticate"))


def test_an_old_nonce_is_told_to_be_stale() -> None:
    member = Member(example_records())
    made = register(CONTACT)
    challenge = member.receive(made)
    assert isinstance(challenge, Reply)
    again = made.with_lines(("Authorization", answered(made, challenge, "alice")), branch="2")
    reply = member.receive(again, WALL_MS + 3_600_000)
    assert isinstance(reply, Reply)
    assert all("stale=true" in value for value in values(reply, "WWW-Authenticate"))


def test_malformed_credentials_are_a_bad_request() -> None:
    member = Member(example_records())
    reply = member.receive(register(CONTACT, ("Authorization", "Digest nonsense")))
    assert isinstance(reply, Reply)
    assert reply.status == 400


@pytest.mark.parametrize("user", ["bob", "1002", "nobody"])
def test_nobody_registers_anothers_address(user: str) -> None:
    """RFC 3261 §10.3 step 4; an address that nobody has is not found (step 5)."""
    member = Member(example_records())
    made = register(CONTACT, aor=f"sip:{user}@example.test")
    challenge = member.receive(made)
    assert isinstance(challenge, Reply)
    again = made.with_lines(("Authorization", answered(made, challenge, "alice")), branch="2")
    reply = member.receive(again)
    assert isinstance(reply, Reply)
    assert reply.status == (404 if user == "nobody" else 403)


@pytest.mark.parametrize(
    ("aor", "request_uri", "status"),
    [
        ("sip:nobody@example.test", "sip:example.test", 404),
        ("sip:menu@example.test", "sip:example.test", 404),
        ("sip:alice@elsewhere.test", "sip:elsewhere.test", 404),
        ("sip:alice@elsewhere.test", "sip:example.test", 403),
        ("sip:alice@example.test", "sip:elsewhere.test", 403),
        ("tel:1001", "sip:example.test", 403),
        ("sip:example.test", "sip:example.test", 404),
    ],
)
def test_only_accounts_of_the_domain_are_registered(
    aor: str, request_uri: str, status: int
) -> None:
    reply = trusting().receive(register(CONTACT, aor=aor, request_uri=request_uri))
    assert isinstance(reply, Reply)
    assert reply.status == status


@pytest.mark.parametrize("user", ["alice", "al", "1001"])
def test_an_alias_or_number_registers_the_account(user: str) -> None:
    assert update_of(register(CONTACT, aor=f"sip:{user}@Example.Test")).aor == ALICE


def test_the_request_uri_may_be_the_farms_own_address() -> None:
    assert update_of(register(CONTACT, request_uri="sip:198.51.100.1:5060")).aor == ALICE


def test_an_unknown_requirement_is_named() -> None:
    """RFC 3261 §10.3 step 2."""
    reply = trusting().receive(register(CONTACT, ("Require", "path, gruu, x-new")))
    assert reply == Reply(420, "", (("Unsupported", "gruu, x-new"),))


def test_a_register_without_contact_is_a_query() -> None:
    assert update_of(register()) == RegisterUpdate(ALICE, "reg-1", 1)


@pytest.mark.parametrize(
    ("contact", "expires", "granted_s"),
    [
        ("<sip:a@192.0.2.10:5060>", None, 3_600),
        ("<sip:a@192.0.2.10:5060>", "600", 600),
        ("<sip:a@192.0.2.10:5060>;expires=300", "600", 300),
        ("<sip:a@192.0.2.10:5060>;expires=86400", None, 7_200),
        ("<sip:a@192.0.2.10:5060>;expires=99999999999999", None, 7_200),
        ("<sip:a@192.0.2.10:5060>;expires=soon", None, 3_600),
        ("<sip:a@192.0.2.10:5060>", "soon", 3_600),
        ("<sip:a@192.0.2.10:5060>;expires=60", None, 60),
    ],
)
def test_expiry_is_bounded(contact: str, expires: str | None, granted_s: int) -> None:
    """RFC 3261 §10.2.1.1, §10.3 step 7, §20.10."""
    lines = [("Contact", contact)] + ([("Expires", expires)] if expires else [])
    assert one_contact(register(*lines)).expires_at_wall_ms == WALL_MS + granted_s * 1_000


def test_too_brief_an_interval_is_refused_with_the_least() -> None:
    reply = trusting().receive(register(("Contact", "<sip:a@192.0.2.10>;expires=59")))
    assert reply == Reply(423, "", (("Min-Expires", "60"),))


def test_expires_zero_removes_a_contact() -> None:
    update = update_of(register(("Contact", "<sip:a@192.0.2.10:5060>;expires=0")))
    assert not update.contacts
    assert [r.contact_key for r in update.removals] == ["sip:a@192.0.2.10:5060"]


def test_the_wildcard_removes_everything() -> None:
    assert update_of(register(("Contact", "*"), ("Expires", "0"))).wildcard


@pytest.mark.parametrize(
    "lines",
    [
        [("Contact", "*")],
        [("Contact", "*"), ("Expires", "60")],
        [("Contact", "*"), ("Expires", "nothing")],
        [("Contact", "*"), CONTACT, ("Expires", "0")],
    ],
)
def test_a_wildcard_with_anything_else_is_a_bad_request(lines: list[tuple[str, str]]) -> None:
    """RFC 3261 §10.3 step 6."""
    reply = trusting().receive(register(*lines))
    assert isinstance(reply, Reply)
    assert reply.status == 400


def test_several_contacts_with_q() -> None:
    contacts = "<sip:a@192.0.2.10:5060>;q=0.5, <sip:a@192.0.2.11:5060>;q=1.0"
    update = update_of(register(("Contact", contacts), ("Contact", "sip:a@192.0.2.12;q=0.25")))
    assert [c.q for c in update.contacts] == [500, 1_000, 250]


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        ("<sip:a@192.0.2.10", 400),
        ("<mailto:alice@example.test>", 403),
        ("<tel:+1555>", 403),
        ("<sip:a@192.0.2.10?Route=%3Csip:evil.test%3E>", 400),
        (f"<sip:{'a' * 1_100}@192.0.2.10>", 400),
        ("<sip:bob@example.test>", 403),
        ("<sip:bob@EXAMPLE.test.>", 403),
        ("<sip:bob@198.51.100.1>", 403),
        ("<sip:bob@127.0.0.1:5061>", 403),
        ("<sip:a@192.0.2.10>, <sip:a@192.0.2.10>", 400),
    ],
)
def test_a_contact_that_cannot_be_called_or_leads_back_is_refused(
    contact: str, status: int
) -> None:
    reply = trusting().receive(register(("Contact", contact)))
    assert isinstance(reply, Reply)
    assert reply.status == status


def test_a_phone_on_the_farms_own_host_may_register() -> None:
    made = register(("Contact", "<sip:a@127.0.0.1:40000>"), source=("127.0.0.1", 40_000))
    member = Member(example_records(), trusted=("127.0.0.0/8",))
    assert isinstance(member.receive(made), RegisterUpdate)


def test_the_contacts_of_one_register_are_bounded() -> None:
    lines = [("Contact", f"<sip:a@192.0.2.10:{port}>") for port in range(6_000, 6_017)]
    reply = trusting().receive(register(*lines))
    assert isinstance(reply, Reply)
    assert reply.status == 403


@pytest.mark.parametrize(
    ("source", "via", "contact", "received"),
    [
        (PHONE, PHONE, "sip:a@192.0.2.10:5060", ""),
        (PHONE, PHONE, "sip:a@192.0.2.10", ""),
        (PHONE, PHONE, "sip:a@192.0.2.10:7000", ""),  # another socket of the same host
        (PHONE, PHONE, "sip:a@203.0.113.5:5060", ""),  # a third party's registration
        (PHONE, ("10.0.0.5", 5060), "sip:a@10.0.0.5:5060", "udp:192.0.2.10:5060"),
        (PHONE, ("192.0.2.10", 5062), "sip:a@192.0.2.10:5062", "udp:192.0.2.10:5060"),
        (PHONE, PHONE, "sip:a@10.0.0.5:5060", "udp:192.0.2.10:5060"),
        (PHONE, PHONE, "sip:a@172.20.0.5:5060", "udp:192.0.2.10:5060"),
        (PHONE, PHONE, "sip:a@phone.local", "udp:192.0.2.10:5060"),
        (("10.0.0.9", 5060), ("10.0.0.9", 5060), "sip:a@10.0.0.5:5060", ""),
        (("2001:db8::1", 5060), ("[2001:db8::1]", 5060), "sip:a@[2001:db8::1]:5060", ""),
        (
            ("2001:db8::1", 5060),
            ("[fd00::1]", 5060),
            "sip:a@[fd00::1]:5060",
            "udp:[2001:db8::1]:5060",
        ),
    ],
)
def test_behind_a_nat_the_source_is_kept(
    source: tuple[str, int], via: tuple[str, int], contact: str, received: str
) -> None:
    networks = ("192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32")
    member = Member(example_records(), trusted=networks)
    made = register(("Contact", f"<{contact}>"), source=source, via=via)
    update = member.receive(made, flow_mark="mark")
    assert isinstance(update, RegisterUpdate)
    assert (update.contacts[0].received, update.contacts[0].flow) == (
        received,
        "mark" if received else "",
    )


def test_over_a_stream_the_flow_is_kept() -> None:
    contact = one_contact(
        register(("Contact", "<sip:a@x1.invalid;transport=ws>"), transport="ws"), "mark"
    )
    assert (contact.received, contact.flow) == ("ws:192.0.2.10:5060", "mark")


def test_behind_another_proxy_the_path_counts_and_not_the_source() -> None:
    """RFC 3327 §5.3."""
    path = ("<sip:edge.test;lr>", "<sip:inner.test;lr>")
    contact = one_contact(
        register(("Contact", "<sip:a@10.0.0.5>"), ("Path", ", ".join(path)), via=("10.0.0.5", 5060))
    )
    assert (contact.path, contact.received) == (path, "")


@pytest.mark.parametrize("path", [[f"<sip:p{n}.test;lr>" for n in range(9)], ["<sip:open"]])
def test_a_path_that_is_malformed_or_too_long_is_a_bad_request(path: list[str]) -> None:
    reply = trusting().receive(register(CONTACT, *[("Path", hop) for hop in path]))
    assert isinstance(reply, Reply)
    assert reply.status == 400


def test_an_outbound_registration_has_its_instance_and_reg_id() -> None:
    """RFC 5626 §6."""
    made = register(("Contact", f"<sip:a@192.0.2.10>;{OUTBOUND}"), ("Supported", "path, outbound"))
    contact = one_contact(made, "mark")
    assert (contact.instance_id, contact.reg_id) == ("<urn:uuid:1>", 1)
    assert (contact.received, contact.flow) == ("udp:192.0.2.10:5060", "mark")


@pytest.mark.parametrize(
    ("contact", "supported"),
    [
        (f"<sip:a@192.0.2.10>;{OUTBOUND}", "path"),
        ("<sip:a@192.0.2.10>;reg-id=1", "outbound"),
        (OUTBOUND.join(["<sip:a@192.0.2.10>;", "x"]).replace("=1x", "=0"), "outbound"),
        (OUTBOUND.join(["<sip:a@192.0.2.10>;", "x"]).replace("=1x", "=4294967295"), "outbound"),
    ],
)
def test_a_reg_id_without_its_conditions_is_not_seen(contact: str, supported: str) -> None:
    """RFC 5626 §6: no `outbound` in Supported, or no instance."""
    assert one_contact(register(("Contact", contact), ("Supported", supported))).reg_id == 0


def test_a_first_hop_without_outbound_is_told_so() -> None:
    made = register(
        ("Contact", f"<sip:a@192.0.2.10>;{OUTBOUND}"),
        ("Supported", "path, outbound"),
        ("Path", "<sip:edge.test;lr>"),
    )
    reply = trusting().receive(made)
    assert isinstance(reply, Reply)
    assert reply.status == 439


def test_a_first_hop_with_outbound_is_used() -> None:
    made = register(
        ("Contact", f"<sip:a@192.0.2.10>;{OUTBOUND}"),
        ("Supported", "path, outbound"),
        ("Path", "<sip:token@edge.test;lr;ob>"),
    )
    assert one_contact(made).reg_id == 1


def test_the_answer_lists_all_bindings() -> None:
    """RFC 3261 §10.3 step 8."""
    member = trusting()
    made = register(CONTACT)
    update = member.receive(made)
    assert isinstance(update, RegisterUpdate)
    bindings = (
        *update.contacts,
        binding(
            "sip:alice@192.0.2.77", ALICE, q=250, expires_s=30, instance_id="<urn:x>", reg_id=2
        ),
        binding("sip:alice@192.0.2.78", ALICE, expires_s=0),
    )
    outcome = RegisterOutcome("applied", bindings)
    reply = member.registration.answer(made, update, outcome, (NOW_MS, WALL_MS))
    assert reply.status == 200
    assert values(reply, "Contact") == [
        "<sip:alice@192.0.2.10:5060>;expires=3600",
        '<sip:alice@192.0.2.77>;expires=30;q=0.25;+sip.instance="<urn:x>";reg-id=2',
    ]
    assert values(reply, "Date") == ["Tue, 14 Nov 2023 22:13:20 GMT"]
    assert values(reply, "Require") == []


def test_the_answer_has_path_service_route_and_flow_timer() -> None:
    """RFC 3327 §5.3, RFC 3608 §5, RFC 5626 §6."""
    member = trusting(RegistrarSettings(service_route=("<sip:198.51.100.1;lr>",), flow_timer_s=90))
    path = "<sip:token@edge.test;lr;ob>"
    made = register(
        ("Contact", f"<sip:a@192.0.2.10>;{OUTBOUND}"), ("Supported", "outbound"), ("Path", path)
    )
    reply = member.register(made)
    assert values(reply, "Path") == [path]
    assert values(reply, "Service-Route") == ["<sip:198.51.100.1;lr>"]
    assert values(reply, "Require") == ["outbound"]
    assert values(reply, "Flow-Timer") == ["90"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [("applied", 200), ("repeated", 200), ("out_of_order", 500), ("too_many", 403)],
)
def test_each_outcome_has_its_answer(status: str, expected: int) -> None:
    member = trusting()
    made = register(CONTACT)
    update = member.receive(made)
    assert isinstance(update, RegisterUpdate)
    outcome = RegisterOutcome(status, update.contacts)
    assert member.registration.answer(made, update, outcome, (NOW_MS, WALL_MS)).status == expected


def test_what_was_registered_is_known_here_at_once() -> None:
    member = trusting()
    member.register(register(CONTACT))
    known = member.locations.peek(ALICE, NOW_MS)
    assert isinstance(known, tuple)
    assert [b.contact for b in known] == ["sip:alice@192.0.2.10:5060"]


def test_a_store_that_is_away_is_a_503() -> None:
    member = trusting()
    member.records.is_away = True
    assert member.receive(register(CONTACT)) == Reply(503, "", (("Retry-After", "5"),))


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="expires"):
        RegistrarSettings(expires_min_s=600, expires_default_s=300)


class Screened:
    """A member with an engine, which a REGISTER comes to over UDP."""

    def __init__(self, trusted: tuple[str, ...] = ()) -> None:
        self.member = Member(example_records(), trusted=trusted)
        self.pool = PortPool()
        self.engine = Engine(
            self.pool,
            listens=[(Hop("udp", "127.0.0.1", 5060), "127.0.0.1", 5060)],
            member=1,
            epoch=1,
            mark_key=b"m" * 16,
            transaction_key=b"t" * 16,
            media="127.0.0.1",
            now_ms=NOW_MS,
        )
        self.out = Output()

    def events_after(self, branch: str, now_ms: int) -> int:
        """How many events are left of a plain REGISTER."""
        wire = register(CONTACT).with_lines(branch=branch).wire
        batch = Batch()
        batch.add(wire, Hop("udp", *PHONE))
        self.engine.receive(batch, now_ms, self.out)
        self.member.registration.screen(self.engine, self.out, now_ms, WALL_MS)
        return len(self.out.take_events())


def test_a_domain_is_screened_for_a_moment_once_a_challenge_was_decided() -> None:
    farm = Screened()
    assert farm.events_after("1", NOW_MS) == 1
    farm.member.receive(register(CONTACT))
    assert farm.events_after("2", NOW_MS) == 0
    ((_, answer, _),) = farm.out.sends()
    assert answer.startswith(b"SIP/2.0 401 ")
    assert farm.events_after("3", NOW_MS + SCREENED_MS) == 1


def test_nothing_is_screened_where_some_sources_are_trusted() -> None:
    farm = Screened(trusted=("198.51.100.0/24",))
    farm.member.receive(register(CONTACT))
    assert farm.events_after("1", NOW_MS) == 1
