"""What strangers try, as real traffic against real members."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from sipfarm.admin.bodies import RolesBody
from sipfarm.admin.views import BanView, MemberView
from sipfarm.base.net import HostPort
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.flooding import Flood, dropped, memory_bytes
from sipfarm.testing.plain_phone import PlainAnswer, PlainPhone, authorization
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.sip_link import UdpLink
from sipfarm.testing.websocket_phone import PhoneCall, WebSocketPhone
from sipfarm.testing.wire_text import WireText, tag_of

pytestmark = [pytest.mark.early, pytest.mark.timeout(150)]

DONE_S = 15.0
REFUSED = {400, 403, 404, 407, 481}
ALICE = f"alice@{DOMAIN}"
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
MARK = re.compile(rf"(?<![{BASE32}])[{BASE32}]{{24}}(?![{BASE32}])")
GUARDED = "exempt = []"
MIB = 1 << 20
GROWTH_MAX = 48 * MIB
"""Of a member under 200,000 half-open calls; its tables alone may hold a hundred times as much."""
FAULTS_MAX = 30
OPTIONS_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> RealFarm:
    """Three members; each packet goes to any of them. Loopback is exempt from protection."""
    started = start_farm(at_rest=True, members=3)
    started.wait_for({"m1": "ready", "m2": "ready", "m3": "ready"}, 20.0)
    PacketBalancer(started.listen, started.pids).at_random()
    return started


@pytest.fixture(scope="module")
def member(start_farm: Callable[..., RealFarm]) -> RealFarm:
    """One member, from whose protection loopback is exempt."""
    return start_farm(at_rest=True, members=1)


@pytest.fixture(scope="module")
def guarded(start_farm: Callable[..., RealFarm]) -> RealFarm:
    """One member that protects itself from everybody."""
    return start_farm(at_rest=True, members=1, protect=GUARDED)


@pytest.fixture(scope="module")
def parted(start_farm: Callable[..., RealFarm]) -> RealFarm:
    """One member receives all, and protects itself from everybody; another does the work."""
    started = start_farm(at_rest=True, members=2, protect=GUARDED)
    started.wait_for({"m1": "ready", "m2": "ready"}, 20.0)
    for name, roles in {"m2": ("pbx", "media"), "m1": ("edge",)}.items():
        path = f"/api/v1/members/{name}/roles"
        started.admin("m1").post(path, MemberView, RolesBody(roles=roles))
    return started


class Trap(UdpLink):
    """Where a relayed request would arrive."""

    def __init__(self, farm: RealFarm, number: int) -> None:
        self.at = farm.untrusted(number, 5070)
        super().__init__(self.at, farm.listen)

    def heard(self) -> str:
        """The first thing it heard, if any."""
        try:
            return self.receive(0.001).decode(errors="replace")
        except TimeoutError:
            return ""


@contextmanager
def trap_at(farm: RealFarm, number: int) -> Iterator[Trap]:
    trap = Trap(farm, number)
    yield trap
    trap.close()


def phone_of(farm: RealFarm, user: str, number: int, port: int = 5060) -> WebSocketPhone:
    return WebSocketPhone(UdpLink(farm.untrusted(number, port), farm.listen), user, DOMAIN)


@contextmanager
def talking(alice: WebSocketPhone, bob: WebSocketPhone) -> Iterator[tuple[PhoneCall, PhoneCall]]:
    """A call from alice to bob, who is registered by it; alice hangs up in the end."""
    assert bob.register().status == 200
    with ThreadPoolExecutor(1) as of_alice:
        placed = of_alice.submit(alice.call, bob.aor)
        called = bob.answer_call()
        calling = placed.result(DONE_S)
        yield calling, called
        ended = of_alice.submit(calling.bye)
        bye = WireText(bob.link.receive(DONE_S))
        assert (bye.method, bye.from_tag) == ("BYE", tag_of(calling.ours)), bye.data
        bob.answer(bye, 200)
        assert ended.result(DONE_S).status == 200


def with_digest(phone: PlainPhone, request: str, user: str = "alice") -> tuple[str, PlainAnswer]:
    """Ask, and where it is challenged once more with the password: the request, its answer."""
    answer = phone.ask(request)
    if answer.status not in (401, 407):
        return request, answer
    proxy = answer.status == 407
    challenge = answer.headers("Proxy-Authenticate" if proxy else "WWW-Authenticate")[0]
    method, uri, _ = request.split(" ", 2)
    line = authorization(challenge, method, uri, user, f"{user}-secret", proxy=proxy)
    request = in_another_transaction(request).replace("Max-Forwards", f"{line}\r\nMax-Forwards")
    return request, phone.ask(request)


def in_another_transaction(request: str) -> str:
    return request.replace("branch=z9hG4bK", "branch=z9hG4bKx")


def in_dialog(request: str, call: PhoneCall, call_id: str, from_tag: str = "") -> str:
    """The request dressed up as one of a call's caller."""
    request = re.sub(r"(?m)^Call-ID: .*\r$", f"Call-ID: {call_id}\r", request)
    tag = from_tag or tag_of(call.ours)
    request = re.sub(r"(?m)^(From: <[^>]*>).*\r$", rf"\1;tag={tag}\r", request)
    return re.sub(r"(?m)^(To: <[^>]*>).*\r$", rf"\1;tag={tag_of(call.theirs)}\r", request)


