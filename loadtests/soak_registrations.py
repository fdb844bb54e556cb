"""Does a farm hold 90,000 live bindings and 450,000 accounts, and work among them (E8)?

The accounts are provisioned into the store of a farm that runs. Then phones register with digest
(SHA-256) and refresh their bindings round after round, while calls are placed to others of the
same domain; the farm is restarted with its store; calls are placed again at once, to bindings that
were made before.

    python -m loadtests.soak_registrations --bindings 90000 --accounts 450000 --minutes 5

What must hold: no REGISTER and no call fails, no loop is late by more than a second, the restarted
farm is ready within 20 s. Exit status 0 only where all of it does.
"""

import argparse
import asyncio
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.cpu import children_us
from loadtests.farms import ProxiedCalls, members_cpu_us, started_farm
from loadtests.process_watch import ProcessWatch, memory_mb
from loadtests.registering_phones import RegisteringPhones, Registrations, password_of
from loadtests.sipp_load import Ran
from sipfarm.admin.io.client import AdminClient
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.real_farm import COMMAND, RealFarm

DOMAIN: Final = "soak.test"
SOCKETS: Final = 8
CALLED: Final = 100
"""Accounts that are called; the last ones."""
CALL_PHONES: Final = 3
CALLS_PER_S: Final = 50
CALLS_AFTER_S: Final = 5
FIRST_PORT: Final = 5_070
LATE_MOST_S: Final = 1.0
READY_WITHIN_S: Final = 20.0
ROUND_S: Final = 10.0
"""What is told of the refreshes is of so long a time each."""
ANSWER_S: Final = 60.0


class Options(NamedTuple):
    bindings: int
    accounts: int
    minutes: float
    refresh_s: int
    fill_rate: int
    members: int


