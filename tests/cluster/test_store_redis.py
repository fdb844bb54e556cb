"""What is Redis's own: a server that dies, hangs or forgets, and keys that expire."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sipfarm.base.errors import StartError
from sipfarm.base.records import Binding, Domain, RegisterUpdate
from sipfarm.cluster.io.cells import CellKey, Put, Values, Verdict
from sipfarm.cluster.io.store import Store, StoreUnavailable, open_store
from sipfarm.cluster.io.store_redis import RedisBindings, open_redis
from sipfarm.testing.eventually import turn
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.redis_server import RedisServer

NOW = 1_800_000_000_000
LIFE_MS = 3_600_000


def update(aor: str, cseq: int) -> RegisterUpdate:
    binding = Binding(aor, "c", "c", "x", cseq, NOW + LIFE_MS)
    return RegisterUpdate(aor, "x", cseq, (binding,))


@pytest.fixture(params=["server", "cluster"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be ill-treated."""
    server = RedisServer(tmp_path, cluster=request.param == "cluster")
    yield server
    server.end()


class Phone:
    """Registers on and on; keeps what was accepted, and how long each answer took at most."""

    def __init__(self, aor: str) -> None:
        self.aor = aor
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.slowest_s = 0.0

    async def register_once(self, store: Store) -> bool:
        self.sent += 1
        began = time.monotonic()
        try:
            outcome = await store.register(update(self.aor, self.sent), NOW)
        except StoreUnavailable:
            self.refused += 1
            await turn()
            return False
        else:
            assert outcome.status == "applied"
            self.accepted = self.sent
            return True
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    async def until(self, store: Store, *, accepted: bool) -> None:
        while await self.register_once(store) is not accepted:
            pass


@pytest.mark.slow
def test_a_server_killed_under_load_costs_bounded_errors_and_nothing_accepted(
    server: RedisServer,
) -> None:
    phones = [Phone(f"sip:{n}@x") for n in range(30)]

    async def body() -> None:
        async with open_store(server.url, timeout_s=0.5) as store:
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                for phone in phones:
                    await phone.until(store, accepted=True)
                    tasks.create_task(phone.until(store, accepted=False))
                server.child.send(signal.SIGKILL)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                for phone in phones:
                    (binding,) = await until_read(store, phone.aor)
                    assert phone.accepted <= binding.cseq <= phone.sent
                    tasks.create_task(phone.until(store, accepted=True))

    asyncio.run(body())
    assert all(phone.refused for phone in phones)
    assert max(phone.slowest_s for phone in phones) < 1.5


async def until_read(store: Store, aor: str) -> tuple[Binding, ...]:
    while True:
        try:
            return await store.bindings(aor, NOW)
        except StoreUnavailable:
            await turn()


@pytest.mark.slow
def test_a_server_that_hangs_is_waited_for_once_and_found_again(server: RedisServer) -> None:
    async def body() -> None:
        async with open_store(server.url, timeout_s=0.4) as store:
            phone = Phone("sip:a@x")
            await phone.until(store, accepted=True)
            server.child.send(signal.SIGSTOP)
            assert not await phone.register_once(store)
            assert 0.3 < phone.slowest_s < 1.0
            phone.slowest_s = 0.0
            async with asyncio.timeout(5):
                while phone.slowest_s > 0.1 or phone.refused < 20:
                    phone.slowest_s = 0.0
                    await phone.register_once(store)
            server.child.send(signal.SIGCONT)
            async with asyncio.timeout(5):
                await phone.until(store, accepted=True)

    asyncio.run(body())


def test_a_change_that_a_hanging_server_does_after_it_was_given_up_is_told(
    server: RedisServer,
) -> None:
    """The server hangs between the reading and the writing."""
    key = CellKey("registration", "sip:a@x", "")

    def decide(values: Values) -> Verdict[None]:
        server.child.send(signal.SIGSTOP)
        return (Put(b"late"),), None

    async def body() -> None:
        late = asyncio.Event()
        async with open_redis(server.url, farm="f", timeout_s=0.4) as cells:
            with pytest.raises(StoreUnavailable):
                await cells.transact((key,), decide, late.set)
            assert not late.is_set()
            server.child.send(signal.SIGCONT)
            async with asyncio.timeout(5):
                await late.wait()
            assert await cells.read((key,)) == [b"late"]

    asyncio.run(body())


