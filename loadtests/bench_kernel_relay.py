"""What does a relayed RTP packet cost in the kernel, above plain delivery?

Caller, farm and callee are network namespaces with veth pairs between them (root). The generator
sends 50 packets of 172 bytes a second for each call from each end, straight to the other end by a
pair of its own, or to the farm, which relays. `added` is the run time (schedstat) of generator,
farm and ksoftirqd for each packet that arrived, less that of the straight run; `idle` the same from
the idle time of the machine: whatever else it does is in that. `up` are packets that the farm's
process sent on. Latency is from before the sending call to the kernel's receive stamp.

    python -m loadtests.bench_kernel_relay --calls 1000,5500 --seconds 8 --rounds 3 --json FILE
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.bench_relay import commit
from loadtests.cpu import TICKS_PER_S, model_name, scheduled_us
from loadtests.native_programs import build_programs

WAYS: Final = ("direct", "veth", "lo-direct", "lo")
PROGRAMS: Final = ("two_ends", "kernel_relay_server")
PHONE_PORT: Final = 4_000
FIRST_PORT: Final = 20_000
CPUS: Final = os.cpu_count() or 1


class Options(NamedTuple):
    calls: list[int]
    seconds: int
    warm: int
    rounds: int
    generators: int
    ways: list[str]
    programs: dict[str, Path]


class Place(NamedTuple):
    """Where an end stands, and where it sends to: one port, or one for each call."""

    namespace: str
    address: str
    to_address: str
    to_port: int


class Step(NamedTuple):
    way: str
    calls: int
    us_per_packet: float
    idle_us_per_packet: float
    p50_us: float
    p99_us: float
    loss: float
    sent_per_s: float
    up: float


class Names(NamedTuple):
    caller: str
    farm: str
    callee: str


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


def join(one: str, device: str, one_address: str, other: str, peer: str, address: str) -> None:
    ip("-n", one, "link", "add", device, "type", "veth", "peer", "name", peer, "netns", other)
    for place, name, at in ((one, device, one_address), (other, peer, address)):
        ip("-n", place, "addr", "add", f"{at}/24", "dev", name)
        ip("-n", place, "link", "set", name, "up")


@contextmanager
def network() -> Generator[Names, None, None]:
    """Three namespaces of this process's own, gone at the end."""
    names = Names(*(f"sf{os.getpid()}{end}" for end in ("caller", "farm", "callee")))
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        join(names.caller, "farm", "10.9.1.1", names.farm, "left", "10.9.1.2")
        join(names.callee, "farm", "10.9.2.1", names.farm, "right", "10.9.2.2")
        join(names.caller, "direct", "10.9.3.1", names.callee, "direct", "10.9.3.2")
        yield names


@contextmanager
def farm(
    way: str, calls: int, names: Names, options: Options
) -> Generator[subprocess.Popen[str], None, None]:
    a, b, caller, callee = (
        ("10.9.1.2", "10.9.2.2", "10.9.1.1", "10.9.2.1")
        if way == "veth"
        else ("127.0.0.3", "127.0.0.3", "127.0.0.2", "127.0.0.4")
    )
    numbers = (FIRST_PORT, calls, options.generators)
    command = (
        *("ip", "netns", "exec", names.farm, options.programs["kernel_relay_server"]),
        *(a, b, *map(str, numbers), caller, callee, str(PHONE_PORT)),
    )
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if not server.stdout.readline().startswith("ready"):
            raise SystemExit("kernel_relay_server ended early")
        yield server
    finally:
        server.kill()
        server.wait()


def places(way: str, generator: int, names: Names) -> tuple[Place, Place]:
    phone = PHONE_PORT + generator
    a = FIRST_PORT + 2 * generator
    match way:
        case "direct":
            caller = Place(names.caller, "10.9.3.1", "10.9.3.2", phone)
            return caller, Place(names.callee, "10.9.3.2", "10.9.3.1", phone)
        case "veth":
            caller = Place(names.caller, "10.9.1.1", "10.9.1.2", a)
            return caller, Place(names.callee, "10.9.2.1", "10.9.2.2", a + 1)
        case "lo-direct":
            caller = Place(names.farm, "127.0.0.2", "127.0.0.4", phone)
            return caller, Place(names.farm, "127.0.0.4", "127.0.0.2", phone)
        case _:
            caller = Place(names.farm, "127.0.0.2", "127.0.0.3", a)
            return caller, Place(names.farm, "127.0.0.4", "127.0.0.3", a + 1)


def start_generator(
    way: str, calls: int, generator: int, names: Names, options: Options
) -> subprocess.Popen[str]:
    step = 0 if "direct" in way else 2 * options.generators
    share = len(range(generator, calls, options.generators))
    words = [str(options.warm), str(options.seconds), str(share), str(step)]
    for place in places(way, generator, names):
        words += [place.namespace, place.address, str(PHONE_PORT + generator)]
        words += [place.to_address, str(place.to_port)]
    pin = ("taskset", "-c", str(generator % CPUS))
    command = (*pin, options.programs["two_ends"], *words)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def softirq_threads() -> list[int]:
    names = ((path, path.read_text(encoding="ascii")) for path in Path("/proc").glob("[0-9]*/comm"))
    return [int(path.parent.name) for path, name in names if name.startswith("ksoftirqd/")]