class Soak:
    """One run, and what was found wrong."""

    def __init__(self, farm: RealFarm, options: Options, home: Path) -> None:
        self.faults: list[str] = []
        self._farm = farm
        self._options = options
        self._home = home
        self._calls: ProxiedCalls | None = None

    def run(self) -> None:
        self._provision()
        users = [f"u{number:06}" for number in range(self._options.accounts)][-CALLED:]
        self._calls = ProxiedCalls(self._farm, self._home, CALL_PHONES, domain=DOMAIN, users=users)
        asyncio.run(self._register())
        self._list()
        self._restart()

    def _provision(self) -> None:
        farm, count = self._farm, self._options.accounts
        file = self._home / "provision.toml"
        with file.open("w", encoding="utf-8") as out:
            out.write(f'[[domain]]\nname = "{DOMAIN}"\n')
            for number in range(count):
                user = f"u{number:06}"
                out.write(
                    f'[[domain.account]]\nname = "{user}"\npassword = "{password_of(user)}"\n'
                    f'numbers = ["{1_000_000 + number}"]\n'
                )
        before_mb, before_us, began_s = store_mb(farm), children_us(), time.monotonic()
        with lateness(farm) as late:
            done = subprocess.run(
                [*COMMAND, "provision", file, "--config", farm.folder / "m1.toml", "--json"],
                stdout=subprocess.DEVNULL,
                check=False,
            )
        if done.returncode:
            raise AssertionError(f"sipfarm provision ended with {done.returncode}")
        mb = store_mb(farm) - before_mb
        print(
            f"{count} accounts and numbers provisioned in {time.monotonic() - began_s:.0f} s, "
            f"{(children_us() - before_us) / 1e6:.0f} CPU-s; the store has grown by {mb:.0f} MB, "
            f"{mb * 1e6 / count:.0f} bytes each; {self._late(late)}",
            flush=True,
        )

    async def _register(self) -> None:
        farm, options = self._farm, self._options
        # A refresh may be late by a quarter, as it may wait for its turn.
        phones = RegisteringPhones(DOMAIN, farm.listen, expires_s=options.refresh_s * 5 // 4)
        locals_ = [farm.untrusted(1, FIRST_PORT + index) for index in range(SOCKETS)]
        await phones.open(locals_, options.bindings)
        try:
            await self._fill(phones)
            await self._refresh(phones)
        finally:
            phones.close()

    async def _fill(self, phones: RegisteringPhones) -> None:
        farm, count = self._farm, self._options.bindings
        memory_before, store_before, before_us = memory(farm), store_mb(farm), members_cpu_us(farm)
        with lateness(farm) as late:
            filled = await phones.refresh(range(count), self._options.fill_rate)
        grown_mb, store_grown_mb = memory(farm) - memory_before, store_mb(farm) - store_before
        self._judge(filled)
        print(
            f"{count} bindings made in {filled.seconds:.0f} s: {told(filled)}; "
            f"{(members_cpu_us(farm) - before_us) / 1e3 / count:.2f} CPU-ms each; "
            f"members have grown by {grown_mb:.1f} MB, {grown_mb * 1e6 / count:.0f} bytes each, "
            f"the store by {store_grown_mb:.0f} MB, {store_grown_mb * 1e6 / count:.0f} bytes each; "
            f"{self._late(late)}",
            flush=True,
        )

    async def _refresh(self, phones: RegisteringPhones) -> None:
        """Refreshes in turn, and calls beside them."""
        farm, options = self._farm, self._options
        per_s = options.bindings / options.refresh_s
        seconds = options.minutes * 60
        turn = itertools.cycle(range(options.bindings))
        pids = dict(zip(farm.names, farm.pids(), strict=True))
        until_s = time.monotonic() + seconds
        calling = asyncio.create_task(asyncio.to_thread(self._call, int(seconds)))
        with lateness(farm) as late, ProcessWatch(lambda: pids) as watch:
            while time.monotonic() < until_s:
                before_us, began_s = members_cpu_us(farm), time.monotonic()
                some = itertools.islice(turn, max(int(per_s * ROUND_S), 1))
                refreshed = await phones.refresh(some, per_s)
                self._judge(refreshed)
                cores = (members_cpu_us(farm) - before_us) / 1e6 / (time.monotonic() - began_s)
                print(
                    f"  {per_s:.0f} refreshes/s, {CALLS_PER_S} calls/s: {told(refreshed)}; "
                    f"{cores:.2f} cores, {memory(farm):.0f} MB",
                    flush=True,
                )
            await calling
            for name in farm.names:
                grown = watch.growth(name, 0.0)
                print(
                    f"  {name}: {grown.first_mb:.1f} to {grown.last_mb:.1f} MB" if grown else name
                )
        print(f"  {self._late(late)}")

    def _call(self, seconds: int) -> None:
        assert self._calls is not None
        self._judge_calls(self._calls.place(rate=CALLS_PER_S, seconds=max(seconds, 1)))

    def _list(self) -> None:
        """The list of registrations, as long as may be asked for."""
        farm = self._farm
        admin = AdminClient(f"{farm.host(1)}:{farm.listen.port + 1}", answer_s=ANSWER_S)
        with lateness(farm) as late:
            began_s = time.monotonic()
            answer = admin.exchange("GET", f"/api/v1/registrations?domain={DOMAIN}&limit=10000")
            took_s = time.monotonic() - began_s
        if answer.status != 200:
            self.faults.append(f"/registrations: {answer.status}")
        print(f"/registrations: {len(answer.body) >> 10} kB in {took_s:.2f} s; {self._late(late)}")

    def _restart(self) -> None:
        assert self._calls is not None
        farm = self._farm
        farm.end()
        began_s = time.monotonic()
        farm.start()
        farm.wait_for(dict.fromkeys(farm.names, "ready"), READY_WITHIN_S)
        took_s = time.monotonic() - began_s
        PacketBalancer(farm.listen, farm.pids).at_random()
        ran = self._calls.place(rate=CALLS_PER_S, seconds=CALLS_AFTER_S)
        self._judge_calls(ran)
        print(f"restarted in {took_s:.1f} s, {memory(farm):.0f} MB; calls to old bindings: {ran}")

    def _judge(self, made: Registrations) -> None:
        if made.failed:
            self.faults.append(
                f"{made.failed} of {made.failed + made.done} REGISTERs failed: {dict(made.refused)}"
            )

    def _judge_calls(self, ran: Ran) -> None:
        print(f"  calls: {ran}", flush=True)
        if ran.failed:
            self.faults.append(f"{ran.failed} of {ran.calls + ran.failed} calls failed")

    def _late(self, late: list[float]) -> str:
        worst_s = max(late, default=0.0)
        if worst_s > LATE_MOST_S:
            self.faults.append(f"a loop was late by {worst_s:.2f} s")
        return f"loops late by at most {1e3 * worst_s:.0f} ms"


@contextmanager
def lateness(farm: RealFarm) -> Iterator[list[float]]:
    """How late the members' loops are, once a second, until the block is left."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append(max(farm.metrics(name)["sipfarm_loop_lag_seconds"] for name in farm.names))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def told(made: Registrations) -> str:
    return (
        f"{made.done} of {made.done + made.failed}, {made.challenged} challenged, "
        f"{made.again} sent again, p50 {made.p50_ms:.1f} ms, p99 {made.p99_ms:.1f} ms"
    )


def memory(farm: RealFarm) -> float:
    return sum(memory_mb(pid) for pid in farm.pids())


def store_mb(farm: RealFarm) -> float:
    """The file and its write-ahead log."""
    return sum(file.stat().st_size for file in farm.folder.glob("farm.db*")) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bindings", type=int, default=9_000)
    parser.add_argument("--accounts", type=int, default=45_000)
    parser.add_argument("--minutes", type=float, default=2.0, help="of refreshes and calls")
    parser.add_argument("--refresh", type=int, default=600, help="seconds between two refreshes")
    parser.add_argument("--fill-rate", type=int, default=1_000, help="first REGISTERs a second")
    parser.add_argument("--members", type=int, default=3)
    given = parser.parse_args()
    if given.bindings + CALLED > given.accounts:
        parser.error(f"{given.bindings} bindings and {CALLED} called need as many accounts")
    options = Options(
        given.bindings, given.accounts, given.minutes, given.refresh, given.fill_rate, given.members
    )
    with (
        started_farm(members=options.members) as farm,
        tempfile.TemporaryDirectory(prefix="soak-registrations-") as home,
    ):
        PacketBalancer(farm.listen, farm.pids).at_random()
        run = Soak(farm, options, Path(home))
        run.run()
    for fault in run.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    print("well" if not run.faults else f"{len(run.faults)} faults")
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main())
