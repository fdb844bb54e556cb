"""Calls whose phone has lost its flow wait for its next REGISTER (RFC 5626 §5.3, DESIGN §4)."""

from collections import OrderedDict
from typing import Final

import msgspec

from sipfarm.node.media_path import Network
from sipfarm.signaling.routing import Forward, Target

WAIT_MS: Final = 5_000
WAITING_MAX: Final = 10_000


class ReconnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and how many: more callers get 480 at once."""

    wait_ms: int = WAIT_MS  # 0: nobody waits
    waiting_max: int = WAITING_MAX


class ForwardedRequest(msgspec.Struct, frozen=True):
    """A request, and where it is to go."""

    transaction: int
    forward: Forward
    caller: Network | None = None
    """Whose media may go direct to phones of the same network (mode "auto")."""


class LostCall(msgspec.Struct, frozen=True):
    """A request none of whose targets can be reached now."""

    request: ForwardedRequest
    targets: tuple[Target, ...]
    """What was lost."""
    timeout_ms: int
    """Of the step that they were tried in."""
    tried: frozenset[str] = frozenset()
    """Flows that have proved dead (`flow_of`): none of them is tried again."""

    @property
    def transaction(self) -> int:
        return self.request.transaction

    @property
    def aors(self) -> frozenset[str]:
        """Whose registration makes it go on: of bindings that were bound to a flow."""
        return frozenset([target.aor for target in self.targets if target.aor and target.flow])

    @property
    def is_secure(self) -> bool:
        """Whether it was to reach phones by `sips` alone (RFC 3261 §16.5)."""
        return all(target.uri.startswith("sips:") for target in self.targets)


class _Entry(msgspec.Struct):
    lost: LostCall
    until_ms: int
    is_waiting: bool = True  # else a new flow of its phone is being tried


class Reconnections:
    """The waiting calls, the oldest first: all have the same time."""

    def __init__(self, settings: ReconnectionSettings) -> None:
        self._settings = settings
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._by_aor: dict[str, set[int]] = {}
        self.refused = 0
        """Calls that found no room to wait."""

    def __len__(self) -> int:
        return len(self._entries)

    def awaits(self, aor: str) -> bool:
        return aor in self._by_aor

    def put(self, lost: LostCall, now_ms: int) -> bool:
        """Let a call wait, or wait on until its first time is over; false if it may not."""
        entry = self._entries.get(lost.transaction)
        if entry is not None:
            tried = entry.lost.tried | lost.tried
            entry.lost = msgspec.structs.replace(entry.lost, tried=tried)
            entry.is_waiting = True
            return True
        if not self._settings.wait_ms or not lost.aors:
            return False
        if len(self._entries) >= self._settings.waiting_max:
            self.refused += 1
            return False
        self._entries[lost.transaction] = _Entry(lost, now_ms + self._settings.wait_ms)
        for aor in lost.aors:
            self._by_aor.setdefault(aor, set()).add(lost.transaction)
        return True

    def waiting_for(self, aor: str) -> list[LostCall]:
        """Calls that a registration of `aor` may let go on."""
        entries = [self._entries[transaction] for transaction in self._by_aor.get(aor, ())]
        return [entry.lost for entry in entries if entry.is_waiting]

    def going_on(self, transaction: int) -> None:
        """A new flow is being tried."""
        self._entries[transaction].is_waiting = False

    def drop(self, transaction: int) -> None:
        """The call was answered, cancelled, or has failed."""
        entry = self._entries.pop(transaction, None)
        if entry is None:
            return
        for aor in entry.lost.aors:
            waiting = self._by_aor[aor]
            waiting.remove(transaction)
            if not waiting:
                del self._by_aor[aor]

    def next_deadline_ms(self) -> int | None:
        return next((entry.until_ms for entry in self._entries.values()), None)

    def expire(self, now_ms: int) -> list[int]:
        """The transactions that have waited in vain."""
        over: list[int] = []
        for transaction, entry in self._entries.items():
            if entry.until_ms > now_ms:
                break
            over.append(transaction)
        vain = [transaction for transaction in over if self._entries[transaction].is_waiting]
        for transaction in over:
            self.drop(transaction)
        return vain


def flow_of(target: Target) -> str:
    """What a target is reached by: its flow, or its address."""
    return target.flow or target.received or target.uri
