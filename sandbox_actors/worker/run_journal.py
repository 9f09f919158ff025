"""What a worker keeps in the folder of its run, for the case that the daemon is gone when it would tell it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sandbox_actors.files import write_whole
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.run_files import JOURNAL, LENGTH, RESULT, Ended, encode_kept


def keep_result(folder: str, ended: Ended) -> bool:
    """Put the result where the next daemon looks for it. False where the disk does not take it: it is then to be told.

    A folder that is gone is that of a run whose end nobody waits for.
    """
    try:
        write_whole(Path(folder, RESULT), encode_kept(ended), mode=0o600)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Journal:
    """What a component has watched in its own process, in the order in which it was. May be used by many threads."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder, JOURNAL)
        self._lock = threading.Lock()

    def append(self, points: list[Point]) -> bool:
        """Add one entry. False where the disk does not take it; the journal is then as it was."""
        data = encode_kept(points)
        entry = LENGTH.pack(len(data)) + data
        try:
            with self._lock, open(self._path, "ab", buffering=0, opener=_private) as file:
                end = file.tell()
                if file.write(entry) < len(entry):
                    file.truncate(end)
                    return False
        except OSError:
            return False
        return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
