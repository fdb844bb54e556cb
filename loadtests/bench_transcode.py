"""What does converting a call from one codec to another cost, against rtpengine?

Both convert the same calls in turn, round by round: really coded sound, 50 packets a second from
each end, on loopback. The server is pinned to core 1 with one worker thread, the generator to core
0; each step starts a fresh server. CPU is user and system time of the server's process over the
measured window, from /proc/PID/stat, for one second of one call with both directions. Opus has
the same bit rate and complexity on both.

    python -m loadtests.bench_transcode --pairs PCMA,PCMU PCMU,G722 PCMU,opus --calls 100 --json F
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.bench_relay import (
    CONTROL_PORT,
    LOAD_PIN,
    RELAY_HOST,
    RELAY_PORTS,
    SERVER_PIN,
    SERVERS,
    Running,
    commit,
    phones,
)
from loadtests.cpu import model_name, ticked_us
from loadtests.native_programs import build_programs
from loadtests.rtpengine_peer import PCMU, Coding, PeerMissing, Rtpengine
from sipfarm.native import build_info

OPUS_BITRATE: Final = 32_000
OPUS_COMPLEXITY: Final = 10  # rtpengine leaves libopus its default
PEER_CODINGS: Final = {
    "PCMU": PCMU,
    "PCMA": Coding("PCMA", "PCMA/8000", 8, "PCMA"),
    "G722": Coding("G722", "G722/8000", 9, "G722"),
    "opus": Coding("opus", "opus/48000/2", 96, f"opus/48000/2/{OPUS_BITRATE}"),
}


class Options(NamedTuple):
    pairs: list[tuple[str, str]]
    calls: int
    seconds: int
    warm: int
    rounds: int
    programs: dict[str, Path]


class Step(NamedTuple):
    server: str
    ms_per_call_second: float
    cores: float
    loss: float
    foreign: float


@contextmanager
def rtpengine(pair: tuple[str, str], options: Options) -> Generator[Running, None, None]:
    near, far = (PEER_CODINGS[name] for name in pair)
    with Rtpengine(
        address=RELAY_HOST,
        ports=RELAY_PORTS,
        control_port=CONTROL_PORT,
        threads=1,
        pin=SERVER_PIN,
    ) as engine:
        calls = range(options.calls)
        yield Running(engine.pid, [engine.relay(f"c{i}", *phones(i), (near, far)) for i in calls])


@contextmanager
def sipfarm(pair: tuple[str, str], options: Options) -> Generator[Running, None, None]:
    limits = (*RELAY_PORTS, 1, 1_000, "auto", *pair, OPUS_BITRATE, OPUS_COMPLEXITY)
    command = [*SERVER_PIN, options.programs["relay_server"], RELAY_HOST, *map(str, limits)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        for i in range(options.calls):
            (caller, caller_port), (callee, callee_port) = phones(i)
            server.stdin.write(f"{caller} {caller_port} {callee} {callee_port}\n")
        server.stdin.write("\n")
        server.stdin.flush()
        ports = [
            (int(a), int(b))
            for a, b in (line.split() for line in iter(server.stdout.readline, "ready\n"))
        ]
        yield Running(server.pid, ports)
    finally:
        server.communicate()


def run_step(server: str, pair: tuple[str, str], options: Options) -> Step:
    serve = rtpengine if server == "rtpengine" else sipfarm
    with serve(pair, options) as running:
        seen, busy_us = run_load(running, pair, options)
    wanted = max(1, seen["sent"])
    return Step(
        server,
        ms_per_call_second=busy_us / 1_000 / (options.calls * options.seconds),
        cores=busy_us / (options.seconds * 1e6),
        loss=1 - seen["received"] / wanted,
        foreign=seen["foreign"] / wanted,
    )


def run_load(
    running: Running, pair: tuple[str, str], options: Options
) -> tuple[dict[str, int], float]:
    ends = [
        f"{host} {port} {RELAY_HOST} {relay_port}\n"
        for call, relay_ports in enumerate(running.ports)
        for (host, port), relay_port in zip(phones(call), relay_ports, strict=True)
    ]
    sound = (*pair, OPUS_BITRATE, OPUS_COMPLEXITY)
    arguments = (options.warm, options.seconds, *sound)
    command = [*LOAD_PIN, options.programs["transcode_load"], *map(str, arguments)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write("".join(ends) + "\n")
    load.stdin.flush()
    ticked: list[float] = []
    for _edge in ("measuring", "measured"):
        if not load.stdout.readline():
            raise SystemExit("transcode_load ended early")
        ticked.append(ticked_us(running.pid))
    seen = json.loads(load.stdout.readline())
    load.communicate()
    return seen, ticked[1] - ticked[0]


def compare(options: Options) -> list[dict[str, object]]:
    print(
        f"{'pair':<12} {'server':<10} {'ms/call-s':>10} {'cores':>6} {'loss %':>7} "
        f"{'foreign %':>10} {'ratio':>6}"
    )
    results: list[dict[str, object]] = []
    for pair in options.pairs:
        steps: dict[str, list[Step]] = {server: [] for server in SERVERS}
        for _ in range(options.rounds):
            for server in SERVERS:
                steps[server].append(run_step(server, pair, options))
        peer, ours = (median_step(steps[server]) for server in SERVERS)
        ratio = ours.ms_per_call_second / peer.ms_per_call_second
        for step, shown in ((peer, ""), (ours, f"{ratio:.2f}")):
            print(
                f"{'-'.join(pair):<12} {step.server:<10} {step.ms_per_call_second:>10.2f} "
                f"{step.cores:>6.2f} {step.loss * 100:>7.2f} {step.foreign * 100:>10.2f} "
                f"{shown:>6}",
                flush=True,
            )
        sizes = {step.server: step._asdict() for step in (peer, ours)}
        results.append({"pair": "-".join(pair), "ratio": ratio, **sizes})
    return results


def median_step(steps: list[Step]) -> Step:
    columns = list(zip(*steps, strict=True))
    return Step(steps[0].server, *map(statistics.median, columns[1:]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", nargs="+", default=["PCMA,PCMU", "PCMU,G722", "PCMU,opus"])
    parser.add_argument("--calls", type=int, default=40, help="at once")
    parser.add_argument("--seconds", type=int, default=6, help="measured, per step")
    parser.add_argument("--warm", type=int, default=3, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=1, help="times each step is run; medians")
    parser.add_argument("--json", default="", help="also write the results here; - is stdout")
    given = parser.parse_args(arguments)
    pairs: list[tuple[str, str]] = []
    for text in given.pairs:
        near, _, far = text.partition(",")
        if near not in PEER_CODINGS or far not in PEER_CODINGS:
            parser.error(f"{text}: allowed are two of {', '.join(PEER_CODINGS)}")
        pairs.append((near, far))
    programs = build_programs("transcode_load", "relay_server")
    options = Options(pairs, given.calls, given.seconds, given.warm, given.rounds, programs)
    try:
        results = compare(options)
    except PeerMissing as error:
        raise SystemExit(str(error)) from error
    record = {
        "benchmark": "transcode",
        "commit": commit(),
        "build": build_info(),
        "cpu": model_name(),
        "python": sys.version.split()[0],
        "calls": options.calls,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "opus": {"bitrate": OPUS_BITRATE, "complexity": OPUS_COMPLEXITY},
        "results": results,
    }
    if given.json == "-":
        print(json.dumps(record))
    elif given.json:
        Path(given.json).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
