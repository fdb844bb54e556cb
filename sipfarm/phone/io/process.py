"""An async handle on a softphone that runs as a child process.

    async with softphone(PhoneSettings(aor="sip:alice@example.test", …)) as phone:
        await phone.register()
        call = await phone.call("sip:bob@example.test", play=comb, record=heard)
        …
        report = await phone.hangup(call)

Events are read when somebody waits for one, so a phone has no task of its own; only one coroutine
may wait on a phone at a time.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from sipfarm.base.errors import SipfarmError
from sipfarm.phone.protocol import (
    LINE_BYTES_MAX,
    Answer,
    AnyEvent,
    Call,
    Closed,
    Command,
    Digit,
    Dtmf,
    Event,
    Failed,
    Hangup,
    Hold,
    Incoming,
    Media,
    Open,
    Opened,
    PhoneSettings,
    Quit,
    Register,
    Registered,
    Report,
    Reported,
    Resume,
    State,
    decode_event,
    encode,
)

ANSWER_S: Final = 10.0
QUIT_S: Final = 6.0
STDERR_BYTES_SHOWN: Final = 2_000
EVENTS_KEPT_MAX: Final = 10_000
MEDIA_KNOWN: Final = ("active", "remote_hold", "error")

E = TypeVar("E", bound=Event)


class PhoneError(SipfarmError):
    """What a phone could not do, in a sentence; `status` is the SIP status, 0 where none came."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class PhoneTimeoutError(PhoneError, TimeoutError):
    """Nothing came in the time that was given."""


