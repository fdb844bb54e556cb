"""Where new work goes (DESIGN §4 "Placement"): it stays, unless another is clearly less busy.

By the power of two choices: two ready members are drawn, and only the less busy of them is
considered. Nobody compares all, so nobody runs to the one that was idle 200 ms ago.
"""

import msgspec

from sipfarm.base.farm_view import PERMILLE, Load, MemberInView, View

_DRAW_BITS = 32


class PlacementSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as busy."""

    loop_lag_full_ms: int = 100
    """A loop that is so late is full."""
    transactions_full: int = 100_000
    busier_by: float = 0.15
    """Moving costs a hop: the other must be less busy by so much of the whole."""

    def __post_init__(self) -> None:
        if self.loop_lag_full_ms < 1 or self.transactions_full < 1 or not 0 <= self.busier_by <= 1:
            raise ValueError("loop_lag_full_ms and transactions_full from 1, busier_by from 0 to 1")


def score(load: Load, settings: PlacementSettings) -> float:
    """From 0 (idle) to 1 (full): the scarcest of what a member has."""
    fullest = max(
        load.loop_lag_ms / settings.loop_lag_full_ms,
        load.cpu_permille / PERMILLE,
        load.transactions / settings.transactions_full,
        load.media_permille / PERMILLE,
    )
    return min(max(fullest, 0.0), 1.0)


def choose(own: MemberInView, view: View, draw: int, settings: PlacementSettings) -> int:
    """The number of the member that gets the new work `own` received; `draw` is 64 random bits.

    A member that takes none keeps it only where nobody else is.
    """
    others = [member for member in view.ready() if member.number != own.number]
    if not others:
        return own.number
    low, high = draw & (1 << _DRAW_BITS) - 1, draw >> _DRAW_BITS
    first = low % len(others)
    sampled = [others[first]]
    if len(others) > 1:
        sampled.append(others[(first + 1 + high % (len(others) - 1)) % len(others)])
    scores = [score(member.load, settings) for member in sampled]
    best = scores.index(min(scores))
    busy = score(own.load, settings)
    if own.takes_work and busy - scores[best] <= settings.busier_by:
        return own.number
    return sampled[best].number
