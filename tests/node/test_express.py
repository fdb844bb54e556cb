"""REGISTERs that take the express lane come out as those that are decided on (docs/adr/0016)."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from sipfarm.native import Hop, Message
from sipfarm.node.member_metrics import EXPRESS_COUNTERS, EXPRESS_GAUGES
from sipfarm.node.users import NAMES_LIFETIME_MS
from sipfarm.signaling.digest import answer_challenge, hash_ha1
from sipfarm.signaling.headers import Challenge, format_credentials, parse_challenge
from sipfarm.testing.clock import VirtualClock
from tests.node.registering import (
    RegisteringMember,
    Sent,
    registering,
    status_of,
    stored_bindings,
    without_to_tag,
)
from tests.signaling.plain_sip import account

DOMAIN = "example.test"
ACCOUNTS = (
    account("alice", aliases=("al",), numbers=("1001",)),
    account("bob"),
    account("carol"),
)
SEEDS = range(12)
STEPS = 60
PLAIN = ("<sip:alice@192.0.2.10:5060>",)

Packet = tuple[bytes, Hop]


class Phone:
    """Sends REGISTERs that answer the challenge it got last."""

    def __init__(self, user: str, source: tuple[str, int] = ("192.0.2.10", 5060)) -> None:
        self.user = user
        self.source = source
        self.cseq = 0
        self.branch = 0
        self.count = 0
        self.challenge: Challenge | None = None

    def heard(self, wire: bytes) -> None:
        """Take a new challenge from an answer."""
        values = Message.parse(wire).headers("WWW-Authenticate")
        if values:
            self.challenge = parse_challenge(values[-1])
            self.count = 0

    def register(
        self,
        *contacts: str,
        lines: tuple[str, ...] = (),
        password: str = "",
        username: str = "",
        to: str = "",
        uri: str = f"sip:{DOMAIN}",
        call_id: str = "call-1",
        cseq_step: int = 1,
        count_step: int = 1,
        transport: str = "udp",
        vias: int = 1,
        flow: int = 0,
        credentials: bool = True,
    ) -> Packet:
        self.cseq = max(self.cseq + cseq_step, 1)
        self.branch += 1
        host, port = self.source
        aor = f"sip:{to or self.user}@{DOMAIN}"
        head = [
            f"REGISTER {uri} SIP/2.0",
            f"Via: SIP/2.0/{transport.upper()} {host}:{port};rport"
            f";branch=z9hG4bK{self.user[0]}{self.branch}",
            *["Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKx"] * (vias - 1),
            f"From: <{aor}>;tag=f",
            f"To: <{aor}>",
            f"Call-ID: {call_id}-{self.user[0]}",
            f"CSeq: {self.cseq} REGISTER",
            *[f"Contact: {contact}" for contact in contacts],
            *lines,
        ]
        if credentials and self.challenge is not None:
            head.append(f"Authorization: {self._answer(uri, username, password, count_step)}")
        wire = "\r\n".join([*head, "Content-Length: 0", "", ""]).encode()
        return wire, Hop(transport, host, port, 0 if transport == "udp" else 1, flow)

    def _answer(self, uri: str, username: str, password: str, count_step: int) -> str:
        assert self.challenge is not None
        self.count = max(self.count + count_step, 1)
        name = username or self.user
        secret = password or f"{self.user}-pw"
        ha1 = hash_ha1(name, DOMAIN, secret, self.challenge.algorithm)
        use = ("cn0nce", self.count)
        return format_credentials(
            answer_challenge(self.challenge, name, ha1, ("REGISTER", uri), use)
        )


def drawn(random: Random, phone: Phone) -> Packet:
    """Some REGISTER, most often a plain one."""
    user = phone.user
    addresses = (
        "192.0.2.10:5060",
        "192.0.2.10",
        "192.0.2.11:7000",
        "10.0.0.5:5062",
        "phone.local",
        f"a.{DOMAIN}",
        *[f"192.0.2.10:{port}" for port in range(6_000, 6_012)],
    )
    odd = random.random() < 0.3
    contact = f"<sip:{user}@{random.choice(addresses[:3] if not odd else addresses)}>"
    contact += random.choice(("", "", "", ";expires=120", ";expires=99999", ";q=0.3", ";q=0.25"))
    contact += random.choice(("", "", ';+sip.instance="<urn:uuid:1>"', f";x={'y' * 300}"))
    lines = [random.choice(("Expires: 600", "Expires: 3600", "X: y", "User-Agent: Phone 1.0"))]
    options: dict[str, object] = {}
    contacts = (contact,)
    if odd:
        contacts = random.choice(
            (
                (contact,),
                (contact,),
                (),
                ("*",),
                (f"{contact}, <sip:{user}@192.0.2.77:5060>",),
                (f"<sip:{user}@192.0.2.10:5060>;expires=0",),
                (f"<sip:{user}@192.0.2.10:5060>;expires=30",),
                (f"<sip:{user}@192.0.2.10:5060;transport=tcp;a=%41>",),
                (f'<sip:{user}@192.0.2.10:5060>;+sip.instance="a\\"b\\\\";reg-id=1',),
                (f"<sip:{user}@{DOMAIN}>",),
                ("<sip:x@198.51.100.1>",),
                ("<mailto:x@y>",),
                ("<sip:open",),
            )
        )
        lines += random.choice(
            (
                [],
                ["Expires: 0"],
                ["Supported: path, outbound"],
                ["Require: path"],
                ["Require: gruu"],
                ["Path: <sip:edge.test;lr;ob>"],
                [f"User-Agent: {'u' * 200}"],
                ["User-Agent: T\u00e9l\u00e9phone"],
                ["User-Agent: folded", " twice"],
            )
        )
        options = random.choice(
            (
                {},
                {"password": "guess"},
                {"username": "al"},
                {"username": f"{phone.user}@{DOMAIN}"},
                {"to": "al"},
                {"to": "bob"},
                {"uri": "sip:198.51.100.1"},
                {"uri": "sip:198.51.100.1:5060", "vias": 2},
                {"uri": "sip:elsewhere.test"},
                {"call_id": "call-2"},
                {"cseq_step": 0},
                {"cseq_step": -1},
                {"count_step": 0},
                {"credentials": False},
                {"transport": "tcp", "flow": 7},
            )
        )
    return phone.register(*contacts, lines=tuple(lines), **options)  # type: ignore[arg-type]


def on_the_wire(sent: list[Sent]) -> list[tuple[int, str, int, bytes]]:
    return sorted((hop.flow, hop.host, hop.port, without_to_tag(wire)) for hop, wire in sent)


def in_virtual_time(
    work: Callable[[VirtualClock], Awaitable[None]],
) -> None:
    async def run() -> None:
        await work(VirtualClock())

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sip", ["", 'reply_via = "receiver"'])
def test_both_ways_answer_and_store_the_same(tmp_path: Path, seed: int, sip: str) -> None:
    """The same REGISTERs to two members, of which one has no lane."""
    random = Random(seed)
    paths = tmp_path / "lane.db", tmp_path / "decided.db"

    async def compare(clock: VirtualClock) -> None:
        one = partial(registering, paths[0], clock, sip=sip, accounts=ACCOUNTS)
        other = partial(registering, paths[1], clock, lane=False, sip=sip, accounts=ACCOUNTS)
        async with one() as with_lane, other() as without:
            phones = [
                Phone("alice"),
                Phone("bob", ("203.0.113.7", 40_000)),
                Phone("carol", ("192.0.2.10", 5070)),
            ]
            for _ in range(STEPS):
                some = random.sample(phones, random.randint(1, 3))
                packets = [drawn(random, phone) for phone in some]
                if random.random() < 0.1:
                    packets.append(packets[0])
                sent = await with_lane.answers(*packets)
                assert on_the_wire(sent) == on_the_wire(await without.answers(*packets))
                for phone in some:
                    for hop, wire in sent:
                        if (hop.host, hop.port) == phone.source:
                            phone.heard(wire)
                assert sorted(with_lane.changed) == sorted(without.changed)
                for member in (with_lane, without):
                    member.changed.clear()
                clock.run_until(clock.now_ms() + random.choice((0, 10, 500, 5_000)))
            assert with_lane.registered_by_lane > STEPS // 4
            compare_members(with_lane, without)
        assert stored_bindings(paths[0]) == stored_bindings(paths[1])

    in_virtual_time(compare)


def compare_members(one: RegisteringMember, other: RegisteringMember) -> None:
    now_ms = one.clock.now_ms()
    for user in ("alice", "bob", "carol"):
        aor = f"sip:{user}@{DOMAIN}"
        found = one.deciders.locations.peek(aor, now_ms)
        assert found == other.deciders.locations.peek(aor, now_ms)
    counters, others = one.engine.counters(), other.engine.counters()
    for of_transactions in ("server_transactions", "timers"):  # the lane's answers leave none
        del counters[of_transactions], others[of_transactions]
    assert counters == others


async def registered(member: RegisteringMember, phone: Phone) -> None:
    """The first two REGISTERs: challenged, decided on."""
    for expected in (401, 200):
        ((_, wire),) = await member.answers(phone.register(*PLAIN))
        assert status_of(wire) == expected
        phone.heard(wire)
    assert member.registered_by_lane == 0


def test_the_second_registration_of_an_account_takes_the_lane(tmp_path: Path) -> None:
    async def run(clock: VirtualClock) -> None:
        async with registering(tmp_path / "farm.db", clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            ((_, wire),) = await member.answers(phone.register(*PLAIN))
            assert (status_of(wire), member.registered_by_lane) == (200, 1)
            assert member.lane is not None
            shown = {name for name, _ in (*EXPRESS_COUNTERS, *EXPRESS_GAUGES)}
            assert member.lane.counters().keys() == shown

    in_virtual_time(run)


def test_a_repeated_register_gets_its_answer_again(tmp_path: Path) -> None:
    """A 200 got lost. The first time no transaction is left behind (RFC 3261 §8.2.7)."""

    async def run(clock: VirtualClock) -> None:
        async with registering(tmp_path / "farm.db", clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            clock.run_until(40_000)
            member.engine.expire(clock.now_ms(), member.out)
            packet = phone.register(*PLAIN)
            (first,) = await member.answers(packet)
            assert member.engine.counters()["server_transactions"] == 0
            for _ in range(2):
                assert await member.answers(packet) == [first]
            assert member.engine.counters()["retransmissions"] == 0
            assert member.changed == [f"sip:alice@{DOMAIN}"] * 2

    in_virtual_time(run)


def test_what_the_lane_told_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    async def run(clock: VirtualClock) -> None:
        async with registering(tmp_path / "farm.db", clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            await member.answers(phone.register(*PLAIN))
            locations, aor = member.deciders.locations, f"sip:alice@{DOMAIN}"
            recalled = locations.recall(aor)
            assert recalled is not None
            (binding,) = recalled.bindings
            assert (binding.contact, binding.cseq) == ("sip:alice@192.0.2.10:5060", 3)
            assert locations.peek(aor, clock.now_ms()) is recalled.bindings

    in_virtual_time(run)


def test_nobody_takes_the_lane_once_names_are_in_doubt(tmp_path: Path) -> None:
    """A new password counts as soon as it does for requests that are decided on."""

    async def run(clock: VirtualClock) -> None:
        async with registering(tmp_path / "farm.db", clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            ha1s = [hash_ha1("alice", DOMAIN, "new", name) for name in ("MD5", "SHA-256")]
            changed = type(ACCOUNTS[0])(DOMAIN, "alice", *ha1s)
            await member.store.put_names(DOMAIN, (changed,))
            member.deciders.tenants.doubt()
            ((_, wire),) = await member.answers(phone.register(*PLAIN))
            assert status_of(wire) == 401
            phone.heard(wire)
            ((_, wire),) = await member.answers(phone.register(*PLAIN, password="new"))
            assert (status_of(wire), member.registered_by_lane) == (200, 0)

    in_virtual_time(run)


def test_the_lane_is_open_as_long_as_what_is_known_of_the_account_is_good(tmp_path: Path) -> None:
    async def run(clock: VirtualClock) -> None:
        async with registering(tmp_path / "farm.db", clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            for at_ms, by_lane in ((NAMES_LIFETIME_MS - 1, 1), (NAMES_LIFETIME_MS, 1)):
                clock.run_until(at_ms)
                phone.challenge = None
                for expected in (401, 200):
                    ((_, wire),) = await member.answers(phone.register(*PLAIN))
                    assert status_of(wire) == expected
                    phone.heard(wire)
                assert member.registered_by_lane == by_lane

    in_virtual_time(run)


def test_there_is_no_lane_where_some_sources_are_trusted(tmp_path: Path) -> None:
    async def run(clock: VirtualClock) -> None:
        path, sip = tmp_path / "farm.db", 'trusted = ["203.0.113.0/24"]'
        async with registering(path, clock, sip=sip, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            await member.answers(phone.register(*PLAIN))
            assert member.registered_by_lane == 0

    in_virtual_time(run)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody holds the write lock and does not let go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_a_store_that_does_not_answer_in_time_is_told_of_and_nothing_is_said_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "farm.db"

    async def run(clock: VirtualClock) -> None:
        async with registering(path, clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            assert member.express is not None
            with locked(path):
                member.receive(phone.register(*PLAIN))
                assert member.take_sent() == []
                deadline_ms = member.express.next_deadline_ms()
                assert deadline_ms == clock.now_ms() + 5_000
                clock.run_until(deadline_ms)
                member.express.expire(deadline_ms)
                ((_, wire),) = member.take_sent()
                assert status_of(wire) == 503
                assert member.express.next_deadline_ms() is None
            assert await member.settle() == []  # it was written after all
            assert member.lane is not None
            assert (member.lane.waiting, member.registered_by_lane) == (0, 0)
            assert member.late == [f"sip:alice@{DOMAIN}"]

    in_virtual_time(run)


def test_an_error_of_the_store_is_answered_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"

    async def run(clock: VirtualClock) -> None:
        async with registering(path, clock, accounts=ACCOUNTS) as member:
            phone = Phone("alice")
            await registered(member, phone)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute(
                    "CREATE TRIGGER refuse BEFORE UPDATE ON cell "
                    "BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            ((_, wire),) = await member.answers(phone.register(*PLAIN))
            assert status_of(wire) == 503
            assert member.lane is not None
            assert member.lane.counters()["left"] == 1

    in_virtual_time(run)
