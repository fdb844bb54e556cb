"""Two softphone processes call each other on loopback: what each sends, the other must hear."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipfarm.phone import listen, tones
from sipfarm.phone.io.process import PhoneError, Softphone, softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.protocol import PhoneSettings
from sipfarm.testing.hearing import heard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


@asynccontextmanager
async def two_phones(
    codecs: tuple[str, ...] = ("G722",), transport: str = "udp"
) -> AsyncGenerator[list[Softphone]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                softphone(
                    PhoneSettings(
                        aor=f"sip:{name}@example.test",
                        bind="127.0.0.1",
                        codecs=codecs,
                        transport=transport,
                    )
                )
            )
            for name in ("alice", "bob")
        ]


async def connect(
    alice: Softphone, bob: Softphone, folder: Path, alice_says: Path, bob_says: Path
) -> tuple[int, int]:
    placed = await alice.start_call(
        f"sip:bob@{bob.address};transport={bob.settings.transport}",
        play=alice_says,
        record=folder / "alice-heard.wav",
    )
    taken = (await bob.incoming()).call
    await bob.answer(taken, play=bob_says, record=folder / "bob-heard.wav")
    await alice.wait_answered(placed)
    return placed, taken


def test_g722_call_carries_wideband_audio_both_ways(tmp_path: Path) -> None:
    alice_says, bob_says = tmp_path / "alice.wav", tmp_path / "bob.wav"
    write_wav(alice_says, tones.speech_like(6.0, 1))
    write_wav(bob_says, tones.tone_comb(2, 8.0))

    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed, taken = await connect(alice, bob, tmp_path, alice_says, bob_says)
            await heard(alice, placed, 4.0)
            await heard(bob, taken, 4.0)
            told = await alice.hangup(placed)
            await bob.wait_state(taken, ("disconnected",))
            other = await bob.report(taken)
            for report in (told, other):
                assert (report.codec, report.clock_rate_hz, report.status) == ("G722", 16_000, 200)
                assert report.seconds == pytest.approx(4.0, abs=0.5)
                assert report.received.packets == pytest.approx(200, abs=20)
                assert report.received.bytes == 160 * report.received.packets
                assert report.received.lost == 0

    run(talk())
    alice_heard = listen.hear(*read_wav(tmp_path / "alice-heard.wav"))
    assert alice_heard.level_dbfs == pytest.approx(-20, abs=1)
    assert alice_heard.wideband_db == pytest.approx(-3, abs=3)
    assert alice_heard.gaps == ()
    assert listen.comb_heard(*read_wav(tmp_path / "alice-heard.wav"), number=2)
    sent, rate_hz = read_wav(alice_says)
    likeness = listen.likeness(sent, read_wav(tmp_path / "bob-heard.wav")[0], rate_hz)
    assert likeness.correlation > 0.95
    assert likeness.level_difference_db == pytest.approx(0, abs=1)


def test_pcmu_call_carries_no_wideband_audio(tmp_path: Path) -> None:
    says = tmp_path / "says.wav"
    write_wav(says, tones.speech_like(4.0, 3))

    async def talk() -> None:
        async with two_phones(("PCMU",)) as (alice, bob):
            placed, _ = await connect(alice, bob, tmp_path, says, says)
            await heard(alice, placed, 2.0)
            assert (await alice.hangup(placed)).codec == "PCMU"

    run(talk())
    audio = listen.hear(*read_wav(tmp_path / "alice-heard.wav"))
    assert audio.level_dbfs == pytest.approx(-22, abs=3)
    assert audio.wideband_db < -30


def test_a_call_goes_over_tcp(tmp_path: Path) -> None:
    says = tmp_path / "says.wav"
    write_wav(says, tones.tone_comb(5, 3.0))

    async def talk() -> None:
        async with two_phones(transport="tcp") as (alice, bob):
            placed, _ = await connect(alice, bob, tmp_path, says, says)
            await heard(alice, placed, 1.0)
            await alice.hangup(placed)

    run(talk())
    assert listen.comb_heard(*read_wav(tmp_path / "alice-heard.wav"), number=5)


def test_hold_stops_the_audio_and_resume_brings_it_back(tmp_path: Path) -> None:
    says = tmp_path / "says.wav"
    write_wav(says, tones.tone_comb(5, 2.0))

    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed, taken = await connect(alice, bob, tmp_path, says, says)
            await alice.hold(placed)
            await bob.wait_media(taken, "remote_hold")
            before = (await alice.report(placed)).received.packets
            # Who holds goes on sending: a second passes while a second of it is heard.
            begun = (await bob.report(taken)).received.packets
            await heard(bob, taken, 1.0, begun)
            held = (await alice.report(placed)).received.packets
            assert held - before <= 2
            await alice.resume(placed)
            await heard(alice, placed, 1.0, held)
            await alice.hangup(placed)

    run(talk())


def test_digits_reach_the_far_end(tmp_path: Path) -> None:
    says = tmp_path / "says.wav"
    write_wav(says, tones.tone_comb(5, 1.0))

    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed, taken = await connect(alice, bob, tmp_path, says, says)
            await alice.dtmf(placed, "42#")
            assert [await bob.wait_digit(taken) for _ in range(3)] == ["4", "2", "#"]
            assert (await bob.report(taken)).digits == "42#"

    run(talk())


def test_a_busy_phone_is_told_with_its_status() -> None:
    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed = await alice.start_call(f"sip:bob@{bob.address}")
            await bob.answer((await bob.incoming()).call, status=486)
            with pytest.raises(PhoneError, match="486 Busy Here") as refused:
                await alice.wait_answered(placed)
            assert refused.value.status == 486

    run(talk())


def test_phones_without_a_common_codec_get_488() -> None:
    async def talk() -> None:
        async with AsyncExitStack() as stack:
            alice, bob = [
                await stack.enter_async_context(
                    softphone(
                        PhoneSettings(aor="sip:a@example.test", bind="127.0.0.1", codecs=(codec,))
                    )
                )
                for codec in ("G722", "PCMU")
            ]
            with pytest.raises(PhoneError) as refused:
                await alice.call(f"sip:bob@{bob.address}")
            assert refused.value.status == 488

    run(talk())


def test_ipv6_is_refused_in_a_sentence() -> None:
    async def talk() -> None:
        with pytest.raises(PhoneError, match="built without IPv6"):
            async with softphone(PhoneSettings(aor="sip:a@example.test", bind="::1")):
                pass

    run(talk())


def test_an_unknown_codec_is_told_in_a_sentence() -> None:
    async def talk() -> None:
        settings = PhoneSettings(aor="sip:a@example.test", bind="127.0.0.1", codecs=("G729",))
        with pytest.raises(PhoneError, match="The codec G729 is unknown; there are G722"):
            async with softphone(settings):
                pass

    run(talk())


def test_a_file_that_is_not_there_is_told_in_a_sentence() -> None:
    async def talk() -> None:
        async with two_phones() as (alice, bob):
            with pytest.raises(PhoneError, match=r"There is no file /no/such\.wav to play"):
                await alice.call(f"sip:bob@{bob.address}", play=Path("/no/such.wav"))

    run(talk())


def test_a_phone_that_dies_is_told_and_leaves_no_process() -> None:
    async def talk() -> None:
        settings = PhoneSettings(aor="sip:a@example.test", bind="127.0.0.1")
        async with softphone(settings) as phone:
            await phone.kill()
            with pytest.raises(PhoneError, match="ended with status -9"):
                await phone.incoming()

    run(talk())


def test_a_recording_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()

    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed = await alice.start_call(
                f"sip:bob@{bob.address}", record=tmp_path / "folder.wav"
            )
            await bob.answer((await bob.incoming()).call)
            with pytest.raises(PhoneError, match="has no audio"):
                await alice.wait_answered(placed)

    run(talk())


def test_who_hangs_up_a_call_that_is_over_gets_its_report(tmp_path: Path) -> None:
    says = tmp_path / "says.wav"
    write_wav(says, tones.tone_comb(5, 1.0))

    async def talk() -> None:
        async with two_phones() as (alice, bob):
            placed, taken = await connect(alice, bob, tmp_path, says, says)
            await alice.hangup(placed)
            await bob.wait_state(taken, ("disconnected",))
            assert (await bob.hangup(taken)).status == 200

    run(talk())
