"""A whole farm in one process and in virtual time: members, bus, store, phones, a lossy network."""

from random import Random
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from sipfarm.base.farm_view import Incarnation, View
from sipfarm.base.records import Account, Binding, Domain
from sipfarm.base.secrets import MARK_KEY_BYTES, Secret, derive_key, farm_keys
from sipfarm.testing.bus import BusOptions, SimBus
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.memory_store import MemoryStore
from sipfarm.testing.net import Endpoint, NetOptions, SimNet
from sipfarm.testing.phone import Phone
from sipfarm.testing.sim_member import MemberOptions, SimMember, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

DOMAIN: Final = "farm.test"
FARM: Final[Endpoint] = ("10.0.0.1", 5060)
STRANGER: Final[Endpoint] = ("10.8.0.9", 5060)
BALANCER_NOTICES_MS: Final = 1_000  # that a member is gone
DIRECTORY_MS: Final = 240_000
EXPIRIES_AT_REST: Final = 64  # each forgets a bounded number of directory entries
SECRET: Final = Secret("the secret of a simulated farm")
KEYS: Final = farm_keys(SECRET)
DIRECTORY_KEY: Final = derive_key(SECRET, "directory", MARK_KEY_BYTES)


class FarmOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated farm is made of."""

    members: int = 3
    balancing: Literal["packet", "flow"] = "packet"
    net: NetOptions = NetOptions()
    bus: BusOptions = BusOptions()
    member: MemberOptions = MemberOptions()


class SimFarm:
    """The farm, its phones, and what a scenario does to them."""

    def __init__(self, seed: int, options: FarmOptions) -> None:
        self.options = options
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.net = SimNet(self.clock, self.random, options.net)
        self.bus = SimBus(self.clock, self.random, options.bus)
        self.store = MemoryStore()
        self.store.add(Domain(DOMAIN))
        self.phones: dict[str, Phone] = {}
        self.members: dict[str, SimMember] = {}
        self.past: list[SimMember] = []
        """Incarnations that are over."""
        self.disturbances = 0
        """Cuts, pauses and outages so far: what may delay or lose what members tell each other."""
        self.tamper_in: Callable[[bytes], bytes] = lambda data: data
        self.tamper_out: Callable[[bytes], bytes] = lambda data: data
        self.see: Callable[[SimMember, View], View] = lambda member, view: view
        self.see_heirs: Callable[[SimMember, View], View] = lambda member, view: view
        """With these four, faults are planted."""
        self._gone_ms: dict[str, int] = {}
        self._watchers: list[MemberWatcher] = []
        self._aors: dict[str, int] = {}
        self.net.listen(FARM, self._balance)
        self._around = Surroundings(
            clock=self.clock,
            random=self.random,
            bus=self.bus,
            store=self.store,
            keys=KEYS,
            directory_key=DIRECTORY_KEY,
            address=FARM,
            options=options.member,
            send=self._send,
            restart=self._restart,
            see=lambda member, view: self.see(member, view),
            see_heirs=lambda member, view: self.see_heirs(member, view),
        )

    def begin(self) -> None:
        """Start the members; each knows of all when this is done."""
        for index in range(self.options.members):
            self._start(f"m{index + 1}")
        for member in self.members.values():
            member.place.read_registry()
        if self.options.member.place.heartbeats:
            self.run(1_000)

    def watch(self, watcher: "MemberWatcher") -> None:
        self._watchers.append(watcher)

    # Phones.

    def phone(self, name: str, *, trusted: bool = True) -> Phone:
        """A new phone; one that is not trusted is of nobody the farm knows."""
        host = f"10.9.0.{len(self.phones) + 10}" if trusted else f"10.8.0.{len(self.phones) + 10}"
        made = Phone(name, (host, 5060), FARM, self.net, self.clock)
        self.phones[name] = made
        return made

    def account(self, name: str) -> None:
        self.store.add(Account(DOMAIN, name, "", ""))

    def bind(self, account: str, phone: Phone, q: int = 1_000) -> None:
        """A binding as if it had been registered: account → phone."""
        aor = f"sip:{account}@{DOMAIN}"
        host, port = phone.address
        self.store.bind(
            Binding(
                aor,
                phone.contact,
                phone.contact,
                f"reg@{phone.name}",
                1,
                self.clock.wall_ms() + 3_600_000,
                q=q,
                received=f"udp:{host}:{port}",
            )
        )

    # Members.

    @property
    def running(self) -> list[SimMember]:
        return [member for member in self.members.values() if member.is_running]

    def crash(self, name: str) -> None:
        """kill -9."""
        member = self.members[name]
        if member.is_running:
            member.crash()
            self.past.append(member)
            self._gone_ms[name] = self.clock.now_ms()

    def restart(self, name: str) -> None:
        """Start it again where it does not run: a new epoch."""
        if not self.members[name].is_running and not self.store.is_away:
            self._start(name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self.disturbances += 1
        self.members[name].pause()
        self._gone_ms[name] = self.clock.now_ms()

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._gone_ms.pop(name, None)
        self.members[name].resume()

    def drain(self, name: str, draining: bool = True) -> None:
        self.members[name].place.is_draining = draining

    def cut(self, one: str, other: str) -> None:
        self.disturbances += 1
        self.bus.cut(self.members[one].record.number, self.members[other].record.number)

    def heal(self, one: str, other: str) -> None:
        self.bus.heal(self.members[one].record.number, self.members[other].record.number)

    def store_away(self, away: bool) -> None:
        self.disturbances += 1
        self.store.is_away = away

    def _start(self, name: str) -> None:
        member = SimMember(name, self._around)
        member.sent_to = self._told
        self.members[name] = member
        self._gone_ms.pop(name, None)
        member.place.begin()

    def _restart(self, member: SimMember) -> None:
        """A member found itself tombstoned: it drops everything and joins anew."""
        self.crash(member.name)
        self.clock.call_later(1, lambda: self.restart(member.name))

    # Time.

    def run(self, duration_ms: int) -> None:
        self.clock.run_until(self.clock.now_ms() + duration_ms)

    def run_until_quiet(self, limit_ms: int) -> bool:
        """Freeze the view, and let everything come to its end; False when it does not."""
        self.bus.is_frozen = True
        for member in self.running:
            member.place.freeze()
        return self.clock.run_until_quiet(self.clock.now_ms() + limit_ms)

    def outlive_directories(self) -> None:
        """Let the time pass in which directory entries are kept."""
        self.run(DIRECTORY_MS + 1_000)
        for member in self.running:
            for _ in range(EXPIRIES_AT_REST):
                member.expire()

    def end_silent_calls(self) -> int:
        """What silent media do to calls whose BYE never came; how many there were."""
        return sum([member.end_calls("silence") for member in self.running])

    # Between members and network.

    def _balance(self, data: bytes, source: Endpoint) -> None:
        """Give a datagram to a member: any, or the one of its flow."""
        now_ms = self.clock.now_ms()
        names = [
            name
            for name in self.members
            if now_ms - self._gone_ms.get(name, now_ms) < BALANCER_NOTICES_MS
        ]
        if not names:
            return
        if self.options.balancing == "flow":
            name = names[(hash(source[1]) + int(source[0].rpartition(".")[2])) % len(names)]
        else:
            name = names[self.random.randrange(len(names))]
        self.members[name].receive(self.tamper_in(data), source)

    def _send(self, member: SimMember, destination: Endpoint, data: bytes) -> None:
        data = self.tamper_out(data)
        for watcher in self._watchers:
            watcher.datagram(member, destination, data)
        self.net.send(FARM, destination, data)

    def _told(self, member: SimMember, number: int, payload: bytes) -> None:
        for watcher in self._watchers:
            watcher.frames(member, number, payload)

    def lives(self, incarnation: Incarnation) -> bool:
        """Whether an incarnation runs and is not dead in the store."""
        running = any(member.incarnation == incarnation for member in self.running)
        return running and self.store.lives(incarnation)


class MemberWatcher:
    """Sees what members send; a checker is one."""

    def datagram(self, member: SimMember, destination: Endpoint, data: bytes) -> None:
        """A member sends a datagram."""

    def frames(self, member: SimMember, number: int, payload: bytes) -> None:
        """A member's engine tells another one something."""
