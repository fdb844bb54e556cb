"""What goes over many cells of a SQLite file, on the thread that lists them: it writes nothing."""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from sipfarm.cluster.io.sqlite_worker import Operation, Outcome

_PAGE: Final = """
    SELECT json_group_array(json_array(name, hex(value))) FROM (
        SELECT name, value FROM cell WHERE noun = ?1 AND scope = ?2 AND name > ?3
        ORDER BY name LIMIT ?4
    )
"""
_COUNT: Final = "SELECT count(*) FROM cell WHERE noun = ?1 AND scope = ?2"
_SCAN: Final = """
    SELECT json_group_array(json_array(name, hex(value))) FROM cell WHERE noun = ?1 AND scope = ?2
"""


class Scan(NamedTuple):
    """All cells of a noun in a scope."""

    noun: str
    scope: str


class PageOf(NamedTuple):
    """Up to `limit` of them, by name, after a name."""

    noun: str
    scope: str
    after: str
    limit: int


class Count(NamedTuple):
    """How many there are."""

    noun: str
    scope: str


def perform_lists(connection: sqlite3.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """What the listing thread does with each batch."""
    return [Outcome(operation, _look(connection, operation.request), None) for operation in batch]


def _look(connection: sqlite3.Connection, request: Scan | PageOf | Count) -> dict[str, bytes] | int:
    if isinstance(request, Count):
        count: int = connection.execute(_COUNT, request).fetchone()[0]
        return count
    statement = _PAGE if isinstance(request, PageOf) else _SCAN
    row = connection.execute(statement, request).fetchone()
    pairs = msgspec.json.decode(row[0], type=list[tuple[str, str]])
    return {name: bytes.fromhex(value) for name, value in pairs}
