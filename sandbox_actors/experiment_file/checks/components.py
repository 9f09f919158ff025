"""Checks of what jobs are made of: hooks, component types, the keys these need, envs, Data-Juicer's operators."""

from __future__ import annotations

import os
import re
from typing import Any

from sandbox_actors.errors import ConfigError, did_you_mean
from sandbox_actors.experiment.hook_specs import HookSpec
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.references import NumberedJob
from sandbox_actors.experiment_file.catalogue import Catalogue, KnownFactory, KnownType
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.reader import Path

_OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""A class of the user's: `package.module:Class`."""

SECRET = (
    "a secret in a file is seen by all who read it: put it into an environment variable where the daemon is started "
    "(see `api_key_env`)"
)


def check_component(
    draft: Draft, catalogue: Catalogue, each: NumberedJob, views: dict[str, ConfigView], place: Path
) -> list[tuple[ConfigView, KnownType]]:
    """Returns the types that the job's configs ask for, those that are known."""
    _check_env(draft, catalogue, each, place)
    _check_env_asked(draft, catalogue, views["extra_configs"])
    hook = catalogue.hooks.get(each.job.hook)
    if hook is None:
        if each.job.hook and not _OWN.fullmatch(each.job.hook):
            message = f"unknown hook {each.job.hook!r}{did_you_mean(each.job.hook, catalogue.hooks)}"
            draft.error((*place, "hook"), message)
        return []
    if each.list not in hook.lists:
        draft.warn((*place, "hook"), f"{hook.name} is made for {' and '.join(hook.lists)}, not for {each.list}")
    types = _check_types(draft, catalogue, hook, views)
    for view, known in types:
        has_own_env = each.job.env or (view.value or {}).get("env_name")
        if known.needs_gpu and not has_own_env and catalogue.machine is not None and not catalogue.machine.gpus:
            told = "needs a GPU, and this machine has none; a job that names an `env` of its own may do without"
            draft.error(view.path(["type"]), told)
    return types


def check_managers(draft: Draft, catalogue: Catalogue) -> None:
    """The env managers that the experiment's own envs ask for."""
    for name, spec in draft.experiment.envs.items() if catalogue.managers else ():
        manager = spec.get("manager") if isinstance(spec, dict) else None
        path = ("envs", name, "manager")
        if not isinstance(manager, str):
            continue
        if manager not in catalogue.managers:
            draft.error(path, f"there is no env manager {manager!r}{did_you_mean(manager, catalogue.managers)}")
        elif catalogue.managers[manager]:
            draft.error(path, f"{manager} cannot be used here: {catalogue.managers[manager]}")


