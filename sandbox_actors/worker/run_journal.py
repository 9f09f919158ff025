"""What a worker writes to the folder of its run, in case the daemon has ended when it would be sent."""

from __future__ import annotations

import threading
from pathlib import Path

from sandbox_actors.files import own_file, write_whole
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.run_files import JOURNAL, LENGTH, RESULT, Ended, encode_kept


def write_result(folder: str, ended: Ended) -> bool:
    """Write the result where the next daemon looks for it. False if that fails: the result must then be kept in memory.

    True if the folder does not exist: it was removed because the end of the run is recorded already.
    """
    try:
        write_whole(Path(folder, RESULT), encode_kept(ended), mode=0o600)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Journal:
    """The points that a component has watched in its own process, in order. Safe to use from many threads."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder, JOURNAL)
        self._lock = threading.Lock()

    def append(self, points: list[Point]) -> bool:
        """Append one entry. False if it cannot be written; the journal is then unchanged."""
        data = encode_kept(points)
        entry = LENGTH.pack(len(data)) + data
        try:
            with self._lock, open(self._path, "ab", buffering=0, opener=own_file) as file:
                end = file.tell()
                if file.write(entry) < len(entry):
                    file.truncate(end)
                    return False
        except OSError:
            return False
        return True
