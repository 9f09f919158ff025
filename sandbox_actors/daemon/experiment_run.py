"""One run of an experiment, from its place in the queue of its work_dir to its recorded end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import trio

from sandbox_actors.daemon.coordinator import RETRY_DELAY, Coordinator, describe_error
from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.events import CancelRequested, PastAttempt, PastSuccess
from sandbox_actors.experiment.model import Experiment, thaw
from sandbox_actors.experiment.plan import Plan
from sandbox_actors.experiment.reuse import find_reusable_jobs
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.job_runner import JobRunner
from sandbox_actors.jobs.wandb_export import WandbExport, is_wanted
from sandbox_actors.protocol.rows import ENDED, Ended, ExperimentRow, JobRow
from sandbox_actors.store.store import Store
from sandbox_actors.store.watcher import SandboxWatcher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """What an experiment has behind it: the jobs that have succeeded, and those that an earlier daemon had started;
    None where none has run it."""

    history: list[PastSuccess] = field(default_factory=list)
    interrupted: list[PastAttempt] | None = None


class ExperimentRun:
    """`work_dir_is_free` is set when it may start; `cancel` ends it before or after. Whatever goes wrong in `run` ends
    this experiment, and no other."""

    def __init__(
        self,
        row: ExperimentRow,
        interrupted: list[PastAttempt] | None,
        *,
        folder: Path,
        make_runner: Callable[[ExperimentRow, Experiment], JobRunner],
        store: Store,
        watcher: SandboxWatcher,
        runs: DurableRuns,
        export: WandbExport,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._row, self._interrupted = row, interrupted
        self._folder, self._make_runner, self._store, self._watcher = folder, make_runner, store, watcher
        self._runs, self._export, self._retry_delay = runs, export, retry_delay
        self._preparing = trio.CancelScope()
        self._coordinator: Coordinator | None = None
        self._ended = trio.Event()
        self.work_dir_is_free = trio.Event()

    @property
    def id(self) -> str:
        return self._row.id

    @property
    def work_dir(self) -> str:
        return self._row.work_dir

    def cancel(self) -> None:
        """Before its coordinator starts, it ends without one."""
        self._preparing.cancel()
        if self._coordinator is not None:
            self._coordinator.notify(CancelRequested())

    async def run(self, nursery: trio.Nursery) -> None:
        """Returns when the end is recorded. The export to wandb, which takes a little longer, is left in `nursery`."""
        try:
            with self._preparing:
                await self._wait_for_work_dir()
                experiment, environ = await self._load()
                past = await self._take_over(experiment)
            if self._preparing.cancel_called:
                await record_end(self._store, self.id, "cancelled")
            else:
                begin_export = partial(nursery.start_soon, self._export_to_wandb, experiment, environ)
                await self._coordinate(experiment, past, begin_export)
        finally:
            with trio.CancelScope(shield=True):
                await self._runs.drop_left(self.id)
            self._ended.set()

    async def _load(self) -> tuple[Experiment, dict[str, str]]:
        """The experiment, and the variables of its submitter."""
        submit = await self._store.submission(self.id)
        return thaw(submit.definition), submit.environ

    async def _export_to_wandb(self, experiment: Experiment, environ: dict[str, str]) -> None:
        if is_wanted(environ):
            await self._export.export(self._row, experiment, environ, self._folder, self._ended)

    async def _wait_for_work_dir(self) -> None:
        if not self.work_dir_is_free.is_set():
            reason = f"waits for another experiment that uses {self.work_dir}"
            await self._store.update_experiment(self.id, reason=reason)
            await self.work_dir_is_free.wait()

    async def _coordinate(self, experiment: Experiment, past: Past, begin_export: Callable[[], None]) -> None:
        plan = Plan(experiment, past.history, past.interrupted or ())
        self._coordinator = Coordinator(
            self._row,
            plan,
            self._store,
            self._watcher,
            self._make_runner(self._row, experiment),
            self._retry_delay,
            is_continued=past.interrupted is not None,
            on_first_job=begin_export,  # an exporter is a process: a thousand experiments may wait for a cpu
        )
        try:
            await self._coordinator.run()
        except* Exception as group:
            log.exception("experiment %s ends by an error of the daemon", self.id)
            await record_end(self._store, self.id, "failed", "; ".join(map(describe_error, _leaves(group))))

    async def _take_over(self, experiment: Experiment) -> Past:
        """What this experiment has behind it, and where that is wanted, what the last one in its work_dir has done
        already, copied into its record."""
        own = [PastSuccess(iter=o.iter, index=o.index, infos=o.entry) for o in await self._store.history(self.id)]
        mine = Past(own, self._interrupted)
        if not experiment.resume or self._row.started is not None or mine.history:
            return mine
        last = await self._store.last_started_in(self.work_dir, before=self.id)
        submit = await self._store.submission(last) if last else None
        if last is None or submit is None or submit.cwd != self._row.cwd:
            return mine  # in another folder, its relative paths meant other files
        done = {(each.iter, each.index): each for each in await self._store.history(last)}
        try:
            places = find_reusable_jobs(thaw(submit.definition), done, experiment)
        except ConfigError:
            return mine  # written by another version of this program
        history = [
            PastSuccess(iter=iter, index=index, infos=done[then].entry) for (iter, index), then in places.items()
        ]
        reached = Plan(experiment, history)
        reached.start()
        places = {place: then for place, then in places.items() if place[0] <= reached.iter}
        await self._store.copy_jobs(self.id, last, places)
        return Past([each for each in history if each.iter <= reached.iter])


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
    """What the rows of a running experiment, whose daemon was killed, say about the jobs that have not succeeded."""
    found = []
    for row in jobs:
        if row.state == "failed":
            found.append(PastAttempt(iter=row.iter, index=row.index, attempt=row.attempt, error=row.error or "failed"))
        elif row.state == "running" or row.attempt > 1 or row.error:
            attempt = row.attempt + 1 if row.state == "waiting" and row.error else row.attempt
            found.append(PastAttempt(iter=row.iter, index=row.index, attempt=attempt))
    return found


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    """The errors in a group, however deep."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, ExceptionGroup) else [error])
    ]
