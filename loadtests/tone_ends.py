"""The program whose sockets are both ends of many calls: `loadtests/native/tone_ends.cpp`."""

import subprocess
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec

from loadtests.call_ends import EndHeard, Side
from loadtests.native_programs import build_programs
from sipfarm.base.net import HostPort


class Coding(NamedTuple):
    """How SDP names a codec."""

    payload_type: int
    rtpmap: str


CODECS: Final[Mapping[str, Coding]] = {
    "PCMU": Coding(0, "PCMU/8000"),
    "PCMA": Coding(8, "PCMA/8000"),
    "G722": Coding(9, "G722/8000"),
    "GSM": Coding(3, "GSM/8000"),
    "G729": Coding(18, "G729/8000"),
    "opus": Coding(96, "opus/48000/2"),
    "L16": Coding(97, "L16/16000"),
    "G726-32": Coding(98, "G726-32/8000"),
    "speex": Coding(99, "speex/8000"),
    "AMR": Coding(100, "AMR/8000"),
    "AMR-WB": Coding(101, "AMR-WB/16000"),
}
"""As the program knows them; which it has depends on the build."""


class Planted(msgspec.Struct, frozen=True):
    """A fault on purpose: this end stops sending, or says another code."""

    call: int
    side: Side
    at_ms: int
    code: int | None = None

    @property
    def line(self) -> str:
        what = "break" if self.code is None else "confuse"
        code = "" if self.code is None else f" {self.code}"
        return f"{what} {self.call} {self.side} {self.at_ms}{code}\n"


class ToneEnds:
    """Calls that are bound first, started one by one, and heard for as long each."""

    def __init__(self, codec_a: str, codec_b: str, listen_ms: int) -> None:
        program = build_programs("tone_ends")["tone_ends"]
        self._process = subprocess.Popen(
            [program, codec_a, codec_b, str(listen_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def bind(
        self, calls: Iterable[tuple[int, HostPort, HostPort]], planted: Iterable[Planted] = ()
    ) -> None:
        """Each call's number and where its ends a and b are; returns when they have their ports."""
        for number, a, b in calls:
            self._write(f"call {number} {a.host} {a.port} {b.host} {b.port}\n")
        for fault in planted:
            self._write(fault.line)
        self._write("\n")
        self._flush()
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "bound\n":
            raise AssertionError("tone_ends has not bound its ports")

    def start(self, number: int, a_sends_to: HostPort, b_sends_to: HostPort) -> None:
        """From now on the ends of a call say their codes and listen."""
        a, b = a_sends_to, b_sends_to
        self._write(f"start {number} {a.host} {a.port} {b.host} {b.port}\n")
        self._flush()

    def finish(self) -> list[EndHeard]:
        """Wait until all that were started have been listened to; two ends for each."""
        told, _ = self._process.communicate()
        if self._process.returncode:
            raise AssertionError(f"tone_ends ended with {self._process.returncode}")
        decode = msgspec.json.Decoder(EndHeard).decode
        return [decode(line) for line in told.splitlines()]

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _flush(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.flush()
