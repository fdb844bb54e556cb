"""A call as its task sees it: a few awaitable acts over a leg."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from sipfarm.base.errors import SipfarmError
from sipfarm.base.records import SrtpPolicy
from sipfarm.base.secrets import Secret
from sipfarm.media.offer_answer import Capabilities, Party
from sipfarm.media.plan import LocalMedia, MediaKind
from sipfarm.media.securing import Terms
from sipfarm.pbx.leg import KeptLeg, Leg, LegOutput
from sipfarm.signaling.dialog import addr_spec
from sipfarm.signaling.session import Session
from sipfarm.signaling.session_kept import Legacy
from sipfarm.signaling.session_state import Record, SessionOptions, State
from sipfarm.signaling.ua import Confirmed, Ended, EndReason, Released, Request, Response

DURATION_MS_MAX: Final = 4 * 3_600_000
LINGER_S: Final = 10.0


class CallEnded(SipfarmError):
    """The call was over before the act that was asked for could be done."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.reason.value)
        self.ended = ended


class CallPort(Protocol):
    """What a call needs of the driver: the time, and what its task causes carried out."""

    def now_ms(self) -> int: ...

    def perform(self, call: "Call", outputs: Sequence[LegOutput]) -> None:
        """Carry out the outputs in order, and look at `call.next_deadline_ms()` again."""
        ...


class CallSeed(msgspec.Struct, frozen=True):
    """What is minted for a call: tag and Contact URI with owner marks, and numbers drawn."""

    local_tag: str
    local_contact: str
    session_id: int
    seed: int
    key_seed: Secret = Secret("")
    """What keys of SRTP are made of."""


class CallView(msgspec.Struct, frozen=True):
    """Who calls whom."""

    call_id: str
    caller: str
    callee: str
    request_uri: str


class KeptCall(msgspec.Struct, frozen=True, array_like=True):
    """A call that stands, as it is kept for its heir."""

    view: CallView
    leg: KeptLeg

    @property
    def tag(self) -> str:
        """Ours."""
        return self.leg.session.dialog.local_tag

    def shifted(self, by_ms: int) -> "KeptCall":
        """The same by another clock."""
        return msgspec.structs.replace(self, leg=self.leg.shifted(by_ms))


