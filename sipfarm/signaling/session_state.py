"""The states of an INVITE session, in one table that alone decides them (RFC 3261 §13 to §15).

Only states, inputs, what they lead to, and the record that a session is made of may live in this
file.
"""

from enum import IntEnum, auto
from typing import Final

import msgspec

from sipfarm.signaling.dialog import Dialog
from sipfarm.signaling.session_timer import MIN_SE_FLOOR_S, SessionTimer, TimerPolicy
from sipfarm.signaling.ua import EndReason, Headers, Respond


class State(IntEnum):
    """Where a session stands."""

    IDLE = auto()
    INVITED = auto()  # UAS: an INVITE waits for its final response
    CALLING = auto()  # UAC: our INVITE waits for its final response
    CANCELLING = auto()  # UAC: the same, given up; a late 2xx is still acknowledged and ended
    MORATORIUM = auto()  # our 2xx waits for its ACK (RFC 5407 §2)
    CLOSING = auto()  # the same, and we want to hang up (RFC 3261 §15)
    CONFIRMED = auto()
    TERMINATING = auto()  # our BYE waits for its answer
    TERMINATED = auto()


class Input(IntEnum):
    """What moves a session. Re-INVITE, UPDATE, INFO and OPTIONS do not."""

    INVITE = auto()
    CALL = auto()
    ANSWER = auto()
    REFUSE = auto()
    HANG_UP = auto()
    ACK = auto()
    CANCEL = auto()
    BYE = auto()
    SUCCESS = auto()
    FAILURE = auto()
    BYE_DONE = auto()
    DIALOG_LOST = auto()
    INVITE_EXPIRED = auto()
    ACK_TIMEOUT = auto()
    SESSION_EXPIRED = auto()


class Do(IntEnum):
    """What a move causes beside the new state, in this order."""

    REFUSE_INVITE = auto()  # a final response to the INVITE that waits for one
    REFUSE_MODIFY = auto()  # 487 to a change of the peer that waits for one (RFC 3261 §15.1.2)
    SEND_CANCEL = auto()
    SEND_BYE = auto()
    CONFIRM = auto()
    END = auto()
    RELEASE = auto()


_OVER: Final = (Do.REFUSE_MODIFY, Do.END, Do.RELEASE)
_HANG_UP: Final = (State.TERMINATING, (Do.REFUSE_MODIFY, Do.SEND_BYE, Do.END))
_REFUSED: Final = (State.TERMINATED, (Do.REFUSE_INVITE, Do.END, Do.RELEASE))
_GONE: Final = (State.TERMINATED, _OVER)

TABLE: Final[dict[tuple[State, Input], tuple[State, tuple[Do, ...]]]] = {
    (State.IDLE, Input.INVITE): (State.INVITED, ()),
    (State.IDLE, Input.CALL): (State.CALLING, ()),
    (State.INVITED, Input.ANSWER): (State.MORATORIUM, ()),
    (State.INVITED, Input.REFUSE): _REFUSED,
    (State.INVITED, Input.HANG_UP): _REFUSED,
    (State.INVITED, Input.CANCEL): _REFUSED,
    (State.INVITED, Input.BYE): _REFUSED,
    (State.INVITED, Input.INVITE_EXPIRED): _REFUSED,
    (State.CALLING, Input.SUCCESS): (State.CONFIRMED, (Do.CONFIRM,)),
    (State.CALLING, Input.FAILURE): (State.TERMINATED, (Do.END, Do.RELEASE)),
    (State.CALLING, Input.HANG_UP): (State.CANCELLING, (Do.END, Do.SEND_CANCEL)),
    (State.CALLING, Input.INVITE_EXPIRED): (State.CANCELLING, (Do.END, Do.SEND_CANCEL)),
    (State.CALLING, Input.BYE): (State.CANCELLING, (Do.END, Do.SEND_CANCEL)),
    (State.CANCELLING, Input.SUCCESS): (State.TERMINATING, (Do.SEND_BYE,)),
    (State.CANCELLING, Input.FAILURE): (State.TERMINATED, (Do.RELEASE,)),
    (State.CANCELLING, Input.INVITE_EXPIRED): (State.TERMINATED, (Do.RELEASE,)),
    (State.MORATORIUM, Input.ACK): (State.CONFIRMED, (Do.CONFIRM,)),
    (State.MORATORIUM, Input.BYE): _GONE,
    (State.MORATORIUM, Input.HANG_UP): (State.CLOSING, (Do.REFUSE_MODIFY, Do.END)),
    (State.MORATORIUM, Input.ACK_TIMEOUT): _HANG_UP,
    (State.MORATORIUM, Input.SESSION_EXPIRED): _HANG_UP,
    (State.MORATORIUM, Input.DIALOG_LOST): _HANG_UP,
    (State.CLOSING, Input.ACK): (State.TERMINATING, (Do.SEND_BYE,)),
    (State.CLOSING, Input.ACK_TIMEOUT): (State.TERMINATING, (Do.SEND_BYE,)),
    (State.CLOSING, Input.BYE): (State.TERMINATED, (Do.RELEASE,)),
    (State.CONFIRMED, Input.HANG_UP): _HANG_UP,
    (State.CONFIRMED, Input.BYE): _GONE,
    (State.CONFIRMED, Input.ACK_TIMEOUT): _HANG_UP,
    (State.CONFIRMED, Input.SESSION_EXPIRED): _HANG_UP,
    (State.CONFIRMED, Input.DIALOG_LOST): _HANG_UP,
    (State.TERMINATING, Input.BYE_DONE): (State.TERMINATED, (Do.RELEASE,)),
}


