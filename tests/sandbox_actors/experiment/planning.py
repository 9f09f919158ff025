"""Plans of small experiments, and events of their jobs, for the tests of the plan."""

from __future__ import annotations

from typing import Any

from sandbox_actors.experiment.events import Command, JobFailed, JobSucceeded, StartJob
from sandbox_actors.experiment.model import Experiment, Job, Pipeline
from sandbox_actors.experiment.plan import Plan


def job(name: str = "job", hook: str = "GeneralDataExecutorHook", **fields: Any) -> Job:
    return Job(hook=hook, meta_name=name, **fields)


def pipeline(*jobs: Job, name: str = "anonymous", **lists: list[Job]) -> Pipeline:
    return Pipeline(name=name, execution_jobs=list(jobs), **lists)


def experiment(*pipelines: Pipeline, **fields: Any) -> Experiment:
    return Experiment(project_name="p", experiment_name="e", work_dir="w", pipelines=list(pipelines), **fields)


def plan_of(*jobs: Job, **fields: Any) -> Plan:
    return Plan(experiment(pipeline(*jobs), **fields))


def started(commands: list[Command]) -> list[StartJob]:
    return [command for command in commands if isinstance(command, StartJob)]


def the_start(commands: list[Command]) -> StartJob:
    (start,) = started(commands)
    return start


def succeed(plan: Plan, index: int, *values: Any) -> list[Command]:
    """Job `index` returns one value, or a tuple of several."""
    is_tuple = len(values) != 1
    return plan.handle(JobSucceeded(iter=plan.iter, index=index, values=list(values), is_tuple=is_tuple))


def fail(plan: Plan, index: int, attempt: int = 1, is_final: bool = False) -> list[Command]:
    return plan.handle(JobFailed(iter=plan.iter, index=index, attempt=attempt, error="broke", is_final=is_final))
