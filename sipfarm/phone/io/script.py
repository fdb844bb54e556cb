"""What `sipfarm phone` does: register, place a call or answer those that come, and listen."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.phone import listen, outcome, tones
from sipfarm.phone.heard import CodeHeard, Heard
from sipfarm.phone.io.process import PhoneError, Softphone, softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.outcome import CallOutcome, ExitStatus
from sipfarm.phone.protocol import Incoming, PhoneSettings, State
from sipfarm.phone.tone_code import codes_heard

FOREVER_S: Final = 3_600.0 * 24
"""The longest a phone waits for a call and the longest a call lasts."""
CODE_FILE_S: Final = 90 * tones.CODE_PERIOD_MS / 1_000
"""Ninety code words, after which the file begins again."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What to do; times count from the moment a call is answered."""

    settings: PhoneSettings
    register: bool = True
    call: str = ""
    answer: bool = False
    calls_max: int = 0
    """In waiting, how many calls to see before leaving; 0: no end."""
    wait_s: float = FOREVER_S
    play: Path | None = None
    loop: bool = False
    code: int | None = None
    """Play the tone code of this call number instead of a file."""
    record: Path | None = None
    seconds: float = FOREVER_S
    """After this the phone hangs up."""
    hold_after_s: float | None = None
    hold_for_s: float = 2.0
    dtmf: str = ""
    dtmf_after_s: float = 0.5


async def run(
    script: Script, told: Callable[[str], None] = lambda _: None
) -> AsyncGenerator[CallOutcome]:
    """Do as the script says; yields one outcome a call, or one that says why there was none.

    `told` is given sentences on what goes on.
    """
    if script.code is not None:
        with tempfile.TemporaryDirectory() as folder:
            play = Path(folder) / "code.wav"
            write_wav(play, tones.tone_code(script.code, CODE_FILE_S))
            async for outcome_of_code in run(
                msgspec.structs.replace(script, code=None, play=play, loop=True), told
            ):
                yield outcome_of_code
        return
    aor = script.settings.aor
    registered = False
    try:
        async with softphone(script.settings) as phone:
            if script.register:
                try:
                    await phone.register()
                except PhoneError as error:
                    yield outcome.of_failure(
                        aor, False, str(error), error.status, ExitStatus.NOT_REGISTERED
                    )
                    return
                registered = True
            told(f"{aor} is {'registered' if registered else 'up'} at {phone.address}.")
            if script.call:
                yield await _place(phone, script, registered)
                return
            async for seen in _wait_for_calls(phone, script, registered, told):
                yield seen
    except PhoneError as error:
        yield outcome.of_failure(aor, registered, str(error), error.status, ExitStatus.BROKEN)


async def _place(phone: Softphone, script: Script, registered: bool) -> CallOutcome:
    with tempfile.TemporaryDirectory() as folder:
        record = script.record or Path(folder) / "heard.wav"
        number = await phone.start_call(script.call, script.play, record, script.loop)
        try:
            await phone.wait_answered(number, script.call)
        except PhoneError as error:
            if not error.status:
                raise
        else:
            await _talk(phone, number, script)
        return await _told_of(phone, number, script, registered, "out", record)


async def _wait_for_calls(
    phone: Softphone, script: Script, registered: bool, told: Callable[[str], None]
) -> AsyncGenerator[CallOutcome]:
    seen = 0
    while script.calls_max == 0 or seen < script.calls_max:
        try:
            incoming = await phone.incoming(script.wait_s)
        except TimeoutError:
            if seen == 0:
                sentence = f"No call came within {script.wait_s:g} s."
                yield outcome.of_failure(
                    script.settings.aor, registered, sentence, 0, ExitStatus.NOTHING_HEARD
                )
            return
        told(f"{incoming.caller} calls.")
        yield await _take(phone, incoming, script, registered)
        seen += 1


async def _take(
    phone: Softphone, incoming: Incoming, script: Script, registered: bool
) -> CallOutcome:
    number = incoming.call
    with tempfile.TemporaryDirectory() as folder:
        record = script.record or Path(folder) / "heard.wav"
        if script.answer:
            await phone.answer(number, script.play, record, script.loop)
            await _talk(phone, number, script)
        else:
            await _until_ended(phone, number, FOREVER_S)
        return await _told_of(phone, number, script, registered, "in", record)


async def _talk(phone: Softphone, number: int, script: Script) -> None:
    """Carry out what is to happen in a call at its time, until one side hangs up."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at_s, act in _acts(phone, number, script):
        if await _until_ended(phone, number, max(0.0, began + at_s - loop.time())):
            return
        await act()


def _acts(
    phone: Softphone, number: int, script: Script
) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
    acts: list[tuple[float, Callable[[], Awaitable[object]]]] = []
    if script.dtmf:
        acts.append((script.dtmf_after_s, lambda: phone.dtmf(number, script.dtmf)))
    if script.hold_after_s is not None:
        acts.append((script.hold_after_s, lambda: phone.hold(number)))
        acts.append((script.hold_after_s + script.hold_for_s, lambda: phone.resume(number)))
    acts.append((script.seconds, lambda: phone.hangup(number)))
    return sorted((act for act in acts if act[0] <= script.seconds), key=lambda act: act[0])


async def _until_ended(phone: Softphone, number: int, timeout_s: float) -> State | None:
    try:
        return await phone.wait_state(number, ("disconnected",), timeout_s)
    except TimeoutError:
        return None


async def _told_of(
    phone: Softphone,
    number: int,
    script: Script,
    registered: bool,
    direction: str,
    record: Path,
) -> CallOutcome:
    report = await phone.report(number)
    heard, codes = await asyncio.to_thread(_hear, record) if report.recording else (None, ())
    kept = script.record is not None and heard is not None
    return outcome.of_call(script.settings.aor, registered, direction, report, heard, kept, codes)


def _hear(recording: Path) -> tuple[Heard, tuple[CodeHeard, ...]]:
    samples, sample_rate_hz = read_wav(recording)
    return listen.hear(samples, sample_rate_hz), codes_heard(samples, sample_rate_hz)
