"""A REGISTER that is done after its phone was told 503: all members look its bindings up anew."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.logs import get_log
from sipfarm.base.records import Binding, RegisterUpdate
from sipfarm.cluster.io.store import Store, StoreUnavailable, open_store
from sipfarm.config import parse
from sipfarm.node.io.edge import Edge
from sipfarm.node.io.incarnation import Incarnation
from sipfarm.signaling.lookup_cache import UNKNOWN
from sipfarm.testing.eventually import turn
from sipfarm.testing.ports import PortLease, lease_ports

AOR = "sip:alice@example.test"
PORTS_EACH = 20


@pytest.fixture
def ports() -> Iterator[PortLease]:
    with lease_ports(2 * PORTS_EACH) as lease:
        yield lease


@asynccontextmanager
async def living(
    store: Store, name: str, first_port: int, folder: Path
) -> AsyncIterator[Incarnation]:
    """A member of this process, while inside."""
    config = parse(
        f"""
        [farm]
        secret = "{"of this test " * 4}"
        store = "sqlite:farm.db"
        [member]
        name = "{name}"
        [sip]
        listen = ["udp:127.0.0.1:{first_port}"]
        [bus]
        listen = "127.0.0.1:{first_port + 1}"
        [admin]
        listen = "127.0.0.1:{first_port + 2}"
        [media]
        address = "127.0.0.1"
        ports = "{first_port + 4}-{first_port + PORTS_EACH - 1}"
        """,
        "member.toml",
        {},
        folder,
    )
    edge = Edge(config.sip.listen)
    edge.bind()
    life = Incarnation(config, SystemClock(), get_log(), store, edge, config.member.roles)
    began, over = asyncio.Event(), asyncio.Event()

    async def live(life: Incarnation) -> None:
        await over.wait()
        await life.leave()

    async with asyncio.TaskGroup() as group:
        group.create_task(life.run(began.set, live))
        await began.wait()
        try:
            yield life
        finally:
            over.set()
    edge.close()


def test_what_all_members_know_of_the_phone_is_forgotten(tmp_path: Path, ports: PortLease) -> None:
    binding = Binding(AOR, "sip:alice@192.0.2.1", "c", "x", 1, 2**53)

    async def body() -> None:
        url = f"sqlite:{tmp_path / 'farm.db'}"
        async with (
            asyncio.timeout(20),
            open_store(url) as store,
            open_store(url) as of_other,
            living(store, "m1", ports.first, tmp_path) as member,
            living(of_other, "m2", ports.first + PORTS_EACH, tmp_path) as other,
        ):
            while not (member.farm.bus.linked and other.farm.bus.linked):
                await turn()
            for life in (member, other):
                life.deciders.locations.put(AOR, (), life.clock.now_ms())
            given_up = store.register(RegisterUpdate(AOR, "x", 1, (binding,)), 0)
            assert isinstance(given_up, asyncio.Future)
            given_up.set_exception(StoreUnavailable("no answer in time"))
            with pytest.raises(StoreUnavailable):
                await given_up
            for life in (member, other):
                while life.deciders.locations.peek(AOR, life.clock.now_ms()) is not UNKNOWN:
                    await turn()
                found = await life.deciders.locations.fetch(AOR, life.clock.now_ms(), 0)
                assert found == (binding,)

    asyncio.run(body())
