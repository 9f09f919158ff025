"""`context_infos`: what the jobs of one iteration gave, and where a later job finds it.

The form is the seed's, on two levels: `{pipeline: [{"meta_name": ..., output: value, ...}, ...]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox_actors.dotted import find
from sandbox_actors.errors import ContextError

META_NAME = "meta_name"

JobInfos = dict[str, Any]


class ContextInfos:
    """One iteration's infos. `pipelines` fixes their order; a pipeline appears once one of its jobs is recorded."""

    def __init__(self, iter: int, pipelines: Iterable[str] = ()) -> None:
        self.iter = iter
        self._jobs: dict[str, list[JobInfos]] = {name: [] for name in pipelines}

    def record(self, pipeline: str, infos: JobInfos) -> None:
        """`infos` holds the job's `meta_name`, and its outputs by name."""
        self._jobs.setdefault(pipeline, []).append(infos)

    def look_up(self, name: str) -> Any:
        """The value of `pipeline.meta_name.output[.key...]`, by the newest job of that name that has the output.

        Raises ContextError, also for a name that is only `pipeline.meta_name`.
        """
        pipeline, _, rest = name.partition(".")
        meta_name, _, output = rest.partition(".")
        keys = output.split(".")
        jobs = [infos for infos in self._jobs.get(pipeline, ()) if infos[META_NAME] == meta_name]
        if not jobs:
            raise ContextError(f"{name}: no job {meta_name!r} of pipeline {pipeline!r} has succeeded so far")
        if not output:
            raise ContextError(f"{name}: names a job; write also which of its outputs: {_outputs(jobs[-1])}")
        for infos in reversed(jobs):
            if keys[0] in infos:
                return _below(infos, keys, name)
        raise ContextError(f"{name}: job {meta_name!r} gave no {keys[0]!r}; it gave {_outputs(jobs[-1])}")

    def look_up_last(self, name: str, pipeline: str | None = None) -> Any:
        """The value of `-1.output[.key...]` for a job of `pipeline`: what the last job that gave anything gave.

        The last of `pipeline`, and if none of its jobs gave anything, of the pipelines before it; of all without
        `pipeline`. Raises ContextError; NothingGiven, which is one, when no job there has given anything.
        """
        keys = name.split(".")[1:]
        order = list(self._jobs)
        for each in reversed(order if pipeline is None else order[: order.index(pipeline) + 1]):
            for infos in reversed(self._jobs[each]):
                if len(infos) > 1:
                    if not keys or keys[0] not in infos:
                        job = f"{each}.{infos[META_NAME]}"
                        raise ContextError(f"{name}: the last job that gave anything, {job}, gave {_outputs(infos)}")
                    return _below(infos, keys, name)
        raise NothingGiven(f"{name}: no job before this one gave anything")

    def to_dict(self) -> dict[str, list[JobInfos]]:
        return {pipeline: list(jobs) for pipeline, jobs in self._jobs.items() if jobs}

    @classmethod
    def from_dict(cls, iter: int, infos: Mapping[str, Sequence[JobInfos]]) -> ContextInfos:
        context = cls(iter, infos)
        for pipeline, jobs in infos.items():
            for each in jobs:
                context.record(pipeline, each)
        return context


class NothingGiven(ContextError):
    """`-1` was looked up where no job has given anything yet."""


def iterations_to_list(iterations: Iterable[ContextInfos]) -> list[dict[str, Any]]:
    """What `context_infos.json` holds: `[{"iter": 1, "context_infos": {...}}, ...]`."""
    return [{"iter": each.iter, "context_infos": each.to_dict()} for each in iterations]


def iterations_from_list(document: Iterable[Mapping[str, Any]]) -> list[ContextInfos]:
    """Reads back what `iterations_to_list` made. Raises ContextError for anything else."""
    try:
        return [ContextInfos.from_dict(each["iter"], each["context_infos"]) for each in document]
    except (TypeError, KeyError, AttributeError) as error:
        raise ContextError(f"not the context_infos of an experiment: {error!r}") from error


def name_outputs(meta_name: str, names: Sequence[str] | None, values: list[Any], is_tuple: bool) -> JobInfos:
    """A job's entry in `context_infos`: what it returned, under the names of its `output` or `res_0`, `res_1`, ...

    `values` are the elements of a returned tuple if `is_tuple`, else the one value returned; a list of one element
    is unpacked then. None returned by a job without `output` is nothing. Raises ContextError if the count differs.
    """
    if not is_tuple:
        if values == [None] and names is None:
            return {META_NAME: meta_name}
        only = values[0]
        values = only if isinstance(only, list) and len(only) == 1 else [only]
    if names is None:
        names = [f"res_{index}" for index in range(len(values))]
    if len(names) != len(values):
        raise ContextError(f"returned {_count(len(values))}, but `output` names {len(names)}: {', '.join(names)}")
    return {META_NAME: meta_name, **dict(zip(names, values, strict=True))}


def _below(infos: JobInfos, keys: list[str], name: str) -> Any:
    try:
        return find(infos[keys[0]], keys[1:])
    except ContextError as error:
        raise ContextError(f"{name}: {error}") from None


def _outputs(infos: JobInfos) -> str:
    return ", ".join(key for key in infos if key != META_NAME) or "nothing"


def _count(number: int) -> str:
    return "1 output" if number == 1 else f"{number} outputs"
