"""Rows as the daemon sends them, with defaults for what a test does not care about."""

from __future__ import annotations

from typing import Any

from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import ExperimentRow, JobRow, MetricRow, ProgressBar


def experiment(**fields: Any) -> ExperimentRow:
    known = {"seq": 1, "id": "7", "name": "demo", "project": "p", "state": "running", "source": "demo.yaml"}
    more = {"cwd": "/data", "work_dir": "/data/out", "submitted": 1000.0, "started": 1000.0, "jobs_total": 3}
    return ExperimentRow(**{**known, **more, **fields})


def job(index: int, state: str = "waiting", **fields: Any) -> JobRow:
    known = {"seq": 1, "pipeline": "baseline", "list": "execution_jobs", "hook": "TrainModelHook", "iter": 1}
    return JobRow(**{**known, "index": index, "meta_name": f"job{index}", "state": state, **fields})


def metric(name: str, value: Any, step: int | None = None, **fields: Any) -> MetricRow:
    known = {"seq": 1, "time": 0.0, "pipeline": "baseline", "job": "train", "iter": 1}
    return MetricRow(**{**known, "name": name, "value": value, "step": step, **fields})


def changed(
    *,
    experiment: ExperimentRow | None = None,
    jobs: list[JobRow] | None = None,
    metrics: list[MetricRow] | None = None,
    progress: dict[str, ProgressBar] | None = None,
) -> Changed:
    return Changed(
        next=1,
        next_progress=1,
        experiment=experiment,
        jobs=jobs or [],
        metrics=metrics or [],
        progress=progress,
        finished=False,
    )
