"""Session timers as values (RFC 4028)."""

from enum import IntEnum
from typing import Final

import msgspec

from sipfarm.signaling.ua import Headers, Message

MIN_SE_FLOOR_S: Final = 90
EXPIRY_MARGIN_MS_MAX: Final = 32_000  # RFC 4028 §10
INTERVAL_S_MAX: Final = 2**31 - 1


class TimerPolicy(msgspec.Struct, frozen=True):
    """What we ask for and what we put up with. `session_expires_s` 0.

    We ask for no timer of our own.
    """

    session_expires_s: int = 1_800
    min_se_s: int = MIN_SE_FLOOR_S

    def __post_init__(self) -> None:
        if self.min_se_s < MIN_SE_FLOOR_S:
            raise ValueError(f"min_se_s={self.min_se_s} must be at least {MIN_SE_FLOOR_S}")
        if self.session_expires_s and self.session_expires_s < self.min_se_s:
            raise ValueError(f"session_expires_s={self.session_expires_s} must be 0 or >= min_se_s")


class Refresher(IntEnum):
    """Who keeps the session alive, seen from us."""

    LOCAL = 0
    REMOTE = 1


class SessionTimer(msgspec.Struct, frozen=True):
    """The negotiated session interval."""

    interval_s: int
    refresher: Refresher

    def refresh_at_ms(self, now_ms: int) -> int:
        """Half the interval from now (RFC 4028 §10)."""
        return now_ms + self.interval_s * 500

    def expires_at_ms(self, now_ms: int) -> int:
        """When the session ends without a refresh: a little before its time is up.

        RFC 4028 §10.
        """
        interval_ms = self.interval_s * 1_000
        return now_ms + interval_ms - min(EXPIRY_MARGIN_MS_MAX, interval_ms // 3)


class SessionExpires(msgspec.Struct, frozen=True):
    """The Session-Expires header field (RFC 4028 §4); refresher is "uac", "uas" or ""."""

    interval_s: int
    refresher: str = ""


def supports_timer(message: Message) -> bool:
    """Whether the sender knows session timers."""
    return any(option.lower() == "timer" for option in message.values("Supported"))


def read_session_expires(message: Message) -> SessionExpires | None:
    """The Session-Expires of a message; one that cannot be read counts as absent."""
    value = message.header("Session-Expires")
    if value is None:
        return None
    interval, *parameters = (part.strip() for part in value.split(";"))
    interval_s = _delta_seconds(interval)
    if interval_s is None:
        return None
    for parameter in parameters:
        name, _, text = (part.strip().lower() for part in parameter.partition("="))
        if name == "refresher" and text in {"uac", "uas"}:
            return SessionExpires(interval_s, text)
    return SessionExpires(interval_s)


def read_min_se(message: Message) -> int:
    """The Min-SE of a message; without one it is 90 seconds (RFC 4028 §5)."""
    text = (message.header("Min-SE") or "").partition(";")[0].strip()
    return max(MIN_SE_FLOOR_S, _delta_seconds(text) or 0)


def is_too_small(request: Message, policy: TimerPolicy) -> bool:
    """Whether a request is to be answered 422 (RFC 4028 §9): only one that would understand it."""
    asked = read_session_expires(request)
    return asked is not None and asked.interval_s < policy.min_se_s and supports_timer(request)


def accept(request: Message, policy: TimerPolicy) -> SessionTimer | None:
    """The timer that our 2xx to a request states (RFC 4028 §9, table 2).

    The peer refreshes where it can.
    """
    asked = read_session_expires(request)
    wanted_s = policy.session_expires_s or None
    offered_s = asked.interval_s if asked else None
    intervals = [interval_s for interval_s in (wanted_s, offered_s) if interval_s is not None]
    if not intervals:
        return None
    interval_s = max(min(intervals), policy.min_se_s, read_min_se(request))
    if not supports_timer(request) or (asked and asked.refresher == "uas"):
        return SessionTimer(interval_s, Refresher.LOCAL)
    return SessionTimer(interval_s, Refresher.REMOTE)


def agreed(response: Message) -> SessionTimer | None:
    """The timer that a 2xx to our request states; none means the session has no limit.

    RFC 4028 §7.2.
    """
    stated = read_session_expires(response)
    if stated is None:
        return None
    refresher = Refresher.REMOTE if stated.refresher == "uas" else Refresher.LOCAL
    return SessionTimer(max(MIN_SE_FLOOR_S, stated.interval_s), refresher)


def response_headers(timer: SessionTimer | None, request: Message) -> Headers:
    """What a 2xx of ours says of the timer; Require where the peer has a part in it.

    RFC 4028 §9.
    """
    if timer is None:
        return ()
    refresher = "uas" if timer.refresher is Refresher.LOCAL else "uac"
    stated = ("Session-Expires", f"{timer.interval_s};refresher={refresher}")
    return (stated, ("Require", "timer")) if supports_timer(request) else (stated,)


def request_headers(timer: SessionTimer | None, policy: TimerPolicy, min_se_s: int) -> Headers:
    """What a request of ours asks for.

    The running timer with its roles kept (RFC 4028 §7.4), or our own wish.
    """
    if timer is None and not policy.session_expires_s:
        return ()
    interval_s = timer.interval_s if timer else policy.session_expires_s
    role = ""
    if timer:
        role = ";refresher=uac" if timer.refresher is Refresher.LOCAL else ";refresher=uas"
    stated = ("Session-Expires", f"{max(interval_s, min_se_s)}{role}")
    return (stated, ("Min-SE", str(min_se_s))) if min_se_s > MIN_SE_FLOOR_S else (stated,)


def _delta_seconds(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return min(int(text), INTERVAL_S_MAX)
