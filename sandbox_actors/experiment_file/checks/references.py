"""Checks of everything that uses dotted names: `input`, `local`, `iter_targets`, `iter_updater`."""

from __future__ import annotations

from typing import TypeAlias

from sandbox_actors.dotted import find_or_none, put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import is_placeholder, split_key, split_updater_target
from sandbox_actors.experiment.model import ConfigName, NumberedJob
from sandbox_actors.experiment.output_name import LAST, parse_output_name
from sandbox_actors.experiment.references import Origin, References
from sandbox_actors.experiment.targets import parse_target
from sandbox_actors.experiment_file.checks.config_view import ConfigView, view_configs
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath

Views: TypeAlias = dict[ConfigName, ConfigView]


def check_references(draft: Draft) -> None:
    """Only if no job is left out: every reference to it would be reported as wrong."""
    references = References(draft.experiment)
    for each, job_path in zip(references.jobs, draft.job_paths, strict=True):
        views = view_configs(each.job, job_path)
        for key in each.job.local:
            _check_key(draft, (*job_path, "local", key), key, views)
        for key, name in each.job.input.items():
            path = (*job_path, "input", key)
            if _check_key(draft, path, key, views):
                _check_output(draft, path, references, each, name, views)
    _check_targets(draft, references)
    _check_updater(draft, references)


def _check_key(draft: Draft, path: KeyPath, key: str, views: Views) -> bool:
    """Whether `key` is one that can be set."""
    try:
        config, keys = split_key(key)
        if views[config].is_known:
            put(views[config].value, keys, None)
    except ContextError as error:
        draft.error(path, str(error))
        return False
    return True


def _check_output(
    draft: Draft, path: KeyPath, references: References, each: NumberedJob, name: str, views: Views
) -> None:
    """Whether a job provides the output, early enough."""
    try:
        origin = references.resolve(name, each.index)
    except ContextError as error:
        draft.error(path, f"{name}: {error}")
        return
    if not origin.is_previous_iteration:
        return
    key = str(path[-1])
    if draft.experiment.max_iter_num == 1:
        draft.error(path, f"{name}: {_explain_too_late(references, each, origin, name)}")
    elif not _has_initial_value(key, views):
        draft.error(path, f"{name}: is from the previous iteration, and in the first one {key} has no value of its own")


def _explain_too_late(references: References, each: NumberedJob, origin: Origin, name: str) -> str:
    if parse_output_name(name).is_last:
        return "no job before this one has any output"
    provider = references.jobs[min(origin.providers)]
    if provider.index == each.index:
        return "a job cannot use its own output"
    return f"job {provider.pipeline}.{provider.job.meta_name} runs after this one"


def _has_initial_value(key: str, views: Views) -> bool:
    config, keys = split_key(key)
    if not views[config].is_known:
        return True
    value = find_or_none(views[config].value, keys)
    return value is not None and not is_placeholder(value)


def _check_targets(draft: Draft, references: References) -> None:
    experiment = draft.experiment
    if experiment.max_iter_num == 0 and not experiment.iter_targets:
        draft.error(("max_iter_num",), "is 0, which means until `iter_targets` hold, and there are none")
    for index, text in enumerate(experiment.iter_targets):
        try:
            _require_output(references, parse_target(text).name)
        except (ValueError, ContextError) as error:
            draft.error(("iter_targets", index), str(error))


def _check_updater(draft: Draft, references: References) -> None:
    experiment = draft.experiment
    for name, target in experiment.iter_updater.items():
        try:
            _require_output(references, name)
            _require_setting(references, target)
        except ContextError as error:
            draft.error(("iter_updater", name), str(error))
    if experiment.iter_updater and experiment.max_iter_num == 1:
        draft.warn(("iter_updater",), "is never applied: there is one iteration; set `max_iter_num`")


def _require_output(references: References, name: str) -> None:
    if parse_output_name(name).is_last:
        raise ContextError(f"{name}: write <pipeline>.<meta_name>.<output>; {LAST} works in `input` only")
    try:
        references.resolve(name, len(references.jobs))
    except ContextError as error:
        raise ContextError(f"{name}: {error}") from None


def _require_setting(references: References, target: str) -> None:
    pipeline, meta_name, key = split_updater_target(target)
    for each in references.find_jobs(pipeline, meta_name):
        config, keys = split_key(key)
        if not keys:
            raise ContextError(f"{target}: add which key of {config} is to be set")
        view = view_configs(each.job, ())[config]
        if view.is_known:
            put(view.value, keys, None)
