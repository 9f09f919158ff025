"""References from jobs to the outputs of other jobs: which jobs can provide one, as far as the experiment says.

A job without `output` has as many outputs as it returns values, so that it may provide any `res_<n>`, and `-1` may
mean it or skip it. Several jobs of one name may have the same output. Hence a reference has a set of providers, of
which the newest one is used when the job starts (`ContextInfos.look_up`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sandbox_actors.errors import ContextError, did_you_mean
from sandbox_actors.experiment.hook_specs import HOOK_SPECS
from sandbox_actors.experiment.model import Experiment, Job, NumberedJob, number_jobs
from sandbox_actors.experiment.output_name import LAST, OutputName, parse_output_name

_DEFAULT_OUTPUT = re.compile(r"res_\d+")


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `providers` are the indices of the jobs that may provide it.

    `is_previous_iteration`: none of them runs before the referring job, so that the value is that of the previous
    iteration; in the first iteration there is none, and the config keeps the value it has.
    """

    providers: frozenset[int]
    is_previous_iteration: bool


class References:
    """Resolves the references of one experiment. A job is given by its index."""

    def __init__(self, experiment: Experiment) -> None:
        self.jobs = number_jobs(experiment)
        self._by_name: dict[str, dict[str, list[NumberedJob]]] = {each.name: {} for each in experiment.pipelines}
        for each in self.jobs:
            self._by_name[each.pipeline].setdefault(each.job.meta_name, []).append(each)

    def resolve(self, text: str, job: int) -> Origin:
        """The origin of the output called `text`, for `job`. Raises ContextError if no job can provide it."""
        name = parse_output_name(text)
        return self._resolve_last(name.output, job) if name.is_last else self._resolve_named(name, job)

    def is_previous_iteration(self, text: str, job: int) -> bool:
        """`resolve(text, job).is_previous_iteration`, without a search for more than one provider: a plan asks this
        for every start, and a search through all earlier jobs would make long experiments quadratic."""
        name = parse_output_name(text)
        if name.is_last and any(_can_provide(each.job, name.output) for each in self._candidates_for_last(job)):
            return False
        return self.resolve(text, job).is_previous_iteration

    def find_jobs(self, pipeline: str, meta_name: str) -> list[NumberedJob]:
        """Every job of that name. Raises ContextError, with the nearest name that exists."""
        if pipeline not in self._by_name:
            raise ContextError(f"there is no pipeline {pipeline!r}{did_you_mean(pipeline, self._by_name)}")
        jobs = self._by_name[pipeline].get(meta_name)
        if not jobs:
            hint = did_you_mean(meta_name, self._by_name[pipeline])
            raise ContextError(f"pipeline {pipeline!r} has no job {meta_name!r}{hint}")
        return jobs

    def _resolve_named(self, name: OutputName, job: int) -> Origin:
        jobs = self.find_jobs(name.pipeline, name.meta_name)
        known = [output for each in jobs for output in _known_outputs(each.job)]
        if not name.output:
            hint = did_you_mean("", known)
            raise ContextError(f"job {name.pipeline}.{name.meta_name}: add which of its outputs is meant{hint}")
        providers = _providers(jobs, name.output)
        if not providers:
            hint = did_you_mean(name.output, known)
            raise ContextError(f"job {name.pipeline}.{name.meta_name} has no output {name.output!r}{hint}")
        earlier = frozenset(index for index in providers if index < job)
        return Origin(earlier or providers, not earlier)

    def _resolve_last(self, output: str, job: int) -> Origin:
        if not output:
            raise ContextError(f"add which output of the last job is meant: {LAST}.<output>")
        candidates = list(self._candidates_for_last(job))
        if providers := _providers(candidates, output):
            return Origin(providers, is_previous_iteration=False)
        if candidates and _has_certain_output(candidates[-1].job):
            last = candidates[-1]
            hint = did_you_mean(output, _known_outputs(last.job))
            raise ContextError(f"the job before, {last.pipeline}.{last.job.meta_name}, has no output {output!r}{hint}")
        if providers := _providers(self._candidates_for_last(len(self.jobs)), output):
            return Origin(providers, is_previous_iteration=True)
        known = [name for each in self.jobs[:job] for name in each.job.output or ()]
        raise ContextError(f"no job before this one has an output {output!r}{did_you_mean(output, known)}")

    def _candidates_for_last(self, job: int) -> Iterator[NumberedJob]:
        """The jobs before `job` that could be the last one with any output, the last one first."""
        for index in range(job - 1, -1, -1):
            yield self.jobs[index]
            if _has_certain_output(self.jobs[index].job):
                return


def _providers(jobs: Iterable[NumberedJob], output: str) -> frozenset[int]:
    return frozenset(each.index for each in jobs if _can_provide(each.job, output))


def _can_provide(job: Job, output: str) -> bool:
    return output in job.output if job.output is not None else _DEFAULT_OUTPUT.fullmatch(output) is not None


def _known_outputs(job: Job) -> list[str]:
    return job.output or ["res_0"]


def _has_certain_output(job: Job) -> bool:
    hook = HOOK_SPECS.get(job.hook)
    return job.output is not None or (hook is not None and hook.always_has_output)
