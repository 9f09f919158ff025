"""The store, on a real file, awaited from trio as the daemon does."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from sandbox_actors.errors import NotFound, StoreError
from sandbox_actors.messages import ExperimentRow, JobRow, Point, Submit
from sandbox_actors.storage.queries import CHANGES_BYTES, CHANGES_ROWS
from sandbox_actors.store import Outputs, Store, open_store

SUBMIT = Submit(definition={"project_name": "p", "ratio": 0.5}, source="sandbox.yaml", cwd="/data", environ={"A": "b"})


def job(index: int, state: str = "waiting", **more: Any) -> JobRow:
    known = {"pipeline": "refined", "list": "probe_jobs", "hook": "ProbeViaAnalyzerHook", "meta_name": f"job{index}"}
    return JobRow(**{"seq": 0, "index": index, "iter": 1, "state": state, **known, **more})


def outputs(index: int, *values: Any) -> Outputs:
    entry = {"meta_name": f"job{index}", **{f"res_{place}": value for place, value in enumerate(values)}}
    return Outputs(iter=1, index=index, values=list(values), is_tuple=len(values) > 1, entry=entry)


async def add(store: Store, name: str = "demo", jobs: int = 0) -> ExperimentRow:
    rows = [job(index) for index in range(jobs)]
    return await store.add_experiment(SUBMIT, name=name, project="p", work_dir="/out", submitted=1.5, jobs=rows)


def with_store(path: Path, act: Callable[[Store], Awaitable[object]]) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with open_store(path) as store:
                await act(store)

    trio.run(main)


async def nothing(store: Store) -> None:
    await trio.lowlevel.checkpoint()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.sqlite3"


def test_experiments_get_small_increasing_ids_and_survive_a_reopening(path: Path) -> None:
    async def write(store: Store) -> None:
        assert [(await add(store)).id for _ in range(3)] == ["1", "2", "3"]

    async def read(store: Store) -> None:
        assert [row.id for row in await store.list_experiments()] == ["3", "2", "1"]
        assert await store.submission("2") == SUBMIT
        assert (await add(store)).id == "4"

    with_store(path, write)
    with_store(path, read)


def test_ten_experiments_are_ordered_as_numbers_not_as_text(path: Path) -> None:
    async def act(store: Store) -> None:
        for _ in range(11):
            await add(store)
        assert [row.id for row in await store.list_experiments(3)] == ["11", "10", "9"]
        assert (await store.find_experiment("@")).id == "11"
        assert [row.id for row in await store.unfinished()][-2:] == ["10", "11"]

    with_store(path, act)


def test_an_experiment_is_found_by_id_name_and_age(path: Path) -> None:
    async def act(store: Store) -> None:
        for name in ("demo", "other", "demo", "1"):
            await add(store, name)
        found = {wanted: (await store.find_experiment(wanted)).id for wanted in ("2", "demo", "@", "@~1", "@~3", "1")}
        assert found == {"2": "2", "demo": "3", "@": "4", "@~1": "3", "@~3": "1", "1": "1"}

    with_store(path, act)


def test_an_unknown_experiment_is_answered_with_the_nearest_name(path: Path) -> None:
    async def act(store: Store) -> None:
        with pytest.raises(NotFound, match="there is no experiment yet; `sandbox run FILE`"):
            await store.find_experiment("@")
        await add(store, "baseline")
        with pytest.raises(NotFound, match="'basline'; did you mean 'baseline'"):
            await store.find_experiment("basline")
        with pytest.raises(NotFound, match="sandbox ls"):
            await store.find_experiment("99999999999999999999999")

    with_store(path, act)


def test_an_update_changes_what_it_names_and_nothing_else(path: Path) -> None:
    async def act(store: Store) -> None:
        first = await add(store)
        await store.update_experiment("1", state="running", started=2.0, reason="waits for its env")
        row = await store.update_experiment("1", finished=3.0, reason="")
        assert (row.state, row.started, row.finished, row.reason) == ("running", 2.0, 3.0, "")
        assert (await store.update_experiment("1", finished=None)).finished is None
        assert row.seq > first.seq
        with pytest.raises(NotFound):
            await store.update_experiment("2", state="running")

    with_store(path, act)


def test_a_job_row_comes_back_as_it_was_put(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=2)
        put = job(1, "running", started=4.5, worker="w1", warm=True, attempt=2, reason="null", log="/out/log/job1.log")
        await store.put_jobs("1", [put])
        detail = await store.experiment_detail("1")
        assert msgspec.structs.replace(detail.jobs[1], seq=0) == put
        assert detail.jobs[0].warm is None

    with_store(path, act)


def test_finished_jobs_are_counted_and_give_context_infos_and_history(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=3)
        await store.finish_job("1", job(1, "succeeded"), outputs(1, 0.0, {}))
        await store.finish_job("1", job(0, "succeeded"), outputs(0, math.inf))
        detail = await store.experiment_detail("1")
        assert (detail.experiment.jobs_done, detail.experiment.jobs_total) == (2, 3)
        expected = [{"meta_name": "job0", "res_0": math.inf}, {"meta_name": "job1", "res_0": 0.0, "res_1": {}}]
        assert detail.iterations[0].context_infos == {"refined": expected}
        assert await store.history("1") == [outputs(0, math.inf), outputs(1, 0.0, {})]
        await store.put_jobs("1", [job(0, "succeeded", reason="adopted")])
        assert await store.history("1") == [outputs(0, math.inf), outputs(1, 0.0, {})]

    with_store(path, act)


def test_a_job_is_found_by_name_and_the_newest_is_the_last_to_start(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=2)
        assert (await store.find_job("1")).index == 0
        await store.put_jobs("1", [job(0, started=1.0), job(1, started=2.0)])
        assert (await store.find_job("1")).index == 1
        assert (await store.find_job("1", "refined.job0")).index == 0
        with pytest.raises(NotFound, match="did you mean 'job0'"):
            await store.find_job("1", "jobb0")

    with_store(path, act)


def test_values_of_points_keep_their_type_even_nan(path: Path) -> None:
    values: list[Any] = [1, 1.0, -0.5, True, False, None, "1", "", math.inf, -math.inf, 2**62]

    async def act(store: Store) -> None:
        await add(store)
        points = [Point(name="m", value=value, step=step, time=0.5) for step, value in enumerate([*values, math.nan])]
        await store.add_points("1", points, pipeline="refined", job="train", iter=2)
        rows = await store.metrics("1")
        assert [(type(row.value), row.value) for row in rows[:-1]] == [(type(value), value) for value in values]
        assert math.isnan(float(rows[-1].value or 0))
        assert (rows[0].pipeline, rows[0].job, rows[0].iter, rows[0].step, rows[0].time) == (
            "refined",
            "train",
            2,
            0,
            0.5,
        )

    with_store(path, act)


def test_a_result_is_found_without_its_jobs_name_unless_a_metric_has_just_that_name(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        await store.add_points("1", [Point(name="evaluate.loss", value=1)], pipeline="p", job="evaluate", iter=1)
        assert [row.name for row in await store.metrics("1", "loss")] == ["evaluate.loss"]
        await store.add_points("1", [Point(name="loss", value=2, step=1)], pipeline="p", job="train", iter=1)
        assert [row.name for row in await store.metrics("1", "loss")] == ["loss"]
        assert [row.name for row in await store.metrics("1", "evaluate.loss")] == ["evaluate.loss"]

    with_store(path, act)


@pytest.mark.parametrize("name", ["loss", "train.loss", "refined.loss", "refined.train.loss"])
def test_a_metric_is_found_by_its_name_alone_or_qualified(path: Path, name: str) -> None:
    async def act(store: Store) -> None:
        await add(store)
        for stored in ("loss", "train.loss", "train.eval.loss", "floss"):
            await store.add_points("1", [Point(name=stored, value=1)], pipeline="refined", job="train", iter=1)
        await store.add_points("1", [Point(name="loss", value=2)], pipeline="baseline", job="warmup", iter=1)
        rows = await store.metrics("1", name)
        expected = {"loss": ["loss", "loss"], "refined.loss": ["loss"]}.get(name, ["loss", "train.loss"])
        assert [row.name for row in rows] == expected
        newest = await store.newest_metric("1", name)
        assert newest == rows[-1]
        assert await store.newest_metric("1", "accuracy") is None

    with_store(path, act)


def test_configs_are_not_among_the_metrics_unless_asked_for_by_name(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        for name in ("cfgs.train.lr", "loss"):
            await store.add_points("1", [Point(name=name, value=1)], pipeline="", job="", iter=1)
        assert [row.name for row in await store.metrics("1")] == ["loss"]
        assert [row.name for row in await store.metrics("1", "cfgs.train.lr")] == ["cfgs.train.lr"]

    with_store(path, act)


async def add_from_log(store: Store, position: int, *names: str, run: str = "1.1.0.1") -> None:
    points = [Point(name=name, value=1) for name in names]
    await store.add_points("1", points, pipeline="", job="", iter=1, run=run, source="log", position=position)


def test_points_of_a_run_are_taken_only_from_beyond_its_position(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=1)
        assert await store.position("1.1.0.1", "log") == 0
        await add_from_log(store, 10, "a", "b")
        await add_from_log(store, 10, "a", "b")
        await add_from_log(store, 7, "a")
        await add_from_log(store, 12, "c")
        await store.add_points(
            "1", [Point(name="d", value=1)], pipeline="", job="", iter=1, run="1.1.0.1", source="component", position=1
        )
        assert [row.name for row in await store.metrics("1")] == ["a", "b", "c", "d"]
        assert await store.position("1.1.0.1", "log") == 12
        assert await store.position("1.1.0.1", "component") == 1

    with_store(path, act)


def test_points_that_cannot_be_stored_leave_the_position_where_it_was(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=1)
        await add_from_log(store, 1, "a")
        points = [Point(name="b", value=1), Point(name="c", value=2**64 - 1)]
        with pytest.raises(StoreError):
            await store.add_points("1", points, pipeline="", job="", iter=1, run="1.1.0.1", source="log", position=2)
        assert await store.position("1.1.0.1", "log") == 1
        assert [row.name for row in await store.metrics("1")] == ["a"]

    with_store(path, act)


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (job(0, "running"), ["1.1.0.1", "1.1.0.1.1", "1.1.1.1", "1.1.10.1", "1.11.0.1"]),
        (job(0, "waiting", attempt=2), ["1.1.1.1", "1.1.10.1", "1.11.0.1"]),
        (job(0, "failed"), ["1.1.1.1", "1.1.10.1", "1.11.0.1"]),
        (job(10, "cancelled"), ["1.1.0.1", "1.1.0.1.1", "1.1.1.1", "1.11.0.1"]),
    ],
)
def test_positions_go_with_the_attempt_that_they_are_of(path: Path, row: JobRow, kept: list[str]) -> None:
    runs = ["1.1.0.1", "1.1.0.1.1", "1.1.1.1", "1.1.10.1", "1.11.0.1"]

    async def act(store: Store) -> None:
        await add(store, jobs=11)
        for run in runs:
            await add_from_log(store, 5, "a", run=run)
        await store.put_jobs("1", [row])
        assert [run for run in runs if await store.position(run, "log")] == kept

    with_store(path, act)


def test_changes_bring_what_was_written_since_and_only_that_experiments(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=2)
        everything = await store.changes("1")
        assert (len(everything.jobs), everything.is_all) == (2, True)
        nothing = await store.changes("1", everything.next)
        assert (nothing.experiment, nothing.jobs, nothing.metrics, nothing.next) == (None, [], [], everything.next)
        await add(store)
        await store.put_jobs("2", [job(0, "running")])
        assert (await store.changes("1", everything.next)).next == everything.next
        await store.put_jobs("1", [job(1, "running")])
        await store.add_points("1", [Point(name="loss", value=1.0)], pipeline="", job="", iter=1)
        changed = await store.changes("1", everything.next)
        assert ([row.index for row in changed.jobs], [row.name for row in changed.metrics]) == ([1], ["loss"])
        assert changed.experiment is not None

    with_store(path, act)


def test_many_changes_come_in_several_answers_without_gap_or_repeat(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        points = [Point(name="loss", value=0.5, step=step) for step in range(CHANGES_ROWS + 3)]
        await store.add_points("1", points, pipeline="", job="", iter=1)
        await store.put_jobs("1", [job(0)])
        first = await store.changes("1")
        second = await store.changes("1", first.next)
        assert (first.is_all, second.is_all) == (False, True)
        assert (first.jobs, [row.index for row in second.jobs]) == ([], [0])
        assert [row.step for row in first.metrics + second.metrics] == list(range(CHANGES_ROWS + 3))

    with_store(path, act)


def test_one_answer_brings_a_bounded_amount_of_text(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        text = "x" * (CHANGES_BYTES // 2)
        for _ in range(3):
            await store.add_points("1", [Point(name="t", value=text)], pipeline="", job="", iter=1)
        first = await store.changes("1")
        assert (len(first.metrics), first.is_all) == (2, False)
        assert len((await store.changes("1", first.next)).metrics) == 1

    with_store(path, act)


def test_writers_that_interleave_lose_nothing_and_share_one_sequence(path: Path) -> None:
    async def act(store: Store) -> None:
        async def write(id: str) -> None:
            for step in range(40):
                await store.put_jobs(id, [job(step)])
                await store.add_points(id, [Point(name="loss", value=0.1, step=step)], pipeline="", job="", iter=1)

        for _ in range(2):
            await add(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, "1")
            nursery.start_soon(write, "2")
        seen = [await store.changes(id) for id in ("1", "2")]
        assert all([row.step for row in each.metrics] == list(range(40)) for each in seen)
        assert all(len(each.jobs) == 40 for each in seen)
        numbers = [row.seq for each in seen for row in each.jobs] + [row.seq for each in seen for row in each.metrics]
        assert len(set(numbers)) == len(numbers)

    with_store(path, act)


def test_one_failing_write_takes_no_other_of_its_batch_with_it(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        failures: list[StoreError] = []

        async def fail() -> None:
            points = [Point(name="a", value=1), Point(name="b", value=2**64 - 1)]
            try:
                await store.add_points("1", points, pipeline="", job="", iter=1)
            except StoreError as error:
                failures.append(error)

        async def succeed() -> None:
            await store.add_points("1", [Point(name="c", value=1)], pipeline="", job="", iter=1)

        async with trio.open_nursery() as nursery:
            for work in (succeed, fail, succeed, fail):
                nursery.start_soon(work)
        assert [str(path) in str(error) for error in failures] == [True, True]
        assert [row.name for row in await store.metrics("1")] == ["c", "c"]

    with_store(path, act)


def test_work_that_was_asked_for_is_committed_before_the_store_closes(path: Path) -> None:
    async def main() -> None:
        async with open_store(path) as store, trio.open_nursery() as nursery:
            nursery.start_soon(add, store)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with pytest.raises(StoreError, match="closed"):
            await store.list_experiments()

    async def read(store: Store) -> None:
        assert len(await store.list_experiments()) == 1

    trio.run(main)
    with_store(path, read)


WRITER = """
import sys, trio
from pathlib import Path
from sandbox_actors.messages import Submit
from sandbox_actors.store import open_store

