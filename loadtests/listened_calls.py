"""Calls whose media both ends are ours: SIPp signals, `tone_ends` talks and listens."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from loadtests.call_ends import EndHeard, Side
from loadtests.tone_ends import CODECS, Planted, ToneEnds
from sipfarm.base.net import HostPort
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.sipp import Sipp, SippCall

CALLEE: Final = "bob"
FIRST_PORT: Final = 10_000
CALLS_MAX: Final = 25_000
POLL_S: Final = 0.02
SET_UP_WITHIN_MS: Final = 3_000
"""How much longer a call is than it is listened to: its set-up, the last packets' way."""
END_WITHIN_S: Final = 30.0
BUFFER_BYTES: Final = 4 << 20


class Ended(msgspec.Struct, frozen=True):
    """What came of the calls."""

    ends: list[EndHeard]
    failed: int
    """As SIPp counts."""


class ListenedCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Calls 1 to `calls`, all up at once."""

    calls: int
    rate: int = 20
    """Set up a second."""
    seconds: int = 15
    """Listened to with all calls up."""
    codec: str = "PCMU"
    callee_codec: str = ""
    """Where the farm is to transcode."""
    planted: tuple[Planted, ...] = ()

    @property
    def listen_ms(self) -> int:
        """How long each is listened to."""
        return self.calls * 1_000 // self.rate + self.seconds * 1_000

    def run(self, farm: RealFarm) -> Ended:
        """Place the calls, listen, hang up."""
        if not 0 < self.calls <= CALLS_MAX:
            raise ValueError(f"1 to {CALLS_MAX} calls, not {self.calls}")
        with (
            tempfile.TemporaryDirectory(prefix="listened-calls-") as folder,
            Children() as children,
            ToneEnds(self.codec, self.callee_codec or self.codec, self.listen_ms) as ends,
        ):
            numbers = range(1, self.calls + 1)
            ends.bind(((number, *ends_of(farm, number)) for number in numbers), self.planted)
            placed = _Placed(farm, self, Path(folder), children)
            for number, a_sends_to, b_sends_to in placed.starts():
                ends.start(number, a_sends_to, b_sends_to)
            heard = ends.finish()
            return Ended(heard, placed.finish())


def ends_of(farm: RealFarm, call: int) -> tuple[HostPort, HostPort]:
    """Where the caller's and the callee's media are; even ports, as RTP's are."""
    port = FIRST_PORT + 2 * call
    return farm.untrusted(1, port), farm.untrusted(2, port)


def media_keys(codec: str, host: str) -> dict[str, str]:
    """What the scenarios put into SDP."""
    coding = CODECS[codec]
    payload_type = str(coding.payload_type)
    return {"payload_type": payload_type, "encoding": coding.rtpmap, "media_host": host}


class _Placed:
    """The two SIPps, and what they log of each call."""

    def __init__(
        self, farm: RealFarm, calls: ListenedCalls, folder: Path, children: Children
    ) -> None:
        self._wanted = calls.calls
        self._folder = folder
        self._waiting: dict[int, dict[Side, HostPort]] = {}
        self._read: dict[Side, int] = {"a": 0, "b": 0}
        phone, caller = farm.trusted(2), farm.trusted(1)
        caller_keys = media_keys(calls.codec, ends_of(farm, 1)[0].host)
        callee_keys = media_keys(calls.callee_codec or calls.codec, ends_of(farm, 1)[1].host)
        timeout_s = round(2 * calls.listen_ms / 1_000 + END_WITHIN_S)
        register = SippCall(
            scenario="register_contact", local=caller, remote=farm.listen, domain=DOMAIN,
            service=CALLEE, keys={"contact": str(phone)},
        )  # fmt: skip
        Sipp(children, folder, register).succeed()
        self._phone = Sipp(children, folder, SippCall(
            scenario="listened_uas", local=phone, domain=DOMAIN, service=CALLEE, calls=0,
            keys=callee_keys, trace=False,
            timeout_s=timeout_s, options=self._options("b"),
        ))  # fmt: skip
        numbers = folder / "calls.csv"
        lines = [
            f"{number};{ends_of(farm, number)[0].port};{ends_of(farm, number)[1].port};"
            for number in range(1, calls.calls + 1)
        ]
        numbers.write_text("\n".join(("SEQUENTIAL", *lines)) + "\n", encoding="utf-8")
        self._deadline_s = time.monotonic() + calls.calls / calls.rate + END_WITHIN_S
        self._caller = Sipp(children, folder, SippCall(
            scenario="listened_uac", local=caller, remote=farm.listen, domain=DOMAIN,
            service=CALLEE, calls=calls.calls, per_second=calls.rate,
            keys=caller_keys, trace=False,
            hold_ms=calls.listen_ms + SET_UP_WITHIN_MS, timeout_s=timeout_s,
            options=(*self._options("a"), "-inf", str(numbers)),
        ))  # fmt: skip

    def starts(self) -> Iterator[tuple[int, HostPort, HostPort]]:
        """Each call of which both ends know where to send; until there is no more."""
        started = 0
        while started < self._wanted and time.monotonic() < self._deadline_s:
            for side in ("a", "b"):
                for number, relay in self._logged(side):
                    relays = self._waiting.setdefault(number, {})
                    relays[side] = relay
                    if len(relays) == 2:
                        started += 1
                        yield number, relays["a"], relays["b"]
            time.sleep(POLL_S)

    def finish(self) -> int:
        """Wait for the callers to hang up; how many calls failed."""
        failed = self._caller.finish().failed
        self._phone.stop()
        return failed

    def _options(self, side: Side) -> tuple[str, ...]:
        log = str(self._log(side))
        return ("-trace_logs", "-log_file", log, "-buff_size", str(BUFFER_BYTES))

    def _log(self, side: Side) -> Path:
        return self._folder / f"relays-{side}.log"

    def _logged(self, side: Side) -> Iterator[tuple[int, HostPort]]:
        """What was logged since the last time."""
        path = self._log(side)
        if not path.exists():
            return
        with path.open("rb") as log:
            log.seek(self._read[side])
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read[side] += len(whole)
        for line in whole.decode("ascii", "replace").splitlines():
            number, host, port = line.split()
            yield int(number), HostPort(host, int(port))
