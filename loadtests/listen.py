"""Does everybody hear whom they talk to, and nobody else, in hundreds of calls at once?

SIPp places calls through a farm of real members, which relay the media. Both ends of each call are
ours: each says a tone code of its own, in RTP, and listens for the other's. What is told for each
direction: whose code was heard, from when to when, gaps, level, bandwidth, cross-talk and from
whom. The exit status is 1 where anything is wrong with a call, and 2 where this machine was too
busy for the ends to keep time, so that nothing can be said of the calls.

    python -m loadtests.listen --calls 200 --members 3
    python -m loadtests.listen --calls 200 --break 137:b:3.0 --json report.json
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec

from loadtests.call_ends import BEHIND_MS, EndHeard, Fault, Side, behind_ms, code_of, judge
from loadtests.farms import started_farm
from loadtests.listened_calls import ListenedCalls
from loadtests.tone_ends import CODECS, Planted

SHOWN_MAX: Final = 50


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run."""

    calls: int
    members: int
    codec: str
    callee_codec: str
    rate: int
    listened_s: float
    failed_by_sipp: int
    faults: list[Fault]
    ends: list[EndHeard]


def listen(calls: ListenedCalls, members: int) -> Report:
    """Run the calls through a farm of its own and judge them."""
    with started_farm(members=members) as farm:
        ended = calls.run(farm)
    numbers = range(1, calls.calls + 1)
    return Report(
        calls=calls.calls,
        members=members,
        codec=calls.codec,
        callee_codec=calls.callee_codec or calls.codec,
        rate=calls.rate,
        listened_s=calls.listen_ms / 1_000,
        failed_by_sipp=ended.failed,
        faults=judge(ended.ends, numbers, calls.listen_ms),
        ends=ended.ends,
    )


def print_report(report: Report, *, everything: bool) -> None:
    """A row for each direction of a call that something is wrong with, or of all calls."""
    wrong = {(fault.call, fault.direction) for fault in report.faults}
    rows = [end for end in report.ends if everything or (end.call, end.direction) in wrong]
    shown = rows if everything else rows[:SHOWN_MAX]
    if shown:
        print(
            f"{'call':>6} {'dir':<4} {'heard':>6} {'words':>6} {'from s':>7} {'to s':>7} "
            f"{'gaps':>5} {'level':>6} {'kbit/s':>7} {'lost':>5} {'late ms':>8}  cross-talk"
        )
    for end in shown:
        heard = "own" if end.own else "-"
        words = end.own.words if end.own else 0
        level_dbfs = end.own.level_dbfs if end.own else end.level_dbfs
        strangers = ", ".join(f"{code.call}{code.side}" for code in end.strangers)
        print(
            f"{end.call:>6} {end.direction:<4} {heard:>6} {words:>6} {end.first_ms / 1e3:>7.1f} "
            f"{end.last_ms / 1e3:>7.1f} {end.gap_count:>5} {level_dbfs:>6.1f} "
            f"{end.kbit_per_s:>7.1f} {end.lost:>5} {end.late_ms:>8}  {strangers}"
        )
    if len(rows) > len(shown):
        print(f"... and {len(rows) - len(shown)} more")
    for fault in report.faults[:SHOWN_MAX]:
        print(fault)
    good = report.calls - len({fault.call for fault in report.faults})
    latest = max((end.late_ms for end in report.ends), default=0)
    lost = sum(end.lost for end in report.ends)
    print(
        f"{good} of {report.calls} calls are good in both directions; "
        f"{report.codec} to {report.callee_codec}, "
        f"{report.members} members, each listened to for {report.listened_s:.0f} s; "
        f"{lost} packets lost, the latest {latest} ms late"
    )


def read_planted(text: str) -> Planted:
    """`CALL:SIDE:SECOND`: that end stops sending; `CALL:SIDE:SECOND:OTHER`: it says what side a of
    another call says.
    """
    parts = text.split(":")
    if len(parts) not in {3, 4} or parts[1] not in {"a", "b"}:
        raise argparse.ArgumentTypeError(f"{text}: CALL:SIDE:SECOND or CALL:SIDE:SECOND:OTHER")
    side: Side = "a" if parts[1] == "a" else "b"
    code = code_of(int(parts[3]), "a") if len(parts) == 4 else None
    return Planted(int(parts[0]), side, round(float(parts[2]) * 1_000), code)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200, help="all of them at once")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--rate", type=int, default=20, help="calls set up a second")
    parser.add_argument("--seconds", type=int, default=15, help="with all calls up")
    parser.add_argument("--codec", choices=sorted(CODECS), default="PCMU")
    parser.add_argument("--callee-codec", choices=sorted(CODECS), default="",
                        help="another one, for the farm to transcode")  # fmt: skip
    parser.add_argument("--break", dest="planted", type=read_planted, action="append", default=[],
                        metavar="CALL:SIDE:SECOND[:OTHER]", help="plant a fault")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="show all calls")
    parser.add_argument("--json", default="", help="also write the report here; - is stdout")
    given = parser.parse_args(arguments)
    calls = ListenedCalls(
        calls=given.calls,
        rate=given.rate,
        seconds=given.seconds,
        codec=given.codec,
        callee_codec=given.callee_codec,
        planted=tuple(given.planted),
    )
    report = listen(calls, given.members)
    print_report(report, everything=given.all)
    if given.json == "-":
        print(msgspec.json.encode(report).decode())
    elif given.json:
        Path(given.json).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    behind = behind_ms(report.ends)
    if behind > BEHIND_MS:
        print(f"the ends were {behind} ms behind: this machine is too busy for so many calls")
        return 2
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
