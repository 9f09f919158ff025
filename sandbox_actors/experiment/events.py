"""What `plan.py` is told and what it answers: events in, commands out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from sandbox_actors.experiment.context_infos import JobInfos
from sandbox_actors.experiment.job_configs import job_configs
from sandbox_actors.experiment.model import Job
from sandbox_actors.experiment.targets import TargetResult


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """History: a job that succeeded in an earlier run, and its entry in `context_infos`."""

    iter: int
    index: int
    infos: JobInfos


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """History: a job that was begun and has not succeeded. `attempt` is the one under way, or the next one; with an
    `error`, it has failed and is not tried again."""

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
    """`is_final`: another attempt cannot go better, whatever `retries` says."""

    iter: int
    index: int
    attempt: int
    error: str
    is_final: bool = False


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Running jobs are stopped; each of them still ends with an event of its own."""


Event = JobSucceeded | JobFailed | CancelRequested


Ending: TypeAlias = Literal["succeeded", "failed", "cancelled"]


# --- commands ----------------------------------------------------------------------------------------------------


class BeginIteration(msgspec.Struct, frozen=True, kw_only=True):
    iter: int


class StartJob(msgspec.Struct, frozen=True, kw_only=True):
    """Start a job with these configs. An `attempt` after the first is a retry; how long to wait first is not said.

    A config that is text is the path of a file that an earlier job has written: `settle` before use.
    """

    iter: int
    index: int
    attempt: int
    pipeline: str
    list: str
    job: Job
    dj_configs: dict[str, Any] | str | None
    extra_configs: dict[str, Any] | str | None
    settings: dict[str, Any] = {}

    def settle(self, read: Callable[[str], dict[str, Any]]) -> StartJob:
        """The same with every path replaced by what `read` finds there, `input` and `local` put into it.

        Raises what `read` raises, and ContextError.
        """
        if not isinstance(self.dj_configs, str) and not isinstance(self.extra_configs, str):
            return self
        configs = job_configs(self.job, self.settings.items())
        for config in configs.values():
            config.read(read)
        finished = {name: config.finished(self.iter) for name, config in configs.items()}
        return msgspec.structs.replace(self, **finished, settings={})


class RecordSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """The job has succeeded; `infos` is its entry in `context_infos`. To be durable before anything that follows."""

    iter: int
    index: int
    pipeline: str
    infos: JobInfos


class RecordFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt has failed. `is_final`: there is no other. `attempt` 0: the job could not even be started."""

    iter: int
    index: int
    attempt: int
    error: str
    is_final: bool


class StopJob(msgspec.Struct, frozen=True, kw_only=True):
    iter: int
    index: int


class EndIteration(msgspec.Struct, frozen=True, kw_only=True):
    """Every job of the iteration has succeeded. `is_reached`: there are targets, and they hold as the mode asks."""

    iter: int
    targets: list[TargetResult]
    is_reached: bool


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    state: Ending
    error: str = ""


Command = BeginIteration | StartJob | RecordSuccess | RecordFailure | StopJob | EndIteration | Finish
