"""The tables of the SQLite store, and how an older file becomes one of this release.

A migration is a list of statements; they are only ever appended. A file of a newer schema than this
release knows is refused: an older release must not write what it cannot read.
"""

import sqlite3
from typing import Final

from sipfarm.base.errors import StartError

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE cell (
               noun TEXT NOT NULL,
               scope TEXT NOT NULL,
               name TEXT NOT NULL,
               value BLOB NOT NULL,
               dead_at_wall_ms INTEGER NOT NULL,
               PRIMARY KEY (noun, scope, name)
           ) WITHOUT ROWID""",
    ),
)


def migrate(
    connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> None:
    """Bring the file to the schema of this release; several processes may try at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        version: int = row[0] or 0
        if version > len(migrations):
            raise StartError(
                f"the store has schema {version}, this release knows up to {len(migrations)}: "
                "it was written by a newer release"
            )
        for number, statements in enumerate(migrations[version:], start=version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version VALUES (?)", (number,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
