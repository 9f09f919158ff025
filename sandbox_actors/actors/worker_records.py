"""What is on disk of each worker, so that the next daemon can adopt those that outlive this one.

A record is written before its worker gets its token, and removed when the process has ended. It holds no secret: the
digest of the token, and none of the env's variables.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.files import write_whole
from sandbox_actors.protocol.frames import PROTOCOL_VERSION
from sandbox_actors.system.folders import make_private, remove_from
from sandbox_actors.system.paths import HOME_WAY_OUT, SHORT_WAY_OUT
from sandbox_actors.system.process_tree import find_marked, kill

log = logging.getLogger(__name__)


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`mark` is what its processes carry, `pid` and `started` (see `started_at`) which process it is, `output` where
    that writes outside of runs. `protocol` is the one it speaks."""

    name: str
    mark: str
    pid: int
    started: str
    secret_digest: str
    output: str
    needs: ActorNeeds = msgspec.field(name="wanted")
    protocol: int = PROTOCOL_VERSION

    @property
    def number(self) -> int:
        """The last part of its name, which no other worker has."""
        return int(self.name.rpartition("-")[2])


class WorkerRecords:
    """The records in `folder`, and the folders of the workers' temporary files in `scratch`. Its methods block.

    `scratch` lies where every user may write, and could be removed there while the daemon runs: whoever uses it makes
    sure that it is ours.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder, self._scratch = folder, scratch

    def scratch_of(self, name: str) -> Path:
        """Where the worker has its temporary files."""
        return self._scratch / name

    def make_scratch(self, name: str) -> None:
        """Make an empty folder for the temporary files of a worker. Raises Refused, OSError."""
        for folder in (self._scratch.parent, self._scratch):
            make_private(folder, SHORT_WAY_OUT)
        remove_from(self._scratch, name)
        self.scratch_of(name).mkdir(mode=0o700)

    def write(self, record: WorkerRecord) -> None:
        """Raises Refused, OSError."""
        make_private(self._folder, HOME_WAY_OUT)
        public = replace(record.needs, env=replace(record.needs.env, environ={}))
        data = msgspec.msgpack.encode(msgspec.structs.replace(record, needs=public))
        write_whole(self._folder / record.name, data, mode=0o600)

    def remove(self, name: str) -> None:
        """Remove what there is of a worker that has ended."""
        for folder in (self._folder, self._scratch):
            remove_from(folder, name)

    def read(self) -> list[WorkerRecord]:
        """All records. One that cannot be read, of another version of this program, is reported and left out: its
        worker is refused, and ends itself after its run."""
        found = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                found.append(msgspec.msgpack.decode(path.read_bytes(), type=WorkerRecord))
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                log.warning("%s is not a record of a worker that this daemon can read: %s", path, error)
        return found

    def clear(self, left: list[WorkerRecord], alive: set[str]) -> None:
        """Remove all but the workers in `alive`, and kill what those in `left`, which have ended, have left behind."""
        marks = {record.mark for record in left}
        while marks and (strays := find_marked(marks)):
            kill(strays)
        for folder in (self._folder, self._scratch):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name not in alive:
                    self.remove(path.name)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