class Call:
    """One call, shared by the driver, which hands in what comes, and the task, which awaits."""

    def __init__(self, view: CallView, leg: Leg, port: CallPort) -> None:
        self.view = view
        self._leg = leg
        self._port = port
        self._ended: Ended | None = None
        self._is_released = False
        self._settled = asyncio.Event()  # confirmed or ended
        if leg.state is State.CONFIRMED:
            self._settled.set()
        self._over = asyncio.Event()
        self._waiting_for_end = 0
        self._is_commanding = False
        self._task: asyncio.Task[None] | None = None
        self._linger_s = LINGER_S

    @property
    def is_over(self) -> bool:
        return self._ended is not None

    @property
    def is_released(self) -> bool:
        """Whether nothing more will come of it, so that the driver may forget it."""
        return self._is_released

    @property
    def state(self) -> State:
        return self._leg.state

    @property
    def hop(self) -> object:
        """Where the peer was heard last."""
        return self._leg.session.record.hop

    # The driver's side: every method returns what is to be carried out.

    def receive(self, request: Request, now_ms: int) -> list[LegOutput]:
        return self._note(self._leg.receive(request, now_ms))

    def ack(self, request: Request, now_ms: int) -> list[LegOutput]:
        return self._note(self._leg.ack(request, now_ms))

    def cancel(self, transaction: int, now_ms: int) -> list[LegOutput]:
        return self._note(self._leg.cancel(transaction, now_ms))

    def response(
        self, key: int, response: Response | None, now_ms: int, status: int = 408
    ) -> list[LegOutput]:
        return self._note(self._leg.response(key, response, now_ms, status))

    def next_deadline_ms(self) -> int | None:
        return self._leg.next_deadline_ms()

    def expire(self, now_ms: int) -> list[LegOutput]:
        return self._note(self._leg.expire(now_ms))

    def end(self, now_ms: int, status: int) -> list[LegOutput]:
        """End the call from outside its task: `status` where it was not answered, else BYE."""
        return self._note(self._leg.hang_up(now_ms, status))

    def kept(self) -> KeptCall | None:
        """What an heir needs to go on; None: the call does not stand."""
        leg = self._leg.kept()
        return leg and KeptCall(self.view, leg)

    def take_over(self, now_ms: int) -> list[LegOutput]:
        """Go on as the heir of another member."""
        return self._note(self._leg.take_over(now_ms))

    def run_by(self, task: asyncio.Task[None], linger_s: float) -> None:
        """Name the task that runs the call: it is cancelled when the call ends under it."""
        self._task = task
        self._linger_s = linger_s

    # The task's side.

    async def ring(self, status: int = 180) -> None:
        """Tell the caller that somebody is being alerted."""
        self._command(self._leg.ring(self._now(), status))

    def take(self, duration_ms_max: int = DURATION_MS_MAX) -> None:
        """Take the call, and wait for nothing."""
        self._command(self._leg.answer(self._now(), duration_ms_max))

    async def answer(self, duration_ms_max: int = DURATION_MS_MAX) -> None:
        """Take the call and wait for the caller's ACK; the call ends after `duration_ms_max`. One
        that was answered before, by this member or another, stays as it is.
        """
        self.take(duration_ms_max)
        await self._settled.wait()
        if self._ended is not None:
            raise CallEnded(self._ended)

    async def hold(self) -> None:
        self._command(self._leg.hold(self._now()))

    async def resume(self) -> None:
        self._command(self._leg.resume(self._now()))

    async def hang_up(self, status: int = 480) -> None:
        """End the call: BYE, or `status` where it was not answered."""
        self._command(self._leg.hang_up(self._now(), status))

    async def ended(self) -> Ended:
        """Wait for the end of the call, whoever brings it about."""
        self._waiting_for_end += 1
        try:
            await self._over.wait()
        finally:
            self._waiting_for_end -= 1
        return self._ended or Ended(EndReason.BYE_SENT)

    def _now(self) -> int:
        if self._ended is not None:
            raise CallEnded(self._ended)
        return self._port.now_ms()

    def _command(self, outputs: list[LegOutput]) -> None:
        self._is_commanding = True
        self._note(outputs)
        self._is_commanding = False
        self._port.perform(self, outputs)

    def _note(self, outputs: list[LegOutput]) -> list[LegOutput]:
        for output in outputs:
            match output:
                case Confirmed():
                    self._settled.set()
                case Ended():
                    self._end(output)
                case Released():
                    self._is_released = True
                case _:
                    continue
        return outputs

    def _end(self, ended: Ended) -> None:
        """Wake who waits; a task that neither ended the call nor waits for its end is cancelled."""
        self._ended = ended
        self._settled.set()
        self._over.set()
        if self._task is None:
            return
        if not self._is_commanding and not self._waiting_for_end:
            self._task.cancel()
        self._task.get_loop().call_later(self._linger_s, self._task.cancel)


def incoming_call(
    invite: Request,
    seed: CallSeed,
    media: LocalMedia,
    port: CallPort,
    kind: MediaKind = "echo",
    options: SessionOptions | None = None,
    srtp: SrtpPolicy = "off",
) -> Call:
    """The call that an INVITE asks for; hand it the INVITE with `receive`."""
    record = Record(
        local_tag=seed.local_tag,
        local_contact=seed.local_contact,
        seed=seed.seed,
        options=options or SessionOptions(),
    )
    party = Party(
        media, seed.session_id, Capabilities(reflects=kind == "echo"), Terms(srtp, seed.key_seed)
    )
    view = CallView(
        call_id=invite.call_id,
        caller=addr_spec(invite.header("From") or ""),
        callee=addr_spec(invite.header("To") or ""),
        request_uri=invite.request_uri,
    )
    return Call(view, Leg(Session(record), party, kind), port)


def inherited_call(
    kept: KeptCall, legacy: Legacy, media: LocalMedia, port: CallPort, key_seed: Secret
) -> Call:
    """The call that another member had; `take_over` tells the peer."""
    return Call(kept.view, Leg.inherited(kept.leg, legacy, media, key_seed), port)
