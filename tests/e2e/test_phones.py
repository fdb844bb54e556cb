"""Two pjsua2 softphones through a farm: what each sends, the other must hear."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipfarm.phone import listen, tones
from sipfarm.phone.io.process import PhoneError, Softphone, softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.protocol import PhoneSettings
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.hearing import heard
from sipfarm.testing.real_farm import DOMAIN, RealFarm

pytestmark = pytest.mark.timeout(90)

MEMBERS = 3
ALL_READY = {f"m{index + 1}": "ready" for index in range(MEMBERS)}
ALICE_COMB = 1
BOB_COMB = 2
LEVEL_DBFS = -20.0


@pytest.fixture(scope="module")
def whole_farm(start_farm: Callable[..., RealFarm]) -> RealFarm:
    farm = start_farm(members=MEMBERS)
    farm.wait_for(ALL_READY, 20.0)
    PacketBalancer(farm.listen, farm.pids).at_random()
    return farm


@pytest.fixture
def farm(whole_farm: RealFarm) -> RealFarm:
    """A farm that no call is left in, before and after."""
    whole_farm.wait_calls_over()
    return whole_farm


class Talk:
    """Two phones, what they play and what they record."""

    def __init__(self, alice: Softphone, bob: Softphone, folder: Path) -> None:
        self.alice = alice
        self.bob = bob
        self.alice_says = folder / "alice.wav"
        self.bob_says = folder / "bob.wav"
        self.alice_heard = folder / "alice-heard.wav"
        self.bob_heard = folder / "bob-heard.wav"
        self.bob_uri = f"sip:{user_of(bob)}@{DOMAIN}"

    async def connect(self) -> tuple[int, int]:
        """Alice calls, bob answers; the call's number at each."""
        placed = await self.alice.start_call(self.bob_uri, self.alice_says, self.alice_heard)
        taken = (await self.bob.incoming()).call
        await self.bob.answer(taken, self.bob_says, self.bob_heard)
        await self.alice.wait_answered(placed, self.bob_uri)
        return placed, taken

    async def heard(self, placed: int, taken: int, seconds: float) -> None:
        """Until each has got so much audio of the other."""
        await heard(self.alice, placed, seconds)
        await heard(self.bob, taken, seconds)


def user_of(phone: Softphone) -> str:
    return phone.settings.aor.removeprefix("sip:").partition("@")[0]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


@asynccontextmanager
async def phones(
    farm: RealFarm, folder: Path, transports: tuple[str, str] = ("udp", "udp")
) -> AsyncGenerator[Talk]:
    """Two registered phones; both go when the block is left."""
    async with AsyncExitStack() as stack:
        started: list[Softphone] = []
        for transport in transports:
            user = farm.unused_user()
            settings = PhoneSettings(
                aor=f"sip:{user}@{DOMAIN}",
                password=f"{user}-secret",
                server=str(farm.listen),
                transport=transport,
                codecs=("G722",),
            )
            started.append(await stack.enter_async_context(softphone(settings)))
            await started[-1].register()
        talk = Talk(started[0], started[1], folder)
        write_wav(talk.alice_says, tones.tone_comb(ALICE_COMB, 3.0, LEVEL_DBFS))
        write_wav(talk.bob_says, tones.tone_comb(BOB_COMB, 3.0, LEVEL_DBFS))
        yield talk


def assert_heard(recording: Path, comb: int, at_least_s: float) -> None:
    """The tones of a comb at the level they had, wideband, in one piece."""
    samples, sample_rate_hz = read_wav(recording)
    heard = listen.hear(samples, sample_rate_hz)
    assert listen.comb_heard(samples, sample_rate_hz, comb), heard
    assert heard.level_dbfs == pytest.approx(LEVEL_DBFS, abs=2.0)
    assert heard.wideband_db > -6.0
    assert sum(gap.length_ms for gap in heard.gaps) < 200, heard.gaps
    assert heard.seconds >= at_least_s


