"""Opens the file of a database: its lock, its mode, and its schema, which is migrated if it is old."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sandbox_actors.errors import StoreError
from sandbox_actors.store.replacement import replacement

COMMIT_COUNTER = "CREATE TABLE IF NOT EXISTS commits (number INTEGER NOT NULL)"
"""One row: the number of the last commit. After a commit that failed, it shows whether that commit took place."""


def connect(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Open the file, or create it, and bring its schema up to date.

    `migrations` are scripts: the first creates version 1 of the schema, each further one turns a version into the next.
    Before an older file is changed, it is copied to `<name>.version-<n>`. Raises StoreError for a newer one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal file the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Otherwise SQLite puts savepoints of a large transaction into a file in /var/tmp, which may be full.
        connection.execute("PRAGMA temp_store=MEMORY")
        _migrate(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def last_commit(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT number FROM commits").fetchone()
    return int(number)


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")  # also takes the exclusive lock, which is held until the connection is closed
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > len(migrations):
        raise StoreError(
            f"{path}: its schema has version {found}, and this program supports up to version {len(migrations)}; "
            "use the program that wrote it, or set SANDBOX_HOME to another folder"
        )
    if 0 < found < len(migrations):
        connection.execute("COMMIT")
        _copy(connection, path.with_name(f"{path.name}.version-{found}"))
        connection.execute("BEGIN IMMEDIATE")
    for script in migrations[found:]:
        for statement in filter(None, map(str.strip, script.split(";"))):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(migrations):d}")
    connection.execute(COMMIT_COUNTER)
    connection.execute("INSERT INTO commits SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM commits)")
    connection.execute("COMMIT")


def _copy(connection: sqlite3.Connection, copy: Path) -> None:
    with replacement(copy) as new, closing(sqlite3.connect(new)) as target:
        connection.backup(target)
