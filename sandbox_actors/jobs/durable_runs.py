"""Runs that outlive the daemon: recorded so that the next one can take them up, and taken up.

Theory of operation. A run is one call of a component. Its folder is made before its worker is asked, and removed when
the end of its attempt is in the store; meanwhile the worker writes there what the daemon has to know: a journal of
what the component watches in its own process, and in the end the result (`protocol/run_files.py`).

- The worker is asked over its socket, and answers there. The folder is read where the socket has no answer to give:
  the worker was killed after it had written the result, or this daemon did not ask for the run itself.
- `take_in` copies the journal into the store: for each wake-up by the worker, and once more when the run has ended.
  One reader a run at a time; points and the position in the journal are stored in one transaction, so that each point
  is there once, whichever process dies in between.
- A run is left when the task that waits for it ends without knowing how the run does: that task was cancelled, or met
  an error of the daemon's own, or the daemon ended. The worker is not disturbed, and keeps its cpus and gpus until the
  attempt is started again, which claims the run, or until it is dropped (`drop_left`), which ends the worker.
- A daemon that starts finds the folders of the one before (`keep_left`). Runs that no experiment waits for are removed,
  and their workers ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.pool_messages import DropReserved, ReserveActor
from sandbox_actors.errors import ActorStopped, NotFound, StoreError, is_expected
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.run_folders import RunFolders, RunRecord
from sandbox_actors.protocol.faults import error_of
from sandbox_actors.protocol.rows import EnvRecord
from sandbox_actors.protocol.worker_requests import Outcome, Rejoin, Run
from sandbox_actors.store.store import Position, Store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.disk import patiently
from sandbox_actors.transport.connection import PeerGone
from sandbox_actors.transport.gateway import Peer

SOURCE = "component"
"""What the journal of a run is called among its sources."""

_threads = trio.CapacityLimiter(8)


@dataclass
class _Journal:
    """How far the journal of a run has been taken in; None until the store was asked."""

    position: int | None = None
    lock: trio.Lock = field(default_factory=trio.Lock)


class DurableRuns:
    """The runs under way, and those that are left. `_recorded` has every run of this daemon whose folder is there."""

    def __init__(
        self, folders: RunFolders, pool: Pool, resources: Resources, store: Store, watcher: SandboxWatcher
    ) -> None:
        self._folders, self._pool, self._resources = folders, pool, resources
        self._store, self._watcher = store, watcher
        self._places: dict[str, JobPlace] = {}
        self._recorded: dict[RunId, RunRecord] = {}
        self._left: dict[RunId, RunRecord] = {}
        self._holding: set[RunId] = set()
        self._journals: dict[str, _Journal] = {}

    # --- runs under way ---

    def folder_of(self, run: RunId) -> str:
        return str(self._folders.path_of(str(run)))

    @contextmanager
    def under_way(self, run: RunId, place: JobPlace) -> Iterator[None]:
        """In the block, what workers report of `run` belongs to `place`."""
        self._places[str(run)] = place
        try:
            yield
        finally:
            del self._places[str(run)]

    def place_of(self, run: str) -> JobPlace:
        """Where the reports of a run belong. Raises NotFound."""
        if run not in self._places:
            raise NotFound(f"run {run} is not under way")
        return self._places[run]

    async def record_env(self, run: RunId, env: EnvRecord) -> None:
        """`Store.record_env`."""
        await self._store.record_env(run, env)

    async def record(
        self, run: Run, needs: ActorNeeds, worker: str, cpus: float, on_wait: Callable[[str], Awaitable[object]]
    ) -> RunRecord:
        """`run` is about to be asked of `worker`, and holds `cpus`. `on_wait` is called with the reason why it waits
        for the disk. Raises StoreError."""
        record = RunRecord(run=run, needs=needs, worker=worker, started=time.monotonic(), cpus=cpus)
        try:
            await patiently(partial(self._folders.begin, record), on_wait)
        except OSError as error:
            raise StoreError(f"{self._folders.path_of(run.run)} cannot be made: {error.strerror}") from error
        self._recorded[RunId.parse(run.run)] = record
        return record

    @contextmanager
    def leased(self, record: RunRecord, lease: Lease) -> Iterator[None]:
        """The block waits for the run's end. Unless it learns it, the run is left, and so is the actor of `lease`."""
        try:
            yield
        except BaseException as error:
            if not is_expected(error):  # else it says how the run ended
                lease.left_in = record.run.run
                self._leave(RunId.parse(record.run.run), record)
            raise

    async def outcome(self, lease: Lease, run: Run, is_taken_up: bool) -> Outcome:
        """Ask the leased actor to run, or for the outcome of a run that it may be in already.

        Raises ComponentFailed, or WorkerLost where it ends before it answers, which `result` may know better.
        """
        if not is_taken_up:
            return await lease.ask(run)
        peer: Peer | None = None
        while True:
            peer = await lease.actor.peer_after(peer)
            try:
                # What it greeted with is not what it does now: it may have been asked by this daemon.
                with suppress(NotFound):
                    return await peer.ask(Rejoin(run=run.run))
                # An idle worker without a result was never asked to run: the earlier daemon ended in between.
                result = await self.result(run.run)
                return result if result is not None else await peer.ask(run)
            except PeerGone:
                continue  # it greets again

    async def result(self, run: str) -> Outcome | None:
        """What its worker has written of a run's end, None where that is nothing. Raises what the run ended with."""
        ended = await trio.to_thread.run_sync(self._folders.result, run, limiter=_threads)
        if ended is not None and ended.fault is not None:
            raise error_of(ended.fault)
        return None if ended is None else ended.outcome

    async def take_in(self, run: str, place: JobPlace) -> None:
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
                journal.position = None  # if this is cancelled, or fails, it may be stored all the same
                await self._watcher.watch_points(place, points, Position(run, SOURCE, position))
                journal.position = position

    async def forget(self, attempt: RunId) -> None:
        """The end of an attempt is in the store: remove what is on disk of its runs."""
        for name in [name for name in self._journals if RunId.parse(name).attempt_id == attempt]:
            del self._journals[name]
        for run in [run for run in self._recorded if run.attempt_id == attempt]:
            del self._recorded[run]
        await trio.to_thread.run_sync(self._folders.remove, str(attempt), limiter=_threads)

    # --- runs that are left ---

    async def keep_left(self, is_wanted: Callable[[RunId], bool]) -> None:
        """Look at what an earlier daemon has left. `is_wanted` says of an attempt whether it is to be taken up: then
        its run keeps its worker, cpus and gpus until it is claimed; one that has a result has given them back."""
        for record in await trio.to_thread.run_sync(self._folders.read, limiter=_threads):
            run = RunId.parse(record.run.run)
            if not is_wanted(run.attempt_id):
                await self.forget(run)
                continue
            self._recorded[run] = record
            if await trio.to_thread.run_sync(self._folders.result, str(run), limiter=_threads) is None:
                await self._pool.ask(ReserveActor(worker=record.worker, run=record.run.run))
                self._leave(run, record)
            else:
                self._left[run] = record

    def leave_ended(self, is_mine: Callable[[RunId], bool]) -> None:
        """The attempts of these runs start again, and claim the results of those that have ended."""
        self._left |= {run: record for run, record in self._recorded.items() if is_mine(run) and run not in self._left}

    def is_left(self, run: RunId) -> bool:
        return run in self._left

    @asynccontextmanager
    async def claim(self, run: RunId) -> AsyncIterator[RunRecord | None]:
        """A run that was left, to be taken up in the block; None where there is none.

        It holds its cpus and gpus as long as the block lasts.
        """
        record = self._left.pop(run, None)
        try:
            yield record
        except BaseException as error:
            if record is not None and not is_expected(error):
                self._left[run] = record
            raise
        finally:
            if record is not None and run not in self._left:
                with trio.CancelScope(shield=True):
                    await self._drop(run, record)

    async def drop_left(self, is_mine: Callable[[RunId], bool]) -> None:
        """Nothing will claim these runs: end their workers, and forget them."""
        for run in [run for run in self._left if is_mine(run)]:
            await self._drop(run, self._left.pop(run))
            await self.forget(run.attempt_id)

    def _leave(self, run: RunId, record: RunRecord) -> None:
        self._left[run] = record
        if run not in self._holding:
            self._holding.add(run)
            self._resources.seize(record.cpus, record.needs.gpus or ())

    async def _drop(self, run: RunId, record: RunRecord) -> None:
        """Give back what a run holds, and end its worker if it was not rejoined."""
        if run in self._holding:
            self._holding.remove(run)
            self._resources.release(record.cpus, record.needs.gpus or ())
        with suppress(ActorStopped):  # a pool that has stopped has let go of it
            await self._pool.ask(DropReserved(worker=record.worker, run=record.run.run))
