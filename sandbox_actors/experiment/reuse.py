"""Which jobs of an experiment an earlier experiment has completed already: what `resume: true` reuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from sandbox_actors.experiment.dependencies import find_dependencies
from sandbox_actors.experiment.model import Experiment, Job, JobKey, NumberedJob, Resources, number_jobs


def find_reusable_jobs(earlier: Experiment, succeeded: Iterable[JobKey], now: Experiment) -> dict[JobKey, JobKey]:
    """The jobs of `now` that need not run, each with the job of `earlier` whose result it gets, one of `succeeded`.

    A job is reused if it is the same as in `earlier`, and so is everything that it may depend on: the jobs before it
    in its pipeline, the pipelines that its pipeline depends on, and the whole iteration before.
    """
    reused: dict[JobKey, JobKey] = {}
    earlier_jobs, jobs, done = _group_by_pipeline(earlier), _group_by_pipeline(now), set(succeeded)
    for iter in range(1, max((iter for iter, _ in done), default=0) + 1):
        # What iter_updater sets, and what `-1` means in the first job, may differ from the second iteration on.
        if iter == 2 and (earlier.iter_updater != now.iter_updater or list(earlier_jobs) != list(jobs)):
            break
        complete: set[int] = set()
        for position, dependencies in enumerate(find_dependencies(now)):
            name = now.pipelines[position].name
            if dependencies <= complete:
                pairs = _pair_same_jobs(earlier_jobs.get(name, []), jobs[name], earlier, now)
                found = {(iter, index): (iter, then) for then, index in _until_missing(pairs, iter, done)}
                reused.update(found)
                if len(found) == len(jobs[name]):
                    complete.add(position)
        if len(complete) < len(now.pipelines):
            break
    return reused


def _group_by_pipeline(experiment: Experiment) -> dict[str, list[NumberedJob]]:
    grouped: dict[str, list[NumberedJob]] = {pipeline.name: [] for pipeline in experiment.pipelines}
    for each in number_jobs(experiment):
        grouped[each.pipeline].append(each)
    return grouped


def _pair_same_jobs(
    earlier_jobs: list[NumberedJob], jobs: list[NumberedJob], earlier: Experiment, now: Experiment
) -> Iterator[tuple[int, int]]:
    """The indices, in `earlier` and `now`, of the jobs that a pipeline begins with in both."""
    for then, each in zip(earlier_jobs, jobs, strict=False):
        if (then.list, _identity(then.job, earlier)) != (each.list, _identity(each.job, now)):
            return
        yield then.index, each.index


def _identity(job: Job, experiment: Experiment) -> tuple[Job, object]:
    """What decides the outputs of a job: all of it but the settings that say how it is run, and the spec of its env."""
    plain = msgspec.structs.replace(job, resources=Resources(), keep_alive=None, timeout=None, retries=0)
    return plain, experiment.envs.get(job.env or "")


def _until_missing(pairs: Iterable[tuple[int, int]], iter: int, done: set[JobKey]) -> Iterator[tuple[int, int]]:
    for then, index in pairs:
        if (iter, then) not in done:
            return
        yield then, index
