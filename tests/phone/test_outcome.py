"""How a call is judged from its report and what was heard."""

import pytest

from sipfarm.phone import outcome
from sipfarm.phone.heard import Gap, Heard
from sipfarm.phone.io.demo import Direction, faults_of
from sipfarm.phone.outcome import ExitStatus
from sipfarm.phone.protocol import Counters, Reported


def reported(status: int = 200, reason: str = "OK", packets: int = 250, lost: int = 0) -> Reported:
    return Reported(
        call=1,
        call_id="abc",
        remote="sip:bob@example.test",
        state="disconnected",
        status=status,
        reason=reason,
        seconds=5.0,
        codec="G722",
        clock_rate_hz=16_000,
        remote_rtp="127.0.0.1:4000",
        sent=Counters(packets=250, bytes=40_000),
        received=Counters(packets=packets, bytes=160 * packets, lost=lost),
        digits="",
        recording="heard.wav",
    )


HEARD = Heard(5.0, -20.0, (1_000.0,), (Gap(100, 20),), -3.0)
SILENCE = Heard(5.0, -120.0, (), (), -120.0)


@pytest.mark.parametrize(
    ("report", "heard", "exit_status", "error"),
    [
        (reported(), HEARD, ExitStatus.HEARD, ""),
        (reported(486, "Busy Here", 0), None, ExitStatus.NOT_TAKEN, "486 Busy Here"),
        (reported(packets=0), SILENCE, ExitStatus.NOTHING_HEARD, "no audio packet came"),
        (reported(), SILENCE, ExitStatus.NOTHING_HEARD, "what came was silence"),
    ],
)
def test_a_call_has_the_exit_status_of_what_was_heard(
    report: Reported, heard: Heard | None, exit_status: ExitStatus, error: str
) -> None:
    told = outcome.of_call("sip:alice@example.test", True, "out", report, heard, kept=True)
    assert told.exit_status == exit_status
    assert error in told.error


def test_loss_is_the_share_of_the_packets_that_were_to_come() -> None:
    report = reported(packets=190, lost=10)
    told = outcome.of_call("sip:alice@example.test", True, "out", report, HEARD, kept=True)
    assert told.loss == 0.05


def test_a_recording_nobody_asked_for_is_not_named() -> None:
    told = outcome.of_call("sip:alice@example.test", True, "out", reported(), HEARD, kept=False)
    assert told.recording == ""
    assert told.gaps == ((100, 20),)


def direction(**changes: float | str | bool) -> Direction:
    fields: dict[str, float | str | bool | tuple[str, ...]] = {
        "speaker": "bob",
        "listener": "alice",
        "codec": "G722",
        "seconds": 5.0,
        "packets": 250,
        "lost": 0,
        "level_dbfs": -20.0,
        "wideband_db": -4.7,
        "gaps": 0,
        "recognised": True,
        "members": ("m1",),
    }
    return Direction(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def test_a_direction_as_it_should_be_has_no_fault() -> None:
    assert faults_of(direction(), 5.0) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (direction(level_dbfs=-120.0, packets=0), "alice listening to bob heard nothing"),
        (direction(recognised=False), "did not hear the tones that bob sent"),
        (direction(codec="PCMU"), "had PCMU and not G722"),
        (direction(wideband_db=-60.0), "heard nothing above 4 kHz"),
        (direction(lost=20), "lost 20 packets"),
        (direction(seconds=2.0), "heard 2.0 s of 5 s"),
    ],
)
def test_each_fault_of_a_direction_is_a_sentence(changed: Direction, sentence: str) -> None:
    (fault,) = faults_of(changed, 5.0)
    assert sentence in fault
