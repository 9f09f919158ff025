"""One attempt of a job: its calls, each with an env, cpus and gpus, an actor, a log watcher, and a result."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.actors.environments import ReadyEnv
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import SandboxError, WorkerLost
from sandbox_actors.experiment.events import StartJob
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.files import tail
from sandbox_actors.hooks.base import Hook, JobResult
from sandbox_actors.hooks.call import Call
from sandbox_actors.jobs.actor_request import ActorRequests
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.log_watching import LogWatching
from sandbox_actors.jobs.run_folders import RunRecord
from sandbox_actors.jobs.watchdogs import LAST_LINES, guard
from sandbox_actors.protocol.rows import MetricRow, ProgressBar
from sandbox_actors.protocol.worker_requests import Outcome, Run
from sandbox_actors.store.watcher import SandboxWatcher

Change = Callable[..., Awaitable[None]]
"""`change(**fields)` updates the row of a job."""


class JobTimeout(SandboxError):
    """A job took longer than its `timeout`."""

    code = "timeout"


class Attempt:
    """The attempt that `start` asks for, of an experiment whose relative paths are looked up from `cwd`.

    A job is one call, or several, one after the other (see `Hook.next_call`). Each holds what it needs only while it
    runs. A call that was left, by an earlier daemon or by this one, is taken up where it is.
    """

    def __init__(
        self,
        id: RunId,
        start: StartJob,
        log: Path,
        cwd: str,
        change: Change,
        *,
        requests: ActorRequests,
        pool: Pool,
        resources: Resources,
        watcher: SandboxWatcher,
        runs: DurableRuns,
    ) -> None:
        self._id, self._start, self._job, self._log, self._cwd, self._change = id, start, start.job, log, cwd, change
        self._requests, self._pool, self._resources = requests, pool, resources
        self._watcher, self._runs = watcher, runs
        self._place = JobPlace(id.experiment, start.pipeline, start.job.meta_name, start.iter, start.index)

    async def run(self, hook: Hook) -> JobResult:
        """Carry out the calls of `hook`. Raises SandboxError."""
        outcomes: list[Outcome] = []
        while (outcome := await self._next_call(hook, outcomes)) is not None:
            outcomes.append(outcome)
        recorded = hook.result(outcomes[-1])
        if recorded.watched is not None:
            await self._watcher.watch(self._place, recorded.metrics(self._job.output), run=str(self._id))
        return recorded

    async def _next_call(self, hook: Hook, outcomes: list[Outcome]) -> Outcome | None:
        """None after the last one."""
        run = replace(self._id, stage=len(outcomes))
        async with self._runs.claim(run) as left:
            if left is not None:
                needs = replace(left.needs, env=self._requests.restore_env(left.needs.env))
                return await self._carry_out(run, left.run, needs, left.cpus, left)
        if outcomes:
            call = hook.next_call(self._start.dj_configs, self._start.extra_configs, outcomes)
        else:
            analysis = await self._analysis() if hook.needs_analysis else {}
            call = hook.call(self._start.dj_configs, self._start.extra_configs, analysis)
        return None if call is None else await self._begin(run, call)

    async def _analysis(self) -> dict[str, Any]:
        """What an analysing job of this meta_name has recorded: {row: {statistic: number}}."""
        rows = await self._watcher.query_job(self._place)
        return await trio.to_thread.run_sync(_by_statistic, rows, f"{self._job.meta_name}.")

    async def _begin(self, id: RunId, call: Call) -> Outcome:
        """A call that no daemon has started yet."""
        call = await self._requests.describe(self._job, call)
        env = await self._ensure_env(call)
        call = await self._requests.describe(self._job, call, env)
        asked = self._job.resources
        cpus = self._requests.threads(self._job, call) if asked.cpus is None else asked.cpus
        has_waited = False

        async def wait(reason: str) -> None:
            nonlocal has_waited
            has_waited = True
            await self._wait(reason)

        async with self._resources.hold(cpus, asked.gpus, wait) as gpus:
            started = {} if id.stage else {"started": time.time()}
            await self._change(state="running", reason=f"{call.label} starts", log=str(self._log), **started)
            if has_waited:  # the env may have been removed meanwhile
                env = await self._ensure_env(call)
            needs = await self._requests.needs(self._job, call, env, gpus)
            await self._runs.record_env(id, await self._requests.env_record(self._job, call, env))
            run = Run(
                run=str(id),
                component=needs.component,
                config=call.config,
                model_key=call.model_key,
                cwd=self._cwd,
                log=str(self._log),
                folder=self._runs.folder_of(id),
                args=call.args,
            )
            return await self._carry_out(id, run, needs, cpus)

    async def _wait(self, reason: str) -> None:
        await self._change(reason=reason)

    async def _ensure_env(self, call: Call) -> ReadyEnv:
        name = call.env_in(self._job.env)

        def show(bar: ProgressBar) -> None:
            labelled = ProgressBar(label=f"env {name}: {bar.label}", done=bar.done, total=bar.total, unit=bar.unit)
            self._watcher.show_progress(self._place, labelled)

        env = await self._requests.ensure_env(self._job, call, show)
        self._watcher.show_progress(self._place, None)
        return env

    async def _carry_out(
        self, id: RunId, run: Run, needs: ActorNeeds, cpus: float, left: RunRecord | None = None
    ) -> Outcome:
        """Let an actor run, whose reports belong to this job meanwhile. `left`: it may be in this run already."""
        with self._runs.under_way(id, self._place):
            try:
                async with self._log_watched(run, needs):
                    return await self._lease(run, needs, cpus, left)
            except WorkerLost as error:
                outcome = await self._runs.result(run.run)  # its answer may have been written, and not sent
                if outcome is not None:
                    return outcome
                resume = f"\n`sandbox resume {self._id.experiment}` continues where it stopped" if left else ""
                raise WorkerLost(f"{error}\n{tail(self._log, LAST_LINES)}".rstrip() + resume) from error
            finally:
                with trio.CancelScope(shield=True):
                    await self._runs.take_in(run.run, self._place)

    @asynccontextmanager
    async def _log_watched(self, run: Run, needs: ActorNeeds) -> AsyncIterator[None]:
        """A log watcher beside the block, which starts while its actor does, and reads the rest of the log whatever
        becomes of the run. Raises what the block raised, not a group of it."""
        ended, failure = trio.Event(), None
        watching = LogWatching(self._pool, self._watcher, self._id.experiment, run, needs)
        await watching.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watching.follow, ended)
            try:
                yield
            except SandboxError as error:
                failure = error
            ended.set()
        if failure is not None:
            raise failure

    async def _lease(self, run: Run, needs: ActorNeeds, cpus: float, left: RunRecord | None) -> Outcome:
        async with self._pool.rejoin(left.worker, run.run) if left else self._pool.lease(needs) as lease:
            lease.actor.job = f"{self._id.experiment} {self._start.pipeline}.{self._job.meta_name}"
            if left is None:
                await self._change(worker=lease.actor.name, warm=lease.warm, reason="")
            record = left or await self._runs.record(run, needs, lease.actor.name, cpus, self._wait)
            with self._runs.leased(record, lease):
                return await self._ask(run, lease, record.started, is_taken_up=left is not None)

    async def _ask(self, run: Run, lease: Lease, started: float, is_taken_up: bool) -> Outcome:
        """Raises JobTimeout when the job's time, counted from `started`, is over."""
        timeout = self._job.timeout
        left = math.inf if timeout is None else max(0.0, timeout - (time.monotonic() - started))
        ask = partial(self._runs.outcome, lease, run, is_taken_up)
        try:
            with trio.fail_after(left):
                actor = lease.actor
                outcome = await guard(actor.process, actor.name, self._log, self._job.resources.memory, ask)
        except trio.TooSlowError:
            last = tail(self._log, LAST_LINES)
            raise JobTimeout(f"took longer than its timeout of {timeout:g} seconds\n{last}".rstrip()) from None
        lease.actor.warm_model = run.model_key if outcome.has_model else ""
        return outcome


def _by_statistic(rows: Sequence[MetricRow], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        line, _, statistic = row.name.removeprefix(prefix).partition(".")
        if statistic:
            found.setdefault(line, {})[statistic] = row.value
    return found
