"""A member's face over a real store; the engine, the plane and the other members are told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
import pytest

from sipfarm import config as configuration
from sipfarm.admin.bodies import Body, RolesBody
from sipfarm.admin.face import Conflicts, NotReached, NotThere, Unfit
from sipfarm.admin.pages import CallsCursor, Page
from sipfarm.admin.views import BanView, CallView, MemberView
from sipfarm.base.farm_view import MemberInView, View, ViewState
from sipfarm.base.records import Binding, MemberRecord, RegisterUpdate
from sipfarm.base.roles import ROLES, Role
from sipfarm.cluster.io.farm_parts import FarmCounters
from sipfarm.cluster.io.link import LinkCounters
from sipfarm.cluster.io.provision import apply
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.node.demo_domain import DEMO
from sipfarm.node.face import DEAD_SHOWN_MS, Face
from sipfarm.node.inheritance import InheritanceCounters
from sipfarm.node.kept_calls import KeeperCounters
from sipfarm.node.member_metrics import (
    ENGINE_COUNTERS,
    ENGINE_GAUGES,
    PLANE_COUNTERS,
    PLANE_GAUGES,
)
from sipfarm.node.reconnection import Reconnections, ReconnectionSettings
from sipfarm.node.task_calls import TaskCallView

T = TypeVar("T")
Acting = Callable[["Fake"], Awaitable[T]]
NOW_MS = 50_000
WALL_MS = 1_800_000_000_000
SIDE = {"packets_in": 5, "bytes_in": 50, "packets_out": 4, "bytes_out": 40, "strangers": 1}
COUNTERS = {
    **dict.fromkeys([key for key, _ in (*ENGINE_COUNTERS, *ENGINE_GAUGES)], 0),
    "server_transactions": 2,
    "client_transactions": 3,
    "calls": 1,
    "drops": {"limit": 1},
    "faults": {"malformed": 1},
}
TOTALS = {**dict.fromkeys([key for key, _ in (*PLANE_COUNTERS, *PLANE_GAUGES)], 0), "streams": 6}
MEMBER_TOML = """
[farm]
secret = "a secret of a test"
store = "sqlite:farm.db"
[member]
name = "m1"
[sip]
listen = ["udp:127.0.0.1:5060"]
[bus]
listen = "127.0.0.1:7061"
[admin]
listen = "127.0.0.1:8061"
"""


class Links:
    """Other members, by their admin address."""

    def __init__(self) -> None:
        self.told: dict[str, MemberView] = {}
        self.their_calls: dict[str, list[CallView]] = {}
        self.calls_asked: list[tuple[str, int, str]] = []
        self.their_bans: dict[str, list[BanView]] = {}
        self.asked: list[str] = []
        self.commands: list[tuple[str, str, str]] = []

    async def members(self, admins: Iterable[str]) -> list[MemberView | None]:
        self.asked = list(admins)
        return [self.told.get(admin) for admin in self.asked]

    async def calls(self, admin: str, limit: int, after: str) -> Page[CallView] | None:
        self.calls_asked.append((admin, limit, after))
        theirs = self.their_calls.get(admin)
        if theirs is None:
            return None
        place = CallsCursor.of(after) or CallsCursor(int(admin[-1]))
        end = place.call + limit
        more = CallsCursor(place.member, call=end).text if end < len(theirs) else ""
        return Page(theirs[place.call : end], more)

    async def bans(self, admins: Iterable[str]) -> list[list[BanView] | None]:
        return [self.their_bans.get(admin) for admin in admins]

    async def unban(self, admins: Iterable[str], address: str) -> list[list[BanView] | None]:
        return [
            [ban for ban in self.their_bans.get(admin, []) if ban.address == address]
            for admin in admins
        ]

    async def command(
        self, admin: str, name: str, act: str, body: Body | None = None
    ) -> MemberView:
        self.commands.append((admin, name, act))
        return self.told[admin]


class Fake:
    """A member whose parts are as simple as can be, and its face."""

    def __init__(self, store: Store, record: MemberRecord) -> None:
        self.config = configuration.parse(MEMBER_TOML, "member.toml", {})
        self.clock = SimpleNamespace(now_ms=lambda: NOW_MS, wall_ms=lambda: WALL_MS)
        self.store = store
        self.record = record
        self.duty = self
        self.draining = False
        self.roles: tuple[Role, ...] = ROLES
        self.packet_log = None
        self.links = Links()
        self.forwarded: list[dict[str, Any]] = []
        self.tasks: list[Any] = []
        self.seen = View()
        self.banned: list[tuple[str, int, str]] = []
        self.engine: Any = SimpleNamespace(
            counters=lambda: COUNTERS,
            calls=lambda limit, after: [call for call in self.forwarded if call["handle"] > after][
                :limit
            ],
            bans=lambda now_ms: list(self.banned),
            unban=self._unban,
            open_flow=lambda flow, received: (2, 7, 1) if flow == "mark" else None,
        )
        self.plane: Any = SimpleNamespace(
            plane=SimpleNamespace(
                totals=lambda: TOTALS,
                stats=lambda stream: (SIDE, SIDE) if stream else None,
                socket_mode=("per_port", "no rights"),
                kernel_relay=("", "no rights"),
            ),
            pool=SimpleNamespace(free=9, resting=0, taken=0),
        )
        self.task_calls: Any = SimpleNamespace(
            count=1,
            views=lambda limit, after: [task for task in self.tasks if task.number > after][:limit],
        )
        self.keeper: Any = SimpleNamespace(counters=KeeperCounters())
        self.inheritance: Any = SimpleNamespace(counters=InheritanceCounters())
        self.streams: Any = SimpleNamespace(count=4)
        self.deciders: Any = SimpleNamespace(lane=None)
        self.forwarding: Any = SimpleNamespace(reconnections=Reconnections(ReconnectionSettings()))
        self.farm: Any = SimpleNamespace(
            counters=FarmCounters(rejoins=1), bus=SimpleNamespace(counters=LinkCounters(writes=8))
        )
        load = SimpleNamespace(loop_lag_ms=1.234, cpu=0.5, cpu_s=3.0)
        self.face = Face(self, self.links, load)

    def _unban(self, address: str, now_ms: int) -> bool:
        kept = [ban for ban in self.banned if ban[0].strip("[]") != address]
        found, self.banned = len(kept) < len(self.banned), kept
        return found

    def view(self) -> View:
        return self.seen

    def drain(self) -> None:
        self.draining = True

    def undrain(self) -> None:
        self.draining = False

    async def set_roles(self, roles: tuple[Role, ...]) -> None:
        await self.store.set_roles(self.record.number, self.record.epoch, roles, WALL_MS)
        self.roles = roles

    def names_changed(self) -> None:
        """Nothing is cached here."""

    def unbound(self, aor: str) -> None:
        """Nothing is cached here."""


@pytest.fixture
def with_member(tmp_path: Path) -> Callable[[Acting[T]], T]:
    """Run a coroutine with m1, which has just joined a farm with the demo domain."""

    def run(body: Acting[T]) -> T:
        async def live() -> T:
            async with open_store(f"sqlite:{tmp_path / 'farm.db'}") as store:
                await apply(DEMO, store)
                return await body(Fake(store, await join(store, "m1")))

        return asyncio.run(live())

    return run


def forwarded_call(handle: int) -> dict[str, Any]:
    return {
        "handle": handle,
        "call_id": "c1",
        "caller": "sip:alice@example.test",
        "callee": "sip:bob@example.test",
        "answered": False,
        "started_ms": NOW_MS - 1_500,
        "streams": [3],
    }


def task_call(number: int) -> TaskCallView:
    return TaskCallView(
        "c2", f"t{number}", "echo", "sip:a@x.test", "sip:b@x.test", True, NOW_MS, 0, number
    )


async def join(store: Store, name: str, wall_ms: int = WALL_MS) -> MemberRecord:
    return await store.join(
        name, bus=f"bus-{name}", admin=f"admin-{name}", pid=1, lease_ms=10_000, wall_ms=wall_ms
    )


def told(record: MemberRecord) -> MemberView:
    return MemberView(
        name=record.name,
        state="draining",
        incarnation=record.epoch,
        number=record.number,
        pid=record.pid,
        admin=record.admin,
        bus=record.bus,
    )


WithMember = Callable[[Acting[T]], T]


def test_a_member_shows_its_load_and_what_it_owns(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        (shown,) = await member.face.members()
        assert (shown.name, shown.state, shown.incarnation) == ("m1", "ready", member.record.epoch)
        assert shown.load is not None
        assert (shown.load.loop_lag_ms, shown.load.transactions) == (1.23, 5)
        assert (shown.load.media_streams, shown.load.media_ports_free) == (6, 9)
        assert shown.owns is not None
        assert (shown.owns.calls, shown.owns.tasks, shown.owns.flows) == (2, 1, 4)

    with_member(body)


def test_others_tell_their_state_themselves(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        other = await join(member.store, "m2")
        member.links.told[other.admin] = told(other)
        assert [shown.state for shown in await member.face.members()] == ["ready", "draining"]

    with_member(body)


def test_an_answer_of_an_earlier_life_does_not_count(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        earlier = await join(member.store, "m2")
        later = await join(member.store, "m2")
        member.links.told[earlier.admin] = told(earlier)
        (_, shown) = await member.face.members()
        assert (shown.state, shown.incarnation) == ("suspected", later.epoch)

    with_member(body)


@pytest.mark.parametrize(
    ("seen", "expected", "is_asked"),
    [
        (None, "suspected", True),
        (ViewState.READY, "suspected", True),
        (ViewState.SUSPECTED, "suspected", False),
        (ViewState.DEAD, "dead", False),
    ],
)
def test_one_that_does_not_answer_is_as_the_bus_sees_it(
    with_member: WithMember[None], seen: ViewState | None, expected: str, is_asked: bool
) -> None:
    async def body(member: Fake) -> None:
        other = await join(member.store, "m2")
        if seen is not None:
            member.seen = View((MemberInView(other.number, other.epoch, "m2", seen),))
        (_, shown) = await member.face.members()
        assert shown.state == expected
        assert member.links.asked == ([other.admin] if is_asked else [])

    with_member(body)


def test_the_dead_are_shown_for_a_while_and_who_left_is_not(
    with_member: WithMember[None],
) -> None:
    async def body(member: Fake) -> None:
        long_ago = WALL_MS - DEAD_SHOWN_MS - 60_000
        gone = {name: await join(member.store, name) for name in ("m2", "m3")}
        old = await join(member.store, "m4", long_ago)
        for dead in (gone["m2"], old):
            await member.store.tombstone(dead.number, dead.epoch, dead.lease_until_wall_ms)
        await member.store.leave(gone["m3"].number, gone["m3"].epoch, WALL_MS)
        shown = {view.name: view.state for view in await member.face.members()}
        assert shown == {"m1": "ready", "m2": "dead"}

    with_member(body)


def test_members_are_in_the_order_of_their_numbers(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        for name in ("m10", "m2"):
            await join(member.store, name)
        assert [view.name for view in await member.face.members()] == ["m1", "m2", "m10"]

    with_member(body)


def test_a_drain_reaches_the_member_that_is_named(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        other = await join(member.store, "m2")
        member.links.told[other.admin] = told(other)
        assert (await member.face.drain("m1")).state == "draining"
        assert not member.face.is_ready
        assert (await member.face.undrain("m1")).state == "ready"
        await member.face.drain("m2")
        assert member.links.commands == [(other.admin, "m2", "drain")]
        assert member.face.is_ready
        await member.store.tombstone(other.number, other.epoch, other.lease_until_wall_ms)
        with pytest.raises(NotReached, match="m2 is dead"):
            await member.face.drain("m2")
        with pytest.raises(NotThere):
            await member.face.drain("m3")

    with_member(body)


def test_calls_of_both_kinds_are_shown_with_their_media(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        member.forwarded = [forwarded_call(255)]
        member.tasks = [task_call(1)]
        forwarded, task = member.face.calls(10, "").entries
        assert (forwarded.id, forwarded.kind, forwarded.state) == ("m1-ff", "forwarded", "ringing")
        assert (forwarded.seconds, forwarded.media[0].a.packets_in) == (1.5, 5)
        assert forwarded.started == "2027-01-15T07:59:58.500+00:00"
        assert (task.kind, task.task, task.state, task.media) == ("task", "echo", "answered", ())

    with_member(body)


def test_bans_of_the_farm_are_those_of_all_who_answer(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        for name in ("m2", "m3"):
            await join(member.store, name)
        theirs = BanView(address="192.0.2.1", member="m2", fault="foreign", seconds=9)
        member.links.their_bans["admin-m2"] = [theirs]
        member.banned = [("[2001:db8::]", 1_001, "credentials"), ("192.0.2.1", 9_000, "foreign")]
        ours = [
            BanView(address="2001:db8::", member="m1", fault="credentials", seconds=2),
            BanView(address="192.0.2.1", member="m1", fault="foreign", seconds=9),
        ]
        assert list(await member.face.farm_bans()) == [*ours, theirs]
        assert list(await member.face.farm_unban("192.0.2.1")) == [ours[1], theirs]
        assert list(await member.face.farm_unban("2001:db8::")) == [ours[0]]
        assert list(await member.face.farm_unban("192.0.2.1")) == [theirs]
        assert not member.face.bans()

    with_member(body)


def test_calls_of_the_farm_are_those_of_all_who_answer(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        for name in ("m2", "m3"):
            await join(member.store, name)
        call = CallView(
            id="m2-1",
            member="m2",
            kind="forwarded",
            state="answered",
            caller="",
            callee="",
            call_id="c1",
            started="2027-01-15T08:00:00.000+00:00",
            seconds=0.0,
        )
        member.links.their_calls["admin-m2"] = [call, call]
        assert await member.face.farm_calls(10, "") == Page([call, call])
        assert (await member.face.farm_calls(1, "")).entries == [call]

    with_member(body)


def test_pages_of_the_farm_go_from_member_to_member(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        for name in ("m2", "m3", "m4"):
            await join(member.store, name)
        member.forwarded = [forwarded_call(handle) for handle in (1, 2)]
        member.tasks = []
        like = member.face.calls(1, "").entries[0]
        for name, count in (("m2", 3), ("m4", 2)):  # m3 does not answer
            member.links.their_calls[f"admin-{name}"] = [
                msgspec.structs.replace(like, id=f"{name}-{index}") for index in range(count)
            ]
        whole = ["m1-1", "m1-2", "m2-0", "m2-1", "m2-2", "m4-0", "m4-1"]
        for limit in range(1, 9):
            shown: list[str] = []
            page = Page[CallView]([], "")
            while True:
                page = await member.face.farm_calls(limit, page.next)
                assert len(page.entries) <= limit
                shown += [call.id for call in page.entries]
                if not page.next:
                    break
            assert shown == whole
        assert max(limit for _, limit, _ in member.links.calls_asked) == 6

    with_member(body)


def test_metrics_tell_the_state_of_the_farm_too(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        member.seen = View((MemberInView(2, 7, "m2", ViewState.SUSPECTED),))
        page = member.face.metrics().decode().splitlines()
        for line in (
            'sipfarm_sip_calls{member="m1"} 1.0',
            'sipfarm_sip_drops_total{member="m1",reason="limit"} 1.0',
            'sipfarm_view_members{member="m1",state="suspected"} 1.0',
            'sipfarm_view_members{member="m1",state="ready"} 0.0',
            'sipfarm_farm_rejoins_total{member="m1"} 1.0',
            'sipfarm_bus_writes_total{member="m1"} 8.0',
            'sipfarm_media_ports_free{member="m1"} 9.0',
            'sipfarm_media_sockets{member="m1",mode="per_port",reason="no rights"} 1.0',
        ):
            assert line in page

    with_member(body)


def test_registrations_come_from_the_store_with_who_holds_the_flow(
    with_member: WithMember[None],
) -> None:
    async def body(member: Fake) -> None:
        await join(member.store, "m2")
        for name, flow in (("alice", "mark"), ("bob", "")):
            aor = f"sip:{name}@example.test"
            binding = Binding(
                aor, f"sip:{name}@127.0.0.1", f"k{name}", "c", 1, WALL_MS + 60_500, flow=flow, q=500
            )
            await member.store.register(RegisterUpdate(aor, "c", 1, (binding,)), WALL_MS)
        alice, bob = (await member.face.registrations(None, 10, "")).entries
        assert (alice.aor, alice.expires_s, alice.q) == ("sip:alice@example.test", 60, 0.5)
        assert (alice.member, bob.member) == ("m2", None)
        assert len((await member.face.registrations("example.test", 1, "")).entries) == 1
        assert await member.face.registrations("other.test", 10, "") == Page([])

    with_member(body)


def test_the_last_member_with_a_role_keeps_it(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        with pytest.raises(Conflicts, match='m1 is the last member with the role "pbx"'):
            await member.face.set_roles("m1", RolesBody(roles=("edge",)))
        await join(member.store, "m2")
        shown = await member.face.set_roles("m1", RolesBody(roles=("edge",)))
        assert (shown.roles, member.face.is_ready) == (("edge",), True)
        await member.face.set_roles("m1", RolesBody(roles=("media", "pbx")))
        assert (member.roles, member.face.is_ready) == (("pbx", "media"), False)

    with_member(body)


@pytest.mark.parametrize("roles", [(), ("pbx",), ("edge", "pbx"), ("media",), ("boss",)])
def test_what_a_member_cannot_be_is_refused(
    with_member: WithMember[None], roles: tuple[str, ...]
) -> None:
    async def body(member: Fake) -> None:
        with pytest.raises(Unfit, match="roles: "):
            await member.face.set_roles("m1", RolesBody(roles=roles))

    with_member(body)


def test_any_member_may_be_asked_to_switch_another(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        other = await join(member.store, "m2")
        member.links.told[other.admin] = told(other)
        await member.face.set_roles("m2", RolesBody(roles=("edge",)))
        assert member.links.commands == [(other.admin, "m2", "roles")]

    with_member(body)


def test_domains_and_accounts_are_shown_without_secrets(with_member: WithMember[None]) -> None:
    async def body(member: Fake) -> None:
        (domain,) = await member.face.names.domains()
        assert (domain.name, domain.accounts, domain.applications) == (
            "example.test",
            3,
            ("echo",),
        )
        accounts = await member.face.names.accounts("example.test", 2)
        assert [account.aor for account in accounts] == [
            "sip:alice@example.test",
            "sip:bob@example.test",
        ]
        with pytest.raises(NotThere):
            await member.face.names.accounts("other.test", 2)

    with_member(body)
