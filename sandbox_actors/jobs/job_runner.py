"""The jobs of one experiment: each attempt is run by an `Attempt`, and known by its `RunId`."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import trio

from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.pool_messages import FindWarm
from sandbox_actors.experiment.events import StartJob
from sandbox_actors.experiment.model import Job
from sandbox_actors.experiment.names import file_name
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.hooks.base import JobResult
from sandbox_actors.hooks.call import Call
from sandbox_actors.hooks.registry import find_hook
from sandbox_actors.jobs.actor_request import ActorRequests
from sandbox_actors.jobs.attempt import Attempt, Change
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.config_files import read_config_file
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.store.watcher import SandboxWatcher


class JobRunner:
    """Of experiment `id`. `folder` is the experiment's own, below the daemon's home."""

    def __init__(
        self,
        id: str,
        cwd: str,
        folder: Path,
        *,
        requests: ActorRequests,
        pool: Pool,
        resources: Resources,
        watcher: SandboxWatcher,
        runs: DurableRuns,
    ) -> None:
        self._id, self._cwd, self._folder, self._runs = id, cwd, folder, runs
        self._attempt = partial(Attempt, requests=requests, pool=pool, resources=resources, watcher=watcher, runs=runs)

    def log_of(self, start: StartJob) -> Path:
        """The log of one attempt. It belongs to the experiment's record; the work_dir gets a link to it."""
        name = file_name(f"{start.index}.{start.pipeline}.{start.job.meta_name}")
        attempt = f".attempt_{start.attempt}" if start.attempt > 1 else ""
        return self._folder / "log" / f"iter_{start.iter}" / f"{name}{attempt}.log"

    async def run(self, start: StartJob, change: Change) -> JobResult:
        """Run one attempt of one job, whose log is there.

        Raises SandboxError: ComponentFailed, WorkerLost, EnvError, ConfigError, JobTimeout.
        """
        if files := start.files:
            contents = {file: await read_config_file(file, self._cwd) for file in files}
            start = await trio.to_thread.run_sync(start.with_files_read, contents.__getitem__)
        id = self.run_id(start.iter, start.index, start.attempt)
        return await self._attempt(id, start, self.log_of(start), self._cwd, change).run(find_hook(start.job.hook))

    def run_id(self, iter: int, index: int, attempt: int) -> RunId:
        return RunId(self._id, iter, index, attempt)

    def is_left(self, attempt: RunId) -> bool:
        """Whether the attempt has been started before, and was left, so that `run` takes it up."""
        return self._runs.is_left(attempt)

    def run_again(self, attempt: RunId) -> None:
        """`run` ended with an error of the daemon's own, and is about to take the attempt up where it was left."""
        self._runs.leave_ended(lambda run: run.attempt_id == attempt)

    async def drop(self, attempt: RunId) -> None:
        """`run` was cancelled, or is given up: end the worker that it has left."""
        await self._runs.drop_left(lambda run: run.attempt_id == attempt)

    async def forget(self, attempt: RunId) -> None:
        """The end of an attempt is recorded."""
        await self._runs.forget(attempt)


async def find_warm(
    requests: ActorRequests, pool: Pool, resources: Resources, job: Job, call: Call, has_open_model: bool
) -> bool | None:
    """The value of `PlannedJob.warm` for a call. Raises SandboxError where the job's env cannot exist."""
    call = await requests.describe(job, call)
    env = await requests.find_env(job, call)
    if env is None:
        return False
    call = await requests.describe(job, call, env)
    gpus = None if job.resources.gpus is None else resources.gpus.next(math.ceil(job.resources.gpus))
    warmth = await pool.ask(FindWarm(needs=await requests.needs(job, call, env, gpus)))
    if warmth == "process":
        return None if has_open_model else False
    return warmth == "model"
