"""Everything about an experiment that can be wrong although its file has the right shape, all of it at once."""

from __future__ import annotations

from collections import Counter

from sandbox_actors.experiment.context_infos import META_NAME
from sandbox_actors.experiment.model import Job
from sandbox_actors.experiment.references import number_jobs
from sandbox_actors.experiment.secrets import secrets_in
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.checks.components import SECRET, check_component, check_managers, check_recipe
from sandbox_actors.experiment_file.checks.config_view import view_configs
from sandbox_actors.experiment_file.checks.data import DataCheck
from sandbox_actors.experiment_file.checks.references import check_names
from sandbox_actors.experiment_file.checks.resources import check_resources
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.reader import Path
from sandbox_actors.experiment_file.schema import FILE_LISTS
from sandbox_actors.experiment_file.source import Source

_LONGEST_NAME = 200


def check(draft: Draft, source: Source, catalogue: Catalogue) -> None:
    """Adds to the draft's errors and warnings."""
    if not isinstance(source.value, dict):
        return
    are_named = _check_pipelines(draft, source)
    check_managers(draft, catalogue)
    _check_jobs(draft, source, catalogue)
    if draft.has_all_jobs and are_named:
        check_names(draft)
    if draft.has_all_jobs and not draft.places:
        draft.error((), "has no jobs: write some in `execution_job_configs`, or in a pipeline below `pipelines`")


def _check_pipelines(draft: Draft, source: Source) -> bool:
    """Whether each pipeline has a name of its own."""
    value, are_named = source.value, True
    lists = [key for key in FILE_LISTS.values() if value.get(key)]
    if value.get("pipelines") and lists:
        draft.error(("pipelines",), f"there are jobs outside it too, in {', '.join(lists)}; put them into a pipeline")
    names = Counter(name for _, name, _ in source.pipelines())
    for path, name, _ in source.pipelines():
        _check_name(draft, path, "pipeline", name)
        if names[name] > 1:
            draft.error(path, f"there are {names[name]} pipelines called {name!r}")
            are_named = False
    return are_named


def _check_jobs(draft: Draft, source: Source, catalogue: Catalogue) -> None:
    data = DataCheck(draft, source.file)
    for each, place in zip(number_jobs(draft.experiment), draft.places, strict=True):
        _check_name(draft, (*place, "meta_name"), "job", each.job.meta_name)
        _check_outputs(draft, (*place, "output"), each.job)
        check_resources(draft, catalogue.machine, each.job.resources, place)
        views = view_configs(each.job, place)
        known = check_component(draft, catalogue, each, views, place)
        check_recipe(draft, catalogue, views["dj_configs"])
        for view in views.values():
            for keys in secrets_in(view.value):
                draft.error(view.path(keys), SECRET)
        for view in views.values():
            if view.is_placeholder:
                value = getattr(each.job, view.name)
                draft.error(view.path(), f"{value} is a placeholder that no `input` and no `local` replaces")
            data.check(view, next((kind for its, kind in known if its is view), None))
        for view in views.values():
            data.note(view)


def _check_name(draft: Draft, path: Path, noun: str, name: str) -> None:
    if "/" in name or not name.isprintable() or len(name) > _LONGEST_NAME or name in ("", ".", ".."):
        draft.error(path, f"{name!r:.80} cannot name a {noun}: files are called by it, and messages show it")
    elif "." in name or name == "-1":
        draft.warn(path, f"{name!r} has a dot in it or is -1, so no dotted name can mean this {noun}")


def _check_outputs(draft: Draft, path: Path, job: Job) -> None:
    for name, count in Counter(job.output or ()).items():
        if count > 1:
            draft.error(path, f"names {name!r} {count} times")
        if name == META_NAME:
            draft.error(path, f"{META_NAME!r} is the key of the job's own name; call the output something else")
        elif "." in name or not name:
            draft.warn(path, f"{name!r} cannot be asked for by a dotted name")
