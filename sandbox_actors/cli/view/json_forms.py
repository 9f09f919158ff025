"""The documents of `--json`. Programs rely on their keys: new ones may be added, existing ones never change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox_actors.cli.view import recorded_envs
from sandbox_actors.cli.view.targets import TargetAt, targets_of
from sandbox_actors.errors import Problem
from sandbox_actors.protocol.rows import ExperimentDetail, ExperimentRow, JobRow, MetricRow, ProgressBar, WorkerRow

if TYPE_CHECKING:
    from envs.inventory import BuiltEnv

JOB_KEYS = (
    *("pipeline", "list", "hook", "meta_name", "iter", "state", "started", "finished", "seconds", "worker", "warm"),
    *("attempt", "error", "reason"),
)
WORKER_KEYS = (
    *("worker", "pid", "component", "env", "state", "model", "rss_bytes", "runs", "idle_seconds"),
    "keep_alive_seconds",
)


def experiment(row: ExperimentRow) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(row).items() if key != "seq"}


def job(row: JobRow) -> dict[str, Any]:
    return {key: getattr(row, key) for key in JOB_KEYS}


def metric(row: MetricRow) -> dict[str, Any]:
    return {key: getattr(row, key) for key in ("name", "value", "step", "time", "pipeline", "job", "iter")}


def progress(row: JobRow, bar: ProgressBar) -> dict[str, Any]:
    return {"pipeline": row.pipeline, "meta_name": row.meta_name, "iter": row.iter, **msgspec.structs.asdict(bar)}


def target(of: TargetAt) -> dict[str, Any]:
    result = of.result
    return {"iter": of.iter, "target": result.target, "value": result.value, "holds": result.holds}


def worker(row: WorkerRow) -> dict[str, Any]:
    return {key: getattr(row, key) for key in WORKER_KEYS}


def env(of: BuiltEnv, workers: Sequence[str]) -> dict[str, Any]:
    """`folder` tells environments of the same name apart; `own_bytes` is what removing it frees."""
    document = {key: value for key, value in msgspec.structs.asdict(of).items() if key != "spec"}
    return {**document, "folder": Path(of.path).name, "workers": list(workers)}


def detail(of: ExperimentDetail) -> dict[str, Any]:
    return {
        "id": of.experiment.id,
        "name": of.experiment.name,
        "project": of.experiment.project,
        "state": of.experiment.state,
        "iterations": [{"iter": each.iter, "context_infos": each.context_infos} for each in of.iterations],
        "jobs": [job(each) for each in of.jobs],
        "targets": [target(each) for each in targets_of(of)],
        "envs": [recorded_envs.document(each) for each in of.envs],
    }


def finished(of: ExperimentDetail) -> dict[str, Any]:
    """The last line of `run --json`: the outcome, and the `context_infos` of the last iteration."""
    return {
        "event": "finished",
        "experiment": of.experiment.id,
        "state": of.experiment.state,
        "context_infos": of.iterations[-1].context_infos if of.iterations else {},
    }


def check(errors: Iterable[Problem], warnings: Iterable[Problem]) -> dict[str, Any]:
    found = [_problem(each) for each in errors]
    return {"valid": not found, "errors": found, "warnings": [_problem(each) for each in warnings]}


def _problem(of: Problem) -> dict[str, str]:
    return {"file": of.file, "path": of.path, "message": of.message}
