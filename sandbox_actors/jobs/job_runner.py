"""One job, run: env, cpus, actor, log watcher, call, result."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from components.factories import described
from envs.specs import EnvSpec, load_spec, spec_from
from sandbox_actors.actors.code_digest import read_code
from sandbox_actors.actors.component_actor import Lease, Wanted
from sandbox_actors.actors.environments import Environments, ReadyEnv
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import ConfigError, SandboxError, WorkerLost
from sandbox_actors.experiment.events import StartJob
from sandbox_actors.experiment.model import Experiment, Job
from sandbox_actors.experiment_file.load import read_config
from sandbox_actors.files import tail
from sandbox_actors.hooks.base import Hook, Recorded
from sandbox_actors.hooks.call import Call
from sandbox_actors.hooks.registry import component_folders, hook_named
from sandbox_actors.jobs.actor_request import _keep_alive, _threads
from sandbox_actors.jobs.capacity import Capacity, Gpus
from sandbox_actors.jobs.durable_runs import KeptRuns, RunPlace
from sandbox_actors.jobs.log_watching import LogWatching
from sandbox_actors.jobs.run_folders import RunRecord
from sandbox_actors.jobs.watchdogs import LAST_LINES, MemoryExceeded, _mib, until_over, until_stopped
from sandbox_actors.protocol.rows import ProgressBar, points_of
from sandbox_actors.protocol.worker_requests import ComponentRef, Outcome, Run
from sandbox_actors.store.watcher import SandboxWatcher

Change = Callable[..., Awaitable[None]]


class JobTimeout(SandboxError):
    """A job took longer than its `timeout`."""

    code = "timeout"


@dataclass(frozen=True)
class Workshop:
    """What jobs are run with: shared by all experiments of a daemon. `runs` are those under way, by name."""

    pool: Pool
    capacity: Capacity
    gpus: Gpus
    environments: Environments
    watcher: SandboxWatcher
    kept: KeptRuns
    runs: dict[str, RunPlace] = field(default_factory=dict)


class JobRunner:
    """Runs the jobs of one experiment. `folder` is the experiment's own, below the daemon's home."""

    def __init__(self, shop: Workshop, id: str, experiment: Experiment, cwd: str, folder: Path) -> None:
        self._shop, self._id, self._experiment, self._cwd, self._folder = shop, id, experiment, cwd, folder
        self._specs: dict[str, EnvSpec] = {}

    def log_of(self, start: StartJob) -> Path:
        """The log of one attempt. It belongs to the experiment's record; the work_dir gets a link to it."""
        meta_name = re.sub(r"[^\w.-]+", "_", start.job.meta_name)
        attempt = f".attempt_{start.attempt}" if start.attempt > 1 else ""
        return self._folder / "log" / f"iter_{start.iter}" / f"{start.index}.{start.pipeline}.{meta_name}{attempt}.log"

    async def run(self, start: StartJob, change: Change) -> Recorded:
        """Run one attempt of one job, whose log is there. `change(**fields)` updates its row.

        Raises SandboxError: ComponentFailed, WorkerLost, EnvError, ConfigError, JobTimeout.
        """
        start = start.settle(lambda path: read_config(path, self._cwd))
        hook = hook_named(start.job.hook)
        outcomes: list[Outcome] = []
        while (outcome := await self._stage(start, hook, outcomes, change)) is not None:
            outcomes.append(outcome)
        recorded = hook.record(outcomes[-1])
        await self._watch(start, recorded)
        return recorded

    def is_left(self, iter: int, index: int, attempt: int) -> bool:
        """Whether a daemon before this one has begun the attempt, so that `run` takes it up."""
        return self._shop.kept.is_left(f"{self._id}.{iter}.{index}.{attempt}")

    async def forget(self, iter: int, index: int, attempt: int) -> None:
        """The end of an attempt is recorded."""
        await self._shop.kept.forget(f"{self._id}.{iter}.{index}.{attempt}")

    def _name(self, start: StartJob, stage: int = 0) -> str:
        """What a call of an attempt is called."""
        return f"{self._id}.{start.iter}.{start.index}.{start.attempt}" + (f".{stage}" if stage else "")

    async def _stage(self, start: StartJob, hook: Hook, outcomes: list[Outcome], change: Change) -> Outcome | None:
        """The next call of a job, taken up where the daemon before has begun it; None after the last."""
        async with self._shop.kept.claim(self._name(start, len(outcomes))) as left:
            if left is not None:
                wanted = replace(left.wanted, env=self._shop.environments.at(left.wanted.env))
                return await self._ask(start, left.run, wanted, left.cpus, change, left)
        if outcomes:
            call = hook.then(start.dj_configs, start.extra_configs, outcomes)
        else:
            analysis = await self._analysis(start) if hook.needs_analysis else {}
            call = hook.call(start.dj_configs, start.extra_configs, analysis)
        return None if call is None else await self._carry_out(start, call, len(outcomes), change)

    async def _carry_out(self, start: StartJob, call: Call, stage: int, change: Change) -> Outcome:
        """One call of a job. `stage` counts its calls from 0; each holds what it needs only while it runs."""
        call = self._described(start.job, call)
        env = await self._env(start, call)
        call = self._described(start.job, call, env)
        wanted = self._wanted(start.job, call, env)
        cpus = wanted.cpus if start.job.resources.cpus is None else start.job.resources.cpus
        has_waited = False

        async def wait(reason: str) -> None:
            nonlocal has_waited
            has_waited = True
            await change(reason=reason)

        async with (
            self._shop.gpus.hold(start.job.resources.gpus, wait) as gpus,
            self._shop.capacity.hold(cpus, wait),
        ):
            started = {} if stage else {"started": time.time()}
            await change(state="running", reason=f"{wanted.label} starts", log=str(self.log_of(start)), **started)
            if has_waited:  # the env may have been removed meanwhile
                wanted = replace(wanted, env=await self._env(start, call))
            wanted = await self._with_code(replace(wanted, gpus=gpus))
            name = self._name(start, stage)
            run = Run(
                run=name,
                component=wanted.component,
                config=call.config,
                model_key=call.model_key,
                cwd=self._cwd,
                log=str(self.log_of(start)),
                folder=self._shop.kept.folder_of(name),
                args=call.args,
            )
            return await self._ask(start, run, wanted, cpus, change)

    async def is_warm(self, job: Job, call: Call, has_open_model: bool) -> bool | None:
        """What `PlannedJob.warm` tells. Raises SandboxError where the job has no env that could be."""
        call = self._described(job, call)
        env = await self._shop.environments.find(self._env_spec(job, call))
        if env is None:
            return False
        call = self._described(job, call, env)
        gpus = None if job.resources.gpus is None else self._shop.gpus.next(math.ceil(job.resources.gpus))
        wanted = await self._with_code(replace(self._wanted(job, call, env), gpus=gpus))
        if has_open_model and self._shop.pool.has_alike(wanted):
            return True if self._shop.pool.has_warm(wanted) else None
        return self._shop.pool.has_warm(wanted)

    # --- before ---

    async def _analysis(self, start: StartJob) -> dict[str, Any]:
        """What an analysing job of this meta_name told the watcher: {row: {statistic: number}}."""
        found: dict[str, Any] = {}
        prefix = f"{start.job.meta_name}."
        for row in await self._shop.watcher.query_job(self._id, start.pipeline, start.job.meta_name, start.iter):
            name = row.name.removeprefix(prefix)
            line, _, statistic = name.partition(".")
            if statistic:
                found.setdefault(line, {})[statistic] = row.value
        return found

    async def _env(self, start: StartJob, call: Call) -> ReadyEnv:
        def show(bar: ProgressBar) -> None:
            labelled = ProgressBar(label=f"env {spec.name}: {bar.label}", done=bar.done, total=bar.total, unit=bar.unit)
            self._shop.watcher.show_progress(self._id, start.index, labelled)

        spec = self._env_spec(start.job, call)
        env = await self._shop.environments.ensure(spec, show)
        self._shop.watcher.show_progress(self._id, start.index, None)
        return env

    def _env_spec(self, job: Job, call: Call) -> EnvSpec:
        name = call.env_in(job.env)
        if name not in self._specs:
            self._specs[name] = self._load_spec(name, call)
        return self._specs[name]

    def _load_spec(self, name: str, call: Call) -> EnvSpec:
        own, base = self._experiment.envs.get(name), Path(self._cwd)
        if own is not None:
            return spec_from(own, name, base, "the experiment", f"envs.{name}")
        try:
            return load_spec(name, base)
        except ConfigError:
            if name != call.config.get("env_name"):
                raise
            return spec_from(call.env_spec, name, base, call.label, "env_params")

    def _described(self, job: Job, call: Call, env: ReadyEnv | None = None) -> Call:
        """A class of the user's own with what it says of itself, as far as its source can be found before it is run."""
        if not call.entry.is_own:
            return call
        sites = [] if env is None else sorted(Path(env.python).parent.parent.glob("lib/python3*/site-packages"))
        return replace(call, entry=described(call.entry, [*component_folders(job, self._cwd), *map(str, sites)]))

    def _wanted(self, job: Job, call: Call, env: ReadyEnv) -> Wanted:
        asked = job.resources.cpus
        default = 1 if call.entry.is_light else max(1, self._shop.capacity.total // 2)
        paths = component_folders(job, self._cwd)
        return Wanted(
            label=call.label,
            component=ComponentRef(target=call.entry.target, paths=paths, package=call.entry.package),
            env=env,
            model_key=call.model_key,
            cpus=default if asked is None else max(1, round(asked)),
            keep_alive=_keep_alive(job),
        )

    async def _with_code(self, wanted: Wanted) -> Wanted:
        """The same with the state of its code: an actor that was started before a change must not serve after it."""
        own = [*wanted.component.paths, *filter(None, [wanted.component.package])]
        read = partial(read_code, wanted.env.python, own)
        return replace(wanted, code=await trio.to_thread.run_sync(read, limiter=_threads))

    # --- during ---

    async def _ask(
        self, start: StartJob, run: Run, wanted: Wanted, cpus: float, change: Change, left: RunRecord | None = None
    ) -> Outcome:
        """Let an actor run, known to the desks by the run's name meanwhile. `left`: it may be in this run already."""
        place = RunPlace(self._id, start.index, start.pipeline, start.job.meta_name, start.iter)
        self._shop.runs[run.run] = place
        try:
            return await self._followed(start, run, wanted, cpus, change, left)
        except WorkerLost as error:
            outcome = await self._shop.kept.result(run.run)  # its last words may have been written, and not sent
            if outcome is not None:
                return outcome
            last = tail(Path(run.log), LAST_LINES)
            resume = f"\n`sandbox resume {self._id}` goes on where it stopped" if left else ""
            raise WorkerLost(f"{error}\n{last}".rstrip() + resume) from error
        finally:
            with trio.CancelScope(shield=True):
                await self._shop.kept.take_in(run.run, place)
            del self._shop.runs[run.run]

    async def _followed(
        self, start: StartJob, run: Run, wanted: Wanted, cpus: float, change: Change, left: RunRecord | None
    ) -> Outcome:
        """Run with a log watcher beside it, which starts while the actor does, and reads the rest of the log whatever
        becomes of the run."""
        ended = trio.Event()
        failure: SandboxError | None = None
        watching = LogWatching(self._shop.pool, self._shop.watcher, self._id, run, wanted)
        await watching.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watching.follow, ended)
            try:
                outcome = await self._leased(start, run, wanted, cpus, change, left)
            except SandboxError as error:
                failure = error
            ended.set()
        if failure is not None:
            raise failure
        return outcome

    async def _leased(
        self, start: StartJob, run: Run, wanted: Wanted, cpus: float, change: Change, left: RunRecord | None
    ) -> Outcome:
        pool, kept = self._shop.pool, self._shop.kept
        if left is not None and not pool.is_reserved(left.worker, run.run):
            outcome = await kept.result(run.run)
            if outcome is not None:
                return outcome
        async with pool.rejoin(left.worker, run.run) if left else pool.lease(wanted) as lease:
            lease.actor.job = f"{self._id} {start.pipeline}.{start.job.meta_name}"
            if left is None:
                await change(worker=lease.actor.name, warm=lease.warm, reason="")
                await kept.begin(run, wanted, lease.actor.name, cpus)
            begun = left.begun if left else time.monotonic()
            return await self._outcome(run, lease, start.job, begun, is_taken_up=left is not None)

    async def _outcome(self, run: Run, lease: Lease, job: Job, begun: float, is_taken_up: bool) -> Outcome:
        """Raises JobTimeout when the job's time, which goes by since `begun`, is over."""
        left = math.inf if job.timeout is None else max(0.0, job.timeout - (time.monotonic() - begun))
        ask = partial(self._shop.kept.outcome, lease, run, is_taken_up)
        try:
            with trio.fail_after(left):
                outcome = await self._guarded(run, lease, job.resources.memory, ask)
        except trio.TooSlowError:
            last = tail(Path(run.log), LAST_LINES)
            raise JobTimeout(f"took longer than its timeout of {job.timeout:g} seconds\n{last}".rstrip()) from None
        lease.actor.warm_model = run.model_key if outcome.has_model else ""
        return outcome

    async def _guarded(
        self, run: Run, lease: Lease, limit: int | None, outcome: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """Wait for `outcome`, and kill the actor if it is stopped, or holds over `limit` bytes with all it starts."""
        child, answers, failures = lease.actor.child, list[Outcome](), list[SandboxError]()

        async def ask() -> None:
            try:
                answers.append(await outcome())
            except SandboxError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()

        async def within_memory(limit: int) -> None:
            held = await until_over(child.pid, limit)
            last = tail(Path(run.log), LAST_LINES)
            give_up(MemoryExceeded(f"held {_mib(held)}, more than its limit of {_mib(limit)}\n{last}".rstrip()))

        async def not_stopped() -> None:
            await until_stopped(child.pid)
            give_up(WorkerLost(f"worker {lease.actor.name} (pid {child.pid}) was stopped (SIGSTOP), and so was ended"))

        def give_up(error: SandboxError) -> None:
            failures.append(error)
            child.signal(signal.SIGKILL)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(not_stopped)
            if limit is not None:
                nursery.start_soon(within_memory, limit)
        for failure in failures:
            raise failure
        return answers[0]

    # --- after ---

    async def _watch(self, start: StartJob, recorded: Recorded) -> None:
        """Tell the watcher once what the result says, also where the daemon before has told it and got no further."""
        if recorded.watched is not None:
            await self._shop.watcher.watch_points(
                self._id,
                points_of(recorded.told(start.job.output), start.job.meta_name),
                pipeline=start.pipeline,
                job=start.job.meta_name,
                iter=start.iter,
                run=self._name(start),
                source="result",
                position=1,
            )