def routes_of(call: PhoneCall) -> list[str]:
    return [f"Route: {route}" for route in call.routes]


def forged(route: str, place: int) -> str:
    """A Route whose mark differs in one character."""
    mark = MARK.search(route)
    assert mark is not None, route
    other = BASE32[BASE32.index(mark[0][place]) ^ 16]
    return route[: mark.start() + place] + other + route[mark.start() + place + 1 :]


def test_a_forged_mark_carries_nothing_into_a_call(farm: RealFarm) -> None:
    with (
        phone_of(farm, "bob", 1) as bob,
        phone_of(farm, "alice", 2) as alice,
        talking(alice, bob) as (calling, _),
        PlainPhone(farm.untrusted(3), farm.listen) as attacker,
    ):
        routes = routes_of(calling)
        assert routes
        for place in (0, 4, 9, 17, 23):
            for method in ("BYE", "INVITE", "MESSAGE"):
                lines = [forged(route, place) for route in routes]
                request = attacker.request(method, calling.target, ALICE, *lines)
                answer = attacker.ask(in_dialog(request, calling, calling.call_id))
                assert answer.status in REFUSED, answer.text


@pytest.mark.parametrize("knows", ["the marks", "the Call-ID too", "a password too"])
def test_a_borrowed_mark_opens_no_way_for_another_call(farm: RealFarm, knows: str) -> None:
    with (
        phone_of(farm, "bob", 1) as bob,
        phone_of(farm, "alice", 2) as alice,
        talking(alice, bob) as (calling, _),
        trap_at(farm, 5) as trap,
        PlainPhone(farm.untrusted(4), farm.listen) as attacker,
    ):
        for number, method in enumerate(("BYE", "INVITE", "MESSAGE", "UPDATE", "REFER")):
            for uri in (f"sip:evil@{trap.at}", calling.target):
                own_tag = "attacker" if knows == "the Call-ID too" else ""
                call_id = calling.call_id if own_tag else f"{knows}{number}".replace(" ", "")
                request = attacker.request(method, uri, ALICE, *routes_of(calling))
                request = in_dialog(request, calling, call_id, own_tag)
                if knows == "a password too":
                    _, answer = with_digest(attacker, request)
                else:
                    answer = attacker.ask(request)
                assert answer.status in REFUSED, answer.text
        assert not trap.heard()


def test_a_mark_of_our_own_user_agent_is_worth_nothing_in_another_call(farm: RealFarm) -> None:
    with phone_of(farm, "alice", 2) as alice:
        calling = alice.call(f"sip:echo@{DOMAIN}")
        assert MARK.search(calling.theirs)
        with PlainPhone(farm.untrusted(6), farm.listen) as attacker:
            for method in ("BYE", "INVITE", "UPDATE"):
                request = attacker.request(method, calling.target, ALICE)
                answer = attacker.ask(in_dialog(request, calling, f"other-{method}"))
                assert answer.status in REFUSED, answer.text
        assert calling.bye().status == 200


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "REFER", "SUBSCRIBE"])
def test_an_invented_to_tag_spares_nobody_the_digest(farm: RealFarm, method: str) -> None:
    with (
        phone_of(farm, "bob", 1) as bob,
        PlainPhone(farm.untrusted(7), farm.listen) as attacker,
    ):
        assert bob.register().status == 200
        for tag in ("invented", "a" * 24, "2" * 24):
            request = attacker.request(method, bob.aor, ALICE)
            request = request.replace(f"To: <{bob.aor}>", f"To: <{bob.aor}>;tag={tag}")
            assert attacker.ask(request).status == 407
        with pytest.raises(TimeoutError):
            bob.link.receive(0.001)


