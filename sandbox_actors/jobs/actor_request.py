"""Which actor a call of a job needs: the component, its env, its code, and what it may use of the machine."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from components.factories import described
from envs.specs import EnvSpec, load_spec, spec_from
from sandbox_actors.actors.code_digest import read_code
from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.actors.environments import Environments, OnProgress, ReadyEnv
from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.model import Experiment, Job
from sandbox_actors.hooks.call import Call
from sandbox_actors.hooks.registry import component_folders
from sandbox_actors.protocol.rows import EnvRecord
from sandbox_actors.protocol.worker_requests import ComponentRef

KEEP_ALIVE = 1800.0
"""Seconds that an actor stays warm where its job sets no `keep_alive`."""

_threads = trio.CapacityLimiter(4)


class ActorRequests:
    """For the jobs of one experiment. `cpus` are those of the machine; relative paths are looked up from `cwd`."""

    def __init__(self, environments: Environments, cpus: int, experiment: Experiment, cwd: str) -> None:
        self._environments, self._cpus, self._experiment, self._cwd = environments, cpus, experiment, cwd
        self._specs: dict[str, EnvSpec] = {}

    async def ensure_env(self, job: Job, call: Call, on_progress: OnProgress) -> ReadyEnv:
        """The env that the call runs in, built if it is not there. Raises EnvError, ConfigError."""
        return await self._environments.ensure(self._spec(job, call), on_progress)

    async def find_env(self, job: Job, call: Call) -> ReadyEnv | None:
        """The env that the call runs in, if it is there. Raises EnvError, ConfigError."""
        return await self._environments.find(self._spec(job, call))

    async def env_record(self, job: Job, call: Call, env: ReadyEnv) -> EnvRecord:
        """What the env that the call runs in contains now. Raises EnvError, ConfigError."""
        return await self._environments.record(self._spec(job, call), env)

    def restore_env(self, env: ReadyEnv) -> ReadyEnv:
        """An env from the record of a run, with the variables of a process in it."""
        return self._environments.at(env)

    async def describe(self, job: Job, call: Call, env: ReadyEnv | None = None) -> Call:
        """The call with what a user's own class declares, as far as its source is found before it runs."""
        if not call.entry.is_own:
            return call
        sites = [] if env is None else sorted(env.prefix.glob("lib/python3*/site-packages"))
        folders = [*component_folders(job, self._cwd), *map(str, sites)]
        entry = await trio.to_thread.run_sync(described, call.entry, folders, limiter=_threads)
        return replace(call, entry=entry)

    async def needs(self, job: Job, call: Call, env: ReadyEnv, gpus: tuple[str, ...] | None) -> ActorNeeds:
        """What the call needs, with its code as it is now: an actor that was started before a change must not serve
        after it."""
        component = ComponentRef(
            target=call.entry.target, paths=component_folders(job, self._cwd), package=call.entry.package
        )
        own = [*component.paths, *filter(None, [component.package])]
        code = await trio.to_thread.run_sync(partial(read_code, env.python, own), limiter=_threads)
        return ActorNeeds(
            label=call.label,
            component=component,
            env=env,
            model_key=call.model_key,
            cpus=self.threads(job, call),
            keep_alive=_keep_alive(job),
            code=code,
            gpus=gpus,
        )

    def threads(self, job: Job, call: Call) -> int:
        """How many the call may use: what the job asks for in cpus, else half the machine, or one if it is light."""
        if job.resources.cpus is not None:
            return max(1, round(job.resources.cpus))
        return 1 if call.entry.is_light else max(1, self._cpus // 2)

    def _spec(self, job: Job, call: Call) -> EnvSpec:
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


def _keep_alive(job: Job) -> float:
    """Seconds; infinite for `forever`."""
    if job.keep_alive is None:
        return KEEP_ALIVE
    return math.inf if job.keep_alive < 0 else job.keep_alive
