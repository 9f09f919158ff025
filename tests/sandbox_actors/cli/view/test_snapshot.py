"""The state accumulated from the answers to `Changes`."""

from __future__ import annotations

import math

from sandbox_actors.cli.view.snapshot import SERIES_POINTS, Series, Snapshot
from sandbox_actors.protocol.rows import ProgressBar
from tests.sandbox_actors.cli.view.view_rows import changed, experiment, job, metric


def test_later_rows_replace_earlier_ones_and_jobs_are_in_the_order_of_the_plan() -> None:
    snapshot = Snapshot()
    snapshot.update(changed(experiment=experiment(), jobs=[job(1), job(0)]))
    snapshot.update(changed(jobs=[job(1, "running")]))
    assert [(each.index, each.state) for each in snapshot.jobs()] == [(0, "waiting"), (1, "running")]
    assert snapshot.experiment == experiment()


def test_only_the_jobs_and_results_of_the_newest_iteration_are_given() -> None:
    snapshot = Snapshot()
    first = [job(0, "succeeded"), job(1, "succeeded", pipeline="refined")]
    snapshot.update(changed(jobs=first, metrics=[metric("train.loss", 3.0), metric("train.samples", 10)]))
    assert not snapshot.has_iterations
    snapshot.update(changed(jobs=[job(0, iter=2)], metrics=[metric("train.loss", 2.0, iter=2)]))
    assert snapshot.has_iterations
    assert list(snapshot.pipelines()) == ["baseline"]
    assert [row.value for row in snapshot.results()] == [2.0]


def test_all_bars_are_replaced_together_and_ended_jobs_have_none() -> None:
    snapshot = Snapshot()
    bar = ProgressBar(label="map", done=1)
    snapshot.update(changed(jobs=[job(0, "running"), job(1, "succeeded")], progress={"0": bar, "1": bar}))
    assert [snapshot.bar(each) for each in snapshot.jobs()] == [bar, None]
    snapshot.update(changed())
    assert snapshot.bar(snapshot.jobs()[0]) == bar
    snapshot.update(changed(progress={}))
    assert snapshot.bar(snapshot.jobs()[0]) is None


def test_the_series_shown_is_the_loss_or_another_loss_or_the_first() -> None:
    train = job(0, "running", meta_name="train")
    snapshot = Snapshot()
    snapshot.update(changed(jobs=[train], metrics=[metric("learning_rate", 0.1, 1)]))
    assert (series := snapshot.series(train)) is not None
    assert series.name == "learning_rate"
    snapshot.update(changed(metrics=[metric("train.eval_loss", 3.0, 1)]))
    assert (series := snapshot.series(train)) is not None
    assert series.name == "train.eval_loss"
    snapshot.update(changed(metrics=[metric("loss", 2.0, 5), metric("loss", "nothing", 6)]))
    assert (series := snapshot.series(train)) is not None
    assert (series.name, series.last, series.step) == ("loss", 2.0, 5)
    assert snapshot.series(job(1)) is None


def test_a_long_series_is_downsampled_evenly_and_keeps_its_mean() -> None:
    series = Series("loss")
    count = SERIES_POINTS * 8 + 3
    for step in range(count):
        series.add(step, float(step))
    assert len(series.values) <= SERIES_POINTS
    assert (series.count, series.last, series.step) == (count, count - 1.0, count - 1)
    gaps = {round(after - before, 6) for before, after in zip(series.values, series.values[1:], strict=False)}
    assert len(gaps) == 1
    assert math.isclose(series.values[0], (gaps.pop() - 1) / 2)
