"""What does signaling cost on one core, against Kamailio?

`call` is a call through a stateful, record-routing proxy over UDP: INVITE, 100, 180, 200, ACK, BYE,
200. `register` is a REGISTER with its 200, `register-digest` one with 401 and digest. Both servers
do the same at the same rates, in turn, in one run; the member of the farm with the shipped routing
policy, registrar and store, Kamailio with one worker and the cheapest script for it: its calls go
to a fixed address and its passwords are a constant.

The server is pinned to core 1, SIPp to core 0. CPU is user and system time of all the server's
processes from /proc/PID/stat, over the whole of a step, divided by its calls. A rate is held clean
where no call failed and fewer than 0.1 % of the calls needed a retransmission; after a step that
was not, the server is started anew. On a machine that does other work, `--fifo` runs servers and
SIPp in front of it.

    python -m loadtests.bench_signaling --mode call --rates 2000,4000,5000 --json FILE
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.cpu import model_name
from loadtests.free_ports import free_udp_ports
from loadtests.perf_record import profiled
from loadtests.sip_servers import (
    CAN_DIGEST,
    PASSWORD,
    Kamailio,
    Member,
    Server,
    ServerMissing,
    provisioned_store,
    temporary_home,
)
from loadtests.sipp_load import (
    Load,
    Ran,
    SippMissing,
    retransmissions_of,
    run,
    running,
    users_file,
)
from sipfarm.native import build_info

HOST: Final = "127.0.0.1"
CALLER_HOST: Final = "127.0.0.2"
PHONE_HOST: Final = "127.0.0.3"
DOMAIN: Final = "bench.test"
SERVER_PIN: Final = ("taskset", "-c", "1")
LOAD_PIN: Final = ("taskset", "-c", "0")
FIFO: Final = ("chrt", "-f", "10")
SERVERS: Final = ("kamailio", "sipfarm")
MODES: Final = ("call", "register", "register-digest")
RATES: Final = {
    "call": "2000,4000,5000,6000",
    "register": "2000,5000,10000,20000",
    "register-digest": "1000,2000,5000,10000",
}
MEDIA_PORTS: Final = 200  # a member must have some; no call here uses them
USERS: Final = 10_000
CALLED_USERS: Final = 1_000
FILL_RATE: Final = 1_000  # of the registrations before a call load
RETRANSMISSIONS_MAX: Final = 0.001  # of the calls
SETTLE_S: Final = 0.5


class Step(NamedTuple):
    """One rate on one server."""

    mode: str
    server: str
    rate: int
    calls: int
    failed: int
    retransmissions: int
    ms_per_call: float
    cores: float
    memory_mb: float

    @property
    def is_clean(self) -> bool:
        return self.failed == 0 and self.retransmissions < self.calls * RETRANSMISSIONS_MAX


class Options(NamedTuple):
    modes: list[str]
    servers: list[str]
    rates: list[int]
    seconds: int
    rounds: int
    perf: Path | None
    fifo: tuple[str, ...]


class Bench:
    """The places and files that all steps share."""

    def __init__(self, home: Path, options: Options) -> None:
        self.home = home
        self.options = options
        self.server_pin, self.load_pin = SERVER_PIN + options.fifo, LOAD_PIN + options.fifo
        self.listen, self.caller, self.phone, self.bus = (
            (HOST, free_udp_ports(HOST)),
            (CALLER_HOST, free_udp_ports(CALLER_HOST)),
            (PHONE_HOST, free_udp_ports(PHONE_HOST)),
            (HOST, free_udp_ports(HOST)),
        )
        self.media = self.listen[1]
        while self.media <= self.listen[1] < self.media + MEDIA_PORTS:
            self.media = free_udp_ports(HOST, MEDIA_PORTS)
        names = [f"user{number:05}" for number in range(USERS)]
        self.called = users_file(home / "called.csv", [f"{name};" for name in names[:CALLED_USERS]])
        self.users = users_file(
            home / "users.csv",
            [f"{name};[authentication username={name} password={PASSWORD}]" for name in names],
        )
        self.store: Path | None = None
        if "sipfarm" in options.servers:
            provisioning = home / "provisioning"
            provisioning.mkdir()
            self.store = provisioned_store(provisioning, DOMAIN, names)

    def start(self, server: str, mode: str) -> Server:
        digest = mode == "register-digest"
        if server == "kamailio":
            return Kamailio(
                self.listen, self.phone, digest=digest, pin=self.server_pin, home=self.home
            )
        assert self.store is not None
        member = Member(
            self.listen,
            digest=digest,
            pin=self.server_pin,
            home=self.home,
            ports=(self.bus[1], self.media, self.media + MEDIA_PORTS - 1),
            store=self.store,
        )
        if mode == "call":
            filling = self.load("register", self.called, at=self.phone)
            run(filling, rate=FILL_RATE, calls=CALLED_USERS, home=self.home)
        return member

    def load(
        self, scenario: str, injected: Path | None = None, at: tuple[str, int] | None = None
    ) -> Load:
        """SIPp as a caller or, where `at` tells so, as the called phone."""
        host, port = at or self.caller
        return Load(scenario, self.listen, host, port, {"domain": DOMAIN}, injected, self.load_pin)

    def offer(self, mode: str, rate: int) -> Ran:
        """Bring a load to the server that runs; both ends' retransmissions in one."""
        calls = rate * self.options.seconds
        if mode == "call":
            with running(self.load("proxied_call_uas", at=self.phone), self.home):
                time.sleep(SETTLE_S)
                caller = self.load("proxied_call_uac", self.called)
                ran = run(caller, rate=rate, calls=calls, home=self.home)
            again = retransmissions_of("proxied_call_uas", self.home)
            return ran._replace(retransmissions=ran.retransmissions + again)
        scenario = "register_digest" if mode == "register-digest" else "register"
        return run(self.load(scenario, self.users), rate=rate, calls=calls, home=self.home)

    def step(self, server: Server, mode: str, rate: int) -> Step:
        before_us = server.cpu_us()
        name = f"{server.name}-{mode}-{rate}"
        with profiled(self.options.perf, server.pid, name, self.options.seconds):
            ran = self.offer(mode, rate)
        spent_us = server.cpu_us() - before_us
        calls = max(ran.calls, 1)
        cores = spent_us / 1e6 / max(ran.seconds, 0.1)
        return Step(
            mode, server.name, rate, ran.calls, ran.failed, ran.retransmissions,
            spent_us / 1e3 / calls, cores, server.memory_mb(),
        )  # fmt: skip


