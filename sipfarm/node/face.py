"""The face of a member: what it shows of itself and of the farm, and the commands it takes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from sipfarm.admin.bodies import Body, RolesBody
from sipfarm.admin.face import Conflicts, NotReached, NotThere, Unfit
from sipfarm.admin.pages import CallsCursor, Page
from sipfarm.admin.views import (
    BanView,
    CallView,
    LoadView,
    MemberState,
    MemberView,
    OwnsView,
    RegistrationView,
)
from sipfarm.base.clock import Clock
from sipfarm.base.errors import StartError
from sipfarm.base.farm_view import Standing, ViewState
from sipfarm.base.records import MemberRecord
from sipfarm.base.records import MemberState as Registered
from sipfarm.base.roles import ROLES, Role, fault_of
from sipfarm.cluster.io.store import LastWithRole, Store
from sipfarm.node.calls_face import CallsOfMember
from sipfarm.node.member_metrics import Measured, member_metrics
from sipfarm.node.names_face import NamesOfFarm
from sipfarm.node.registrations_face import RegistrationsOfFarm

DEAD_SHOWN_MS: Final = 3_600_000
"""A dead member is listed for so long after its lease has ended."""


class Load(Protocol):
    """How busy the process is."""

    @property
    def loop_lag_ms(self) -> float: ...
    @property
    def cpu(self) -> float: ...
    @property
    def cpu_s(self) -> float: ...


class Links(Protocol):
    """The way to the faces of other members."""

    async def members(self, admins: Iterable[str]) -> list[MemberView | None]: ...
    async def calls(self, admin: str, limit: int, after: str) -> Page[CallView] | None: ...
    async def bans(self, admins: Iterable[str]) -> list[list[BanView] | None]: ...
    async def unban(self, admins: Iterable[str], address: str) -> list[list[BanView] | None]: ...
    async def command(
        self, admin: str, name: str, act: str, body: Body | None = None
    ) -> MemberView: ...


class Duty(Protocol):
    """What the member does now."""

    @property
    def draining(self) -> bool: ...
    @property
    def roles(self) -> tuple[Role, ...]: ...
    def drain(self) -> None: ...
    def undrain(self) -> None: ...
    async def set_roles(self, roles: tuple[Role, ...]) -> None: ...


class ShownMember(Measured, Protocol):
    """The member behind the face."""

    @property
    def record(self) -> MemberRecord: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def store(self) -> Store: ...
    @property
    def duty(self) -> Duty: ...
    def names_changed(self) -> None: ...
    def unbound(self, aor: str) -> None: ...


class Face:
    """A MemberFace of a running member."""

    def __init__(self, member: ShownMember, links: Links, load: Load) -> None:
        self._member = member
        self._links = links
        self._load = load
        self._name = member.config.member.name
        self._metrics = member_metrics(member, load)
        self.names = NamesOfFarm(member.store, member.clock.wall_ms, member)
        self._calls = CallsOfMember(member, self._name, lambda: member.record.number)
        self._registrations = RegistrationsOfFarm(
            member.store, member.clock.wall_ms, member.engine.open_flow
        )

    @property
    def is_ready(self) -> bool:
        return not self._member.duty.draining and "edge" in self._member.duty.roles

    def metrics(self) -> bytes:
        return self._metrics.render()

    def member(self) -> MemberView:
        member, record = self._member, self._member.record
        counters: Mapping[str, int] = member.engine.counters()
        transactions = counters["server_transactions"] + counters["client_transactions"]
        return MemberView(
            name=self._name,
            state="draining" if member.duty.draining else "ready",
            incarnation=record.epoch,
            number=record.number,
            pid=record.pid,
            admin=record.admin,
            bus=record.bus,
            roles=member.duty.roles,
            revision=self._standing(record).names_revision,
            load=LoadView(
                loop_lag_ms=round(self._load.loop_lag_ms, 2),
                cpu=round(self._load.cpu, 3),
                transactions=transactions,
                media_streams=member.plane.plane.totals()["streams"],
                media_ports_free=member.plane.pool.free,
            ),
            owns=OwnsView(
                calls=counters["calls"] + member.task_calls.count,
                tasks=member.task_calls.count,
                transactions=transactions,
                flows=member.streams.count,
            ),
        )

    async def members(self) -> Sequence[MemberView]:
        records = [record for record in await self._member.store.members() if self._shown(record)]
        others = [record for record in records if self._may_answer(record)]
        told = await self._links.members([record.admin for record in others])
        views = {view.number: view for view in told if view is not None}
        found = [self._view_of(record, views.get(record.number)) for record in records]
        return sorted(found, key=lambda view: (len(view.name), view.name))

    def calls(self, limit: int, after: str) -> Page[CallView]:
        return self._calls.page(limit, after)

    async def farm_calls(self, limit: int, after: str) -> Page[CallView]:
        """Member after member, by their numbers; those of a page the longest first."""
        place = CallsCursor.of(after)
        first = 0 if place is None else place.member
        asked = [record for record in await self._answering() if record.number >= first]
        found: list[CallView] = []
        following = ""
        for record in asked:
            if len(found) == limit:
                following = CallsCursor(record.number).text
                break
            begin = after if record.number == first else ""
            page = await self._calls_of(record, limit - len(found), begin)
            if page is not None:
                found += page.entries
                following = page.next
            if following:
                break
        return Page(sorted(found, key=lambda call: call.started), following)

    def bans(self) -> Sequence[BanView]:
        banned = self._member.engine.bans(self._member.clock.now_ms())
        return [
            BanView(
                address=address.strip("[]"),
                member=self._name,
                fault=fault,
                seconds=-(-left_ms // 1_000),
            )
            for address, left_ms, fault in banned
        ]

    def unban(self, address: str) -> Sequence[BanView]:
        before = self.bans()
        if not self._member.engine.unban(address, self._member.clock.now_ms()):
            return []
        after = {ban.address for ban in self.bans()}
        return [ban for ban in before if ban.address not in after]

    async def farm_bans(self) -> Sequence[BanView]:
        told = await self._links.bans(await self._others())
        return [*self.bans(), *(ban for answer in told if answer for ban in answer)]

    async def farm_unban(self, address: str) -> Sequence[BanView]:
        told = await self._links.unban(await self._others(), address)
        return [*self.unban(address), *(ban for answer in told if answer for ban in answer)]

    async def registrations(
        self, domain: str | None, limit: int, after: str
    ) -> Page[RegistrationView]:
        return await self._registrations.page(domain, limit, after)

    async def drain(self, name: str) -> MemberView:
        return await self._command(name, "drain")

    async def undrain(self, name: str) -> MemberView:
        return await self._command(name, "undrain")

    async def set_roles(self, name: str, body: RolesBody) -> MemberView:
        fault = fault_of(body.roles, by_flow=self._member.config.farm.balancing == "flow")
        if fault:
            raise Unfit(f"roles: {fault}")
        return await self._command(name, "roles", body)

    async def _set_own_roles(self, body: RolesBody) -> None:
        try:
            await self._member.duty.set_roles(tuple([role for role in ROLES if role in body.roles]))
        except (LastWithRole, StartError) as error:
            raise Conflicts(str(error)) from error

    async def _command(self, name: str, act: str, body: RolesBody | None = None) -> MemberView:
        if name == self._name:
            if body is not None:
                await self._set_own_roles(body)
            elif act == "drain":
                self._member.duty.drain()
            else:
                self._member.duty.undrain()
            return self.member()
        for record in await self._member.store.members():
            if record.name == name:
                if not self._may_answer(record):
                    raise NotReached(f"member {name} is {self._view_of(record, None).state}")
                return await self._links.command(record.admin, name, act, body)
        raise NotThere(f"there is no member {name}")

    async def _calls_of(
        self, record: MemberRecord, limit: int, after: str
    ) -> Page[CallView] | None:
        if self._is_self(record):
            return self.calls(limit, after)
        return await self._links.calls(record.admin, limit, after)

    async def _answering(self) -> list[MemberRecord]:
        """This member and those that can be asked, by their numbers."""
        records = await self._member.store.members()
        there = [record for record in records if self._is_self(record) or self._may_answer(record)]
        return sorted(there, key=lambda record: record.number)

    async def _others(self) -> list[str]:
        """Where the other members are asked."""
        return [record.admin for record in await self._answering() if not self._is_self(record)]

    def _shown(self, record: MemberRecord) -> bool:
        over_ms = self._member.clock.wall_ms() - record.lease_until_wall_ms
        return record.state is not Registered.LEFT and (
            over_ms < DEAD_SHOWN_MS or self._is_self(record) or self._may_answer(record)
        )

    def _is_self(self, record: MemberRecord) -> bool:
        return record.number == self._member.record.number

    def _may_answer(self, record: MemberRecord) -> bool:
        """Whether to ask it: one that is silent would keep the asker waiting."""
        if record.state is not Registered.ALIVE or self._is_self(record):
            return False
        seen = self._seen(record)
        return seen is None or seen in (ViewState.READY, ViewState.DRAINING)

    def _seen(self, record: MemberRecord) -> ViewState | None:
        """How this member sees an incarnation; nothing if it has not met it."""
        seen = self._member.view().member(record.number)
        return None if seen is None or seen.epoch != record.epoch else seen.state

    def _view_of(self, record: MemberRecord, told: MemberView | None) -> MemberView:
        if self._is_self(record):
            return self.member()
        if told is not None and told.incarnation == record.epoch:
            return told
        return MemberView(
            name=record.name,
            state=self._state_of_silent(record),
            incarnation=record.epoch,
            number=record.number,
            pid=record.pid,
            admin=record.admin,
            bus=record.bus,
            roles=record.roles,
            revision=self._standing(record).names_revision,
        )

    def _standing(self, record: MemberRecord) -> Standing:
        """What an incarnation says of itself; nothing yet if it was not heard."""
        seen = self._member.view().member(record.number)
        return Standing() if seen is None or seen.epoch != record.epoch else seen.standing

    def _state_of_silent(self, record: MemberRecord) -> MemberState:
        lease_over = record.lease_until_wall_ms < self._member.clock.wall_ms()
        if record.state is not Registered.ALIVE or self._seen(record) is ViewState.DEAD:
            return "dead"
        return "dead" if lease_over and self._seen(record) is None else "suspected"
