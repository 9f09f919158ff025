"""Changes in the store: every row once, in answers of bounded size."""

from __future__ import annotations

from pathlib import Path

import trio

from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.rows import Point
from sandbox_actors.store.queries import CHANGES_BYTES, CHANGES_ROWS
from sandbox_actors.store.store import Store
from tests.sandbox_actors.store.storing import add, job, with_store


def test_changes_are_the_rows_written_since_of_that_experiment_only(path: Path) -> None:
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
        await store.add_points(JobPlace("1"), [Point(name="loss", value=1.0)])
        changed = await store.changes("1", everything.next)
        assert ([row.index for row in changed.jobs], [row.name for row in changed.metrics]) == ([1], ["loss"])
        assert changed.experiment is not None

    with_store(path, act)


def test_many_changes_arrive_in_several_answers_without_gap_or_repetition(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        points = [Point(name="loss", value=0.5, step=step) for step in range(CHANGES_ROWS + 3)]
        await store.add_points(JobPlace("1"), points)
        await store.put_jobs("1", [job(0)])
        first = await store.changes("1")
        second = await store.changes("1", first.next)
        assert (first.is_all, second.is_all) == (False, True)
        assert (first.jobs, [row.index for row in second.jobs]) == ([], [0])
        assert [row.step for row in first.metrics + second.metrics] == list(range(CHANGES_ROWS + 3))

    with_store(path, act)


def test_one_answer_has_a_bounded_amount_of_text(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        text = "x" * (CHANGES_BYTES // 2)
        for _ in range(3):
            await store.add_points(JobPlace("1"), [Point(name="t", value=text)])
        first = await store.changes("1")
        assert (len(first.metrics), first.is_all) == (2, False)
        assert len((await store.changes("1", first.next)).metrics) == 1

    with_store(path, act)


def test_concurrent_writers_lose_nothing_and_share_one_sequence(path: Path) -> None:
    async def act(store: Store) -> None:
        async def write(id: str) -> None:
            for step in range(40):
                await store.put_jobs(id, [job(step)])
                await store.add_points(JobPlace(id), [Point(name="loss", value=0.1, step=step)])

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
