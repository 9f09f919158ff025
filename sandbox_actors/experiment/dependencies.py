"""Which pipelines have to be done before a pipeline starts."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.model import Config, Experiment, Pipeline
from sandbox_actors.experiment.output_name import parse_output_name
from sandbox_actors.experiment.references import References
from sandbox_actors.experiment.written_paths import WrittenPaths, find_strings


def find_dependencies(experiment: Experiment) -> list[frozenset[int]]:
    """For each pipeline, the positions of those before it that have to be done first.

    These are all of them, unless the experiment is `parallel`: then only those whose outputs its jobs refer to, or
    whose files its configs name.
    """
    if not experiment.parallel:
        return [frozenset(range(position)) for position in range(len(experiment.pipelines))]
    by_output, by_file = _dependencies_by_output(experiment), _dependencies_by_file(experiment)
    return [frozenset(outputs | files) for outputs, files in zip(by_output, by_file, strict=True)]


def _dependencies_by_output(experiment: Experiment) -> list[set[int]]:
    references = References(experiment)
    positions = {pipeline.name: position for position, pipeline in enumerate(experiment.pipelines)}
    dependencies: list[set[int]] = [set() for _ in positions]
    for each in references.jobs:
        own = positions[each.pipeline]
        for name in each.job.input.values():
            try:
                origin = references.resolve(name, each.index)
            except ContextError:
                continue  # the job fails when it starts, and says so then
            others = {positions[references.jobs[index].pipeline] for index in origin.providers} - {own}
            if others and parse_output_name(name).is_last:
                others = set(range(own))  # a pipeline without any output in between decides which job is the last
            dependencies[own] |= {other for other in others if other < own}
    return dependencies


def _dependencies_by_file(experiment: Experiment) -> list[set[int]]:
    dependencies: list[set[int]] = []
    written: list[WrittenPaths] = []
    for pipeline in experiment.pipelines:
        read = {path for config in _configs_of(pipeline) for path in find_strings(config)}
        dependencies.append(
            {
                position
                for position, earlier in enumerate(written)
                if any(earlier.is_written(path) or earlier.is_export_path(path) for path in read)
            }
        )
        own = WrittenPaths()
        for config in _configs_of(pipeline):
            own.add(config)
        written.append(own)
    return dependencies


def _configs_of(pipeline: Pipeline) -> Iterator[Config]:
    for _, job in pipeline.jobs():
        yield from (job.dj_configs, job.extra_configs, job.local)
