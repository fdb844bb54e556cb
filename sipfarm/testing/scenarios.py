"""A scenario for each seed: who calls whom, what the network does, and what befalls the members."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import msgspec

from sipfarm.pbx.apps.echo import echo
from sipfarm.pbx.task import KnownTask, TaskTable
from sipfarm.signaling.routing import PolicySettings
from sipfarm.testing.bus import BusOptions
from sipfarm.testing.checkers import Checkers
from sipfarm.testing.farm import DOMAIN, FarmOptions, SimFarm
from sipfarm.testing.net import NetOptions
from sipfarm.testing.phone import Phone
from sipfarm.testing.phone_calls import (
    PATIENCE_MS_MAX,
    AnswerPlan,
    CallPlan,
    Dialog,
    OutgoingCall,
)
from sipfarm.testing.sim_member import MemberOptions
from sipfarm.testing.sim_place import PlaceOptions

CALLS_WITHIN_MS: Final = 6_000
FAULTS_WITHIN_MS: Final = 9_000
SETTLED_AFTER_MS: Final = 6_000  # the last fault: the view is right again, or stays wrong
QUIET_WITHIN_MS: Final = 2_400_000  # a call whose BYE got lost ends with its session timer
NO_ANSWER_MS: Final = 4_000
LAST_STEP_MS: Final = 15_000
ECHOING: Final = 0.3  # share of the seeds in which a task is called too
REGISTERING: Final = 0.3  # share of the seeds in which the phones register over the wire
REGISTERED_WITHIN_MS: Final = 3_000
LOSS_OUTLIVED: Final = 0.1  # no transaction fails by a loss up to that
TASKS: Final[TaskTable] = {"echo": KnownTask(echo, resumes=True)}
FAULTS: Final = ("crash", "restart", "pause", "cut", "drain", "store")

Plant = Callable[[SimFarm], None]
"""Something that breaks the farm on purpose."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed stands for."""

    seed: int
    options: FarmOptions
    faults: tuple[str, ...]

    @property
    def is_calm(self) -> bool:
        """Nothing befalls the members: every call must come to what its plans say."""
        return not self.faults


class Outcome(msgspec.Struct, frozen=True):
    """How a seed went."""

    scenario: Scenario
    violations: tuple[str, ...]
    calls: int
    virtual_ms: int


class Target(msgspec.Struct, frozen=True):
    """An account, and what its phones will do."""

    name: str
    phones: tuple[str, ...]
    in_steps: bool


def scenario_of(seed: int) -> Scenario:
    random = Random(seed)
    net = NetOptions(
        loss=random.choice((0.0, 0.0, 0.02, 0.1, 0.2, 0.3)),
        duplicate=random.choice((0.0, 0.05, 0.3)),
        delay_ms=random.choice(((1, 1), (1, 20), (1, 200))),
    )
    members = random.choice((1, 2, 3, 3, 3, 4))
    calm = members == 1 or random.random() < 0.4
    faults = () if calm else tuple(random.choices(FAULTS, k=random.choice((1, 1, 2, 3))))
    return Scenario(
        seed=seed,
        options=FarmOptions(
            members=members,
            balancing="flow" if random.random() < 0.1 else "packet",
            net=net,
            bus=BusOptions(
                delay_ms=random.choice(((0, 0), (0, 3), (1, 40))),
                dial_ms=(0, 0) if calm else random.choice(((1, 5), (1, 100))),
            ),
            member=MemberOptions(
                policy=PolicySettings(
                    tasks=frozenset(TASKS),
                    no_answer_timeout_ms=NO_ANSWER_MS,
                    last_timeout_ms=LAST_STEP_MS,
                ),
                tasks=TASKS,
                place=PlaceOptions(heartbeats=not calm),
            ),
        ),
        faults=faults,
    )


