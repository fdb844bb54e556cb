"""Links between members, over real sockets: who gets in, what stays, what is dropped."""

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sipfarm.base.errors import CapacityError, PeerError, SipfarmError, StartError, UsageError
from sipfarm.base.farm_view import Load
from sipfarm.base.net import HostPort
from sipfarm.base.secrets import Secret, farm_keys
from sipfarm.cluster.handshake import Identity, RefusedFor, Role
from sipfarm.cluster.io.bus import STRANGERS_MAX, BusTls, DialTimes
from sipfarm.cluster.io.calls import CALLS_MAX, CallFailed, CallRefused, Unanswered
from sipfarm.cluster.io.link import LinkLimits
from sipfarm.cluster.wire import (
    PAYLOAD_BYTES_MAX,
    Event,
    Heartbeat,
    Invalidate,
    OwnState,
    Packets,
    Refusal,
    Reply,
    Request,
    encode,
)
from sipfarm.testing.eventually import turn as turns
from tests.cluster.bus_parties import KEY, Party, Stranger, parties

AT_ONCE = DialTimes(backoff_first_s=0.001, backoff_max_s=0.01, yield_s=0.0)
OTHER_KEY = farm_keys(Secret("the secret of another farm")).bus
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_in_loop(body: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(body)

    return run_in_loop


def linked(*members: Party) -> bool:
    """Each has one link with each other, and nothing besides."""
    others = len(members) - 1
    return all(len(m.bus.linked) == others and m.links() == others for m in members)


def test_members_find_each_other_and_pass_packets_on(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2, 3, times=AT_ONCE) as (happenings, _, (one, two, three)):
            for member in (one, two, three):
                for other in (one, two, three):
                    if other is not member:
                        member.dial(other)
            await happenings.until(lambda: linked(one, two, three))
            assert one.bus.send_packets(2, b"INVITE")
            assert three.bus.send_packets(2, b"BYE")
            await happenings.until(lambda: len(two.packets) == 2)
            assert sorted(two.packets) == [(1, b"INVITE"), (3, b"BYE")]

    run(body())


def test_the_packets_of_one_turn_are_one_frame_and_one_write(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, _, (one, two)):
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            for number in range(100):
                one.bus.send_packets(2, b"%d" % number)
            one.bus.send(2, Invalidate("aor", "sip:a@b"))
            await happenings.until(lambda: two.said)
            assert two.packets == [(1, b"%d" % number) for number in range(100)]
            assert two.said == [(1, "aor", "sip:a@b")]
            assert one.bus.counters.writes == 1
            assert two.bus.counters.frames_received == 2
            assert two.bus.counters.packets_received == one.bus.counters.packets_sent == 100

    run(body())


def test_what_does_not_fit_in_one_frame_goes_in_several(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, _, (one, two)):
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            payloads = [bytes([number]) * 300_000 for number in range(8)]
            assert all(one.bus.send_packets(2, payload) for payload in payloads)
            small = [b"%d" % number for number in range(5_000)]
            assert all(one.bus.send_packets(2, payload) for payload in small)
            assert not one.bus.send_packets(2, bytes(PAYLOAD_BYTES_MAX))
            await happenings.until(lambda: len(two.packets) == 5_008)
            assert [payload for _, payload in two.packets] == payloads + small
            assert one.bus.counters.packets_dropped == 1

    run(body())


@pytest.mark.parametrize("turn", range(10))
def test_when_both_dial_the_link_of_the_lower_number_stays(run: Run, turn: int) -> None:
    async def body() -> None:
        async with parties(1, 2, times=AT_ONCE) as (happenings, _, (one, two)):
            first, second = (one, two) if turn % 2 else (two, one)
            first.dial(second)
            await turns(turn)
            second.dial(first)
            calls = 0
            await happenings.until(lambda: one.bus.linked and two.bus.linked)
            while not linked(one, two):
                assert await one.bus.call(2, "echo", b"x", 5.0) == b"echo x"
                calls += 1
            assert one.bus.linked[2].role is not two.bus.linked[1].role
            if one.bus.counters.links_made > 1:
                assert one.bus.linked[2].role is Role.DIALER
            assert one.ups == [(2, 1)]
            assert two.ups == [(1, 1)]
            assert one.downs == two.downs == [], "nothing under way was lost"

    run(body())


def test_a_lost_link_is_made_again(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2, times=AT_ONCE) as (happenings, _, (one, two)):
            one.dial(two)
            two.dial(one)
            for _ in range(3):
                await happenings.until(lambda: linked(one, two))
                one.downs.clear()
                two.downs.clear()
                one.bus.linked[2].abort()
                await happenings.until(lambda: one.downs and two.downs)
            await happenings.until(lambda: linked(one, two))
            assert one.bus.send_packets(2, b"again")
            await happenings.until(lambda: two.packets)

    run(body())


def test_a_new_incarnation_takes_the_place_of_the_old(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2, times=AT_ONCE) as (happenings, group, (one, two)):
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            two.bus.close()
            again = await Party(happenings, group, 2, epoch=2, times=AT_ONCE).open(two.address)
            one.dial(again)
            await happenings.until(lambda: linked(one, again))
            assert one.ups == [(2, 1), (2, 2)]
            assert one.downs == [(2, 1)]
            again.bus.close()

    run(body())


def test_a_new_incarnation_that_dials_ends_the_calls_to_the_old(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, group, (one,)):
            old, new = await Stranger.connect(one), await Stranger.connect(one)
            await old.shake_hands(Identity("farm", 2, 1, "m2"))
            await happenings.until(lambda: one.ups)
            call = group.create_task(catch(one.bus.call(2, "claim", b"", 5.0)))
            await old.read()
            await new.shake_hands(Identity("farm", 2, 2, "m2"))
            assert await call is Unanswered.LINK_LOST
            assert (one.ups, one.downs) == ([(2, 1), (2, 2)], [(2, 1)])
            new.writer.write(encode(Event("new", b""), 1))
            await happenings.until(lambda: one.said == [(2, "new", b"")])
            old.close()
            new.close()

    run(body())


def test_the_dead_are_not_let_in_and_told_so(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, _, (one, two)):
            two.dead.add((1, 1))
            one.dial(two)
            await happenings.until(lambda: one.refused and two.refused)
            assert one.refused[0].why is RefusedFor.DEAD_INCARNATION
            assert one.refused[0].by_peer
            assert not one.bus.linked
            assert not two.bus.linked

    run(body())


def test_an_older_incarnation_does_not_replace_a_newer(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            newer, older = await Stranger.connect(one), await Stranger.connect(one)
            await newer.shake_hands(Identity("farm", 2, 7, "m2"))
            with pytest.raises(PeerError, match="dead_incarnation"):
                await older.shake_hands(Identity("farm", 2, 6, "m2"))
            peer = one.bus.linked[2].peer
            assert peer is not None
            assert peer.identity.epoch == 7
            newer.close()
            await older.closed()
            await happenings.until(lambda: not one.bus.linked)

    run(body())


def test_hanging_up_ends_the_link_and_the_dialing(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2, times=AT_ONCE) as (happenings, _, (one, two)):
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            one.bus.hang_up((2, 9))
            assert linked(one, two)
            one.bus.hang_up((2, 1))
            await happenings.until(lambda: one.downs and two.downs)
            assert not one.bus.linked
            assert not one.bus.send_packets(2, b"x")
            assert one.bus.counters.packets_dropped == 1

    run(body())


def test_a_wrong_secret_is_refused_and_counted(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, group, (one,)):
            wrong = await Party(happenings, group, 2, keys=(OTHER_KEY,), times=AT_ONCE).open()
            wrong.dial(one)
            await happenings.until(lambda: len(one.refused) >= 3)
            assert {refused.why for refused in one.refused} == {RefusedFor.WRONG_SECRET}
            assert one.bus.refusals.counts[RefusedFor.WRONG_SECRET] == len(one.refused)
            assert not one.bus.linked
            assert not wrong.bus.linked
            assert not wrong.ups
            wrong.bus.close()

    run(body())


def test_the_previous_secret_is_good_while_it_is_changed(run: Run) -> None:
    async def body() -> None:
        async with parties(1, keys=(OTHER_KEY, KEY)) as (happenings, group, (one,)):
            old = await Party(happenings, group, 2).open()
            old.dial(one)
            await happenings.until(lambda: linked(one, old))
            old.bus.close()

    run(body())


def test_strangers_are_few(run: Run) -> None:
    async def body() -> None:
        async with parties(1, limits=LinkLimits(handshake_s=60.0)) as (happenings, _, (one,)):
            strangers = [await Stranger.connect(one) for _ in range(STRANGERS_MAX + 3)]
            await happenings.until(lambda: len(one.refused) == 3)
            assert one.bus.refusals.counts[RefusedFor.TOO_MANY] == 3
            for stranger in strangers:
                stranger.close()

    run(body())


def test_strangers_do_not_stay(run: Run) -> None:
    async def body() -> None:
        async with parties(1, limits=LinkLimits(handshake_s=0.05)) as (happenings, _, (one,)):
            strangers = [await Stranger.connect(one) for _ in range(3)]
            await happenings.until(lambda: len(one.refused) == 3)
            assert one.bus.refusals.counts[RefusedFor.LATE] == 3
            for stranger in strangers:
                await stranger.closed()
            assert one.links() == 0

    run(body())


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", RefusedFor.MALFORMED),
        (b"\x00\x00\x04\x01", RefusedFor.MALFORMED),
        (encode(Packets([b"INVITE"]), 1), RefusedFor.OUT_OF_ORDER),
        (encode(Reply(1, b""), 1), RefusedFor.OUT_OF_ORDER),
    ],
)
def test_who_does_not_begin_with_a_handshake_is_refused(
    run: Run, sent: bytes, why: RefusedFor
) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            stranger = await Stranger.connect(one)
            stranger.writer.write(sent)
            assert await stranger.read() == Refusal(why.value)
            await stranger.closed()
            await happenings.until(lambda: one.refused)
            assert one.packets == []
            assert one.links() == 0

    run(body())


