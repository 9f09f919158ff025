"""What SQLite's errors mean: whose fault, and whether waiting helps."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from sandbox_actors.errors import SandboxError, StoreError

FULL = sqlite3.SQLITE_FULL
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
FAILING = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM}
)

RECOVER = "`sandbox daemon recover` saves all that can be read, and keeps the damaged file"


class DiskFault(Exception):
    """The file cannot be worked with for now, whatever is asked of it. `text` says why and what to do.

    `is_suspect`: what the connection holds may not be what the disk holds, so that it must not be used again.
    """

    def __init__(self, text: str, is_suspect: bool) -> None:
        super().__init__(text)
        self.text, self.is_suspect = text, is_suspect


def disk_fault_of(error: Exception, path: Path) -> DiskFault | None:
    """The trouble that an error tells of; None where it is the fault of what was asked for."""
    if isinstance(error, OSError):
        return DiskFault(f"{path}: {error.strerror or error}", is_suspect=True)
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == FULL:
        return DiskFault(f"{path}: its disk is full ({_free(path)} free); make room, and it goes on", is_suspect=False)
    if code in DAMAGED:
        return DiskFault(f"{path}: the file is damaged ({error}); {RECOVER}", is_suspect=True)
    if code in LOCKED:
        told = "another process has this store open; `sandbox daemon status` shows the daemon that may be"
        return DiskFault(f"{path}: {told}", is_suspect=True)
    if code in FAILING:
        name = getattr(error, "sqlite_errorname", "")
        return DiskFault(f"{path}: its disk fails ({error}, {name}); `dmesg` may say why", is_suspect=True)
    return None


def translate(error: Exception, path: Path) -> Exception:
    """The error for whoever asked: StoreError for those of the file and its values, `error` itself for others."""
    trouble = disk_fault_of(error, path)
    if isinstance(error, SandboxError):
        return error
    if trouble is None and not isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
        return error
    told = StoreError(trouble.text if trouble is not None else f"{path}: {error}")
    told.__cause__ = error
    return told


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / 1024**2:,.1f} MiB"
    except OSError:
        return "nothing"