@contextmanager
def benching(options: Options) -> Generator[Bench, None, None]:
    with temporary_home() as home:
        yield Bench(Path(home), options)


def run_ladder(bench: Bench, server_name: str, mode: str, rates: list[int]) -> list[Step]:
    """Rate after rate on one server, until one is not held twice over."""
    steps: list[Step] = []
    server: Server | None = None
    try:
        for rate in rates:
            if server is None:
                server = bench.start(server_name, mode)
                time.sleep(SETTLE_S)
            step = bench.step(server, mode, rate)
            steps.append(step)
            print(row(step), flush=True)
            if not step.is_clean:
                server.stop()
                server = None
                if step.failed:
                    break
    finally:
        if server is not None:
            server.stop()
    return steps


def row(step: Step) -> str:
    clean = "clean" if step.is_clean else f"{step.failed} failed"
    return (
        f"{step.mode:<16} {step.server:<9} {step.rate:>6}/s  {step.ms_per_call:7.4f} ms/call"
        f"  {step.cores:4.2f} core  {step.retransmissions:>6} retr.  {step.memory_mb:6.0f} MB"
        f"  {clean}"
    )


def held(steps: Iterable[Step]) -> int:
    """The highest rate that was held clean."""
    return max((step.rate for step in steps if step.is_clean), default=0)


def summary(mode: str, steps: list[Step]) -> dict[str, object]:
    """The ratio at each rate that both held clean, by the medians, and what each held."""
    costs: dict[str, dict[int, float]] = {server: {} for server in SERVERS}
    for server in SERVERS:
        own = [step for step in steps if step.server == server and step.is_clean]
        for rate in sorted({step.rate for step in own}):
            costs[server][rate] = statistics.median(
                step.ms_per_call for step in own if step.rate == rate
            )
    ratios = {
        rate: cost / costs["kamailio"][rate]
        for rate, cost in costs["sipfarm"].items()
        if costs["kamailio"].get(rate)
    }
    return {
        "mode": mode,
        "ms_per_call": costs,
        "held": {server: held(s for s in steps if s.server == server) for server in SERVERS},
        "ratio": ratios,
    }


def print_summary(told: dict[str, object], line: Callable[[str], None]) -> None:
    held_by, ratios = told["held"], told["ratio"]
    assert isinstance(held_by, dict)
    assert isinstance(ratios, dict)
    line(f"{told['mode']}: held clean " + ", ".join(f"{s} {r}/s" for s, r in held_by.items() if r))
    if ratios:
        at = ", ".join(f"{ratio:.2f} at {rate}/s" for rate, ratio in ratios.items())
        line(f"{told['mode']}: CPU per call, sipfarm : kamailio = {at}")


def options_from(arguments: argparse.Namespace) -> Options:
    return Options(
        modes=[arguments.mode] if arguments.mode != "all" else list(MODES),
        servers=[arguments.only] if arguments.only else list(SERVERS),
        rates=[int(rate) for rate in arguments.rates.split(",")] if arguments.rates else [],
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        perf=arguments.perf,
        fifo=FIFO if arguments.fifo else (),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
    parser.add_argument("--only", choices=SERVERS, help="one of the servers alone")
    parser.add_argument("--rates", help="calls a second, e.g. 2000,4000,5000")
    parser.add_argument("--seconds", type=int, default=6, help="of each step")
    parser.add_argument("--rounds", type=int, default=1, help="how often all is run; medians count")
    parser.add_argument(
        "--fifo", action="store_true", help="run servers and SIPp in front of all else (root)"
    )
    parser.add_argument("--json", type=Path, help="write all steps to this file")
    parser.add_argument("--perf", type=Path, help="keep a perf profile of each step in this folder")
    arguments = parser.parse_args()
    options = options_from(arguments)
    if (os.cpu_count() or 1) < 2:
        print("two cores are needed: one for the server, one for SIPp", file=sys.stderr)
        return 1
    steps: list[Step] = []
    told: list[dict[str, object]] = []
    try:
        with benching(options) as bench:
            for mode in options.modes:
                rates = options.rates or [int(rate) for rate in RATES[mode].split(",")]
                own: list[Step] = []
                for _ in range(options.rounds):
                    for server in options.servers:
                        if (server, mode) == ("sipfarm", "register-digest") and not CAN_DIGEST:
                            print(f"{mode}: no [sip] digest in the config, and SIPp knows MD5 only")
                            continue
                        own += run_ladder(bench, server, mode, rates)
                steps += own
                told.append(summary(mode, own))
    except (ServerMissing, SippMissing) as error:
        print(error, file=sys.stderr)
        return 1
    print()
    for one in told:
        print_summary(one, print)
    if arguments.json is not None:
        record = {
            "build": build_info(),
            "cpu": model_name(),
            "python": platform.python_version(),
            "seconds": options.seconds,
            "steps": [step._asdict() for step in steps],
            "summary": told,
        }
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