def test_a_member_that_breaks_the_protocol_loses_its_link(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            for broken in (b"\x01\x00\x00\x01\xc0", encode(Refusal("late"), 0)):
                stranger = await Stranger.connect(one)
                await stranger.shake_hands(Identity("farm", 2, 1, "m2"))
                stranger.writer.write(encode(Event("good", b""), 1) + broken)
                await stranger.closed()
                await happenings.until(lambda: not one.bus.linked)
            assert one.said == [(2, "good", b"")] * 2
            assert len(one.refused) == 2

    run(body())


def test_a_kind_of_a_later_release_is_counted_and_the_link_stays(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            stranger = await Stranger.connect(one)
            await stranger.shake_hands(Identity("farm", 2, 1, "m2"))
            stranger.writer.write(b"\x01\x00\x00\x03\x92\x63\x01" + encode(Event("next", b""), 1))
            await happenings.until(lambda: one.said)
            assert one.bus.counters.frames_unknown == 1
            stranger.close()

    run(body())


def test_who_does_not_read_is_dropped_for_and_costs_a_bounded_room(run: Run) -> None:
    limits = LinkLimits(queue_bytes_max=200_000, reserve_bytes=50_000)

    async def body() -> None:
        async with parties(1, limits=limits) as (happenings, _, (one,)):
            stranger = await Stranger.connect(one, read_bytes_max=1_024)
            await stranger.shake_hands(Identity("farm", 2, 1, "m2"))
            payload = bytes(10_000)
            sent = 0
            while one.bus.counters.packets_dropped < 100:
                sent += one.bus.send_packets(2, payload)
                assert sent < 10_000
                if sent % 10 == 0:
                    await turns()
            link = one.bus.linked[2]
            assert link._waiting_bytes() <= limits.queue_bytes_max
            heartbeat = Heartbeat(OwnState.READY, Load(), 1)
            assert one.bus.send(2, heartbeat), "other frames have some room of their own"
            frames = 0
            while one.bus.send(2, Invalidate("aor", "x" * 500)):
                frames += 1
                assert frames < 1_000
            assert one.bus.counters.links_overrun == 1
            await happenings.until(lambda: one.downs)
            assert not one.bus.linked
            stranger.close()

    run(body())


def test_a_link_over_which_nothing_comes_is_ended(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, _, (one, two)):
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            for _ in range(10):
                one.bus.close_silent(10)
            two.bus.broadcast(Heartbeat(OwnState.READY, Load(), 1))
            await happenings.until(lambda: one.said)
            for _ in range(10):
                one.bus.close_silent(10)
            assert one.downs == []
            one.bus.close_silent(10)
            await happenings.until(lambda: one.downs)

    run(body())


async def refuse_for_room(method: str, arguments: bytes) -> bytes:
    raise CapacityError("no room", status=503)


async def refuse_as_wrong(method: str, arguments: bytes) -> bytes:
    raise PeerError("no such method", status=404)


async def fail_otherwise(method: str, arguments: bytes) -> bytes:
    raise SipfarmError("the store is away")


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (refuse_for_room, 503, "no room"),
        (refuse_as_wrong, 404, "no such method"),
        (fail_otherwise, 500, "the store is away"),
    ],
)
def test_a_refused_call_says_why(
    run: Run, answer: Callable[[str, bytes], Awaitable[bytes]], status: int, reason: str
) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, _, (one, two)):
            two.answer = answer
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            with pytest.raises(CallRefused) as refused:
                await one.bus.call(2, "claim", b"", 5.0)
            assert (refused.value.status, refused.value.reason) == (status, reason)

    run(body())


