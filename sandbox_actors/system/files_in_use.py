"""Files that must stay where they are as long as this process uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio

INTERVAL = 0.25
"""Seconds between two looks. Each takes some microseconds, in a thread, since a disk may hang."""

_threads = trio.CapacityLimiter(1)


class FilesInUse:
    """Files that exist when this is made."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._ids = {path: _file_id(path) for path in files}

    def find_gone(self) -> Path | None:
        """The first of the files that has been removed, or replaced by another one, since."""
        for path, before in self._ids.items():
            now = _file_id(path)
            if now is None or now != before:
                return path
        return None

    async def wait_until_gone(self) -> Path:
        """Returns what `find_gone` does as soon as there is one."""
        while True:
            gone = await trio.to_thread.run_sync(self.find_gone, limiter=_threads, abandon_on_cancel=True)
            if gone is not None:
                return gone
            await trio.sleep(INTERVAL)


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is no such file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
