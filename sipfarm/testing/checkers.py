"""What must hold in every simulated farm, whatever the scenario: at any time, and at rest."""

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sipfarm.testing.farm import MemberWatcher, SimFarm
from sipfarm.testing.net import Endpoint
from sipfarm.testing.phone import PhoneEvent
from sipfarm.testing.sim_member import SimMember
from sipfarm.testing.wire_text import WireText, branch_of

if TYPE_CHECKING:
    from sipfarm.base.farm_view import Incarnation

_MSGPACK: Final[Any] = import_module("msgpack")  # has no types; reads arrays in a row
BUS_HOPS_MAX: Final = 2
KINDS: Final[tuple[str, ...]] = (
    "packet",
    "lookup",
    "claim",
    "claimed",
    "note",
    "send",
    "failed",
    "sync",
    "synced",
    "undelivered",
    "sender",
)
AT_REST: Final = (
    "server_transactions",
    "client_transactions",
    "forks",
    "calls",
    "waiting",
    "messages",
    "timers",
    "directory",
)


class BusMessage(msgspec.Struct, frozen=True):
    """What one member's engine tells another's, as far as checkers look at it."""

    kind: str
    fields: tuple[object, ...]

    @property
    def packet(self) -> bytes:
        """The SIP packet in it, if there is one."""
        carried = self.fields[6] if self.kind in {"packet", "lookup", "send"} else b""
        return carried if isinstance(carried, bytes) else b""

    @property
    def hops(self) -> int:
        last = self.fields[-1] if self.kind in {"packet", "lookup"} else 0
        return last if isinstance(last, int) else 0


def bus_messages(payload: bytes) -> list[BusMessage]:
    """The messages of one payload between engines."""
    unpacker = _MSGPACK.Unpacker(raw=True)
    unpacker.feed(payload)
    arrays: list[list[Any]] = list(unpacker)
    return [BusMessage(KINDS[int(array[0])], tuple(array[1:])) for array in arrays]


