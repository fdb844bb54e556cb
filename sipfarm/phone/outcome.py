"""What `sipfarm phone` says at the end: one JSON object, one sentence, one exit status."""

from enum import IntEnum
from typing import Final

import msgspec

from sipfarm.phone.heard import FLOOR_DBFS, QUIET_DBFS, CodeHeard, Heard
from sipfarm.phone.protocol import Counters, Reported


class ExitStatus(IntEnum):
    """Exit statuses of `sipfarm phone`; 2 is the command line's own."""

    HEARD = 0
    BROKEN = 1
    NOT_REGISTERED = 3
    NOT_TAKEN = 4
    NOTHING_HEARD = 5


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A call and what was heard in it."""

    aor: str
    registered: bool
    state: str = ""
    status: int = 0
    """The final status of the INVITE, or of the REGISTER where there was no call."""
    reason: str = ""
    direction: str = ""
    """out: this phone called; in: it was called."""
    remote: str = ""
    call_id: str = ""
    codec: str = ""
    audio_clock_hz: int = 0
    """The codec's sampling rate; G.722 has 16,000 on an RTP clock of 8,000 (RFC 3551 §4.5.2)."""
    seconds: float = 0.0
    sent: Counters = Counters()
    received: Counters = Counters()
    loss: float = 0.0
    """Lost against expected packets of what was to be received, 0 to 1."""
    digits: str = ""
    recorded_seconds: float = 0.0
    level_dbfs: float = FLOOR_DBFS
    tones_hz: tuple[float, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    """Start and length in ms of each silence inside what was heard."""
    wideband_db: float = FLOOR_DBFS
    """Power above 4 kHz against the whole."""
    codes: tuple[CodeHeard, ...] = ()
    """The numbers of the calls whose tone codes were heard, the call's own and any stranger's."""
    recording: str = ""
    error: str = ""
    exit_status: ExitStatus = ExitStatus.HEARD


TAKEN: Final = 200


def of_call(
    aor: str,
    registered: bool,
    direction: str,
    report: Reported,
    heard: Heard | None,
    kept: bool,
    codes: tuple[CodeHeard, ...] = (),
) -> CallOutcome:
    """Judge a call by its report and its recording; `kept` says that the recording stays."""
    expected = report.received.packets + report.received.lost
    outcome = CallOutcome(
        aor=aor,
        registered=registered,
        state=report.state,
        status=report.status,
        reason=report.reason,
        direction=direction,
        remote=report.remote,
        call_id=report.call_id,
        codec=report.codec,
        audio_clock_hz=report.clock_rate_hz,
        seconds=report.seconds,
        sent=report.sent,
        received=report.received,
        loss=round(report.received.lost / expected, 5) if expected else 0.0,
        digits=report.digits,
        codes=codes,
        recording=report.recording if kept else "",
    )
    if heard is not None:
        outcome = msgspec.structs.replace(
            outcome,
            recorded_seconds=heard.seconds,
            level_dbfs=heard.level_dbfs,
            tones_hz=heard.tones_hz,
            gaps=tuple((gap.start_ms, gap.length_ms) for gap in heard.gaps),
            wideband_db=heard.wideband_db,
        )
    error, exit_status = _judged(outcome)
    return msgspec.structs.replace(outcome, error=error, exit_status=exit_status)


def of_failure(
    aor: str, registered: bool, sentence: str, status: int, exit_status: ExitStatus
) -> CallOutcome:
    """What is told where there is no call to tell of."""
    return CallOutcome(
        aor=aor, registered=registered, status=status, error=sentence, exit_status=exit_status
    )


def _judged(outcome: CallOutcome) -> tuple[str, ExitStatus]:
    if outcome.status != TAKEN:
        sentence = f"The call was not taken: {outcome.status} {outcome.reason}."
        return sentence, ExitStatus.NOT_TAKEN
    if outcome.received.packets == 0:
        return "The call was up, but no audio packet came.", ExitStatus.NOTHING_HEARD
    if outcome.level_dbfs <= QUIET_DBFS:
        return "The call was up, but what came was silence.", ExitStatus.NOTHING_HEARD
    return "", ExitStatus.HEARD
