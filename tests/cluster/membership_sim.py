"""A farm of memberships in virtual time: a lossy network, a registry, and what may go wrong.

The network carries heartbeats only; the registry runs the shipped functions of `cluster.registry`.
What must hold at any time is checked where it may break.
"""

import heapq
import random
from collections.abc import Callable, Sequence

from sipfarm.base.farm_view import Incarnation, Load, ViewState
from sipfarm.base.records import MemberRecord, MemberState
from sipfarm.cluster import registry
from sipfarm.cluster.membership import Membership
from sipfarm.cluster.membership_outputs import (
    GoneFor,
    MemberGone,
    Output,
    ReadRegistry,
    SelfTombstoned,
    TryTombstone,
)
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.cluster.wire import Heartbeat, OwnState

LEASE_MS = 10_000
WALL_MS = 1_800_000_000_000
LATENCY_MS = (1, 25)
RIGHT_WITHIN_MS = 2_500
SETTINGS = MembershipSettings()


class SimMember:
    """One process: it runs, is stopped, or is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.membership: Membership | None = None
        self.alive = True
        self.stopped = False
        self.waiting: list[Callable[[], None]] = []
        self.store_reachable = True
        self.state = OwnState.READY
        self.ran_ms = 0
        self.doubted = False
        self.doubts = 0
        self.renewed_ms = -LEASE_MS
        self.reading = False
        self.joined_ms = 0
        self.disturbed_ms = 0
        self.gone: set[Incarnation] = set()
        self.life = 0

    @property
    def acts(self) -> bool:
        """Whether it works on packets now."""
        return self.alive and not self.stopped and self.membership is not None and not self.doubted

    @property
    def incarnation(self) -> Incarnation:
        assert self.membership is not None
        return self.membership.incarnation


class SimFarm:
    """Members, network and registry; everything by one seed."""

    def __init__(self, seed: int, members: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = 1_000
        self.records: dict[int, MemberRecord] = {}
        self.cut: set[frozenset[str]] = set()
        self.loss = 0.0
        self.store_away = False
        self.store_changed_ms = 0
        self.tombstoned: dict[Incarnation, int] = {}
        self.kills: list[tuple[int, Incarnation, int]] = []
        self.members: dict[str, SimMember] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        for number in range(1, members + 1):
            self.start(f"m{number}")
            self.run(2 * LATENCY_MS[1])

    # What a scenario does.

    def start(self, name: str) -> None:
        """Begin a process of that name; an earlier one must be dead."""
        member = self.members[name] = SimMember(name)
        self._join(member)

    def kill(self, name: str) -> None:
        member = self.members[name]
        if member.alive and member.membership is not None and not member.stopped:
            self.kills.append((self.now_ms, member.incarnation, member.joined_ms))
        member.alive = False
        member.waiting.clear()

    def stop(self, name: str) -> None:
        self.members[name].stopped = True

    def wake(self, name: str) -> None:
        member = self.members[name]
        member.stopped = False
        member.disturbed_ms = self.now_ms
        waiting, member.waiting = member.waiting, []
        self.random.shuffle(waiting)
        for action in waiting:
            self._at(0, member, action)

    def cut_between(self, one: str, other: str, *, cut: bool) -> None:
        (self.cut.add if cut else self.cut.discard)(frozenset((one, other)))

    def cut_store(self, name: str, *, cut: bool) -> None:
        self.members[name].store_reachable = not cut
        self.members[name].disturbed_ms = self.now_ms

    def set_store_away(self, away: bool) -> None:
        self.store_away = away
        self.store_changed_ms = self.now_ms

    def heal(self) -> None:
        self.cut.clear()
        self.loss = 0.0
        self.set_store_away(False)
        for name, member in self.members.items():
            self.cut_store(name, cut=False)
            if member.stopped:
                self.wake(name)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Something that the scenario does later."""
        self._sequence += 1
        heapq.heappush(self._events, (self.now_ms + delay_ms, self._sequence, action))

    def run(self, duration_ms: int) -> None:
        until_ms = self.now_ms + duration_ms
        while self._events and self._events[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(self._events)
            action()
            self._check_kills()
        self.now_ms = until_ms
        self._check_kills()

    def living(self) -> list[SimMember]:
        return [m for m in self.members.values() if m.alive and m.membership is not None]

    def check_at_rest(self) -> None:
        """All that live see each other, ready or as they say, and nobody else."""
        expected = sorted(
            (*m.incarnation, ViewState(m.state.value)) for m in self.living() if not m.stopped
        )
        digests: set[int] = set()
        for member in self.living():
            assert member.membership is not None
            view = member.membership.view()
            seen = [(*other.incarnation, other.state) for other in view.live()]
            assert seen == expected, (member.name, seen, expected)
            digests.add(view.digest())
            assert member.acts
        assert len(digests) <= 1

    # Processes.

    def _at(self, delay_ms: int, member: SimMember, action: Callable[[], None]) -> None:
        """Run in that process: later if it is stopped, never if it is dead."""
        life = member.life

        def run() -> None:
            if not member.alive or member.life != life:
                return
            if member.stopped:
                member.waiting.append(run)
                return
            self._note_time(member)
            action()

        self.after(delay_ms, run)

    def _note_time(self, member: SimMember) -> None:
        """What `Farm.may_act` does."""
        if self.now_ms - member.ran_ms > SETTINGS.doubt_after_ms:
            member.doubted = True
            member.doubts += 1
            member.renewed_ms = -LEASE_MS
        member.ran_ms = self.now_ms
        if member.acts:
            tombstoned_ms = self.tombstoned.get(member.incarnation)
            late = tombstoned_ms is not None and self.now_ms - tombstoned_ms > 700
            harmless = not member.store_reachable or self.store_away
            harmless = harmless or self.now_ms - member.disturbed_ms < 1_000
            harmless = harmless or self.now_ms - self.store_changed_ms < 1_000
            assert not late or harmless, f"{member.name} works after its death"

    def _latency(self) -> int:
        return self.random.randint(*LATENCY_MS)

    def _join(self, member: SimMember) -> None:
        def try_join() -> None:
            if not self._store_answers(member):
                self._at(500, member, try_join)
                return
            joining = registry.Joining(member.name, "127.0.0.1:1", "", 1, LEASE_MS)
            wall_ms = WALL_MS + self.now_ms
            number = registry.number_for(member.name, self.records, wall_ms)
            assert number is not None
            record = registry.join(joining, number, self.records.get(number), wall_ms)
            assert record is not None
            self.records[number] = record
            self._at(self._latency(), member, lambda: self._begin(member, record))

        member.ran_ms = self.now_ms
        self._at(self._latency(), member, try_join)

    def _begin(self, member: SimMember, record: MemberRecord) -> None:
        member.life += 1
        member.membership = Membership(record, SETTINGS, self.now_ms)
        member.joined_ms = member.renewed_ms = self.now_ms
        member.gone.clear()
        member.reading = member.doubted = False
        self._tick(member)
        self._registry_turn(member)

    def _tick(self, member: SimMember) -> None:
        membership = member.membership
        assert membership is not None
        self._perform(member, membership.own(member.state, Load(self.now_ms % 7)))
        if not member.doubted:
            self._beat(member, membership)
        self._expire(member)
        self._at(SETTINGS.heartbeat_ms, member, lambda: self._tick(member))

    def _expire(self, member: SimMember) -> None:
        membership = member.membership
        assert membership is not None
        self._perform(member, membership.expire(self.now_ms))
        due_ms = membership.next_deadline_ms() - self.now_ms
        if 0 < due_ms < SETTINGS.heartbeat_ms:
            self._at(due_ms, member, lambda: self._perform(member, membership.expire(self.now_ms)))

    def _beat(self, member: SimMember, membership: Membership) -> None:
        incarnation, digest = membership.incarnation, membership.view().digest()
        for other in self.members.values():
            if other is member or frozenset((member.name, other.name)) in self.cut:
                continue
            if self.random.random() < self.loss:
                continue
            self._at(self._latency(), other, self._heard(other, incarnation, member.state, digest))

    def _heard(
        self, other: SimMember, incarnation: Incarnation, state: OwnState, digest: int
    ) -> Callable[[], None]:
        def receive() -> None:
            membership = other.membership
            if membership is not None and membership.accepts(incarnation):
                told = Heartbeat(state, Load(), digest)
                self._perform(other, membership.heartbeat(incarnation, told, self.now_ms))

        return receive

    # The store.

    def _store_answers(self, member: SimMember) -> bool:
        return member.store_reachable and not self.store_away

    def _registry_turn(self, member: SimMember) -> None:
        """Renew, read, and again after a while."""
        if member.reading:
            return
        member.reading = True
        membership, doubts = member.membership, member.doubts
        assert membership is not None

        def ask() -> None:
            wall_ms = WALL_MS + self.now_ms
            number, epoch = membership.incarnation
            if not self._store_answers(member):
                self._at(300, member, lambda: done(None, ()))
                return
            due = self.now_ms - member.renewed_ms >= SETTINGS.registry_ms or member.doubted
            lives = True
            if due:
                renewed = registry.renew(self.records.get(number), epoch, LEASE_MS, wall_ms)
                lives = renewed is not None
                if renewed is not None:
                    self.records[number] = renewed
                    member.renewed_ms = self.now_ms
            read = tuple(self.records.values())
            self._at(self._latency(), member, lambda: done(lives if due else None, read))

        def done(lives: bool | None, read: Sequence[MemberRecord]) -> None:
            member.reading = False
            if not read:
                self._perform(member, membership.store_failed(self.now_ms))
            elif lives is not None:
                self._perform(member, membership.renewed(lives, self.now_ms, self.now_ms))
                if lives and doubts == member.doubts:
                    member.doubted = False
            if read and member.membership is membership:
                self._perform(member, membership.registry(read, self.now_ms))
            if member.membership is membership:
                pause_ms = 20 if member.doubted else SETTINGS.registry_ms
                self._at(pause_ms, member, lambda: self._registry_turn(member))

        self._at(self._latency(), member, ask)

    def _tombstone(self, member: SimMember, wanted: TryTombstone) -> None:
        membership, incarnation = member.membership, (wanted.number, wanted.epoch)
        assert membership is not None

        def ask() -> None:
            done: bool | None = None
            if self._store_answers(member):
                found = self.records.get(wanted.number)
                record = registry.tombstone(found, wanted.epoch, wanted.lease_until_wall_ms)
                done = record is not None
                if record is not None:
                    self._check_victim(member, incarnation)
                    self.records[incarnation[0]] = record
                    self.tombstoned[incarnation] = self.now_ms
            self._at(
                self._latency(),
                member,
                lambda: self._perform(
                    member, membership.tombstone_result(incarnation, done, self.now_ms)
                ),
            )

        self._at(self._latency(), member, ask)

    def _perform(self, member: SimMember, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, TryTombstone):
                self._tombstone(member, output)
            elif isinstance(output, ReadRegistry):
                self._at(1, member, lambda: self._registry_turn(member))
            elif isinstance(output, MemberGone):
                self._check_gone(member, output)
            elif isinstance(output, SelfTombstoned):
                member.life += 1
                member.membership = None
                self._join(member)
                return
        if member.membership is not None:
            self._check_view(member, member.membership)

    # What holds at any time.

    def _check_view(self, member: SimMember, membership: Membership) -> None:
        members = membership.view().members
        numbers = [other.number for other in members]
        assert numbers == sorted(set(numbers)), f"{member.name} sees a number twice: {numbers}"
        revived = [o.incarnation for o in members if o.is_live and o.incarnation in member.gone]
        assert not revived, f"{member.name} sees the dead alive: {revived}"

    def _check_gone(self, member: SimMember, output: MemberGone) -> None:
        """Dead only by what stands in the store."""
        record = self.records[output.number]
        member.gone.add((output.number, output.epoch))
        if record.epoch == output.epoch:
            assert record.state is MemberState.TOMBSTONED
            assert output.why is GoneFor.TOMBSTONED

    def _check_victim(self, by: SimMember, incarnation: Incarnation) -> None:
        """Nobody who runs and reaches the store is declared dead, whatever the network does."""
        for victim in self.living():
            if victim.incarnation != incarnation or victim.stopped:
                continue
            undisturbed = self.now_ms - max(victim.disturbed_ms, self.store_changed_ms) > 2_000
            assert not (victim.store_reachable and undisturbed), f"{by.name} killed {victim.name}"

    def _check_kills(self) -> None:
        """A view is right within 2.5 s, in members that had nothing to suffer themselves."""
        while self.kills and self.now_ms - self.kills[0][0] >= RIGHT_WITHIN_MS:
            killed_ms, incarnation, joined_ms = self.kills.pop(0)
            quiet_since_ms = killed_ms - 3_000
            if self.store_away or max(self.store_changed_ms, joined_ms + 2_000) > quiet_since_ms:
                continue
            for member in self.living():
                calm = not member.stopped and member.store_reachable and not member.doubted
                if not calm or max(member.disturbed_ms, member.joined_ms) > quiet_since_ms:
                    continue
                assert member.membership is not None
                seen = member.membership.view().member(incarnation[0])
                late = seen is not None and seen.is_live and seen.epoch == incarnation[1]
                assert not late, f"{member.name} does not see that {incarnation} is dead"
