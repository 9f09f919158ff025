"""`--set KEY=VALUE`: any key of an experiment file, set before anything in the file is checked.

`refined.train_model.extra_configs.max_steps=50` says pipeline, job and the key in it; `max_iter_num=3` a key of the
experiment. Files that hold the key are read in place; VALUE is spelt as in YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from sandbox_actors.errors import ContextError, Problem, did_you_mean
from sandbox_actors.experiment.model import ANONYMOUS_JOB
from sandbox_actors.experiment_file.document import parse_value
from sandbox_actors.experiment_file.reader import Path
from sandbox_actors.experiment_file.schema import FILE_LISTS, ExperimentPart
from sandbox_actors.experiment_file.source import Source

_TOP_KEYS = [field.name for field in msgspec.structs.fields(ExperimentPart)]


def apply_overrides(source: Source, overrides: Iterable[str]) -> None:
    """Sets each in its order. One that names nothing, or has no value, is an error of the source."""
    for override in overrides:
        key, equals, text = override.partition("=")
        try:
            if not equals or not key:
                raise ContextError("write KEY=VALUE")
            value = parse_value(text)
            for place, keys in _places(source, key):
                source.assign(place, keys, value, key)
        except (ContextError, ValueError) as error:
            source.errors.append(Problem("--set", key, str(error)))


def _places(source: Source, key: str) -> Iterable[tuple[Path, list[str]]]:
    """Where `key` points: part of the document, and the keys below it. Several jobs of one name are all meant."""
    pipelines = {name: path for path, name, _ in source.pipelines()}
    keys = key.split(".")
    if keys[0] == "pipelines" and len(keys) > 1 and keys[1] in pipelines:
        keys = keys[1:]
    if keys[0] in pipelines:
        return _places_in_pipeline(source, pipelines[keys[0]], keys)
    if keys[0] in _TOP_KEYS:
        return [((), keys)]
    raise ContextError(f"there is no pipeline and no key {keys[0]!r}{did_you_mean(keys[0], [*pipelines, *_TOP_KEYS])}")


def _places_in_pipeline(source: Source, path: Path, keys: list[str]) -> list[tuple[Path, list[str]]]:
    name, *rest = keys
    if rest and rest[0] in FILE_LISTS.values():
        return [(path, rest)]
    jobs = {place: _meta_name(job) for place, pipeline, job in source.jobs() if pipeline == name}
    if len(rest) < 2:
        raise ContextError(f"write also the job and the key that is meant: {name}.<meta_name>.<key>")
    places = [(place, rest[1:]) for place, meta_name in jobs.items() if meta_name == rest[0]]
    if not places:
        raise ContextError(f"pipeline {name!r} has no job {rest[0]!r}{did_you_mean(rest[0], jobs.values())}")
    return places


def _meta_name(job: Any) -> str:
    name = job.get("meta_name") if isinstance(job, dict) else None
    return name if isinstance(name, str) and name else ANONYMOUS_JOB