async def main():
    submit = Submit(definition={}, source="", cwd="")
    async with open_store(Path(sys.argv[1])) as store:
        while True:
            row = await store.add_experiment(submit, name="n", project="", work_dir="", submitted=0.0)
            print(row.id, flush=True)

trio.run(main)
"""


def test_what_a_killed_writer_was_told_is_stored_is_there(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]

    async def read(store: Store) -> None:
        ids = [row.id for row in await store.list_experiments()]
        assert set(acknowledged) <= set(ids)
        assert len(ids) - len(acknowledged) <= 1
        assert (await add(store)).seq > 20

    with_store(path, read)


def test_a_second_process_is_refused_while_one_has_the_store_open(path: Path) -> None:
    async def act(store: Store) -> None:
        with pytest.raises(StoreError, match="another process has this store open"):
            async with open_store(path):
                raise AssertionError("opened twice")

    with_store(path, act)


def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but longer than one header of it is\n" * 40)
    with pytest.raises(StoreError, match=r"state\.sqlite3: the file is damaged"):
        with_store(path, nothing)
    assert path.read_bytes().startswith(b"not a database")


def test_damage_inside_the_file_is_an_error_that_names_it(path: Path) -> None:
    async def write(store: Store) -> None:
        for _ in range(50):
            await add(store, name="n" * 500)

    with_store(path, write)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"state\.sqlite3: the file is damaged"):
        with_store(path, lambda store: store.list_experiments())


def test_a_file_of_another_schema_version_is_refused_with_both_versions(path: Path) -> None:
    with_store(path, nothing)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.close()
    with pytest.raises(StoreError, match=r"state\.sqlite3: its schema has version 7, this program knows version 1"):
        with_store(path, nothing)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"state\.sqlite3"):
        with_store(tmp_path / "file" / "state.sqlite3", nothing)


def test_only_its_owner_can_read_the_store(path: Path) -> None:
    with_store(path, nothing)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
