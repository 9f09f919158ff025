"""An experiment as it is run: the contents of every file it names are in it, and every default is filled in.

`freeze` and `thaw` convert it for the wire and the store: files that change after submission change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from sandbox_actors.errors import ConfigError, Problem

JobList: TypeAlias = Literal["probe_jobs", "refine_recipe_jobs", "execution_jobs", "evaluation_jobs"]
JOB_LISTS: tuple[JobList, ...] = get_args(JobList)
"""In the order in which they run. In a file, `probe_job_configs` for `probe_jobs`, and so on."""

ConfigName: TypeAlias = Literal["dj_configs", "extra_configs"]
CONFIG_NAMES: tuple[ConfigName, ...] = get_args(ConfigName)

Config: TypeAlias = dict[str, Any] | str | None
"""A mapping. As text: the path of a file that is read when the job starts, because an earlier job writes it, or a
placeholder that `input` or `local` replaces."""

TargetsMode: TypeAlias = Literal["all", "any"]
"""How many of the `iter_targets` must hold."""

ANONYMOUS = "anonymous"
"""The pipeline of a file that has no `pipelines`."""

ANONYMOUS_JOB = "anonymous_meta_name"
"""The meta_name of jobs that have none."""

FORMAT = 1
"""Of a frozen experiment. `thaw` accepts this one only."""

LONGEST_NAME = 200

Name: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)]
Place: TypeAlias = Annotated[str, Meta(max_length=1_000)]
"""Names and paths are in every list and message, and paths of files below a work_dir have to fit into 4,096 bytes."""

JobKey: TypeAlias = tuple[int, int]
"""Iteration and index of a job."""


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job needs for itself. `memory` in bytes; None: no limit."""

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job. Names need not be unique: a name means the newest job of that name that has the output.

    `output` None: `res_0`, `res_1`, ... for as many values as it returns. `keep_alive` and `timeout` in seconds, None
    for the default; a `keep_alive` below 0 is forever.
    """

    hook: Name
    meta_name: Name = ANONYMOUS_JOB
    dj_configs: Config = None
    extra_configs: Config = None
    input: dict[str, str] = {}
    output: list[Name] | None = None
    local: dict[str, Any] = {}
    env: Place | None = None
    resources: Resources = Resources()
    keep_alive: float | None = None
    timeout: float | None = None
    retries: int = 0
    component_path: Place | None = None


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: Name
    probe_jobs: list[Job] = []
    refine_recipe_jobs: list[Job] = []
    execution_jobs: list[Job] = []
    evaluation_jobs: list[Job] = []

    def jobs(self) -> Iterator[tuple[JobList, Job]]:
        """Each job with the name of its list, in the order in which they run."""
        for list_name in JOB_LISTS:
            for job in getattr(self, list_name):
                yield list_name, job


class Experiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`max_iter_num` 0: until the targets hold. `envs`: by name, a spec or the name of one."""

    project_name: Name
    experiment_name: Name
    work_dir: Place
    resume: bool = False
    debug: bool = False
    hpo_config: dict[str, Any] | None = None
    max_iter_num: int = 1
    iter_targets: list[str] = []
    iter_targets_mode: TargetsMode = "all"
    iter_updater: dict[str, str] = {}
    envs: dict[str, Any] = {}
    parallel: bool = False
    pipelines: list[Pipeline] = []


@dataclass(frozen=True)
class NumberedJob:
    """`index` counts the jobs of one iteration from 0, in the order in which they run."""

    index: int
    pipeline: str
    list: JobList
    job: Job


def number_jobs(experiment: Experiment) -> tuple[NumberedJob, ...]:
    each = ((pipeline.name, *entry) for pipeline in experiment.pipelines for entry in pipeline.jobs())
    return tuple(NumberedJob(index, *entry) for index, entry in enumerate(each))


def freeze(experiment: Experiment) -> dict[str, Any]:
    """The experiment as values that JSON can represent: the `definition` of a submission."""
    return {"format": FORMAT, "experiment": msgspec.to_builtins(experiment)}


def thaw(definition: Any) -> Experiment:
    """The experiment that `freeze` converted. Raises ConfigError for anything else."""
    try:
        if definition["format"] != FORMAT:
            raise ValueError(f"has format {definition['format']!r}; this version reads {FORMAT}")
        return msgspec.convert(definition["experiment"], Experiment)
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise ConfigError([Problem("<definition>", "", f"not a frozen experiment: {error}")]) from error
