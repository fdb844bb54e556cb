"""One member: it lives one incarnation after another until it is stopped, and drains before."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.logs import get_log
from sipfarm.cluster.io.store import open_store
from sipfarm.config import Config
from sipfarm.node.io.edge import Edge
from sipfarm.node.io.incarnation import Incarnation

LOOK_S: Final = 0.1  # how often a draining member looks whether it is empty


class Member:
    """A running member. SIGTERM drains it, up to the deadline; a second one stops it at once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self.log = get_log(member=config.member.name)
        self.listens = list(config.sip.listen)
        self.roles = config.member.roles
        """As they are now: a life that follows has those of the one before."""
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    async def run(self, ready: Callable[["Member"], None]) -> None:
        """Run until stopped; `ready` is called when calls can come in. Raises StartError."""
        config = self.config
        loop = asyncio.get_running_loop()
        async with open_store(config.farm.store, farm=config.farm.name) as store:
            while not self._stop.is_set():
                edge = Edge(config.sip.listen)
                if "edge" in self.roles:
                    edge.bind()
                self.listens = edge.listens
                life = Incarnation(config, self.clock, self.log, store, edge, self.roles)
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self.stop)
                try:
                    await life.run(lambda: ready(self), self._live)
                finally:
                    edge.close()
                    self.roles = life.duty.roles

    def stop(self) -> None:
        """Drain and end; called again, end at once."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def _live(self, life: Incarnation) -> None:
        """Until a tombstone or the order to stop; then until nothing is under way."""
        await _first_of(life.tombstoned, self._stop)
        if life.tombstoned.is_set():
            self.log.warning("member_begins_anew")
            return
        life.duty.drain()
        try:
            async with asyncio.timeout(self.config.member.drain_deadline_s):
                await self._until_idle(life)
        except TimeoutError:
            self.log.warning("drain_deadline_passed")
        life.task_calls.end_all()
        await life.leave()
        self.log.info("member_stopped")

    async def _until_idle(self, life: Incarnation) -> None:
        loop = asyncio.get_running_loop()
        idle = loop.create_future()

        def look() -> None:
            if life.is_idle() or self._stop_now.is_set():
                idle.set_result(None)
            else:
                loop.call_later(LOOK_S, look)

        look()
        await idle


async def _first_of(*events: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
