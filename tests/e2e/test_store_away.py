"""The store is away for ten seconds: calls and registered phones go on, and nothing is lost."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from signal import SIGSTOP
from typing import Any

import pytest

from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.plain_phone import PlainPhone
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.redis_server import RedisServer

pytestmark = pytest.mark.timeout(120)

ALL_READY = {"m1": "ready", "m2": "ready", "m3": "ready"}
PER_SECOND = 20
AWAY_S = 10
HELD_CALLS = 60
COLD_CALLS = 12
Away = Callable[[], AbstractContextManager[None]]


class Stage:
    """A farm, and how its store goes away."""

    def __init__(self, farm: RealFarm, away: Away) -> None:
        self.farm = farm
        self.away = away
        farm.wait_for(ALL_READY, 20.0)
        PacketBalancer(farm.listen, farm.pids).at_random()
        self._lives = self.lives()

    def lives(self) -> dict[str, int]:
        return {member.name: member.incarnation for member in self.farm.members("m1")}

    def check_nobody_taken_over(self) -> None:
        for name in self.farm.names:
            assert {member.name: member.state for member in self.farm.members(name)} == ALL_READY
            assert not self.farm.metrics(name)["sipfarm_farm_tombstones"]
        assert self.lives() == self._lives


@pytest.fixture(scope="module")
def on_redis(
    start_farm: Callable[..., RealFarm], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))

    @contextmanager
    def away() -> Iterator[None]:
        server.child.send(SIGSTOP)
        yield
        server.kill()
        server.start()

    with ExitStack() as stack:
        stack.callback(server.end)
        farm = start_farm(members=3, store=server.url)
        yield Stage(farm, away)
        farm.end()


@pytest.fixture(scope="module")
def on_sqlite(start_farm: Callable[..., RealFarm]) -> Iterator[Stage]:
    farm = start_farm(members=3)

    @contextmanager
    def away() -> Iterator[None]:
        with closing(sqlite3.connect(farm.folder / "farm.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    yield Stage(farm, away)
    farm.end()


@pytest.fixture(params=["redis", "sqlite"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.getfixturevalue(f"on_{request.param}")


def test_calls_and_registered_phones_go_on_while_the_store_is_away(
    stage: Stage, peers_of: Callable[[RealFarm], Any], tmp_path: Path
) -> None:
    farm = stage.farm
    peers = peers_of(farm)
    busy = peers.phone("call_uas", calls=0)
    never_called = peers.phone("call_uas", calls=COLD_CALLS, local=farm.trusted(3))
    held = peers.caller(
        "call_uac",
        service=busy.call.service,
        local=farm.trusted(4),
        calls=HELD_CALLS,
        per_second=30,
        hold_ms=6_000,
    )
    eventually(lambda: farm.total("sipfarm_sip_calls") == HELD_CALLS, "the calls stand", 10.0)
    user = farm.unused_user()
    with PlainPhone(farm.untrusted(1), farm.listen) as phone:
        assert phone.register(user, DOMAIN).status == 200
        with stage.away():
            running = peers.caller(
                "call_uac",
                service=busy.call.service,
                calls=PER_SECOND * AWAY_S,
                per_second=PER_SECOND,
                hold_ms=500,
            )
            peers.caller(
                "call_uac",
                service=never_called.call.service,
                local=farm.trusted(5),
                calls=COLD_CALLS,
                per_second=4,
            ).succeed()
            never_called.succeed()
            refused = phone.register(user, DOMAIN, "phone-2")
            assert refused.status == 503, refused.text
            assert refused.headers("Retry-After")
            held.succeed()
            running.succeed()
        assert busy.stop().failed == 0
        eventually(
            lambda: phone.register(user, DOMAIN, "phone-3").status == 200,
            "REGISTER is accepted",
            10.0,
        )
    stage.check_nobody_taken_over()
    kept = {found.contact for found in farm.registrations() if found.aor == f"sip:{user}@{DOMAIN}"}
    assert {f"sip:phone@{phone.local}", f"sip:phone-3@{phone.local}"} <= kept
    late = peers.phone("call_uas", calls=1, local=farm.trusted(6))
    peers.caller("call_uac", service=late.call.service).succeed()
    late.succeed()
    farm.wait_calls_over()
