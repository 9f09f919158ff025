"""Checks of everything that is said by dotted names: `input`, `local`, `iter_targets`, `iter_updater`."""

from __future__ import annotations

from sandbox_actors.dotted import find, put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import is_placeholder, split_key
from sandbox_actors.experiment.references import LAST, Names, NumberedJob, Origin
from sandbox_actors.experiment.targets import parse_target
from sandbox_actors.experiment_file.checks.config_view import ConfigView, view_configs
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.reader import Path


def check_names(draft: Draft) -> None:
    """Needs all jobs: a job that is left out would make every name that means it wrong."""
    names = Names(draft.experiment)
    for each, place in zip(names.jobs, draft.places, strict=True):
        views = view_configs(each.job, place)
        for key in each.job.local:
            _check_key(draft, (*place, "local", key), key, views)
        for key in each.job.input:
            path = (*place, "input", key)
            if _check_key(draft, path, key, views):
                _check_source(draft, path, names, each, views)
    _check_targets(draft, names)
    _check_updater(draft, names)


def _check_key(draft: Draft, path: Path, key: str, views: dict[str, ConfigView]) -> bool:
    """The left side: something that can be set."""
    try:
        config, keys = split_key(key)
        if views[config].is_known:
            put(views[config].value, keys, None)
    except ContextError as error:
        draft.error(path, str(error))
        return False
    return True


def _check_source(draft: Draft, path: Path, names: Names, each: NumberedJob, views: dict[str, ConfigView]) -> None:
    """The right side: something that a job gives, in time."""
    key = str(path[-1])
    name = each.job.input[key]
    try:
        origin = names.origin(name, each.index)
    except ContextError as error:
        draft.error(path, f"{name}: {error}")
        return
    if not origin.is_carried:
        return
    if draft.experiment.max_iter_num == 1:
        draft.error(path, f"{name}: {_too_late(names, each, origin, name)}")
    elif not _has_start(key, views):
        draft.error(
            path, f"{name}: comes from the iteration before, and in the first one {key} has no value of its own"
        )


def _too_late(names: Names, each: NumberedJob, origin: Origin, name: str) -> str:
    if name.startswith(f"{LAST}."):
        return "no job before this one gives anything"
    giver = names.jobs[min(origin.providers)]
    if giver.index == each.index:
        return "a job cannot ask for its own output"
    return f"job {giver.pipeline}.{giver.job.meta_name} runs after this one"


def _has_start(key: str, views: dict[str, ConfigView]) -> bool:
    config, keys = split_key(key)
    view = views[config]
    try:
        return not view.is_known or (not is_placeholder(value := find(view.value, keys)) and value is not None)
    except ContextError:
        return False


def _check_targets(draft: Draft, names: Names) -> None:
    experiment = draft.experiment
    if experiment.max_iter_num == 0 and not experiment.iter_targets:
        draft.error(("max_iter_num",), "is 0, which means until `iter_targets` hold, and there are none")
    for index, text in enumerate(experiment.iter_targets):
        path = ("iter_targets", index)
        try:
            _require_output(names, parse_target(text).name)
        except (ValueError, ContextError) as error:
            draft.error(path, str(error))


def _check_updater(draft: Draft, names: Names) -> None:
    experiment = draft.experiment
    for name, target in experiment.iter_updater.items():
        path = ("iter_updater", name)
        try:
            _require_output(names, name)
            _require_setting(names, target)
        except ContextError as error:
            draft.error(path, str(error))
    if experiment.iter_updater and experiment.max_iter_num == 1:
        draft.warn(("iter_updater",), "is never applied: there is one iteration; set `max_iter_num`")


def _require_output(names: Names, name: str) -> None:
    if name.startswith(f"{LAST}."):
        raise ContextError(f"{name}: write <pipeline>.<meta_name>.<output>; {LAST} means something in `input` only")
    try:
        names.origin(name, len(names.jobs))
    except ContextError as error:
        raise ContextError(f"{name}: {error}") from None


def _require_setting(names: Names, target: str) -> None:
    pipeline, _, rest = target.partition(".")
    meta_name, _, key = rest.partition(".")
    for each in names.jobs_named(pipeline, meta_name):
        config, keys = split_key(key)
        if not keys:
            raise ContextError(f"{target}: write also which key of {config} is to be set")
        view = view_configs(each.job, ())[config]
        if view.is_known:
            put(view.value, keys, None)
