"""Which jobs can give what a dotted name asks for, as far as the experiment itself tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox_actors.errors import ContextError, did_you_mean
from sandbox_actors.experiment.hook_specs import HOOKS
from sandbox_actors.experiment.job_configs import CONFIGS
from sandbox_actors.experiment.model import Experiment, Job
from sandbox_actors.experiment.written_paths import WrittenPaths, strings_in

LAST = "-1"
_DEFAULT_OUTPUT = re.compile(r"res_\d+")


@dataclass(frozen=True)
class NumberedJob:
    """`index` counts the jobs of one iteration from 0, in the order in which they run."""

    index: int
    pipeline: str
    list: str
    job: Job


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `providers` are the indices of jobs that may give it.

    `is_carried`: none of them comes before the asking job, so that the value is that of the iteration before; in the
    first iteration there is none, and the asking config keeps what it has.
    """

    providers: frozenset[int]
    is_carried: bool


def number_jobs(experiment: Experiment) -> tuple[NumberedJob, ...]:
    each = ((pipeline.name, *entry) for pipeline in experiment.pipelines for entry in pipeline.jobs())
    return tuple(NumberedJob(index, *entry) for index, entry in enumerate(each))


class Names:
    """The outputs of all jobs of an experiment, by name."""

    def __init__(self, experiment: Experiment) -> None:
        self.jobs = number_jobs(experiment)
        self._order = [pipeline.name for pipeline in experiment.pipelines]
        self._named: dict[str, dict[str, list[NumberedJob]]] = {name: {} for name in self._order}
        for each in self.jobs:
            self._named[each.pipeline].setdefault(each.job.meta_name, []).append(each)

    def origin(self, name: str, asking: int) -> Origin:
        """Who gives `name` (of three parts or more, or `-1.output`) to job `asking`. Raises ContextError if nobody."""
        first, _, rest = name.partition(".")
        return self._origin_of_last(rest, asking) if first == LAST else self._origin_of_named(name, asking)

    def is_carried(self, name: str, asking: int) -> bool:
        """`origin(name, asking).is_carried`, without looking for more than one who gives it."""
        first, _, rest = name.partition(".")
        output = rest.partition(".")[0]
        if first == LAST and any(_can_give(each.job, output) for each in self._back_from(asking)):
            return False
        return self.origin(name, asking).is_carried

    def jobs_named(self, pipeline: str, meta_name: str) -> list[NumberedJob]:
        """Every job of that name. Raises ContextError, with the nearest name there is."""
        if pipeline not in self._named:
            raise ContextError(f"there is no pipeline {pipeline!r}{did_you_mean(pipeline, self._named)}")
        jobs = self._named[pipeline].get(meta_name)
        if not jobs:
            known = did_you_mean(meta_name, self._named[pipeline])
            raise ContextError(f"pipeline {pipeline!r} has no job {meta_name!r}{known}")
        return jobs

    def _origin_of_named(self, name: str, asking: int) -> Origin:
        pipeline, meta_name, output, *_ = (*name.split("."), "", "")
        jobs = self.jobs_named(pipeline, meta_name)
        providers = [each.index for each in jobs if output and _can_give(each.job, output)]
        if not providers:
            known = [given for each in jobs for given in each.job.output or ("res_0",)]
            wanted = (
                f"no output {output!r}" if output else "more than one thing; write also which output of it is meant"
            )
            raise ContextError(f"job {pipeline}.{meta_name} has {wanted}{did_you_mean(output, known)}")
        earlier = frozenset(index for index in providers if index < asking)
        return Origin(earlier or frozenset(providers), not earlier)

    def _origin_of_last(self, rest: str, asking: int) -> Origin:
        output = rest.partition(".")[0]
        if not output:
            raise ContextError(f"write which output of the last job is meant: {LAST}.<output>")
        before = list(self._back_from(asking))
        able = frozenset(each.index for each in before if _can_give(each.job, output))
        if able:
            return Origin(able, is_carried=False)
        if before and _is_sure_to_give(before[-1].job):
            last, given = before[-1], before[-1].job.output or ("res_0",)
            whose = f"{last.pipeline}.{last.job.meta_name}"
            raise ContextError(f"the job before, {whose}, gives no {output!r}{did_you_mean(output, given)}")
        able = frozenset(each.index for each in self._back_from(len(self.jobs)) if _can_give(each.job, output))
        if not able:
            known = [name for each in self.jobs[:asking] for name in each.job.output or ()]
            raise ContextError(f"no job before this one gives {output!r}{did_you_mean(output, known)}")
        return Origin(able, is_carried=True)

    def _back_from(self, asking: int) -> Iterator[NumberedJob]:
        """Those before job `asking` that could be the last one that gave anything, the last one first."""
        for index in range(asking - 1, -1, -1):
            yield self.jobs[index]
            if _is_sure_to_give(self.jobs[index].job):
                return


def pipeline_needs(experiment: Experiment) -> list[frozenset[int]]:
    """For each pipeline, those before it that have to be done first, by position.

    Each needs all of them, unless `parallel`: then only those whose outputs its jobs ask for, or whose files its
    configs name.
    """
    count = len(experiment.pipelines)
    if not experiment.parallel:
        return [frozenset(range(position)) for position in range(count)]
    by_outputs, by_files = _needs_by_outputs(experiment), _needs_by_files(experiment)
    return [frozenset(by_outputs[position] | by_files[position]) for position in range(count)]


def _needs_by_outputs(experiment: Experiment) -> list[set[int]]:
    names = Names(experiment)
    order = {pipeline.name: position for position, pipeline in enumerate(experiment.pipelines)}
    needs: list[set[int]] = [set() for _ in order]
    for each in names.jobs:
        own = order[each.pipeline]
        for name in each.job.input.values():
            try:
                origin = names.origin(name, each.index)
            except ContextError:
                continue
            others = {order[names.jobs[index].pipeline] for index in origin.providers} - {own}
            if name.startswith(LAST) and others:
                others = set(range(own))
            needs[own] |= {other for other in others if other < own}
    return needs


def _needs_by_files(experiment: Experiment) -> list[set[int]]:
    written: list[WrittenPaths] = []
    needs: list[set[int]] = []
    for pipeline in experiment.pipelines:
        named = set(_strings_of(pipeline_jobs := [job for _, job in pipeline.jobs()]))
        needs.append(
            {
                position
                for position, other in enumerate(written)
                if any(other.makes(path) or other.exports(path) for path in named)
            }
        )
        own = WrittenPaths()
        for job in pipeline_jobs:
            for config in (job.dj_configs, job.extra_configs, job.local):
                own.add(config)
        written.append(own)
    return needs


def _strings_of(jobs: list[Job]) -> Iterator[str]:
    for job in jobs:
        for config in (*(getattr(job, name) for name in CONFIGS), job.local):
            yield from strings_in(config)


def _can_give(job: Job, output: str) -> bool:
    return output in job.output if job.output is not None else _DEFAULT_OUTPUT.fullmatch(output) is not None


def _is_sure_to_give(job: Job) -> bool:
    hook = HOOKS.get(job.hook)
    return job.output is not None or (hook is not None and hook.always_gives)
