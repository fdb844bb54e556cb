"""Farms of real processes, and SIPp against them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sipfarm.base.net import HostPort
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import DOMAIN, FarmOptions, RealFarm
from sipfarm.testing.sipp import Sipp, SippCall, SippResult

StartFarm = Callable[..., RealFarm]


class Resting:
    """The farms of the module before. Their timers run out while others are tested: half a minute
    over UDP (RFC 3261 §17). Then none of their tables may hold anything.
    """

    def __init__(self) -> None:
        self._farms: Sequence[RealFarm] = ()
        self._stack = ExitStack()

    def put(self, farms: Sequence[RealFarm], stack: ExitStack) -> None:
        self.finish()
        self._farms, self._stack = farms, stack

    def finish(self) -> None:
        farms, self._farms = self._farms, ()
        with self._stack:
            for farm in farms:
                farm.wait_at_rest()


@pytest.fixture(scope="session")
def resting() -> Iterator[Resting]:
    kept = Resting()
    yield kept
    kept.finish()


@pytest.fixture(scope="module")
def start_farm(tmp_path_factory: pytest.TempPathFactory, resting: Resting) -> Iterator[StartFarm]:
    """Start a farm that lives as long as the module's tests: `start_farm(members=3)`; with
    `at_rest` it must come to rest afterwards (then mark the module `early`).
    """
    farms: list[RealFarm] = []
    with ExitStack() as stack:

        def start(*, at_rest: bool = False, **options: Any) -> RealFarm:
            lease = stack.enter_context(lease_ports(10))
            children = stack.enter_context(Children())
            folder = tmp_path_factory.mktemp("farm")
            farm = RealFarm(children, lease, folder, FarmOptions(**options))
            if at_rest:
                farms.append(farm)
            return farm

        yield start
        if farms:
            resting.put(farms, stack.pop_all())


class Peers:
    """The SIPps of one test, at addresses of one farm."""

    def __init__(self, farm: RealFarm, children: Children, folder: Path) -> None:
        self.farm = farm
        self._children = children
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def caller(self, scenario: str, **what: Any) -> Sipp:
        """Place calls to the farm.

        They last a little: where two packets go different ways, a BYE may overtake its ACK.
        """
        usual = {"local": self.farm.trusted(1), "remote": self.farm.listen, "hold_ms": 200}
        return self._start(scenario, {**usual, **what})

    def phone(self, scenario: str, **what: Any) -> Sipp:
        """Register as `service` (by default an account of its own) and take calls."""
        user = self.farm.unused_user()
        given: dict[str, Any] = {"local": self.farm.trusted(2), "service": user, **what}
        tcp = str(given.get("transport", "u1")).startswith("t")
        self.register(given["service"], given["local"], tcp=tcp)
        return self._start(scenario, given)

    def server(self, scenario: str, **what: Any) -> Sipp:
        """Take calls without registering, as a carrier does."""
        return self._start(scenario, {"local": self.farm.trusted(2), **what})

    def register(self, user: str, phone: HostPort, *, tcp: bool = False) -> SippResult:
        """Register a phone over UDP from its own address, so that it is reached without a flow."""
        contact = f"{phone};transport=tcp" if tcp else str(phone)
        what = {"service": user, "local": phone, "keys": {"contact": contact}}
        return self.caller("register_contact", **what).succeed()

    def _start(self, scenario: str, what: dict[str, Any]) -> Sipp:
        call = SippCall(scenario=scenario, **{"domain": DOMAIN, **what})
        return Sipp(self._children, self._folder, call)


@pytest.fixture
def peers_of(tmp_path: Path, children: Children) -> Callable[[RealFarm], Peers]:
    """SIPps against a farm; their files are in the test's folder."""
    return lambda farm: Peers(farm, children, tmp_path / "sipp")
