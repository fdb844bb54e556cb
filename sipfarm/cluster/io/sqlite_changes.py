"""Changes of cells of a SQLite file, in batches on the thread that writes.

A batch is a few statements however many operations are in it, with the keys and values packed into
one JSON text and one blob: the sqlite3 module gives up the GIL at each step of each statement, and
getting it back from a busy event loop can take milliseconds.

It is optimistic. It reads, decides, then writes in a single statement that fails as a whole if a
value read has changed; only then, or when there is something to delete or several cells belong
together, is it done again with the write lock held. So the lock is seldom held while Python runs,
and members do not wait for each other's GIL.
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sipfarm.cluster.io.cells import CellKey, Decide, Delete, Put, Write
from sipfarm.cluster.io.sqlite_worker import Operation, Outcome

LOCK_WAIT_S: Final = 1.0
LOCK_LOOK_S: Final = 0.001
KNOWN_VALUES_MAX: Final = 32_768

_READ: Final = """
    SELECT json_group_array(json_array(k.key, hex(c.value)))
    FROM json_each(?1) AS k
    CROSS JOIN cell AS c
        ON c.noun = k.value ->> 0 AND c.scope = k.value ->> 1 AND c.name = k.value ->> 2
"""
# Each row of ?1: noun, scope, name, start and length of the new value in ?2, when it is dead, start
# and length of the old value in ?2. Where the old value is no longer there, the NULL breaks the
# whole statement (cell.value NOT NULL).
_WRITE_IF_UNCHANGED: Final = """
    INSERT INTO cell (noun, scope, name, value, dead_at_wall_ms)
    SELECT w.value ->> 0, w.value ->> 1, w.value ->> 2,
           CASE WHEN c.value IS substr(?2, w.value ->> 6, w.value ->> 7)
                THEN substr(?2, w.value ->> 3, w.value ->> 4) END,
           w.value ->> 5
    FROM json_each(?1) AS w
    LEFT JOIN cell AS c
        ON c.noun = w.value ->> 0 AND c.scope = w.value ->> 1 AND c.name = w.value ->> 2
    WHERE true
    ON CONFLICT (noun, scope, name)
    DO UPDATE SET value = excluded.value, dead_at_wall_ms = excluded.dead_at_wall_ms
"""
_WRITE: Final = """
    INSERT INTO cell (noun, scope, name, value, dead_at_wall_ms)
    SELECT w.value ->> 0, w.value ->> 1, w.value ->> 2,
           substr(?2, w.value ->> 3, w.value ->> 4), w.value ->> 5
    FROM json_each(?1) AS w
    WHERE true
    ON CONFLICT (noun, scope, name)
    DO UPDATE SET value = excluded.value, dead_at_wall_ms = excluded.dead_at_wall_ms
"""
_DELETE: Final = """
    DELETE FROM cell WHERE (noun, scope, name) IN (
        SELECT w.value ->> 0, w.value ->> 1, w.value ->> 2 FROM json_each(?1) AS w
    )
"""
_PURGE_END: Final = """
    SELECT noun, scope, name FROM cell WHERE (noun, scope, name) > (?1, ?2, ?3)
    ORDER BY noun, scope, name LIMIT 1 OFFSET ?4
"""
_PURGE: Final = """
    DELETE FROM cell
    WHERE (noun, scope, name) > (?1, ?2, ?3) AND (?4 IS NULL OR (noun, scope, name) <= (?4, ?5, ?6))
      AND dead_at_wall_ms BETWEEN 1 AND ?7