class Timer(IntEnum):
    """What a session waits for by the clock."""

    RETRANSMIT_2XX = auto()
    ACK = auto()
    INVITE_EXPIRES = auto()
    PROVISIONAL = auto()
    BYE = auto()
    REFRESH = auto()
    EXPIRY = auto()
    RETRY_MODIFY = auto()
    MODIFY = auto()


class SessionOptions(msgspec.Struct, frozen=True):
    """How our sessions behave; times are RFC 3261 table 4 and §13.3.1.1."""

    t1_ms: int = 500
    t2_ms: int = 4_000
    provisional_every_ms: int = 60_000
    ring_ms_max: int = 300_000  # an INVITE that nobody answers
    modify_ms_max: int = 180_000  # a re-INVITE of ours that rings
    retries_max: int = 8  # of one modification, after 491 or 422
    timer: TimerPolicy = TimerPolicy()

    def __post_init__(self) -> None:
        if not 0 < self.t1_ms <= self.t2_ms:
            raise ValueError(f"t1_ms={self.t1_ms} must be in 1..t2_ms={self.t2_ms}")

    @property
    def give_up_ms(self) -> int:
        """64*T1: how long a 2xx waits for its ACK (RFC 3261 §13.3.1.4)."""
        return 64 * self.t1_ms


class Waiting(msgspec.Struct, frozen=True):
    """A request of the peer that waits for our final response.

    With what a 2xx to it would bring.
    """

    transaction: int
    method: str
    cseq: int
    has_offer: bool
    target: str = ""  # the new remote target (RFC 6141 §4.6), "" where it stays
    timer: SessionTimer | None = None
    timer_headers: Headers = ()


class Unacknowledged(msgspec.Struct, frozen=True):
    """A 2xx of ours that waits for its ACK."""

    transaction: int
    cseq: int
    has_offer: bool
    interval_ms: int


class Modify(msgspec.Struct, frozen=True):
    """A re-INVITE or UPDATE of ours; a refresh is nobody's wish but the session timer's."""

    is_refresh: bool = False
    retries: int = 0
    key: int = 0  # 0: not sent yet
    method: str = "INVITE"
    body: bytes = b""
    is_given_up: bool = False


class Record(msgspec.Struct):
    """All that a session is: plain values, so that it can be kept in the store at each change."""

    local_tag: str
    local_contact: str
    seed: int  # drawn by whoever makes the session; every draw here comes from it
    options: SessionOptions = SessionOptions()
    state: State = State.IDLE
    dialog: Dialog | None = None
    hop: object = None  # where the peer was heard last
    is_uac: bool = False  # the Call-ID is ours
    peer_allows_update: bool = False

    waiting: Waiting | None = None
    provisional: Respond | None = None  # the last 1xx, said again each minute
    unacknowledged: Unacknowledged | None = None
    reason: EndReason = EndReason.BYE_SENT
    final_status: int = 0
    final_headers: Headers = ()

    invite_key: int = 0
    bye_key: int = 0
    strays: tuple[str, ...] = ()  # To tags of other branches that answered our INVITE with 2xx

    modify: Modify | None = None  # sent
    wanted: Modify | None = None  # waits until the way is free or its retry is due
    local_description: bytes = b""  # what we said last in an offer or answer that stands

    timer: SessionTimer | None = None
    min_se_s: int = MIN_SE_FLOOR_S
    next_key: int = 1
    draws: int = 0
    deadlines: dict[Timer, int] = {}