def idle_us() -> float:
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) * 1e6 / TICKS_PER_S


def run_step(way: str, calls: int, names: Names, options: Options) -> Step:
    with ExitStack() as stack:
        server = None if "direct" in way else stack.enter_context(farm(way, calls, names, options))
        loads = [
            start_generator(way, calls, generator, names, options)
            for generator in range(options.generators)
        ]
        pids = [load.pid for load in loads] + softirq_threads()
        pids += [server.pid] if server else []
        used: list[float] = []
        idle: list[float] = []
        for _edge in ("measuring", "measured"):
            for load in loads:
                assert load.stdout is not None
                if not load.stdout.readline():
                    raise SystemExit("two_ends ended early")
            used.append(sum(scheduled_us(pid) for pid in pids))
            idle.append(idle_us())
        seen = [json.loads(load.communicate()[0]) for load in loads]
        told = json.loads(server.communicate("")[0]) if server else {"up": 0}
    sent = sum(each["sent"] + each["unsent"] for each in seen)
    received = max(1, sum(each["received"] for each in seen))
    busy = CPUS * options.seconds * 1e6 - (idle[1] - idle[0])
    return Step(
        way,
        calls,
        us_per_packet=(used[1] - used[0]) / received,
        idle_us_per_packet=busy / received,
        p50_us=statistics.fmean(each["p50_us"] for each in seen),
        p99_us=max(each["p99_us"] for each in seen),
        loss=1 - received / max(1, sent),
        sent_per_s=sent / options.seconds,
        up=told["up"],
    )


def row(step: Step, base: Step | None) -> str:
    added = f"{step.us_per_packet - base.us_per_packet:>7.2f}" if base else " " * 7
    idle = f"{step.idle_us_per_packet - base.idle_us_per_packet:>7.2f}" if base else " " * 7
    return (
        f"{step.way:<10} {step.calls:>6} {step.sent_per_s:>9.0f} {step.us_per_packet:>8.2f} "
        f"{added} {idle} {step.p50_us:>8.0f} {step.p99_us:>8.0f} {step.loss * 100:>8.4f} "
        f"{step.up:>8.0f}"
    )


def median_step(steps: list[Step]) -> Step:
    columns = list(zip(*steps, strict=True))
    return Step(steps[0].way, steps[0].calls, *map(statistics.median, columns[2:]))


def compare(options: Options, names: Names) -> list[dict[str, object]]:
    print(
        f"{'way':<10} {'calls':>6} {'packets/s':>9} {'us/pkt':>8} {'added':>7} {'idle':>7} "
        f"{'p50 us':>8} {'p99 us':>8} {'loss %':>8} {'up':>8}"
    )
    results: list[dict[str, object]] = []
    for calls in options.calls:
        steps: dict[str, list[Step]] = {way: [] for way in options.ways}
        for _ in range(options.rounds):
            for way in options.ways:
                steps[way].append(run_step(way, calls, names, options))
        medians = {way: median_step(found) for way, found in steps.items()}
        for way, step in medians.items():
            base = medians.get("lo-direct" if way == "lo" else "direct" if way == "veth" else "")
            print(row(step, base), flush=True)
        rounds = {way: [each._asdict() for each in found] for way, found in steps.items()}
        results.append({"calls": calls, "rounds": rounds})
    return results


def read_options(arguments: list[str] | None) -> tuple[Options, str]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", default="1000,5500", help="sizes, with commas between")
    parser.add_argument("--seconds", type=int, default=8, help="measured, per step")
    parser.add_argument("--warm", type=int, default=3, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=1, help="times each step is run; medians")
    parser.add_argument("--generators", type=int, default=1, help="processes, each on a CPU")
    parser.add_argument("--ways", default="direct,veth", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--programs", type=Path, help=f"where {' and '.join(PROGRAMS)} are built")
    parser.add_argument("--json", default="", help="also write the results here; - is stdout")
    given = parser.parse_args(arguments)
    ways = given.ways.split(",")
    if unknown := set(ways) - set(WAYS):
        parser.error(f"unknown ways: {', '.join(sorted(unknown))}")
    programs = (
        {name: given.programs / name for name in PROGRAMS}
        if given.programs
        else build_programs(*PROGRAMS)
    )
    calls = [int(size) for size in given.calls.split(",")]
    times = (given.seconds, given.warm, given.rounds, given.generators)
    return Options(calls, *times, ways, programs), given.json


def main(arguments: list[str] | None = None) -> int:
    options, target = read_options(arguments)
    with network() as names:
        results = compare(options, names)
    record = {
        "benchmark": "kernel_relay",
        "commit": commit(),
        "cpu": model_name(),
        "kernel": os.uname().release,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "generators": options.generators,
        "results": results,
    }
    if target == "-":
        print(json.dumps(record))
    elif target:
        Path(target).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
