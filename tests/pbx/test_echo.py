"""Echo, and the task runner under it: what a caller sees when tasks end, crash or are cancelled."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Self

import pytest
import structlog
from structlog.testing import LogCapture

from sipfarm.base.errors import CapacityError, UsageError
from sipfarm.media.plan import CloseMedia, LocalMedia
from sipfarm.pbx.apps.echo import ECHO_MS_MAX, echo
from sipfarm.pbx.call import Call, CallEnded, CallSeed, incoming_call
from sipfarm.pbx.leg import LegOutput
from sipfarm.pbx.task import Task, TaskOptions, TaskRunner
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import Ended, EndReason, Released, Respond
from sipfarm.testing.eventually import turn
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

Offer = Callable[..., bytes]


class Farm:
    """The driver's part: takes what tasks cause, and runs one call on a runner."""

    def __init__(self, offer: bytes, options: TaskOptions | None = None) -> None:
        self.log = LogCapture()
        logger = structlog.wrap_logger(None, processors=[self.log])
        self.runner = TaskRunner(self, logger, options)
        peer = ScriptedPeer()
        invite = peer.request("INVITE", offer)
        seed = CallSeed("farm-tag", "sip:mark@127.0.0.1:5060", session_id=1, seed=7)
        media = LocalMedia("127.0.0.1", 20_000, 20_001)
        self.call = incoming_call(invite, seed, media, self)
        self.ladder = Ladder(self.call, peer)
        self.ladder.send(invite)

    def now_ms(self) -> int:
        return self.ladder.now_ms

    def perform(self, call: Call, outputs: Sequence[LegOutput]) -> None:
        assert call is self.call
        self.ladder.note(outputs)

    async def __aenter__(self) -> Self:
        await self.runner.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.__aexit__(None, None, None)

    def ack(self) -> None:
        self.ladder.ack(self.ladder.peer.request("ACK", cseq=1))

    def bye(self) -> None:
        self.ladder.send(self.ladder.peer.request("BYE"))

    def check_at_rest(self) -> None:
        """One end, the ports back, and nothing left to wait for."""
        kinds = [type(output) for output in self.ladder.outputs]
        assert (kinds.count(Ended), kinds.count(CloseMedia), self.runner.running) == (1, 1, 0)
        if kinds.count(Released) == 0:
            self.ladder.run_until(self.ladder.now_ms + 100_000)
        assert self.call.is_released
        assert self.call.next_deadline_ms() is None
        assert self.call.state is State.TERMINATED


def statuses(farm: Farm) -> list[int]:
    return [o.status for o in farm.ladder.outputs if isinstance(o, Respond)]


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(scenario)


def test_echo_answers_reflects_and_ends_with_the_callers_bye(offer: Offer) -> None:
    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(echo, farm.call)
            await turn(2)
            farm.ack()
            await turn(2)
            assert farm.runner.running == 1
            farm.bye()
            await turn(3)
            assert farm.runner.running == 0
        farm.check_at_rest()
        assert farm.ladder.lines == [
            "0 > INVITE",
            "0 + open echo sendrecv",
            "0 < 200 INVITE",
            "0 > ACK",
            "0 * Confirmed",
            "0 > BYE",
            "0 < 200 BYE",
            "0 + close",
            "0 * ended bye_received",
            "0 * Released",
        ]
        assert farm.log.entries == []

    run(scenario())


