"""Runs that outlive the daemon: begun so that the next one can take them up, and taken up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from sandbox_actors.actors.component_actor import Lease, Wanted
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import NotFound, StoreError
from sandbox_actors.jobs.capacity import Capacity, Gpus
from sandbox_actors.jobs.run_folders import RunFolders, RunRecord
from sandbox_actors.protocol.faults import error_of
from sandbox_actors.protocol.worker_requests import Outcome, Rejoin, Run
from sandbox_actors.store.store import Store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.transport.base import PeerGone
from sandbox_actors.transport.gateway import Peer

SOURCE = "component"
"""What the journal of a run is called among its sources."""

_threads = trio.CapacityLimiter(8)


@dataclass(frozen=True)
class RunPlace:
    """Which job a run belongs to: where its reports go."""

    experiment: str
    index: int
    pipeline: str
    job: str
    iter: int


class Holds:
    """What the runs of the daemon before hold of the machine: they have it, whether there is enough of it or not."""

    def __init__(self, capacity: Capacity, gpus: Gpus) -> None:
        self._capacity, self._gpus = capacity, gpus
        self._held: set[str] = set()

    def seize(self, record: RunRecord) -> None:
        self._held.add(record.run.run)
        self._capacity.seize(record.cpus)
        self._gpus.seize(record.wanted.gpus or ())

    def release(self, record: RunRecord) -> None:
        """Give back what was seized; nothing for a run that had ended before."""
        if record.run.run in self._held:
            self._held.remove(record.run.run)
            self._capacity.release(record.cpus)
            self._gpus.release(record.wanted.gpus or ())


@dataclass
class _Journal:
    """How far the journal of a run under way has been taken in; None until the store was asked."""

    position: int | None = None
    lock: trio.Lock = field(default_factory=trio.Lock)


class KeptRuns:
    """Runs under way that have folders, and those of the daemon before that nobody has taken up yet."""

    def __init__(self, folders: RunFolders, pool: Pool, store: Store, watcher: SandboxWatcher, holds: Holds) -> None:
        self._folders, self._pool, self._store, self._watcher, self._holds = folders, pool, store, watcher, holds
        self._left: dict[str, RunRecord] = {}
        self._journals: dict[str, _Journal] = {}

    # --- any run ---

    def folder_of(self, run: str) -> str:
        return str(self._folders.path_of(run))

    async def begin(self, run: Run, wanted: Wanted, worker: str, cpus: float) -> None:
        """`run` is about to be asked of `worker`, and holds `cpus`. Raises SandboxError."""
        record = RunRecord(run=run, wanted=wanted, worker=worker, begun=time.monotonic(), cpus=cpus)
        try:
            await trio.to_thread.run_sync(self._folders.begin, record, limiter=_threads)
        except OSError as error:
            raise StoreError(f"{self.folder_of(run.run)} cannot be made: {error.strerror}") from error

    async def outcome(self, lease: Lease, run: Run, is_taken_up: bool) -> Outcome:
        """Ask the leased actor to run, or what came of a run that it may be in already.

        Raises ComponentFailed, or WorkerLost where it ends before it answers, which `result` may know better.
        """
        if not is_taken_up:
            return await lease.ask(run)
        peer: Peer | None = None
        while True:
            peer = await lease.actor.peer_after(peer)
            try:
                if peer.hello.run == run.run:
                    with suppress(NotFound):  # it has ended since the greeting
                        return await peer.ask(Rejoin(run=run.run))
                # An idle worker without a result was never told of the run: the daemon before ended in between.
                kept = await self.result(run.run)
                return kept if kept is not None else await peer.ask(run)
            except PeerGone:
                continue  # it greets again

    async def result(self, run: str) -> Outcome | None:
        """What its worker has kept of a run's end, None where that is nothing. Raises what the run ended with."""
        ended = await trio.to_thread.run_sync(self._folders.result, run, limiter=_threads)
        if ended is not None and ended.fault is not None:
            raise error_of(ended.fault)
        return None if ended is None else ended.outcome

    async def take_in(self, run: str, place: RunPlace) -> None:
        """Store what the journal of a run holds beyond what is stored of it."""
        journal = self._journals.setdefault(run, _Journal())
        async with journal.lock:
            if journal.position is None:
                journal.position = await self._store.position(run, SOURCE)
            while True:
                read = partial(self._folders.journal, run, journal.position)
                points, position = await trio.to_thread.run_sync(read, limiter=_threads)
                if position == journal.position:
                    return
                await self._watcher.watch_points(
                    place.experiment,
                    points,
                    pipeline=place.pipeline,
                    job=place.job,
                    iter=place.iter,
                    run=run,
                    source=SOURCE,
                    position=position,
                )
                journal.position = position

    async def forget(self, run: str) -> None:
        """The end of a run is recorded, or of the job whose first call it was."""
        for name in [name for name in self._journals if name == run or name.startswith(f"{run}.")]:
            del self._journals[name]
        await trio.to_thread.run_sync(self._folders.remove, run, limiter=_threads)

    # --- runs of the daemon before ---

    async def keep_left(self, is_wanted: Callable[[str], bool]) -> None:
        """Look at what the daemon before has left. A run that is wanted keeps its worker, cpus and gpus until it is
        claimed; one that has a result has given them back. Of others, nothing is kept."""
        for record in await trio.to_thread.run_sync(self._folders.read, limiter=_threads):
            name = record.run.run
            if not is_wanted(name):
                await self.forget(name)
                continue
            self._left[name] = record
            if await trio.to_thread.run_sync(self._folders.result, name, limiter=_threads) is None:
                self._pool.reserve(record.worker, name)
                self._holds.seize(record)

    def is_left(self, run: str) -> bool:
        return run in self._left

    @asynccontextmanager
    async def claim(self, run: str) -> AsyncIterator[RunRecord | None]:
        """A run that the daemon before has left, to be taken up in the block; None where there is none.

        It holds its cpus and gpus as long as the block lasts.
        """
        record = self._left.pop(run, None)
        try:
            yield record
        finally:
            if record is not None:
                with trio.CancelScope(shield=True):
                    await self._drop(record)

    async def drop_left(self, experiment: str) -> None:
        """Nobody will claim the runs of this experiment any more."""
        for name in [name for name in self._left if name.startswith(f"{experiment}.")]:
            await self._drop(self._left.pop(name))
            await self.forget(name)

    async def _drop(self, record: RunRecord) -> None:
        """Give back what a run holds, and end its worker where nobody has rejoined it."""
        self._holds.release(record)
        await self._pool.drop(record.worker, record.run.run)
