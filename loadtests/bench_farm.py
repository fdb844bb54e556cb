"""What does a call cost a farm of 1, 2 and 3 members, and what are a hop and a claim of it?

Each call is one through a stateful, record-routing proxy over UDP (INVITE, 100, 180, 200, ACK, BYE,
200) to one of six phones at addresses of their own, from a socket of its own. Each member has as
many calls a second, however many members there are: what a call costs depends on that. Three ways,
in one run:

    flow     `[farm] balancing = "flow"`, and a balancer that keeps a source on one member
    claimed  `balancing = "packet"` behind that same balancer: new requests are claimed
    packet   `balancing = "packet"`, and a balancer that gives each packet to any member

One member has nobody to ask or to pass on to: there the three are one. CPU is what the members'
threads were on a CPU (schedstat), over the whole of a step; the supervisor is not in it. All
members share core 1, SIPp has core 0. A step is clean where no call failed and fewer than 0.1 % of
the calls needed a retransmission.

By difference, with as many members: a claim is (claimed - flow) over the claims, those that stay at
home included; a hop is (packet - claimed) over the packets that were passed on more. Both contain
all that they cause at both members: Python, TCP, wake-ups, and what is lost of batching.

    python -m loadtests.bench_farm --rate 1000 --rounds 3 --json FILE
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from loadtests.cpu import model_name
from loadtests.farms import ProxiedCalls, members_cpu_us, started_farm
from loadtests.perf_record import profiled
from loadtests.sipp_load import SippMissing
from sipfarm.native import build_info
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.real_farm import MEMBERS_MAX, RealFarm

Way = Literal["flow", "claimed", "packet"]

MEMBERS_CORE: Final = 1
LOAD_PIN: Final = ("taskset", "-c", "0")
PHONES: Final = 6
WARM_UP_S: Final = 2
IDLE_S: Final = 3.0
RETRANSMISSIONS_MAX: Final = 0.001  # of the calls
COUNTED: Final = ("claims", "passed_on", "placed")


class Step(NamedTuple):
    """One load on one farm."""

    members: int
    way: Way
    rate: int
    """Calls a second, of the whole farm."""
    calls: int
    failed: int
    retransmissions: int
    ms_per_call: float
    idle_cores: float
    """Of all members together, before the load."""
    counts: dict[str, float]
    """What the members counted, by call."""

    @property
    def is_clean(self) -> bool:
        return self.failed == 0 and self.retransmissions < self.calls * RETRANSMISSIONS_MAX


class Options(NamedTuple):
    members: list[int]
    rate: int
    """Calls a second for each member."""
    seconds: int
    rounds: int
    perf: Path | None


def steps_of_a_round(options: Options) -> Iterator[Step]:
    for members in options.members:
        if members == 1:
            yield from steps_on_a_farm(options, members, "packet", ("packet",))
            continue
        yield from steps_on_a_farm(options, members, "flow", ("flow",))
        yield from steps_on_a_farm(options, members, "packet", ("claimed", "packet"))


def steps_on_a_farm(
    options: Options, members: int, balancing: str, ways: tuple[Way, ...]
) -> Iterator[Step]:
    with (
        started_farm(members=members, balancing=balancing) as farm,
        tempfile.TemporaryDirectory(prefix="bench-farm-") as home,
    ):
        calls = ProxiedCalls(farm, Path(home), PHONES, LOAD_PIN)
        balancer = PacketBalancer(farm.listen, farm.pids)
        calls.place(rate=options.rate * members, seconds=WARM_UP_S)
        idle = idle_cores(farm)
        for way in ways:
            if way == "packet":
                balancer.at_random()
            else:
                balancer.by_source()
            yield step(options, farm, calls, way, idle)


def idle_cores(farm: RealFarm) -> float:
    before_us = members_cpu_us(farm)
    begun = time.monotonic()
    time.sleep(IDLE_S)
    return (members_cpu_us(farm) - before_us) / 1e6 / (time.monotonic() - begun)


def step(options: Options, farm: RealFarm, calls: ProxiedCalls, way: Way, idle: float) -> Step:
    members, rate = len(farm.names), options.rate * len(farm.names)
    counted, before_us = counts(farm), members_cpu_us(farm)
    name = f"{members}-{way}-{rate}"
    with profiled(options.perf, farm.pids()[0], name, options.seconds):
        ran = calls.place(rate=rate, seconds=options.seconds)
    spent_us = members_cpu_us(farm) - before_us
    placed = max(ran.calls, 1)
    grown = {key: (value - counted[key]) / placed for key, value in counts(farm).items()}
    return Step(
        members, way, rate, ran.calls, ran.failed, ran.retransmissions,
        spent_us / 1e3 / placed, idle, grown,
    )  # fmt: skip


def counts(farm: RealFarm) -> dict[str, float]:
    return {name: farm.total(f"sipfarm_sip_{name}") for name in COUNTED}


def row(step: Step) -> str:
    clean = "clean" if step.is_clean else f"{step.failed} failed"
    counted = "  ".join(f"{step.counts[name]:4.2f} {name}" for name in COUNTED)
    return (
        f"{step.members} members  {step.way:<8} {step.rate:>5}/s  {step.ms_per_call:7.4f} ms/call"
        f"  {1e3 / step.ms_per_call:6.0f} calls/CPU-s  {counted}"
        f"  {step.retransmissions:>4} retr.  {clean}"
    )


def summary(steps: list[Step]) -> dict[str, object]:
    """Medians of the clean steps, against one member; and what a claim and a hop cost."""
    medians: dict[int, dict[Way, float]] = {}
    counted: dict[int, dict[Way, dict[str, float]]] = {}
    for members, way in dict.fromkeys((step.members, step.way) for step in steps):
        clean = [s for s in steps if (s.members, s.way) == (members, way) and s.is_clean]
        if not clean:
            continue
        medians.setdefault(members, {})[way] = statistics.median(s.ms_per_call for s in clean)
        counted.setdefault(members, {})[way] = {
            name: statistics.median(s.counts[name] for s in clean) for name in COUNTED
        }
    alone = medians.get(1, {}).get("packet")
    return {
        "ms_per_call": medians,
        "ratio_to_one_member": {
            members: {way: ms / alone for way, ms in ways.items()}
            for members, ways in medians.items()
            if alone
        },
        "claim_us": {
            members: 1e3 * (ways["claimed"] - ways["flow"]) / counted[members]["claimed"]["claims"]
            for members, ways in medians.items()
            if "claimed" in ways and "flow" in ways
        },
        "hop_us": {
            members: 1e3 * (ways["packet"] - ways["claimed"]) / hops_more(counted[members])
            for members, ways in medians.items()
            if "claimed" in ways and "packet" in ways
        },
        "idle_cores": {
            members: statistics.median(s.idle_cores for s in steps if s.members == members)
            for members in medians
        },
    }


def hops_more(counted: dict[Way, dict[str, float]]) -> float:
    return counted["packet"]["passed_on"] - counted["claimed"]["passed_on"]


def print_summary(told: dict[str, object]) -> None:
    for name, unit in (("ratio_to_one_member", "x"), ("claim_us", " us"), ("hop_us", " us"),
                       ("idle_cores", " core")):  # fmt: skip
        by_members = told[name]
        assert isinstance(by_members, dict)
        for members, value in by_members.items():
            ways = value.items() if isinstance(value, dict) else [("", value)]
            shown = "  ".join(f"{way} {figure:.3f}{unit}".strip() for way, figure in ways)
            print(f"{name:<20} {members} members  {shown}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", default="1,2,3", help=f"farms of so many, to {MEMBERS_MAX}")
    parser.add_argument("--rate", type=int, default=1_000, help="calls a second for each member")
    parser.add_argument("--seconds", type=int, default=6, help="of each step")
    parser.add_argument("--rounds", type=int, default=1, help="how often all is run; medians count")
    parser.add_argument("--json", type=Path, help="write all steps to this file")
    parser.add_argument("--perf", type=Path, help="keep perf profiles of a member in this folder")
    given = parser.parse_args()
    members = [int(count) for count in given.members.split(",")]
    if not all(1 <= count <= MEMBERS_MAX for count in members):
        parser.error(f"farms are of 1 to {MEMBERS_MAX} members here")
    if (os.cpu_count() or 1) < 2:
        print("two cores are needed: one for the members, one for SIPp", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {MEMBERS_CORE})
    options = Options(members, given.rate, given.seconds, given.rounds, given.perf)
    steps: list[Step] = []
    try:
        for _ in range(options.rounds):
            for one in steps_of_a_round(options):
                steps.append(one)
                print(row(one), flush=True)
    except SippMissing as error:
        print(error, file=sys.stderr)
        return 1
    told = summary(steps)
    print()
    print_summary(told)
    if given.json is not None:
        record = {
            "build": build_info(),
            "cpu": model_name(),
            "python": platform.python_version(),
            "seconds": options.seconds,
            "steps": [step._asdict() for step in steps],
            "summary": told,
        }
        given.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0 if all(step.is_clean for step in steps) else 2


if __name__ == "__main__":
    sys.exit(main())
