"""The routing transaction user: a request, a policy, a decision (RFC 3261 §16)."""

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Final

from sipfarm.base.errors import CapacityError, UsageError
from sipfarm.base.limits import TARGETS_PER_REQUEST_MAX
from sipfarm.native import Message
from sipfarm.signaling.headers import parse_uri
from sipfarm.signaling.lookups import Lookups, Pending
from sipfarm.signaling.reply import unavailable
from sipfarm.signaling.routing import (
    ChallengeCaller,
    Decision,
    Forward,
    Inquiry,
    Policy,
    Reject,
    RoutingParts,
)
from sipfarm.signaling.standing import Judged, Standing

FOREIGN_STATUSES: Final = frozenset({403, 404})
"""A stranger who is answered so was not even challenged: what he asked for is not the farm's."""
_UNPROVEN, _FOREIGN = Standing.UNPROVEN, Standing.FOREIGN


class Router:
    """Runs the policy for requests outside of known dialogs, never for ACK and CANCEL."""

    def __init__(self, parts: RoutingParts, policy: Policy) -> None:
        self._parts = parts
        self._policy = policy

    def decide(
        self, request: Message, times: tuple[int, int]
    ) -> Judged[Decision] | Awaitable[Judged[Decision]]:
        """Forward, Reject, Redirect, Answer or HandToTask; `times` is now_ms and wall_ms."""
        parts = self._parts
        uri = parse_uri(parts.syntax, request.request_uri)
        if uri is None:
            return Judged(Reject(400, "Malformed Request-URI"), _UNPROVEN)
        lookups = Lookups(parts.tenants, parts.locations, parts.own, times)
        inquiry = Inquiry(parts, request, uri, lookups)
        try:
            decision = self._policy(inquiry)
        except Pending as pending:
            return self._decide_later(inquiry, pending.bare())
        if isinstance(decision, Decision):
            return self._finished(decision, inquiry)
        return self._decide_later(inquiry, decision)

    async def _decide_later(
        self, inquiry: Inquiry, waiting: Pending | Decision | Awaitable[Decision]
    ) -> Judged[Decision]:
        while True:
            try:
                if isinstance(waiting, Pending):
                    await inquiry.lookups.settle(waiting)
                    waiting = self._policy(inquiry)
                if not isinstance(waiting, Decision):
                    if not isawaitable(waiting):
                        raise UsageError(f"the routing policy answered {waiting!r}: no Decision")
                    waiting = await waiting
                return self._finished(waiting, inquiry)
            except Pending as pending:
                waiting = pending.bare()
            except CapacityError as error:
                reply = unavailable(error.retry_after_s)
                return Judged(Reject(reply.status, reply.reason, reply.headers), inquiry.standing)

    def _finished(self, decision: Decision, inquiry: Inquiry) -> Judged[Decision]:
        """A decision that needs no more of a policy's circumstances."""
        standing = inquiry.standing
        if isinstance(decision, ChallengeCaller):
            reply = self._parts.digest.challenge(
                decision.realm,
                inquiry.request.source,
                inquiry.lookups.wall_ms,
                proxy=decision.proxy,
                stale=inquiry.was_stale(decision.realm),
            )
            return Judged(Reject(reply.status, reply.reason, reply.headers), standing)
        if isinstance(decision, Forward):
            targets = sum([len(step.targets) for step in decision.steps])
            if not 0 < targets <= TARGETS_PER_REQUEST_MAX:
                raise UsageError(
                    f"a Forward needs 1 to {TARGETS_PER_REQUEST_MAX} targets: {targets}"
                )
        elif isinstance(decision, Reject) and decision.status in FOREIGN_STATUSES:
            standing = _FOREIGN if standing is _UNPROVEN else standing
        return Judged(decision, standing)
