"""Tables as text."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from envs.inventory import BuiltEnv
from sandbox_actors.cli.view.comparison import Comparison
from sandbox_actors.cli.view.refinements import analyses, refined_bounds
from sandbox_actors.cli.view.tables import (
    analysis_table,
    comparison_table,
    envs_table,
    experiments_table,
    jobs_table,
    metrics_table,
    points_table,
    refinement_table,
    workers_table,
)
from sandbox_actors.protocol.rows import MetricRow, WorkerRow
from tests.sandbox_actors.cli.view.view_rows import experiment, job, metric


def lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=1000)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_column_without_entries_is_left_out_and_a_pipeline_is_named_once() -> None:
    rows = [
        job(0, "succeeded", meta_name="sample", seconds=1.0, warm=True),
        job(1, "failed", meta_name="train", seconds=61.0, warm=False, error="no: [bold]way\nmore"),
        job(2, meta_name="train", pipeline="refined"),
    ]
    assert lines(jobs_table(rows)) == [
        "PIPELINE  JOB     HOOK        STATE      DURATION  ACTOR  NOTE",
        "baseline  sample  TrainModel  succeeded     1.0 s  warm",
        "          train   TrainModel  failed       61.0 s  cold   no: [bold]way",
        "refined   train   TrainModel  waiting",
    ]


def test_iterations_get_a_column_when_there_are_several() -> None:
    shown = lines(jobs_table([job(0, "succeeded"), job(0, "running", iter=2)]))
    assert [line.split()[0] for line in shown] == ["ITER", "1", "2"]


def test_experiments() -> None:
    rows = [experiment(id="12", finished=1060.0, state="failed", error="broken\nin detail"), experiment(started=None)]
    shown = lines(experiments_table(rows, now=2000.0))
    assert shown[0].split() == ["ID", "NAME", "STATE", "JOBS", "SUBMITTED", "DURATION", "REASON"]
    assert shown[1].split()[:4] == ["12", "demo", "failed", "0/3"]
    assert shown[1].endswith("60.0 s  broken")


def test_workers_show_their_model_and_memory_and_when_they_expire() -> None:
    idle = WorkerRow(
        worker="w1", pid=11, component="trainer", env="torch", state="idle", model="abc", rss_bytes=44_000_000,
        runs=3, idle_seconds=5.0, keep_alive_seconds=65.0,
    )  # fmt: skip
    busy = WorkerRow(
        worker="w2", pid=12, component="trainer", env="torch", state="running", model="abc", rss_bytes=1_200_000_000,
        runs=1, idle_seconds=0.0, keep_alive_seconds=None, job="7 baseline.train",
    )  # fmt: skip
    assert lines(workers_table([idle, busy])) == [
        "WORKER  PID  COMPONENT  ENV    STATE    JOB               MODEL  MEMORY  RUNS   IDLE  EXPIRES IN",
        "w1       11  trainer    torch  idle                       abc     44 MB     3  5.0 s      60.0 s",
        "w2       12  trainer    torch  running  7 baseline.train  abc    1.2 GB     1",
    ]


def test_envs_show_what_removing_them_frees_and_their_users() -> None:
    used = BuiltEnv(name="torch", path="/envs/torch-1", state="ready", manager="uv", own_bytes=44_000_000)
    incomplete = BuiltEnv(name="x-2", path="/envs/x-2", state="unfinished", size_bytes=9_000_000, own_bytes=2_000_000)
    assert lines(envs_table([(used, ["trainer-1", "trainer-log-2"]), (incomplete, [])])) == [
        "NAME   MANAGER  STATE        SIZE  USED BY                   FOLDER",
        "torch  uv       ready       44 MB  trainer-1, trainer-log-2  torch-1",
        "x-2             unfinished   2 MB                            x-2",
    ]


def test_metrics_are_summarized_by_series_or_listed_by_point() -> None:
    rows = [metric("loss", 4.0, 1), metric("train.samples", 3000), metric("loss", 2.0, 2)]
    assert lines(metrics_table(rows)) == [
        "PIPELINE  JOB    METRIC         POINTS  VALUE  STEP  TREND",
        "baseline  train  loss                2      2     2  █▁",
        "baseline  train  train.samples       1  3,000",
    ]
    assert lines(points_table(rows))[1:] == [
        "baseline  train  loss              1    4.0",
        "baseline  train  train.samples         3000",
        "baseline  train  loss              2    2.0",
    ]


def test_the_comparison_has_a_column_of_differences_for_two_pipelines() -> None:
    two = Comparison(["a", "b"], [("loss", ["4", "3"], "-25.0%"), ("actors", ["1 warm", ""], "")])
    assert lines(comparison_table(two)) == [
        "             a  b",
        "loss         4  3  -25.0%",
        "actors  1 warm",
    ]


def result(name: str, value: object, pipeline: str = "baseline") -> MetricRow:
    return metric(f"probe.{name}", value, pipeline=pipeline, job="probe")


def test_each_refined_bound_has_a_row() -> None:
    found = {"before": 10, "after": 0.25, "statistic": "text_len", "gone_before": 3, "gone_after": 1200}
    rows = [result(f"bounds.text_length_filter.min_len.{what}", value) for what, value in found.items()]
    left = {"before": "1kb", "after": "1kb", "reason": "the analysis has no image_sizes"}
    rows += [result(f"bounds.image_size_filter#2.min_size.{what}", value) for what, value in left.items()]
    assert lines(refinement_table(refined_bounds([*rows, result("bounds", 3), metric("loss", 1.0)]))) == [
        "OPERATOR             BOUND     BEFORE  AFTER   EXCLUDES  STATISTIC  NOTE",
        "text_length_filter   min_len       10   0.25  3 → 1,200  text_len",
        "image_size_filter#2  min_size     1kb                               the analysis has no image_sizes",
    ]
    several = refined_bounds([rows[0], result("bounds.text_length_filter.min_len.before", 1, pipeline="other")])
    assert [line.split()[0] for line in lines(refinement_table(several))] == ["JOB", "baseline.probe", "other.probe"]


def test_analyses_are_collected_from_the_results_of_jobs_that_have_files() -> None:
    rows = [
        result("files.analysis", "/out/a_analysis"),
        result("mean.text_len", 12.5),
        result("25%.text_len", 3),
        result("max.meta.score", 4),
        result("mean.loss", 1.0, pipeline="other"),
    ]
    (analysis,) = analyses(rows)
    assert analysis.files == {"analysis": "/out/a_analysis"}
    assert lines(analysis_table(analysis)) == [
        "STATISTIC   MEAN  MAX",
        "text_len    12.5",
        "meta.score          4",
    ]
