"""Does a farm stay whole for long, while its members are killed, stopped and drained in turn?

Three members, each packet at any of them, calls of 5 s with SDP and the relay at a steady rate.
At seeded times a member is killed (SIGKILL), stopped (SIGSTOP; its supervisor replaces it) or
drained and undrained. The first member is only ever drained: its memory can be watched all along.

    python -m loadtests.soak_farm --minutes 10 --seed 1

What must hold: a drain costs no call; a death costs the few calls whose INVITE was unfinished on
that member; the others know within 2.5 s, and the farm is whole again after each deed. At the end:
no call, transaction or media port is left on any member, and the first member has no more memory
and descriptors than at the beginning. Exit status 0 only where all of it does.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from loadtests.farms import started_farm
from loadtests.process_watch import ProcessWatch, descriptors
from sipfarm.admin.face import NotReached
from sipfarm.admin.io.client import Refused
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.sipp import Sipp, SippCall

Kind = Literal["kill", "stop", "drain"]

HOLD_MS: Final = 5_000
LINGER_MS: Final = 32_000
"""A phone answers a BYE that comes again for so long (RFC 3261 §17.2.2, Timer J)."""
PAUSE_S: Final = (4.0, 15.0)
"""Between a farm that is whole again and the next deed."""
QUIET_S: Final = 20.0
"""Before the last call nothing more is done, so that the end is an end at rest."""
VIEW_RIGHT_WITHIN_S: Final = 2.5
WHOLE_WITHIN_S: Final = 20.0
LEFT_WITHIN_S: Final = 15.0
UNFINISHED_S: Final = 0.06
"""Calls of so long a time are unfinished on a member that dies, of those it has."""
MEMORY_GROWTH_MB: Final = 12.0
WARM_UP_S: Final = 30.0
DESCRIPTORS_MORE: Final = 4
SHOWN_EVERY_S: Final = 10.0
ENDS_WITHIN_S: Final = 60


class Deed(NamedTuple):
    """Something done to a member."""

    kind: Kind
    name: str


class Soak:
    """One run: the load, what is done, and what was found wrong."""

    def __init__(self, farm: RealFarm, watch: ProcessWatch, seed: int, rate: int) -> None:
        self.farm = farm
        self.faults: list[str] = []
        self.done: list[Deed] = []
        self._watch = watch
        self._rate = rate
        self._draw = random.Random(seed)
        self._deeds = deeds(farm.names, self._draw)
        self._pids = farm.first_pids
        self._began_s = time.monotonic()
        self._shown_s = self._began_s

    def pids(self) -> dict[str, int]:
        return self._pids

    def run(self, caller: Sipp, until_s: float) -> None:
        """Do one deed after the other until it is time to come to an end."""
        due_s = time.monotonic() + self._draw.uniform(*PAUSE_S)
        while caller.running:
            now_s = time.monotonic()
            self.show(caller)
            if due_s < now_s < until_s:
                self._do(next(self._deeds))
                due_s = time.monotonic() + self._draw.uniform(*PAUSE_S)
            time.sleep(0.2)

    def show(self, caller: Sipp) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s < SHOWN_EVERY_S:
            return
        self._shown_s = now_s
        counted = caller.result()
        members = "  ".join(
            f"{name} {look.memory_mb:.0f} MB {look.descriptors} fds"
            for name, look in sorted(self._watch.last().items())
        )
        print(
            f"{now_s - self._began_s:6.0f} s  {counted.placed} calls, {counted.failed} failed, "
            f"{len(self.done)} deeds  {members}",
            flush=True,
        )

    def deaths(self) -> int:
        return sum(deed.kind != "drain" for deed in self.done)

    def _do(self, deed: Deed) -> None:
        began_s = time.monotonic()
        try:
            told = self._drain(deed.name) if deed.kind == "drain" else self._end(deed)
            self._wait_whole()
        except AssertionError as error:
            self.faults.append(f"{deed.kind} {deed.name}: {error}")
            told = "FAILED"
        self.done.append(deed)
        took_s = time.monotonic() - began_s
        print(
            f"         {deed.kind:<5} {deed.name}: {told}, whole after {took_s:.1f} s", flush=True
        )

    def _end(self, deed: Deed) -> str:
        farm = self.farm
        began_s = time.monotonic()
        if deed.kind == "kill":
            pid = farm.kill(deed.name, signal.SIGKILL)
            farm.wait_view_without(deed.name, VIEW_RIGHT_WITHIN_S, pid)
        else:
            pid = farm.kill(deed.name, signal.SIGSTOP)
            farm.wait_view_without(deed.name, 2 * VIEW_RIGHT_WITHIN_S, pid)
        return f"known after {time.monotonic() - began_s:.2f} s"

    def _drain(self, name: str) -> str:
        self.farm.drain(name)
        began_s = time.monotonic()
        try:
            eventually(
                lambda: not self.farm.metrics(name)["sipfarm_sip_calls"],
                f"{name} is left by its calls",
                LEFT_WITHIN_S,
            )
        finally:
            self.farm.undrain(name)
        return f"empty after {time.monotonic() - began_s:.2f} s"

    def _wait_whole(self) -> None:
        """Until each member sees all of them ready."""
        ready = dict.fromkeys(self.farm.names, "ready")

        def is_whole() -> bool:
            try:
                seen = [self.farm.members(name) for name in self.farm.names]
            except (NotReached, Refused):
                return False
            self._pids = {member.name: member.pid for member in seen[0]}
            return all({member.name: member.state for member in one} == ready for one in seen)

        eventually(is_whole, "the farm is whole again", WHOLE_WITHIN_S)


def deeds(names: list[str], draw: random.Random) -> Iterator[Deed]:
    """Round after round: each member drained, each but the first killed and stopped."""
    while True:
        every = [Deed("drain", name) for name in names]
        every += [Deed(kind, name) for name in names[1:] for kind in ("kill", "stop")]
        draw.shuffle(every)
        yield from every


def peers(farm: RealFarm, children: Children, folder: Path, calls: int, rate: int) -> list[Sipp]:
    """A phone that is registered, and who calls it."""
    phone = farm.trusted(2)
    usual = {"domain": DOMAIN, "service": farm.unused_user(), "trace": False}
    calling = {**usual, "local": farm.trusted(1), "remote": farm.listen}
    contact = {**usual, "local": phone, "remote": farm.listen, "keys": {"contact": str(phone)}}
    Sipp(children, folder, SippCall(scenario="register_contact", **contact)).succeed()
    lasts_s = calls // rate + ENDS_WITHIN_S
    called = SippCall(
        scenario="call_uas",
        local=phone,
        calls=0,
        hold_ms=LINGER_MS,
        timeout_s=lasts_s + ENDS_WITHIN_S,
        **usual,
    )
    caller = SippCall(
        scenario="call_uac",
        calls=calls,
        per_second=rate,
        hold_ms=HOLD_MS,
        timeout_s=lasts_s,
        **calling,
    )
    return [Sipp(children, folder, called), Sipp(children, folder, caller)]


def soak(minutes: float, rate: int, seed: int) -> list[str]:
    """What was wrong."""
    with (
        started_farm(members=3) as farm,
        tempfile.TemporaryDirectory(prefix="soak-farm-") as folder,
        Children() as children,
    ):
        PacketBalancer(farm.listen, farm.pids).at_random()
        first = farm.names[0]
        first_pid = farm.first_pids[first]
        descriptors_before = other_descriptors(farm, first, first_pid)
        run: Soak | None = None
        with ProcessWatch(lambda: run.pids() if run else {}) as watch:
            run = Soak(farm, watch, seed, rate)
            seconds = int(minutes * 60)
            phone, caller = peers(farm, children, Path(folder), rate * seconds, rate)
            run.run(caller, time.monotonic() + seconds - QUIET_S)
            placed, taken = caller.finish(), phone.stop()
            print(f"caller {placed}\nphone  {taken}")
            allowed = run.deaths() * int(rate * UNFINISHED_S)
            print(f"{len(run.done)} deeds, {run.deaths()} deaths: {allowed} calls may have failed")
            if placed.failed > allowed or taken.failed > allowed:
                run.faults.append(f"more failed calls than {allowed}:\n{caller.told()}")
            if placed.successful + placed.failed != placed.placed:
                run.faults.append(f"calls without an end: {placed}")
            run.faults += rest_faults(farm)
            grown = watch.growth(first, WARM_UP_S)
        now_pid = next(member.pid for member in farm.members() if member.name == first)
        if now_pid != first_pid:
            run.faults.append(f"{first} was restarted, though nobody killed it")
            return run.faults
        descriptors_now = other_descriptors(farm, first, first_pid)
        print(f"{first}: {grown}, descriptors {descriptors_before} before, {descriptors_now} now")
        if grown is None or grown.mb > MEMORY_GROWTH_MB:
            run.faults.append(f"{first} has grown: {grown}")
        if descriptors_now > descriptors_before + DESCRIPTORS_MORE:
            run.faults.append(
                f"{first} has {descriptors_now} descriptors, {descriptors_before} before"
            )
        return run.faults


def other_descriptors(farm: RealFarm, name: str, pid: int) -> int:
    """Those that are no media ports, of which each is a pair and more may just be bound ahead."""

    def pairs() -> int:
        return int(farm.metrics(name)["sipfarm_media_ports_bound"])

    while True:
        before, count = pairs(), descriptors(pid)
        if before == pairs():
            return count - 2 * before


def rest_faults(farm: RealFarm) -> list[str]:
    try:
        farm.wait_at_rest()
    except AssertionError as error:
        return [str(error)]
    print("at rest: no calls, no transactions, no media ports taken")
    return []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=50, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    faults = soak(given.minutes, given.rate, given.seed)
    for fault in faults:
        print(f"FAULT (seed {given.seed}): {fault}", file=sys.stderr)
    print("well" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
