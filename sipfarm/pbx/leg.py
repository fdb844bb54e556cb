"""One party of a call: its session and its media, joined (RFC 3261 §13.2.1, RFC 3264).

What the session calls an offer becomes a session description here, and what was agreed becomes
commands for the media plane. CloseMedia comes exactly once, with Ended.
"""

from typing import Final

import msgspec

from sipfarm.base.errors import PeerError
from sipfarm.base.records import SrtpPolicy
from sipfarm.base.secrets import Secret
from sipfarm.media import offer_answer
from sipfarm.media.offer_answer import Capabilities, Negotiated, Party
from sipfarm.media.plan import (
    CloseMedia,
    LocalMedia,
    MediaCommand,
    MediaKind,
    OpenMedia,
    Stream,
    UpdateMedia,
)
from sipfarm.media.sdes import without_keys
from sipfarm.media.sdp import Direction, SessionDescription, format_sdp, parse_sdp
from sipfarm.media.securing import Security, Terms, renewed_description
from sipfarm.signaling.session import Session
from sipfarm.signaling.session_kept import KeptSession, Legacy, inherited, kept, shifted
from sipfarm.signaling.session_state import SessionOptions, State
from sipfarm.signaling.ua import (
    AnswerReceived,
    Confirmed,
    Ended,
    EndReason,
    EngineCommand,
    Headers,
    InfoReceived,
    ModifyFailed,
    OfferDue,
    Offered,
    OfferWanted,
    OfferWithdrawn,
    Output,
    Released,
    Request,
    Response,
    Ringing,
)

LegEvent = Ringing | Confirmed | InfoReceived | ModifyFailed | Ended | Released
LegOutput = EngineCommand | MediaCommand | LegEvent

NOT_ACCEPTABLE: Final[Headers] = (
    ("Warning", '305 sipfarm "Incompatible media format"'),
)  # RFC 3261 §20.43


class KeptLeg(msgspec.Struct, frozen=True, array_like=True):
    """A leg that stands, as it is kept for its heir."""

    session: KeptSession
    session_id: int
    kind: MediaKind
    capabilities: Capabilities
    willing: Direction
    stream: Stream | None
    ends_at_ms: int | None
    srtp: SrtpPolicy = "off"

    def shifted(self, by_ms: int) -> "KeptLeg":
        """The same by another clock."""
        return msgspec.structs.replace(
            self,
            session=self.session.shifted(by_ms),
            ends_at_ms=shifted(self.ends_at_ms, by_ms),
        )


