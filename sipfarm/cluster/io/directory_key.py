"""The key by which Call-IDs find their home, which stays the same while the secret changes."""

from typing import Final

from sipfarm.base.ids import Entropy
from sipfarm.base.records import Snapshot
from sipfarm.cluster.io.store import Snapshots

OWNER: Final = "farm"
KEY: Final = "directory-key"
KEY_BYTES: Final = 16
"""SipHash-2-4 takes 128 bits."""
FAR_WALL_MS: Final = 2**43
"""In the year 2248."""


async def directory_key(store: Snapshots, entropy: Entropy, wall_ms: int) -> bytes:
    """The farm's key; the first member that asks makes it. Raises StoreUnavailable."""
    made = Snapshot(OWNER, KEY, entropy.token_bytes(KEY_BYTES), FAR_WALL_MS)
    if await store.snapshot_swap(made, None, wall_ms):
        return made.value
    kept = [each for each in await store.snapshots(OWNER, wall_ms) if each.key == KEY]
    return kept[0].value
