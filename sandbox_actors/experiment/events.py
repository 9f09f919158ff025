"""The messages of `plan.py`: the history that it starts from, events that it handles, and commands that it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from sandbox_actors.experiment.context_infos import JobInfos
from sandbox_actors.experiment.job_configs import job_configs
from sandbox_actors.experiment.model import Config, Job, JobList
from sandbox_actors.experiment.targets import TargetResult

# --- history -----------------------------------------------------------------------------------------------------


class PastSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has succeeded before, and its entry in `context_infos`."""

    iter: int
    index: int
    infos: JobInfos


class PastAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was started before and has not succeeded.

    `attempt` is the one that was running, or the next one. With an `error`, the job has failed for good.
    """

    iter: int
    index: int
    attempt: int
    error: str = ""


# --- events ------------------------------------------------------------------------------------------------------


class JobSucceeded(msgspec.Struct, frozen=True, kw_only=True):
    """`values`: the elements of the tuple that the job returned if `is_tuple`, else the one value it returned."""

    iter: int
    index: int
    values: list[Any]
    is_tuple: bool = False


class JobFailed(msgspec.Struct, frozen=True, kw_only=True):
    """`is_final`: another attempt would fail too, so that `retries` does not apply."""

    iter: int
    index: int
    attempt: int
    error: str
    is_final: bool = False


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Running jobs are to be stopped; each of them still ends with an event of its own."""


Event: TypeAlias = JobSucceeded | JobFailed | CancelRequested


# --- commands ----------------------------------------------------------------------------------------------------

Ending: TypeAlias = Literal["succeeded", "failed", "cancelled"]


class BeginIteration(msgspec.Struct, frozen=True, kw_only=True):
    iter: int


class StartJob(msgspec.Struct, frozen=True, kw_only=True):
    """Start a job with these configs. After the first `attempt`, the coordinator waits for a while first.

    A config that is text is the path of a file that an earlier job has written, and `settings` are what is to be set
    in it: use `with_files_read()`.
    """

    iter: int
    index: int
    attempt: int
    pipeline: str
    list: JobList
    job: Job
    dj_configs: Config
    extra_configs: Config
    settings: dict[str, Any] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that `with_files_read` reads."""
        if not isinstance(self.dj_configs, str) and not isinstance(self.extra_configs, str):
            return ()
        configs = job_configs(self.job, self.settings.items()).values()
        return tuple(str(config.value) for config in configs if config.is_path)

    def with_files_read(self, read: Callable[[str], dict[str, Any]]) -> StartJob:
        """The same with each path replaced by what `read` returns for it, and the settings applied.

        Raises what `read` raises, and ContextError.
        """
        if not isinstance(self.dj_configs, str) and not isinstance(self.extra_configs, str):
            return self
        configs = job_configs(self.job, self.settings.items())
        for config in configs.values():
            config.read(read)
        built = {name: config.build(self.iter) for name, config in configs.items()}
        return msgspec.structs.replace(self, **built, settings={})


class RecordSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """The job has succeeded; `infos` is its entry in `context_infos`. Durable before any later command is done."""

    iter: int
    index: int
    pipeline: str
    infos: JobInfos


class RecordFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt has failed. `is_final`: there is no other. `attempt` 0: the job's configs could not be built."""

    iter: int
    index: int
    attempt: int
    error: str
    is_final: bool


class StopJob(msgspec.Struct, frozen=True, kw_only=True):
    """May be repeated for a job that is stopping."""

    iter: int
    index: int


class EndIteration(msgspec.Struct, frozen=True, kw_only=True):
    """Every job of the iteration has succeeded. `is_reached`: there are targets, and enough of them hold."""

    iter: int
    targets: list[TargetResult]
    is_reached: bool


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    state: Ending
    error: str = ""


Command: TypeAlias = BeginIteration | StartJob | RecordSuccess | RecordFailure | StopJob | EndIteration | Finish
