"""Metrics in the store: their values, their names, and each of them once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.errors import StoreError
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.rows import JobRow, Point
from sandbox_actors.store.store import Position, Store
from tests.sandbox_actors.store.storing import add, job, with_store


def test_values_of_points_keep_their_type_and_nan(path: Path) -> None:
    values: list[Any] = [1, 1.0, -0.5, True, False, None, "1", "", math.inf, -math.inf, 2**62]

    async def act(store: Store) -> None:
        await add(store)
        points = [Point(name="m", value=value, step=step, time=0.5) for step, value in enumerate([*values, math.nan])]
        await store.add_points(JobPlace("1", "refined", "train", iter=2), points)
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
        await store.add_points(JobPlace("1", "p", "evaluate"), [Point(name="evaluate.loss", value=1)])
        assert [row.name for row in await store.metrics("1", "loss")] == ["evaluate.loss"]
        await store.add_points(JobPlace("1", "p", "train"), [Point(name="loss", value=2, step=1)])
        assert [row.name for row in await store.metrics("1", "loss")] == ["loss"]
        assert [row.name for row in await store.metrics("1", "evaluate.loss")] == ["evaluate.loss"]

    with_store(path, act)


@pytest.mark.parametrize("name", ["loss", "train.loss", "refined.loss", "refined.train.loss"])
def test_a_metric_is_found_by_its_name_alone_or_qualified(path: Path, name: str) -> None:
    async def act(store: Store) -> None:
        await add(store)
        for stored in ("loss", "train.loss", "train.eval.loss", "floss"):
            await store.add_points(JobPlace("1", "refined", "train"), [Point(name=stored, value=1)])
        await store.add_points(JobPlace("1", "baseline", "warmup"), [Point(name="loss", value=2)])
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
            await store.add_points(JobPlace("1"), [Point(name=name, value=1)])
        assert [row.name for row in await store.metrics("1")] == ["loss"]
        assert [row.name for row in await store.metrics("1", "cfgs.train.lr")] == ["cfgs.train.lr"]

    with_store(path, act)


async def add_from_log(store: Store, position: int, *names: str, run: str = "1.1.0.1") -> None:
    points = [Point(name=name, value=1) for name in names]
    await store.add_points(JobPlace("1"), points, Position(run, "log", position))


def test_points_of_a_run_are_stored_only_beyond_its_position(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=1)
        assert await store.position("1.1.0.1", "log") == 0
        await add_from_log(store, 10, "a", "b")
        await add_from_log(store, 10, "a", "b")
        await add_from_log(store, 7, "a")
        await add_from_log(store, 12, "c")
        await store.add_points(JobPlace("1"), [Point(name="d", value=1)], Position("1.1.0.1", "component", 1))
        assert [row.name for row in await store.metrics("1")] == ["a", "b", "c", "d"]
        assert await store.position("1.1.0.1", "log") == 12
        assert await store.position("1.1.0.1", "component") == 1

    with_store(path, act)


def test_points_that_cannot_be_stored_do_not_change_the_position(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=1)
        await add_from_log(store, 1, "a")
        points = [Point(name="b", value=1), Point(name="c", value=1, step=2**64 - 1)]
        with pytest.raises(StoreError):
            await store.add_points(JobPlace("1"), points, Position("1.1.0.1", "log", 2))
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
def test_positions_are_removed_with_their_attempt(path: Path, row: JobRow, kept: list[str]) -> None:
    runs = ["1.1.0.1", "1.1.0.1.1", "1.1.1.1", "1.1.10.1", "1.11.0.1"]

    async def act(store: Store) -> None:
        await add(store, jobs=11)
        for run in runs:
            await add_from_log(store, 5, "a", run=run)
        await store.put_jobs("1", [row])
        assert [run for run in runs if await store.position(run, "log")] == kept

    with_store(path, act)
