"""Carrying out routing decisions: steps of targets become forks of the engine (RFC 3261 §16.6)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from sipfarm.base.net import Listen
from sipfarm.base.records import Binding
from sipfarm.native import Engine, Hop, Output
from sipfarm.node.media_path import Network, media_path
from sipfarm.node.reconnection import (
    ForwardedRequest,
    LostCall,
    Reconnections,
    ReconnectionSettings,
    flow_of,
)
from sipfarm.signaling.policy import targets_of
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import Answer, Decision, Forward, Redirect, Reject, Step, Target

SERIAL_FORKS_MAX: Final = 100_000
BRANCHES_MAX: Final = 10  # of a phone's new flows
FLOW_FAILED: Final = 430
"""What a branch has come to whose flow is gone (RFC 5626 §5.3)."""

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

    request: ForwardedRequest
    branches: tuple[_Branch, ...]
    timeout_ms: int
    later: tuple[Step, ...]
    tried: frozenset[str] = frozenset()
    """Flows of the same phones that have proved dead before (`flow_of`)."""

    @property
    def uses_flows(self) -> bool:
        return any(branch.hop is not None and branch.target.flow for branch in self.branches)

    @property
    def is_relayed(self) -> bool:
        """Mode "auto" looks at all that may answer: what was decided on, and what came since."""
        forward = self.request.forward
        if forward.media != "auto":
            return forward.media == "relay"
        flows = [flow for branch in self.branches for flow in (branch.target, *branch.others)]
        decided = [target for step in forward.steps for target in step.targets]
        return media_path(self.request.caller, (*decided, *flows)) == "relay"


class Forwarding:
    """Tells the engine what was decided, and gives it the next step when one has failed."""

    def __init__(
        self,
        engine: Engine,
        out: Output,
        locals_by_transport: dict[str, int],
        holder_of: HolderOf | None = None,
        reconnections: ReconnectionSettings | None = None,
    ) -> None:
        """The locals are those of `locals_of`."""
        self._engine = engine
        self._out = out
        self._locals = locals_by_transport
        self._holder_of = holder_of or _nobody
        self._under_way: OrderedDict[int, _UnderWay] = OrderedDict()
        self.reconnections = Reconnections(reconnections or ReconnectionSettings())
        """Calls that wait for their phone to register again."""

    @property
    def waiting(self) -> int:
        """Forks that may go on with further targets."""
        return len(self._under_way)

    def carry_out(
        self,
        transaction: int,
        decision: Decision,
        now_ms: int,
        *,
        stateless: bool = False,
        caller: Network | None = None,
    ) -> frozenset[str]:
        """Any decision but HandToTask; an answer `stateless` leaves no transaction. Mode "auto"
        needs the `caller`. Returned are the AORs to tell `registered` of, as they are in the
        store: what is known of them here has proved stale.
        """
        match decision:
            case Forward():
                request = ForwardedRequest(transaction, decision, caller)
                if not self._go_on(request, decision.steps, now_ms):
                    return self._lose(_lost(request), now_ms)
            case Reject(status, reason, headers):
                reply = Reply(status, reason, headers)
                self.reply(transaction, reply, now_ms, stateless=stateless)
            case Redirect(contacts, status):
                headers = tuple([("Contact", f"<{contact}>") for contact in contacts])
                self.reply(transaction, Reply(status, "", headers), now_ms, stateless=stateless)
            case Answer(reply):
                self.reply(transaction, reply, now_ms, stateless=stateless)
            case _:
                self.reply(transaction, Reply(500), now_ms)
        return frozenset()

    def reply(
        self, transaction: int, reply: Reply, now_ms: int, *, stateless: bool = False
    ) -> None:
        if stateless:
            self._engine.answer_statelessly(
                transaction,
                reply.status,
                reply.reason,
                reply.headers,
                reply.body,
                now_ms,
                self._out,
            )
            return
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

    def exhausted(self, transaction: int, status: int, lost: str, now_ms: int) -> frozenset[str]:
        """All targets of a step have failed, the best with `status`; returned is what `carry_out`
        returns.

        `lost` lists which of them, in their order, had a flow that proved dead ("0,2").
        """
        step = self._under_way.pop(transaction, None)
        if step is None:
            self._engine.finish(transaction, now_ms, self._out)
            return frozenset()
        dead = [step.branches[int(index)] for index in lost.split(",") if index]
        tried = step.tried | {flow_of(branch.target) for branch in dead}
        again = [other for branch in dead if (other := self._branch(branch.others)) is not None]
        if again:
            more = _UnderWay(step.request, tuple(again), step.timeout_ms, step.later, tried)
            self._fork(more, now_ms)
        elif not self._go_on(step.request, step.later, now_ms):
            if status != FLOW_FAILED:  # somebody has answered, or might have
                self._engine.finish(transaction, now_ms, self._out)
                return frozenset()
            return self._lose(_lost(step.request, tried), now_ms)
        return frozenset()

    def registered(self, aor: str, bindings: Iterable[Binding], now_ms: int) -> None:
        """The bindings of an address-of-record that calls wait for, from the store."""
        bindings = tuple(bindings)
        for lost in self.reconnections.waiting_for(aor):
            found = [
                target
                for target in targets_of(bindings)
                if target.uri.startswith("sips:") or not lost.is_secure
            ]
            fresh = tuple([left for target in found if (left := _without(target, lost.tried))])
            again = (Step(fresh[:BRANCHES_MAX], lost.timeout_ms),)
            if self._go_on(lost.request, again, now_ms):
                self.reconnections.going_on(lost.transaction)

    def next_deadline_ms(self) -> int | None:
        return self.reconnections.next_deadline_ms()

    def expire(self, now_ms: int) -> None:
        """Whose phone has not come back in time."""
        for transaction in self.reconnections.expire(now_ms):
            self._refuse(transaction, now_ms)

    def settled(self, transaction: int) -> None:
        """The call was answered or has failed: no further step."""
        self._under_way.pop(transaction, None)
        self.reconnections.drop(transaction)

    def _lose(self, call: LostCall, now_ms: int) -> frozenset[str]:
        if self.reconnections.put(call, now_ms):
            return call.aors
        self._refuse(call.transaction, now_ms)
        return frozenset()

    def _refuse(self, transaction: int, now_ms: int) -> None:
        """The phone is not there now: by its fork where there is one, whose best answer says so."""
        self._engine.finish(transaction, now_ms, self._out)
        self.reply(transaction, Reply(480), now_ms)

    def _go_on(self, request: ForwardedRequest, steps: tuple[Step, ...], now_ms: int) -> bool:
        """Begin the next step that has a target which can be reached; false if none has."""
        for index, step in enumerate(steps):
            found = [self._branch((target, *target.others)) for target in step.targets]
            branches = tuple([branch for branch in found if branch is not None])
            if branches:
                later = steps[index + 1 :]
                self._fork(_UnderWay(request, branches, step.timeout_ms, later), now_ms)
                return True
        return False

    def _fork(self, step: _UnderWay, now_ms: int) -> None:
        transaction, forward = step.request.transaction, step.request.forward
        more = bool(step.later) or step.uses_flows
        if more:
            self._under_way[transaction] = step
            if len(self._under_way) > SERIAL_FORKS_MAX:
                self._under_way.popitem(last=False)
        self._engine.forward(
            transaction,
            [
                (branch.target.uri, ", ".join(branch.target.route), branch.hop)
                for branch in step.branches
            ],
            step.is_relayed,
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


def _lost(request: ForwardedRequest, tried: frozenset[str] = frozenset()) -> LostCall:
    """A request no flow of whose targets is there."""
    steps = request.forward.steps
    targets = tuple([target for step in steps for target in step.targets])
    return LostCall(request, targets, steps[-1].timeout_ms, tried)


def _without(target: Target, tried: frozenset[str]) -> Target | None:
    """A phone by the flows that are left."""
    left = [flow for flow in (target, *target.others) if flow_of(flow) not in tried]
    return replace(left[0], others=tuple(left[1:])) if left else None


def _nobody(number: int, epoch: int, flow: int) -> None:
    """Where there are no streams, no flow is held by anybody."""
