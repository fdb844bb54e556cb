"""How is work shared among equal members, and with one that is slow or not ready (A3, C6)?

Three members, each packet at any of them: 10,000 calls with all alike (each does 33 % ± 5 %), then
with the second one standing still for 150 ms of every 220 (it does less than 20 %), then with the
third one drained (it does nothing). A share is that of the requests a member forwards.

    python -m loadtests.soak_shares --calls 10000 --rate 200
"""

import argparse
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from loadtests.farms import ProxiedCalls, started_farm
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.real_farm import RealFarm
from sipfarm.testing.shares import Shares, slowed

PHONES: Final = 3
EQUAL: Final = (0.28, 0.38)
SLOW_MOST: Final = 0.20
SETTLE_S: Final = 2


class Soak:
    """One farm, and what was found wrong."""

    def __init__(self, farm: RealFarm, home: Path, rate: int) -> None:
        self.faults: list[str] = []
        self._farm = farm
        self._rate = rate
        self._calls = ProxiedCalls(farm, home, PHONES)

    def look(
        self, what: str, calls: int, bounds: dict[str, tuple[float, float]],
        under: AbstractContextManager[None] | None = None,
    ) -> None:  # fmt: skip
        """Place calls, some before those that count, and judge the shares."""
        with under or nullcontext():
            self._calls.place(rate=self._rate, seconds=SETTLE_S)
            shares = Shares(self._farm)
            ran = self._calls.place(rate=self._rate, seconds=max(calls // self._rate, 1))
            found = shares.now()
        told = "  ".join(f"{name} {share:.1%}" for name, share in found.items())
        print(f"{what:<14} {ran.calls} calls, {ran.failed} failed: {told}", flush=True)
        if ran.failed:
            self.faults.append(f"{what}: {ran.failed} calls failed")
        for name, (least, most) in bounds.items():
            if not least <= found[name] <= most:
                self.faults.append(f"{what}: {name} has a share of {found[name]:.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200, help="calls a second")
    given = parser.parse_args()
    with (
        started_farm(members=3) as farm,
        tempfile.TemporaryDirectory(prefix="soak-shares-") as home,
    ):
        PacketBalancer(farm.listen, farm.pids).at_random()
        pids = {member.name: member.pid for member in farm.members()}
        soak = Soak(farm, Path(home), given.rate)
        soak.look("all alike", given.calls, dict.fromkeys(farm.names, EQUAL))
        soak.look("m2 slow", given.calls // 3, {"m2": (0.0, SLOW_MOST)}, slowed(pids["m2"]))
        farm.drain("m3")
        soak.look("m3 drained", given.calls // 3, {"m3": (0.0, 0.0)})
    for fault in soak.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
