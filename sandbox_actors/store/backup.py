"""The backup beside the store: `<name>.backup`, made while the store is in use, to recover from damage."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sandbox_actors.errors import StoreError
from sandbox_actors.store.disk_faults import RECOVER
from sandbox_actors.store.replacement import replacement

PAGES = 500
"""Pages (of 4 KiB) that are copied between two turns of the calls that arrive meanwhile."""


def backup_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.backup")


def backup_age(path: Path) -> float:
    """Seconds since the backup of the file `path` was made. Without a backup: infinite if the file exists, 0 if it does
    not."""
    try:
        return time.time() - backup_path(path).stat().st_mtime
    except FileNotFoundError:
        return math.inf if path.exists() else 0.0


def back_up(connection: sqlite3.Connection, path: Path, between: Callable[[], None]) -> None:
    """Copy the database to its backup, calling `between` after every few pages. The old backup is replaced when the new
    one is whole and sound. Raises StoreError where the copy shows damage, and what SQLite, the system and `between`
    raise."""
    with replacement(backup_path(path)) as new, closing(sqlite3.connect(new)) as target:
        connection.backup(target, pages=PAGES, progress=lambda *_: between(), sleep=0.0)
        (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreError(f"the file is damaged ({found}); {RECOVER}")
        target.execute("PRAGMA journal_mode=DELETE")
