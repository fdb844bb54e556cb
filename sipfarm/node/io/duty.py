"""What a member does now: whether it drains, and its roles; both change while calls go on."""

import asyncio

from structlog.typing import FilteringBoundLogger

from sipfarm.base.errors import StartError
from sipfarm.base.roles import Role
from sipfarm.cluster.io.farm import Farm
from sipfarm.cluster.wire import OwnState
from sipfarm.node.io.edge import HALF_OPEN_S, Edge
from sipfarm.signaling.io.driver import Driver
from sipfarm.signaling.io.streams import Streams


class Duty:
    """Of one life, which is told by `begin` that all it stands on is there. The farm tells the
    others, and this member's own engine, of each change.
    """

    def __init__(self, edge: Edge, roles: tuple[Role, ...], log: FilteringBoundLogger) -> None:
        self.draining = False
        self.roles = roles
        self._edge = edge
        self._log = log
        self._switching = asyncio.Lock()
        self._holding_back: asyncio.TimerHandle | None = None

    async def begin(
        self, group: asyncio.TaskGroup, farm: Farm, driver: Driver, streams: Streams
    ) -> None:
        """Take what comes in from now on. Raises StartError."""
        self._group = group
        self._farm = farm
        self._driver = driver
        self._streams = streams
        await self._edge.read(driver, streams)

    @property
    def is_holding_back(self) -> bool:
        """Whether connections that have begun may still be accepted."""
        return self._holding_back is not None

    def drain(self) -> None:
        """Take no new work."""
        if self.draining:
            return
        self.draining = True
        self._farm.set_state(OwnState.DRAINING)
        self._log.info("member_draining")
        self._streams.close_idle()
        self._edge.hold_back()
        loop = asyncio.get_running_loop()
        self._holding_back = loop.call_later(HALF_OPEN_S, self._stop_accepting)

    def undrain(self) -> None:
        if not self.draining:
            return
        self.draining = False
        self._farm.set_state(OwnState.READY)
        self._log.info("member_undrained")
        if self._edge.is_open:
            self._streams.keep_idle()
        self.close()
        self._group.create_task(self._accept_again())

    async def set_roles(self, roles: tuple[Role, ...]) -> None:
        """Be something else from now on; what runs goes on. Raises StartError where the addresses
        cannot be bound, LastWithRole, StoreUnavailable: nothing has changed then.
        """
        async with self._switching:
            gains_edge = "edge" in roles and not self._edge.is_open
            if gains_edge:
                self._edge.bind()
            try:
                await self._farm.set_roles(roles)
            except BaseException:
                if gains_edge:
                    self._edge.close()
                raise
            self._log.info("roles_changed", before=self.roles, roles=roles)
            self.roles = roles
            if gains_edge:
                if not self.draining:
                    self._streams.keep_idle()
                await self._edge.read(self._driver, self._streams)
                if self.draining:
                    self._edge.hold_back()
                    self._edge.stop_accepting(self._streams)
            elif "edge" not in roles and self._edge.is_open:
                await self._edge.give_up(self._driver, self._streams)

    def leave_group(self) -> None:
        """Get no packet any more, and work on what is queued."""
        self._edge.leave_group(self._driver)

    def close(self) -> None:
        """Hold nothing back any more."""
        if self._holding_back is not None:
            self._holding_back.cancel()
            self._holding_back = None

    def _stop_accepting(self) -> None:
        """What had begun when the draining did is accepted now; the other members get the rest."""
        self._holding_back = None
        self._edge.stop_accepting(self._streams)
        self._streams.close_idle()

    async def _accept_again(self) -> None:
        try:
            await self._edge.accept_again(self._streams)
        except StartError as error:
            self._log.error("listening_failed", reason=str(error))
