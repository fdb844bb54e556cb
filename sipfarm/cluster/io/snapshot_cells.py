"""Snapshots as cells: one for each, under the incarnation that began it (ADR 17)."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sipfarm.base.records import Snapshot
from sipfarm.cluster.io.cells import DELETE, CellKey, Decide, Put, Values, Verdict, Write

SNAPSHOT: Final = "snapshot"  # scope: the owner

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Snapshot).decode


def key_of(snapshot: Snapshot) -> CellKey:
    return CellKey(SNAPSHOT, snapshot.owner, snapshot.key)


def living(value: bytes | None, wall_ms: int) -> Snapshot | None:
    """What a cell holds, if it has not expired."""
    snapshot = None if value is None else _decode(value)
    return snapshot if snapshot and snapshot.expires_at_wall_ms > wall_ms else None


def swap(snapshot: Snapshot, expected: bytes | None, wall_ms: int) -> Decide[bool]:
    """Write it if the value there is `expected`."""

    def decide(values: Values) -> Verdict[bool]:
        found = living(values[0], wall_ms)
        done = (found.value if found else None) == expected
        return (_put(snapshot, wall_ms) if done else None,), done

    return decide


def keep(snapshots: Sequence[Snapshot], wall_ms: int) -> Decide[frozenset[str]]:
    """Write each that nobody else holds; the keys of the others."""

    def decide(values: Values) -> Verdict[frozenset[str]]:
        writes: list[Write | None] = []
        refused: set[str] = set()
        for snapshot, value in zip(snapshots, values, strict=True):
            found = living(value, wall_ms)
            if found is not None and found.holder != snapshot.holder:
                refused.add(snapshot.key)
                writes.append(None)
            elif snapshot.expires_at_wall_ms <= wall_ms:
                writes.append(None if value is None else DELETE)
            else:
                writes.append(_put(snapshot, wall_ms))
        return writes, frozenset(refused)

    return decide


def take(before: str, after: str, wall_ms: int) -> Decide[frozenset[str]]:
    """Put another holder in the place of `before`; the keys of what it held."""

    def decide(values: Values) -> Verdict[frozenset[str]]:
        found = [living(value, wall_ms) for value in values]
        taken = [
            msgspec.structs.replace(snapshot, holder=after, takes=snapshot.takes + 1)
            if snapshot is not None and snapshot.holder == before
            else None
            for snapshot in found
        ]
        writes = [None if snapshot is None else _put(snapshot, wall_ms) for snapshot in taken]
        return writes, frozenset([snapshot.key for snapshot in taken if snapshot is not None])

    return decide


def _put(snapshot: Snapshot, wall_ms: int) -> Put:
    return Put(_encode(snapshot), snapshot.expires_at_wall_ms, wall_ms)
