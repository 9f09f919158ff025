"""Which jobs of an experiment an earlier one has done already: what `resume: true` takes over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from sandbox_actors.experiment.model import Experiment, Job, Resources
from sandbox_actors.experiment.references import NumberedJob, number_jobs, pipeline_needs

Place = tuple[int, int]
"""Iteration and index of a job."""


def carried_over(earlier: Experiment, done: Iterable[Place], now: Experiment) -> dict[Place, Place]:
    """The jobs of `now` that need not run, each with the place in `earlier` where it succeeded; `done` are such places.

    A job is taken where it is the same as there, and so is all that it may build on: the jobs before it in its
    pipeline, the pipelines that this one needs, and the iteration before, whole.
    """
    taken: dict[Place, Place] = {}
    were, are = _by_pipeline(earlier), _by_pipeline(now)
    succeeded = set(done)
    for iter in range(1, max((iter for iter, _ in succeeded), default=0) + 1):
        if iter == 2 and (earlier.iter_updater != now.iter_updater or list(were) != list(are)):
            break
        complete: set[int] = set()
        for position, needs in enumerate(pipeline_needs(now)):
            name = now.pipelines[position].name
            if needs <= complete:
                pairs = list(_same(were.get(name, []), are[name], earlier, now))
                found = list(_until_missing(pairs, iter, succeeded))
                taken.update(found)
                if len(found) == len(are[name]):
                    complete.add(position)
        if len(complete) < len(now.pipelines):
            break
    return taken


def _by_pipeline(experiment: Experiment) -> dict[str, list[NumberedJob]]:
    grouped: dict[str, list[NumberedJob]] = {pipeline.name: [] for pipeline in experiment.pipelines}
    for each in number_jobs(experiment):
        grouped[each.pipeline].append(each)
    return grouped


def _same(
    were: list[NumberedJob], are: list[NumberedJob], earlier: Experiment, now: Experiment
) -> Iterator[tuple[int, int]]:
    """The indices, then and now, of the jobs with which both pipelines begin."""
    for then, each in zip(were, are, strict=False):
        if (then.list, _essence(then.job, earlier)) != (each.list, _essence(each.job, now)):
            return
        yield then.index, each.index


def _essence(job: Job, experiment: Experiment) -> object:
    """What of a job makes its outputs what they are."""
    plain = msgspec.structs.replace(job, resources=Resources(), keep_alive=None, timeout=None, retries=0)
    return plain, experiment.envs.get(job.env or "")


def _until_missing(pairs: list[tuple[int, int]], iter: int, succeeded: set[Place]) -> Iterator[tuple[Place, Place]]:
    for then, now in pairs:
        if (iter, then) not in succeeded:
            return
        yield (iter, now), (iter, then)
