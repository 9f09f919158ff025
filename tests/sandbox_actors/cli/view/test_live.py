"""The live picture, a function of the snapshot, the size of the terminal, and the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.cli.view.live import draw
from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.protocol.rows import ProgressBar
from tests.sandbox_actors.cli.view.view_rows import changed, experiment, job, metric

NOW = 1042.0


def lines(snapshot: Snapshot, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in draw(snapshot, width, height, NOW)]


def two_pipelines() -> Snapshot:
    """One pipeline has ended, the other one is training."""
    ended = {"started": 1000.0, "finished": 1010.0, "seconds": 10.0}
    snapshot = Snapshot()
    snapshot.update(
        changed(
            experiment=experiment(jobs_done=2, jobs_total=4),
            jobs=[
                job(0, "succeeded", meta_name="sample", warm=False, **ended),
                job(1, "succeeded", meta_name="train", warm=True, **ended),
                job(2, "running", pipeline="refined", meta_name="train", warm=True, started=1040.5),
                job(3, pipeline="refined", meta_name="evaluate", hook="EvaluateModelHook"),
            ],
            metrics=[metric("loss", 8.0 - step, step) for step in range(8)]
            + [metric("loss", 8.0 - step, step, pipeline="refined") for step in range(4)],
            progress={"2": ProgressBar(label="training", done=30, total=120, unit="steps")},
        )
    )
    return snapshot


def test_each_job_has_a_line_under_its_pipeline_and_a_running_one_its_bar_and_loss() -> None:
    assert lines(two_pipelines()) == [
        "demo  running  experiment 7 · 0:42 · 2 of 4 jobs",
        "",
        "baseline",
        "  ✓ sample   TrainModel      10.0 s  cold",
        "  ✓ train    TrainModel      10.0 s  warm  loss █▇▆▅▄▃▂▁ 1  step 7",
        "",
        "refined",
        "  ⠦ train    TrainModel       1.5 s  warm",
        "      ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  25%  30/120 steps  training",
        "      loss █▆▃▁ 5  step 3",
        "  ○ evaluate EvaluateModel",
    ]


def test_with_few_lines_ended_jobs_are_summarized_first_and_running_ones_are_kept() -> None:
    snapshot = two_pipelines()
    assert lines(snapshot, height=9)[2:4] == ["  ✓ baseline  20.0 s", ""]
    for height in range(3, 12):
        shown = lines(snapshot, height=height)
        assert len(shown) <= height
        if height >= 5:
            assert any("⠦ train" in line for line in shown)
    assert any("⠦ train" in line and "loss" in line for line in lines(snapshot, height=5))


def test_waiting_jobs_are_summarized_next() -> None:
    snapshot = Snapshot()
    waiting = [job(index + 1, pipeline="refined") for index in range(5)]
    snapshot.update(changed(experiment=experiment(), jobs=[job(0, "running", started=1000.0), *waiting]))
    assert lines(snapshot, height=7)[-1] == "  ○ refined  waiting"
    many = [job(index + 1) for index in range(9)]
    snapshot.update(changed(jobs=many))
    assert lines(snapshot, height=5)[-1] == "  ○ 9 jobs  waiting"


def test_a_waiting_job_shows_its_reason_and_a_failed_one_its_error() -> None:
    snapshot = Snapshot()
    jobs = [job(0, "failed", seconds=1.0, error="ValueError: no\nTraceback"), job(1, reason="waits for 2 cpus")]
    snapshot.update(changed(experiment=experiment(reason="waits for another experiment"), jobs=jobs))
    shown = lines(snapshot)
    assert "waits for another experiment" in shown[0]
    assert shown[3].endswith("ValueError: no Traceback")
    assert shown[4].endswith("waits for 2 cpus")


def test_the_progress_of_an_env_build_is_shown_under_the_job_that_waits_for_it() -> None:
    snapshot = Snapshot()
    bar = ProgressBar(label="env torch: installing", done=3)
    snapshot.update(changed(experiment=experiment(), jobs=[job(0)], progress={"0": bar}))
    assert lines(snapshot)[4].strip(" ━") == "3  env torch: installing"


def test_a_later_iteration_is_numbered() -> None:
    snapshot = Snapshot()
    snapshot.update(changed(experiment=experiment(), jobs=[job(0, "succeeded"), job(0, "running", iter=2)]))
    assert lines(snapshot)[0].endswith("iteration 2")


def test_names_cannot_move_the_cursor_and_are_not_interpreted_as_markup() -> None:
    evil = "\x1b[2J[red]\nx"
    snapshot = Snapshot()
    snapshot.update(
        changed(
            experiment=experiment(name=evil, reason=evil),
            jobs=[job(0, "running", pipeline=evil, meta_name=evil, hook=evil, reason=evil, started=1.0)],
            metrics=[metric(evil, 1.0, 1, pipeline=evil, job=evil)],
            progress={"0": ProgressBar(label=evil, done=1, unit=evil)},
        )
    )
    shown = lines(snapshot)
    assert all(line.isprintable() for line in shown)
    assert shown[0].startswith("[red] x")


def test_before_the_first_answer_there_is_one_line() -> None:
    assert lines(Snapshot()) == ["…"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@given(st.integers(1, 30), st.text(max_size=60))
def test_no_line_is_wider_than_the_terminal(width: int, height: int, name: str) -> None:
    snapshot = two_pipelines()
    snapshot.update(changed(jobs=[job(4, "running", meta_name=name, reason=name, started=1000.0)]))
    for line in draw(snapshot, width, height, NOW):
        assert line.cell_len <= width
