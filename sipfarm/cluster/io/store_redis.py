"""Cells in Redis (6 or newer): the store across machines.

The cells of a noun in a scope are the fields of one hash, `FARM:NOUN:{SCOPE}`; the braces keep a
scope on one node of a Redis Cluster. A change reads its cells, decides here, and is written by one
Lua script that first compares what was read with what is there: so the decision is the same code as
for SQLite, and the write is atomic. If another member came first, it is decided again on the new
values.

A hash expires by itself once everything in it is dead, so there is nothing to purge.

Durability is the server's: `appendonly yes` loses at most the last two seconds with the default
`appendfsync everysec` (a slow disk puts even the write off), nothing with `always`; a failover to a
replica loses what had not reached it.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from sipfarm.base.errors import StartError, UsageError
from sipfarm.base.records import RegisterOutcome, RegisterUpdate
from sipfarm.cluster import registration
from sipfarm.cluster.io.cell_store import REGISTRATION
from sipfarm.cluster.io.cells import (
    CellKey,
    Decide,
    Delete,
    Page,
    Put,
    R,
    StoreUnavailable,
    Values,
    Verdict,
    Write,
    check_keys,
)
from sipfarm.cluster.io.redis_client import client_of, shown
from sipfarm.cluster.io.redis_pipe import UNREACHABLE, Command, RedisPipe

VERSION_MIN: Final = 6
ATTEMPTS_MAX: Final = 64  # each lost race means that another member's change went through
GREETING_S: Final = 5.0
GRACE_MS: Final = (
    60_000  # dead values stay this long: members' clocks differ, and may differ from the server's
)

_CURSOR: Final = re.compile(r"[0-9]{1,20}")

# KEYS: the hashes. ARGV: for each cell: which hash, field, what was read, what to write, how long
# it lives in ms (0: until deleted). What was read is "-" (nothing) or "=" and the value; what to
# write is "" (leave it), "-" (delete) or "=" and the value. Answers nil when written, else the
# values that are there instead.
_SWAP: Final = """
local changed = false
for i = 1, #ARGV, 5 do
  local there = redis.call('HGET', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
  if (there and '=' .. there or '-') ~= ARGV[i + 2] then changed = true break end
end
if changed then
  local now = {}
  for i = 1, #ARGV, 5 do
    now[#now + 1] = redis.call('HGET', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
  end
  return now
end
for i = 1, #ARGV, 5 do
  local key, write = KEYS[tonumber(ARGV[i])], ARGV[i + 3]
  if write == '-' then
    redis.call('HDEL', key, ARGV[i + 1])
  elseif write ~= '' then
    local lifetime = redis.call('PTTL', key)
    redis.call('HSET', key, ARGV[i + 1], string.sub(write, 2))
    local lives = tonumber(ARGV[i + 4])
    if lives == 0 then
      if lifetime >= 0 then redis.call('PERSIST', key) end
    elseif lifetime ~= -1 then
      redis.call('PEXPIRE', key, math.max(lifetime, lives))
    end
  end
end
return nil
"""


class RedisCells:
    """Implements Cells over coalesced commands."""

    def __init__(self, pipe: RedisPipe, prefix: str, swap_sha: str, joins_scopes: bool) -> None:
        self.joins_scopes: Final = joins_scopes
        self._pipe = pipe
        self._prefix = prefix
        self._swap_sha = swap_sha

    async def read(self, keys: Sequence[CellKey]) -> list[bytes | None]:
        if not keys:
            return []
        check_keys(keys)
        return await self._pipe.ask([("HGET", self._hash(key), key.name) for key in keys])

    async def scan(self, noun: str, scope: str) -> dict[str, bytes]:
        key = CellKey(noun, scope, "")
        check_keys((key,))
        (found,) = await self._pipe.ask([("HGETALL", self._hash(key))])
        return {name.decode(): value for name, value in _pairs(found)}

    async def page(self, noun: str, scope: str, cursor: str, count: int) -> Page:
        key = CellKey(noun, scope, "")
        check_keys((key,))
        if cursor and not (_CURSOR.fullmatch(cursor) and int(cursor) < 1 << 64):
            raise UsageError("a place in a hash is a number of 64 bits")
        command = ("HSCAN", self._hash(key), cursor or "0", "COUNT", count)
        ((after, found),) = await self._pipe.ask([command])
        cells = {name.decode(): value for name, value in _pairs(found)}
        return Page(cells, "" if int(after) == 0 else str(int(after)))

    async def count(self, noun: str, scope: str) -> int:
        key = CellKey(noun, scope, "")
        check_keys((key,))
        (count,) = await self._pipe.ask([("HLEN", self._hash(key))])
        return count

    async def transact(
        self,
        keys: Sequence[CellKey],
        decide: Decide[R],
        late: Callable[[], None] | None = None,
    ) -> R:
        """`late` is called where it was given up and may have been done all the same."""
        values: Values = await self.read(keys)
        for _ in range(ATTEMPTS_MAX):
            writes, result = decide(values)
            if all(write is None for write in writes):
                return result
            (there,) = await self._pipe.ask([self._swap(keys, values, writes)], late)
            if there is None:
                return result
            values = there
        raise StoreUnavailable(f"{keys[0].scope}: changed by others all the time")

    async def purge(self, wall_ms: int, limit: int) -> int:
        return 0  # Redis does so itself

    def _hash(self, key: CellKey) -> str:
        return f"{self._prefix}{key.noun}:{{{_escape(key.scope)}}}"

    def _swap(
        self, keys: Sequence[CellKey], values: Values, writes: Sequence[Write | None]
    ) -> Command:
        hashes = {
            name: place for place, name in enumerate(dict.fromkeys(map(self._hash, keys)), start=1)
        }
        arguments: list[str | bytes | int] = []
        for key, value, write in zip(keys, values, writes, strict=True):
            arguments += (
                hashes[self._hash(key)],
                key.name,
                b"-" if value is None else b"=" + value,
            )
            arguments += _written(write)
        return ("EVALSHA", self._swap_sha, len(hashes), *hashes, *arguments)


class RedisBindings:
    """Register updates as changes of their cells. `late` is told of an address-of-record whose
    update may have been done after it had been given up.
    """

    def __init__(self, cells: RedisCells, late: Callable[[str], None]) -> None:
        self._cells = cells
        self._late = late

    def register(self, update: RegisterUpdate, wall_ms: int) -> Awaitable[RegisterOutcome]:
        """Apply a REGISTER atomically."""

        def decide(values: Values) -> Verdict[RegisterOutcome]:
            done = registration.register(values[0], update, wall_ms)
            write = None if done.value is None else Put(done.value, done.dead_at_wall_ms, wall_ms)
            return (write,), done.outcome

        key = CellKey(REGISTRATION, update.aor, "")
        return self._cells.transact((key,), decide, partial(self._late, update.aor))


@asynccontextmanager
async def open_redis(url: str, *, farm: str, timeout_s: float) -> AsyncGenerator[RedisCells]:
    """Connect to the server or cluster and keep its pipe running; StartError says why it cannot be
    used.
    """
    async with client_of(url, timeout_s) as client:
        pipe = RedisPipe(client, timeout_s)
        swap_sha = await _greet(client, pipe, url)
        async with pipe.running():
            joins_scopes = not isinstance(client, RedisCluster)
            yield RedisCells(pipe, f"{farm}:", swap_sha, joins_scopes)


async def _greet(client: Redis | RedisCluster, pipe: RedisPipe, url: str) -> str:
    try:
        async with asyncio.timeout(GREETING_S):
            info = await client.info("server")  # pyright: ignore[reportUnknownMemberType]
        if "redis_version" not in info:  # a cluster answers for each node
            info = next(iter(info.values()))
        version = str(info["redis_version"])
        if int(version.split(".")[0]) < VERSION_MIN:
            raise StartError(
                f"store {shown(url)}: Redis {version} is too old, {VERSION_MIN} or newer is needed"
            )
        return await pipe.load(_SWAP)
    except UNREACHABLE as error:
        raise StartError(f"store {shown(url)}: {error or type(error).__name__}") from error


def _escape(scope: str) -> str:
    return scope.replace("%", "%25").replace("{", "%7b").replace("}", "%7d")


def _written(write: Write | None) -> tuple[bytes, int]:
    if write is None:
        return b"", 0
    if isinstance(write, Delete):
        return b"-", 0
    if not write.dead_at_wall_ms:
        return b"=" + write.value, 0
    return b"=" + write.value, max(write.dead_at_wall_ms - write.wall_ms, 0) + GRACE_MS


def _pairs(found: "dict[bytes, bytes] | list[bytes]") -> list[tuple[bytes, bytes]]:
    """A hash as it comes through a pipeline: a dictionary, or a flat list."""
    if isinstance(found, dict):
        return list(found.items())
    return list(zip(found[::2], found[1::2], strict=True))
