"""The calls of tasks as they stand in the store for an heir, written behind them (ADR 17).

A call's snapshot stands under the incarnation that began it, by our tag: both are read from the tag
of any request within its dialog. Its holder is the incarnation that runs it now. Of a call that an
heir has ended, a snapshot without a value stays for as long as its requests may be repeated.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol, cast

import msgspec

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation
from sipfarm.base.records import Snapshot
from sipfarm.native import Hop
from sipfarm.pbx.call import DURATION_MS_MAX, KeptCall

CHANGED_MAX: Final = 20_000
WRITTEN_TOGETHER: Final = 64
KEPT_MS: Final = DURATION_MS_MAX + 60_000
ENDED_MS: Final = 40_000  # a request is repeated for 32 s (RFC 3261 §17.1.2.2)

CallName = tuple[str, str]
"""The incarnation that began a call, and our tag."""


class KeptHop(msgspec.Struct, frozen=True, array_like=True):
    """Where the peer was heard last. Member 0 is the one that kept it."""

    transport: str
    host: str
    port: int
    local: int
    flow: int
    member: int


class KeptTaskCall(msgspec.Struct, frozen=True, array_like=True):
    """A task's call that stands; times are the keeping member's until they are written."""

    task: str
    started_ms: int
    hop: KeptHop | None
    call: KeptCall

    def shifted(self, by_ms: int) -> "KeptTaskCall":
        """The same by another clock."""
        return msgspec.structs.replace(
            self, started_ms=self.started_ms + by_ms, call=self.call.shifted(by_ms)
        )


class Inherited(msgspec.Struct, frozen=True):
    """A call that was taken over: who began it, the number of the member that had it, our media
    port, and how many heirs it has had since it was written.
    """

    kept: KeptTaskCall
    owner: str
    dead: int
    port: int
    takes: int


class SnapshotWriter(Protocol):
    async def snapshots_keep(
        self, snapshots: Sequence[Snapshot], wall_ms: int
    ) -> frozenset[str]: ...


class KeeperCounters(msgspec.Struct):
    """What became of what was to be written."""

    written: int = 0
    lost: int = 0
    """Found no room while the store was away."""
    refused: int = 0
    """Another member holds the call: this one was taken for dead."""
    store_failures: int = 0


class CallKeeper:
    """Of each call the latest state, until the store has it."""

    def __init__(self, store: SnapshotWriter, own: Incarnation, clock: Clock) -> None:
        self.own = named(own)
        self.counters = KeeperCounters()
        self._store = store
        self._clock = clock
        self._changed: dict[CallName, KeptTaskCall | None] = {}
        self._known: set[CallName] = set()  # to the store, or on the way there

    @property
    def waiting(self) -> int:
        return len(self._changed)

    def has(self, name: CallName) -> bool:
        """Whether the store knows that call from this member, or soon will."""
        return name in self._known

    def inherit(self, name: CallName) -> None:
        """The store has that call, and this member holds it now."""
        self._known.add(name)

    def keep(self, name: CallName, call: KeptTaskCall) -> None:
        self._change(name, call)

    def end(self, name: CallName) -> None:
        if name in self._known:
            self._change(name, None)
        else:
            self._changed.pop(name, None)

    async def flush(self) -> None:
        """Write what has changed; what the store does not take waits on."""
        while self._changed:
            batch = self._take_batch()
            wall_ms = self._clock.wall_ms()
            snapshots = [self._snapshot(name, call, wall_ms) for name, call in batch.items()]
            try:
                refused = await self._store.snapshots_keep(snapshots, wall_ms)
            except CapacityError:
                self.counters.store_failures += 1
                for name, call in batch.items():
                    self._changed.setdefault(name, call)
                return
            self.counters.written += len(batch) - len(refused)
            self.counters.refused += len(refused)
            self._known -= {name for name, call in batch.items() if call is None}

    def _change(self, name: CallName, call: KeptTaskCall | None) -> None:
        # An end always finds room: it is of a call that is in here, or in the store.
        if call and name not in self._changed and len(self._changed) >= CHANGED_MAX:
            self.counters.lost += 1
            return
        self._changed[name] = call

    def _take_batch(self) -> dict[CallName, KeptTaskCall | None]:
        """Some that stand under one incarnation."""
        owner, _ = next(iter(self._changed))
        names = list(islice((n for n in self._changed if n[0] == owner), WRITTEN_TOGETHER))
        batch = {name: self._changed.pop(name) for name in names}
        self._known |= batch.keys()
        return batch

    def _snapshot(self, name: CallName, call: KeptTaskCall | None, wall_ms: int) -> Snapshot:
        owner, tag = name
        if call is None:
            until_wall_ms = 0 if owner == self.own else wall_ms + ENDED_MS
            return Snapshot(owner, tag, b"", until_wall_ms, self.own)
        value = written(call, wall_ms - self._clock.now_ms())
        return Snapshot(owner, tag, value, wall_ms + KEPT_MS, self.own)


def written(call: KeptTaskCall, by_ms: int) -> bytes:
    """A call as it stands in the store, its times shifted to the wall clock."""
    return msgspec.msgpack.encode(_as_bytes(msgspec.to_builtins(call.shifted(by_ms))))


def read_kept(value: bytes, clock: Clock) -> KeptTaskCall | None:
    """A call that was kept, by the clock of this member; None: by a release that we do not know."""
    try:
        kept = msgspec.convert(_as_text(msgspec.msgpack.decode(value)), KeptTaskCall)
    except (msgspec.MsgspecError, ValueError):
        return None
    return kept.shifted(clock.now_ms() - clock.wall_ms())


def _as_bytes(value: object) -> object:
    """Texts of a peer need not be UTF-8: each stands as the bytes that it came as."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return _in_each(value, _as_bytes)


def _as_text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return _in_each(value, _as_text)


def _in_each(value: object, change: Callable[[object], object]) -> object:
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)  # isinstance leaves open what it holds
        return {name: change(field) for name, field in fields.items()}
    if isinstance(value, list | tuple):
        return [change(item) for item in cast("Sequence[object]", value)]
    return value


def kept_hop(hop: object) -> KeptHop | None:
    if not isinstance(hop, Hop):
        return None
    return KeptHop(hop.transport, hop.host, hop.port, hop.local, hop.flow, hop.member)


def inherited_hop(kept: KeptHop | None, dead: int, own: int) -> Hop | None:
    """The hop as member `own` sees it that has inherited from `dead`; None where it was a
    connection of that.
    """
    if kept is None:
        return None
    was_its_own = kept.member in (0, dead)
    if was_its_own and kept.flow:
        return None
    member = 0 if was_its_own or kept.member == own else kept.member
    return Hop(kept.transport, kept.host, kept.port, kept.local, kept.flow, member)


def named(incarnation: Incarnation) -> str:
    """`NUMBER.EPOCH`."""
    return f"{incarnation[0]}.{incarnation[1]}"


def incarnation_of(name: str) -> Incarnation:
    number, _, epoch = name.partition(".")
    return int(number), int(epoch)