@pytest.mark.parametrize("is_account", [False, True])
@pytest.mark.parametrize(
    ("uri", "lines"),
    [
        ("sip:evil@{trap}", []),
        ("sip:evil@{trap}", ["Route: <sip:{farm};lr>"]),
        ("sip:evil@{trap}", ["Route: <sip:{trap};lr>"]),
        ("sip:bob@example.test", ["Route: <sip:{trap};lr>"]),
        ("sip:bob@example.test", ["Route: <sip:{farm};lr>, <sip:{trap};lr>"]),
        ("sip:bob@example.test", ["Route: <sip:{farm}>", "Route: <sip:{trap}>"]),
        ("sip:{farm}", ["Route: <sip:evil@{trap};lr>"]),
        ("sip:bob@example.test;maddr={trap_host}", []),
        ("sip:{farm};maddr={trap_host}", []),
        ("sip:evil%40{trap}@example.test", []),
        ("sip:bob@{trap};maddr={farm_host}", []),
        ("sip:evil@{trap};transport=tcp", []),
        ("sips:evil@{trap}", []),
        ("sip:evil@{trap}", ["Record-Route: <sip:{farm};lr>"]),
        ("sip:evil@{trap}", ["Path: <sip:{farm};lr>"]),
        ("sip:evil@{trap}", ["P-Asserted-Identity: <sip:alice@example.test>"]),
        ("sip:evil@{trap}", ["Referred-By: <sip:alice@example.test>"]),
        ("sip:evil@{trap}", ["Refer-To: <sip:evil@{trap}>", "Replaces: x;to-tag=y;from-tag=z"]),
        ("tel:+900123456;phone-context={trap}", []),
    ],
)
def test_no_header_makes_an_open_relay(
    farm: RealFarm, uri: str, lines: list[str], is_account: bool
) -> None:
    names = {"farm": farm.listen, "farm_host": farm.listen.host}
    with (
        trap_at(farm, 8) as trap,
        PlainPhone(farm.untrusted(9), farm.listen) as attacker,
    ):
        names |= {"trap": trap.at, "trap_host": trap.at.host}
        given = [line.format(**names) for line in lines]
        for method in ("INVITE", "MESSAGE", "OPTIONS", "REFER"):
            request = attacker.request(method, uri.format(**names), ALICE, *given)
            _, answer = (
                with_digest(attacker, request) if is_account else ("", attacker.ask(request))
            )
            assert answer.status >= 400 or method == "OPTIONS", answer.text
            assert not trap.heard()


@pytest.mark.parametrize("header", ["Path", "Route", "Contact"])
def test_a_stranger_binds_nothing(farm: RealFarm, header: str) -> None:
    with trap_at(farm, 8) as trap, PlainPhone(farm.untrusted(9), farm.listen) as attacker:
        line = f"{header}: <sip:{trap.at};lr>"
        request = attacker.request("REGISTER", f"sip:{DOMAIN}", ALICE, line, to=ALICE)
        assert attacker.ask(request).status in REFUSED | {401}
        assert not trap.heard()
    assert not [found for found in farm.registrations() if str(trap.at) in found.contact]


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_a_digest_replayed_from_another_source_is_worth_nothing(
    farm: RealFarm, method: str
) -> None:
    uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:p98@{DOMAIN}"
    with (
        PlainPhone(farm.untrusted(10), farm.listen) as phone,
        PlainPhone(farm.untrusted(11), farm.listen) as elsewhere,
        PlainPhone(farm.untrusted(10, 5061), farm.listen) as other_port,
    ):
        request, answer = with_digest(phone, phone.request(method, uri, ALICE, to=ALICE))
        assert answer.status == (200 if method == "REGISTER" else 480)
        for attacker in (elsewhere, other_port):
            replayed = request.replace(str(phone.local), str(attacker.local))
            for again in (replayed, in_another_transaction(replayed)):
                refused = attacker.ask(again)
                assert refused.status in {401, 407}, refused.text
        contacts = [found.contact for found in farm.registrations() if ALICE in found.aor]
        assert not [contact for contact in contacts if str(elsewhere.local) in contact]


@pytest.mark.parametrize("user", ["\udcff", "a\0b"], ids=["no UTF-8", "NUL"])
def test_credentials_for_a_user_that_nobody_can_be_are_worth_nothing(
    member: RealFarm, user: str
) -> None:
    line = f'Digest username="{user}", realm="{DOMAIN}", nonce="n", uri="sip:a", response="r"'
    with PlainPhone(member.untrusted(11), member.listen) as stranger:
        invite = stranger.request(
            "INVITE", f"sip:bob@{DOMAIN}", ALICE, f"Proxy-Authorization: {line}"
        )
        assert stranger.ask(invite).status in {400, 407}
        register = stranger.request(
            "REGISTER", f"sip:{DOMAIN}", ALICE, f"Authorization: {line}", to=ALICE
        )
        assert stranger.ask(register).status in {400, 401}


