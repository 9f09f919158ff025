"""Everything that can be wrong with an experiment although its file has the right shape, reported at once."""

from __future__ import annotations

from collections import Counter

from sandbox_actors.experiment.context_infos import META_NAME
from sandbox_actors.experiment.model import Job, number_jobs
from sandbox_actors.experiment.names import describe_bad_name, is_name
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.checks.components import check_component
from sandbox_actors.experiment_file.checks.config_view import view_configs
from sandbox_actors.experiment_file.checks.data import DataCheck
from sandbox_actors.experiment_file.checks.envs import check_job_env, check_managers
from sandbox_actors.experiment_file.checks.recipe import check_recipe
from sandbox_actors.experiment_file.checks.references import check_references
from sandbox_actors.experiment_file.checks.resources import check_resources
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.experiment_file.schema import LIST_KEYS
from sandbox_actors.experiment_file.source import Source
from sandbox_actors.protocol.secrets import ADVICE, find_secrets


def check(draft: Draft, source: Source, catalogue: Catalogue) -> None:
    """Adds to the draft's errors and warnings."""
    if not isinstance(source.value, dict):
        return
    for keys in find_secrets(source.value):
        draft.error(keys, ADVICE)
    have_unique_names = _check_pipelines(draft, source)
    check_managers(draft, catalogue)
    _check_jobs(draft, source, catalogue)
    if draft.has_all_jobs and have_unique_names:
        check_references(draft)
    if draft.has_all_jobs and not draft.job_paths:
        draft.error((), "has no jobs: write some in `execution_job_configs`, or in a pipeline below `pipelines`")


def _check_pipelines(draft: Draft, source: Source) -> bool:
    """Whether their names are unique."""
    lists = [key for key in LIST_KEYS.values() if source.value.get(key)]
    if source.value.get("pipelines") and lists:
        draft.error(("pipelines",), f"there are jobs outside it too, in {', '.join(lists)}; put them into a pipeline")
    names = Counter(name for _, name, _ in source.pipelines())
    for path, name, _ in source.pipelines():
        _check_name(draft, path, "pipeline", name)
        if names[name] > 1:
            draft.error(path, f"there are {names[name]} pipelines called {name!r}")
    return len(names) == names.total()


def _check_jobs(draft: Draft, source: Source, catalogue: Catalogue) -> None:
    data = DataCheck(draft, source.file)
    for each, path in zip(number_jobs(draft.experiment), draft.job_paths, strict=True):
        _check_name(draft, (*path, "meta_name"), "job", each.job.meta_name)
        _check_outputs(draft, (*path, "output"), each.job)
        check_resources(draft, catalogue.machine, each.job.resources, path)
        views = view_configs(each.job, path)
        check_job_env(draft, catalogue, each.job, views["extra_configs"], path)
        types = check_component(draft, catalogue, each, views, path)
        check_recipe(draft, catalogue, views["dj_configs"])
        for view in views.values():
            data.check(view, next((known for of, known in types if of is view), None))
        for view in views.values():
            data.add_written(view)


def _check_name(draft: Draft, path: KeyPath, noun: str, name: str) -> None:
    if not is_name(name) or not name.isprintable():
        draft.error(path, describe_bad_name(noun, name))
    elif "." in name or name == "-1":
        draft.warn(path, f"{name!r} contains a dot or is -1, so that no dotted name can refer to this {noun}")


def _check_outputs(draft: Draft, path: KeyPath, job: Job) -> None:
    for name, count in Counter(job.output or ()).items():
        if count > 1:
            draft.error(path, f"names {name!r} {count} times")
        if name == META_NAME:
            draft.error(path, f"{META_NAME!r} is the key of the job's own name; use another name for the output")
        elif "." in name or not name:
            draft.warn(path, f"no dotted name can refer to {name!r}")