def test_echo_does_not_last_for_ever(offer: Offer) -> None:
    async def scenario() -> None:
        async with Farm(offer("a=sendrecv")) as farm:
            farm.runner.start(echo, farm.call)
            await turn(2)
            farm.ack()
            refreshed = (("Session-Expires", "1800;refresher=uac"), ("Supported", "timer"))
            farm.ladder.run_until(ECHO_MS_MAX // 2)
            farm.ladder.answer(farm.ladder.last("INVITE"), 200, offer(), refreshed)
            farm.ladder.run_until(ECHO_MS_MAX)
            await turn(3)
        assert Ended(EndReason.DURATION_EXCEEDED) in farm.ladder.outputs
        farm.check_at_rest()

    run(scenario())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("progress", ["invited", "answered", "confirmed"])
def test_a_runner_that_is_left_ends_its_calls(progress: str, turns: int, offer: Offer) -> None:
    """Cancellation at every await of echo, and before it first runs."""

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(echo, farm.call)
            if progress != "invited":
                await turn(2)
            if progress == "confirmed":
                farm.ack()
            await turn(turns)
        await turn(2)
        if progress == "answered" and farm.call.state is State.CLOSING:
            farm.ack()
        farm.check_at_rest()

    run(scenario())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("how", ["cancel", "bye_early", "bye_unacknowledged", "bye"])
def test_the_caller_may_leave_at_any_point(how: str, turns: int, offer: Offer) -> None:
    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(echo, farm.call)
            if how in {"bye_unacknowledged", "bye"}:
                await turn(2)
            if how == "bye":
                farm.ack()
            await turn(turns)
            if how == "cancel" and farm.call.state is State.INVITED:
                farm.ladder.cancel(1)
            else:
                farm.ladder.peer.farm_tag = "farm-tag"
                farm.bye()
            await turn(4)
            assert farm.runner.running == 0
        farm.check_at_rest()
        assert farm.log.entries == []

    run(scenario())


def test_a_crash_before_the_answer_is_500_and_logged(offer: Offer) -> None:
    async def crash(call: Call) -> None:
        await call.ring()
        raise LookupError("no such prompt")

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(crash, farm.call)
            await turn(3)
        assert statuses(farm) == [180, 500]
        farm.check_at_rest()
        (entry,) = farm.log.entries
        assert entry["event"] == "task_crashed"
        assert entry["call_id"] == "call-1"
        assert entry["exc_info"]

    run(scenario())


def test_a_crash_after_the_answer_is_bye_and_other_calls_go_on(offer: Offer) -> None:
    async def crash(call: Call) -> None:
        await call.answer()
        raise LookupError("no such prompt")

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            other = Farm(offer())
            farm.runner.start(crash, farm.call)
            other.runner = farm.runner
            await turn(2)
            farm.ack()
            await turn(3)
            assert farm.ladder.lines[-3:] == ["0 < BYE", "0 + close", "0 * ended bye_sent"]
            assert not other.call.is_over
        farm.check_at_rest()

    run(scenario())


def test_a_task_that_returns_without_an_answer_is_480(offer: Offer) -> None:
    async def idle(call: Call) -> None:
        assert call.view.caller == "sip:alice@example.test"

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(idle, farm.call)
            await turn(3)
        assert statuses(farm) == [480]
        farm.check_at_rest()

    run(scenario())


def test_a_task_may_reject_or_hang_up(offer: Offer) -> None:
    async def busy(call: Call) -> None:
        await call.hang_up(486)
        assert await call.ended() == Ended(EndReason.REJECTED, 486)
        with pytest.raises(CallEnded):
            await call.answer()

    async def brief(call: Call) -> None:
        await call.answer()
        await call.hang_up()

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(busy, farm.call)
            await turn(3)
        assert statuses(farm) == [486]
        farm.check_at_rest()
        async with Farm(offer()) as farm:
            farm.runner.start(brief, farm.call)
            await turn(2)
            farm.ack()
            await turn(3)
        assert "0 < BYE" in farm.ladder.lines
        assert farm.log.entries == []
        farm.check_at_rest()

    run(scenario())


def test_a_task_that_waits_for_something_else_is_cancelled_by_the_end(offer: Offer) -> None:
    cancelled: list[bool] = []

    async def absorbed(call: Call) -> None:
        await call.answer()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(absorbed, farm.call)
            await turn(2)
            farm.ack()
            await turn(2)
            farm.bye()
            await turn(3)
            assert cancelled == [True]
            assert farm.runner.running == 0
        farm.check_at_rest()

    run(scenario())


def test_a_task_may_tidy_up_after_the_end_but_not_for_ever(offer: Offer) -> None:
    async def lingering(call: Call) -> None:
        await call.answer()
        await call.ended()
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with Farm(offer(), TaskOptions(linger_s=0.01)) as farm:
            farm.runner.start(lingering, farm.call)
            await turn(2)
            farm.ack()
            await turn(2)
            farm.bye()
            await turn(3)
            assert farm.runner.running == 1
            async with asyncio.timeout(5):
                while farm.runner.running:
                    await turn()
        farm.check_at_rest()

    run(scenario())


def test_a_task_group_of_a_task_that_ends_with_its_call_is_no_crash(offer: Offer) -> None:
    async def grouped(call: Call) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(call.answer())
            group.create_task(call.ended())

    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(grouped, farm.call)
            await turn(3)
            farm.ladder.cancel(1)
            farm.bye()
            await turn(5)
        assert farm.log.entries == []
        farm.check_at_rest()

    run(scenario())


def test_a_full_runner_takes_no_more_and_a_closed_one_none(offer: Offer) -> None:
    async def scenario() -> None:
        async with Farm(offer(), TaskOptions(calls_max=1)) as farm:
            started: Task = echo
            farm.runner.start(started, farm.call)
            refused = Farm(offer())
            with pytest.raises(CapacityError):
                farm.runner.start(echo, refused.call)
        with pytest.raises(UsageError):
            farm.runner.start(echo, refused.call)
        farm.check_at_rest()

    run(scenario())


def test_an_ack_that_never_comes_ends_the_task(offer: Offer) -> None:
    async def scenario() -> None:
        async with Farm(offer()) as farm:
            farm.runner.start(echo, farm.call)
            await turn(2)
            farm.ladder.run_until(32_000)
            await turn(3)
            assert farm.runner.running == 0
        farm.check_at_rest()
        assert farm.log.entries == []

    run(scenario())
