"""What the answers to `Changes` add up to."""

from __future__ import annotations

import math

from sandbox_actors.cli.view.snapshot import SERIES_POINTS, Scene, Series
from sandbox_actors.protocol.rows import ProgressBar
from tests.sandbox_actors.cli.view.view_rows import changed, experiment, job, metric


def test_later_rows_take_the_place_of_earlier_ones_and_order_is_that_of_the_plan() -> None:
    scene = Scene()
    scene.update(changed(experiment=experiment(), jobs=[job(1), job(0)]))
    scene.update(changed(jobs=[job(1, "running")]))
    assert [(each.index, each.state) for each in scene.jobs()] == [(0, "waiting"), (1, "running")]
    assert scene.experiment == experiment()


def test_only_the_newest_iteration_is_shown_and_only_its_results() -> None:
    scene = Scene()
    first = [job(0, "succeeded"), job(1, "succeeded", pipeline="refined")]
    scene.update(changed(jobs=first, metrics=[metric("train.loss", 3.0), metric("train.samples", 10)]))
    assert not scene.has_iterations
    scene.update(changed(jobs=[job(0, iter=2)], metrics=[metric("train.loss", 2.0, iter=2)]))
    assert scene.has_iterations
    assert list(scene.pipelines()) == ["baseline"]
    assert [row.value for row in scene.results()] == [2.0]


def test_bars_are_replaced_as_a_whole_and_those_of_ended_jobs_are_not_shown() -> None:
    scene = Scene()
    bar = ProgressBar(label="map", done=1)
    scene.update(changed(jobs=[job(0, "running"), job(1, "succeeded")], progress={"0": bar, "1": bar}))
    assert [scene.bar(each) for each in scene.jobs()] == [bar, None]
    scene.update(changed())
    assert scene.bar(scene.jobs()[0]) == bar
    scene.update(changed(progress={}))
    assert scene.bar(scene.jobs()[0]) is None


def test_the_series_to_watch_is_the_loss_then_another_loss_then_the_first() -> None:
    train = job(0, "running", meta_name="train")
    scene = Scene()
    scene.update(changed(jobs=[train], metrics=[metric("learning_rate", 0.1, 1)]))
    assert (series := scene.series(train)) is not None
    assert series.name == "learning_rate"
    scene.update(changed(metrics=[metric("train.eval_loss", 3.0, 1)]))
    assert (series := scene.series(train)) is not None
    assert series.name == "train.eval_loss"
    scene.update(changed(metrics=[metric("loss", 2.0, 5), metric("loss", "nothing", 6)]))
    assert (series := scene.series(train)) is not None
    assert (series.name, series.last, series.step) == ("loss", 2.0, 5)
    assert scene.series(job(1)) is None


def test_a_long_series_is_thinned_evenly_and_keeps_its_mean() -> None:
    series = Series("loss")
    count = SERIES_POINTS * 8 + 3
    for step in range(count):
        series.add(step, float(step))
    assert len(series.values) <= SERIES_POINTS
    assert (series.count, series.last, series.step) == (count, count - 1.0, count - 1)
    gaps = {round(after - before, 6) for before, after in zip(series.values, series.values[1:], strict=False)}
    assert len(gaps) == 1
    assert math.isclose(series.values[0], (gaps.pop() - 1) / 2)