class Leg:
    """A session with one audio stream of the given kind; its owner carries out what comes back."""

    def __init__(self, session: Session, party: Party, kind: MediaKind) -> None:
        self._session = session
        self._party = party
        self._kind: MediaKind = kind
        self._willing = Direction.SENDRECV
        self._agreed: Negotiated | None = None  # the answer to the first INVITE, not sent yet
        self._local: SessionDescription | None = None
        self._stream: Stream | None = None
        self._ends_at_ms: int | None = None
        self._is_closed = False

    @classmethod
    def inherited(cls, leg: KeptLeg, legacy: Legacy, media: LocalMedia, key_seed: Secret) -> "Leg":
        """The leg at its heir, which has ports and keys of its own; `take_over` tells the peer."""
        terms = Terms(leg.srtp, key_seed)
        local = renewed_description(parse_sdp(leg.session.local_description), terms)
        session = msgspec.structs.replace(leg.session, local_description=format_sdp(local))
        record = inherited(session, legacy, SessionOptions())
        party = Party(media, leg.session_id, leg.capabilities, terms)
        made = cls(Session(record), party, leg.kind)
        made._willing = leg.willing
        made._local = local
        made._stream = leg.stream and msgspec.structs.replace(leg.stream, local=media)
        made._ends_at_ms = leg.ends_at_ms
        return made

    def kept(self) -> KeptLeg | None:
        """What an heir needs to go on, but no keys; None: the leg does not stand."""
        session = kept(self._session.record)
        if session is None:
            return None
        party, stream = self._party, self._stream
        if stream is not None and stream.security is not None:
            stream = msgspec.structs.replace(stream, security=stream.security.withheld)
        shown = without_keys(session.local_description)
        return KeptLeg(
            msgspec.structs.replace(session, local_description=shown),
            party.session_id,
            self._kind,
            party.capabilities,
            self._willing,
            stream,
            self._ends_at_ms,
            party.srtp.policy,
        )

    @property
    def state(self) -> State:
        return self._session.state

    @property
    def session(self) -> Session:
        return self._session

    # What the engine hands in.

    def receive(self, request: Request, now_ms: int) -> list[LegOutput]:
        return self._carry(self._session.receive(request, now_ms), now_ms)

    def ack(self, request: Request, now_ms: int) -> list[LegOutput]:
        return self._carry(self._session.ack(request, now_ms), now_ms)

    def cancel(self, transaction: int, now_ms: int) -> list[LegOutput]:
        return self._carry(self._session.cancel(transaction, now_ms), now_ms)

    def response(
        self, key: int, response: Response | None, now_ms: int, status: int = 408
    ) -> list[LegOutput]:
        return self._carry(self._session.response(key, response, now_ms, status), now_ms)

    def next_deadline_ms(self) -> int | None:
        deadlines = (self._session.next_deadline_ms(), self._ends_at_ms)
        return min((at_ms for at_ms in deadlines if at_ms is not None), default=None)

    def expire(self, now_ms: int) -> list[LegOutput]:
        outputs = self._session.expire(now_ms)
        if self._ends_at_ms is not None and self._ends_at_ms <= now_ms:
            self._ends_at_ms = None
            outputs += self._session.hang_up(now_ms, reason=EndReason.DURATION_EXCEEDED)
        return self._carry(outputs, now_ms)

    # What the call wants.

    def ring(self, now_ms: int, status: int = 180) -> list[LegOutput]:
        return self._carry(self._session.ring(now_ms, status), now_ms)

    def answer(self, now_ms: int, duration_ms_max: int) -> list[LegOutput]:
        """Take the call; it ends by itself after `duration_ms_max`."""
        if self._session.state is not State.INVITED:
            return []
        if self._agreed is None:
            self._local = offer_answer.offer(self._party, None, self._willing)
            opened: list[LegOutput] = []
        else:
            self._local = self._agreed.description
            opened = self._flow(self._agreed.stream)
        self._ends_at_ms = now_ms + duration_ms_max
        answered = self._session.answer(format_sdp(self._local), now_ms)
        return opened + self._carry(answered, now_ms)

    def hold(self, now_ms: int) -> list[LegOutput]:
        """Stop the peer from sending (RFC 3264 §8.4)."""
        return self._offer(Direction.SENDONLY, now_ms)

    def resume(self, now_ms: int) -> list[LegOutput]:
        return self._offer(Direction.SENDRECV, now_ms)

    def hang_up(self, now_ms: int, status: int = 480) -> list[LegOutput]:
        """End the call in whatever way its state asks for; `status` where it was not answered."""
        return self._carry(self._session.hang_up(now_ms, status), now_ms)

    def take_over(self, now_ms: int) -> list[LegOutput]:
        """Carry on what another member had: media here, and the peer is told where (RFC 3261
        §14.1).
        """
        stream = self._stream
        opened: list[LegOutput] = (
            [OpenMedia(self._kind, stream), UpdateMedia(stream)] if stream else []
        )
        return opened + self._offer(self._willing, now_ms)

    def _offer(self, willing: Direction, now_ms: int) -> list[LegOutput]:
        self._willing = willing
        return self._carry(self._session.modify(now_ms), now_ms)

    def _carry(self, outputs: list[Output], now_ms: int) -> list[LegOutput]:
        """Meet what the session asks about media, and pass the rest on.

        What the session says then goes last: the requests passed on were numbered before it.
        """
        carried: list[LegOutput] = []
        last: list[LegOutput] = []
        for output in outputs:
            match output:
                case Offered(body):
                    last += self._offered(body, now_ms)
                case OfferWanted():
                    last += self._offer_wanted(now_ms)
                case OfferDue():
                    last += self._offer_due(now_ms)
                case AnswerReceived(body, offer):
                    flowing, ended = self._answered(body, offer, now_ms)
                    carried += flowing
                    last += ended
                case OfferWithdrawn():
                    continue  # every offer is answered at once
                case Ended():
                    carried += [*self._close(), output]
                case Confirmed() if self._is_closed:
                    continue  # its answer did not fit: the call ended as it was confirmed
                case _:
                    carried.append(output)
        return carried + last

    def _offered(self, body: bytes, now_ms: int) -> list[LegOutput]:
        try:
            agreed = offer_answer.answer(
                parse_sdp(body), self._party, self._local, self._willing, self._security
            )
        except PeerError as error:
            return self._not_acceptable(error.status, now_ms)
        if self._session.state is State.INVITED:
            self._agreed = agreed
            return []
        self._local = agreed.description
        flowing = self._flow(agreed.stream)
        accepted = self._session.accept(format_sdp(agreed.description), now_ms)
        return flowing + self._carry(accepted, now_ms)

    def _not_acceptable(self, status: int, now_ms: int) -> list[LegOutput]:
        headers = NOT_ACCEPTABLE if status == 488 else ()
        if self._session.state is State.INVITED:
            return self._carry(self._session.reject(status, now_ms, headers), now_ms)
        return self._carry(self._session.refuse(status, now_ms, headers), now_ms)

    def _offer_wanted(self, now_ms: int) -> list[LegOutput]:
        if self._session.state is State.INVITED:
            return []
        offered = offer_answer.offer(self._party, self._local, self._willing)
        return self._carry(self._session.accept(format_sdp(offered), now_ms), now_ms)

    def _offer_due(self, now_ms: int) -> list[LegOutput]:
        offered = offer_answer.offer(self._party, self._local, self._willing)
        return self._carry(self._session.offer(format_sdp(offered), now_ms), now_ms)

    def _answered(
        self, body: bytes, offer: bytes, now_ms: int
    ) -> tuple[list[LegOutput], list[LegOutput]]:
        """An answer that does not fit its offer ends the call: nobody knows what flows."""
        try:
            agreed = offer_answer.complete(
                parse_sdp(offer), parse_sdp(body), self._party, self._security
            )
        except PeerError:
            return [], self._carry(self._session.hang_up(now_ms), now_ms)
        self._local = agreed.description
        return self._flow(agreed.stream), []

    def _flow(self, stream: Stream | None) -> list[LegOutput]:
        """Make the plane's stream what was agreed; a stream that was refused later rests."""
        current = self._stream
        if stream is None and current is not None:
            stream = msgspec.structs.replace(
                current, rtp=None, rtcp=None, direction=Direction.INACTIVE
            )
        if self._is_closed or stream is None or stream == current:
            return []
        self._stream = stream
        return [OpenMedia(self._kind, stream) if current is None else UpdateMedia(stream)]

    @property
    def _security(self) -> Security | None:
        return self._stream.security if self._stream is not None else None

    def _close(self) -> list[LegOutput]:
        if self._is_closed:
            return []
        self._is_closed = True
        self._ends_at_ms = None
        return [CloseMedia(self._party.media)]
