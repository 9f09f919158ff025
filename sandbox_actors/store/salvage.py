"""Builds a new store from what can be read of a damaged one and of its backup.

Tables are read row by row. A range of keys that cannot be read is halved until only single keys fail. Rows of the
damaged file take precedence, because they are newer; those of the backup fill the gaps. Rows that refer to an
experiment which is in neither file are left out.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_actors.errors import StoreError
from sandbox_actors.store.backup import backup_path
from sandbox_actors.store.connect import connect
from sandbox_actors.store.replacement import replacement

LAST_KEY = 2**40
"""Greater than every key in use."""

MOST_FAILURES = 10_000
"""Reads of one table that may fail before the rest of it is skipped."""


@dataclass(frozen=True)
class Salvage:
    """Result of `recover`: where the damaged file is kept, and how many rows of each table came from it, and how many
    only from the backup."""

    kept: Path
    saved: dict[str, int]
    from_backup: dict[str, int]


def recover(path: Path, migrations: Sequence[str], keys: dict[str, str], orphans: Sequence[str]) -> Salvage:
    """Replace the damaged file by a new one, and keep it under another name. No process may have it open.

    `keys` names the tables, in the order in which rows may refer to others, each with a column of integers that its
    rows are found by; `orphans` are the statements that remove rows which refer to nothing. Raises StoreError if
    there is nothing to recover.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no such file, so there is nothing to recover")
    with replacement(path) as new:
        with closing(connect(new, migrations)) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            saved = _copy_rows(connection, path, keys)
            from_backup = _copy_rows(connection, backup_path(path), keys)
            for statement in orphans:
                connection.execute(statement)
        kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        os.link(path, kept)
        with suppress(FileNotFoundError):  # SQLite would take it for the log of the new file
            _wal_of(path).rename(_wal_of(kept))
    _sync_folder(path)
    return Salvage(kept, saved, from_backup)


def _wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _copy_rows(connection: sqlite3.Connection, path: Path, keys: dict[str, str]) -> dict[str, int]:
    """Copy the rows of `path` that `connection` does not have. Returns their number for each table."""
    taken = dict.fromkeys(keys, 0)
    if not path.exists():
        return taken
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".recover-") as folder:
        copy = Path(folder, path.name)  # a copy, because reading a file that has a log changes it
        shutil.copyfile(path, copy)
        if _wal_of(path).exists():
            shutil.copyfile(_wal_of(path), _wal_of(copy))
        with closing(sqlite3.connect(copy)) as source:
            connection.execute("BEGIN IMMEDIATE")
            for table, key in keys.items():
                columns = _columns(connection, source, table)
                marks = ", ".join("?" * len(columns))
                insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                select = f"SELECT {key}, {', '.join(columns)} FROM {table} NOT INDEXED WHERE {key} BETWEEN ? AND ?"
                for row in _Reader(source, f"{select} ORDER BY {key}").rows(0, LAST_KEY):
                    taken[table] += connection.execute(insert, row[1:]).rowcount
            connection.execute("COMMIT")
    return taken


def _columns(target: sqlite3.Connection, source: sqlite3.Connection, table: str) -> list[str]:
    """The columns that both have; those of the target if the source cannot be read."""
    query = f"PRAGMA table_info({table})"
    wanted = [f'"{row[1]}"' for row in target.execute(query)]
    try:
        known = {f'"{row[1]}"' for row in source.execute(query)}
    except sqlite3.DatabaseError:
        return wanted
    return [column for column in wanted if column in known] or wanted


class _Reader:
    """Reads what can be read of one table. `query` takes two keys and returns the rows between them, the key first."""

    def __init__(self, source: sqlite3.Connection, query: str) -> None:
        self._source, self._query = source, query
        self._failures = 0

    def rows(self, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        """The readable rows of a range of keys. A row may be yielded more than once."""
        try:
            for row in self._source.execute(self._query, (first, last)):
                yield row
                first = row[0]
        except sqlite3.DatabaseError:
            self._failures += 1
            if self._failures <= MOST_FAILURES:
                yield from self._rows_around(first, last)

    def _rows_around(self, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        """The rows of a range after its first unreadable one, whose key is `first` or the next one."""
        with suppress(sqlite3.DatabaseError):
            yield from self._source.execute(f"{self._query} DESC", (first, first))
        if first < last:
            middle = (first + 1 + last) // 2
            yield from self.rows(first + 1, middle)
            yield from self.rows(middle + 1, last)


def _sync_folder(path: Path) -> None:
    """Flush the folder of `path`, so that renames in it outlive a power cut."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
