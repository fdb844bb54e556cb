"""What a member does from time to time: with what stands in the store, and with what is to."""

import asyncio
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError
from sipfarm.cluster.io.store import Store
from sipfarm.node.inheritance import Inheritance
from sipfarm.node.kept_calls import CallKeeper

PURGE_EVERY_S: Final = 1.0
PURGE_TOGETHER: Final = 1_000
KEEP_EVERY_S: Final = 0.1
SETTLE_EVERY_S: Final = 0.25


async def purge(store: Store, clock: Clock, log: FilteringBoundLogger) -> None:
    """Remove from the store what has expired, a little at a time."""
    while True:
        await asyncio.sleep(PURGE_EVERY_S)
        try:
            await store.purge(clock.wall_ms(), PURGE_TOGETHER)
        except CapacityError:
            log.warning("store_purge_failed")


async def keep_calls(keeper: CallKeeper) -> None:
    """Write this member's calls behind them."""
    while True:
        await asyncio.sleep(KEEP_EVERY_S)
        await keeper.flush()


async def inherit_calls(inheritance: Inheritance, may_act: Callable[[], bool]) -> None:
    """Go on with calls of the dead, as long as this member is sure that it lives."""
    while True:
        await asyncio.sleep(SETTLE_EVERY_S)
        if may_act():
            await inheritance.settle()
