"""Carrying out routing decisions: steps of targets become forks of the engine (RFC 3261 §16.6)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from sipfarm.base.net import Listen
from sipfarm.native import Engine, Hop, Output
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import Answer, Decision, Forward, Redirect, Reject, Step, Target

SERIAL_FORKS_MAX: Final = 100_000
FLOW_FAILED: Final = frozenset({430, 503})
"""What a branch has come to whose flow is gone (RFC 5626 §5.3), or whose phone could not be sent
anything.
"""

HolderOf = Callable[[int, int, int], int | None]
"""Who holds the flow (member number, epoch, flow): 0 this member, else its number; None: it is
gone.
"""


class _Branch(msgspec.Struct, frozen=True):
    """A target as it is tried: by this flow, and by `others` when that proves dead."""

    target: Target
    hop: Hop | None
    others: tuple[Target, ...]


class _UnderWay(msgspec.Struct, frozen=True):
    """A step under way, and what follows it."""

    forward: Forward
    branches: tuple[_Branch, ...]
    timeout_ms: int
    later: tuple[Step, ...]

    @property
    def uses_flows(self) -> bool:
        return any(branch.hop is not None and branch.target.flow for branch in self.branches)


class Forwarding:
    """Tells the engine what was decided, and gives it the next step when one has failed."""

    def __init__(
        self,
        engine: Engine,
        out: Output,
        locals_by_transport: dict[str, int],
        holder_of: HolderOf | None = None,
    ) -> None:
        """The locals are those of `locals_of`."""
        self._engine = engine
        self._out = out
        self._locals = locals_by_transport
        self._holder_of = holder_of or _nobody
        self._under_way: OrderedDict[int, _UnderWay] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Forks that may go on with further targets."""
        return len(self._under_way)

    def carry_out(self, transaction: int, decision: Decision, now_ms: int) -> None:
        """Any decision but HandToTask."""
        match decision:
            case Forward():
                if not self._go_on(transaction, decision, decision.steps, now_ms):
                    self.reply(transaction, Reply(480), now_ms)  # no flow is left
            case Reject(status, reason, headers):
                self.reply(transaction, Reply(status, reason, headers), now_ms)
            case Redirect(contacts, status):
                headers = tuple([("Contact", f"<{contact}>") for contact in contacts])
                self.reply(transaction, Reply(status, "", headers), now_ms)
            case Answer(reply):
                self.reply(transaction, reply, now_ms)
            case _:
                self.reply(transaction, Reply(500), now_ms)

    def reply(self, transaction: int, reply: Reply, now_ms: int) -> None:
        self._engine.respond(
            transaction,
            reply.status,
            reply.reason,
            reply.headers,
            reply.body,
            "",
            now_ms,
            self._out,
        )

    def exhausted(self, transaction: int, status: int, gone: str, now_ms: int) -> None:
        """All targets of a step have failed, the best with `status`.

        `gone` lists which of them, in their order, had a flow that proved dead ("0,2"); empty where
        that is not known.
        """
        step = self._under_way.pop(transaction, None)
        if step is None:
            self._engine.finish(transaction, now_ms, self._out)
            return
        dead = _dead_of(step, status, gone)
        again = [other for branch in dead if (other := self._branch(branch.others)) is not None]
        if again:
            more = _UnderWay(step.forward, tuple(again), step.timeout_ms, step.later)
            self._fork(transaction, more, now_ms)
        elif not self._go_on(transaction, step.forward, step.later, now_ms):
            # The phone is not there now, which says nothing against the farm (RFC 3261 §16.7).
            if status in FLOW_FAILED and step.uses_flows:
                self.reply(transaction, Reply(480), now_ms)
            self._engine.finish(transaction, now_ms, self._out)

    def settled(self, transaction: int) -> None:
        """The call was answered or has failed: no further step."""
        self._under_way.pop(transaction, None)

    def _go_on(
        self, transaction: int, forward: Forward, steps: tuple[Step, ...], now_ms: int
    ) -> bool:
        """Begin the next step that has a target which can be reached; false if none has."""
        for index, step in enumerate(steps):
            found = [self._branch((target, *target.others)) for target in step.targets]
            branches = tuple([branch for branch in found if branch is not None])
            if branches:
                later = steps[index + 1 :]
                self._fork(
                    transaction, _UnderWay(forward, branches, step.timeout_ms, later), now_ms
                )
                return True
        return False

    def _fork(self, transaction: int, step: _UnderWay, now_ms: int) -> None:
        more = bool(step.later) or step.uses_flows
        if more:
            self._under_way[transaction] = step
            if len(self._under_way) > SERIAL_FORKS_MAX:
                self._under_way.popitem(last=False)
        forward = step.forward
        self._engine.forward(
            transaction,
            [
                (branch.target.uri, ", ".join(branch.target.route), branch.hop)
                for branch in step.branches
            ],
            forward.media != "direct",
            forward.record_route,
            more,
            step.timeout_ms,
            forward.remove_headers,
            forward.add_headers,
            now_ms,
            self._out,
        )

    def _branch(self, flows: tuple[Target, ...]) -> _Branch | None:
        """The first of a phone's flows that is not known to be dead."""
        for index, target in enumerate(flows):
            if target.route or not target.received:
                return _Branch(target, None, flows[index + 1 :])
            hop = self._hop_of(target)
            if hop is not None:
                return _Branch(target, hop, flows[index + 1 :])
        return None

    def _hop_of(self, target: Target) -> Hop | None:
        """The flow of a binding; nothing where it is gone."""
        transport, _, address = target.received.partition(":")
        host, _, port = address.rpartition(":")
        local = self._locals.get(_local_key(transport, host), 0)
        if not target.flow:
            return Hop(transport, host, int(port), local)
        opened = self._engine.open_flow(target.flow, target.received)
        holder = None if opened is None else self._holder_of(*opened)
        if opened is None or holder is None:
            return None
        return Hop(transport, host, int(port), local, opened[2], holder)


def locals_of(listens: Iterable[Listen]) -> dict[str, int]:
    """The listening point to send from, by transport and family of addresses."""
    found: dict[str, int] = {}
    for index, listen in enumerate(listens):
        found.setdefault(_local_key(listen.transport, listen.address.host), index)
    return found


def _local_key(transport: str, host: str) -> str:
    return f"{transport}6" if ":" in host else transport


def _dead_of(step: _UnderWay, status: int, gone: str) -> list[_Branch]:
    """The branches of a step that did not get through to their phone."""
    if gone:
        indexes = {int(index) for index in gone.split(",")}
        return [branch for index, branch in enumerate(step.branches) if index in indexes]
    return list(step.branches) if status in FLOW_FAILED else []


def _nobody(number: int, epoch: int, flow: int) -> None:
    """Where there are no streams, no flow is held by anybody."""