class Softphone:
    """A running softphone; made by `softphone`."""

    def __init__(
        self, settings: PhoneSettings, process: asyncio.subprocess.Process, stderr: IO[bytes]
    ) -> None:
        self.settings = settings
        self.address = ""
        """Where the phone listens for SIP, `host:port`."""
        self._process = process
        self._stderr = stderr
        self._calls = 0
        self._kept: list[AnyEvent] = []

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def open(self) -> None:
        """Start pjsua2 in the child."""
        await self._say(Open(settings=self.settings))
        self.address = (await self.wait(Opened)).address

    async def register(self, expires_s: int | None = None) -> Registered:
        """Register and wait for the outcome; raises PhoneError when it is refused."""
        expires_s = self.settings.expires_s if expires_s is None else expires_s
        await self._say(Register(expires_s=expires_s))
        outcome = await self.wait(Registered, timeout_s=40)
        if outcome.status // 100 != 2:
            raise PhoneError(
                f"{self.settings.aor} is not registered: {outcome.status} {outcome.reason}.",
                outcome.status,
            )
        return outcome

    async def call(
        self,
        to: str,
        play: Path | None = None,
        record: Path | None = None,
        loop: bool = True,
        ring_s: float = 60.0,
    ) -> int:
        """Call a URI and wait until it is answered; returns the call's number.

        Raises PhoneError with the final status when it is not.
        """
        number = await self.start_call(to, play, record, loop)
        await self.wait_answered(number, to, ring_s)
        return number

    async def start_call(
        self, to: str, play: Path | None = None, record: Path | None = None, loop: bool = True
    ) -> int:
        """Call a URI without waiting for what comes of it; returns the call's number."""
        self._calls += 1
        await self._say(
            Call(call=self._calls, to=to, play=_text(play), record=_text(record), loop=loop)
        )
        return self._calls

    async def wait_answered(self, number: int, to: str = "", ring_s: float = 60.0) -> None:
        """Wait until a call is up; raises PhoneError with its final status when it ends instead."""
        state = await self.wait_state(number, ("confirmed", "disconnected"), ring_s)
        if state.state == "disconnected":
            raise PhoneError(
                f"The call to {to or number} was not taken: {state.status} {state.reason}.",
                state.status,
            )
        media = await self.wait(
            Media, lambda event: event.call == number and event.state in MEDIA_KNOWN
        )
        if media.state == "error":
            raise PhoneError(f"The call to {to or number} has no audio: {media.reason}.")

    async def incoming(self, timeout_s: float = ANSWER_S) -> Incoming:
        """Wait for a call to come in."""
        return await self.wait(Incoming, timeout_s=timeout_s)

    async def answer(
        self,
        number: int,
        play: Path | None = None,
        record: Path | None = None,
        loop: bool = True,
        status: int = 200,
    ) -> None:
        """Answer an incoming call; with status 200 this waits until it is up."""
        await self._say(
            Answer(call=number, status=status, play=_text(play), record=_text(record), loop=loop)
        )
        if status == 200:
            await self.wait_answered(number, ring_s=40)

    async def hangup(self, number: int, status: int = 0) -> Reported:
        """End a call and return its report."""
        await self._say(Hangup(call=number, status=status))
        await self.wait_state(number, ("disconnected",), 40)
        return await self.report(number)

    async def hold(self, number: int) -> None:
        """Put the far end on hold and wait until it is."""
        self._forget(Media, number)
        await self._say(Hold(call=number))
        await self.wait_media(number, "local_hold")

    async def resume(self, number: int) -> None:
        """Take the far end off hold and wait until audio flows again."""
        self._forget(Media, number)
        await self._say(Resume(call=number))
        await self.wait_media(number, "active")

    async def dtmf(self, number: int, digits: str) -> None:
        """Send digits (RFC 4733); they leave one after the other."""
        await self._say(Dtmf(call=number, digits=digits))

    async def report(self, number: int) -> Reported:
        """The counters of a call, running or ended."""
        await self._say(Report(call=number))
        return await self.wait(Reported, lambda event: event.call == number)

    async def wait_state(
        self, number: int, states: tuple[str, ...], timeout_s: float = ANSWER_S
    ) -> State:
        """Wait until a call is in one of these states."""
        return await self.wait(
            State, lambda event: event.call == number and event.state in states, timeout_s
        )

    async def wait_media(self, number: int, state: str, timeout_s: float = ANSWER_S) -> Media:
        """Wait until the media of a call is active, local_hold, remote_hold or none."""
        return await self.wait(
            Media, lambda event: event.call == number and event.state == state, timeout_s
        )

    async def wait_digit(self, number: int, timeout_s: float = ANSWER_S) -> str:
        """Wait for the next digit of a call."""
        return (await self.wait(Digit, lambda event: event.call == number, timeout_s)).digit

    async def wait(
        self,
        kind: type[E],
        fits: Callable[[E], bool] = lambda _: True,
        timeout_s: float = ANSWER_S,
    ) -> E:
        """The first event of a kind that fits and was not waited for yet.

        Raises PhoneError when a command fails, the phone dies or the time is over.
        """
        for at, event in enumerate(self._kept):
            if isinstance(event, kind) and fits(event):
                del self._kept[at]
                return event
        try:
            async with asyncio.timeout(timeout_s):
                return await self._wait_new(kind, fits)
        except TimeoutError:
            raise PhoneTimeoutError(
                f"{self.settings.aor} waited {timeout_s:g} s for {kind.__name__.lower()} in vain."
            ) from None

    async def quit(self) -> None:
        """Let calls and registration end, then the process; kill it where it does not."""
        if self._process.returncode is not None:
            return
        try:
            async with asyncio.timeout(QUIT_S):
                await self._say(Quit())
                await self._wait_new(Closed, lambda _: True)
                await self._process.wait()
        except (TimeoutError, PhoneError):
            await self.kill()

    async def leave(self) -> None:
        """Close the phone's input, upon which it ends calls and registration by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(QUIT_S):
                await self._process.communicate()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _wait_new(self, kind: type[E], fits: Callable[[E], bool]) -> E:
        while True:
            event = await self._next()
            if isinstance(event, kind) and fits(event):
                return event
            if isinstance(event, Failed):
                raise PhoneError(event.sentence)
            self._kept.append(event)
            if len(self._kept) > EVENTS_KEPT_MAX:
                del self._kept[0]

    async def _next(self) -> AnyEvent:
        stdout = self._process.stdout
        line = await stdout.readline() if stdout is not None else b""
        if not line:
            raise PhoneError(await self._why_it_died())
        try:
            return decode_event(line)
        except msgspec.DecodeError as error:
            raise PhoneError(f"The softphone process wrote no event: {line[:200]!r}.") from error

    async def _say(self, command: Command) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise PhoneError("The softphone process has no input.")
        try:
            stdin.write(encode(command))
            await stdin.drain()
        except ConnectionError:
            # What it wrote before it ended may say why.
            await self._wait_new(Closed, lambda _: True)
            raise PhoneError("The softphone process has ended.") from None

    async def _why_it_died(self) -> str:
        status = await self._process.wait()
        length = os.fstat(self._stderr.fileno()).st_size
        self._stderr.seek(max(0, length - STDERR_BYTES_SHOWN))
        said = self._stderr.read().decode(errors="replace").strip()
        return f"The softphone process ended with status {status}. {said}".strip()

    def _forget(self, kind: type[Media], number: int) -> None:
        self._kept = [
            event for event in self._kept if not (isinstance(event, kind) and event.call == number)
        ]


@asynccontextmanager
async def softphone(settings: PhoneSettings) -> AsyncGenerator[Softphone]:
    """Start a softphone process and end it afterwards, whatever happens in between."""
    with tempfile.TemporaryFile() as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sipfarm.phone.io.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=LINE_BYTES_MAX,
        )
        phone = Softphone(settings, process, stderr)
        try:
            await phone.open()
            yield phone
            await phone.quit()
        finally:
            if process.returncode is None:
                await asyncio.shield(phone.leave())


def _text(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())
