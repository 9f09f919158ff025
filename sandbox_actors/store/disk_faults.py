"""Classifies SQLite's errors: is the disk at fault, or the call, and can the connection still be used."""

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

RECOVER = "`sandbox daemon recover` saves what can be read, and keeps the damaged file"


class DiskFault(Exception):
    """The disk or the file is at fault, not the call: any other call would fail too. `text` says why and what to do.

    `is_suspect`: the connection may not know what is on the disk, so it must not be used again.
    """

    def __init__(self, text: str, is_suspect: bool) -> None:
        super().__init__(text)
        self.text, self.is_suspect = text, is_suspect


def disk_fault_of(error: Exception, path: Path) -> DiskFault | None:
    """The fault of the disk that an error stands for; None if the call is at fault."""
    if isinstance(error, OSError):
        return DiskFault(f"{path}: {error.strerror or error}", is_suspect=True)
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == FULL:
        return DiskFault(
            f"{path}: its disk is full ({_free(path)} free); free some space, and it continues", is_suspect=False
        )
    if code in DAMAGED:
        return DiskFault(f"{path}: the file is damaged ({error}); {RECOVER}", is_suspect=True)
    if code in LOCKED:
        text = "another process has this store open; `sandbox daemon status` shows whether it is a daemon"
        return DiskFault(f"{path}: {text}", is_suspect=True)
    if code in FAILING:
        name = getattr(error, "sqlite_errorname", "")
        return DiskFault(f"{path}: its disk fails ({error}, {name}); `dmesg` may say why", is_suspect=True)
    return None


def translate(error: Exception, path: Path) -> Exception:
    """The error for the caller: StoreError for an error of the file or its values, otherwise `error` itself."""
    fault = disk_fault_of(error, path)
    if isinstance(error, SandboxError):
        return error
    if fault is None and not isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
        return error
    translated = StoreError(fault.text if fault is not None else f"{path}: {error}")
    translated.__cause__ = error
    return translated


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / 1024**2:,.1f} MiB"
    except OSError:
        return "nothing"
