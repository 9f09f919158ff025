"""`context_infos`: the outputs of the jobs of one iteration, and how a later job finds them.

The form is that of Data-Juicer Sandbox, in two levels: `{pipeline: [{"meta_name": ..., output: value, ...}, ...]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox_actors.dotted import find
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.output_name import OutputName, parse_output_name

META_NAME = "meta_name"

JobInfos = dict[str, Any]
"""A job's `meta_name`, and its outputs by name."""


class ContextInfos:
    """One iteration's infos. `pipelines` fixes their order; a pipeline appears once one of its jobs is recorded."""

    def __init__(self, iter: int, pipelines: Iterable[str] = ()) -> None:
        self.iter = iter
        self._jobs: dict[str, list[JobInfos]] = {name: [] for name in pipelines}

    def record(self, pipeline: str, infos: JobInfos) -> None:
        self._jobs.setdefault(pipeline, []).append(infos)

    def look_up(self, text: str) -> Any:
        """The value of `pipeline.meta_name.output[.key...]`, by the newest job of that name that has the output.

        Raises ContextError, also for a name that is only `pipeline.meta_name`.
        """
        name = parse_output_name(text)
        jobs = [infos for infos in self._jobs.get(name.pipeline, ()) if infos[META_NAME] == name.meta_name]
        if not jobs:
            raise ContextError(f"{text}: no job {name.meta_name!r} of pipeline {name.pipeline!r} has succeeded yet")
        if not name.output:
            raise ContextError(f"{text}: this names a job; add which of its outputs is meant: {_outputs(jobs[-1])}")
        for infos in reversed(jobs):
            if name.output in infos:
                return _find_in(infos, name)
        raise ContextError(f"{text}: job {name.meta_name!r} has no output {name.output!r}, only {_outputs(jobs[-1])}")

    def look_up_last(self, text: str, pipeline: str | None = None) -> Any:
        """The value of `-1.output[.key...]` for a job of `pipeline`: the output of the last job that has any output.

        This is the last such job of `pipeline`; if there is none, of the pipelines before it; without `pipeline`, of
        all. Raises ContextError, and its subclass NoOutputYet if no job there has any output.
        """
        name = parse_output_name(text)
        order = list(self._jobs)
        for each in reversed(order if pipeline is None else order[: order.index(pipeline) + 1]):
            for infos in reversed(self._jobs[each]):
                if len(infos) > 1:
                    if name.output in infos:
                        return _find_in(infos, name)
                    job = f"{each}.{infos[META_NAME]}"
                    raise ContextError(f"{text}: the last job that has any output, {job}, has only {_outputs(infos)}")
        raise NoOutputYet(f"{text}: no job before this one has any output")

    def to_dict(self) -> dict[str, list[JobInfos]]:
        return {pipeline: list(jobs) for pipeline, jobs in self._jobs.items() if jobs}

    @classmethod
    def from_dict(cls, iter: int, infos: Mapping[str, Sequence[JobInfos]]) -> ContextInfos:
        context = cls(iter, infos)
        for pipeline, jobs in infos.items():
            for each in jobs:
                context.record(pipeline, each)
        return context


class NoOutputYet(ContextError):
    """`-1` was looked up before any job had an output."""


def iterations_to_list(iterations: Iterable[ContextInfos]) -> list[dict[str, Any]]:
    """The content of `context_infos.json`: `[{"iter": 1, "context_infos": {...}}, ...]`."""
    return [{"iter": each.iter, "context_infos": each.to_dict()} for each in iterations]


def name_outputs(meta_name: str, names: Sequence[str] | None, values: list[Any], is_tuple: bool) -> JobInfos:
    """A job's entry in `context_infos`: what it returned, under the names of its `output` or `res_0`, `res_1`, ...

    `values` are the elements of a returned tuple if `is_tuple`, else the one value returned. None returned by a job
    without `output` is no output. Raises ContextError if the number of values differs from that of the names.
    """
    if not is_tuple:
        if values == [None] and names is None:
            return {META_NAME: meta_name}
        only = values[0]
        # As in Data-Juicer Sandbox, a list of one element is that element. Longer lists stay one output.
        values = only if isinstance(only, list) and len(only) == 1 else [only]
    if names is None:
        names = [f"res_{index}" for index in range(len(values))]
    if len(names) != len(values):
        raise ContextError(f"returned {_count(len(values))}, but `output` names {len(names)}: {', '.join(names)}")
    return {META_NAME: meta_name, **dict(zip(names, values, strict=True))}


def _find_in(infos: JobInfos, name: OutputName) -> Any:
    try:
        return find(infos[name.output], name.keys)
    except ContextError as error:
        raise ContextError(f"{name.text}: {error}") from None


def _outputs(infos: JobInfos) -> str:
    return ", ".join(key for key in infos if key != META_NAME) or "nothing"


def _count(number: int) -> str:
    return "1 output" if number == 1 else f"{number} outputs"