def check_recipe(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    """The operators of a Data-Juicer recipe, their parameters, and what else it says."""
    _check_settings(draft, catalogue, view)
    process = view.value.get("process") if view.value else None
    if process is None or not catalogue.operators:
        return
    if not isinstance(process, list):
        draft.error(view.path(["process"]), "must be a list of operators")
        return
    tell = draft.warn if view.value.get("custom_operator_paths") else draft.error
    for index, entry in enumerate(process):
        if not view.is_replaced(["process", str(index)]):
            for keys, message in _operator_problems(entry, catalogue):
                tell(view.path(["process", index, *keys]), message)


def _check_settings(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    if catalogue.recipe is None or not view.value:
        return
    try:
        catalogue.recipe(view.value)
    except ConfigError as error:
        for problem in error.problems:
            keys = problem.path.split(".")
            if not view.is_replaced(keys[:1]):
                draft.error(view.path(keys), problem.message)


def _check_env(draft: Draft, catalogue: Catalogue, each: NumberedJob, place: Path) -> None:
    env, own = each.job.env, draft.experiment.envs
    if env and catalogue.envs is not None and env not in own and env not in catalogue.envs and not os.path.isfile(env):
        draft.error((*place, "env"), f"there is no env {env!r}{did_you_mean(env, [*own, *catalogue.envs])}")
    folder = each.job.component_path
    if folder and not os.path.isdir(os.path.expanduser(folder)):
        draft.error((*place, "component_path"), f"there is no folder {folder!r}")


def _check_env_asked(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    """The env that a config asks for by itself, as files of Data-Juicer Sandbox do."""
    name, manager = ((view.value or {}).get(key) for key in ("env_name", "env_manager"))
    if manager is None or not catalogue.managers or view.is_replaced(["env_manager"]):
        return
    if manager not in catalogue.managers:
        known = did_you_mean(str(manager), catalogue.managers)
        draft.error(view.path(["env_manager"]), f"there is no env manager {manager!r}{known}")
    elif not name:
        draft.error(view.path(["env_manager"]), "needs `env_name` beside it: what the env is called")
    elif name not in draft.experiment.envs and name not in (catalogue.envs or ()) and catalogue.managers[manager]:
        draft.warn(
            view.path(["env_manager"]),
            f"{manager} cannot be used here: {catalogue.managers[manager]}; `envs.{name}` in the file may say how else "
            f"to make it",
        )


def _check_types(
    draft: Draft, catalogue: Catalogue, hook: HookSpec, views: dict[str, ConfigView]
) -> list[tuple[ConfigView, KnownType]]:
    types: list[tuple[ConfigView, KnownType]] = []
    for factory_name, config in hook.factories:
        factory, view = catalogue.factories.get(factory_name), views[config]
        if factory is not None and view.is_known and not view.is_replaced(["type"]):
            known = _known_type(draft, factory_name, factory, view, hook)
            types += [(view, known)] if known is not None else []
    refiner = catalogue.refiners.get(hook.name)
    if refiner is not None and views["extra_configs"].is_known:
        types.append((views["extra_configs"], refiner))
    for view, known in types:
        for key in known.required:
            if not view.has(key.split(".")):
                draft.error(view.path(), f"{hook.name} needs {key!r} in {view.name}")
        _check_keys(draft, hook, view, known)
        for key, message in known.misfits(_written(view)):
            draft.error(view.path([key]), message)
        for keys in [key.split(".") for key in known.secrets]:
            if view.has(keys):
                draft.error(view.path(keys), SECRET)
    if hook.rewrites_recipe:
        _check_rewritten(draft, catalogue, hook, views["dj_configs"])
    return types


def _check_rewritten(draft: Draft, catalogue: Catalogue, hook: HookSpec, view: ConfigView) -> None:
    """What is no key of a recipe now is none of the recipe that it becomes."""
    executor = catalogue.factories.get("DataExecutorFactory")
    if executor is not None and executor.default_type is not None and executor.default_type in executor.entries:
        _check_keys(draft, hook, view, executor.entries[executor.default_type])


def _written(view: ConfigView) -> dict[str, Any]:
    """What is known of a config before anything runs: not what `input` brings, or brings into it."""
    values = (view.value or {}).items()
    return {key: value for key, value in values if not view.is_replaced([key]) and not is_placeholder(value)}


def _check_keys(draft: Draft, hook: HookSpec, view: ConfigView, known: KnownType) -> None:
    for key in [key for key in view.value or () if known.keys and key not in known.keys]:
        draft.error(view.path([key]), f"{hook.name} has no key {key!r}{did_you_mean(key, known.keys)}")


def _known_type(
    draft: Draft, factory_name: str, factory: KnownFactory, view: ConfigView, hook: HookSpec
) -> KnownType | None:
    wanted = (view.value or {}).get("type", factory.default_type)
    if wanted is None:
        draft.error(view.path(), f"{hook.name} needs 'type' in {view.name}{did_you_mean('', factory.entries)}")
    elif not isinstance(wanted, str):
        draft.error(view.path(["type"]), f"must be text, not {wanted!r}")
    elif wanted in factory.entries:
        return factory.entries[wanted]
    elif not _OWN.fullmatch(wanted):
        known = did_you_mean(wanted, factory.entries)
        own = "; a class of your own is written package.module:Class" if "did you" not in known else ""
        draft.error(view.path(["type"]), f"{factory_name} has no type {wanted!r}{known}{own}")
    return None


def _operator_problems(entry: Any, catalogue: Catalogue) -> list[tuple[list[str | int], str]]:
    if isinstance(entry, str):
        entry = {entry: None}
    if not isinstance(entry, dict) or len(entry) != 1:
        return [([], "must be the name of an operator, with its parameters below it")]
    ((name, parameters),) = entry.items()
    known = catalogue.operators.get(name)
    if known is None:
        return [([name], f"Data-Juicer has no operator {name!r}{did_you_mean(name, catalogue.operators)}")]
    if parameters is None:
        return []
    if not isinstance(parameters, dict):
        return [([name], "must be a mapping of the operator's parameters")]
    return [
        ([name, parameter], f"{name} has no parameter {parameter!r}{did_you_mean(parameter, known)}")
        for parameter in parameters
        if parameter not in known
    ]
