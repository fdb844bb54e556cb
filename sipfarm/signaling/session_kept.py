"""A standing session as it is kept for its heir, and the session that an heir makes of it (ADR 17).

What was under way between the two ends is not kept: the heir begins with a re-INVITE, and the peer
repeats or gives up what it had asked for. Field rules are those of `base.records`.
"""

from typing import Final

import msgspec

from sipfarm.signaling.dialog import Dialog
from sipfarm.signaling.session_state import Record, SessionOptions, State, Timer
from sipfarm.signaling.session_timer import SessionTimer

CSEQ_HEAD_ROOM: Final = 1_000
"""For requests that the peer may have seen and the store not yet (RFC 3261 §12.2.1.1)."""


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """A confirmed session, without what waits for an answer."""

    dialog: Dialog
    seed: int
    draws: int
    is_uac: bool
    peer_allows_update: bool
    local_description: bytes
    timer: SessionTimer | None
    min_se_s: int
    refresh_at_ms: int | None
    expires_at_ms: int | None

    def shifted(self, by_ms: int) -> "KeptSession":
        """The same by another clock."""
        return msgspec.structs.replace(
            self,
            refresh_at_ms=shifted(self.refresh_at_ms, by_ms),
            expires_at_ms=shifted(self.expires_at_ms, by_ms),
        )


def kept(record: Record) -> KeptSession | None:
    """The session as an heir could go on with it; None: it does not stand."""
    if record.state is not State.CONFIRMED or record.dialog is None:
        return None
    return KeptSession(
        dialog=record.dialog,
        seed=record.seed,
        draws=record.draws,
        is_uac=record.is_uac,
        peer_allows_update=record.peer_allows_update,
        local_description=record.local_description,
        timer=record.timer,
        min_se_s=record.min_se_s,
        refresh_at_ms=record.deadlines.get(Timer.REFRESH),
        expires_at_ms=record.deadlines.get(Timer.EXPIRY),
    )


class Legacy(msgspec.Struct, frozen=True):
    """What an heir has of its own: Contact, the way to the peer, and which heir it is of those
    since the session was last kept.
    """

    local_contact: str
    hop: object
    takes: int = 1


def inherited(session: KeptSession, legacy: Legacy, options: SessionOptions) -> Record:
    """The session at its heir: under the same tags, with a Contact and CSeq numbers of its own."""
    deadlines = {Timer.REFRESH: session.refresh_at_ms, Timer.EXPIRY: session.expires_at_ms}
    return Record(
        local_tag=session.dialog.local_tag,
        local_contact=legacy.local_contact,
        seed=session.seed,
        options=options,
        state=State.CONFIRMED,
        dialog=msgspec.structs.replace(
            session.dialog,
            local_contact=legacy.local_contact,
            local_cseq=session.dialog.local_cseq + legacy.takes * CSEQ_HEAD_ROOM,
        ),
        hop=legacy.hop,
        is_uac=session.is_uac,
        peer_allows_update=session.peer_allows_update,
        local_description=session.local_description,
        timer=session.timer,
        min_se_s=session.min_se_s,
        draws=session.draws,
        deadlines={timer: at_ms for timer, at_ms in deadlines.items() if at_ms is not None},
    )


def shifted(at_ms: int | None, by_ms: int) -> int | None:
    return None if at_ms is None else at_ms + by_ms
