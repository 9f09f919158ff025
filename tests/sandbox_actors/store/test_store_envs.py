"""The envs that jobs ran in, in the store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.protocol.rows import EnvRecord
from sandbox_actors.store.connect import connect
from sandbox_actors.store.schema import MIGRATIONS
from sandbox_actors.store.store import Store, recover_store
from tests.sandbox_actors.store.storing import add, job, outputs, with_store


def env(name: str = "own", **packages: str) -> EnvRecord:
    return EnvRecord(name=name, manager="uv", python="3.11.7", spec={}, requested=list(packages), packages=packages)


async def recorded(store: Store, id: str) -> list[tuple[dict[str, str], list[str]]]:
    return [(row.record.packages, row.jobs) for row in (await store.experiment_detail(id)).envs]


def test_an_experiment_has_each_env_once_with_the_jobs_that_ran_in_it(path: Path) -> None:
    async def write(store: Store) -> None:
        await add(store, jobs=3)
        await add(store, jobs=1)
        for index, version in ((0, "1.0"), (1, "2.0"), (2, "1.0")):
            await store.record_env(RunId("1", 1, index, 1), env(six=version))
        await store.record_env(RunId("2", 1, 0, 1), env(six="2.0"))

    async def read(store: Store) -> None:
        one = [({"six": "1.0"}, ["refined.job0", "refined.job2"]), ({"six": "2.0"}, ["refined.job1"])]
        assert await recorded(store, "1") == one
        assert await recorded(store, "2") == [({"six": "2.0"}, ["refined.job0"])]
        one_env, two_envs = [(await store.experiment_detail(id)).envs for id in ("2", "1")]
        assert one_env[0].digest == two_envs[1].digest

    with_store(path, write)
    with_store(path, read)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM envs").fetchone() == (2,)


def test_a_job_has_the_envs_of_all_calls_of_its_last_attempt(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store, jobs=1)
        for attempt, stage, name in ((1, 0, "old"), (2, 0, "first"), (2, 1, "second")):
            await store.record_env(RunId("1", 1, 0, attempt, stage), env(name))
        assert [row.record.name for row in (await store.experiment_detail("1")).envs] == ["first", "second"]

    with_store(path, act)


def test_a_job_that_is_taken_from_an_earlier_experiment_brings_its_env(path: Path) -> None:
    async def act(store: Store) -> None:
        for _ in range(2):
            await add(store, jobs=2)
        for index in range(2):
            await store.record_env(RunId("1", 1, index, 1), env(six=f"{index}.0"))
            await store.finish_job("1", job(index, "succeeded"), outputs(index, 1))
        await store.copy_jobs("2", "1", {(1, 0): (1, 1)})
        assert await recorded(store, "2") == [({"six": "1.0"}, ["refined.job1"])]

    with_store(path, act)


def test_a_store_of_version_1_has_experiments_without_envs(path: Path) -> None:
    connect(path, MIGRATIONS[:1]).close()

    async def act(store: Store) -> None:
        await add(store, jobs=1)
        assert await recorded(store, "1") == []
        await store.record_env(RunId("1", 1, 0, 1), env())
        assert len(await recorded(store, "1")) == 1

    with_store(path, act)
    assert path.with_name(f"{path.name}.version-1").exists()


def damage(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        for statement in statements:
            file.execute(statement)


async def record_two(store: Store) -> None:
    await add(store, jobs=2)
    for index in range(2):
        await store.record_env(RunId("1", 1, index, 1), env(six=f"{index}.0"))


def test_envs_are_recovered_except_those_of_lost_jobs(path: Path) -> None:
    with_store(path, record_two)
    damage(path, 'DELETE FROM jobs WHERE "index" = 0')
    done = recover_store(path)
    assert (done.saved["envs"], done.saved["job_envs"]) == (2, 2)

    async def read(store: Store) -> None:
        assert await recorded(store, "1") == [({"six": "1.0"}, ["refined.job1"])]

    with_store(path, read)


def test_a_store_without_the_tables_of_envs_is_recovered(path: Path) -> None:
    with_store(path, record_two)
    damage(path, "DROP TABLE job_envs", "DROP TABLE envs")
    done = recover_store(path)
    assert (done.saved["jobs"], done.saved["envs"]) == (2, 0)
