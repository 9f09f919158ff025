"""Changes in the store: every row once, in answers of bounded size."""

from __future__ import annotations

from pathlib import Path

import trio

from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.frames import encode
from sandbox_actors.protocol.rows import JobRow, MetricRow, Point
from sandbox_actors.store.queries import PAGE_BYTES, PAGE_ROWS
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
        points = [Point(name="loss", value=0.5, step=step) for step in range(PAGE_ROWS + 3)]
        await store.add_points(JobPlace("1"), points)
        await store.put_jobs("1", [job(0)])
        first = await store.changes("1")
        second = await store.changes("1", first.next)
        assert (first.is_all, second.is_all) == (False, True)
        assert (first.jobs, [row.index for row in second.jobs]) == ([], [0])
        assert [row.step for row in first.metrics + second.metrics] == list(range(PAGE_ROWS + 3))

    with_store(path, act)


def test_one_answer_has_a_bounded_amount_of_text(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        text = "x" * (PAGE_BYTES // 2 - 1000)
        for _ in range(3):
            await store.add_points(JobPlace("1"), [Point(name="t", value=text)])
        first = await store.changes("1")
        assert (len(first.metrics), first.is_all) == (2, False)
        assert len((await store.changes("1", first.next)).metrics) == 1

    with_store(path, act)


def test_changes_of_more_jobs_than_fit_into_one_answer_arrive_in_order_and_once(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        await store.put_jobs("1", [job(index, "failed", error=f"{index} " + "x" * 15_000) for index in range(500)])
        await store.add_points(JobPlace("1"), [Point(name="loss", value=0.5)])
        found: list[JobRow | MetricRow] = []
        after, is_all = 0, False
        while not is_all:
            delta = await store.changes("1", after)
            assert len(encode(delta)) < 2 * PAGE_BYTES
            assert delta.experiment is not None or after
            found += [*delta.jobs, *delta.metrics]
            after, is_all = delta.next, delta.is_all
        assert [row.index for row in found[:-1] if isinstance(row, JobRow)] == list(range(500))
        assert isinstance(found[-1], MetricRow)
        assert (await store.changes("1", after)).jobs == []

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
