"""`--set KEY=VALUE`: any key of an experiment file, set before anything in the file is checked.

`refined.train_model.extra_configs.max_steps=50` names a pipeline, a job and a key in it; `max_iter_num=3` a key of the
experiment. If a key is in a file that the experiment names, the file is read first. VALUE is written as in YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from sandbox_actors.errors import ContextError, Problem, did_you_mean
from sandbox_actors.experiment.model import ANONYMOUS_JOB
from sandbox_actors.experiment_file.document import parse_value
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.experiment_file.schema import LIST_KEYS, ExperimentPart
from sandbox_actors.experiment_file.source import Source

_TOP_KEYS = [field.name for field in msgspec.structs.fields(ExperimentPart)]

_Place: TypeAlias = tuple[KeyPath, list[str]]
"""A part of the document, and the keys below it: these may be in another file, or not exist yet."""


def apply_overrides(source: Source, overrides: Iterable[str]) -> None:
    """Apply them in order. One that has no value, or whose key does not exist, is an error of the source."""
    for override in overrides:
        key, equals, text = override.partition("=")
        try:
            if not equals or not key:
                raise ContextError("write KEY=VALUE")
            value = parse_value(text)
            for path, keys in _find_places(source, key):
                source.assign(path, keys, value, key)
        except (ContextError, ValueError) as error:
            source.errors.append(Problem("--set", key, str(error)))


def _find_places(source: Source, key: str) -> list[_Place]:
    """Several, if there are several jobs of one name: all of them are meant."""
    pipelines = {name: path for path, name, _ in source.pipelines()}
    keys = key.split(".")
    if keys[0] == "pipelines" and len(keys) > 1 and keys[1] in pipelines:
        keys = keys[1:]
    if keys[0] in pipelines:
        return _find_places_in_pipeline(source, pipelines[keys[0]], keys)
    if keys[0] in _TOP_KEYS:
        return [((), keys)]
    raise ContextError(f"there is no pipeline and no key {keys[0]!r}{did_you_mean(keys[0], [*pipelines, *_TOP_KEYS])}")


def _find_places_in_pipeline(source: Source, path: KeyPath, keys: list[str]) -> list[_Place]:
    name, *rest = keys
    if rest and rest[0] in LIST_KEYS.values():
        return [(path, rest)]
    jobs = {path: _meta_name(job) for path, pipeline, job in source.jobs() if pipeline == name}
    if len(rest) < 2:
        raise ContextError(f"add the job and the key that are meant: {name}.<meta_name>.<key>")
    places = [(path, rest[1:]) for path, meta_name in jobs.items() if meta_name == rest[0]]
    if not places:
        raise ContextError(f"pipeline {name!r} has no job {rest[0]!r}{did_you_mean(rest[0], jobs.values())}")
    return places


def _meta_name(job: Any) -> str:
    name = job.get("meta_name") if isinstance(job, dict) else None
    return name if isinstance(name, str) and name else ANONYMOUS_JOB