def test_calls_are_answered_in_any_order_and_both_ways(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, group, (one, two)):
            gates = [asyncio.Event() for _ in range(3)]

            async def wait(method: str, arguments: bytes) -> bytes:
                await gates[int(arguments)].wait()
                return b"done " + arguments

            two.answer = wait
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            calls = [
                group.create_task(one.bus.call(2, "wait", b"%d" % number, 5.0))
                for number in range(3)
            ]
            assert await two.bus.call(1, "hello", b"m1", 5.0) == b"hello m1"
            for number in (2, 0, 1):
                gates[number].set()
                assert await calls[number] == b"done %d" % number
            assert len(one.bus.calls) == 0

    run(body())


def test_a_call_without_an_answer_ends_and_leaves_nothing(run: Run) -> None:
    async def body() -> None:
        async with parties(1, 2) as (happenings, group, (one, two)):

            async def never(method: str, arguments: bytes) -> bytes:
                await asyncio.Event().wait()
                return b""

            two.answer = never
            with pytest.raises(CallFailed) as failed:
                await one.bus.call(2, "x", b"", 1.0)
            assert failed.value.why is Unanswered.NO_LINK
            one.dial(two)
            await happenings.until(lambda: linked(one, two))
            with pytest.raises(CallFailed) as failed:
                await one.bus.call(2, "x", b"", 0.01)
            assert failed.value.why is Unanswered.TIMEOUT
            cancelled = group.create_task(one.bus.call(2, "cancelled", b"", 5.0))
            await happenings.until(lambda: (1, "cancelled", b"") in two.said)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert len(one.bus.calls) == 0
            lost = group.create_task(catch(one.bus.call(2, "lost", b"", 5.0)))
            await happenings.until(lambda: (1, "lost", b"") in two.said)
            two.bus.linked[1].abort()
            assert await lost is Unanswered.LINK_LOST
            assert len(one.bus.calls) == 0

    run(body())