def test_a_nonce_count_is_good_for_one_transaction(member: RealFarm) -> None:
    with PlainPhone(member.untrusted(10), member.listen) as phone:
        invite = phone.request("INVITE", f"sip:p98@{DOMAIN}", ALICE)
        request, answer = with_digest(phone, invite)
        assert answer.status == 480
        assert phone.ask(in_another_transaction(request)).status == 407


def test_an_ack_by_a_forged_mark_goes_nowhere(member: RealFarm) -> None:
    with (
        phone_of(member, "bob", 1) as bob,
        phone_of(member, "alice", 2) as alice,
        talking(alice, bob) as (calling, _),
        trap_at(member, 5) as trap,
        PlainPhone(member.untrusted(3), member.listen) as attacker,
    ):
        for uri in (calling.target, f"sip:evil@{trap.at}"):
            for place in (0, 17, 23):
                lines = [forged(route, place) for route in routes_of(calling)]
                ack = attacker.request("ACK", uri, ALICE, *lines)
                trap.send(in_dialog(ack, calling, calling.call_id).encode())
            ack = attacker.request("ACK", uri, ALICE, *routes_of(calling))
            trap.send(in_dialog(ack, calling, "another-call").encode())
        pong = attacker.ask(attacker.request("OPTIONS", f"sip:{DOMAIN}", ALICE))
        assert pong.status == 200  # one socket, in order: whatever went before is done
        assert not trap.heard()


def sources(farm: RealFarm, first: int, count: int) -> list[HostPort]:
    return [farm.untrusted(number, 6060) for number in range(first, first + count)]


def serves_phones(farm: RealFarm, bob: WebSocketPhone, alice: WebSocketPhone) -> None:
    """Registers and places a call from end to end."""
    assert alice.register().status == 200
    with talking(alice, bob):
        pass


def test_half_open_calls_leave_nothing_behind(member: RealFarm, children: Children) -> None:
    """Each is challenged, none is acknowledged; nobody is held off here."""
    pid, name = member.pids()[0], member.names[0]
    requests = member.total("sipfarm_sip_requests")
    before = memory_bytes(pid)
    with (
        Flood(children, member.listen, sources(member, 20, 1), 12_000, 3_000) as flood,
        phone_of(member, "bob", 1) as bob,
        phone_of(member, "alice", 2) as alice,
    ):
        serves_phones(member, bob, alice)
        flood.wait()
    assert member.total("sipfarm_sip_requests") - requests > 9_000
    assert member.metrics(name)["sipfarm_sip_server_transactions"] < 100
    assert memory_bytes(pid) - before < GROWTH_MAX


