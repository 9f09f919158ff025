"""The answers so far, on disk: an interrupted inference continues where it stopped.

A hidden file beside the export, `.<name>_inference.<digest>.partial`. Its first line is the identity of the inference:
everything that an answer depends on. Each other line is one answer, `[number of the request, output]`, written when it
comes. The file of another identity is another file, and is never read for this one.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import own_file

FORMAT = 1


class Unfinished:
    """The answers to `total` requests for the file `export`. Locked by one process at a time, until `close`."""

    def __init__(self, export: Path, identity: Mapping[str, Any], total: int) -> None:
        self._header = json.dumps([FORMAT, identity], sort_keys=True).encode() + b"\n"
        digest = hashlib.sha256(self._header).hexdigest()[:16]
        self._export = export
        self._path = export.with_name(f".{export.stem}.{digest}.partial")
        self._places = array("q", [-1]) * total
        self._writer = self._hold()
        self._reader = self._path.open("rb")
        self._end = self._read_back()
        self._writer.truncate(self._end)
        if not self._end:
            self._write(self._header)
        self.count = sum(place >= 0 for place in self._places)

    def __contains__(self, number: int) -> bool:
        return self._places[number] >= 0

    def __getitem__(self, number: int) -> Any:
        """The answer to a request that has one."""
        self._reader.seek(self._places[number])
        return json.loads(self._reader.readline())[1]

    def keep(self, number: int, output: Any) -> None:
        """Write an answer to the file, so that it outlives this process."""
        self._places[number] = self._end
        self._write(json.dumps([number, output]).encode() + b"\n")
        self.count += 1

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def remove(self) -> None:
        """Remove the file, and those of earlier inferences for the same export, which are outdated."""
        self.close()
        for path in self._path.parent.glob(f".{glob.escape(self._export.stem)}.*.partial"):
            path.unlink(missing_ok=True)

    def _hold(self) -> BinaryIO:
        try:
            file = os.fdopen(own_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")
        except OSError as error:
            raise ComponentFailed(f"cannot write beside {self._export}: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ComponentFailed(
                f"another process is writing {self._export}; wait for it, or end it with `sandbox cancel`"
            ) from error
        return file

    def _read_back(self) -> int:
        """Find the answers in the file. Returns where the last complete one ends: a killed process may have left a part
        of another one behind it."""
        if self._reader.readline() != self._header:
            return 0
        end = len(self._header)
        for line in self._reader:
            if not self._note(line, end):
                break
            end += len(line)
        return end

    def _note(self, line: bytes, place: int) -> bool:
        try:
            number, _ = json.loads(line)
            if line.endswith(b"\n") and number >= 0:
                self._places[number] = place
                return True
        except (ValueError, TypeError, IndexError):
            pass
        return False

    def _write(self, line: bytes) -> None:
        self._writer.write(line)
        self._writer.flush()
        self._end += len(line)
