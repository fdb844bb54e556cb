"""One call of the softphone: pjsua2's Call with its wav player, recorder and counters."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pjsua2 as pj

from sipfarm.phone.protocol import AnyEvent, Counters, Digit, Media, Reported, State

DIGITS_MAX: Final = 1_024

STATES: Final = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}
MEDIA_STATES: Final = {
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local_hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote_hold",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}


class PjsuaCall(pj.Call):
    """A call and what was heard in it.

    pjsua2 calls the `on…` methods out of `libHandleEvents`; none of them may raise, since the
    exception would have to pass through C.
    """

    def __init__(
        self,
        account: pj.Account,
        number: int,
        tell: Callable[[AnyEvent], None],
        pjsua_id: int = -1,
    ) -> None:
        super().__init__(account, pjsua_id)
        self.number = number
        self.state = "calling" if pjsua_id < 0 else "incoming"
        self.media_state = "none"
        self._tell = tell
        self._play = ""
        self._loop = False
        self._record = ""
        self._player: pj.AudioMediaPlayer | None = None
        self._recorder: pj.AudioMediaRecorder | None = None
        self._recorded = False
        self._call_id = ""
        self._remote = ""
        self._status = 0
        self._reason = ""
        self._answered = False
        self._seconds = 0.0
        self._codec = ""
        self._clock_rate_hz = 0
        self._remote_rtp = ""
        self._sent = Counters()
        self._received = Counters()
        self._digits = ""

    def use_files(self, play: str, record: str, loop: bool) -> None:
        """Say what to play and where to record; taken up when media starts. Raises ValueError."""
        if play and not Path(play).is_file():
            raise ValueError(f"There is no file {play} to play.")
        if record and not Path(record).parent.is_dir():
            raise ValueError(f"There is no folder {Path(record).parent} to record into.")
        self._play, self._record, self._loop = play, record, loop

    def tell_state(self) -> None:
        """Say how the call stands."""
        self._tell(
            State(call=self.number, state=self.state, status=self._status, reason=self._reason)
        )

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        try:
            info = self.getInfo()
        except pj.Error:
            return
        self._take(info)
        if self.state == "disconnected":
            self._player = None
            self._recorder = None
        self.tell_state()

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        reason = ""
        try:
            info = self.getInfo()
            for media in info.media:
                if media.type == pj.PJMEDIA_TYPE_AUDIO:
                    self._take_media(media)
                    break
        except pj.Error as error:
            self.media_state = "error"
            reason = f"pjsua2: {error.reason or error.title}"
        self._tell(
            Media(
                call=self.number,
                state=self.media_state,
                codec=self._codec,
                clock_rate_hz=self._clock_rate_hz,
                reason=reason,
            )
        )

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        if len(self._digits) < DIGITS_MAX:
            self._digits += prm.digit
        self._tell(Digit(call=self.number, digit=prm.digit))

    def onStreamDestroyed(self, prm: pj.OnStreamDestroyedParam) -> None:
        running = self._running_counters(prm.streamIdx)
        self._sent = self._sent.plus(running[0])
        self._received = self._received.plus(running[1])

    def recording_complete(self) -> bool:
        """Whether the recording is whole: pjsua2 closes it some frames after the call has ended."""
        if not self._recorded or self.state != "disconnected":
            return True
        try:
            with open(self._record, "rb") as file:
                header = file.read(8)
                return int.from_bytes(header[4:8], "little") + 8 == os.fstat(file.fileno()).st_size
        except OSError:
            return True

    def reported(self) -> Reported:
        """The call so far, or as it ended."""
        sent, received = self._sent, self._received
        if self.state != "disconnected":
            try:
                info = self.getInfo()
                self._take(info)
                for media in info.media:
                    running = self._running_counters(media.index)
                    sent, received = sent.plus(running[0]), received.plus(running[1])
            except pj.Error:
                pass
        return Reported(
            call=self.number,
            call_id=self._call_id,
            remote=self._remote,
            state=self.state,
            status=self._status,
            reason=self._reason,
            seconds=self._seconds,
            codec=self._codec,
            clock_rate_hz=self._clock_rate_hz,
            remote_rtp=self._remote_rtp,
            sent=sent,
            received=received,
            digits=self._digits,
            recording=self._record if self._recorded else "",
        )

    def _take(self, info: pj.CallInfo) -> None:
        self.state = STATES.get(info.state, "calling")
        self._call_id = info.callIdString
        self._remote = info.remoteUri
        if not self._answered:
            self._status = info.lastStatusCode
            self._reason = info.lastReason
        self._answered = self._answered or self.state == "confirmed"
        duration = info.connectDuration
        self._seconds = round(duration.sec + duration.msec / 1_000, 3)

    def _take_media(self, media: pj.CallMediaInfo) -> None:
        self.media_state = MEDIA_STATES.get(media.status, "none")
        if media.status not in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
            return
        stream = self.getStreamInfo(media.index)
        self._codec = stream.codecName
        self._clock_rate_hz = stream.codecClockRate
        self._remote_rtp = stream.remoteRtpAddress
        audio = self.getAudioMedia(media.index)
        if self._play:
            if self._player is None:
                self._player = pj.AudioMediaPlayer()
                self._player.createPlayer(self._play, 0 if self._loop else pj.PJMEDIA_FILE_NO_LOOP)
            self._player.startTransmit(audio)
        if self._record:
            if self._recorder is None:
                self._recorder = pj.AudioMediaRecorder()
                self._recorder.createRecorder(self._record)
                self._recorded = True
            audio.startTransmit(self._recorder)

    def _running_counters(self, index: int) -> tuple[Counters, Counters]:
        try:
            rtcp = self.getStreamStat(index).rtcp
        except pj.Error:
            return Counters(), Counters()
        return _counters(rtcp.txStat), _counters(rtcp.rxStat)


def _counters(stat: pj.RtcpStreamStat) -> Counters:
    return Counters(
        packets=stat.pkt,
        bytes=stat.bytes,
        lost=stat.loss,
        discarded=stat.discard,
        duplicated=stat.dup,
        reordered=stat.reorder,
        jitter_us=max(0, stat.jitterUsec.mean),
    )
