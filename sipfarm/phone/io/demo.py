"""The demonstration: a farm, two softphones, a G.722 call between them and one to `echo`."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.phone import listen, tones
from sipfarm.phone.heard import FLOOR_DBFS, QUIET_DBFS
from sipfarm.phone.io.farm import RUN, Farm, farm
from sipfarm.phone.io.process import PhoneError, Softphone, softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.protocol import PhoneSettings, Reported

DOMAIN: Final = "example.test"
CODEC: Final = "G722"
ALICE_COMB: Final = 1
BOB_COMB: Final = 2
WIDEBAND_AT_LEAST_DB: Final = -20.0
LOSS_AT_MOST: Final = 0.01


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a call, as the phone at its end heard it."""

    speaker: str
    listener: str
    codec: str
    seconds: float
    packets: int
    lost: int
    level_dbfs: float
    wideband_db: float
    gaps: int
    recognised: bool
    """Whether the tones are the speaker's own."""
    members: tuple[str, ...]
    """The members that had the call at mid-call, by the admin API."""


class Demonstration(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard, and in sentences what was not."""

    server: str
    registrations: tuple[str, ...]
    directions: tuple[Direction, ...]
    faults: tuple[str, ...]


async def demonstrate(
    members: int,
    seconds: float,
    told: Callable[[str], None] = lambda _: None,
    command: Sequence[str] = RUN,
) -> Demonstration:
    """Run it all; raises PhoneError with a sentence where it cannot be carried through."""
    with tempfile.TemporaryDirectory(prefix="sipfarm-demo-") as name:
        folder = Path(name)
        told(f"Starting a farm of {members} members.")
        async with farm(members, command) as running, AsyncExitStack() as stack:
            told(f"The farm is ready at {running.server}; alice and bob register.")
            alice, bob = [
                await stack.enter_async_context(softphone(_settings(user, running.server)))
                for user in ("alice", "bob")
            ]
            await alice.register()
            await bob.register()
            registrations = await running.ask("registrations")
            for number, user in ((ALICE_COMB, "alice"), (BOB_COMB, "bob")):
                comb = tones.tone_comb(number, seconds + 10.0)
                await asyncio.to_thread(write_wav, folder / f"{user}.wav", comb)
            told(f"alice calls bob for {seconds:g} s.")
            directions = await _call_bob(running, alice, bob, folder, seconds)
            told(f"alice calls echo for {seconds:g} s.")
            directions.append(await _call_echo(running, alice, folder, seconds))
    faults = tuple(fault for direction in directions for fault in faults_of(direction, seconds))
    return Demonstration(
        server=running.server,
        registrations=tuple(_named(row) for row in registrations),
        directions=tuple(directions),
        faults=faults,
    )


def faults_of(direction: Direction, seconds: float) -> list[str]:
    """What is wrong with one direction, in sentences."""
    who = f"{direction.listener} listening to {direction.speaker}"
    if direction.level_dbfs <= QUIET_DBFS:
        return [f"{who} heard nothing ({direction.packets} packets came)."]
    faults: list[str] = []
    if not direction.recognised:
        faults.append(f"{who} did not hear the tones that {direction.speaker} sent.")
    if direction.codec != CODEC:
        faults.append(f"{who} had {direction.codec} and not {CODEC}.")
    if direction.wideband_db < WIDEBAND_AT_LEAST_DB:
        faults.append(f"{who} heard nothing above 4 kHz ({direction.wideband_db} dB).")
    if direction.lost > LOSS_AT_MOST * (direction.packets + direction.lost):
        faults.append(f"{who} lost {direction.lost} packets of {direction.packets}.")
    if direction.seconds < 0.9 * seconds:
        faults.append(f"{who} heard {direction.seconds} s of {seconds:g} s.")
    return faults


async def _call_bob(
    running: Farm, alice: Softphone, bob: Softphone, folder: Path, seconds: float
) -> list[Direction]:
    to_alice, to_bob = folder / "alice-heard.wav", folder / "bob-heard.wav"
    uri = f"sip:bob@{DOMAIN}"
    placed = await alice.start_call(uri, folder / "alice.wav", to_alice, loop=False)
    try:
        taken = (await bob.incoming()).call
    except PhoneError as error:
        await alice.wait_answered(placed, uri, ring_s=0.1)
        raise PhoneError(f"The call from alice did not reach bob: {error}") from error
    await bob.answer(taken, folder / "bob.wav", to_bob, loop=False)
    await alice.wait_answered(placed, uri)
    members = await _listen_and_look(running, alice, placed, seconds)
    at_alice = await alice.hangup(placed)
    await bob.wait_state(taken, ("disconnected",))
    at_bob = await bob.report(taken)
    return [
        await _direction("alice", "bob", at_bob, to_bob, ALICE_COMB, members),
        await _direction("bob", "alice", at_alice, to_alice, BOB_COMB, members),
    ]


async def _call_echo(running: Farm, alice: Softphone, folder: Path, seconds: float) -> Direction:
    heard = folder / "echo-heard.wav"
    placed = await alice.call(f"sip:echo@{DOMAIN}", folder / "alice.wav", heard, loop=False)
    members = await _listen_and_look(running, alice, placed, seconds)
    report = await alice.hangup(placed)
    return await _direction("echo", "alice", report, heard, ALICE_COMB, members)


async def _listen_and_look(
    running: Farm, phone: Softphone, number: int, seconds: float
) -> tuple[str, ...]:
    """Let a call run, and at its middle ask the farm who carries it."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    await asyncio.sleep(seconds / 2)
    call_id = (await phone.report(number)).call_id
    calls = [row for row in await running.ask("calls") if row.get("call_id", call_id) == call_id]
    await asyncio.sleep(max(0.0, ends_at - loop.time()))
    return tuple(sorted({str(call["member"]) for call in calls if call.get("member")}))


async def _direction(
    speaker: str,
    listener: str,
    report: Reported,
    recording: Path,
    comb: int,
    members: tuple[str, ...],
) -> Direction:
    samples, sample_rate_hz = (
        await asyncio.to_thread(read_wav, recording) if report.recording else (listen.NOTHING, 1)
    )
    heard = listen.hear(samples, sample_rate_hz) if len(samples) else None
    return Direction(
        speaker=speaker,
        listener=listener,
        codec=report.codec,
        seconds=heard.seconds if heard else 0.0,
        packets=report.received.packets,
        lost=report.received.lost,
        level_dbfs=heard.level_dbfs if heard else FLOOR_DBFS,
        wideband_db=heard.wideband_db if heard else FLOOR_DBFS,
        gaps=len(heard.gaps) if heard else 0,
        recognised=heard is not None and listen.comb_heard(samples, sample_rate_hz, comb),
        members=members,
    )


def _settings(user: str, server: str) -> PhoneSettings:
    return PhoneSettings(
        aor=f"sip:{user}@{DOMAIN}", password=f"{user}-secret", server=server, codecs=(CODEC,)
    )


def _named(registration: dict[str, object]) -> str:
    """A registration in a few words."""
    words = (("", "aor"), ("at ", "contact"), ("by ", "member"))
    return " ".join(f"{word}{registration[key]}" for word, key in words if registration.get(key))
