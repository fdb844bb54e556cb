"""The supervisor of `sipfarm run`: keeps the members of one machine running, and ends them."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort
from sipfarm.node.io.child_member import ChildMember
from sipfarm.node.restarts import Restarts

SILENT_S: Final = 2.0
"""A member whose loop says nothing for so long is killed."""
START_S: Final = 60.0
"""A member that is not ready after so long is killed."""
LOOK_S: Final = 0.2
KILL_AFTER_S: Final = 3.0  # after it was told to stop at once


class SupervisedMember(msgspec.Struct, frozen=True):
    """What is needed to start a member, again and again."""

    name: str
    file: Path
    admin: HostPort


class SupervisorSettings(msgspec.Struct, frozen=True, kw_only=True):
    restart: bool = True
    """Else members are left to themselves: a silent one is not killed, a dead one stays dead."""
    options: tuple[str, ...] = ()
    """Further options of each member's command line."""
    drain_s: float = 300.0
    """The members end by themselves within so long of the first SIGTERM."""


class Supervisor:
    """Runs one farm. Signals come to it alone; it passes them on."""

    def __init__(
        self,
        members: Sequence[SupervisedMember],
        settings: SupervisorSettings,
        log: FilteringBoundLogger,
    ) -> None:
        self.members = tuple(members)
        self.restarts = {member.name: Restarts() for member in members}
        self._settings = settings
        self._log = log
        self._children: dict[str, ChildMember] = {}
        self._all_ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._signals = 0
        self._failure = ""

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def ready_members(self) -> tuple[SupervisedMember, ...]:
        """Those that said they are ready and still run."""
        return tuple(
            member
            for member in self.members
            if (child := self._children.get(member.name)) is not None and child.ready
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until told to stop. `ready` is called when all members are ready for the first time.

        StartError if one cannot start, or if none is left that would be started again.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                tell = group.create_task(self._tell_ready(ready))
                async with asyncio.TaskGroup() as keepers:
                    for member in self.members:
                        keepers.create_task(self._keep(member))
                watch.cancel()
                tell.cancel()
        finally:
            self._send(signal.SIGKILL)
        if self._failure:
            raise StartError(self._failure)
        if not self.stopping:
            raise StartError("all members have ended")

    def _signalled(self) -> None:
        self._signals += 1
        self._stop.set()
        self._log.info("farm_stopping", at_once=self._signals > 1)
        self._send(signal.SIGTERM)
        wait_s = KILL_AFTER_S if self._signals > 1 else self._settings.drain_s + KILL_AFTER_S
        asyncio.get_running_loop().call_later(wait_s, self._send, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for child in self._children.values():
            child.send(number)

    async def _tell_ready(self, ready: Callable[[], None]) -> None:
        await self._all_ready.wait()
        ready()

    def _member_ready(self, child: ChildMember) -> None:
        self._log.info("member_ready", member=child.name, pid=child.pid)
        if len(self.ready_members) == len(self.members):
            self._all_ready.set()

    async def _keep(self, member: SupervisedMember) -> None:
        """Keep one member running until the farm stops."""
        loop = asyncio.get_running_loop()
        restarts = self.restarts[member.name]
        while not self.stopping:
            child = ChildMember(member.name, self._member_ready)
            status = await self._run_once(child, member)
            if self.stopping:
                return
            if not self._all_ready.is_set():
                self._give_up(child, status)
                return
            self._log.warning(
                "member_ended", member=member.name, status=status, reason=child.failure
            )
            if not self._settings.restart:
                return
            delay_ms = restarts.delay_ms(int((loop.time() - child.started_at_s) * 1_000))
            await self._pause(delay_ms / 1_000)
            if not self.stopping:
                self._log.info("member_restarted", member=member.name, count=restarts.count)

    async def _run_once(self, child: ChildMember, member: SupervisedMember) -> int:
        """Start a member and wait for its end."""
        try:
            await child.start(member.file, self._settings.options, sys.stderr.fileno())
        except OSError as error:
            child.failure = f"member {member.name} cannot be started: {error.strerror}"
            return 1
        self._children[member.name] = child
        if self._signals:  # came while it was being started
            child.send(signal.SIGTERM)
        status = await child.ended()
        del self._children[member.name]
        return status

    def _give_up(self, child: ChildMember, status: int) -> None:
        """A farm whose members cannot all start does not start."""
        how = f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"
        self._failure = self._failure or child.failure or f"member {child.name} {how} at its start"
        self._stop.set()
        self._send(signal.SIGKILL)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _watch(self) -> None:
        """Kill members whose loop is silent. Silence while this process stood says nothing."""
        loop = asyncio.get_running_loop()
        looked_at_s = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = loop.time()
            late = now_s - looked_at_s > 2 * LOOK_S
            looked_at_s = now_s
            for child in self._children.values():
                if late and child.heard_at_s is not None:
                    child.heard_at_s = now_s
                if self._settings.restart or not child.ready:
                    self._look_at(child, now_s)

    def _look_at(self, child: ChildMember, now_s: float) -> None:
        heard_at_s = child.heard_at_s
        if heard_at_s is not None and now_s - heard_at_s > SILENT_S:
            self._log.error("member_silent", member=child.name, pid=child.pid)
            child.heard_at_s = now_s  # said once, while it dies
        elif not child.ready and now_s - child.started_at_s > START_S:
            child.failure = f"member {child.name} was not ready within {START_S:g} s"
        else:
            return
        child.send(signal.SIGKILL)