"""

_BEGINNING: Final = CellKey("", "", "")


class Transact(NamedTuple):
    """Cells that are read, and written as is decided then."""

    keys: Sequence[CellKey]
    decide: Decide[Any]


class Purge(NamedTuple):
    """Up to `limit` more cells are looked at, and those dead by then removed."""

    wall_ms: int
    limit: int


class Writer:
    """What the writing thread does with each batch."""

    def __init__(self) -> None:
        self._purged_to = _BEGINNING
        self._known = KnownValues(KNOWN_VALUES_MAX)

    def perform(self, connection: sqlite3.Connection, batch: Sequence[Operation]) -> list[Outcome]:
        single = [o for o in batch if isinstance(o.request, Transact) and len(o.request.keys) == 1]
        joint = [o for o in batch if isinstance(o.request, Transact) and len(o.request.keys) != 1]
        outcomes: list[Outcome] = []
        if single:
            outcomes += _change_optimistically(connection, single, self._known) or _change_locked(
                connection, single
            )
        if joint:
            outcomes += _change_locked(connection, joint)
        outcomes += [
            Outcome(operation, self._purge(connection, operation.request), None)
            for operation in batch
            if isinstance(operation.request, Purge)
        ]
        return outcomes

    def _purge(self, connection: sqlite3.Connection, purge: Purge) -> int:
        """Go on through the table from where the last call ended."""
        row = connection.execute(_PURGE_END, (*self._purged_to, purge.limit - 1)).fetchone()
        end = (None, None, None) if row is None else row
        purged = _begin(connection, _PURGE, (*self._purged_to, *end, purge.wall_ms)).rowcount
        self._purged_to = _BEGINNING if row is None else CellKey(*row)
        return purged


class _Plan(NamedTuple):
    outcomes: list[Outcome]
    puts: dict[CellKey, Put]
    deletes: set[CellKey]


class KnownValues:
    """What this process wrote last to some cells: a guess at what is there, to save the reading."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._values: dict[CellKey, bytes] = {}

    def of(self, keys: Iterable[CellKey]) -> dict[CellKey, bytes]:
        """Take out those that are known; `note` them again once they have proven true."""
        pop = self._values.pop
        found = {key: pop(key, None) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def note(self, key: CellKey, value: bytes) -> None:
        """The value is there now; the oldest of too many are forgotten."""
        values = self._values
        values[key] = value
        if len(values) > self._entries_max:
            del values[next(iter(values))]


def _change_optimistically(
    connection: sqlite3.Connection, batch: Sequence[Operation], known: KnownValues
) -> list[Outcome] | None:
    """Change cells that stand for themselves; None, and nothing done, if this takes the lock.

    A value that is only believed to be there serves where the write proves it; an operation that
    writes nothing needs the truth.
    """
    keys = dict.fromkeys([operation.request.keys[0] for operation in batch])
    believed = known.of(keys)
    values = believed | _read(connection, [key for key in keys if key not in believed])
    plan = _decide(batch, values)
    unproven = [key for key in believed if key not in plan.puts]
    if unproven:
        values |= _read(connection, unproven)
        plan = _decide(batch, values)
    if plan.deletes:
        return None
    if plan.puts:
        try:
            _begin(connection, _WRITE_IF_UNCHANGED, _packed(plan.puts, values))
        except sqlite3.IntegrityError:
            return None
    for key, put in plan.puts.items():
        known.note(key, put.value)
    return plan.outcomes


def _read(connection: sqlite3.Connection, keys: Sequence[CellKey]) -> dict[CellKey, bytes | None]:
    """The values of cells in one statement, so as of one moment."""
    values: dict[CellKey, bytes | None] = dict.fromkeys(keys)
    if values:
        distinct = list(values)
        row = connection.execute(_READ, (_json(distinct),)).fetchone()
        for index, value in msgspec.json.decode(row[0], type=list[tuple[int, str]]):
            values[distinct[index]] = bytes.fromhex(value)
    return values


def _change_locked(connection: sqlite3.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    _begin(connection, "BEGIN IMMEDIATE")
    values = _read(connection, [key for operation in batch for key in operation.request.keys])
    plan = _decide(batch, values)
    if plan.puts:
        connection.execute(_WRITE, _packed(plan.puts, values))
    if plan.deletes:
        connection.execute(_DELETE, (_json(list(plan.deletes)),))
    connection.execute("COMMIT")
    return plan.outcomes


def _begin(
    connection: sqlite3.Connection, statement: str, parameters: Sequence[object] = ()
) -> sqlite3.Cursor:
    """Execute what takes the write lock, as soon as no other member has it.

    SQLite's own waiting sleeps up to 100 ms between two looks, long after the lock is free.
    """
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return connection.execute(statement, parameters)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline_s:
                raise
        time.sleep(LOCK_LOOK_S)


def _decide(batch: Sequence[Operation], values: Mapping[CellKey, bytes | None]) -> _Plan:
    """Let each operation decide in turn, on what those before it have written."""
    plan = _Plan([], {}, set())
    current = dict(values)
    for operation in batch:
        keys: Sequence[CellKey] = operation.request.keys
        try:
            writes, result = operation.request.decide([current[key] for key in keys])
        except Exception as error:  # it belongs to the caller, who waits on the other thread
            plan.outcomes.append(Outcome(operation, None, error))
            continue
        plan.outcomes.append(Outcome(operation, result, None))
        for key, write in zip(keys, writes, strict=True):
            if write is not None:
                current[key] = _note(plan, key, write)
    return plan


def _note(plan: _Plan, key: CellKey, write: Write) -> bytes | None:
    if isinstance(write, Delete):
        plan.puts.pop(key, None)
        plan.deletes.add(key)
        return None
    plan.deletes.discard(key)
    plan.puts[key] = write
    return write.value


def _packed(
    puts: Mapping[CellKey, Put], values: Mapping[CellKey, bytes | None]
) -> tuple[str, bytes]:
    """The parameters of a write: rows with places in a blob (counted from 1), and the blob."""
    rows: list[tuple[object, ...]] = []
    blob = bytearray(1)  # SQLite takes an empty part of an empty blob for NULL
    for key, put in puts.items():
        old = values[key]
        start = len(blob) + 1
        blob += put.value
        old_start = len(blob) + 1
        if old is None:
            rows.append((*key, start, len(put.value), put.dead_at_wall_ms, None, None))
        else:
            blob += old
            rows.append((*key, start, len(put.value), put.dead_at_wall_ms, old_start, len(old)))
    return _json(rows), bytes(blob)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
