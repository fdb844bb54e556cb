"""A store whose Redis master dies, and Sentinel makes the replica the master."""

import asyncio
from pathlib import Path

import pytest
import redis

from sipfarm.base.errors import StartError
from sipfarm.base.records import Domain
from sipfarm.cluster.io.store import Store, StoreUnavailable, open_store
from sipfarm.testing.eventually import turn
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.redis_server import RedisServer

SENTINEL = """
port {port}
bind 127.0.0.1
sentinel monitor farm 127.0.0.1 {master} 1
sentinel down-after-milliseconds farm 300
sentinel failover-timeout farm 3000
"""


@pytest.mark.slow
def test_the_store_goes_on_at_the_new_master(tmp_path: Path, children: Children) -> None:
    for name in ("master", "replica", "sentinel"):
        (tmp_path / name).mkdir()
    master = RedisServer(tmp_path / "master")
    replica = RedisServer(tmp_path / "replica", replica_of=master.port)
    replica.child.wait_for_line("MASTER <-> REPLICA sync: Finished with success", 20)
    with lease_ports(1) as lease:
        config = tmp_path / "sentinel" / "sentinel.conf"
        config.write_text(SENTINEL.format(port=lease.first, master=master.port))
        sentinel = children.start(["redis-server", config, "--sentinel"], ready=r"\+slave slave")

        async def body() -> None:
            url = f"redis+sentinel://127.0.0.1:{lease.first}/farm"
            async with open_store(url, timeout_s=1.0) as store:
                await store.put_domain(Domain("before.test"))
                with redis.Redis(port=master.port) as client:
                    assert client.wait(1, 5_000) == 1
                await asyncio.to_thread(master.kill)
                await asyncio.to_thread(sentinel.wait_for_line, r"\+switch-master", 20)
                async with asyncio.timeout(20):
                    await put(store, Domain("after.test"))
                names = [domain.name for domain in await store.domains()]
                assert names == ["after.test", "before.test"]

        asyncio.run(body())
    replica.end()
    master.end()


async def put(store: Store, domain: Domain) -> None:
    while True:
        try:
            await store.put_domain(domain)
            return
        except StoreUnavailable:
            await turn()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://127.0.0.1:1",
        "redis+sentinel:///farm",
        "redis+sentinel://u:hidden@127.0.0.1:1/farm",
        "redis+sentinel://127.0.0.1:1/farm/x",
        "redis+sentinel://127.0.0.1:port/farm",
    ],
)
def test_a_sentinel_that_cannot_be_used_is_one_sentence(url: str) -> None:
    async def body() -> None:
        async with open_store(url, timeout_s=0.5):
            raise AssertionError("it was opened")

    with pytest.raises(StartError, match=r"store redis\+sentinel://") as error:
        asyncio.run(body())
    assert "hidden" not in str(error.value)
    assert "\n" not in str(error.value)
