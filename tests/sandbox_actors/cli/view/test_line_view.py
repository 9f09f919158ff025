"""A running experiment, line by line."""

from __future__ import annotations

from sandbox_actors.cli.view.line_view import PROGRESS_SECONDS, LineView
from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.protocol.rows import ProgressBar
from tests.sandbox_actors.cli.view.view_rows import changed, experiment, job, metric


class Reporter:
    """A view and its snapshot; `report` returns the lines for a change."""

    def __init__(self) -> None:
        self.snapshot, self.view = Snapshot(), LineView()

    def report(self, now: float = 1000.0, **change: object) -> list[str]:
        self.snapshot.update(changed(**change))  # type: ignore[arg-type]
        return list(self.view.lines(self.snapshot, now))


def test_each_change_of_state_is_one_line_with_the_time_since_the_start() -> None:
    reporter = Reporter()
    assert reporter.report(experiment=experiment(), jobs=[job(0), job(1)]) == ["[0:00] experiment 7 (demo): 3 jobs"]
    running = job(0, "running", started=1005.0, warm=False)
    assert reporter.report(jobs=[running]) == ["[0:05] baseline.job0 running (cold)"]
    assert reporter.report(jobs=[running]) == []
    ended = job(0, "succeeded", started=1005.0, finished=1065.5, seconds=60.5, warm=False)
    assert reporter.report(jobs=[ended]) == ["[1:05] baseline.job0 succeeded in 60.5 s (cold)"]
    end = experiment(state="succeeded", finished=1066.0)
    assert reporter.report(experiment=end) == ["[1:06] experiment 7 succeeded"]
    assert reporter.report(experiment=end) == []


def test_a_failure_is_reported_with_its_reason_on_one_line() -> None:
    reporter = Reporter()
    failed = job(0, "failed", finished=1001.0, seconds=1.0, error="ValueError: \x1b[31mno\n\nTraceback ...")
    assert (
        reporter.report(experiment=experiment(), jobs=[failed])[1]
        == "[0:01] baseline.job0 failed in 1.0 s: ValueError: no"
    )


def test_the_reason_for_waiting_is_reported_and_again_when_it_changes() -> None:
    reporter = Reporter()
    first = reporter.report(experiment=experiment(state="waiting", reason="waits for the folder"), jobs=[job(0)])
    assert first[1] == "[0:00] experiment 7 waiting: waits for the folder"
    assert reporter.report(1003.0, jobs=[job(0, reason="waits for 1 cpu")]) == [
        "[0:03] baseline.job0 waiting: waits for 1 cpu"
    ]
    assert reporter.report(1004.0, jobs=[job(0, reason="waits for its env")]) == [
        "[0:04] baseline.job0 waiting: waits for its env"
    ]


def test_a_job_is_reported_as_running_when_its_actor_is_ready() -> None:
    reporter = Reporter()
    reporter.report(experiment=experiment(), jobs=[job(0)])
    assert reporter.report(jobs=[job(0, "running", started=1000.0, reason="train starts")]) == [
        "[0:00] baseline.job0: train starts"
    ]
    assert reporter.report(jobs=[job(0, "running", started=1000.0, warm=True)]) == [
        "[0:00] baseline.job0 running (warm)"
    ]


def test_progress_is_reported_with_the_loss_every_few_seconds() -> None:
    reporter = Reporter()
    bar = ProgressBar(label="training", done=30, total=120, unit="steps")
    running = job(0, "running", meta_name="train", started=1000.0, warm=True)
    lines = reporter.report(
        experiment=experiment(), jobs=[running], progress={"0": bar}, metrics=[metric("loss", 2.5, step=29)]
    )
    assert lines[-1] == "[0:00] baseline.train: training 30/120 steps, loss 2.5 at step 29"
    assert reporter.report(1000.0 + PROGRESS_SECONDS / 2, metrics=[metric("loss", 2.4, step=30)]) == []
    assert reporter.report(1000.0 + PROGRESS_SECONDS) == [
        "[0:05] baseline.train: training 30/120 steps, loss 2.4 at step 30"
    ]


def test_later_iterations_are_numbered() -> None:
    reporter = Reporter()
    reporter.report(experiment=experiment(), jobs=[job(0, "succeeded", finished=1001.0, seconds=1.0)])
    lines = reporter.report(jobs=[job(0, "succeeded", iter=2, finished=1002.0, seconds=1.0)])
    assert lines == ["[0:02] iteration 2, baseline.job0 succeeded in 1.0 s"]