@pytest.mark.parametrize("transports", [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp")])
def test_each_hears_the_other_in_wideband(
    farm: RealFarm, tmp_path: Path, transports: tuple[str, str]
) -> None:
    async def talk() -> None:
        async with phones(farm, tmp_path, transports) as both:
            placed, taken = await both.connect()
            await both.heard(placed, taken, 3.0)
            told = await both.alice.hangup(placed)
            await both.bob.wait_state(taken, ("disconnected",))
            other = await both.bob.report(taken)
            for report in (told, other):
                assert (report.codec, report.clock_rate_hz) == ("G722", 16_000)
                assert report.received.packets > 100
                assert report.received.lost <= 0.02 * report.received.packets
                assert report.remote_rtp.startswith(f"{farm.listen.host}:")
        assert_heard(both.alice_heard, BOB_COMB, 2.5)
        assert_heard(both.bob_heard, ALICE_COMB, 2.5)

    run(talk())
    farm.wait_calls_over()


def test_the_called_phone_hangs_up(farm: RealFarm, tmp_path: Path) -> None:
    async def talk() -> None:
        async with phones(farm, tmp_path) as both:
            placed, taken = await both.connect()
            await both.bob.hangup(taken)
            state = await both.alice.wait_state(placed, ("disconnected",))
            assert state.status == 200
            await asyncio.to_thread(farm.wait_calls_over)

    run(talk())


def test_hold_stops_the_audio_and_resume_brings_it_back(farm: RealFarm, tmp_path: Path) -> None:
    async def talk() -> None:
        async with phones(farm, tmp_path) as both:
            placed, taken = await both.connect()
            await both.alice.hold(placed)
            await both.bob.wait_media(taken, "remote_hold")
            before = (await both.alice.report(placed)).received.packets
            # Who holds goes on sending: a second passes while a second of it is heard.
            begun = (await both.bob.report(taken)).received.packets
            await heard(both.bob, taken, 1.0, begun)
            held = (await both.alice.report(placed)).received.packets
            assert held - before <= 5
            await both.alice.resume(placed)
            await heard(both.alice, placed, 1.0, held)
            await both.alice.hangup(placed)
            await both.bob.wait_state(taken, ("disconnected",))

    run(talk())
    farm.wait_calls_over()


def test_a_busy_phone_is_told_as_such(farm: RealFarm, tmp_path: Path) -> None:
    async def talk() -> None:
        async with phones(farm, tmp_path) as both:
            placed = await both.alice.start_call(both.bob_uri)
            taken = (await both.bob.incoming()).call
            await both.bob.answer(taken, status=486)
            with pytest.raises(PhoneError) as refused:
                await both.alice.wait_answered(placed, both.bob_uri)
            assert refused.value.status == 486

    run(talk())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_who_calls_echo_hears_oneself(farm: RealFarm, tmp_path: Path, transport: str) -> None:
    async def talk() -> None:
        async with phones(farm, tmp_path, (transport, "udp")) as both:
            placed = await both.alice.call(f"sip:echo@{DOMAIN}", both.alice_says, both.alice_heard)
            await heard(both.alice, placed, 3.0)
            report = await both.alice.hangup(placed)
            assert report.codec == "G722"
        assert_heard(both.alice_heard, ALICE_COMB, 2.5)

    run(talk())
    farm.wait_calls_over()


def test_a_phone_on_tcp_is_called_again_after_the_member_of_its_connection_died(
    start_farm: Callable[..., RealFarm], tmp_path: Path
) -> None:
    farm = start_farm(members=MEMBERS)
    farm.wait_for(ALL_READY, 20.0)
    PacketBalancer(farm.listen, farm.pids).at_random()

    async def talk() -> None:
        async with phones(farm, tmp_path, ("udp", "tcp")) as both:
            [registration] = [
                found for found in farm.registrations() if found.aor == both.bob.settings.aor
            ]
            holder = registration.member
            assert holder is not None
            await asyncio.to_thread(farm.kill, holder)
            await asyncio.to_thread(farm.wait_view_without, holder, 10.0)
            await both.bob.register()
            placed, taken = await both.connect()
            await both.heard(placed, taken, 2.0)
            await both.alice.hangup(placed)
            await both.bob.wait_state(taken, ("disconnected",))
        assert_heard(both.alice_heard, BOB_COMB, 1.5)
        assert_heard(both.bob_heard, ALICE_COMB, 1.5)

    run(talk())
    farm.end()
