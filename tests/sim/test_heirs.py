"""Calls of tasks go on at their heirs when one member after another dies (ADR 17)."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import msgspec
import pytest

from sipfarm.base.farm_view import View
from sipfarm.base.records import Snapshot
from sipfarm.pbx.apps.echo import echo
from sipfarm.pbx.task import KnownTask
from sipfarm.signaling.routing import PolicySettings
from sipfarm.testing.bus import BusOptions
from sipfarm.testing.checkers import Checkers
from sipfarm.testing.farm import DOMAIN, FarmOptions, SimFarm
from sipfarm.testing.net import NetOptions
from sipfarm.testing.phone import Phone, PhoneEvent
from sipfarm.testing.phone_calls import CallPlan, OutgoingCall
from sipfarm.testing.sim_member import MemberOptions, SimMember

SEEDS = 200
CHUNK = 20
PHONES = 4
CALLS_WITHIN_MS = 2_000
KEPT_AFTER_MS = 4_000
TALK_MS = (CALLS_WITHIN_MS + KEPT_AFTER_MS, 26_000)
QUIET_WITHIN_MS = 600_000

RESUMING = KnownTask(echo, resumes=True)
Plant = Callable[[SimFarm], None]


class Bereaved:
    """Calls to `echo`; the member with most of them dies, and perhaps an heir as it begins."""

    def __init__(self, seed: int, plant: Plant | None = None, task: KnownTask = RESUMING) -> None:
        self.random = random = Random(f"heirs {seed}")
        options = FarmOptions(
            members=random.choice((2, 3, 4)),
            net=NetOptions(
                loss=random.choice((0.0, 0.0, 0.05, 0.1)),
                duplicate=random.choice((0.0, 0.05, 0.2)),
                delay_ms=random.choice(((1, 1), (1, 20), (1, 200))),
            ),
            bus=BusOptions(delay_ms=random.choice(((0, 3), (1, 40))), dial_ms=(1, 20)),
            member=MemberOptions(
                policy=PolicySettings(tasks=frozenset({"echo"})), tasks={"echo": task}
            ),
        )
        self.farm = SimFarm(seed, options)
        phones = [self.farm.phone(f"p{index}") for index in range(PHONES)]
        self.checkers = Checkers(self.farm)
        self.calls: list[OutgoingCall] = []
        self.reinvited: set[str] = set()
        self._kept: set[str] = set()
        """The tags of calls that the store knew whenever a member died."""
        self._deaths_left = options.members - 1
        self._kills_heirs = random.random() < 0.5
        if plant is not None:
            plant(self.farm)
        self.farm.begin()
        for phone in phones:
            phone.watchers.append(self._watch)
            for number in range(random.randint(1, 3)):
                plan = CallPlan(talk_ms=random.randint(*TALK_MS))
                name = f"{phone.name}-{number}"
                self._later(CALLS_WITHIN_MS, partial(self._call, phone, plan, name))

    def run(self) -> list[str]:
        """What was violated."""
        farm = self.farm
        farm.run(CALLS_WITHIN_MS + KEPT_AFTER_MS)
        self._kept = {snapshot.key for snapshot in self._stored()}
        dead = self._die()
        assert any(snapshot.holder == dead for snapshot in self._stored())
        farm.run(TALK_MS[1])
        if not farm.run_until_quiet(QUIET_WITHIN_MS):
            self.checkers.violated("it does not come to rest")
        for call in self.calls:
            for dialog in call.dialogs.values():
                tag = dialog.remote.partition(";tag=")[2]
                if dialog.byes != [200] and (tag in self._kept or dialog.byes != [481]):
                    self.checkers.violated(f"{dialog.call_id} gets {dialog.byes} to BYE")
        farm.outlive_directories()
        self.checkers.at_rest()
        return self.checkers.violations

    def _call(self, phone: Phone, plan: CallPlan, name: str) -> None:
        self.calls.append(phone.call(OutgoingCall(f"sip:echo@{DOMAIN}", DOMAIN, plan, name)))

    def _later(self, within_ms: int, act: Callable[[], None]) -> None:
        self.farm.clock.call_later(self.random.randint(1, within_ms), act)

    def _stored(self) -> list[Snapshot]:
        stored = self.farm.store.all_snapshots(self.farm.clock.wall_ms())
        return [snapshot for snapshot in stored if snapshot.value]

    def _die(self) -> str:
        """The member with the most calls dies, and may come back; its incarnation."""
        farm, random = self.farm, self.random
        name = max(farm.members, key=lambda known: farm.members[known].users.task_calls.count)
        number, epoch = farm.members[name].incarnation
        self._kill(name)
        if random.random() < 0.5:
            self._later(4_000, lambda: farm.restart(name))
        return f"{number}.{epoch}"

    def _kill(self, name: str) -> None:
        """What had ended by then may be ended once more: by a BYE whose 200 was lost."""
        self._deaths_left -= 1
        self._kept &= {snapshot.key for snapshot in self._stored()}
        self.farm.crash(name)

    def _watch(self, event: PhoneEvent) -> None:
        request = event.message
        if event.kind != "request" or request.method != "INVITE":
            return
        self.reinvited.add(request.call_id)
        if not self._kills_heirs or not self._deaths_left:
            return
        [holder] = [s.holder for s in self._stored() if s.key == request.from_tag] or [""]
        heirs = [m.name for m in self.farm.running if "{}.{}".format(*m.incarnation) == holder]
        if heirs:
            self._kills_heirs = False
            self._later(150, lambda: self._kill(heirs[0]))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_calls_outlive_their_members(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert not Bereaved(seed).run(), f"seed {seed}"


def test_a_seed_in_short() -> None:
    bereaved = Bereaved(1)
    assert not bereaved.run()
    assert bereaved.reinvited


def test_a_task_that_does_not_resume_has_its_calls_ended() -> None:
    bereaved = Bereaved(2, task=KnownTask(echo))
    violations = bereaved.run()
    dialogs = [dialog for call in bereaved.calls for dialog in call.dialogs.values()]
    ended = [dialog.bye_received and not dialog.byes for dialog in dialogs]
    assert any(ended)
    assert len(violations) == sum(ended)
    assert all(violation.endswith("gets [] to BYE") for violation in violations)
    assert not bereaved.reinvited


def give_twice(farm: SimFarm) -> None:
    """Each member takes itself for the heir, and the store gives a call to all who ask."""

    def alone(member: SimMember, view: View) -> View:
        own = [seen for seen in view.members if seen.incarnation == member.incarnation]
        return msgspec.structs.replace(view, members=tuple(own))

    async def give(
        owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]:
        return frozenset(keys)

    farm.see_heirs = alone
    farm.store.snapshots_take = give


def lose_numbers(farm: SimFarm) -> None:
    """What is kept says nothing of the CSeq numbers that were used."""

    async def forget(owner: str, wall_ms: int) -> tuple[Snapshot, ...]:
        return tuple([_without_numbers(snapshot) for snapshot in await snapshots(owner, wall_ms)])

    snapshots = farm.store.snapshots
    farm.store.snapshots = forget


def _without_numbers(snapshot: Snapshot) -> Snapshot:
    if not snapshot.value:
        return snapshot
    kept = msgspec.msgpack.decode(snapshot.value)
    kept[3][1][0][0]["local_cseq"] = 0
    return msgspec.structs.replace(snapshot, value=msgspec.msgpack.encode(kept))


PLANTS: dict[str, tuple[Plant, str]] = {
    "two heirs act": (give_twice, r"speaks in"),
    "a CSeq without head room": (lose_numbers, r"with CSeq"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    plant, says = PLANTS[name]
    found = (
        seed
        for seed in range(SEEDS)
        if any(re.search(says, violation) for violation in Bereaved(seed, plant).run())
    )
    assert next(found, None) is not None