class Run:
    """One seed being run."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        plant: Plant | None = None,
        watch: Callable[[SimFarm], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.random = Random(f"script {scenario.seed}")
        self.farm = SimFarm(scenario.seed, scenario.options)
        self.targets: list[Target] = []
        self.answers: dict[tuple[str, str], AnswerPlan] = {}
        self.calls: list[tuple[OutgoingCall, Target]] = []
        self.echoes: list[OutgoingCall] = []
        self._bindings: list[tuple[str, Phone, int]] = []
        self._registers = Random(f"register {scenario.seed}").random() < REGISTERING
        self._set_up_phones()
        self.checkers = Checkers(self.farm)
        self.checkers.nothing_is_lost = scenario.is_calm and not scenario.options.net.loss
        if watch is not None:
            watch(self.farm)
        if plant is not None:
            plant(self.farm)

    def run(self) -> Outcome:
        farm, random = self.farm, self.random
        farm.begin()
        if self._registers:
            for account, phone, q in self._bindings:
                phone.register(f"sip:{account}@{DOMAIN}", DOMAIN, q=f"{q / 1_000:.3f}")
            farm.run(REGISTERED_WITHIN_MS)
        begun_ms = farm.clock.now_ms()
        for index in range(random.randint(2, 6)):
            at_ms = begun_ms + random.randint(0, CALLS_WITHIN_MS)
            farm.clock.call_at(at_ms, lambda index=index: self._place_call(index))
        self._call_echo(begun_ms, Random(f"echo {self.scenario.seed}"))
        if random.random() < 0.3:
            farm.clock.call_at(
                begun_ms + random.randint(1_000, CALLS_WITHIN_MS), self._borrow_a_mark
            )
        for fault in self.scenario.faults:
            at_ms = begun_ms + random.randint(0, FAULTS_WITHIN_MS)
            farm.clock.call_at(at_ms, lambda fault=fault: self._befall(fault))
        if self.scenario.faults:
            farm.run(FAULTS_WITHIN_MS + SETTLED_AFTER_MS)
        quiet = farm.run_until_quiet(QUIET_WITHIN_MS)
        if not quiet:
            self.checkers.violated("it does not come to rest")
        self._check_calls()
        silent = farm.end_silent_calls()
        if silent and self.scenario.is_calm:
            self.checkers.violated(f"{silent} calls are kept though both sides have ended them")
        virtual_ms = farm.clock.now_ms()
        farm.outlive_directories()
        self.checkers.at_rest()
        violations = tuple(self.checkers.violations)
        return Outcome(self.scenario, violations, len(self.calls), virtual_ms)

    # The script.

    def _set_up_phones(self) -> None:
        farm, random = self.farm, self.random
        for name in ("alice", "anna"):
            farm.phone(name)
            farm.account(name)
        for index in range(random.randint(1, 3)):
            account = f"user{index}"
            farm.account(account)
            in_steps = random.random() < 0.5
            names: list[str] = []
            for number in range(random.choice((1, 1, 1, 2, 3))):
                phone = farm.phone(f"{account}p{number}")
                phone.answer = lambda invite, phone=phone: self.answers[phone.name, invite.call_id]
                q = 1_000 - 100 * number if in_steps else 1_000
                if not self._registers:
                    farm.bind(account, phone, q)
                self._bindings.append((account, phone, q))
                names.append(phone.name)
            self.targets.append(Target(account, tuple(names), in_steps))

    def _place_call(self, index: int) -> None:
        random = self.random
        target = random.choice(self.targets)
        call_id = f"call{index}@{self.scenario.seed}"
        for name in target.phones:
            self.answers[name, call_id] = self._answer_plan()
        plan = CallPlan(
            patience_ms=random.choice(
                (PATIENCE_MS_MAX, random.randint(50, 3_000), random.randint(50, 9_000))
            ),
            talk_ms=random.choice((0, random.randint(100, 8_000))),
            reinvite_ms=random.choice((0, 0, random.randint(50, 4_000))),
        )
        if not plan.talk_ms:  # then the callee hangs up
            for name in target.phones:
                known = self.answers[name, call_id]
                talk_ms = random.randint(100, 8_000)
                self.answers[name, call_id] = msgspec.structs.replace(known, talk_ms=talk_ms)
        call = OutgoingCall(f"sip:{target.name}@{DOMAIN}", DOMAIN, plan, call_id)
        self.calls.append((call, target))
        self.farm.phones[random.choice(("alice", "anna"))].call(call)

    def _answer_plan(self) -> AnswerPlan:
        random = self.random
        return AnswerPlan(
            ring_ms=random.choice((0, random.randint(1, 500))),
            answer_ms=random.choice((0, random.randint(1, 1_000), random.randint(1, 9_000))),
            status=random.choice((200, 200, 200, 200, 486, 603, 404, 503, 302, 0)),
            reinvite_ms=random.choice((0, 0, random.randint(50, 4_000))),
            contacts=("sip:elsewhere@10.9.9.9",),
        )

    def _call_echo(self, begun_ms: int, random: Random) -> None:
        """Some call a task beside."""
        for number in range(random.randint(1, 3) if random.random() < ECHOING else 0):
            reinvite_ms = random.choice((0, 0, random.randint(50, 4_000)))
            plan = CallPlan(talk_ms=random.randint(100, 12_000), reinvite_ms=reinvite_ms)
            call = OutgoingCall(f"sip:echo@{DOMAIN}", DOMAIN, plan, f"echo-{number}")
            self.echoes.append(call)
            phone = self.farm.phones[random.choice(("alice", "anna"))]
            at_ms = begun_ms + random.randint(0, CALLS_WITHIN_MS)
            self.farm.clock.call_at(at_ms, partial(_place, phone, call))

    def _borrow_a_mark(self) -> None:
        """Somebody sends requests in the name of a dialog that is another's (toll fraud)."""
        dialogs = [
            dialog
            for phone in self.farm.phones.values()
            for dialog in phone.dialogs.values()
            if dialog.routes
        ]
        if dialogs:
            borrow_mark(self.random.choice(dialogs), self.farm.phones["anna"])

    def _befall(self, fault: str) -> None:
        farm, random = self.farm, self.random
        names = sorted(member.name for member in farm.running if not member.is_paused)
        if not names:
            return
        name = random.choice(names)
        later = farm.clock.call_later
        if fault == "pause":
            farm.pause(name)
            member = farm.members[name]
            length_ms = random.choice((random.randint(50, 1_500), random.randint(1_500, 5_000)))
            later(length_ms, lambda: farm.resume(name) if farm.members[name] is member else None)
        elif fault == "drain":
            farm.drain(name)
            later(random.randint(500, 5_000), lambda: farm.drain(name, False))
        elif fault == "store":
            farm.store_away(True)
            later(random.randint(200, 5_000), lambda: farm.store_away(False))
        elif fault == "cut" and len(names) > 1:
            other = random.choice([known for known in names if known != name])
            farm.cut(name, other)
            later(random.randint(50, 5_000), lambda: farm.heal(name, other))
        elif fault == "crash" and len(names) > 1:
            farm.crash(name)
        elif fault == "restart":
            farm.crash(name)
            later(random.randint(0, 4_000), lambda: farm.restart(name))

    # What must have come of it.

    def _check_calls(self) -> None:
        # At high loss all retransmissions of something may be lost.
        if not self.scenario.is_calm or self.scenario.options.net.loss > LOSS_OUTLIVED:
            return
        for call in self.echoes:
            ends = [dialog.byes for dialog in call.dialogs.values()]
            if ends != [[200]]:
                self.checkers.violated(f"{call.call_id} came to {call.statuses}, BYE to {ends}")
        for _, phone, _ in self._bindings:
            if self._registers and phone.registered != [200]:
                self.checkers.violated(f"{phone.name} gets {phone.registered} to REGISTER")
        for call, target in self.calls:
            if not call.statuses:
                self.checkers.violated(f"{call.call_id} has no end for its caller")
                continue
            allowed = self._allowed(call, target)
            if len(call.statuses) > 1 or call.statuses[0] not in allowed:
                self.checkers.violated(
                    f"{call.call_id} came to {call.statuses}, not one of {sorted(allowed)}"
                )
            for dialog in call.dialogs.values():
                self._check_dialog(call, dialog, target)

    def _allowed(self, call: OutgoingCall, target: Target) -> set[int]:
        plans = [self.answers[name, call.call_id] for name in target.phones]
        statuses = {plan.status for plan in plans if plan.status}
        allowed = {500 if status == 503 else status for status in statuses}
        if call.plan.patience_ms < PATIENCE_MS_MAX:
            allowed.add(487)
        if call.cancel_sent:  # before the callee had said anything: it may take 64*T1 (§9.1)
            allowed.add(0)
        late = any(not plan.status or plan.answer_ms >= NO_ANSWER_MS - 500 for plan in plans)
        if self._registers:  # a REGISTER may have come too late
            allowed.add(480)
        if late or len(plans) > 1:
            allowed |= {408, 480, 487}
        return allowed

    def _check_dialog(self, call: OutgoingCall, dialog: Dialog, target: Target) -> None:
        """Each dialog ends on both sides, by one BYE or by two that cross."""
        others = [
            other
            for name in target.phones
            for other in self.farm.phones[name].dialogs.values()
            if (other.call_id, other.local_tag) == (call.call_id, _tag_of(dialog))
        ]
        if len(others) != 1:
            self.checkers.violated(f"{call.call_id} has {len(others)} far ends of one dialog")
            return
        for one, other in ((dialog, others[0]), (others[0], dialog)):
            if not one.is_over:
                self.checkers.violated(f"{call.call_id} goes on at {one.phone.name}")
            wanted = {200, 481} if other.byes else {200}
            if one.byes and not set(one.byes) <= wanted:
                self.checkers.violated(f"{one.phone.name} gets {one.byes} to BYE of {call.call_id}")