def test_a_change_that_is_answered_when_nobody_waits_any_more_is_told(server: RedisServer) -> None:
    async def body() -> None:
        decided, late = asyncio.Event(), asyncio.Event()

        def decide(values: Values) -> Verdict[None]:
            server.child.send(signal.SIGSTOP)
            decided.set()
            return (Put(b"late"),), None

        async with open_redis(server.url, farm="f", timeout_s=5.0) as cells:
            key = CellKey("registration", "sip:a@x", "")
            changing = asyncio.ensure_future(cells.transact((key,), decide, late.set))
            await decided.wait()
            await turn(5)  # it is sent
            changing.cancel()
            await turn()
            assert changing.cancelled()
            assert not late.is_set()
            server.child.send(signal.SIGCONT)
            async with asyncio.timeout(4):
                await late.wait()
            assert await cells.read((key,)) == [b"late"]

    asyncio.run(body())


def test_only_what_was_given_up_is_told_late(server: RedisServer) -> None:
    async def body() -> None:
        told: list[str] = []
        async with open_redis(server.url, farm="f", timeout_s=5.0) as cells:
            bindings = RedisBindings(cells, told.append)
            registering = [bindings.register(update(f"sip:{n}@x", 1), NOW) for n in range(5)]
            outcomes = await asyncio.gather(*registering)
            assert {outcome.status for outcome in outcomes} == {"applied"}
        assert not told

    asyncio.run(body())


def test_a_server_that_forgot_the_script_is_told_again(server: RedisServer) -> None:
    async def body() -> None:
        async with open_store(server.url) as store:
            await store.register(update("sip:a@x", 1), NOW)
            with redis.Redis(port=server.port) as client:
                client.script_flush()
            outcomes = await asyncio.gather(
                *(store.register(update(f"sip:{n}@x", 2), NOW) for n in range(5))
            )
            assert {outcome.status for outcome in outcomes} == {"applied"}

    asyncio.run(body())


def test_registrations_expire_in_the_server_and_names_do_not(server: RedisServer) -> None:
    async def body() -> None:
        async with open_store(server.url, farm="f") as store:
            await store.register(update("sip:a@x", 1), NOW)
            await store.register(update("sip:a@x", 2), NOW)
            await store.put_domain(Domain("example.test"))
            with redis.Redis(port=server.port) as client:
                lifetimes = {key: client.pttl(key) for key in client.keys("f:*")}
            assert LIFE_MS < lifetimes.pop(b"f:registration:{sip:a@x}") <= LIFE_MS + 60_000
            assert set(lifetimes.values()) == {-1}

    asyncio.run(body())


def test_farms_share_a_server_without_seeing_each_other(server: RedisServer) -> None:
    async def body() -> None:
        async with open_store(server.url, farm="a") as a, open_store(server.url, farm="b") as b:
            await a.register(update("sip:a@x", 1), NOW)
            assert await b.bindings("sip:a@x", NOW) == ()

    asyncio.run(body())


def test_an_error_inside_is_the_callers_own(server: RedisServer) -> None:
    async def body() -> None:
        async with open_store(server.url):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(body())


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_server_that_is_not_there_is_one_sentence_without_the_password(scheme: str) -> None:
    async def body(port: int) -> None:
        async with open_store(f"{scheme}://user:hidden@127.0.0.1:{port}/0", timeout_s=0.5):
            raise AssertionError("it was opened")

    with lease_ports(1) as lease, pytest.raises(StartError, match=r"127\.0\.0\.1") as error:
        asyncio.run(body(lease.first))
    assert "hidden" not in str(error.value)
    assert "\n" not in str(error.value)
