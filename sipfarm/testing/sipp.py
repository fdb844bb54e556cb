"""SIPp as a peer of a farm: a scenario of `sipp_scenarios/` in a process, and what came of it."""

import csv
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.base.net import HostPort
from sipfarm.testing.eventually import eventually
from sipfarm.testing.processes import Child, ChildFailed, Children
from sipfarm.testing.sockets import is_listening, udp_inodes

SCENARIOS: Final = Path(__file__).resolve().parents[2] / "sipp_scenarios"
BOUND_WITHIN_S: Final = 10.0
TRACED: Final = re.compile(rb"-{47} [^\n]*\n\w+ message (sent|received) [(\[](\d+)[^\n]*\n\n")
"""What stands before each message in the file that SIPp traces them to."""
SHOWN_CHARS_MAX: Final = 4_000
FAILURES_SHOWN_MAX: Final = 12


class SippResult(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of a SIPp at its end."""

    placed: int
    taken: int
    successful: int
    failed: int
    retransmissions: int
    """Messages that it sent again."""
    dead_call_messages: int
    """Messages for calls that were over."""


class SippCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a SIPp is to do; `service` is called by `caller`, both users of `domain`."""

    scenario: str
    local: HostPort
    remote: HostPort | None = None
    """Where requests go; None for a called phone."""
    domain: str = "example.test"
    service: str = "bob"
    caller: str = "alice"
    calls: int = 1
    per_second: float = 10.0
    transport: str = "u1"
    hold_ms: int = 0
    timeout_s: int = 60
    keys: Mapping[str, str] = {}
    trace: bool = True
    """Whether each message is written down."""
    options: tuple[str, ...] = ()


class Sipp:
    """A running SIPp."""

    def __init__(self, children: Children, folder: Path, call: SippCall) -> None:
        stem = f"{call.scenario}-{call.local.port}-{len(list(folder.iterdir()))}"
        self.call = call
        self._stats = folder / f"{stem}-stat.csv"
        self._errors = folder / f"{stem}-errors.log"
        self._messages = folder / f"{stem}-messages.log"
        arguments: list[str | Path] = ["sipp", "-sf", SCENARIOS / f"{call.scenario}.xml"]
        if call.remote is not None:
            arguments.append(str(call.remote))
            arguments += ["-r", f"{max(call.per_second, 1):.0f}"]
        if call.calls:
            arguments += ["-m", str(call.calls)]
        arguments += ["-i", call.local.host, "-p", str(call.local.port), "-mi", call.local.host]
        arguments += ["-t", call.transport, "-s", call.service, "-d", str(call.hold_ms)]
        arguments += ["-key", "domain", call.domain, "-key", "caller", call.caller]
        for key, value in call.keys.items():
            arguments += ["-key", key, value]
        if call.trace:
            arguments += ["-trace_msg", "-message_file", self._messages]
        arguments += ["-trace_err", "-error_file", self._errors]
        arguments += ["-trace_stat", "-stf", self._stats, "-fd", "1"]
        arguments += ["-timeout", f"{call.timeout_s}s", "-timeout_error", "-nostdin", "-f", "60"]
        arguments += ["-l", "10000", *call.options]
        self._child: Child = children.start(
            arguments, environment={"TERM": "dumb"}, directory=folder
        )
        bound = is_listening if call.transport.startswith("t") else udp_inodes
        if call.remote is None:
            self._wait_bound(bound)

    def finish(self) -> SippResult:
        """Wait until it has done its calls; the counters, whatever came of them."""
        self._child.wait(self.call.timeout_s + 10.0)
        return self.result()

    def succeed(self) -> SippResult:
        """Wait until it has done its calls; AssertionError where one failed."""
        result = self.finish()
        if result.failed or self._child.exit_status != 0 or not result.successful:
            raise ChildFailed(f"{self.call.scenario}: {result}\n{self.told()}")
        return result

    def stop(self) -> SippResult:
        """Let it take no more calls, end it and read its counters."""
        self._child.send(signal.SIGUSR1)
        return self.finish()

    def result(self) -> SippResult:
        """The counters of the last second, or of its end."""
        with self._stats.open(encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        if not rows:
            raise ChildFailed(f"{self.call.scenario} counted nothing\n{self.told()}")
        row = rows[-1]
        return SippResult(
            placed=int(row["OutgoingCall(C)"]),
            taken=int(row["IncomingCall(C)"]),
            successful=int(row["SuccessfulCall(C)"]),
            failed=int(row["FailedCall(C)"]),
            retransmissions=int(row["Retransmissions(C)"]),
            dead_call_messages=int(row["DeadCallMsgs(C)"]),
        )

    @property
    def running(self) -> bool:
        return self._child.exit_status is None

    @property
    def packets(self) -> list[tuple[bool, bytes]]:
        """Each message that was traced, in order: whether it was received, and its bytes."""
        if not self._messages.exists():
            return []
        traced = self._messages.read_bytes()
        return [
            (head[1] == b"received", traced[head.end() : head.end() + int(head[2])])
            for head in TRACED.finditer(traced)
        ]

    @property
    def messages(self) -> list[tuple[bool, str]]:
        """Each message that was traced: whether it was received, and its text."""
        return [(received, wire.decode("utf-8", "replace")) for received, wire in self.packets]

    def told(self) -> str:
        """What it says about its failures."""
        lines: list[str] = []
        if self._errors.exists():
            text = self._errors.read_text(encoding="utf-8", errors="replace")
            lines = text[:SHOWN_CHARS_MAX].splitlines()
        if not lines:
            lines = self._child.tail().splitlines()[-FAILURES_SHOWN_MAX:]
        return "\n".join(lines)

    def _wait_bound(self, bound: Callable[[HostPort], object]) -> None:
        eventually(
            lambda: self._child.exit_status is not None or bound(self.call.local),
            f"{self.call.scenario} listens at {self.call.local}",
            BOUND_WITHIN_S,
        )
        if self._child.exit_status is not None:
            raise ChildFailed(f"{self.call.scenario} ended at its start\n{self.told()}")
