"""The driver holds back what a member has to say while it may be dead to the others."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sipfarm.base.io.clock import SystemClock
from sipfarm.native import Engine, Event, Hop
from sipfarm.signaling.io.driver import Driver
from sipfarm.testing.fake_plane import FakePlane

PATIENCE_S = 10.0
HERE = "127.0.0.1"
PHONE = Hop("tcp", HERE, 5070, 0, 7)
OPTIONS = (
    b"OPTIONS sip:127.0.0.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 127.0.0.1:5070;branch=z9hG4bK-one\r\n"
    b"From: <sip:alice@example.test>;tag=a\r\n"
    b"To: <sip:example.test>\r\n"
    b"Call-ID: one\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Max-Forwards: 70\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Stage:
    """A driver that is in doubt or not, and what leaves it."""

    def __init__(self) -> None:
        self.alive = True
        self.bus_takes = True
        self.sent: list[bytes] = []
        self.frames: list[int] = []
        self.events: list[Event] = []
        self._asked = asyncio.Event()
        clock = SystemClock()
        self.engine = Engine(
            FakePlane(HERE, 4).pool,
            listens=[(Hop("tcp", HERE, 5060), HERE, 5060)],
            member=1,
            epoch=1,
            mark_key=bytes(16),
            transaction_key=bytes(16),
            media=HERE,
            now_ms=clock.now_ms(),
        )
        self.driver = Driver(
            asyncio.get_running_loop(),
            clock,
            self.engine,
            self.events.append,
            lambda out: None,
            self._may_act,
        )
        self.driver.use_streams(self)
        self.driver.use_bus(self._send_frame)

    def send(self, hop: Hop, message: bytes, transaction: int, server: str) -> None:
        self.sent.append(message)
        self._asked.set()

    def receive(self) -> int:
        """A request; the transaction to be answered."""
        self.driver.receive_messages([(OPTIONS, PHONE)])
        (event,) = self.events
        return event.id

    def answer(self, transaction: int) -> None:
        """As a transaction user does when the store has answered."""
        now_ms = self.driver.now_ms()
        self.engine.respond(transaction, 200, "OK", (), b"", "t", now_ms, self.driver.out)
        self.driver.wake()

    async def asked(self, times: int) -> None:
        """Wait until the driver has asked so often, or has sent something."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(times):
                self._asked.clear()
                await self._asked.wait()

    def _may_act(self) -> bool:
        self._asked.set()
        return self.alive

    def _send_frame(self, number: int, payload: bytes) -> bool:
        self.frames.append(number)
        return self.bus_takes


def played(body: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        stage = Stage()
        try:
            await body(stage)
        finally:
            stage.driver.close()

    asyncio.run(play())


def test_an_answer_of_the_store_after_a_stop_waits_until_the_doubt_ends() -> None:
    async def body(stage: Stage) -> None:
        transaction = stage.receive()
        stage.alive = False
        stage.answer(transaction)
        await stage.asked(4)
        assert stage.sent == []
        stage.alive = True
        async with asyncio.timeout(PATIENCE_S):
            while not stage.sent:
                await stage.asked(1)
        assert [message.split(b"\r\n")[0] for message in stage.sent] == [b"SIP/2.0 200 OK"]

    played(body)


def test_what_waits_is_dropped_with_the_incarnation() -> None:
    async def body(stage: Stage) -> None:
        transaction = stage.receive()
        stage.alive = False
        stage.answer(transaction)
        await stage.asked(2)
        stage.driver.close()
        stage.alive = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stage.asked(1)
        assert stage.sent == []

    played(body)


def test_a_view_that_comes_in_doubt_sends_no_frame() -> None:
    """A new view has the engine tell the homes of its transactions."""

    async def body(stage: Stage) -> None:
        stage.receive()
        stage.alive = False
        stage.driver.set_view([(1, 1, True, 0.0), (2, 1, True, 0.0)])
        stage.driver.transport_failed(1)
        await stage.asked(3)
        assert (stage.frames, stage.sent) == ([], [])
        stage.alive = True
        async with asyncio.timeout(PATIENCE_S):
            while stage.driver.out.has_frames:
                await stage.asked(1)

    played(body)


def test_a_request_to_a_stream_of_a_member_that_cannot_be_reached_fails_at_once() -> None:
    async def body(stage: Stage) -> None:
        stage.driver.set_view([(1, 1, True, 0.0), (2, 1, True, 0.0)])
        stage.bus_takes = False
        far = Hop("tcp", HERE, 5080, 0, 7, 2)
        lines = (("From", "<sip:a@x.test>;tag=a"), ("To", "<sip:b@x.test>"), ("CSeq", "1 OPTIONS"))
        asked = ("OPTIONS", f"sip:b@{HERE}:5080", "", (*lines, ("Call-ID", "two")), b"", "two")
        now_ms = stage.driver.now_ms()
        assert stage.engine.request(5, *asked, far, now_ms, stage.driver.out)
        stage.driver.wake()
        async with asyncio.timeout(PATIENCE_S):
            while not stage.events:
                await stage.asked(1)
        (event,) = stage.events
        assert (event.id, event.status, event.message) == (5, 503, None)

    played(body)
