"""Clients of a Redis server, of a Redis Cluster, or of the master that Sentinel names."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from sipfarm.base.errors import StartError

SENTINEL_PORT: Final = 26_379


@asynccontextmanager
async def client_of(url: str, timeout_s: float) -> AsyncGenerator[Redis | RedisCluster]:
    """A client for the URL, closed at the end; nothing is connected before its first command.

    A lost connection is made again at once, once: it may have died long ago, unseen.
    """
    retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    try:
        clients = _clients(url, timeout_s, retry)
    except ValueError as error:
        raise StartError(f"store {shown(url)}: {error}") from error
    async with AsyncExitStack() as closing:
        for client in clients:
            closing.push_async_callback(client.aclose)
        yield clients[0]


def shown(url: str) -> str:
    """The URL without its password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _clients(url: str, timeout_s: float, retry: Retry) -> list[Redis | RedisCluster]:
    """The client to use, and those it uses itself."""
    if url.startswith("redis+sentinel://"):
        return _sentinel_clients(url, timeout_s, retry)
    if url.startswith("redis+cluster://"):
        plain = url.replace("redis+cluster://", "redis://", 1)
        return [
            RedisCluster.from_url(
                plain, retry=retry, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
            )
        ]
    client: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        retry=retry,
        max_connections=4,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    return [client]


def _sentinel_clients(url: str, timeout_s: float, retry: Retry) -> list[Redis | RedisCluster]:
    """`redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/MASTER[/DATABASE]`."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    master, _, database = parts.path.strip("/").partition("/")
    if not hosts or not master:
        raise ValueError("allowed is redis+sentinel://HOST:PORT,…/MASTER[/DATABASE]")
    limits: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
    }
    sentinel = Sentinel(
        [_host_and_port(host) for host in hosts.split(",")],
        sentinel_kwargs=limits,
        **limits,
    )
    client = sentinel.master_for(  # pyright: ignore[reportUnknownMemberType]
        master,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
    )
    return [client, *sentinel.sentinels]


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"no host in {text!r}")
    return parts.hostname, parts.port or SENTINEL_PORT