@pytest.mark.parametrize("kind", ["invite", "register", "foreign"])
def test_a_flood_from_one_source_disturbs_no_other(
    guarded: RealFarm, children: Children, kind: str
) -> None:
    pid = guarded.pids()[0]
    number = {"invite": 30, "register": 31, "foreign": 32}[kind]
    held_off = dropped(guarded, "over_rate") + dropped(guarded, "banned")
    before = memory_bytes(pid)
    attackers = sources(guarded, number, 1)
    waits_s: list[float] = []
    with (
        Flood(children, guarded.listen, attackers, 200_000, 40_000, kind) as flood,
        phone_of(guarded, "bob", 50 + number) as bob,
        phone_of(guarded, "alice", 70 + number) as alice,
    ):
        serves_phones(guarded, bob, alice)
        while flood.is_going_on:
            begun_s = time.monotonic()
            assert alice.options().status == 200
            waits_s.append(time.monotonic() - begun_s)
        flood.wait()
        serves_phones(guarded, bob, alice)
    assert waits_s
    assert sorted(waits_s)[len(waits_s) // 2] < OPTIONS_WITHIN_S
    now_held_off = dropped(guarded, "over_rate") + dropped(guarded, "banned")
    assert now_held_off - held_off > 100_000
    assert memory_bytes(pid) - before < GROWTH_MAX


def test_a_flood_from_many_sources_does_not_reach_phones_that_are_known(
    guarded: RealFarm, children: Children
) -> None:
    pid = guarded.pids()[0]
    with phone_of(guarded, "bob", 1) as bob, phone_of(guarded, "alice", 2) as alice:
        serves_phones(guarded, bob, alice)
        before = memory_bytes(pid)
        attackers = sources(guarded, 10, 110)
        with Flood(children, guarded.listen, attackers, 200_000, 40_000) as flood:
            serves_phones(guarded, bob, alice)
            flood.wait()
        assert memory_bytes(pid) - before < GROWTH_MAX
        serves_phones(guarded, bob, alice)
    assert guarded.metrics(guarded.names[0])["sipfarm_sip_server_transactions"] < 100


def guess(attacker: UdpLink, phone: PlainPhone, number: int) -> None:
    """A REGISTER with a wrong password over a nonce that its own source has got."""
    request = phone.request("REGISTER", f"sip:{DOMAIN}", ALICE, to=ALICE)
    request = request.replace(str(phone.local), attacker.sent_by)
    attacker.send(request.encode())
    challenge = WireText(attacker.receive(DONE_S)).value("WWW-Authenticate")
    line = authorization(challenge, "REGISTER", f"sip:{DOMAIN}", "alice", f"guess{number}")
    again = in_another_transaction(request).replace("Max-Forwards", f"{line}\r\nMax-Forwards")
    attacker.send(again.encode())
    assert WireText(attacker.receive(DONE_S)).status == 401


def is_answered(link: UdpLink, phone: PlainPhone) -> bool:
    """Whether a member answers OPTIONS of this source; `phone` is one that it does answer."""
    request = phone.request("OPTIONS", f"sip:{DOMAIN}", ALICE)
    link.send(request.replace(str(phone.local), link.sent_by).encode())
    assert phone.ask(phone.request("OPTIONS", f"sip:{DOMAIN}", ALICE)).status == 200
    try:
        link.receive(0.001)
    except TimeoutError:
        return False
    return True


def test_who_guesses_passwords_is_banned_but_not_the_phone_beside_him(guarded: RealFarm) -> None:
    attacker = UdpLink(guarded.untrusted(3, 6060), guarded.listen)
    beside_at = guarded.untrusted(3, 7070)
    beside = UdpLink(beside_at, guarded.listen)
    banned = guarded.total("sipfarm_sip_bans")
    with (
        phone_of(guarded, "bob", 3) as bob,
        PlainPhone(guarded.untrusted(4), guarded.listen) as phone,
    ):
        assert bob.register().status == 200
        for number in range(FAULTS_MAX):
            assert is_answered(beside, phone)
            guess(attacker, phone, number)
        assert guarded.total("sipfarm_sip_bans") - banned == 1
        assert not is_answered(attacker, phone)
        assert not is_answered(beside, phone)
        assert bob.register().status == 200
        assert bob.options().status == 200
        api, host = guarded.admin(guarded.names[0]), beside_at.host
        bans = {ban.address: ban.fault for ban in api.get("/api/v1/bans", list[BanView])}
        assert bans[host] == "credentials"
        assert api.post(f"/api/v1/bans/{host}/lift", list[BanView])
        assert is_answered(beside, phone)
    attacker.close()
    beside.close()
    guarded.process.wait_for_line(rf"source_banned.*{guarded.untrusted(3).host}")


def test_forged_sources_get_no_phone_banned(guarded: RealFarm) -> None:
    """The attacker sends in the name of a phone's address; a test can do it from there."""
    forger = UdpLink(guarded.untrusted(5, 6060), guarded.listen)
    bans = guarded.total("sipfarm_sip_bans")
    with (
        phone_of(guarded, "bob", 5) as bob,
        PlainPhone(guarded.untrusted(6), guarded.listen) as phone,
    ):
        assert bob.register().status == 200
        for number in range(5 * FAULTS_MAX):
            request = phone.request("INVITE", f"sip:evil{number}@elsewhere.test", ALICE)
            forger.send(request.encode())
            forger.send(b"INVITE nonsense\r\n\r\n")
        assert phone.ask(phone.request("OPTIONS", f"sip:{DOMAIN}", ALICE)).status == 200
        assert guarded.total("sipfarm_sip_bans") == bans
        assert bob.register().status == 200
    forger.close()


def test_where_packets_arrive_it_is_known_who_is_a_phone_and_who_guesses(parted: RealFarm) -> None:
    """Though another member judges the passwords."""
    attacker = UdpLink(parted.untrusted(3, 6060), parted.listen)
    with (
        phone_of(parted, "bob", 3) as bob,
        PlainPhone(parted.untrusted(4), parted.listen) as phone,
    ):
        assert bob.register().status == 200
        for number in range(FAULTS_MAX):
            guess(attacker, phone, number)
        parted.process.wait_for_line(rf"source_banned.*{parted.untrusted(3).host}")
        assert not is_answered(attacker, phone)
        assert bob.register().status == 200
        assert bob.options().status == 200
    attacker.close()
    bans = {name: parted.metrics(name)["sipfarm_sip_bans"] for name in parted.names}
    assert bans == {"m1": 1, "m2": 0}
