"""Checks of the envs that jobs name, and of the env managers that they need."""

from __future__ import annotations

import os

from sandbox_actors.errors import did_you_mean
from sandbox_actors.experiment.model import Job
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath


def check_managers(draft: Draft, catalogue: Catalogue) -> None:
    """The env managers of the specs in the experiment file."""
    for name, spec in draft.experiment.envs.items() if catalogue.managers else ():
        manager = spec.get("manager") if isinstance(spec, dict) else None
        path = ("envs", name, "manager")
        if not isinstance(manager, str):
            continue
        if manager not in catalogue.managers:
            draft.error(path, _unknown_manager(catalogue, manager))
        elif catalogue.managers[manager]:
            draft.error(path, f"{manager} cannot be used here: {catalogue.managers[manager]}")


def check_job_env(draft: Draft, catalogue: Catalogue, job: Job, extra_configs: ConfigView, job_path: KeyPath) -> None:
    """The env of a job, whichever key names it, and its `component_path`."""
    env, own = job.env, draft.experiment.envs
    if env and catalogue.envs is not None and env not in own and env not in catalogue.envs and not os.path.isfile(env):
        draft.error((*job_path, "env"), f"there is no env {env!r}{did_you_mean(env, [*own, *catalogue.envs])}")
    folder = job.component_path
    if folder and not os.path.isdir(os.path.expanduser(folder)):
        draft.error((*job_path, "component_path"), f"there is no folder {folder!r}")
    _check_env_manager(draft, catalogue, extra_configs)


def _check_env_manager(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    """The `env_name` and `env_manager` of a config, as files of Data-Juicer Sandbox have them."""
    name, manager = ((view.value or {}).get(key) for key in ("env_name", "env_manager"))
    path = view.path(["env_manager"])
    if manager is None or not catalogue.managers or view.is_replaced(["env_manager"]):
        return
    if manager not in catalogue.managers:
        draft.error(path, _unknown_manager(catalogue, str(manager)))
    elif not name:
        draft.error(path, "needs `env_name` beside it: the name of the env")
    elif name not in draft.experiment.envs and name not in (catalogue.envs or ()) and catalogue.managers[manager]:
        reason = catalogue.managers[manager]
        draft.warn(path, f"{manager} cannot be used here: {reason}; `envs.{name}` in the file can define it otherwise")


def _unknown_manager(catalogue: Catalogue, name: str) -> str:
    return f"there is no env manager {name!r}{did_you_mean(name, catalogue.managers)}"
