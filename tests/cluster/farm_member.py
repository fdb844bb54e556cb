"""A member's place in a farm, run for real: sockets, a store on disk, a clock that can be moved."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from sipfarm.base.farm_view import Load, View, ViewState
from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.io.logs import get_log
from sipfarm.base.records import MemberRecord
from sipfarm.base.roles import ROLES
from sipfarm.cluster.io.cells import StoreUnavailable
from sipfarm.cluster.io.farm import Farm
from sipfarm.cluster.io.farm_parts import FarmHandlers, FarmSettings, FarmStore
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.cluster.membership_outputs import MemberGone
from sipfarm.cluster.membership_settings import MembershipSettings
from tests.cluster.bus_parties import KEY, LOOPBACK, Happenings

QUICK = MembershipSettings(
    heartbeat_ms=40,
    suspect_after_ms=250,
    dead_after_ms=500,
    registry_ms=100,
    retry_ms=100,
)
"""The shipped times, several times as fast."""


class MovedClock:
    """The machine's clock, ahead by what a test says: to this process it was stopped."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._clock = SystemClock()

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.ahead_ms

    def wall_ms(self) -> int:
        return self._clock.wall_ms()


class StoreBehindADoor:
    """A real store that one member may lose sight of, or have to wait for."""

    def __init__(self, store: Store) -> None:
        self.away = False
        self.waiting = 0
        self.open = asyncio.Event()
        self.open.set()
        self._store = store

    async def join(
        self,
        name: str,
        *,
        bus: str,
        admin: str,
        pid: int,
        lease_ms: int,
        wall_ms: int,
        roles: tuple[str, ...] = ROLES,
    ) -> MemberRecord:
        self._look()
        return await self._store.join(
            name, bus=bus, admin=admin, pid=pid, lease_ms=lease_ms, wall_ms=wall_ms, roles=roles
        )

    async def set_roles(
        self, number: int, epoch: int, roles: tuple[str, ...], wall_ms: int
    ) -> bool:
        self._look()
        return await self._store.set_roles(number, epoch, roles, wall_ms)

    async def renew(self, number: int, epoch: int, lease_ms: int, wall_ms: int) -> bool:
        self._look()
        answer = await self._store.renew(number, epoch, lease_ms, wall_ms)
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return answer

    async def tombstone(self, number: int, epoch: int, lease_until_wall_ms: int) -> bool:
        self._look()
        return await self._store.tombstone(number, epoch, lease_until_wall_ms)

    async def leave(self, number: int, epoch: int, wall_ms: int) -> bool:
        self._look()
        return await self._store.leave(number, epoch, wall_ms)

    async def members(self) -> tuple[MemberRecord, ...]:
        self._look()
        return await self._store.members()

    async def names_revision(self) -> int:
        self._look()
        return await self._store.names_revision()

    def _look(self) -> None:
        if self.away:
            raise StoreUnavailable("the door is shut")


class FarmMember:
    """A Farm and what it told its node."""

    def __init__(
        self,
        happenings: Happenings,
        group: asyncio.TaskGroup,
        store: Store,
        name: str,
        times: MembershipSettings = QUICK,
    ) -> None:
        self.happenings = happenings
        self.group = group
        self.store = store
        self.clock = MovedClock()
        self.door = StoreBehindADoor(store)
        self.views: list[View] = []
        self.gone: list[MemberGone] = []
        self.packets: list[tuple[int, bytes]] = []
        self.said: list[tuple[object, ...]] = []
        self.story: list[str] = []
        self.load = Load()
        handlers = FarmHandlers(
            packets=self._packets,
            invalidate=lambda number, what, key: self._say(number, what, key),
            event=lambda number, event, body: self._say(number, event, body),
            rpc=self._rpc,
            load=lambda: self.load,
            view_changed=self._view_changed,
            names_changed=lambda revision: self._say("names", revision),
            member_gone=self._member_gone,
            link_up=lambda number: self._say("up", number),
            link_down=lambda number: self._say("down", number),
            tombstoned=self._tombstoned,
            rejoined=lambda record: self._tell(f"rejoined {record.epoch}"),
        )
        settings = FarmSettings(farm="farm", name=name, admin="", pid=1, membership=times)
        store_seen: FarmStore = self.door
        self.farm = Farm(
            group,
            store_seen,
            self.clock,
            SystemEntropy(),
            get_log(member=name),
            settings,
            handlers,
            keys=(KEY,),
        )

    @property
    def number(self) -> int:
        return self.farm.record.number

    async def begin(self) -> "FarmMember":
        await self.farm.join(LOOPBACK)
        await self.farm.start()
        return self

    def states(self) -> list[ViewState]:
        return [member.state for member in self.farm.view().members]

    def revisions(self) -> list[int]:
        """Of the names, as each member says."""
        return [member.standing.names_revision for member in self.farm.view().members]

    def sees_ready(self, *others: "FarmMember") -> bool:
        """Whether its view is of exactly these, all ready."""
        expected = sorted((*other.farm.membership.incarnation, ViewState.READY) for other in others)
        members = self.farm.view().live()
        return [(*member.incarnation, member.state) for member in members] == expected

    def _packets(self, number: int, payloads: Sequence[bytes]) -> None:
        self.packets += [(number, payload) for payload in payloads]
        self.happenings.note()

    async def _rpc(self, method: str, arguments: bytes, number: int) -> bytes:
        self._say(number, method, arguments)
        return b"done"

    def _view_changed(self, view: View) -> None:
        self.views.append(view)
        self.happenings.note()

    def _member_gone(self, gone: MemberGone) -> None:
        self.gone.append(gone)
        self.happenings.note()

    async def _tombstoned(self) -> None:
        self._tell("dropped everything")

    def _tell(self, event: str) -> None:
        self.story.append(event)
        self.happenings.note()

    def _say(self, *said: object) -> None:
        self.said.append(said)
        self.happenings.note()


@asynccontextmanager
async def farm_of(
    url: str, *names: str, times: MembershipSettings = QUICK
) -> AsyncIterator[tuple[Happenings, list[FarmMember]]]:
    """Members that see each other; all is ended after the block."""
    happenings = Happenings()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(url, farm="farm"))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        members = [FarmMember(happenings, group, store, name, times) for name in names]
        for member in members:
            stack.callback(member.farm.close)
            await member.begin()
        await happenings.until(lambda: all(member.sees_ready(*members) for member in members))
        yield happenings, members
