"""What an experiment will do, found out before it runs: its jobs in order, what each runs, and in which env."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from components.factories import described
from sandbox_actors.errors import ConfigError, ContextError
from sandbox_actors.experiment.job_configs import job_configs
from sandbox_actors.experiment.model import Experiment, Job, number_jobs
from sandbox_actors.hooks.call import Call
from sandbox_actors.hooks.registry import ALL_HOOKS, component_folders
from sandbox_actors.protocol.rows import PlannedJob


@dataclass(frozen=True)
class DryRunJob:
    """A job and its call. `call` is None if the config or the component is known only when the job runs.

    `has_unknown_model`: the output of another job decides which model it loads.
    """

    row: PlannedJob
    job: Job
    call: Call | None = None
    has_unknown_model: bool = False


def dry_run(experiment: Experiment, cwd: str = "") -> Iterator[DryRunJob]:
    """The jobs of one iteration in order; none of the rows is `warm`. Relative folders are below `cwd`."""
    for each in number_jobs(experiment):
        call = _find_call(each.job)
        if call is not None and call.entry.is_own:
            call = replace(call, entry=described(call.entry, component_folders(each.job, cwd)))
        row = PlannedJob(
            index=each.index,
            pipeline=each.pipeline,
            list=each.list,
            hook=each.job.hook,
            meta_name=each.job.meta_name,
            component=call.label if call else "",
            env=call.env_in(each.job.env) if call else each.job.env or "",
            warm=False,
        )
        yield DryRunJob(row, each.job, call, call is not None and _has_unknown_model(each.job, call))


def _find_call(job: Job) -> Call | None:
    """The first call of a job. In its config, the names of outputs stand for their values, which are not known yet."""
    hook = ALL_HOOKS.get(job.hook)
    settings = {**job.local, **{key: f"<{name}>" for key, name in job.input.items()}}
    try:
        configs = {name: config.build(1) for name, config in job_configs(job, settings.items()).items()}
        return hook.call(**configs, analysis={}) if hook else None
    except (ConfigError, ContextError):
        return None


def _has_unknown_model(job: Job, call: Call) -> bool:
    keys = [key.partition(".")[2] for key in job.input]
    fields = call.entry.model_fields
    if not fields:  # of a class of the user's own, the whole config decides
        return bool(keys) and call.entry.is_own
    return any(_is_in(key, field) or _is_in(field, key) for key in keys for field in fields)


def _is_in(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.")
