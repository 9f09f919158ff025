"""Checks of hooks and component types: whether they exist, and whether the configs fit them."""

from __future__ import annotations

from typing import Any

from sandbox_actors.dotted import is_target
from sandbox_actors.errors import did_you_mean, nearest
from sandbox_actors.experiment.hook_specs import HookSpec
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.model import ConfigName, NumberedJob
from sandbox_actors.experiment_file.catalogue import Catalogue, KnownFactory, KnownType
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.protocol.secrets import ADVICE


def check_component(
    draft: Draft, catalogue: Catalogue, each: NumberedJob, views: dict[ConfigName, ConfigView], job_path: KeyPath
) -> list[tuple[ConfigView, KnownType]]:
    """Returns the component types of the job's configs, as far as they are known."""
    path = (*job_path, "hook")
    hook = catalogue.hooks.get(each.job.hook)
    if hook is None:
        if each.job.hook and not is_target(each.job.hook):
            draft.error(path, f"unknown hook {each.job.hook!r}{did_you_mean(each.job.hook, catalogue.hooks)}")
        return []
    if each.list not in hook.lists:
        draft.warn(path, f"{hook.name} is made for {' and '.join(hook.lists)}, not for {each.list}")
    types = _check_types(draft, catalogue, hook, views)
    for view, known in types:
        has_own_env = each.job.env or (view.value or {}).get("env_name")
        if known.needs_gpu and not has_own_env and catalogue.machine is not None and not catalogue.machine.gpus:
            message = "needs a GPU, and this machine has none; a job with an `env` of its own may run without"
            draft.error(view.path(["type"]), message)
    return types


def _check_types(
    draft: Draft, catalogue: Catalogue, hook: HookSpec, views: dict[ConfigName, ConfigView]
) -> list[tuple[ConfigView, KnownType]]:
    types: list[tuple[ConfigView, KnownType]] = []
    for factory_name, config in hook.factories:
        factory, view = catalogue.factories.get(factory_name), views[config]
        if factory is not None and view.is_known and not view.is_replaced(["type"]):
            known = _find_type(draft, factory_name, factory, view, hook)
            types += [(view, known)] if known is not None else []
    refiner = catalogue.refiners.get(hook.name)
    if refiner is not None and views["extra_configs"].is_known:
        types.append((views["extra_configs"], refiner))
    for view, known in types:
        for key in known.required:
            if not view.has(key.split(".")):
                draft.error(view.path(), f"{hook.name} needs {key!r} in {view.name}")
        _check_keys(draft, hook, view, known)
        for key, message in known.misfits(_known_values(view)):
            draft.error(view.path([key]), message)
        for keys in [key.split(".") for key in known.secrets]:
            if view.has(keys):
                draft.error(view.path(keys), ADVICE)
    if hook.rewrites_recipe:
        _check_rewritten_recipe(draft, catalogue, hook, views["dj_configs"])
    return types


def _check_rewritten_recipe(draft: Draft, catalogue: Catalogue, hook: HookSpec, view: ConfigView) -> None:
    """The recipe keeps its keys when it is rewritten: they have to be those of the executor that runs it later."""
    executor = catalogue.factories.get("DataExecutorFactory")
    if executor is not None and executor.default_type is not None and executor.default_type in executor.entries:
        _check_keys(draft, hook, view, executor.entries[executor.default_type])


def _known_values(view: ConfigView) -> dict[str, Any]:
    """The keys of a config whose values are known before anything runs: no `input` sets them, or something in them."""
    values = (view.value or {}).items()
    return {key: value for key, value in values if not view.is_replaced([key]) and not is_placeholder(value)}


def _check_keys(draft: Draft, hook: HookSpec, view: ConfigView, known: KnownType) -> None:
    for key in [key for key in view.value or () if known.keys and key not in known.keys]:
        draft.error(view.path([key]), f"{hook.name} has no key {key!r}{did_you_mean(key, known.keys)}")


def _find_type(
    draft: Draft, factory_name: str, factory: KnownFactory, view: ConfigView, hook: HookSpec
) -> KnownType | None:
    wanted = (view.value or {}).get("type", factory.default_type)
    if wanted is None:
        draft.error(view.path(), f"{hook.name} needs 'type' in {view.name}{did_you_mean('', factory.entries)}")
    elif not isinstance(wanted, str):
        draft.error(view.path(["type"]), f"must be text, not {wanted!r}")
    elif wanted in factory.entries:
        return factory.entries[wanted]
    elif not is_target(wanted):
        hint = did_you_mean(wanted, factory.entries)
        if nearest(wanted, factory.entries) is None:
            hint += "; a class of your own is written package.module:Class"
        draft.error(view.path(["type"]), f"{factory_name} has no type {wanted!r}{hint}")
    return None
