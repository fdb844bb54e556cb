"""What does relaying one RTP packet cost in userspace, against rtpengine?

Both relay the same load in turn, round by round: N calls, 50 packets of 172 bytes a second from
each end, on loopback. The relay is pinned to core 1 with one worker thread, the generator to core
0; each step starts a fresh server. CPU is user and system time of the server's process over the
measured window, from /proc/PID/stat, divided by the packets that arrived; beside it the same from
schedstat. Latency is from the generator's send call to the kernel's receive stamp.

On a machine that does other work, `--fifo` (root) runs relays and generator in front of it.

    python -m loadtests.bench_relay --calls 100,500,1000 --seconds 8 --rounds 3 --json FILE
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.cpu import model_name, scheduled_us, ticked_us
from loadtests.native_programs import build_programs
from loadtests.rtpengine_peer import PeerMissing, Rtpengine

RELAY_HOST: Final = "127.0.0.3"  # addresses that nothing else on the machine uses
PHONE_HOST: Final = "127.0.0.2"
RELAY_PORTS: Final = (20_000, 32_000)
CONTROL_PORT: Final = 12_221
FIRST_PHONE_PORT: Final = 10_000
SERVER_PIN: Final = ("taskset", "-c", "1")
LOAD_PIN: Final = ("taskset", "-c", "0")
FIFO_PRIORITY: Final = 10
SOCKETS: Final = ("auto", "per_port", "steered")
SERVERS: Final = ("rtpengine", "sipfarm")


class Options(NamedTuple):
    calls: list[int]
    seconds: int
    warm: int
    rounds: int
    threads: int
    coalesce_us: int
    sockets: str
    programs: dict[str, Path]


class Running(NamedTuple):
    pid: int
    ports: list[tuple[int, int]]  # of each call: towards its caller, its callee


class Step(NamedTuple):
    server: str
    calls: int
    us_per_packet: float
    scheduled_us_per_packet: float
    cores: float
    p50_us: float
    p99_us: float
    loss: float


def phones(call: int) -> tuple[tuple[str, int], tuple[str, int]]:
    port = FIRST_PHONE_PORT + 2 * call
    return (PHONE_HOST, port), (PHONE_HOST, port + 1)


@contextmanager
def rtpengine(calls: int, options: Options) -> Generator[Running, None, None]:
    with Rtpengine(
        address=RELAY_HOST,
        ports=RELAY_PORTS,
        control_port=CONTROL_PORT,
        threads=options.threads,
        pin=SERVER_PIN,
    ) as engine:
        yield Running(engine.pid, [engine.relay(f"c{i}", *phones(i)) for i in range(calls)])


@contextmanager
def sipfarm(calls: int, options: Options) -> Generator[Running, None, None]:
    limits = (*RELAY_PORTS, options.threads, options.coalesce_us, options.sockets)
    command = [*SERVER_PIN, options.programs["relay_server"], RELAY_HOST, *map(str, limits)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        for i in range(calls):
            (caller, caller_port), (callee, callee_port) = phones(i)
            server.stdin.write(f"{caller} {caller_port} {callee} {callee_port}\n")
        server.stdin.write("\n")
        server.stdin.flush()
        ports: list[tuple[int, int]] = []
        for line in server.stdout:
            if line == "ready\n":
                break
            a, b = line.split()
            ports.append((int(a), int(b)))
        if len(ports) != calls:
            raise SystemExit("relay_server ended early")
        yield Running(server.pid, ports)
    finally:
        server.communicate()


def run_load(running: Running, options: Options) -> tuple[dict[str, float], float, float]:
    """Send through the relay; what the generator saw, and the server's CPU in the window."""
    ends = [
        f"{host} {port} {RELAY_HOST} {relay_port}\n"
        for call, relay_ports in enumerate(running.ports)
        for (host, port), relay_port in zip(phones(call), relay_ports, strict=True)
    ]
    command = [*LOAD_PIN, options.programs["rtp_load"], str(options.warm), str(options.seconds)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write("".join(ends) + "\n")
    load.stdin.flush()
    ticked: list[float] = []
    scheduled: list[float] = []
    for _edge in ("measuring", "measured"):
        if not load.stdout.readline():
            raise SystemExit("rtp_load ended early")
        ticked.append(ticked_us(running.pid))
        scheduled.append(scheduled_us(running.pid))
    seen = json.loads(load.communicate()[0])
    return seen, ticked[1] - ticked[0], scheduled[1] - scheduled[0]


def run_step(server: str, calls: int, options: Options) -> Step:
    serve = rtpengine if server == "rtpengine" else sipfarm
    with serve(calls, options) as running:
        seen, ticked, scheduled = run_load(running, options)
    packets = max(1.0, seen["received"])
    return Step(
        server,
        calls,
        us_per_packet=ticked / packets,
        scheduled_us_per_packet=scheduled / packets,
        cores=ticked / (options.seconds * 1e6),
        p50_us=seen["p50_us"],
        p99_us=seen["p99_us"],
        loss=1 - seen["received"] / max(1, seen["sent"]),
    )


def median_step(steps: list[Step]) -> Step:
    """The step field by field at its median."""
    columns = list(zip(*steps, strict=True))
    return Step(steps[0].server, steps[0].calls, *map(statistics.median, columns[2:]))


def row(step: Step, ratio: str) -> str:
    return (
        f"{step.server:<10} {step.calls:>6} {step.us_per_packet:>8.2f} "
        f"{step.scheduled_us_per_packet:>8.2f} {step.cores:>6.2f} {step.p50_us:>8.0f} "
        f"{step.p99_us:>8.0f} {step.loss * 100:>8.3f} {ratio:>6}"
    )


def compare(options: Options) -> list[dict[str, object]]:
    """Run every size with both servers in turn; a row of the table per size and server."""
    print(
        f"{'relay':<10} {'calls':>6} {'us/pkt':>8} {'(sched)':>8} {'cores':>6} {'p50 us':>8} "
        f"{'p99 us':>8} {'loss %':>8} {'ratio':>6}"
    )
    results: list[dict[str, object]] = []
    for calls in options.calls:
        steps: dict[str, list[Step]] = {server: [] for server in SERVERS}
        for _ in range(options.rounds):
            for server in SERVERS:
                steps[server].append(run_step(server, calls, options))
        peer, ours = (median_step(steps[server]) for server in SERVERS)
        ratio = ours.us_per_packet / peer.us_per_packet
        print(row(peer, ""))
        print(row(ours, f"{ratio:.2f}"), flush=True)
        sizes = {step.server: step._asdict() for step in (peer, ours)}
        rounds = {server: [step.us_per_packet for step in steps[server]] for server in SERVERS}
        results.append({"calls": calls, "ratio": ratio, **sizes, "rounds_us_per_packet": rounds})
    return results


def read_options(arguments: list[str] | None) -> tuple[Options, str]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", default="100,500,1000", help="sizes, with commas between")
    parser.add_argument("--seconds", type=int, default=8, help="measured, per step")
    parser.add_argument("--warm", type=int, default=4, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=1, help="times each step is run; medians")
    parser.add_argument("--threads", type=int, default=1, help="worker threads of each relay")
    parser.add_argument("--coalesce-us", type=int, default=1_000, help="of our plane; 0 is off")
    parser.add_argument("--sockets", choices=SOCKETS, default="auto", help="of our plane")
    parser.add_argument("--fifo", action="store_true", help="run everything under SCHED_FIFO")
    parser.add_argument("--programs", type=Path, help="where rtp_load and relay_server are built")
    parser.add_argument("--json", default="", help="also write the results here; - is stdout")
    given = parser.parse_args(arguments)
    if given.fifo:  # children inherit it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    names = ("rtp_load", "relay_server")
    built = (
        {name: given.programs / name for name in names}
        if given.programs
        else build_programs(*names)
    )
    calls = [int(size) for size in given.calls.split(",")]
    return Options(
        calls,
        given.seconds,
        given.warm,
        given.rounds,
        given.threads,
        given.coalesce_us,
        given.sockets,
        built,
    ), given.json


def commit() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    options, target = read_options(arguments)
    try:
        results = compare(options)
    except PeerMissing as error:
        raise SystemExit(str(error)) from error
    record = {
        "benchmark": "relay",
        "commit": commit(),
        "cpu": model_name(),
        "scheduler": "fifo" if os.sched_getscheduler(0) == os.SCHED_FIFO else "normal",
        "python": sys.version.split()[0],
        "seconds": options.seconds,
        "rounds": options.rounds,
        "threads": options.threads,
        "coalesce_us": options.coalesce_us,
        "sockets": options.sockets,
        "results": results,
    }
    if target == "-":
        print(json.dumps(record))
    elif target:
        Path(target).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
