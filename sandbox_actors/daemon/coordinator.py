"""The coordinator: the actor that takes one experiment through its jobs.

Theory of operation. The coordinator carries out the commands of its plan, which decides and does no I/O. Each attempt
of a job runs as a task beside the inbox and ends with a message to it, so that every decision is made in one place,
one event after the other. What a decision rests on is stored before it is acted on: a job starts after the outputs
that it needs are durable, so that an experiment whose daemon was killed continues from the store alone.
`context_infos.json` is a copy for people, written afterwards. A cancel stops the attempts; each still ends with its
own message.

A work_dir whose disk is full or fails, or that is removed, makes the experiment wait, with its reason, until it can be
written again or the experiment is cancelled. An error of this program in an attempt ends neither its worker nor the
experiment: the attempt is taken up again. Such an error in the coordinator itself is survived by `experiment_run.py`.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from sandbox_actors.actors.actor import Actor
from sandbox_actors.daemon.crashes import Crashes, describe_crash, describe_error
from sandbox_actors.daemon.work_dir import CONTEXT_FILE, WorkDir
from sandbox_actors.errors import ActorStopped, Refused, is_expected
from sandbox_actors.experiment.context_infos import iterations_to_list
from sandbox_actors.experiment.events import (
    BeginIteration,
    CancelRequested,
    Command,
    EndIteration,
    Event,
    Finish,
    JobFailed,
    JobSucceeded,
    RecordFailure,
    RecordSuccess,
    StartJob,
    StopJob,
)
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.experiment.model import Experiment, NumberedJob, number_jobs
from sandbox_actors.experiment.plan import Plan
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.jobs.job_runner import JobRunner
from sandbox_actors.protocol.rows import ExperimentRow, JobRow, State
from sandbox_actors.protocol.secrets import mask_secrets
from sandbox_actors.store.queries import Outputs
from sandbox_actors.store.store import Store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.disk import patiently

log = logging.getLogger(__name__)

RETRY_DELAY = 1.0
RETRY_DELAY_LIMIT = 60.0
"""Seconds before the second attempt of a job, doubled for each further one."""

ANY = errno.errorcode
"""Every error of a work_dir that could be written when the experiment started."""

LAST_WRITE = 2.0
"""Seconds that the last write of `context_infos.json` may take once the experiment is cancelled."""

CONTEXT_PAUSE = 0.05
"""Seconds between two writes of `context_infos.json`, which grows with every job."""

WHERE_IT_STOPPED = "stopped because the experiment was cancelled"


class Coordinator(Actor):
    """From `on_start` to the `Finish` of its plan, then it stops by itself.

    `is_continued`: the experiment was started before, by an earlier daemon, or by a coordinator that has failed.
    `on_job` is called when a job has what it waited for, and when one has ended or runs already.
    """

    def __init__(
        self,
        row: ExperimentRow,
        plan: Plan,
        store: Store,
        watcher: SandboxWatcher,
        runner: JobRunner,
        retry_delay: float = RETRY_DELAY,
        is_continued: bool = False,
        on_job: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(f"experiment {row.id}")
        self._retry_delay, self._is_continued, self._on_job = retry_delay, is_continued, on_job
        self._id, self._plan, self._store, self._watcher, self._runner = row.id, plan, store, watcher, runner
        self._work_dir = WorkDir(Path(row.work_dir), plan.jobs, plan.experiment.max_iter_num != 1)
        self._rows: dict[int, JobRow] = {}
        self._results: dict[int, JobSucceeded] = {}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._recorded, self._writing = trio.Event(), trio.Lock()
        self._is_cancelled, self._writing_last = False, trio.CancelScope()

    def cancel(self) -> None:
        """Stop what runs, record it, and end."""
        self._is_cancelled = True
        self._writing_last.deadline = min(self._writing_last.deadline, trio.current_time() + LAST_WRITE)
        self.notify(CancelRequested())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._jobs:
            self._jobs.start_soon(self._keep_context)
            await super().run(task_status=task_status)
            self._jobs.cancel_scope.cancel()

    async def on_start(self) -> None:
        try:
            await patiently(self._work_dir.make, self._wait)
        except OSError as error:
            raise Refused(f"work_dir {self._work_dir.path} cannot be used: {error.strerror}") from error
        started: dict[str, float] = {} if self._is_continued else {"started": time.time()}
        await self._store.update_experiment(self._id, state="running", reason="", error="", **started)
        await self._watcher.watch_cfgs(self._id, await trio.to_thread.run_sync(configs_of, self._plan.experiment))
        if any(row.state != "waiting" for row in await self._store.job_rows(self._id)):
            self._on_job()
        await self._carry_out(self._plan.start())

    async def on_receive(self, message: Event) -> None:
        if isinstance(message, JobSucceeded):
            self._results[message.index] = message
        await self._carry_out(self._plan.handle(message))

    # --- commands of the plan ---

    async def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, BeginIteration):
                await self._begin_iteration(command)
            elif isinstance(command, StartJob):
                await self._start(command)
            elif isinstance(command, StopJob):
                self._scopes[command.index].cancel()
            elif isinstance(command, RecordSuccess):
                await self._record_success(command)
            elif isinstance(command, RecordFailure):
                await self._record_failure(command)
            elif isinstance(command, EndIteration):
                await self._record_targets(command)
            else:
                await self._finish(command)

    async def _begin_iteration(self, command: BeginIteration) -> None:
        """Of an iteration that was under way before, what had succeeded stays as it is, and in an experiment that goes
        on, what had failed or is under way still."""
        known = [row for row in await self._store.job_rows(self._id) if row.iter == command.iter]
        done = {
            row.index: row for row in known if row.state == "succeeded" or (self._is_continued and self._stays(row))
        }
        waiting = {row.index: row for row in waiting_rows(self._plan.jobs, command.iter) if row.index not in done}
        if self._is_continued:  # attempts are counted on
            for row in known:
                if row.index in waiting:
                    attempt = {"attempt": row.attempt, "error": row.error}
                    waiting[row.index] = msgspec.structs.replace(waiting[row.index], **attempt)
        self._rows = {**waiting, **done}
        await self._store.put_jobs(self._id, list(waiting.values()))

    def _stays(self, row: JobRow) -> bool:
        is_under_way = row.state == "running" and self._runner.is_left(
            self._runner.run_id(row.iter, row.index, row.attempt)
        )
        return is_under_way or row.state == "failed"

    async def _start(self, start: StartJob) -> None:
        if start.attempt > 1 and not self._runner.is_left(self._run_id(start)):
            await self._change(start.index, attempt=start.attempt, started=None, finished=None, seconds=None, error="")
        scope = self._scopes[start.index] = trio.CancelScope()
        self._jobs.start_soon(self._run_job, start, scope)

    def _run_id(self, start: StartJob) -> RunId:
        return self._runner.run_id(start.iter, start.index, start.attempt)

    async def _record_success(self, command: RecordSuccess) -> None:
        result = self._results.pop(command.index)
        row = self._ended_row(command.index, "succeeded", "")
        outputs = Outputs(
            iter=command.iter, index=command.index, values=result.values, is_tuple=result.is_tuple, entry=command.infos
        )
        await self._store.finish_job(self._id, row, outputs)
        await self._runner.forget(self._runner.run_id(row.iter, row.index, row.attempt))
        self._recorded.set()

    async def _record_failure(self, command: RecordFailure) -> None:
        is_stopped = command.error == WHERE_IT_STOPPED
        if not is_stopped:
            self._on_job()
        state: State = ("cancelled" if is_stopped else "failed") if command.is_final else "waiting"
        row = self._ended_row(command.index, state, command.error)
        await self._store.put_jobs(self._id, [row])
        await self._runner.forget(self._runner.run_id(row.iter, row.index, row.attempt))

    async def _record_targets(self, command: EndIteration) -> None:
        for result in command.targets:
            place = JobPlace(self._id, meta_name=f"target.{result.target}", iter=command.iter)
            if not await self._watcher.query_job(place):  # else it was recorded before a resume
                await self._watcher.watch(place, result.holds)

    async def _finish(self, command: Finish) -> None:
        left = [row for row in self._rows.values() if row.state == "waiting"]
        if left and command.state != "succeeded":
            reason = "not reached" if command.state == "failed" else ""
            rows = [msgspec.structs.replace(row, state="cancelled", reason=reason) for row in left]
            await self._store.put_jobs(self._id, rows)
        unwritten = await self._write_last_context()
        error = "; ".join(filter(None, (command.error, unwritten)))
        await self._store.update_experiment(self._id, state=command.state, finished=time.time(), error=error, reason="")
        self.stop()

    # --- jobs ---

    async def _run_job(self, start: StartJob, scope: trio.CancelScope) -> None:
        """One attempt, from its delay to the message that it has ended."""
        event: Event | None = None
        with scope:
            event = await self._attempt(start)
        if event is None:
            await self._runner.drop(self._run_id(start))
            event = _failed(start, WHERE_IT_STOPPED)
        with suppress(ActorStopped):  # the experiment has ended without waiting for this job
            await self.tell(event)

    async def _attempt(self, start: StartJob) -> Event:
        """An error that is not of the job but of this program is survived: the worker is not disturbed, and the attempt
        is taken up again where it is. The second one in a short time is given up."""
        id, crashes = self._run_id(start), Crashes()
        while True:
            try:
                return await self._run_attempt(start)
            except Exception as error:
                if is_expected(error):
                    return _failed(start, describe_error(error))
                log.exception("job %s met an error of the daemon", id)
                if crashes.add():
                    await self._runner.drop(id)
                    return _failed(start, describe_crash(error, self._id))
                self._runner.run_again(id)

    async def _run_attempt(self, start: StartJob) -> Event:
        async def change(**fields: Any) -> None:
            await self._change(start.index, **fields)

        if start.attempt > 1 and not self._runner.is_left(self._run_id(start)):
            await change(reason=f"attempt {start.attempt} after a pause")
            await trio.sleep(min(self._retry_delay * 2 ** (start.attempt - 2), RETRY_DELAY_LIMIT))
        log = self._runner.log_of(start)
        await patiently(partial(make_file, log), lambda reason: change(reason=reason))
        link_log = partial(self._work_dir.link_log, start.iter, start.index, log)
        await patiently(link_log, lambda reason: change(reason=reason), ANY)
        recorded = await self._runner.run(start, change)
        return JobSucceeded(iter=start.iter, index=start.index, values=recorded.values, is_tuple=recorded.is_tuple)

    async def _change(self, index: int, **fields: Any) -> None:
        if fields.get("state") == "running":
            self._on_job()
        self._rows[index] = msgspec.structs.replace(self._rows[index], **fields)
        await self._store.put_jobs(self._id, [self._rows[index]])

    def _ended_row(self, index: int, state: State, error: str) -> JobRow:
        row, now = self._rows[index], time.time()
        seconds = round(now - row.started, 3) if row.started else None
        self._rows[index] = msgspec.structs.replace(
            row, state=state, finished=now, seconds=seconds, error=error, reason=""
        )
        return self._rows[index]

    async def _keep_context(self) -> None:
        """Write `context_infos.json` after each job; those that end within a moment share a write."""
        while True:
            await self._recorded.wait()
            self._recorded = trio.Event()
            await self._write_context(is_durable=False)  # the store is
            await trio.sleep(CONTEXT_PAUSE)

    async def _write_context(self, is_durable: bool) -> None:
        async with self._writing:
            document = iterations_to_list(self._plan.iterations)
            await patiently(partial(self._work_dir.write_context, document, is_durable), self._wait, ANY)

    async def _write_last_context(self) -> str:
        """Write it to the disk. Returns "", or what is wrong if the experiment is cancelled while it waits for that."""
        with trio.CancelScope() as self._writing_last:
            if self._is_cancelled:
                self._writing_last.deadline = trio.current_time() + LAST_WRITE
            await self._write_context(is_durable=True)
        return f"{CONTEXT_FILE} could not be written" if self._writing_last.cancelled_caught else ""

    async def _wait(self, reason: str) -> None:
        await self._store.update_experiment(self._id, reason=reason)


def waiting_rows(jobs: Iterable[NumberedJob], iter: int) -> list[JobRow]:
    """The rows of an iteration none of whose jobs has started."""
    return [
        JobRow(
            seq=0,
            index=each.index,
            pipeline=each.pipeline,
            list=each.list,
            hook=each.job.hook,
            meta_name=each.job.meta_name,
            iter=iter,
            state="waiting",
        )
        for each in jobs
    ]


def make_file(path: Path) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def configs_of(experiment: Experiment) -> dict[str, Any]:
    """The configs of an experiment as the watcher records them: the settings of the whole, and those of each job."""
    whole: dict[str, Any] = msgspec.to_builtins(experiment)
    whole.pop("pipelines", None)
    found = {"sandbox": whole}
    for each in number_jobs(experiment):
        configs = {"dj_configs": each.job.dj_configs, "extra_configs": each.job.extra_configs}
        found[f"{each.pipeline}.{each.job.meta_name}"] = {key: value for key, value in configs.items() if value}
    recorded: dict[str, Any] = mask_secrets(found)
    return recorded


def _failed(start: StartJob, error: str) -> JobFailed:
    return JobFailed(iter=start.iter, index=start.index, attempt=start.attempt, error=error)
