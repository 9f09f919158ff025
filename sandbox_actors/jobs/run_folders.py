"""Runs on disk: what the next daemon needs to take a run up again, and what its worker has written for it.

A run has its folder from before it starts until its end is recorded in the store.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.files import write_whole
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.run_files import JOURNAL, LENGTH, RESULT, Ended, decode_ended, decode_points
from sandbox_actors.protocol.worker_requests import Run
from sandbox_actors.system.folders import make_private, remove_from
from sandbox_actors.system.paths import HOME_WAY_OUT

log = logging.getLogger(__name__)

RECORD = "run"

CHUNK = 1024 * 1024
"""Bytes of a journal that are taken in at once, and the rest of the last entry."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`run` was, or is about to be, asked of worker `worker`, which was leased for `needs`, its env without variables.

    `started` is when, by the clock of `time.monotonic`, which all processes share until the machine is started again;
    `cpus` is what it holds, besides `needs.gpus`.
    """

    run: Run
    needs: ActorNeeds = msgspec.field(name="wanted")
    worker: str
    started: float = msgspec.field(name="begun")
    cpus: float


class RunFolders:
    """The folders of all runs, in `root`. Its methods block."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_of(self, run: str) -> Path:
        return self._root / run

    def begin(self, record: RunRecord) -> None:
        """Make the folder of a run that is about to start. Raises Refused, OSError."""
        folder = self.path_of(record.run.run)
        make_private(self._root, HOME_WAY_OUT)
        remove_from(self._root, folder.name)  # of this experiment before it was resumed
        folder.mkdir(mode=0o700)
        public = replace(record.needs, env=replace(record.needs.env, environ={}))
        data = msgspec.msgpack.encode(msgspec.structs.replace(record, needs=public))
        write_whole(folder / RECORD, data, mode=0o600)

    def result(self, run: str) -> Ended | None:
        """How the run has ended; None where that is not known."""
        try:
            return decode_ended((self.path_of(run) / RESULT).read_bytes())
        except (OSError, msgspec.MsgspecError, ValueError):
            return None

    def journal(self, run: str, position: int) -> tuple[list[Point], int]:
        """The next points in the journal of a run behind byte `position`, and where they end: there, if there are none.

        An entry that its worker could not finish, because it was killed, is left out.
        """
        points: list[Point] = []
        try:
            with (self.path_of(run) / JOURNAL).open("rb") as file:
                file.seek(position)
                start = position
                while position - start < CHUNK and len(head := file.read(LENGTH.size)) == LENGTH.size:
                    (length,) = LENGTH.unpack(head)
                    entry = file.read(length)
                    if len(entry) < length:
                        break
                    points += decode_points(entry)
                    position += LENGTH.size + length
        except (FileNotFoundError, msgspec.MsgspecError, ValueError):
            return points, position  # nothing was watched yet, or the rest was not written by a worker
        return points, position

    def remove(self, run: str) -> None:
        """Remove the folder of a run, and those of the further calls of its job."""
        for folder in (self.path_of(run), *self._root.glob(f"{run}.*")):
            remove_from(self._root, folder.name)

    def read(self) -> list[RunRecord]:
        """The runs that have folders; a folder without a readable record is removed: its run has not started."""
        found = []
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            try:
                found.append(msgspec.msgpack.decode((folder / RECORD).read_bytes(), type=RunRecord))
            except FileNotFoundError:
                self.remove(folder.name)
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                log.warning("%s is not a run that this daemon can take up: %s", folder, error)
                self.remove(folder.name)
        return found
