"""The stores on real servers: a test runs on SQLite, on Redis and on a Redis Cluster."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sipfarm.cluster.io.store import Store, open_store
from sipfarm.testing.redis_server import RedisServer

R = TypeVar("R")
Body = Callable[[Store], Awaitable[R]]
FARMS = itertools.count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.end()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis-cluster"), cluster=True)
    yield server
    server.end()


class StoreUser:
    """Runs a coroutine with a store of its own farm open; the data stay between runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.farm = f"farm-{next(FARMS)}"

    def __call__(self, body: Body[R], timeout_s: float = 5.0) -> R:
        async def run() -> R:
            async with open_store(self.url, farm=self.farm, timeout_s=timeout_s) as store:
                return await body(store)

        return asyncio.run(run())


@pytest.fixture(params=["sqlite", "redis", "redis_cluster"])
def use_store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUser:
    if request.param == "sqlite":
        return StoreUser(f"sqlite:{tmp_path / 'farm.db'}")
    server: RedisServer = request.getfixturevalue(
        "redis_server" if request.param == "redis" else "redis_cluster"
    )
    return StoreUser(server.url)
