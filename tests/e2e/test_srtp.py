"""pjsua2 softphones with SRTP by SDES: with `echo`, and with each other through the relay."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipfarm.phone import listen, tones
from sipfarm.phone.io.process import PhoneError, Softphone, softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.protocol import PhoneSettings
from sipfarm.testing.eventually import eventually
from sipfarm.testing.hearing import heard
from sipfarm.testing.real_farm import DOMAIN, RealFarm

pytestmark = pytest.mark.timeout(90)

ECHO = f"sip:echo@{DOMAIN}"
SUITES = (
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
)
COMB = 1
LEVEL_DBFS = -20.0


@pytest.fixture(scope="module")
def offering(start_farm: Callable[..., RealFarm]) -> RealFarm:
    farm = start_farm(srtp="offer")
    farm.wait_for({"m1": "ready"}, 20.0)
    return farm


@pytest.fixture(scope="module")
def requiring(start_farm: Callable[..., RealFarm]) -> RealFarm:
    farm = start_farm(srtp="require")
    farm.wait_for({"m1": "ready"}, 20.0)
    return farm


@asynccontextmanager
async def registered(
    farm: RealFarm, srtp: str, suites: tuple[str, ...] = ()
) -> AsyncGenerator[Softphone]:
    user = farm.unused_user()
    settings = PhoneSettings(
        aor=f"sip:{user}@{DOMAIN}",
        password=f"{user}-secret",
        server=str(farm.listen),
        codecs=("G722",),
        srtp=srtp,
        srtp_suites=suites,
    )
    async with softphone(settings) as phone:
        await phone.register()
        yield phone


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


@pytest.fixture
def says(tmp_path: Path) -> Path:
    file = tmp_path / "says.wav"
    write_wav(file, tones.tone_comb(COMB, 3.0, LEVEL_DBFS))
    return file


def assert_heard(recording: Path, seconds: float) -> None:
    samples, sample_rate_hz = read_wav(recording)
    assert listen.comb_heard(samples[-int(seconds * sample_rate_hz) :], sample_rate_hz, COMB)


async def hear_oneself(phone: Softphone, says: Path, recording: Path) -> None:
    placed = await phone.call(ECHO, says, recording)
    await heard(phone, placed, 2.0)
    await phone.hangup(placed)


@pytest.mark.parametrize("suite", SUITES)
def test_who_calls_echo_by_srtp_hears_oneself(
    requiring: RealFarm, says: Path, tmp_path: Path, suite: str
) -> None:
    async def talk() -> None:
        async with registered(requiring, "mandatory", (suite,)) as phone:
            await hear_oneself(phone, says, tmp_path / "heard.wav")

    run(talk())
    assert_heard(tmp_path / "heard.wav", 1.0)
    assert requiring.total("sipfarm_media_unauthentic") == 0
    requiring.wait_calls_over()


@pytest.mark.parametrize("srtp", ["off", "optional", "mandatory"])
def test_a_domain_that_offers_srtp_takes_every_phone(
    offering: RealFarm, says: Path, tmp_path: Path, srtp: str
) -> None:
    async def talk() -> None:
        async with registered(offering, srtp) as phone:
            await hear_oneself(phone, says, tmp_path / "heard.wav")

    run(talk())
    assert_heard(tmp_path / "heard.wav", 1.0)
    offering.wait_calls_over()


def test_a_phone_without_srtp_is_refused_where_it_is_required(
    requiring: RealFarm, says: Path
) -> None:
    async def talk() -> None:
        async with registered(requiring, "off") as phone:
            placed = await phone.start_call(ECHO, says)
            with pytest.raises(PhoneError) as refused:
                await phone.wait_answered(placed, ECHO)
            assert refused.value.status == 488

    run(talk())


def test_a_call_goes_on_by_its_keys_after_a_hold(
    requiring: RealFarm, says: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "heard.wav"

    async def talk() -> None:
        async with registered(requiring, "mandatory") as phone:
            placed = await phone.call(ECHO, says, recording)
            await heard(phone, placed, 1.0)
            await phone.hold(placed)
            await phone.resume(placed)
            before = await phone.report(placed)
            await heard(phone, placed, 2.0, before.received.packets)
            await phone.hangup(placed)

    run(talk())
    assert_heard(recording, 1.0)
    requiring.wait_calls_over()


def test_srtp_of_two_phones_passes_the_relay_untouched(
    offering: RealFarm, says: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "there.wav", tmp_path / "back.wav"

    async def talk() -> None:
        async with (
            registered(offering, "mandatory") as alice,
            registered(offering, "mandatory") as bob,
        ):
            placed = await alice.start_call(bob.settings.aor, says, back)
            taken = (await bob.incoming()).call
            await bob.answer(taken, says, there)
            await alice.wait_answered(placed, bob.settings.aor)
            await heard(alice, placed, 2.0)
            await heard(bob, taken, 2.0)
            await alice.hangup(placed)

    run(talk())
    assert_heard(there, 1.0)
    assert_heard(back, 1.0)
    offering.wait_calls_over()


def test_who_calls_echo_by_srtp_hears_oneself_again_after_its_member_was_killed(
    start_farm: Callable[..., RealFarm], says: Path, tmp_path: Path
) -> None:
    farm = start_farm(members=2, restart=False, srtp="require")
    farm.wait_for({"m1": "ready", "m2": "ready"}, 20.0)
    recording = tmp_path / "heard.wav"

    async def talk() -> None:
        async with registered(farm, "mandatory") as phone:
            placed = await phone.call(ECHO, says, recording)
            await heard(phone, placed, 1.0)
            [call] = await asyncio.to_thread(farm.calls)
            await asyncio.to_thread(farm.kill, call.member)
            await phone.wait_media(placed, "active")
            silent = await phone.report(placed)
            await heard(phone, placed, 3.0, silent.received.packets)
            await phone.hangup(placed)

    run(talk())
    assert_heard(recording, 2.0)
    eventually(lambda: not farm.calls(), "the call is over", 15.0)
    farm.end()
