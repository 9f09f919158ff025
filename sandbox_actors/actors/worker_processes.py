"""Worker processes as the pool sees them: started, adopted from an earlier daemon, and forgotten when they have ended.

This is the pool's only way to the operating system, so that its decisions can be tested without one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.actors.worker_bundle import ENTRY, lay_out
from sandbox_actors.actors.worker_records import WorkerRecord, WorkerRecords, digest_of
from sandbox_actors.system.child_process import ChildProcess, adopt, spawn, started_at
from sandbox_actors.system.limits import current_limits, require_room

GRACE = 60.0
"""Seconds that a worker with nothing to do waits for the next daemon when this one has ended."""

_threads = trio.CapacityLimiter(4)


@dataclass(frozen=True)
class Adoption:
    """What an earlier daemon has left: workers that run, and the number up to which names are taken."""

    workers: list[tuple[WorkerRecord, ChildProcess]]
    last_number: int


class WorkerProcesses(Protocol):
    """What the pool needs of the operating system."""

    async def start(
        self, nursery: trio.Nursery, name: str, needs: ActorNeeds, expect: Callable[[str], None]
    ) -> ChildProcess:
        """Start a worker in `nursery`. `expect` is called with the digest of its token before it can greet the daemon.

        Raises SandboxError where the system does not allow another process.
        """

    async def adopt(self, nursery: trio.Nursery) -> Adoption:
        """The workers that outlived the daemon that started them, watched in `nursery` from now on."""

    async def forget(self, name: str) -> None:
        """A worker has ended: remove what is on disk of it."""


class SystemWorkers:
    """The real ones. `socket` is where workers connect, `bundle` what they run, `logs` where they write outside of
    runs."""

    def __init__(self, socket: Path, bundle: Path, logs: Path, records: WorkerRecords, grace: float = GRACE) -> None:
        self._socket, self._bundle, self._logs, self._records, self._grace = socket, bundle, logs, records, grace

    async def start(
        self, nursery: trio.Nursery, name: str, needs: ActorNeeds, expect: Callable[[str], None]
    ) -> ChildProcess:
        token = secrets.token_hex(16)
        mark, output = f"{name}.{token[:8]}", self._logs / f"{name}.log"

        def record(pid: int) -> None:
            self._records.write(
                WorkerRecord(
                    name=name,
                    mark=mark,
                    pid=pid,
                    started=started_at(pid),
                    secret_digest=digest_of(token),
                    output=str(output),
                    needs=needs,
                )
            )

        await trio.to_thread.run_sync(self._prepare, name, output, limiter=_threads)
        expect(digest_of(token))
        environ = {**needs.environ(), "TMPDIR": str(self._records.scratch_of(name))}
        return await spawn(nursery, mark, self._command(name, needs), environ, output, token, record)

    def _prepare(self, name: str, output: Path) -> None:
        require_room(current_limits())
        if not (self._bundle / ENTRY).exists():  # removed while the daemon runs
            self._bundle = lay_out(self._bundle.parent)
        self._records.make_scratch(name)
        output.unlink(missing_ok=True)

    def _command(self, name: str, needs: ActorNeeds) -> list[str]:
        """A module that changed just now is not compiled to a file: the next change might carry the same time stamp."""
        options = ["-I", "-u", "-X", "utf8"] if needs.code.is_settled(time.time()) else ["-B", "-I", "-u", "-X", "utf8"]
        return [
            needs.env.python,
            *options,
            str(self._bundle / ENTRY),
            str(self._socket),
            name,
            f"{self._grace:g}",
        ]

    async def adopt(self, nursery: trio.Nursery) -> Adoption:
        alive, ended = [], []
        records = await trio.to_thread.run_sync(self._records.read, limiter=_threads)
        for record in records:
            child = adopt(nursery, record.mark, record.pid, record.started, Path(record.output))
            if child is None:
                ended.append(record)
            else:
                alive.append((record, child))
        names = {record.name for record, _ in alive}
        await trio.to_thread.run_sync(self._records.clear, ended, names, limiter=_threads)
        return Adoption(alive, max((record.number for record in records), default=0))

    async def forget(self, name: str) -> None:
        await trio.to_thread.run_sync(self._records.remove, name, limiter=_threads)