class Checkers(MemberWatcher):
    """Watches a farm and its phones; `violations` says what should not have been."""

    def __init__(self, farm: SimFarm) -> None:
        self.violations: list[str] = []
        self.nothing_is_lost = False
        """Set where no request but an INVITE needs to be sent twice."""
        self._farm = farm
        self._starters: dict[tuple[str, ...], dict[str, Incarnation]] = {}
        self._sent: set[tuple[str, str]] = set()
        self._speakers: dict[tuple[str, str], list[Incarnation]] = {}
        self._answerers: dict[str, Incarnation] = {}
        self._finals: dict[tuple[str, ...], set[tuple[int, str]]] = {}
        self._cseqs: dict[tuple[str, ...], int] = {}
        farm.watch(self)
        for phone in farm.phones.values():
            phone.watchers.append(self.phone_event)

    def violated(self, what: str) -> None:
        self.violations.append(f"{self._farm.clock.now_ms()} ms: {what}")

    # What members send.

    def datagram(self, member: SimMember, destination: Endpoint, data: bytes) -> None:
        if not self._farm.store.lives(member.incarnation):
            self.violated(f"{member.name} sends {_start(data)} though it is tombstoned")
        message = WireText(data)
        if not message.is_request:
            if message.method == "INVITE":
                self._answerers[branch_of(message.value("Via"))] = member.incarnation
            return
        self._sent_once(message)
        self._one_heir(member, message)
        if message.method not in {"ACK", "CANCEL"}:
            self._one_owner(member, destination, message)

    def _sent_once(self, request: WireText) -> None:
        """What is answered at once is not sent again."""
        if not self.nothing_is_lost or request.method in {"INVITE", "ACK"}:
            return
        key = (request.branch, request.method)
        if key in self._sent:
            self.violated(f"{request.method} of {request.call_id} is sent again")
        self._sent.add(key)

    def _one_owner(self, member: SimMember, destination: Endpoint, request: WireText) -> None:
        """A transaction of a caller becomes one branch for each target, unless its owner died."""
        vias = request.values("Via")
        if len(vias) < 2:
            return
        key = (branch_of(vias[1]), request.method, request.request_uri, str(destination))
        starters = self._starters.setdefault(key, {})
        branch = branch_of(vias[0])
        if branch in starters:
            if starters[branch] != member.incarnation:
                self.violated(f"{member.name} sends a branch of {starters[branch]}: {branch}")
            return
        for other in starters.values():
            if other == member.incarnation or self._farm.lives(other):
                self.violated(
                    f"{member.name} {member.incarnation} starts {request.method}"
                    f" {request.call_id} to {destination}, which {other} has started"
                )
        starters[branch] = member.incarnation

    def _one_heir(self, member: SimMember, request: WireText) -> None:
        """Where the farm is user agent, one member speaks in a dialog, until it is dead."""
        if not request.to_tag or len(request.values("Via")) > 1:
            return
        speakers = self._speakers.setdefault((request.call_id, request.from_tag), [])
        if member.incarnation in speakers[-1:]:
            return
        for other in speakers:
            if other == member.incarnation or self._farm.store.lives(other):
                self.violated(f"{member.name} speaks in {request.call_id}, as {other} does")
        speakers.append(member.incarnation)

    def frames(self, member: SimMember, number: int, payload: bytes) -> None:
        seen = member.view.member(number)
        if seen is None or not seen.is_live:
            known = "dead to it" if seen is not None else "unknown to it"
            running = self._farm.bus.incarnation_of(number)
            if running is None or not self._farm.store.lives(running):
                self.violated(f"{member.name} sends a frame to member {number}, {known}")
        for message in bus_messages(payload):
            if message.hops > BUS_HOPS_MAX:
                self.violated(f"{member.name} passes a packet on for hop {message.hops}")

    # What phones see.

    def phone_event(self, event: PhoneEvent) -> None:
        message = event.message
        if event.kind == "final":
            self._one_final(event.phone, message)
        elif event.kind == "request" and message.method != "CANCEL" and message.to_tag:
            self._cseq_rises(event.phone, message)
        if event.kind in {"request", "ack"} and message.call_id.startswith("forged"):
            self.violated(f"{event.phone} gets {message.method} by a mark of another dialog")

    def _one_final(self, phone: str, response: WireText) -> None:
        key = (phone, response.branch, response.method)
        finals = self._finals.setdefault(key, set())
        # Where several members may answer, each by its own tag: REGISTER is claimed by nobody, and
        # a CANCEL that nobody knows is answered by its home.
        tag = "" if response.method in {"CANCEL", "REGISTER"} else response.to_tag
        final = (response.status, tag)
        if final in finals:
            return
        finals.add(final)
        successes = sum([200 <= status < 300 for status, _ in finals])
        several_forks = response.method == "INVITE" and successes == len(finals)
        if len(finals) > 1 and not several_forks:
            self.violated(f"{phone} gets {sorted(finals)} to its {response.method} {key[1]}")
        if response.method == "CANCEL" and response.status == 481:
            self._cancel_is_known(phone, response)

    def _cancel_is_known(self, phone: str, response: WireText) -> None:
        """An INVITE under way is found by its CANCEL as long as its owner lives."""
        owner = self._answerers.get(response.branch)
        answered = (phone, response.branch, "INVITE") in self._finals
        if owner is None or answered or self._farm.disturbances or not self._farm.lives(owner):
            return
        self.violated(f"{phone} gets 481 to CANCEL of {response.call_id}, which {owner} owns")

    def _cseq_rises(self, phone: str, request: WireText) -> None:
        key = (phone, request.call_id, request.to_tag, request.from_tag)
        known = self._cseqs.get(key, 0)
        is_of_farm = len(request.values("Via")) == 1  # what is forwarded may come again by another
        if request.cseq < known + is_of_farm:
            self.violated(f"{phone} gets {request.method} with CSeq {request.cseq} after {known}")
        self._cseqs[key] = max(known, request.cseq)

    # At rest.

    def at_rest(self) -> None:
        """Nothing is left of what is over."""
        for member in self._farm.running:
            if member.engine.counters()["messages"]:
                gc.collect()  # Python objects in a circle may hold some
            counters = member.engine.counters()
            left = {name: counters[name] for name in AT_REST if counters[name]}
            if left:
                self.violated(f"{member.name} at rest has {left}")
            if member.plane.pool.taken:
                self.violated(f"{member.name} at rest has {member.plane.pool.taken} media ports")
            if member.waiting_work:
                self.violated(f"{member.name} at rest has {member.waiting_work} decisions open")
            waiting = member.users.forwarding.waiting
            if waiting:
                self.violated(f"{member.name} at rest has {waiting} forks with further steps")
            if member.users.task_calls.count:
                self.violated(f"{member.name} at rest runs {member.users.task_calls.count} tasks")
        kept = [s for s in self._farm.store.all_snapshots(self._farm.clock.wall_ms()) if s.value]
        if kept:
            self.violated(f"at rest {len(kept)} calls stand in the store")
        for phone in self._farm.phones.values():
            if not phone.is_quiet:
                self.violated(f"{phone.name} at rest has transactions")


def _start(data: bytes) -> str:
    return data.partition(b"\r\n")[0].decode("utf-8", "replace")
