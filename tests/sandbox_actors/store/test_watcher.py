"""The watcher on a real store: each follower of an experiment gets every change, once, without delay."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from sandbox_actors.errors import NotFound
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.client_requests import Changed, Submit
from sandbox_actors.protocol.rows import LONGEST_NAME, LONGEST_TEXT, JobRow, Point, ProgressBar
from sandbox_actors.protocol.worker_requests import Pulled
from sandbox_actors.store.store import Outputs, Position, Store, open_store
from sandbox_actors.store.watcher import BATCH_POINTS, LABEL, SandboxWatcher
from tests.sandbox_actors.store.storing import add


def job(index: int, state: str) -> JobRow:
    return JobRow(
        seq=0, index=index, pipeline="refined", list="probe_jobs", hook="H", meta_name="probe", iter=1, state=state
    )


def with_watcher(tmp_path: Path, act: Callable[[SandboxWatcher, Store], Awaitable[None]]) -> None:
    """Calls `act` with a watcher whose store holds one experiment, of id 1, with two jobs."""

    async def main() -> None:
        with trio.fail_after(20):
            async with open_store(tmp_path / "state.sqlite3") as store:
                submit = Submit(definition={}, source="", cwd="")
                jobs = [job(0, "waiting"), job(1, "waiting")]
                await store.add_experiment(submit, name="demo", project="", work_dir="", submitted=0.0, jobs=jobs)
                await act(SandboxWatcher(store), store)

    trio.run(main)


async def follow(watcher: SandboxWatcher, answers: list[Changed]) -> None:
    """Ask for changes until the experiment has finished."""
    next, progress = 0, 0
    while not answers or not answers[-1].finished:
        answers.append(await watcher.changes("1", next, progress, wait=10.0))
        next, progress = answers[-1].next, answers[-1].next_progress


def test_a_mapping_is_watched_leaf_by_leaf_with_dots(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        await watcher.watch(JobPlace("1", "refined", "probe"), {"text_len": {"mean": 3.5, "top": "a"}, "rows": 7})
        await watcher.watch(JobPlace("1", meta_name="accuracy"), 0.25, step=3)
        answer = await watcher.changes("1")
        named = {row.name: row.value for row in answer.metrics}
        assert named == {"probe.text_len.mean": 3.5, "probe.text_len.top": "a", "probe.rows": 7, "accuracy": 0.25}
        assert [(row.pipeline, row.job, row.step) for row in answer.metrics[2:]] == [
            ("refined", "probe", None),
            ("", "accuracy", 3),
        ]

    with_watcher(tmp_path, act)


def test_a_query_returns_the_newest_value_or_none(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        for value in (1.0, math.inf, 0.0):
            await watcher.watch(JobPlace("1", meta_name="train"), {"loss": value})
        assert await watcher.query("1", "train.loss") == 0.0
        assert await watcher.query("1", "train.accuracy") is None

    with_watcher(tmp_path, act)


def test_configs_are_recorded_under_a_name_of_their_own(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        await watcher.watch_cfgs("1", {"train": {"dj_configs": None, "extra_configs": {"lr": 0.01, "layers": [1, 2]}}})
        assert await watcher.query("1", "cfgs.train.extra_configs.lr") == 0.01
        assert await watcher.query("1", "cfgs.train.extra_configs.layers") == "[1, 2]"
        assert [row.name for row in (await watcher.pull("1", 0)).metrics][-1] == "cfgs.train.extra_configs.layers"
        assert (await watcher.changes("1")).metrics == []

    with_watcher(tmp_path, act)


def test_a_large_result_is_recorded_in_bounded_transactions_and_once_wherever_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    res = {f"key{number}": number for number in range(3 * BATCH_POINTS + 1)}
    place, sizes = JobPlace("1", meta_name="m"), list[int]()

    async def act(watcher: SandboxWatcher, store: Store) -> None:
        add_points = store.add_points

        async def counted(place: JobPlace, points: Sequence[Point], position: Position | None = None) -> None:
            sizes.append(len(points))
            if len(sizes) == 3:
                raise KeyboardInterrupt  # the daemon ends
            await add_points(place, points, position)

        monkeypatch.setattr(store, "add_points", counted)
        with pytest.raises(KeyboardInterrupt):
            await watcher.watch(place, res, run="1.1.0.1")
        for _ in range(2):
            await watcher.watch(place, res, run="1.1.0.1")
        rows = await store.job_results(JobPlace("1", meta_name="m"))
        assert [row.value for row in rows] == list(range(len(res)))
        assert max(sizes) == BATCH_POINTS

    with_watcher(tmp_path, act)


def test_configs_are_recorded_once_however_often_the_experiment_is_started(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        for _ in range(2):
            await watcher.watch_cfgs("1", {"sandbox": {"lr": [1]}})
        assert len(await store.job_results(JobPlace("1"))) == 1

    with_watcher(tmp_path, act)


def test_nothing_is_kept_in_memory_of_experiments_that_have_ended(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        def held() -> int:
            return sum(type(each).__name__ == "_Feed" for each in gc.get_objects())

        before = held()
        for _ in range(10):
            new = await add(store)
            watcher.show_progress(JobPlace(new.id), ProgressBar(label="steps", done=1))
            await store.update_experiment(new.id, state="succeeded")
            await store.update_experiment((await add(store)).id, state="cancelled")
        assert held() == before

    with_watcher(tmp_path, act)


def test_of_a_text_too_long_for_an_answer_the_middle_is_left_out(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        await watcher.watch(JobPlace("1", meta_name="report"), f"begins{'x' * 1_000_000}ends")
        value = await watcher.query("1", "report")
        assert isinstance(value, str)
        assert len(value) <= LONGEST_TEXT
        assert re.fullmatch(r"begins[x]+\n\[967,\d+ characters are left out here\]\n[x]+ends", value)

    with_watcher(tmp_path, act)


def test_the_names_of_a_metric_and_of_a_bar_are_cut_to_what_an_answer_can_hold(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        place = JobPlace("1", meta_name="train", index=0)
        await watcher.watch(place, {"k" * 1_000_000: 1.0})
        watcher.show_progress(place, ProgressBar(label="l" * 1_000_000, done=1, unit="u" * 1_000_000))
        changed = await watcher.changes("1")
        assert [len(row.name) for row in changed.metrics] == [LONGEST_NAME]
        assert changed.progress is not None
        assert [(len(bar.label), len(bar.unit)) for bar in changed.progress.values()] == [(LABEL, LABEL)]

    with_watcher(tmp_path, act)


def test_a_follower_is_answered_when_something_changes(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        start = await watcher.changes("1")
        answers: list[Changed] = []

        async def wait() -> None:
            answers.append(await watcher.changes("1", start.next, start.next_progress, wait=60.0))

        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: store.put_jobs("1", [job(0, "running")]),
            lambda: watcher.watch(JobPlace("1", meta_name="loss"), 1.0),
            lambda: store.update_experiment("1", reason="waits for memory"),
        ]
        for change in changes:
            answers.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                assert not answers
                await change()
            assert answers[0].next > start.next
            start = answers[0]

    with_watcher(tmp_path, act)


def test_a_follower_with_no_wait_or_a_short_one_gets_an_empty_answer(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        start = await watcher.changes("1")
        for wait in (0.0, 0.05):
            answer = await watcher.changes("1", start.next, start.next_progress, wait=wait)
            assert (answer.next, answer.jobs, answer.progress, answer.finished) == (start.next, [], None, False)
            assert await watcher.pull("1", start.next, wait) == Pulled(metrics=[], next=start.next, finished=False)

    with_watcher(tmp_path, act)


def test_only_the_newest_bar_of_each_running_job_is_reported(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        for done in range(100):
            watcher.show_progress(JobPlace("1", index=0), ProgressBar(label="map", done=done, total=100))
        watcher.show_progress(JobPlace("1", index=1), ProgressBar(label="env", done=1))
        first = await watcher.changes("1")
        assert first.progress == {
            "0": ProgressBar(label="map", done=99, total=100),
            "1": ProgressBar(label="env", done=1),
        }
        assert (await watcher.changes("1", first.next, first.next_progress)).progress is None
        watcher.show_progress(JobPlace("1", index=1), None)
        second = await watcher.changes("1", first.next, first.next_progress, wait=10.0)
        assert second.progress is not None
        assert list(second.progress) == ["0"]
        outputs = Outputs(iter=1, index=0, values=[], is_tuple=False, entry={"meta_name": "probe"})
        await store.finish_job("1", job(0, "succeeded"), outputs)
        assert (await watcher.changes("1", second.next, second.next_progress)).progress == {}

    with_watcher(tmp_path, act)


def test_an_unchanged_bar_wakes_no_follower(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        bar = ProgressBar(label="map", done=1)
        watcher.show_progress(JobPlace("1", index=0), bar)
        first = await watcher.changes("1")
        watcher.show_progress(JobPlace("1", index=0), bar)
        assert (await watcher.changes("1", first.next, first.next_progress)).next_progress == first.next_progress

    with_watcher(tmp_path, act)


def test_each_of_many_followers_gets_every_change_exactly_once(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        heard: list[list[Changed]] = [[] for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for answers in heard:
                nursery.start_soon(follow, watcher, answers)
            await store.update_experiment("1", state="running")
            for step in range(200):
                point = Point(name="loss", value=1 / (step + 1), step=step)
                await watcher.watch_points(JobPlace("1", meta_name="train"), [point])
            await store.update_experiment("1", state="succeeded")
        for answers in heard:
            assert [row.step for answer in answers for row in answer.metrics] == list(range(200))
            assert [answer.finished for answer in answers].count(True) == 1
            assert answers[-1].experiment is not None
            assert answers[-1].experiment.state == "succeeded"

    with_watcher(tmp_path, act)


def test_an_exporter_pulls_only_metrics_and_the_end(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        pulled: list[Pulled] = []

        async def export() -> None:
            while not pulled or not pulled[-1].finished:
                pulled.append(await watcher.pull("1", pulled[-1].next if pulled else 0, wait=60.0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(export)
            await trio.testing.wait_all_tasks_blocked()
            await store.put_jobs("1", [job(0, "running")])
            await watcher.watch(JobPlace("1", meta_name="train"), {"loss": 2.0})
            await store.update_experiment("1", state="failed")
        assert [row.name for answer in pulled for row in answer.metrics] == ["train.loss"]

    with_watcher(tmp_path, act)


def test_an_ended_experiment_is_answered_at_once_and_can_be_resumed(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        await store.update_experiment("1", state="cancelled")
        ended = await watcher.changes("1", 10**9, 0, wait=60.0)
        assert ended.finished
        await store.update_experiment("1", state="running")
        assert not (await watcher.changes("1", ended.next)).finished

    with_watcher(tmp_path, act)


def test_following_an_unknown_experiment_is_an_error(tmp_path: Path) -> None:
    async def act(watcher: SandboxWatcher, store: Store) -> None:
        with pytest.raises(NotFound):
            await watcher.changes("7", wait=60.0)

    with_watcher(tmp_path, act)
