"""The experiments of a daemon: taken in, run by a coordinator each, cancelled, resumed."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from sandbox_actors.daemon.coordinator import Coordinator, told, waiting_rows
from sandbox_actors.errors import ActorStopped, ConfigError, EnvError, Refused, StoreError
from sandbox_actors.experiment.events import Begun, CancelRequested, Success
from sandbox_actors.experiment.model import Experiment, thaw
from sandbox_actors.experiment.plan import Plan
from sandbox_actors.experiment.references import number_jobs
from sandbox_actors.experiment.reuse import carried_over
from sandbox_actors.experiment.secrets import secrets_in
from sandbox_actors.experiment_file.checks.components import SECRET
from sandbox_actors.experiment_file.checks.resources import gpus_missing
from sandbox_actors.hooks.dry_run import forecast
from sandbox_actors.jobs.job_runner import JobRunner, Workshop
from sandbox_actors.jobs.wandb_export import export_to_wandb, heeded, is_wanted, run_of
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.rows import ENDED, Ended, ExperimentRow, JobRow, PlannedJob
from sandbox_actors.store.store import Store
from sandbox_actors.system.machine import this_machine
from sandbox_actors.system.paths import Paths

CUT_OFF = "the daemon ended while it ran; `sandbox resume {id}` goes on where it stopped"

FAREWELL = 1.0
"""Seconds between the end of the last experiment and that of a daemon which was asked to stop."""


@dataclass(frozen=True)
class _Past:
    """What an experiment has behind it. `begun` is None for one that is not under way."""

    history: list[Success] = field(default_factory=list)
    begun: list[Begun] | None = None


class Experiments:
    """`run` is its life: coordinators are its children. Two experiments never share a work_dir: the second waits."""

    def __init__(self, paths: Paths, store: Store, shop: Workshop, retry_delay: float) -> None:
        self._paths, self._store, self._shop, self._retry_delay = paths, store, shop, retry_delay
        self._coordinators: dict[str, Coordinator] = {}
        self._waiting: dict[str, trio.CancelScope] = {}
        self._work_dirs: dict[str, trio.Event] = {}
        self._ended: dict[str, trio.Event] = {}
        self._is_closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """First goes on with what a daemon that was killed left unfinished. Ended in good order, it leaves nothing that
        runs: what does is cut off, and said to be."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self._go_on()
                task_status.started()
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), suppress(StoreError):  # else the next daemon finds its workers gone
                for row in await self._store.unfinished():
                    if row.state == "running":
                        await self._give_up(row.id, CUT_OFF.format(id=row.id))

    async def _go_on(self) -> None:
        """Those that ran go first: what they wait for is theirs already."""
        rows = await self._store.unfinished()
        jobs = {row.id: await self._store.job_rows(row.id) for row in rows if row.state == "running"}
        runs = {
            f"{id}.{job.iter}.{job.index}.{job.attempt}" for id in jobs for job in jobs[id] if job.state == "running"
        }
        runs |= {run_of(id) for id in jobs}
        await self._shop.kept.keep_left(lambda run: ".".join(run.split(".")[:4]) in runs)
        for row in sorted(rows, key=lambda row: row.state != "running"):
            await self._begin(row, jobs.get(row.id))

    @property
    def unfinished(self) -> int:
        return len(self._ended)

    async def submit(self, submit: Submit) -> str:
        """Take in an experiment; it is durable when its id is returned. Raises ConfigError, Refused."""
        self._require_open()
        submit = msgspec.structs.replace(submit, environ=heeded(submit.environ))
        if secret := next(secrets_in(submit.definition), None):
            raise Refused(f"{'.'.join(map(str, secret))}: {SECRET}")
        experiment = thaw(submit.definition)
        for each in number_jobs(experiment):
            if missing := gpus_missing(each.job.resources, this_machine()):
                raise Refused(f"{each.pipeline}.{each.job.meta_name} {missing}")
        work_dir = str(Path(submit.cwd, os.path.expanduser(experiment.work_dir)))
        row = await self._store.add_experiment(
            submit,
            name=experiment.experiment_name,
            project=experiment.project_name,
            work_dir=work_dir,
            submitted=time.time(),
            jobs=waiting_rows(number_jobs(experiment), iter=1),
        )
        self._start(row, experiment, submit.environ, _Past())
        return row.id

    async def forecast(self, definition: Any, cwd: str) -> list[PlannedJob]:
        """The plan of an experiment, with the actors that are warm now. Raises ConfigError."""
        experiment = thaw(definition)
        runner = JobRunner(self._shop, "", experiment, cwd, self._paths.experiments)
        rows = []
        for each in forecast(experiment, cwd):
            warm: bool | None = False
            if each.call is not None:
                with suppress(EnvError):
                    warm = await runner.is_warm(each.job, each.call, each.has_open_model)
            rows.append(msgspec.structs.replace(each.row, warm=warm))
        return rows

    async def resume(self, row: ExperimentRow) -> str:
        """Go on with an ended experiment: what had succeeded is taken from the record. Raises Refused."""
        self._require_open()
        if row.id in self._ended:
            raise Refused(f"experiment {row.id} is {row.state}: there is nothing to resume")
        if row.state == "succeeded":
            raise Refused(f"experiment {row.id} has succeeded: `sandbox run {row.source}` runs it anew")
        left = [each for each in await self._store.job_rows(row.id) if each.state != "succeeded"]
        await self._shop.watcher.put_jobs(row.id, [_unbegun(each) for each in left])
        await self._shop.watcher.update_experiment(row.id, state="waiting", finished=None, error="")
        await self._begin(row)
        return row.id

    async def cancel(self, row: ExperimentRow) -> None:
        """Returns when the experiment has ended. Raises Refused where it had before."""
        ended = self._ended.get(row.id)
        if ended is None:
            raise Refused(f"experiment {row.id} has ended already: it {row.state}")
        if row.id in self._coordinators:
            await self._tell_cancelled(self._coordinators[row.id])
        elif row.id in self._waiting:
            self._waiting[row.id].cancel()
        await ended.wait()

    def close(self) -> None:
        """Take in no more experiments."""
        self._is_closed = True

    async def drain(self) -> None:
        """Wait until the experiments there are have ended, and clients could learn how."""
        self.close()
        waited_for = list(self._ended.values())
        for ended in waited_for:
            await ended.wait()
        await trio.sleep(FAREWELL if waited_for else 0)

    async def _begin(self, row: ExperimentRow, jobs: list[JobRow] | None = None) -> None:
        """Start a stored experiment, with what has succeeded in it so far. `jobs` are the rows of one that goes on."""
        submit = await self._store.submission(row.id)
        history = [Success(iter=o.iter, index=o.index, infos=o.entry) for o in await self._store.history(row.id)]
        self._start(row, thaw(submit.definition), submit.environ, _Past(history, None if jobs is None else begun(jobs)))

    def _require_open(self) -> None:
        if self._is_closed:
            raise Refused("the daemon is about to stop: it finishes what runs and takes in nothing more")

    def _start(self, row: ExperimentRow, experiment: Experiment, environ: dict[str, str], past: _Past) -> None:
        ended = self._ended[row.id] = trio.Event()
        self._nursery.start_soon(self._life, row, experiment, past)
        if is_wanted(environ):
            folder = self._folder(row)
            self._nursery.start_soon(export_to_wandb, self._shop, row, experiment, environ, folder, ended)

    def _folder(self, row: ExperimentRow) -> Path:
        return self._paths.experiments / row.id

    async def _life(self, row: ExperimentRow, experiment: Experiment, past: _Past) -> None:
        """One experiment from its queue to its end. Whatever goes wrong in here ends it, and no other."""
        try:
            with trio.CancelScope() as self._waiting[row.id]:
                await self._claim_work_dir(row)
            if self._waiting.pop(row.id).cancelled_caught:
                await self._give_up(row.id, "", "cancelled")
                return
            try:
                if experiment.resume and row.started is None and not past.history:
                    past = _Past(await self._take_over(row, experiment))
                await self._coordinate(row, experiment, past)
            finally:
                self._work_dirs.pop(row.work_dir).set()
        finally:
            with trio.CancelScope(shield=True):
                await self._shop.kept.drop_left(row.id)
            self._ended.pop(row.id).set()

    async def _coordinate(self, row: ExperimentRow, experiment: Experiment, past: _Past) -> None:
        runner = JobRunner(self._shop, row.id, experiment, row.cwd, self._folder(row))
        plan = Plan(experiment, past.history, past.begun or ())
        coordinator = self._coordinators[row.id] = Coordinator(
            row, plan, self._shop.watcher, runner, self._retry_delay, goes_on=past.begun is not None
        )
        try:
            await coordinator.run()
        except* Exception as group:
            traceback.print_exception(group)
            await self._give_up(row.id, "; ".join(told(error) for error in _leaves(group)))
        finally:
            del self._coordinators[row.id]

    async def _take_over(self, row: ExperimentRow, experiment: Experiment) -> list[Success]:
        """What the last experiment in this work_dir has done already, copied into the record of this one."""
        last = await self._store.last_in(row.work_dir, before=row.id)
        submit = await self._store.submission(last) if last else None
        if last is None or submit is None or submit.cwd != row.cwd:
            return []  # in another folder, its relative paths meant other files
        done = {(each.iter, each.index): each for each in await self._store.history(last)}
        try:
            places = carried_over(thaw(submit.definition), done, experiment)
        except ConfigError:
            return []  # written by another version of this program
        history = [Success(iter=iter, index=index, infos=done[then].entry) for (iter, index), then in places.items()]
        reached = Plan(experiment, history)
        reached.start()
        places = {place: then for place, then in places.items() if place[0] <= reached.iter}
        await self._shop.watcher.take_over(row.id, last, places)
        return [each for each in history if each.iter <= reached.iter]

    async def _claim_work_dir(self, row: ExperimentRow) -> None:
        while row.work_dir in self._work_dirs:
            reason = f"waits for another experiment that uses {row.work_dir}"
            await self._shop.watcher.update_experiment(row.id, reason=reason)
            await self._work_dirs[row.work_dir].wait()
        self._work_dirs[row.work_dir] = trio.Event()

    async def _tell_cancelled(self, coordinator: Coordinator) -> None:
        try:
            await coordinator.ask(CancelRequested())
        except ActorStopped:
            return  # it ended before the message came

    async def _give_up(self, id: str, error: str, state: Ended = "failed") -> None:
        """End an experiment that has no coordinator (any more)."""
        left = [row for row in await self._store.job_rows(id) if row.state not in ENDED]
        rows = [
            msgspec.structs.replace(row, state="failed", error=error, finished=time.time(), reason="")
            if row.state == "running"
            else msgspec.structs.replace(row, state="cancelled", reason="not reached")
            for row in left
        ]
        await self._shop.watcher.put_jobs(id, rows)
        await self._shop.watcher.update_experiment(id, state=state, finished=time.time(), error=error, reason="")


def begun(jobs: Iterable[JobRow]) -> list[Begun]:
    """What the rows of a running experiment, whose daemon was killed, say about the jobs that have not succeeded."""
    found = []
    for row in jobs:
        if row.state == "failed":
            found.append(Begun(iter=row.iter, index=row.index, attempt=row.attempt, error=row.error or "failed"))
        elif row.state == "running" or row.attempt > 1 or row.error:
            attempt = row.attempt + 1 if row.state == "waiting" and row.error else row.attempt
            found.append(Begun(iter=row.iter, index=row.index, attempt=attempt))
    return found


def _unbegun(row: JobRow) -> JobRow:
    """The row of a job that waits for its first attempt."""
    kept = {name: getattr(row, name) for name in ("index", "pipeline", "list", "hook", "meta_name", "iter")}
    return JobRow(seq=0, state="waiting", **kept)


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    """The errors in a group, however deep."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, ExceptionGroup) else [error])
    ]
