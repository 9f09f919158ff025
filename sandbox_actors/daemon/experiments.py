"""The experiments of a daemon: submitted, run by a coordinator each, cancelled, resumed.

Theory of operation. `Experiments` is the actor that owns which experiments are unfinished, and the queue of each
work_dir. Its messages decide, and are handled one after the other whatever becomes of the client that sent them:
two resumes of one experiment cannot both find it ended, and a cancel finds an experiment in its queue or at work,
never in between. What takes long (the store, a coordinator) happens in tasks of the actor.

- Submit: the experiment is stored, and starts because it is stored, not because the client still waits. A client that
  did not get its answer sends the same key again, and gets the experiment that is there.
- Resume: the experiment counts as unfinished from the message on, before anything is written.
- Cancel: an experiment that waits ends at once, one at work by its coordinator. Answered when it has ended.
- Two experiments never use a work_dir at the same time: a queue each, in the order of the messages.
- A daemon that starts first takes up what an earlier one left unfinished: those that ran, then those that waited.
- A daemon that stops in good order leaves nothing that runs: `cut_off` records what still did.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import trio

from sandbox_actors.actors.actor import Actor
from sandbox_actors.daemon.coordinator import waiting_rows
from sandbox_actors.daemon.crashes import Crashes
from sandbox_actors.daemon.experiment_run import ExperimentRun, record_end
from sandbox_actors.errors import Refused, SandboxError, StoreError
from sandbox_actors.experiment.model import Experiment, number_jobs, thaw
from sandbox_actors.experiment.names import check_names
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.experiment_file.checks.resources import describe_gpu_shortage
from sandbox_actors.files import user_path
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.wandb_export import forwarded
from sandbox_actors.protocol.client_requests import CancelExperiment, ResumeExperiment, Submit, Submitted
from sandbox_actors.protocol.frames import Request
from sandbox_actors.protocol.rows import ExperimentRow, JobRow
from sandbox_actors.protocol.secrets import refuse_secrets
from sandbox_actors.store.store import Store
from sandbox_actors.system.machine import this_machine
from sandbox_actors.transport.promises import Promise

CUT_OFF = "the daemon ended while it ran; `sandbox resume {id}` continues where it stopped"

LAST_ANSWER_DELAY = 1.0
"""Seconds between the end of the last experiment and that of a daemon which was asked to stop: clients learn of it."""

log = logging.getLogger(__name__)

MakeRun: TypeAlias = Callable[[ExperimentRow, bool], ExperimentRun]


class Drain(Request[None], frozen=True, kw_only=True):
    """Take in no more experiments. Answered when those there are have ended, and clients could learn how."""


class _Stored(Request[None], frozen=True, kw_only=True):
    """A submitted experiment is in the store."""

    row: ExperimentRow
    submitted: Promise[Submitted]


class _Unowned(Request[None], frozen=True, kw_only=True):
    """An error of the daemon may have left an experiment in the store without a run."""


class _Ended(Request[None], frozen=True, kw_only=True):
    """A run of an experiment is over, and is recorded as such."""

    id: str


class Experiments(Actor):
    """`make_run` makes the run of an experiment from its row, and whether an earlier daemon has started it. One that
    waits for its work_dir is no more than that in memory: it is read from the store when it starts."""

    def __init__(self, store: Store, runs: DurableRuns, make_run: MakeRun) -> None:
        super().__init__("experiments")
        self._store, self._runs, self._make_run = store, runs, make_run
        self._unfinished: dict[str, ExperimentRun | None] = {}  # None: it is being resumed
        self._queues: dict[str, deque[ExperimentRun]] = {}  # by work_dir; the first one is at work
        self._cancelled: dict[str, list[Promise[ExperimentRow]]] = {}
        self._drained: list[Promise[None]] = []
        self._crashes: dict[str, Crashes] = {}
        self._is_closed = False

    @property
    def unfinished(self) -> int:
        return len(self._unfinished)

    def close(self) -> None:
        """Take in no more experiments."""
        self._is_closed = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            await super().run(task_status=task_status)

    async def cut_off(self) -> None:
        """After `run` was cancelled to stop the daemon, and before its workers end: record what they still ran."""
        try:
            for row in await self._store.unfinished():
                if row.state == "running":
                    await record_end(self._store, row.id, "failed", CUT_OFF.format(id=row.id))
        except StoreError as error:
            text = "it is not recorded how these experiments ended, which the next daemon finds out: %s: %s"
            log.error(text, ", ".join(sorted(self._unfinished, key=int)), error)

    async def on_start(self) -> None:
        rows = await self._store.unfinished()
        jobs = {row.id: await self._store.job_rows(row.id) for row in rows if row.state == "running"}
        wanted = {RunId.of_export(id) for id in jobs}
        for id, of_experiment in jobs.items():
            wanted |= {RunId(id, job.iter, job.index, job.attempt) for job in of_experiment if job.state == "running"}
        await self._runs.keep_left(wanted.__contains__)
        for row in sorted(rows, key=lambda row: row.state != "running"):  # what those need is theirs already
            self._enter(self._make_run(row, row.id in jobs))

    async def on_receive(self, message: Request[Any]) -> Any:
        match message:
            case Submit():
                return self._submit(message)
            case ResumeExperiment():
                return await self._resume(message)
            case CancelExperiment():
                return await self._cancel(message)
            case Drain():
                return self._drain()
            case _Stored():
                self._enter(self._make_run(message.row, False))
                message.submitted.resolve(Submitted(experiment=message.row.id))
            case _Unowned():
                await self._own_all()
            case _Ended():
                self._leave(message.id)
        return None

    # --- messages ---

    def _submit(self, submit: Submit) -> Promise[Submitted]:
        self._require_open()
        submitted = self.promise()
        self._nursery.start_soon(self._store_new, submit, submitted)
        return submitted

    async def _store_new(self, submit: Submit, submitted: Promise[Submitted]) -> None:
        try:
            submit = msgspec.structs.replace(submit, environ=forwarded(submit.environ))
            experiment, rows = await trio.to_thread.run_sync(_checked, submit)
            with self._store.promptly():
                row, is_new = await self._store.add_experiment(
                    submit,
                    name=experiment.experiment_name,
                    project=experiment.project_name,
                    work_dir=await trio.to_thread.run_sync(work_dir_of, submit.cwd, experiment),
                    submitted=time.time(),
                    jobs=rows,
                )
        except Exception as error:
            submitted.reject(error)
            self._check_owners(error)
        else:
            if is_new:
                self.notify(_Stored(row=row, submitted=submitted))
            else:
                submitted.resolve(Submitted(experiment=row.id))

    async def _resume(self, request: ResumeExperiment) -> Promise[Submitted]:
        """What had succeeded is taken from the record. Raises Refused."""
        self._require_open()
        with self._store.promptly():
            row = await self._store.find_experiment(request.experiment)
        if row.id in self._unfinished:
            raise Refused(f"experiment {row.id} is {row.state}: there is nothing to resume")
        if row.state == "succeeded":
            raise Refused(f"experiment {row.id} has succeeded: `sandbox run {row.source}` runs it again")
        self._unfinished[row.id] = None
        resumed = self.promise()
        self._nursery.start_soon(self._store_resumed, row, resumed)
        return resumed

    async def _store_resumed(self, row: ExperimentRow, resumed: Promise[Submitted]) -> None:
        try:
            with self._store.promptly():
                left = [each for each in await self._store.job_rows(row.id) if each.state != "succeeded"]
                submit = await self._store.submission(row.id)
                await trio.to_thread.run_sync(thaw, submit.definition)  # raises if this version cannot read it
                row = await self._store.reopen(row, left, [_unstarted(each) for each in left])
        except Exception as error:
            self._leave(row.id)
            resumed.reject(error)
            self._check_owners(error)
        else:
            self._enter(self._make_run(row, False))
            resumed.resolve(Submitted(experiment=row.id))

    async def _cancel(self, request: CancelExperiment) -> Promise[ExperimentRow]:
        """Raises Refused where the experiment had ended before."""
        with self._store.promptly():
            row = await self._store.find_experiment(request.experiment)
        if row.id not in self._unfinished:
            raise Refused(f"experiment {row.id} {'was' if row.state == 'cancelled' else 'has'} {row.state} already")
        cancelled = self.promise()
        self._cancelled.setdefault(row.id, []).append(cancelled)
        if (run := self._unfinished[row.id]) is not None:
            run.cancel()
        return cancelled

    def _drain(self) -> Promise[None]:
        self.close()
        drained = self.promise()
        if self._unfinished:
            self._drained.append(drained)
        else:
            drained.resolve(None)
        return drained

    def _require_open(self) -> None:
        if self._is_closed:
            raise Refused("the daemon is about to stop: it finishes what runs and takes in no experiment")

    # --- runs ---

    def _enter(self, run: ExperimentRun) -> None:
        """Let a run start as soon as its work_dir is free."""
        self._unfinished[run.id] = run
        queue = self._queues.setdefault(run.work_dir, deque())
        queue.append(run)
        if queue[0] is run:
            run.work_dir_is_free.set()
        if run.id in self._cancelled:  # while it was being resumed
            run.cancel()
        self._nursery.start_soon(self._carry_out, run)

    async def _carry_out(self, run: ExperimentRun) -> None:
        try:
            await run.run(self._nursery)
        except Exception as error:  # of this experiment: the others continue
            log.exception("the end of experiment %s could not be recorded", run.id)
            self.notify(_Ended(id=run.id))
            self._check_owners(error)
        else:
            self._crashes.pop(run.id, None)
            self.notify(_Ended(id=run.id))

    def _check_owners(self, error: Exception) -> None:
        """After an error between two steps: what is stored as unfinished gets a run, unless it keeps failing."""
        if not isinstance(error, SandboxError):
            self.notify(_Unowned())

    async def _own_all(self) -> None:
        for row in await self._store.unfinished():
            if row.id not in self._unfinished and not self._crashes.setdefault(row.id, Crashes()).add():
                self._enter(self._make_run(row, row.state == "running"))

    def _leave(self, id: str) -> None:
        run = self._unfinished.pop(id)
        if run is not None:
            queue = self._queues[run.work_dir]
            queue.remove(run)
            if queue:
                queue[0].work_dir_is_free.set()
            else:
                del self._queues[run.work_dir]
        for cancelled in self._cancelled.pop(id, []):
            self._nursery.start_soon(self._tell_row, id, cancelled)
        if not self._unfinished:
            for drained in self._drained:
                self._nursery.start_soon(self._tell_drained, drained)

    async def _tell_row(self, id: str, promise: Promise[ExperimentRow]) -> None:
        try:
            promise.resolve(await self._store.find_experiment(id))
        except Exception as error:
            promise.reject(error)

    async def _tell_drained(self, promise: Promise[None]) -> None:
        await trio.sleep(LAST_ANSWER_DELAY)
        promise.resolve(None)


def work_dir_of(cwd: str, experiment: Experiment) -> str:
    """The folder that a work_dir names, whatever the name: two names of one folder are one work_dir."""
    return os.path.realpath(Path(cwd, user_path(experiment.work_dir)))


def _checked(submit: Submit) -> tuple[Experiment, list[JobRow]]:
    """The submitted experiment, and the rows of its first iteration. Takes long for a large one. Raises ConfigError, or
    Refused for what no daemon may store or this machine lacks."""
    for given in (submit.definition, submit.environ):
        refuse_secrets(given)
    experiment = thaw(submit.definition)
    check_names(experiment, submit.cwd)
    jobs = number_jobs(experiment)
    for each in jobs:
        if missing := describe_gpu_shortage(each.job.resources, this_machine()):
            raise Refused(f"{each.pipeline}.{each.job.meta_name} {missing}")
    return experiment, waiting_rows(jobs, iter=1)


def _unstarted(row: JobRow) -> JobRow:
    """The row of a job that waits for its first attempt."""
    kept = {name: getattr(row, name) for name in ("index", "pipeline", "list", "hook", "meta_name", "iter")}
    return JobRow(seq=0, state="waiting", **kept)
