"""The scripts behind `sipfarm phone`, run against each other without a server."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sipfarm.phone import tones
from sipfarm.phone.io.farm import free_port
from sipfarm.phone.io.process import PhoneError, softphone
from sipfarm.phone.io.script import Script, run
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.outcome import CallOutcome, ExitStatus
from sipfarm.phone.protocol import PhoneSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def direct(name: str, port: int = 0) -> PhoneSettings:
    return PhoneSettings(aor=f"sip:{name}@example.test", bind="127.0.0.1", port=port)


async def outcomes(
    script: Script, told: Callable[[str], None] = lambda _: None
) -> list[CallOutcome]:
    return [outcome async for outcome in run(script, told)]


async def between(waiting: Script, calling: Script) -> tuple[CallOutcome, CallOutcome]:
    """Run two scripts, the calling one when the waiting one is up; returns both outcomes."""
    up = asyncio.Event()

    async def call() -> list[CallOutcome]:
        await up.wait()
        return await outcomes(calling)

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(outcomes(waiting, lambda _: up.set()))
        caller = group.create_task(call())
    return waiter.result()[0], caller.result()[0]


def test_a_call_with_hold_and_digits_tells_what_both_heard(tmp_path: Path) -> None:
    write_wav(tmp_path / "comb.wav", tones.tone_comb(7, 10.0))
    port = free_port(1)
    waiting = Script(
        settings=direct("bob", port),
        register=False,
        answer=True,
        calls_max=1,
        wait_s=20,
        play=tmp_path / "comb.wav",
    )
    calling = Script(
        settings=direct("alice"),
        register=False,
        call=f"sip:bob@127.0.0.1:{port}",
        play=tmp_path / "comb.wav",
        record=tmp_path / "heard.wav",
        seconds=4.0,
        hold_after_s=1.5,
        hold_for_s=1.0,
        dtmf="5#",
        dtmf_after_s=0.5,
    )
    bob, alice = asyncio.run(between(waiting, calling))
    assert (alice.exit_status, bob.exit_status) == (ExitStatus.HEARD, ExitStatus.HEARD)
    assert (alice.direction, bob.direction) == ("out", "in")
    assert alice.call_id == bob.call_id
    assert alice.seconds == pytest.approx(4.0, abs=0.5)
    assert alice.level_dbfs == pytest.approx(-20, abs=1)
    assert alice.received.packets == pytest.approx(150, abs=20)
    assert bob.received.packets == pytest.approx(200, abs=20)
    assert bob.digits == "5#"
    assert any(length_ms > 700 for _, length_ms in bob.gaps)
    assert bob.recording == ""
    samples, sample_rate_hz = read_wav(tmp_path / "heard.wav")
    assert len(samples) / sample_rate_hz == pytest.approx(3.0, abs=0.5)


def test_each_side_names_the_number_of_the_call_it_hears() -> None:
    port = free_port(1)
    waiting = Script(
        settings=direct("bob", port), register=False, answer=True, calls_max=1, code=4_711
    )
    calling = Script(
        settings=direct("alice"),
        register=False,
        call=f"sip:bob@127.0.0.1:{port}",
        seconds=2.0,
        code=137,
    )
    bob, alice = asyncio.run(between(waiting, calling))
    assert [code.number for code in alice.codes] == [4_711]
    assert [code.number for code in bob.codes] == [137]


def test_silence_from_the_far_end_is_nothing_heard(tmp_path: Path) -> None:
    port = free_port(1)
    waiting = Script(settings=direct("bob", port), register=False, answer=True, calls_max=1)
    calling = Script(
        settings=direct("alice"),
        register=False,
        call=f"sip:bob@127.0.0.1:{port}",
        seconds=1.0,
    )
    _, alice = asyncio.run(between(waiting, calling))
    assert alice.exit_status == ExitStatus.NOTHING_HEARD
    assert alice.error == "The call was up, but what came was silence."


def test_a_phone_nobody_calls_says_so() -> None:
    script = Script(settings=direct("bob"), register=False, wait_s=0.2)
    (told,) = asyncio.run(outcomes(script))
    assert told.exit_status == ExitStatus.NOTHING_HEARD
    assert told.error == "No call came within 0.2 s."


def test_a_taken_port_is_told_in_a_sentence() -> None:
    async def twice() -> CallOutcome:
        async with softphone(direct("alice", port := free_port(1))):
            script = Script(settings=direct("bob", port), register=False, wait_s=0.2)
            return (await outcomes(script))[0]

    told = asyncio.run(twice())
    assert told.exit_status == ExitStatus.BROKEN
    assert "already in use" in told.error


def test_without_pjsua2_the_phone_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pjsua2'] = None\n")
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    (told,) = asyncio.run(outcomes(Script(settings=direct("alice"), register=False)))
    assert told.exit_status == ExitStatus.BROKEN
    assert told.error == "pjsua2 is not installed: pip install sipfarm[phone]"


def test_a_cancelled_phone_leaves_no_process() -> None:
    pids: list[int] = []
    waiting = asyncio.Event()

    async def listen() -> None:
        async with softphone(direct("alice")) as phone:
            pids.append(phone.pid)
            waiting.set()
            await phone.incoming(30)

    async def cancel_it() -> None:
        task = asyncio.get_running_loop().create_task(listen())
        await waiting.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

    asyncio.run(cancel_it())
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_what_is_no_command_is_answered_and_the_phone_goes_on() -> None:
    async def talk() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sipfarm.phone.io.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate(b'{"do":"dance"}\nnonsense\n{"do":"hold","call":7}\n')
        return said

    events = [json.loads(line) for line in asyncio.run(talk()).splitlines()]
    assert [event["event"] for event in events] == ["failed", "failed", "failed", "closed"]
    assert events[2]["sentence"] == "There is no call 7."


def test_registering_without_a_server_is_refused_in_a_sentence() -> None:
    async def register() -> None:
        async with softphone(PhoneSettings(aor="sip:a@example.test", bind="127.0.0.1")) as phone:
            await phone.register()

    with pytest.raises(PhoneError, match="no server"):
        asyncio.run(register())