async def catch(call: Awaitable[bytes]) -> Unanswered | bytes:
    try:
        return await call
    except CallFailed as failed:
        return failed.why


def test_calls_are_bounded_on_both_sides(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            gate = asyncio.Event()

            async def wait(method: str, arguments: bytes) -> bytes:
                await gate.wait()
                return b""

            one.answer = wait
            begun = [one.bus.calls.begin((2, 1)) for _ in range(CALLS_MAX)]
            stranger = await Stranger.connect(one)
            await stranger.shake_hands(Identity("farm", 2, 1, "m2"))
            with pytest.raises(CapacityError):
                await one.bus.call(2, "x", b"", 1.0)
            for request_id, _ in begun:
                one.bus.calls.end(request_id)
            with pytest.raises(UsageError):
                await one.bus.call(2, "x", bytes(PAYLOAD_BYTES_MAX), 1.0)
            for number in range(1_030):
                stranger.writer.write(encode(Request(number, "wait", b""), 1))
            refused = await stranger.read()
            assert getattr(refused, "status", None) == 503
            stranger.close()
            await happenings.until(lambda: one.downs)

    run(body())


def test_an_answer_that_nobody_asked_for_is_passed_over(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, _, (one,)):
            stranger = await Stranger.connect(one)
            await stranger.shake_hands(Identity("farm", 2, 1, "m2"))
            stranger.writer.write(encode(Reply(77, b"x"), 1) + encode(Event("next", b""), 1))
            await happenings.until(lambda: one.said)
            assert one.bus.linked
            stranger.close()

    run(body())


def test_a_taken_port_is_said_in_one_sentence(run: Run) -> None:
    async def body() -> None:
        async with parties(1) as (happenings, group, (one,)):
            second = Party(happenings, group, 2)
            with pytest.raises(StartError, match=r"the bus cannot listen on 127\.0\.0\.1"):
                await second.open(one.address)

    run(body())


def test_nobody_there_is_tried_again_until_somebody_is(
    run: Run, free_port: Callable[[], int]
) -> None:
    address = HostPort("127.0.0.1", free_port())

    async def body() -> None:
        async with parties(1, times=AT_ONCE) as (happenings, group, (one,)):
            one.bus.dial((2, 1), address)
            two = Party(happenings, group, 2, times=AT_ONCE)
            await one.bus._targets[2].unlinked.wait()
            await two.open(address)
            await happenings.until(lambda: linked(one, two))
            two.bus.close()

    run(body())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> BusTls:
    """One certificate that all members of a farm have, and trust nobody else's."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [*made.split(), "-subj", "/CN=farm", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return BusTls(
        context(ssl.PROTOCOL_TLS_SERVER, key, certificate),
        context(ssl.PROTOCOL_TLS_CLIENT, key, certificate),
    )


def context(side: int, key: Path, certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(certificate, key)
    made.load_verify_locations(certificate)
    return made


def test_links_go_over_tls_where_it_is_given(run: Run, tls: BusTls) -> None:
    async def body() -> None:
        limits = LinkLimits(retire_s=0.1)
        async with parties(1, 2, times=AT_ONCE, limits=limits, tls=tls) as (
            happenings,
            _,
            (one, two),
        ):
            one.dial(two)
            two.dial(one)
            await happenings.until(lambda: linked(one, two))
            assert await one.bus.call(2, "echo", b"x", 5.0) == b"echo x"
            stranger = await Stranger.connect(one)
            stranger.writer.write(b"no TLS at all")
            await stranger.closed()
            assert set(one.bus.linked) == {2}

    run(body())
