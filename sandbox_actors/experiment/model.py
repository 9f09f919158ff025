"""An experiment as it is run: every file it names read in, every default filled in.

`freeze` and `thaw` take it across the wire and into the store: files that change after submission change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment.hook_specs import JOB_LISTS

ANONYMOUS = "anonymous"
"""The pipeline of a file that has no `pipelines`."""

ANONYMOUS_JOB = "anonymous_meta_name"
"""The meta_name of jobs that have none."""

FORMAT = 1
"""Of a frozen experiment. `thaw` takes this one only."""


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job needs for itself; None: as much as there is. `memory` in bytes."""

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job. Names need not be unique: the newest job that has an output is the one that is meant.

    A config that is text is the path of a file that is read when the job starts, because an earlier job writes it,
    or a placeholder that `input` or `local` replaces. `output` None: `res_0`, ... as many as it returns.
    `keep_alive` and `timeout` in seconds, None: no wish; `keep_alive` below 0: for ever.
    """

    hook: str
    meta_name: str = ANONYMOUS_JOB
    dj_configs: dict[str, Any] | str | None = None
    extra_configs: dict[str, Any] | str | None = None
    input: dict[str, str] = {}
    output: list[str] | None = None
    local: dict[str, Any] = {}
    env: str | None = None
    resources: Resources = Resources()
    keep_alive: float | None = None
    timeout: float | None = None
    retries: int = 0
    component_path: str | None = None


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    probe_jobs: list[Job] = []
    refine_recipe_jobs: list[Job] = []
    execution_jobs: list[Job] = []
    evaluation_jobs: list[Job] = []

    def jobs(self) -> Iterator[tuple[str, Job]]:
        """Each job with the name of its list, in the order in which they run."""
        for list_name in JOB_LISTS:
            for job in getattr(self, list_name):
                yield list_name, job


class Experiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`max_iter_num` 0: until the targets hold. `envs`: specs by name, or the name of a spec."""

    project_name: str
    experiment_name: str
    work_dir: str
    resume: bool = False
    debug: bool = False
    hpo_config: dict[str, Any] | None = None
    max_iter_num: int = 1
    iter_targets: list[str] = []
    iter_targets_mode: str = "all"
    iter_updater: dict[str, str] = {}
    envs: dict[str, Any] = {}
    parallel: bool = False
    pipelines: list[Pipeline] = []


def freeze(experiment: Experiment) -> dict[str, Any]:
    """The experiment as values that JSON can hold: the `definition` of a submission."""
    return {"format": FORMAT, "experiment": msgspec.to_builtins(experiment)}


def thaw(definition: Any) -> Experiment:
    """The experiment that `freeze` made the definition of. Raises ConfigError for anything else."""
    try:
        if definition["format"] != FORMAT:
            raise ValueError(f"has format {definition['format']!r}; this version reads {FORMAT}")
        return msgspec.convert(definition["experiment"], Experiment)
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise ConfigError([Problem("<definition>", "", f"not a frozen experiment: {error}")]) from error
