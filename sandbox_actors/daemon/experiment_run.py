"""One run of an experiment, from its place in the queue of its work_dir to its recorded end.

Theory of operation. Everything that an experiment needs (its definition, what has succeeded in it, what was under way)
is in the store, and is read when its turn comes: an experiment that waits costs nothing but its row. `run` is one task,
and the supervisor of the experiment: an error of this program in the coordinator leaves its workers in their runs, the
experiment is read again from the store, and another coordinator takes those runs up, as after the death of a daemon.
When that happens again within a minute, the experiment is set aside: it fails, and says why. No error gets past `run`
but that of a store that is closed, and none of one experiment reaches another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from sandbox_actors.daemon.coordinator import RETRY_DELAY, Coordinator
from sandbox_actors.daemon.crashes import Crashes, describe_crash, describe_error
from sandbox_actors.errors import ConfigError, is_expected
from sandbox_actors.experiment.events import PastAttempt, PastSuccess
from sandbox_actors.experiment.model import Experiment, thaw
from sandbox_actors.experiment.plan import Plan
from sandbox_actors.experiment.reuse import find_reusable_jobs
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.job_runner import JobRunner
from sandbox_actors.jobs.wandb_export import WandbExport, is_wanted
from sandbox_actors.protocol.rows import ENDED, Ended, ExperimentRow, JobRow
from sandbox_actors.store.store import Store
from sandbox_actors.store.watcher import SandboxWatcher

log = logging.getLogger(__name__)

MakeRunner = Callable[[ExperimentRow, Experiment], JobRunner]


@dataclass(frozen=True)
class Stored:
    """An experiment as it is in the store: itself, its submitter's variables, the jobs that have succeeded in it, and
    those that were started and have not, if a coordinator has run it."""

    experiment: Experiment
    environ: dict[str, str]
    history: list[PastSuccess] = field(default_factory=list)
    interrupted: list[PastAttempt] = field(default_factory=list)


class ExperimentRun:
    """`work_dir_is_free` is set when it may start; `cancel` ends it before or after.

    `is_continued`: an earlier daemon has started it. `folder` is its own, below the daemon's home.
    """

    def __init__(
        self,
        row: ExperimentRow,
        is_continued: bool,
        *,
        folder: Path,
        make_runner: MakeRunner,
        store: Store,
        watcher: SandboxWatcher,
        runs: DurableRuns,
        export: WandbExport,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._row, self._is_continued, self._folder, self._make_runner = row, is_continued, folder, make_runner
        self._store, self._watcher, self._runs, self._export = store, watcher, runs, export
        self._retry_delay = retry_delay
        self._is_cancelled, self._preparing = False, trio.CancelScope()
        self._coordinator: Coordinator | None = None
        self._stored: Stored | None = None
        self._is_exported, self._ended = False, trio.Event()
        self.work_dir_is_free = trio.Event()

    @property
    def id(self) -> str:
        return self._row.id

    @property
    def work_dir(self) -> str:
        return self._row.work_dir

    def cancel(self) -> None:
        """One that has not started ends at once, any other one by its coordinator."""
        self._is_cancelled = True
        if self._coordinator is not None:
            self._coordinator.cancel()
        elif not self._is_continued:
            self._preparing.cancel()

    async def run(self, nursery: trio.Nursery) -> None:
        """Returns when the end is recorded. The export to wandb, which takes a little longer, is left in `nursery`.

        Raises StoreError if the end cannot be recorded because the store is closed.
        """
        crashes, self._nursery = Crashes(), nursery
        try:
            while not await self._has_ended(crashes):
                continue
        finally:
            self._ended.set()

    async def _has_ended(self, crashes: Crashes) -> bool:
        """Run from what is stored to the recorded end. False after an error of this program that is to be survived."""
        try:
            if await self._is_prepared():
                await self._coordinate()
            else:
                await record_end(self._store, self.id, "cancelled")
        except Exception as error:
            is_last = is_expected(error)
            if not is_last:
                log.exception("experiment %s met an error of the daemon", self.id)
                if not crashes.add():
                    self._runs.leave_ended(self._is_own)
                    return False
            text = describe_error(error) if is_last else describe_crash(error, self.id)
            await record_end(self._store, self.id, "failed", text)
        await self._runs.drop_left(self._is_own)
        return True

    async def _is_prepared(self) -> bool:
        """Wait for its turn, and read what is stored. False if it is cancelled before it has started."""
        with trio.CancelScope() as self._preparing:
            if self._is_cancelled and not self._is_continued:
                self._preparing.cancel()
            await self._wait_for_work_dir()
            self._stored = await self._take_over(await self._load())
        return self._is_continued or not self._is_cancelled

    async def _wait_for_work_dir(self) -> None:
        if not self.work_dir_is_free.is_set():
            reason = f"waits for another experiment that uses {self.work_dir}"
            await self._store.update_experiment(self.id, reason=reason)
            await self.work_dir_is_free.wait()

    async def _load(self) -> Stored:
        self._row = await self._store.find_experiment(self.id)
        submit = await self._store.submission(self.id)
        experiment = await trio.to_thread.run_sync(thaw, submit.definition)
        history = [PastSuccess(iter=o.iter, index=o.index, infos=o.entry) for o in await self._store.history(self.id)]
        interrupted = interrupted_jobs(await self._store.job_rows(self.id)) if self._is_continued else []
        return Stored(experiment, submit.environ, history, interrupted)

    async def _coordinate(self) -> None:
        assert self._stored is not None
        plan = Plan(self._stored.experiment, self._stored.history, self._stored.interrupted)
        runner = self._make_runner(self._row, self._stored.experiment)
        self._coordinator = Coordinator(
            self._row,
            plan,
            self._store,
            self._watcher,
            runner,
            self._retry_delay,
            self._is_continued,
            on_job=self._begin_export,
        )
        self._is_continued = True  # should the coordinator fail
        if self._is_cancelled:
            self._coordinator.cancel()
        await self._coordinator.run()

    def _begin_export(self) -> None:
        """Only now, with its first job, does it get an exporter, which is a process: a thousand experiments may wait
        for a cpu."""
        if not self._is_exported and self._stored is not None and is_wanted(self._stored.environ):
            self._is_exported = True
            self._nursery.start_soon(self._export_to_wandb, self._stored)

    async def _export_to_wandb(self, stored: Stored) -> None:
        """An error here is the export's own."""
        try:
            await self._export.export(self._row, stored.experiment, stored.environ, self._folder, self._ended)
        except Exception:
            log.exception("the export of experiment %s met an error of the daemon", self.id)

    async def _take_over(self, stored: Stored) -> Stored:
        """With what the last experiment in this work_dir has done already, copied into the record of this one where
        that is wanted."""
        if not stored.experiment.resume or self._row.started is not None or self._is_continued or stored.history:
            return stored
        last = await self._store.last_started_in(self.work_dir, before=self.id)
        submit = await self._store.submission(last) if last else None
        if last is None or submit is None or submit.cwd != self._row.cwd:
            return stored  # in another folder, its relative paths meant other files
        done = {(each.iter, each.index): each for each in await self._store.history(last)}
        try:
            earlier = await trio.to_thread.run_sync(thaw, submit.definition)
            places = await trio.to_thread.run_sync(find_reusable_jobs, earlier, done, stored.experiment)
        except ConfigError:
            return stored  # written by another version of this program
        history = [
            PastSuccess(iter=iter, index=index, infos=done[then].entry) for (iter, index), then in places.items()
        ]
        reached = Plan(stored.experiment, history)
        reached.start()
        places = {place: then for place, then in places.items() if place[0] <= reached.iter}
        await self._store.copy_jobs(self.id, last, places)
        return Stored(stored.experiment, stored.environ, [each for each in history if each.iter <= reached.iter])

    def _is_own(self, run: RunId) -> bool:
        return run.experiment == self.id


async def record_end(store: Store, id: str, state: Ended, error: str = "") -> None:
    """End an experiment that has no coordinator: its jobs that ran have failed, the rest is cancelled."""
    left = [row for row in await store.job_rows(id) if row.state not in ENDED]
    rows = [
        msgspec.structs.replace(row, state="failed", error=error, finished=time.time(), reason="")
        if row.state == "running"
        else msgspec.structs.replace(row, state="cancelled", reason="not reached")
        for row in left
    ]
    await store.put_jobs(id, rows)
    await store.update_experiment(id, state=state, finished=time.time(), error=error, reason="")


def interrupted_jobs(jobs: Iterable[JobRow]) -> list[PastAttempt]:
    """What the rows of an experiment whose coordinator has ended say about the jobs that have not succeeded."""
    found = []
    for row in jobs:
        if row.state == "failed":
            found.append(PastAttempt(iter=row.iter, index=row.index, attempt=row.attempt, error=row.error or "failed"))
        elif row.state == "running" or row.attempt > 1 or row.error:
            attempt = row.attempt + 1 if row.state == "waiting" and row.error else row.attempt
            found.append(PastAttempt(iter=row.iter, index=row.index, attempt=attempt))
    return found
