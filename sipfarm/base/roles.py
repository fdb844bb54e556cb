"""What a member may be to its farm. Roles are settings: the program is the same everywhere.

`edge` binds the farm's SIP addresses; `pbx` takes new work (calls, registrations, tasks); `media`
relays the media of calls.
"""

from collections.abc import Collection
from typing import Final, Literal

Role = Literal["edge", "pbx", "media"]

ROLES: Final[tuple[Role, ...]] = ("edge", "pbx", "media")


def fault_of(roles: Collection[str], *, by_flow: bool) -> str:
    """Why a member cannot be just this; empty if it can. `by_flow`: the farm's balancing is."""
    if not roles:
        return f"a member has at least one role of {', '.join(ROLES)}"
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        return f'"{unknown[0]}" is no role: allowed are {", ".join(ROLES)}'
    if "pbx" in roles and "media" not in roles:
        return '"pbx" needs "media" beside it: the media of a call is relayed by its owner'
    if "media" in roles and "pbx" not in roles:
        return '"media" needs "pbx" beside it: only the owner of a call relays its media'
    if "pbx" not in roles and by_flow:
        return 'without "pbx" it needs balancing "packet": with "flow" it keeps what it receives'
    return ""
