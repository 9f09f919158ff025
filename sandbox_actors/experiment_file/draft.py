"""The experiment that a document describes, as far as the document is right, and where each of its jobs is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec

from sandbox_actors.errors import Problem
from sandbox_actors.experiment.model import (
    ANONYMOUS_JOB,
    JOB_LISTS,
    LONGEST_NAME,
    Experiment,
    Job,
    JobList,
    Pipeline,
    Resources,
)
from sandbox_actors.experiment_file.key_path import KeyPath, remove_all
from sandbox_actors.experiment_file.quantities import parse_bytes, parse_duration, parse_keep_alive
from sandbox_actors.experiment_file.schema import LIST_KEYS, ExperimentPart, JobPart
from sandbox_actors.experiment_file.shape import Finding, find_mismatches
from sandbox_actors.experiment_file.source import Source
from sandbox_actors.protocol.texts import bounded_line

TEXT_LISTS = ("output", "iter_targets")
"""Keys that hold lists of texts."""

_Number = TypeVar("_Number", int, float)


@dataclass
class Draft:
    """`errors` and `warnings` so far. `job_paths`: of each job, in the order in which they run, its path in `source`.

    `has_all_jobs` is False if some jobs are so wrong that they are left out.
    """

    experiment: Experiment
    job_paths: list[KeyPath]
    has_all_jobs: bool
    source: Source
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, path: KeyPath, message: str) -> None:
        self.errors.append(self.source.problem(path, message))

    def warn(self, path: KeyPath, message: str) -> None:
        self.warnings.append(self.source.problem(path, message))


def draft_experiment(source: Source) -> Draft:
    """Uses what is right in the document. Whatever has the wrong shape is an error, and removed from the source."""
    mismatches = _find_mismatches(source)
    source.value = remove_all(source.value, [_removable(path) for path, _ in mismatches])
    builder = _Builder(source)
    pipelines = builder.pipelines()
    has_all_jobs = builder.has_all_jobs and not any(_leaves_out_jobs(path) for path, _ in mismatches)
    draft = Draft(builder.experiment(pipelines), builder.job_paths, has_all_jobs, source)
    draft.errors = [*source.errors, *(source.problem(*mismatch) for mismatch in mismatches), *builder.errors]
    draft.warnings = list(source.warnings)
    return draft


def _find_mismatches(source: Source) -> list[Finding]:
    if source.errors and source.value is None:
        return []
    crowded = list(_find_crowded_entries(source.value))
    reported = {path for path, _ in crowded}
    rest = find_mismatches(remove_all(source.value, reported), ExperimentPart)
    return crowded + [finding for finding in rest if finding[0] not in reported]


def _find_crowded_entries(value: Any) -> Iterator[Finding]:
    """Entries of `pipelines` with more keys than the pipeline's name: usually job lists that are not indented."""
    entries = value.get("pipelines") if isinstance(value, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and len(entry) != 1:
            keys = ", ".join(map(repr, entry)) or "none"
            yield ("pipelines", index), f"must have one key, the pipeline's name, with its job lists in it; has {keys}"


def _removable(path: KeyPath) -> KeyPath:
    """What has to be removed for the mismatch at `path`: of a list of texts the whole, which keeps no gaps."""
    is_in_texts = len(path) > 1 and isinstance(path[-1], int) and path[-2] in TEXT_LISTS
    return path[:-1] if is_in_texts else path


def _leaves_out_jobs(path: KeyPath) -> bool:
    """Whether jobs are missing without what is at `path`."""
    in_lists = [position for position, part in enumerate(path) if part in LIST_KEYS.values()]
    is_about_jobs = not path or path[0] == "pipelines" or bool(in_lists)
    # (..., list, index) is a whole job, and a shorter path contains some; a longer one is a key of a job.
    return is_about_jobs and (not in_lists or len(path) <= in_lists[0] + 2)


class _Builder:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.job_paths: list[KeyPath] = []
        self.errors: list[Problem] = []
        self.has_all_jobs = True

    def experiment(self, pipelines: list[Pipeline]) -> Experiment:
        value = self._source.value if isinstance(self._source.value, dict) else {}
        others = {key: each for key, each in value.items() if key != "pipelines" and key not in LIST_KEYS.values()}
        part = msgspec.convert(others, ExperimentPart)
        name = part.experiment_name or bounded_line(PurePath(self._source.file).stem, LONGEST_NAME)
        targets = [part.iter_targets] if isinstance(part.iter_targets, str) else part.iter_targets or []
        return Experiment(
            project_name=part.project_name or "sandbox",
            experiment_name=name,
            work_dir=part.work_dir or f"./outputs/{name.replace('/', '_')}",
            resume=bool(part.resume),
            debug=bool(part.debug),
            hpo_config=part.hpo_config if isinstance(part.hpo_config, dict) else None,
            max_iter_num=1 if part.max_iter_num is None else part.max_iter_num,
            iter_targets=targets,
            iter_targets_mode=part.iter_targets_mode or "all",
            iter_updater=part.iter_updater or {},
            envs=part.envs or {},
            parallel=bool(part.parallel),
            pipelines=pipelines,
        )

    def pipelines(self) -> list[Pipeline]:
        return [self._pipeline(path, name, lists or {}) for path, name, lists in self._source.pipelines()]

    def _pipeline(self, path: KeyPath, name: str, lists: dict[str, Any]) -> Pipeline:
        jobs: dict[JobList, list[Job]] = {list_name: [] for list_name in JOB_LISTS}
        for list_name, key in LIST_KEYS.items():
            for index, entry in enumerate(lists.get(key) or ()):
                if isinstance(entry, dict):
                    job_path = (*path, key, index)
                    self.job_paths.append(job_path)
                    jobs[list_name].append(self._job(job_path, entry))
                else:
                    self.has_all_jobs = False
        return Pipeline(name=name, **jobs)

    def _job(self, path: KeyPath, entry: dict[str, Any]) -> Job:
        part = msgspec.convert({"hook": "", **entry}, JobPart)
        resources = part.resources or Resources()
        return Job(
            hook=part.hook,
            meta_name=part.meta_name or ANONYMOUS_JOB,
            dj_configs=part.dj_configs or None,
            extra_configs=part.extra_configs or None,
            input=part.input or {},
            output=[part.output] if isinstance(part.output, str) and part.output else part.output or None,
            local=part.local or {},
            env=part.env or None,
            resources=Resources(
                cpus=resources.cpus,
                gpus=resources.gpus,
                memory=self._parse(parse_bytes, resources.memory, (*path, "resources", "memory")),
            ),
            keep_alive=self._parse(parse_keep_alive, part.keep_alive, (*path, "keep_alive")),
            timeout=self._parse(parse_duration, part.timeout, (*path, "timeout")),
            retries=part.retries or 0,
            component_path=part.component_path or None,
        )

    def _parse(
        self, parse: Callable[[float | str], _Number], value: float | str | None, path: KeyPath
    ) -> _Number | None:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            self.errors.append(self._source.problem(path, str(error)))
            return None
