"""A member that phones register at: the shipped parts over a real SQLite file, in virtual time."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sipfarm.base.net import Listen
from sipfarm.base.records import Account, Domain
from sipfarm.cluster.io.cell_store import CellStore, LateRegisters
from sipfarm.cluster.io.sqlite_native import open_bindings
from sipfarm.cluster.io.store_sqlite import open_sqlite
from sipfarm.config import parse
from sipfarm.native import Batch, Engine, Hop, Message, Output, PortPool
from sipfarm.node.dispatch import Dispatcher
from sipfarm.node.express import Express
from sipfarm.node.forwarding import Forwarding
from sipfarm.node.users import deciders
from sipfarm.signaling.recollection import Nobody
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.sim_users import NoNames, silent_log

HOST, PORT = "198.51.100.1", 5060
LISTENS = (f"udp:{HOST}:{PORT}", f"tcp:{HOST}:{PORT}")
CONFIG = """
[farm]
secret = "a secret of the tests' own"
store = "sqlite:farm.db"
[member]
name = "m1"
[sip]
listen = ["udp:198.51.100.1:5060", "tcp:198.51.100.1:5060"]
{sip}
[bus]
listen = "127.0.0.1:0"
[media]
address = "127.0.0.1"
ports = "20000-20099"
[admin]
listen = "127.0.0.1:0"
"""

Sent = tuple[Hop, bytes]


class RegisteringMember:
    """Its own driver: what comes goes through screen and dispatcher, what leaves is kept."""

    def __init__(
        self, store: CellStore, clock: VirtualClock, group: asyncio.TaskGroup, sip: str
    ) -> None:
        self.store, self.clock = store, clock
        self.changed: list[str] = []
        self.late: list[str] = []
        config = parse(CONFIG.format(sip=sip), "", {})
        self.engine = Engine(
            PortPool(),
            listens=[(Hop(transport, HOST, PORT), HOST, PORT) for transport in ("udp", "tcp")],
            member=1,
            epoch=1,
            mark_key=b"m" * 16,
            transaction_key=b"t" * 16,
            media="127.0.0.1",
            now_ms=clock.now_ms(),
        )
        self.out = Output()
        self._woken = asyncio.Event()
        listens = [Listen.parse(listen) for listen in LISTENS]
        self.deciders = deciders(config, store, Nobody(), 1, listens)
        self.lane = self.deciders.lane
        # No calls here: requests of no dialog are not theirs.
        calls = SimpleNamespace(receive=lambda request: False)
        users: Any = SimpleNamespace(
            registration=self.deciders.registration,
            router=self.deciders.router,
            bindings=store,
            locations=self.deciders.locations,
            forwarding=Forwarding(self.engine, self.out, {"udp": 0, "tcp": 1}),
            task_calls=calls,
        )
        self.dispatcher = Dispatcher(
            users,
            self,
            clock,
            group,
            NoNames(),
            self.changed.append,
            silent_log(),
            bound_to_receiver=config.sip.reply_via == "receiver",
        )
        self.express: Express | None = None
        if self.lane is not None:
            locations = self.deciders.locations
            self.express = Express(
                self.lane, locations, self.dispatcher, self, clock, self.late.append
            )
            loop = asyncio.get_running_loop()
            loop.add_reader(self.lane.descriptor, self.express.resolve)

    def close(self) -> None:
        if self.lane is not None:
            asyncio.get_running_loop().remove_reader(self.lane.descriptor)

    def wake(self) -> None:
        self._woken.set()

    @property
    def registered_by_lane(self) -> int:
        return 0 if self.lane is None else self.lane.counters()["registered"]

    def receive(self, *packets: tuple[bytes, Hop]) -> None:
        """What came in one turn."""
        batch = Batch()
        for wire, hop in packets:
            batch.add(wire, hop)
        self.engine.receive(batch, self.clock.now_ms(), self.out)
        times = (self.clock.now_ms(), self.clock.wall_ms())
        self.deciders.registration.screen(self.engine, self.out, *times)
        for event in self.out.take_events():
            self.dispatcher.deliver(event)

    def take_sent(self) -> list[Sent]:
        sent = [(hop, wire) for hop, wire, _ in self.out.sends()]
        self.out.clear()
        return sent

    async def settle(self) -> list[Sent]:
        """What was sent when nothing waits for the store any more."""
        async with asyncio.timeout(10):
            while self.dispatcher.waiting or (self.lane is not None and self.lane.waiting):
                self._woken.clear()
                await self._woken.wait()
        return self.take_sent()

    async def answers(self, *packets: tuple[bytes, Hop]) -> list[Sent]:
        self.receive(*packets)
        return await self.settle()


@asynccontextmanager
async def registering(
    path: Path,
    clock: VirtualClock,
    *,
    lane: bool = True,
    sip: str = "",
    timeout_s: float = 5.0,
    domain: str = "example.test",
    accounts: Sequence[Account] = (),
) -> AsyncGenerator[RegisteringMember]:
    """A member with a store in this file; without `lane` it decides on each REGISTER."""
    late = LateRegisters()
    async with (
        open_sqlite(str(path), timeout_s=timeout_s) as cells,
        open_bindings(str(path), timeout_s=timeout_s, late=late) as bindings,
        asyncio.TaskGroup() as group,
    ):
        store = CellStore(cells, bindings.register, late, bindings.writer if lane else None)
        await store.put_domain(Domain(domain), accounts)
        member = RegisteringMember(store, clock, group, sip)
        try:
            yield member
        finally:
            member.close()


def stored_bindings(path: Path) -> list[tuple[str, bytes, int]]:
    """The cells of all addresses-of-record, as they are."""
    sql = "SELECT scope, value, dead_at_wall_ms FROM cell WHERE noun = 'registration' ORDER BY 1"
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def without_to_tag(wire: bytes) -> bytes:
    """Tags are counted up in the order of the answers."""
    return re.sub(rb"(\r\nTo:[^\r]*);tag=[^\r;]*", rb"\1", wire)


def status_of(wire: bytes) -> int:
    return Message.parse(wire).status
