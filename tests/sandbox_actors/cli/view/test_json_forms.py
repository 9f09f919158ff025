"""The documents of `--json`."""

from __future__ import annotations

from sandbox_actors.cli.view import json_forms
from sandbox_actors.errors import Problem
from sandbox_actors.protocol.rows import ExperimentDetail, Iteration, ProgressBar, WorkerRow
from tests.sandbox_actors.cli.view.view_rows import experiment, job, metric

INFOS = {"baseline": [{"meta_name": "train", "res_0": 0.0}]}


def detail() -> ExperimentDetail:
    iterations = [Iteration(iter=1, context_infos={}), Iteration(iter=2, context_infos=INFOS)]
    return ExperimentDetail(experiment=experiment(state="failed"), iterations=iterations, jobs=[job(0)], definition={})


def test_show() -> None:
    document = json_forms.detail(detail())
    assert list(document) == ["id", "name", "project", "state", "iterations", "jobs", "targets", "envs"]
    assert document["iterations"] == [{"iter": 1, "context_infos": {}}, {"iter": 2, "context_infos": INFOS}]
    assert " ".join(document["jobs"][0]) == (
        "pipeline list hook meta_name iter state started finished seconds worker warm attempt error reason"
    )


def test_the_end_of_a_run_has_the_outputs_of_the_last_iteration() -> None:
    assert json_forms.finished(detail()) == {
        "event": "finished",
        "experiment": "7",
        "state": "failed",
        "context_infos": INFOS,
    }


def test_metrics_workers_progress_and_check() -> None:
    assert list(json_forms.metric(metric("loss", 1.0, 3)))[:4] == ["name", "value", "step", "time"]
    worker = WorkerRow(
        worker="w", pid=1, component="c", env="e", state="idle", model="m", rss_bytes=1, runs=2, idle_seconds=0.5,
        keep_alive_seconds=None,
    )  # fmt: skip
    assert " ".join(json_forms.worker(worker)) == (
        "worker pid component env state model rss_bytes runs idle_seconds keep_alive_seconds"
    )
    assert json_forms.progress(job(0), ProgressBar(label="map", done=1))["meta_name"] == "job0"
    assert json_forms.check([Problem("f", "a.b", "no")], []) == {
        "valid": False,
        "errors": [{"file": "f", "path": "a.b", "message": "no"}],
        "warnings": [],
    }