def borrow_mark(dialog: Dialog, thief: Phone) -> None:
    """Requests past policy to whom a dialog leads: with its Route and its tags, and another
    Call-ID.
    """
    lines = [("To", dialog.remote), *[("Route", route) for route in dialog.routes]]
    caller = f"<sip:{thief.name}@{DOMAIN}>;tag={dialog.local_tag}"
    for method in ("INVITE", "BYE", "MESSAGE"):
        number = (f"forged-{method}-{dialog.call_id}", 7)
        contact = [("Contact", f"<{thief.contact}>")] if method == "INVITE" else []
        thief.request(method, dialog.target, caller, number, lines + contact, lambda response: None)


def _place(phone: Phone, call: OutgoingCall) -> None:
    phone.call(call)


def _tag_of(dialog: Dialog) -> str:
    """The far side's tag."""
    return dialog.remote.partition(";tag=")[2]


def run_seed(
    seed: int, *, plant: Plant | None = None, watch: Callable[[SimFarm], None] | None = None
) -> Outcome:
    """Run what a seed stands for; an exception in the farm is a violation too."""
    scenario = scenario_of(seed)
    run = Run(scenario, plant=plant, watch=watch)
    try:
        return run.run()
    except Exception as error:
        told = f"{run.farm.clock.now_ms()} ms: {type(error).__name__}: {error}"
        run.checkers.violations.append(told)
        violations = tuple(run.checkers.violations)
        return Outcome(scenario, violations, len(run.calls), run.farm.clock.now_ms())
