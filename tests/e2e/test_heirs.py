"""A member that runs calls to `echo` is killed: they go on at an heir (ADR 17)."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipfarm.base.io.clock import SystemClock
from sipfarm.base.records import Snapshot
from sipfarm.cluster.io.store import open_store
from sipfarm.phone import listen, tones
from sipfarm.phone.io.process import softphone
from sipfarm.phone.io.wav import read_wav, write_wav
from sipfarm.phone.protocol import PhoneSettings
from sipfarm.testing.balancer import PacketBalancer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.hearing import heard
from sipfarm.testing.phone import Phone, PhoneEvent
from sipfarm.testing.phone_calls import CallPlan, OutgoingCall
from sipfarm.testing.phone_dialogs import Dialog
from sipfarm.testing.phone_sockets import SocketNet
from sipfarm.testing.real_farm import DOMAIN, RealFarm
from sipfarm.testing.redis_server import RedisServer

pytestmark = pytest.mark.timeout(90)

ALL_READY = {"m1": "ready", "m2": "ready", "m3": "ready"}
ECHO = f"sip:echo@{DOMAIN}"
CALLS = 24
SEED = 17
WITHIN_S = 15.0
COMB = 1
LEVEL_DBFS = -20.0


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:farm.db"
        return
    server = RedisServer(tmp_path)
    yield server.url
    server.end()


def farm_of(start_farm: Callable[..., RealFarm], **options: object) -> RealFarm:
    farm = start_farm(members=3, **options)
    farm.wait_for(ALL_READY, 20.0)
    PacketBalancer(farm.listen, farm.pids).at_random()
    return farm


class Callers:
    """Phones, each in one call to `echo`."""

    def __init__(self, farm: RealFarm, net: SocketNet) -> None:
        self.farm = farm
        self.net = net
        self.reinvites: dict[str, list[int]] = {}
        """CSeq numbers of the farm's re-INVITEs, by Call-ID."""
        self.calls: list[OutgoingCall] = []
        for number in range(CALLS):
            local, listen_at = farm.trusted(number % 60, 6000 + number // 60), farm.listen
            phone = Phone(
                f"p{number}",
                (local.host, local.port),
                (listen_at.host, listen_at.port),
                net,
                net.clock,
            )
            phone.watchers.append(self._note)
            self.calls.append(phone.call(OutgoingCall(ECHO, DOMAIN, CallPlan(), f"call-{number}")))

    @property
    def dialogs(self) -> dict[str, Dialog]:
        return {call.call_id: dialog for call in self.calls for dialog in call.dialogs.values()}

    def run_until(self, holds: Callable[[], bool]) -> None:
        assert self.net.run_until(holds, WITHIN_S), (self.reinvites, self.byes())

    def hang_up(self) -> None:
        """All of them; each BYE gets 200."""
        for dialog in self.dialogs.values():
            dialog.hang_up()
        self.run_until(lambda: all(self.byes().values()))
        assert self.byes() == {call_id: [200] for call_id in self.dialogs}

    def byes(self) -> dict[str, list[int]]:
        return {call_id: dialog.byes for call_id, dialog in self.dialogs.items()}

    def of_member(self, name: str) -> set[str]:
        return {call.call_id for call in self.farm.calls() if call.member == name}

    def _note(self, event: PhoneEvent) -> None:
        if event.kind == "request" and event.message.method == "INVITE":
            self.reinvites.setdefault(event.message.call_id, []).append(event.message.cseq)


def test_calls_go_on_at_their_heirs_when_one_member_after_another_is_killed(
    start_farm: Callable[..., RealFarm], store: str
) -> None:
    farm = farm_of(start_farm, store=store, restart=False)
    with SocketNet(SEED) as net:
        callers = Callers(farm, net)
        callers.run_until(lambda: len(callers.dialogs) == CALLS)
        callers.run_until(lambda: farm.total("sipfarm_keeper_written") >= CALLS)
        first = callers.of_member("m2")
        assert 0 < len(first) < CALLS
        farm.kill("m2")
        callers.run_until(lambda: callers.reinvites.keys() == first)
        callers.run_until(lambda: len(callers.of_member("m1") | callers.of_member("m3")) == CALLS)
        heir = next(name for name in ("m1", "m3") if callers.of_member(name) & first)
        second, last = callers.of_member(heir), "m3" if heir == "m1" else "m1"
        farm.kill(heir)
        callers.run_until(lambda: callers.of_member(last) == callers.dialogs.keys())
        callers.run_until(
            lambda: sum(map(len, callers.reinvites.values())) == len(first) + len(second)
        )
        for numbers in callers.reinvites.values():
            assert numbers == sorted(numbers)
        callers.hang_up()
    assert farm.metrics(last)["sipfarm_task_calls"] == 0
    farm.end()


def test_who_hangs_up_before_there_is_an_heir_gets_200_too(
    start_farm: Callable[..., RealFarm],
) -> None:
    """The member is started again at once: it may be the heir of its own life before."""
    farm = farm_of(start_farm)
    with SocketNet(SEED) as net:
        callers = Callers(farm, net)
        callers.run_until(lambda: len(callers.dialogs) == CALLS)
        callers.run_until(lambda: farm.total("sipfarm_keeper_written") >= CALLS)
        farm.kill("m2")
        callers.hang_up()
    farm.wait_for(ALL_READY, 20.0)
    farm.wait_calls_over()
    farm.end()


def test_a_stopped_member_that_wakes_leaves_its_calls_to_their_heirs(
    start_farm: Callable[..., RealFarm],
) -> None:
    farm = farm_of(start_farm, supervised=False)
    with SocketNet(SEED) as net:
        callers = Callers(farm, net)
        callers.run_until(lambda: len(callers.dialogs) == CALLS)
        callers.run_until(lambda: farm.total("sipfarm_keeper_written") >= CALLS)
        lost = callers.of_member("m2")
        farm.kill("m2", signal.SIGSTOP)
        farm.wait_for({**ALL_READY, "m2": "dead"}, WITHIN_S, asked="m1")
        callers.run_until(lambda: callers.reinvites.keys() == lost)
        farm.kill("m2", signal.SIGCONT)
        farm.wait_for(ALL_READY, WITHIN_S, asked="m1")
        assert not callers.of_member("m2")
        callers.hang_up()
        assert not any(dialog.bye_received for dialog in callers.dialogs.values())
    farm.end()


def test_a_farm_that_is_stopped_ends_its_calls_and_leaves_nothing_to_inherit(
    start_farm: Callable[..., RealFarm],
) -> None:
    farm = farm_of(start_farm, drain_deadline_s=1)
    owners = [f"{member.number}.{member.incarnation}" for member in farm.members()]
    with SocketNet(SEED) as net:
        callers = Callers(farm, net)
        callers.run_until(lambda: len(callers.dialogs) == CALLS)
        callers.run_until(lambda: farm.total("sipfarm_keeper_written") >= CALLS)
        farm.process.send(signal.SIGTERM)
        callers.run_until(lambda: all(dialog.bye_received for dialog in callers.dialogs.values()))
    farm.process.wait()

    async def left() -> list[Snapshot]:
        async with open_store(f"sqlite:{farm.folder / 'farm.db'}") as store:
            wall_ms = SystemClock().wall_ms()
            return [kept for owner in owners for kept in await store.snapshots(owner, wall_ms)]

    assert asyncio.run(left()) == []


def test_who_calls_echo_hears_oneself_again_after_its_member_was_killed(
    start_farm: Callable[..., RealFarm], tmp_path: Path
) -> None:
    farm = farm_of(start_farm, restart=False)
    user, says, recording = farm.unused_user(), tmp_path / "says.wav", tmp_path / "heard.wav"
    write_wav(says, tones.tone_comb(COMB, 3.0, LEVEL_DBFS))
    settings = PhoneSettings(
        aor=f"sip:{user}@{DOMAIN}",
        password=f"{user}-secret",
        server=str(farm.listen),
        transport="udp",
        codecs=("G722",),
    )

    async def talk() -> None:
        async with softphone(settings) as phone:
            await phone.register()
            placed = await phone.call(ECHO, says, recording)
            await heard(phone, placed, 1.0)
            [call] = await asyncio.to_thread(farm.calls)
            await asyncio.to_thread(farm.kill, call.member)
            await phone.wait_media(placed, "active")
            silent = await phone.report(placed)
            await heard(phone, placed, 3.0, silent.received.packets)
            await phone.hangup(placed)

    asyncio.run(talk())
    samples, sample_rate_hz = read_wav(recording)
    assert listen.comb_heard(samples[-2 * sample_rate_hz :], sample_rate_hz, COMB)
    eventually(lambda: not farm.calls(), "the call is over", WITHIN_S)
    farm.end()
