"""Farms of real members for load tests, and the SIPps that call through them."""

import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.cpu import scheduled_us
from loadtests.sipp_load import Load, Ran, retransmissions_of, run, running, users_file
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, PHONES_MAX, FarmOptions, RealFarm

STOCK_ROUTING: Final = "sipfarm.signaling.policy:stock_policy"
READY_WITHIN_S: Final = 20.0
SETTLE_S: Final = 0.5
FILL_RATE: Final = 200  # of the registrations before a call load
FARM_USERS: Final = tuple([f"p{number}" for number in range(PHONES_MAX)])
CALLER_SOCKETS: Final = 900  # SIPp writes no port where a call has to share one


@contextmanager
def started_farm(**options: Any) -> Generator[RealFarm, None, None]:
    """`sipfarm run` with the shipped routing policy, all members ready, until the block is left."""
    with (
        tempfile.TemporaryDirectory(prefix="farm-under-load-") as folder,
        lease_ports(10) as lease,
        Children() as children,
    ):
        chosen = FarmOptions(**{"routing": STOCK_ROUTING, **options})
        farm = RealFarm(children, lease, Path(folder), chosen)
        farm.wait_for(dict.fromkeys(farm.names, "ready"), READY_WITHIN_S)
        yield farm
        farm.end()


def members_cpu_us(farm: RealFarm) -> float:
    """What the members have used of the CPU; their supervisor is not among them."""
    return sum(scheduled_us(pid) for pid in farm.pids())


class ProxiedCalls:
    """Calls without SDP from many sockets to phones at several addresses."""

    def __init__(
        self,
        farm: RealFarm,
        home: Path,
        phones: int,
        pin: Sequence[str] = (),
        *,
        domain: str = DOMAIN,
        users: Sequence[str] = FARM_USERS,
    ) -> None:
        self._farm = farm
        self._home = home
        self._pin = tuple(pin)
        self._domain = domain
        self._phones = [self._load("proxied_call_uas", 2 + index) for index in range(phones)]
        for index in range(phones):
            own = users[index::phones]
            file = users_file(self._home_of(index) / "own.csv", [f"{user};" for user in own])
            register = self._load("register", 2 + index, file)
            done = run(register, rate=FILL_RATE, calls=len(own), home=self._home_of(index))
            if done.failed:
                raise AssertionError(f"{done.failed} of {len(own)} registrations failed")
        self._users = users_file(home / "called.csv", [f"{user};" for user in users])

    def place(self, *, rate: int, seconds: int) -> Ran:
        """Place calls at a rate; both ends' retransmissions in one."""
        with ExitStack() as stack:
            for index, phone in enumerate(self._phones):
                stack.enter_context(running(phone, self._home_of(index)))
            time.sleep(SETTLE_S)
            caller = self._load("proxied_call_uac", 1, self._users, sockets=CALLER_SOCKETS)
            ran = run(caller, rate=rate, calls=rate * seconds, home=self._home)
        again = sum(
            retransmissions_of(phone.scenario, self._home_of(index))
            for index, phone in enumerate(self._phones)
        )
        return ran._replace(retransmissions=ran.retransmissions + again)

    def _home_of(self, phone: int) -> Path:
        home = self._home / f"phone{phone}"
        home.mkdir(exist_ok=True)
        return home

    def _load(
        self, scenario: str, number: int, injected: Path | None = None, sockets: int = 1
    ) -> Load:
        server, at = self._farm.listen, self._farm.trusted(number)
        return Load(
            scenario, (server.host, server.port), at.host, at.port, {"domain": self._domain},
            injected, self._pin, sockets,
        )  # fmt: skip
