"""How much does a million half-open calls slow and grow a member?

`python -m loadtests.soak_attacks`
Three floods of INVITEs that nobody follows up, each against a member of its own: from one stranger
and from 110, who are held off (`--rate` a second; beyond what a member can read the kernel drops
packets, and these phones do not send everything again), and from a source that is exempt
(`--exempt-rate`), each of whose calls is challenged. `--trusted` adds one whose
calls all are let in and ring at a phone that never answers, until the tables are full. Beside each,
two phones register, call and ping; a line of JSON tells how long they waited and what memory grew.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sipfarm.base.net import HostPort
from sipfarm.testing.flooding import Flood, dropped, memory_bytes
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, FarmOptions, RealFarm
from sipfarm.testing.sip_link import UdpLink
from sipfarm.testing.websocket_phone import WebSocketPhone

MIB = 1 << 20
WATCH_S = 0.2
DONE_S = 20.0


class Watch:
    """The most memory that a process has had since."""

    def __init__(self, pid: int) -> None:
        self.before = self.most = memory_bytes(pid)
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def growth_mib(self) -> float:
        self._over.set()
        self._thread.join()
        return round((self.most - self.before) / MIB, 1)

    def _look(self) -> None:
        while not self._over.wait(WATCH_S):
            self.most = max(self.most, memory_bytes(self._pid))


def phone_of(farm: RealFarm, user: str, at: HostPort) -> WebSocketPhone:
    return WebSocketPhone(UdpLink(at, farm.listen), user, DOMAIN)


def call(alice: WebSocketPhone, bob: WebSocketPhone) -> None:
    """From the INVITE to the answer to the BYE."""
    with ThreadPoolExecutor(1) as of_alice:
        placed = of_alice.submit(alice.call, bob.aor)
        called = bob.answer_call(DONE_S)
        ended = of_alice.submit(placed.result(DONE_S).bye)
        called.wait_bye()
        assert ended.result(DONE_S).status == 200


def timed(act: Callable[[], object]) -> float:
    begun_s = time.monotonic()
    act()
    return time.monotonic() - begun_s


def soak(
    name: str, farm: RealFarm, flood: Flood, alice: WebSocketPhone, bob: WebSocketPhone
) -> None:
    pid, member = farm.pids()[0], farm.names[0]
    watch = Watch(pid)
    pings_s: list[float] = []
    calls_s: list[float] = []
    registers_s: list[float] = []
    transactions = 0.0
    with flood:
        while flood.is_going_on:
            calls_s.append(timed(lambda: call(alice, bob)))
            registers_s.append(timed(alice.register))
            pings_s += [timed(alice.options) for _ in range(20)]
            held = farm.metrics(member)["sipfarm_sip_server_transactions"]
            transactions = max(transactions, held)
        seconds = flood.wait()
    call(alice, bob)
    counted = farm.metrics(member)
    result = {
        "flood": name,
        "seconds": seconds,
        "requests_seen": counted["sipfarm_sip_requests"],
        "over_rate": dropped(farm, "over_rate"),
        "limit": dropped(farm, "limit"),
        "transactions_most": transactions,
        "memory_before_mib": round(watch.before / MIB, 1),
        "growth_mib": watch.growth_mib(),
        "calls": len(calls_s),
        "call_ms": [round(1_000 * statistics.median(calls_s)), round(1_000 * max(calls_s))],
        "register_ms": [
            round(1_000 * statistics.median(registers_s)),
            round(1_000 * max(registers_s)),
        ],
        "options_ms": [round(1_000 * statistics.median(pings_s), 1), round(1_000 * max(pings_s))],
    }
    print(json.dumps(result), flush=True)


def soak_full(farm: RealFarm, flood: Flood, alice: WebSocketPhone, bob: WebSocketPhone) -> None:
    """A call that was up before the tables were full is hung up while they are."""
    member = farm.names[0]
    watch = Watch(farm.pids()[0])
    with ThreadPoolExecutor(1) as of_alice, flood:
        placed = of_alice.submit(alice.call, bob.aor)
        called = bob.answer_call(DONE_S)
        calling = placed.result(DONE_S)
        seconds = flood.wait()
        counted = farm.metrics(member)
        begun_s = time.monotonic()
        ended = of_alice.submit(calling.bye)
        called.wait_bye()
        status = ended.result(DONE_S).status
    result = {
        "flood": "trusted",
        "seconds": seconds,
        "requests_seen": counted["sipfarm_sip_requests"],
        "limit": dropped(farm, "limit"),
        "transactions": counted["sipfarm_sip_server_transactions"],
        "calls": counted["sipfarm_sip_calls"],
        "memory_before_mib": round(watch.before / MIB, 1),
        "growth_mib": watch.growth_mib(),
        "bye_status": status,
        "bye_ms": round(1_000 * (time.monotonic() - begun_s)),
    }
    print(json.dumps(result), flush=True)


def run(name: str, children: Children, count: int, rate: int) -> None:
    options = FarmOptions(protect="" if name in ("exempt", "trusted") else "exempt = []")
    with lease_ports(10) as lease, tempfile.TemporaryDirectory() as folder:
        farm = RealFarm(children, lease, Path(folder), options)
        numbers = range(10, 120 if name == "many" else 11)
        sources = [farm.untrusted(number, 6060) for number in numbers]
        if name == "trusted":
            sources = [farm.trusted(10, 6060)]
        with (
            phone_of(farm, "alice", farm.untrusted(1)) as alice,
            phone_of(farm, "p1", farm.untrusted(2)) as other,
            phone_of(farm, "bob", farm.untrusted(3)) as silent,
        ):
            for phone in (alice, other, silent):
                assert phone.register().status == 200
            flood = Flood(children, farm.listen, sources, count, rate)
            if name == "trusted":
                soak_full(farm, flood, alice, other)
            else:
                soak(name, farm, flood, alice, other)
        farm.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--exempt-rate", type=int, default=8_000)
    parser.add_argument("--trusted", action="store_true")
    given = parser.parse_args()
    with Children() as children:
        run("one", children, given.count, given.rate)
        run("many", children, given.count, given.rate)
        run("exempt", children, given.count, given.exempt_rate)
        if given.trusted:
            run("trusted", children, given.count, given.exempt_rate)


if __name__ == "__main__":
    main()
