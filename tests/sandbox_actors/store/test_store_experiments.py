"""Experiments and their jobs in the store."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from sandbox_actors.client.client import joined
from sandbox_actors.errors import NotFound
from sandbox_actors.protocol.frames import MAX_FRAME, encode
from sandbox_actors.protocol.rows import ExperimentRow
from sandbox_actors.store.queries import PAGE_BYTES
from sandbox_actors.store.store import ROW_TEXT, Store
from tests.sandbox_actors.store.storing import SUBMIT, add, job, outputs, with_store


def test_experiments_get_small_increasing_ids_and_are_there_after_reopening(path: Path) -> None:
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


def test_one_that_is_resumed_is_unfinished_behind_those_that_waited_before(path: Path) -> None:
    async def act(store: Store) -> None:
        rows = [await add(store) for _ in range(3)]
        await store.update_experiment("1", state="cancelled")
        await store.reopen(rows[0], [], [])
        assert [row.id for row in await store.unfinished()] == ["2", "3", "1"]

    with_store(path, act)


def test_a_list_has_one_line_of_each_error_and_comes_in_pages(path: Path) -> None:
    async def act(store: Store) -> None:
        for _ in range(5):
            id = (await add(store, name="n" * PAGE_BYTES)).id
            await store.update_experiment(id, state="failed", error="what failed\n" + "x" * 1_000_000)
        rows: list[ExperimentRow] = []
        while page := await store.list_experiments(4, rows[-1].id if rows else ""):
            assert len(encode(page)) < 2 * PAGE_BYTES
            rows += page
        assert [row.id for row in rows] == ["5", "4", "3", "2", "1"]
        assert {row.error for row in rows} == {"what failed"}
        assert len((await store.find_experiment("1")).error) <= ROW_TEXT

    with_store(path, act)


def test_an_experiment_with_many_jobs_and_large_outputs_is_shown_in_pages(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=300)
        for index in range(300):
            given = outputs(index, "x" * 40_000) if index else outputs(0, "x" * (MAX_FRAME + 1), "small")
            await store.finish_job("1", job(index, "succeeded"), given)
        page = detail = await store.experiment_detail("1")
        pages = 1
        while page.next is not None:
            page = await store.experiment_detail("1", page.next)
            assert len(encode(page)) < 2 * PAGE_BYTES
            detail, pages = joined(detail, page), pages + 1
        assert pages > 3
        assert [row.index for row in detail.jobs] == list(range(300))
        (iteration,) = detail.iterations
        entries = iteration.context_infos["refined"]
        assert [entry["meta_name"] for entry in entries] == [f"job{index}" for index in range(300)]
        assert {len(entry["res_0"]) for entry in entries[1:]} == {40_000}
        large, small = entries[0]["res_0"], entries[0]["res_1"]
        assert (large, small) == ("(16,777,222 bytes, too large to be shown: see context_infos.json)", "small")
        assert detail.definition == SUBMIT.definition

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


def test_an_update_changes_the_given_columns_only(path: Path) -> None:
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
