"""A new database file that takes the place of another one when it is complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """An empty file of mode 0600 that replaces `path` when the block ends well, and is removed if it raises.

    Its name cannot be guessed, and it must not exist, so a link that another user has put there is never followed.
    Files that a killed process has left behind are removed: only the process that owns the store creates them.
    """
    for leftover in path.parent.glob(f".{path.name}.*.unfinished*"):  # with SQLite's own files beside it
        leftover.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        yield new
        new.replace(path)
    except BaseException:
        with suppress(OSError):  # the error that is being handled says more
            new.unlink(missing_ok=True)
        raise
