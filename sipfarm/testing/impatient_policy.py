"""The stock policy, but a call to `tardy` is given up after a second."""

from typing import Final

import msgspec

from sipfarm.signaling.policy import stock_policy
from sipfarm.signaling.routing import Decision, Forward, Inquiry

PATIENCE_MS: Final = 1_000
TARDY: Final = "tardy"


def impatient_policy(inquiry: Inquiry) -> Decision:
    """A policy as a provider would write it."""
    decision = stock_policy(inquiry)
    if isinstance(decision, Forward) and inquiry.request_uri.user == TARDY:
        steps = tuple(
            msgspec.structs.replace(step, timeout_ms=PATIENCE_MS) for step in decision.steps
        )
        return msgspec.structs.replace(decision, steps=steps)
    return decision
